"""Walking the one-stop system's search without losing a row, and asking it about single dossiers.

Belongs here: the state machines over the search. Does not belong here: what a dossier looks like on the wire
(`igate_records.py`), fees, log-in and which walk a night makes (`igate.py`).

Pages are read one after another, never ahead: rows only move towards the end while a walk goes on (what
changes jumps to the top), so in this order a row is seen twice, never skipped. What jumped over the walk is
newer than its start and is seen by the next one. Only a deletion moves rows towards the top; it lowers the
total, and the walk is then made again.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import numpy as np

from connectors.igate_records import Page, Pieces, decoded, text
from connectors.protocol import Call, Permanent, Reply, SourceError, Step, Transient, Walk, ensure_usable
from connectors.settings import IGateSettings

#: How often a walk is made anew because rows vanished under it.
_REWALKS = 5
#: How often a list that is read to its end is read again because it gave fewer rows than it counts.
_FULL_REWALKS = 2
_ZERO_CONFIRMATIONS = 2
#: How often a page that only repeats the one before is asked for again: rows may have moved down by a page.
_REPEATS = 2
#: What changed during a walk is looked for from so long before its first row.
_TOP = timedelta(minutes=10)


class SearchWalk(Walk):
    """Walks the search from the newest change down to `since`.

    `newest` and `oldest` are the changes seen last and first. A walk under which rows vanished, or may have because
    the server states no total, is made again from the top until one finds nothing that an earlier one had not:
    a total that lies costs walks, not the night. A walk that reached the end with fewer rows than were there when it
    began looks at the top for those that jumped over it, and is made again if that does not explain it.

    What is older than `begins` is left out: no comparison asks for it, so that nobody would see it go.
    """

    def __init__(
        self, since: datetime, settings: IGateSettings, *, known: int = 0, begins: datetime | None = None
    ) -> None:
        self._since = since
        self._begins = begins
        self._rows = settings.page_rows
        self._known = known
        self._zeros = 0
        self._walks = 1
        self._full_rewalks = 0
        self._totals: list[int] = []
        #: Hashes of the ids of this walk in the order seen, and of all earlier ones: eight bytes a row.
        self._walk = array("q")
        self._before = np.array([], np.int64)
        self._last_page: frozenset[int] = frozenset()
        self._repeats = 0
        #: The time of the first row of the first page: what is newer jumped over the walk.
        self._began: datetime | None = None
        self._is_top = False
        self.newest: datetime | None = None
        #: The last page is kept whole, so that a walk has everything down to here, not only to `since`.
        self.oldest: datetime | None = None

    def begin(self) -> Sequence[Call]:
        """The newest page."""
        return [self._call(0)]

    def accept(self, call: Call, reply: Reply) -> Step:
        """Take a page in and ask for the next one."""
        ensure_usable(call, reply)
        try:
            page = decoded(reply.body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Transient(f"{call}: the answer is not a page of dossiers ({len(reply.body)} bytes)") from None
        if call.tag == 0 and not page.content:
            return self._zero(call)
        if self._is_repeated(call, page):
            return Step(calls=[call])
        times = [time for time in (instant(item.updatedDate) for item in page.content) if time]
        self._note(page, times)
        is_old = bool(times) and min(times) < self._floor
        ended = is_old or not page.content or self._is_last(page, call.tag)
        calls = self._again(at_end=not is_old) if ended else [self._call(call.tag + 1)]
        where = f"page {call.tag} of walk {self._walks}"
        wanted = None
        if self._begins and times and min(times) < self._begins:
            wanted = [(instant(item.updatedDate) or self._begins) >= self._begins for item in page.content]
        return Step(Pieces(reply.body, len(page.content), wanted), calls, where)

    def _call(self, page: int) -> Call:
        params = (("page", str(page)), ("size", str(self._rows)), ("sort", "updatedDate,desc"), ("spec", "page"))
        return Call("/pa/dossier/search", params, (("Accept", "application/json"),), page)

    def _zero(self, call: Call) -> Step:
        if self._known or self.newest:
            raise Transient(f"{call}: no dossiers at all, but {self._known or 'some'} were read before")
        self._zeros += 1
        return Step(calls=[call] if self._zeros <= _ZERO_CONFIRMATIONS else ())

    @property
    def _floor(self) -> datetime:
        """Where the current walk ends."""
        return max(self._since, self._began - _TOP) if self._is_top and self._began else self._since

    def _is_repeated(self, call: Call, page: Page) -> bool:
        """Whether the page holds nothing but what the one before held, and is worth another question."""
        ids = frozenset(hash(item.id) for item in page.content)
        if call.tag and ids and ids <= self._last_page and self._repeats < _REPEATS:
            self._repeats += 1
            return True
        self._repeats, self._last_page = 0, ids
        return False

    def _is_last(self, page: Page, number: int) -> bool:
        """A full page is never believed to be the last one: the count may lag, and the next page says so."""
        is_said = page.last is True or (page.totalPages is not None and number + 1 >= page.totalPages)
        return is_said and len(page.content) < self._rows

    def _note(self, page: Page, times: list[datetime]) -> None:
        self.newest = max([*times, *([self.newest] if self.newest else [])], default=None)
        self.oldest = min([*times, *([self.oldest] if self.oldest else [])], default=None)
        self._began = self._began or self.newest
        self._walk.extend(hash(item.id) for item in page.content)
        if page.totalElements is not None:
            self._totals.append(page.totalElements)

    def _again(self, *, at_end: bool) -> Sequence[Call]:
        """The first call of another walk, or none: everything was seen."""
        found_new = self._settle()
        shrunk = any(later < earlier for earlier, later in zip(self._totals, self._totals[1:], strict=False))
        expected = self._totals[0] if self._totals else 0
        # A walk under which rows vanished and that still found nothing but what earlier walks had lost nothing.
        if found_new and (shrunk or not self._totals):
            self._is_top = False
            if self._walks > _REWALKS:
                raise SourceError(
                    "dossiers vanish from the search faster than it can be read; the night can be run again"
                )
            return self._restart()
        is_whole = self._before.size >= expected or not (at_end or self._is_top)
        if is_whole or (not self._is_top and self._full_rewalks and not found_new):
            # Short again by the same rows: the count is off, not the list.
            return ()
        self._is_top = not self._is_top
        if not self._is_top:
            self._full_rewalks += 1
        return () if self._full_rewalks > _FULL_REWALKS else self._restart()

    def _restart(self) -> Sequence[Call]:
        self._walks += 1
        self._totals = []
        return [self._call(0)]

    def _settle(self) -> bool:
        """Put this walk's rows to those of earlier ones; whether there were new ones among them."""
        # Sorted: Arrow's hash tables would take two hundred bytes a row.
        seen, before = np.unique(np.array(self._walk, np.int64)), self._before
        fresh = np.setdiff1d(seen, before, assume_unique=True) if before.size else seen
        self._before = np.union1d(before, fresh) if before.size else fresh
        self._walk, self._last_page = array("q"), frozenset()
        return fresh.size > 0


def instant(value: Any) -> datetime | None:
    """An ISO instant with its offset; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return None
    return time if time.tzinfo else None


class PresenceWalk(Walk):
    """Asks for dossiers by their public code whether the search still has them; `gone` are indexes of the others.

    A reply that holds other codes than the one asked for is no answer: the server did not filter.
    """

    def __init__(self, dossiers: Sequence[tuple[str, str]]) -> None:
        self._dossiers = tuple(dossiers)
        self.gone: set[int] = set()
        self.unasked = 0

    def begin(self) -> Sequence[Call]:
        """One call per (id, code)."""
        return [self._call(index, code) for index, (_, code) in enumerate(self._dossiers)]

    @staticmethod
    def _call(index: int, code: str) -> Call:
        params = (("code", code), ("page", "0"), ("size", "10"), ("spec", "page"))
        return Call("/pa/dossier/search", params, (("Accept", "application/json"),), index)

    def accept(self, call: Call, reply: Reply) -> Step:
        """Take one answer in."""
        ensure_usable(call, reply)
        try:
            page = decoded(reply.body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Transient(f"{call}: the answer is not a page of dossiers ({len(reply.body)} bytes)") from None
        identity, code = self._dossiers[call.tag]
        if any((text(item.code) or "").strip() != code for item in page.content):
            self.unasked += 1
        elif identity not in {text(item.id) for item in page.content}:
            self.gone.add(call.tag)
        return Step()

    def forgive(self, call: Call, error: SourceError) -> bool:  # noqa: ARG002
        """Yes for what may pass: a dossier that cannot be asked about stays, and is asked about again."""
        if isinstance(error, Permanent):
            return False
        self.unasked += 1
        return True
