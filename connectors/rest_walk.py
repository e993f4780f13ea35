"""Walking a profile's list: which page is asked next, when it has ended, and when it cannot be believed.

Belongs here: the state machine, without I/O or clock. Does not belong here: what a reply holds
(`rest_page.py`), what a call looks like (`rest_call.py`).

A list is read in lanes: the whole of it, or one window of time on one axis; the pages of a lane one after
another. What a reply says of its own size is a hint, never the end by itself: a page that is full is
followed by another call, a page that is empty too early is asked again, and a lane in which fewer
records were seen than were stated, or whose total fell meanwhile, is walked again until a walk finds
nothing new. Rows that are counted (offset, page number) slip towards the top, past the reader, when one
before them vanishes. Where the newest stand first a falling total shows it, since whatever comes at the
same time comes at the top; elsewhere one that comes at the end hides it, and only a second walk shows it.
A walk of one reply needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby, pairwise
from typing import Any

from connectors.protocol import Call, Reply, SourceError, Step, Transient, Walk
from connectors.rest_call import Calls, Position
from connectors.rest_page import Page, PageReader

#: How often a lane is walked anew because rows vanished or did not come.
_REWALKS = 5
#: How often an empty page that should not be empty is asked again.
_EMPTY_CONFIRMATIONS = 2
#: Pages in a row that hold nothing new in a walk: then the list goes round in a circle.
_STALE_PAGES = 3


@dataclass
class Lane:
    """One list to walk: what narrows it, and until when the source was read once it and those before it are."""

    narrowed: Mapping[str, Any] = field(default_factory=dict)
    until: datetime | None = None
    name: str = "the list"
    walks: int = 1
    is_done: bool = False
    #: Pages that left the walk, and those that arrived where they are stored: they overtake each other.
    given: int = 0
    taken: int = 0
    #: Keys seen in any walk; `walked` those of this walk.
    seen: set[str | None] = field(default_factory=set)
    walked: set[str | None] = field(default_factory=set)
    before: tuple[str | None, ...] = ()
    totals: list[int] = field(default_factory=list)
    largest: int = 0
    #: Replies of this walk.
    replies: int = 0
    stale: int = 0
    found_new: bool = False
    #: Walks before this one, in a row, that found nothing new.
    quiet: int = 0
    #: It ended because what follows is older than what is wanted, not because there is nothing more.
    is_cut: bool = False

    def note(self, page: Page) -> None:
        """Take in what a page showed."""
        self.replies += 1
        keys = set(page.keys)
        self.stale = 0 if keys - self.walked else self.stale + 1
        self.found_new = self.found_new or bool(keys - self.seen)
        self.seen |= keys
        self.walked |= keys
        self.before = page.keys
        self.largest = max(self.largest, page.rows)
        if page.total is not None:
            self.totals.append(page.total)

    def again(self) -> None:
        """Begin another walk."""
        self.walks += 1
        self.quiet = 0 if self.found_new else self.quiet + 1
        self.walked, self.totals, self.before = set(), [], ()
        self.stale, self.replies, self.found_new, self.is_cut = 0, 0, False, False

    @property
    def is_taken(self) -> bool:
        """Whether all of it arrived."""
        return self.is_done and self.given == self.taken

    @property
    def total(self) -> int | None:
        """The total that was stated last."""
        return self.totals[-1] if self.totals else None


@dataclass(frozen=True)
class Asked:
    """What a call was for: its lane, where its page begins, and how often it was empty so far."""

    lane: Lane
    position: Position
    number: int = 0
    empties: int = 0


@dataclass(frozen=True)
class Read:
    """A page on its way to columns, and the lane that it is of."""

    page: Page
    lane: Lane


class ListWalk(Walk):
    """Walks the lanes of one profile's list, `at_once` of them together.

    `since` ends a list that comes newest first; `instant` reads its dates. `known`: how many records of the
    source are stored, without which an empty list is believed. `newest` is the newest change seen.
    """

    def __init__(
        self,
        calls: Calls,
        reader: PageReader,
        lanes: Sequence[Lane],
        *,
        at_once: int = 1,
        known: int = 0,
        since: datetime | None = None,
        instant: Callable[[str | None], datetime | None] | None = None,
    ) -> None:
        self._calls, self._reader, self._lanes = calls, reader, list(lanes)
        self._at_once, self._known, self._since, self._instant = at_once, known, since, instant
        self._waiting = iter(self._lanes)
        paging = calls.list.paging
        self._is_counted = paging.kind in ("offset", "page")
        self._is_steady = paging.kind == "none" or paging.steady
        self.newest: datetime | None = None

    def begin(self) -> Sequence[Call]:
        """The first pages of the first lanes."""
        return [call for _ in range(self._at_once) for call in self._next_lane()]

    def _next_lane(self) -> list[Call]:
        lane = next(self._waiting, None)
        return [] if lane is None else [self._call(Asked(lane, self._calls.first))]

    def _call(self, asked: Asked) -> Call:
        return self._calls.call(asked.lane.narrowed, asked.position, asked)

    def accept(self, call: Call, reply: Reply) -> Step:
        """Take a page in and ask for the next one."""
        asked: Asked = call.tag
        where = f"{asked.lane.name}, page {asked.number + 1} of walk {asked.lane.walks}"
        page = self._reader.page(call, reply, where)
        following = self._calls.following(call, asked.position, page)
        if not page.rows:
            return Step(calls=self._after_nothing(call, asked, page, following))
        if page.keys == asked.lane.before:
            return Step(calls=self._after_the_same(call, asked, page))
        if asked.lane.stale >= _STALE_PAGES and not set(page.keys) - asked.lane.walked:
            raise Transient(f"{call}: the pages of {asked.lane.name} go round in a circle", key="profile")
        if following is not None and following == asked.position:
            raise Transient(f"{call}: the answer names its own page as the next one", key="profile")
        asked.lane.note(page)
        self._note_dates(asked.lane, page)
        asked.lane.given += 1
        calls = self._ended(asked.lane) if self._is_end(asked, page, following) else self._onward(asked, following)
        return Step((reply.body,), calls, where, Read(page, asked.lane))

    def _onward(self, asked: Asked, following: Position) -> list[Call]:
        return [self._call(Asked(asked.lane, following, asked.number + 1))]

    def _after_nothing(self, call: Call, asked: Asked, page: Page, following: Position) -> list[Call]:
        """After an empty page: the end, unless there is reason to think that there is more."""
        lane = asked.lane
        if not self._is_counted and following is not None and following != asked.position:
            return self._onward(asked, following)
        expected = max(page.total or 0, lane.total or 0)
        is_first = asked.number == 0
        is_bare = is_first and lane.until is None and not lane.seen
        is_odd = is_bare or len(lane.walked) < expected or (is_first and bool(lane.seen))
        doubts = _EMPTY_CONFIRMATIONS if is_odd else int(is_first)
        if asked.empties < doubts:
            return [self._call(Asked(lane, asked.position, asked.number, asked.empties + 1))]
        if is_bare and self._known:
            raise Transient(f"{call}: no dossiers at all, but {self._known} were read before")
        lane.replies += 1
        return self._ended(lane)

    def _after_the_same(self, call: Call, asked: Asked, page: Page) -> list[Call]:
        """After a page that came again: some systems repeat the last one for ever; anywhere else it is a fault."""
        lane, total = asked.lane, page.total
        is_beyond = len(lane.walked) >= total if total is not None else page.is_last is not False and self._is_counted
        if not is_beyond:
            raise Transient(f"{call}: page {asked.number + 1} of {lane.name} is the one before it again", key="profile")
        return self._ended(lane)

    def _note_dates(self, lane: Lane, page: Page) -> None:
        if self._instant is None or self._since is None:
            return
        times = [time for time in map(self._instant, page.dates) if time]
        self.newest = max([*times, *([self.newest] if self.newest else [])], default=None)
        # A page that is not in order says nothing of what follows it.
        in_order = all(earlier >= later for earlier, later in pairwise(times))
        lane.is_cut = bool(times) and in_order and times[-1] < self._since

    def _is_end(self, asked: Asked, page: Page, following: Position) -> bool:
        if asked.lane.is_cut or following is None:
            return True
        if self._is_counted and self._is_full(asked, page):
            return False
        if page.is_last is not None or not self._is_counted:
            return bool(page.is_last)
        if page.pages is not None and asked.number + 1 >= page.pages:
            return True
        return page.total is not None and len(asked.lane.walked) >= page.total

    def _is_full(self, asked: Asked, page: Page) -> bool:
        """Whether there may be more, whatever the total says: as many rows as were asked for, or as came before."""
        return page.rows >= self._calls.rows or (asked.number > 0 and page.rows >= asked.lane.largest)

    def _ended(self, lane: Lane) -> list[Call]:
        """The calls after the end of a walk: another walk of the lane where rows may be missing, or the next lane."""
        if not self._may_lack(lane):
            lane.is_done = True
            return self._next_lane()
        if lane.walks > _REWALKS:
            raise SourceError("dossiers vanish from the list faster than it can be read; the night can be run again")
        lane.again()
        return [self._call(Asked(lane, self._calls.first))]

    def _may_lack(self, lane: Lane) -> bool:
        has_shrunk = any(later < earlier for earlier, later in pairwise(lane.totals))
        is_short = lane.total is not None and not lane.is_cut and len(lane.seen) < lane.total
        is_shown = self._since is not None and lane.total is not None
        is_blind = not self._is_steady and not is_shown and lane.replies > 1
        # Rows left under the reader, or the system miscounts: walks in a row that find nothing new say which.
        wanted = 2 if has_shrunk or is_short else int(is_blind)
        return (0 if lane.found_new else lane.quiet + 1) < wanted

    @property
    def until(self) -> datetime | None:
        """Until when the source was read: by the lanes, from the first on, of which every page was taken."""
        found = None
        for until, lanes in groupby(self._lanes, key=lambda lane: lane.until):
            if not all(lane.is_taken for lane in lanes):
                break
            found = until
        return found

    def newest_lanes_first(self) -> None:
        """Begin at the end: for who wants to see a few records."""
        self._waiting = iter(self._lanes[::-1])
