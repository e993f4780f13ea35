"""A portal and a one-stop that go on living while they are read, in this process and without HTTP.

Belongs here: what may happen between two replies (the clock moves, a commit comes late, the index falls
behind, a reply is spoilt), drawn from a seed. Does not belong here: log-in and HTTP (`server.py`), what happens
to a dossier (`population.py`), how a record is worded.

For hundreds of nights in minutes. Who reads it gets status and body, as a server would have given them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from sandbox.onestop import OnestopIndex
from sandbox.population import Population
from sandbox.portal import PortalIndex
from sandbox.portal_search import PortalSearch

Spoilt = Literal[
    "too_many_requests",
    "internal_error",
    "bad_gateway",
    "unavailable",
    "refused",
    "truncated",
    "reset",
    "login_page",
    "empty_list",
    "count_high",
    "count_low",
    "row_missing",
    "repeated_page",
]
_STATUSES = {
    "too_many_requests": 429,
    "internal_error": 500,
    "bad_gateway": 502,
    "unavailable": 503,
    "refused": 403,
}
_ANYWHERE: tuple[Spoilt, ...] = (
    "too_many_requests",
    "internal_error",
    "bad_gateway",
    "unavailable",
    "truncated",
    "reset",
    "login_page",
)
_PORTAL_LIST: tuple[Spoilt, ...] = ("refused", "empty_list", "count_high", "count_low", "row_missing", "repeated_page")
_ONESTOP_LIST: tuple[Spoilt, ...] = ("count_high", "count_low", "repeated_page")


class ConnectionLost(ConnectionError):  # noqa: N818  what happens to the reader
    """The reply never came."""


@dataclass(frozen=True, kw_only=True)
class Unrest:
    """How often something happens before a reply, as chances from 0 to 1; the default is a quiet province."""

    moves: float = 0.0
    #: Longest step of the clock at one move, in seconds.
    step: int = 3600
    #: Chance that a change of the one-stop is not committed yet when its neighbours are.
    late: float = 0.0
    #: Chance at a move that the portal's index shows rows of before in its next replies, up to so many.
    lag: float = 0.0
    lag_replies: int = 20
    spoilt: float = 0.0


QUIET = Unrest()


@dataclass
class RestlessProvince:
    """The two systems at a clock that runs on while they are read; `unrest` may be changed at any time."""

    population: Population
    at: int
    seed: int
    #: Hours from UTC in which the portal's index keeps its days.
    index_zone_hours: int = 0
    unrest: Unrest = QUIET
    portal: PortalIndex = field(init=False)
    onestop: OnestopIndex = field(init=False)
    search: PortalSearch = field(init=False)

    def __post_init__(self) -> None:
        self._drawn = np.random.default_rng([self.seed, 17])
        self.portal = PortalIndex(self.population, self.at, index_offset=self.index_zone_hours * 3600)
        self.search = PortalSearch(self.portal)
        self.onestop = OnestopIndex(self.population, self.at)

    def advance(self, to: int) -> None:
        """Move the clock; with unrest, some commits come late and the portal's index may fall behind."""
        if self._happens(self.unrest.lag):
            replies = int(self._drawn.integers(1, self.unrest.lag_replies + 1))
            self.search.fall_behind(self.portal.as_it_stands(), replies)
        late = np.flatnonzero(self._drawn.random(len(self.population)) < self.unrest.late)
        self.portal.update(to)
        self.onestop.update(to, late=late)
        self.search.forget()
        self.at = to

    def settle(self) -> None:
        """Nothing more happens: every commit is through and the index has caught up."""
        self.unrest = QUIET
        self.search = PortalSearch(self.portal)
        self.advance(self.at)

    def _happens(self, chance: float) -> bool:
        return chance > 0 and float(self._drawn.random()) < chance

    def portal_reply(self, path: str, parameters: Mapping[str, str], site: int) -> tuple[int, bytes]:
        """What the portal answers to `GET path`; `ConnectionLost` when nothing comes."""
        spoilt = self._before(_PORTAL_LIST if path == "/dossiers" else ())
        if path != "/dossiers":
            return self._spoil(spoilt, self._about_one(path))
        if spoilt == "empty_list":
            return 200, b'{"total":0,"data":[]}'
        asked = _before(parameters) if spoilt == "repeated_page" else parameters
        fault = {"count_high": "total_high", "count_low": "total_low"}.get(spoilt or "", spoilt)
        return self._spoil(spoilt, (200, self.search.page(site, asked, fault)))

    def _about_one(self, path: str) -> tuple[int, bytes]:
        key, _, what = path.removeprefix("/dossiers/").partition("/")
        position = self.portal.position(key)
        if not what:
            return 200, b"{}" if position is None else self.portal.records[position]
        if position is None:
            return 403, b'{"message":"No Content.","code":403}'
        return 200, self.portal.files(position) if what == "files" else self.portal.payment(position)

    def onestop_reply(self, path: str, parameters: Mapping[str, str]) -> tuple[int, bytes]:
        """What the one-stop answers to `GET path`; `ConnectionLost` when nothing comes."""
        is_list = path == "/pa/dossier/search"
        spoilt = self._before(_ONESTOP_LIST if is_list else ())
        if not is_list:
            identities = parameters.get("dossier-ids", "").split(",")
            lines = [line for identity in identities for line in self.onestop.fees(identity)]
            return self._spoil(spoilt, (200, f"[{','.join(lines)}]".encode()))
        asked = _before(parameters) if spoilt == "repeated_page" else parameters
        by = {"count_high": 1, "count_low": -1}.get(spoilt or "", 0)
        return self._spoil(spoilt, (200, self._page(asked, by)))

    def _page(self, parameters: Mapping[str, str], by: int) -> bytes:
        found = self.onestop.newest_first
        if code := parameters.get("code"):
            position = self.onestop.position_by_code.get(code)
            found = [position] if position is not None and self.onestop.items[position] else []
        page, size = int(parameters["page"]), int(parameters["size"])
        shown = b",".join(self.onestop.items[position] for position in found[page * size : (page + 1) * size])
        total = max(len(found) + by, 0)
        last = b"true" if (page + 1) * size >= total else b"false"
        pages = math.ceil(total / size)
        return b'{"content":[%b],"last":%b,"totalPages":%d,"totalElements":%d}' % (shown, last, pages, total)

    def _before(self, also: tuple[Spoilt, ...]) -> Spoilt | None:
        """Let something happen, then say how the reply is spoilt."""
        if self._happens(self.unrest.moves):
            self.advance(self.at + int(self._drawn.integers(1, self.unrest.step + 1)))
        if not self._happens(self.unrest.spoilt):
            return None
        kinds = (*_ANYWHERE, *also)
        return kinds[int(self._drawn.integers(len(kinds)))]

    @staticmethod
    def _spoil(spoilt: Spoilt | None, reply: tuple[int, bytes]) -> tuple[int, bytes]:
        if spoilt == "reset":
            raise ConnectionLost
        if spoilt == "truncated":
            return reply[0], reply[1][: len(reply[1]) // 2]
        if spoilt == "login_page":
            return 200, b"<!DOCTYPE html><html></html>"
        return (_STATUSES[spoilt], b"{}") if spoilt in _STATUSES else reply


def _before(parameters: Mapping[str, str]) -> dict[str, str]:
    """The question for the page before; the first page is its own."""
    asked = dict(parameters)
    if "page" in asked:
        asked["page"] = str(max(int(asked["page"]) - 1, 0))
    if "start" in asked:
        start, end = int(asked["start"]), int(asked["end"])
        rows = min(start, end - start)
        asked |= {"start": str(start - rows), "end": str(end - rows)}
    return asked
