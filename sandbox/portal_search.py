"""How the portal's dossier list is searched and paged (sources 1.3 and 1.4).

Belongs here: what each query parameter does, including what it does wrong, over a `PortalIndex`.
Does not belong here: HTTP, logging in, the JSON of a record.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from sandbox.calendar import VIETNAM_SECONDS, Integers
from sandbox.population import Flags
from sandbox.portal import PortalIndex

#: Liferay's index.search.limit: nothing beyond this row is ever returned, and nothing says so.
SEARCH_LIMIT = 10_000
_DATE = re.compile(r"^(\d{1,2})/(\d{1,2})/(\d{4})$")
_WINDOWS = {"Submit": "submit", "Receive": "receive", "Release": "release", "Finish": "finish", "Due": "due"}
_CACHED = 64
#: The index keeps no negative numbers: a deleted dossier's originality is written as so much and the number.
INDEX_DELETED = 99


def parsed_day(text: str) -> int | None:
    """dd/MM/yyyy as the number yyyymmdd; None for anything else: a malformed date drops its filter."""
    match = _DATE.match(text)
    if match is None:
        return None
    day, month, year = (int(part) for part in match.groups())
    try:
        datetime(year, month, day, tzinfo=UTC)
    except ValueError:
        return None
    return year * 10_000 + month * 100 + day


@dataclass
class PortalSearch:
    """Searches of one portal; remembers the last ones, so that the next page of a list costs nothing."""

    index: PortalIndex
    #: Agencies that the reader is shown while the query names none; empty for all.
    scope: tuple[str, ...] = ()
    _cache: dict[tuple[int, tuple[tuple[str, str], ...]], list[int]] = field(default_factory=dict)
    _before: PortalSearch | None = None
    _replies_behind: int = 0

    def forget(self) -> None:
        """Drop what is remembered; call it whenever the clock moves."""
        self._cache.clear()

    def fall_behind(self, before: PortalIndex, replies: int) -> None:
        """Show the rows of an earlier state in the next so many replies: the index has not caught up."""
        self._before, self._replies_behind = PortalSearch(before, self.scope), replies

    def page(self, site: int, parameters: Mapping[str, str], fault: str | None = None) -> bytes:
        """The reply to `GET /dossiers`: the total, and the rows from `start` up to before `end`.

        The total comes from a query of its own, so it is of the newest state also while the rows are
        not. `fault` is one of the portal's among `faults.PLAYED_INSIDE`.
        """
        total = len(self._found(site, parameters)) + {"total_high": 1, "total_low": -1}.get(fault or "", 0)
        if self._before and self._replies_behind:
            self._replies_behind -= 1
            rows = self._before.rows(site, parameters)
        else:
            self._before = None
            rows = self.rows(site, parameters, without_first=fault == "row_missing")
        return b'{"total":%d,"data":[%b]}' % (max(total, 0), b",".join(rows))

    def rows(self, site: int, parameters: Mapping[str, str], *, without_first: bool = False) -> list[bytes]:
        """The records from `start` up to before `end`, as if the first of them were not there if so asked."""
        start, end = _row(parameters.get("start")), _row(parameters.get("end"))
        if end == 0:  # ALL_POS: both offsets are dropped
            start, end = 0, SEARCH_LIMIT
        shift = int(without_first)
        shown = self._found(site, parameters)[start + shift : min(end, SEARCH_LIMIT) + shift]
        originality = self.index.originality
        return [_as_indexed(self.index.records[row], int(originality[row])) for row in shown]

    def _found(self, site: int, parameters: Mapping[str, str]) -> list[int]:
        # What is equal in a sorted list comes in another order on every page.
        paging = ("end",) if parameters.get("sort") else ("start", "end")
        asked = tuple(sorted((name, value) for name, value in parameters.items() if name not in paging))
        key = (site, asked)
        if key not in self._cache:
            if len(self._cache) >= _CACHED:
                self._cache.pop(next(iter(self._cache)))
            self._cache[key] = self.positions(site, parameters).tolist()
        return self._cache[key]

    def positions(self, site: int, parameters: Mapping[str, str]) -> Integers:
        """Positions that answer a query, in the list's order."""
        rows = self.index.positions_of_site.get(site, np.zeros(0, dtype=np.int64))
        keep = self.index.columns["visible"][rows] > 0
        keep &= np.isin(self.index.system[rows], _numbers(parameters.get("systemId", ""), default=(0,)))
        keep &= self._originality(rows, parameters.get("originality", ""))
        for title, column in _WINDOWS.items():
            keep &= self._within(
                rows, column, parameters.get(f"from{title}Date", ""), parameters.get(f"to{title}Date", "")
            )
        if parameters.get("top") == "statistic":
            keep &= self._statistic(rows, parameters)
        found = rows[keep]
        found = self._worded(found, self.index.statuses, parameters.get("status", ""))
        agency = parameters.get("agency", ",".join(self.scope))
        found = self._worded(found, self.index.agencies, "" if agency == "all" else agency)
        if parameters.get("sort"):
            found = self._sorted(found, parameters["sort"], parameters.get("start", ""))
        return found[::-1] if parameters.get("order") == "true" else found

    def _originality(self, rows: Integers, asked: str) -> Flags:
        """Without the parameter: published ones only, no inter-agency children, nothing never acted on."""
        originality = self.index.originality[rows]
        shown: Flags
        if not asked:
            shown = (originality >= 0) & (originality <= 4) & (self.index.origin[rows] == 0) & self.index.acted[rows]
        elif asked == "-1":
            # A range of texts, above "3" and up to "99": what is deleted, but other kinds (4) and groups (9) as well.
            terms = np.where(originality < 0, INDEX_DELETED + originality, originality).astype(str)
            shown = (terms > "3") & (terms <= "99")
        else:
            shown = np.isin(originality, _numbers(asked, default=()))
        return shown

    def _within(self, rows: Integers, column: str, first: str, last: str) -> Flags:
        """Inclusive days, compared with the index's own dates; a blank date is in no window."""
        days = self.index.columns[column][rows]
        keep = np.ones(len(rows), dtype=np.bool_)
        if (low := parsed_day(first)) is not None:
            keep &= days >= low
        if (high := parsed_day(last)) is not None:
            keep &= (days <= high) & (days > 0)
        return keep

    def _statistic(self, rows: Integers, parameters: Mapping[str, str]) -> Flags:
        """The reporting set of a period: received in it, or received before and not released before it."""
        low, high = (
            parsed_day(parameters.get("fromStatisticDate", "")),
            parsed_day(parameters.get("toStatisticDate", "")),
        )
        by_dates = low is not None and high is not None
        if low is None or high is None:
            low, high = self._month(parameters)
        received, released, finished = (self.index.columns[name][rows] for name in ("receive", "release", "finish"))
        still_open = (released == 0) | (released >= low)
        if by_dates:
            still_open |= (finished >= low) & (finished <= high)
        shown: Flags = ((received >= low) & (received <= high)) | ((received > 0) & (received < low) & still_open)
        return shown

    def _month(self, parameters: Mapping[str, str]) -> tuple[int, int]:
        now = datetime.fromtimestamp(self.index.at + VIETNAM_SECONDS, UTC)
        month, year = _row(parameters.get("month")) or now.month, _row(parameters.get("year")) or now.year
        return year * 10_000 + month * 100 + 1, year * 10_000 + month * 100 + 31

    def _sorted(self, rows: Integers, name: str, page: str) -> Integers:
        """By the text of a field, whatever it is: 10 before 9, and days by their day of the month."""
        keyed = [
            (str(json.loads(self.index.records[row]).get(name, "")), zlib.crc32(f"{page}:{row}".encode()), row)
            for row in rows.tolist()
        ]
        return np.array([row for _, _, row in sorted(keyed)], dtype=np.int64)

    @staticmethod
    def _worded(rows: Integers, texts: list[str], asked: str) -> Integers:
        if not asked:
            return rows
        wanted = set(asked.split(","))
        return np.array([row for row in rows.tolist() if texts[row] in wanted], dtype=np.int64)


def _as_indexed(record: bytes, originality: int) -> bytes:
    """A record as the list words it: from the index, while the dossier's own page is from the database."""
    if originality >= 0:
        return record
    return record.replace(b'"originality":"%d"' % originality, b'"originality":"%d"' % (INDEX_DELETED + originality))


def _row(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0


def _numbers(text: str, *, default: tuple[int, ...]) -> list[int]:
    numbers = [int(part) for part in text.split(",") if part.strip().lstrip("-").isdigit()]
    return numbers or list(default)
