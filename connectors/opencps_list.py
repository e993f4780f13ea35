"""The portal's dossier list: what may be asked of it, and reading an answer without losing a row.

Belongs here: a question (`Slice`), the state machine that reads questions completely or says that it could
not, and what it may ask about records stored earlier. Does not belong here: which questions a night asks
(`opencps.py`), and the columns of a record (`opencps_records.py`).
"""

# ruff: noqa: N815  fields are named as the source names them
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from itertools import groupby
from typing import Protocol

import msgspec

from connectors.opencps_details import detail_call, read_detail
from connectors.opencps_records import ensure_logged_in, site_headers
from connectors.protocol import Call, Permanent, Reply, Step, Transient, Walk
from connectors.settings import OpenCpsSettings

#: Without it the server lists system 0 only; 5 holds what was created from the national portal.
ALL_SYSTEMS = "0,1,2,3,4,5"

#: Every status of the product; a day that reaches the list limit is divided by them.
STATUSES = (
    "new",
    "collecting",
    "receiving",
    "waiting",
    "correcting",
    "paying",
    "processing",
    "interoperating",
    "pausing",
    "releasing",
    "posting",
    "handover",
    "done",
    "cancelling",
    "cancelled",
    "denied",
    "unresolved",
)
#: Before this day no portal of this kind existed: lower end of the reporting set when it must be divided.
EARLIEST = date(2010, 1, 1)
LATEST = date(2099, 12, 31)
#: An empty answer is also what a failed search looks like; it is believed after so many further answers.
_ZERO_CONFIRMATIONS = 2
#: Stored dossiers that are asked about when a list says that it has none.
_WITNESSES = 3
#: A list that has nothing of what the database has is asked again half so often before the night gives it up.
_DOUBTS = 6
#: A slice whose rows and total disagree is read again so often before it is divided.
_REREADS = 3


class Store(Protocol):
    """What the walk may ask about records stored earlier; days are the source's own calendar days."""

    def known(self, site: int, axis: str, first: date, last: date) -> int:
        """How many stored dossiers of a site have their submit or receive day in [first, last]."""
        ...

    def some(self, site: int, axis: str, first: date, last: date) -> Sequence[int]:
        """A few of the dossiers that `known` counts, by dossierId."""
        ...

    def unreceived(self, site: int, before: date) -> Sequence[date]:
        """Submission days before `before` on which the store knows dossiers neither received nor closed."""
        ...

    def first_day(self) -> date | None:
        """The first submission day of any stored dossier; None before the first one."""
        ...

    def unsubmitted(self, site: int, first: date, last: date) -> bool:
        """Whether a stored dossier without a submission day has its reception in [first, last]."""
        ...


class NothingStored:
    """An empty store: a first load."""

    def known(self, site: int, axis: str, first: date, last: date) -> int:  # noqa: ARG002
        """Nothing is known."""
        return 0

    def some(self, site: int, axis: str, first: date, last: date) -> Sequence[int]:  # noqa: ARG002
        """Nothing is known."""
        return ()

    def unreceived(self, site: int, before: date) -> Sequence[date]:  # noqa: ARG002
        """Nothing is waiting."""
        return ()

    def first_day(self) -> date | None:
        """Nothing is stored."""
        return None

    def unsubmitted(self, site: int, first: date, last: date) -> bool:  # noqa: ARG002
        """Nothing is stored."""
        return False


@dataclass(frozen=True)
class Slice:
    """One question to the list: a site, a window of days on an axis, and whatever divides it further.

    `statistic` turns it into the reporting set of that window; `first`/`last` then divide the set by
    the day of reception and may be absent. `before` keeps what has its day on another axis up to a day.
    `deleted` asks for what the default list hides because its originality is above 3 as a text: deleted
    dossiers (90 to 98), but also other ones (4) and groups (9).
    """

    site: int
    axis: str
    first: date | None = None
    last: date | None = None
    status: str | None = None
    statistic: tuple[date, date] | None = None
    before: tuple[str, date] | None = None
    deleted: bool = False

    def __str__(self) -> str:
        window = f"{self.first:%d/%m/%Y}-{self.last:%d/%m/%Y}" if self.first and self.last else "all days"
        name = ("deleted, " if self.deleted else "") + ("statistic" if self.statistic else self.axis)
        return f"site {self.site}, {name} {window}" + (f", status {self.status}" if self.status else "")

    def params(self) -> tuple[tuple[str, str], ...]:
        """Query parameters, without paging."""
        params = [("systemId", ALL_SYSTEMS), *([("originality", "-1")] if self.deleted else [])]
        if self.statistic:
            params += [("top", "statistic"), *_window("Statistic", *self.statistic)]
        if self.first and self.last:
            params += _window(self.axis.capitalize(), self.first, self.last)
        if self.before:
            params += _window(self.before[0].capitalize(), EARLIEST, self.before[1])
        if self.status:
            params.append(("status", self.status))
        return tuple(params)

    def divided(self) -> tuple[Slice, ...]:
        """The same question in parts: by halves of the window down to a day, then by status; () when it cannot be."""
        if self.first is None or self.last is None:
            last = self.statistic[1] if self.statistic else LATEST
            return replace(self, first=EARLIEST, last=last).divided()
        if self.first < self.last:
            middle = self.first + (self.last - self.first) // 2
            return replace(self, last=middle), replace(self, first=middle + timedelta(days=1))
        if self.status is None:
            return tuple(replace(self, status=status) for status in STATUSES)
        return ()


def _window(name: str, first: date, last: date) -> list[tuple[str, str]]:
    return [(f"from{name}Date", f"{first:%d/%m/%Y}"), (f"to{name}Date", f"{last:%d/%m/%Y}")]


class _Identified(msgspec.Struct):
    dossierId: int | str | None = None


class _Envelope(msgspec.Struct):
    total: int
    data: list[msgspec.Raw] | None = None


class _Identities(msgspec.Struct):
    data: list[_Identified] | None = None


_envelopes = msgspec.json.Decoder(_Envelope)
_identities = msgspec.json.Decoder(_Identities)


@dataclass
class _Reading:
    """State of one slice: what its pages said so far."""

    total: int = 0
    waiting: int = 0
    again: int = 0
    zeros: int = 0
    #: How often the database had what an empty list should have held.
    doubts: int = 0
    union: set[int | str | None] = field(default_factory=set)
    before: int = 0
    #: offset → rows of the pages of the current reading.
    rows: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Page:
    slice: Slice
    start: int


@dataclass(frozen=True)
class _Witness:
    """A stored dossier that an empty list should have held: asked about at the database."""

    slice: Slice
    known: int
    #: Those still to be asked about, this one first.
    dossiers: tuple[int, ...]


class ListWalk(Walk):
    """Reads slices of the dossier list completely, or says that it could not.

    Complete means: as many distinct ids as the largest total that any page of the reading stated.
    Unstable ties, rows that move between pages and searches that failed behind a 200 all show as
    fewer; the slice is then read again, and divided when that does not help. `margin` is how many days
    at a window's start may belong to the day before in the index's zone.
    """

    def __init__(
        self, slices: Sequence[Slice], settings: OpenCpsSettings, store: Store | None = None, *, margin: int = 1
    ) -> None:
        self._slices = tuple(slices)
        self._rows = min(settings.page_rows, settings.search_limit)
        self._limit = settings.search_limit
        self._store = store or NothingStored()
        self._margin = timedelta(days=margin)
        self._readings: dict[Slice, _Reading] = {}

    def begin(self) -> Sequence[Call]:
        """The first page of every slice."""
        return [self._open(item) for item in self._slices]

    def accept(self, call: Call, reply: Reply) -> Step:
        """Take a page in, or what the database says of a dossier that an empty list should have held."""
        if isinstance(call.tag, _Witness):
            return self._heard(call.tag, call, reply)
        ensure_logged_in(call, reply)
        page: _Page = call.tag
        total, rows, ids = decode(call, reply)
        if page.start == 0:
            return self._first(page.slice, call, total, rows, ids)
        if total == 0:
            raise Transient(f"{page.slice}: total fell to 0 between two pages")
        return self._take(page, total, rows, ids)

    def _open(self, item: Slice) -> Call:
        self._readings[item] = _Reading()
        return self._call(item, 0)

    def _call(self, item: Slice, start: int) -> Call:
        paging = (("start", str(start)), ("end", str(start + self._rows)))
        return Call("/dossiers", (*item.params(), *paging), site_headers(item.site), _Page(item, start))

    def _first(self, item: Slice, call: Call, total: int, rows: list[bytes], ids: list[int | str | None]) -> Step:
        reading = self._readings[item]
        if total == 0 and not rows:
            return self._zero(item, call, reading)
        if total >= self._limit:
            return self._divide(item, f"reaches the limit of {self._limit} rows")
        offsets = range(self._rows, total, self._rows)
        reading.waiting = 1 + len(offsets)
        step = self._take(_Page(item, 0), total, rows, ids)
        return replace(step, calls=[*(self._call(item, start) for start in offsets), *step.calls])

    def _zero(self, item: Slice, call: Call, reading: _Reading) -> Step:
        if reading.union:
            raise Transient(f"{item}: total fell to 0 after {len(reading.union)} rows")
        # Whoever is deleted and not shown as such today is shown tomorrow.
        if not item.deleted and reading.zeros < _ZERO_CONFIRMATIONS:
            reading.zeros += 1
            return Step(calls=[call])
        known = self._known(item)
        if not known:
            del self._readings[item]
            return Step()
        some = tuple(self._store.some(item.site, item.axis, *self._sure(item))[:_WITNESSES])
        if not some or reading.doubts >= _DOUBTS:
            raise _emptied(item, known)
        return Step(calls=[self._ask(_Witness(item, known, some))])

    def _ask(self, witness: _Witness) -> Call:
        return detail_call(witness.slice.site, witness.dossiers[0], witness)

    def _heard(self, witness: _Witness, call: Call, reply: Reply) -> Step:
        """An empty list is believed when the database has none of the witnesses any more, not on those days."""
        item, detail = witness.slice, read_detail(call, reply)
        reading, day, (first, last) = self._readings[item], detail.day(item.axis), self._sure(item)
        if detail.is_there and day is not None and first <= day <= last:
            reading.doubts += 1
            if reading.doubts % 2:
                # The usual pause first, then the list once more.
                raise _emptied(item, witness.known)
            reading.zeros = 0
            return Step(calls=[self._call(item, 0)])
        if rest := witness.dossiers[1:]:
            return Step(calls=[self._ask(replace(witness, dossiers=rest))])
        del self._readings[item]
        return Step()

    def _known(self, item: Slice) -> int:
        # Only days that are never cleared again count; the first day may belong to the day before in the index's zone.
        is_plain = not (item.statistic or item.status or item.before or item.deleted)
        if not is_plain or item.axis not in ("submit", "receive") or not (item.first and item.last):
            return 0
        return self._store.known(item.site, item.axis, *self._sure(item))

    def _sure(self, item: Slice) -> tuple[date, date]:
        """The days that a window holds whatever the index's zone."""
        return (item.first or EARLIEST) + self._margin, item.last or LATEST

    def _divide(self, item: Slice, why: str) -> Step:
        parts = item.divided()
        if not parts:
            raise Permanent(
                f"{item}: {why} and cannot be divided further",
                hint="Ask the portal's operator to raise index.search.limit",
            )
        del self._readings[item]
        return Step(calls=[self._open(part) for part in parts])

    def _take(self, page: _Page, total: int, rows: list[bytes], ids: list[int | str | None]) -> Step:
        reading = self._readings[page.slice]
        reading.total = max(reading.total, total)
        reading.waiting -= 1
        reading.rows[page.start] = len(rows)
        reading.union.update(ids)
        calls = () if reading.waiting else self._settle(page.slice, reading)
        return Step(rows, calls, f"{page.slice}, rows from {page.start}", page.slice)

    def _beyond(self, item: Slice, reading: _Reading) -> Sequence[Call]:
        """A full last page may have another behind it: the total comes from a count of its own, and can lag."""
        last = max(reading.rows)
        if reading.rows[last] < self._rows or last + self._rows >= self._limit:
            return ()
        reading.waiting = 1
        return [self._call(item, last + self._rows)]

    def _settle(self, item: Slice, reading: _Reading) -> Sequence[Call]:
        if len(reading.union) >= reading.total:
            calls = self._beyond(item, reading)
            if not calls:
                del self._readings[item]
            return calls
        gained = len(reading.union) > reading.before
        if reading.again < _REREADS:
            reading.before = len(reading.union)
            reading.again += 1
            reading.total, reading.rows = 0, {}
            return [self._call(item, 0)]
        if not gained and self._ended_early(reading):
            # The same rows every time, and only the end is short: the list is whole, the count query is off.
            del self._readings[item]
            return ()
        return self._divide(item, f"gives {len(reading.union)} of {reading.total} rows on every reading").calls

    def _ended_early(self, reading: _Reading) -> bool:
        counts = [reading.rows[start] for start in sorted(reading.rows)]
        short = next((index for index, count in enumerate(counts) if count < self._rows), len(counts))
        return sum(counts) > 0 and not any(counts[short + 1 :]) and sum(counts) == len(reading.union)


def _emptied(item: Slice, known: int) -> Transient:
    return Transient(
        f"{item}: the portal answers 0 dossiers, but {known} are stored for these days",
        hint="A failed search looks like an empty list; check the portal's index",
    )


def decode(call: Call, reply: Reply) -> tuple[int, list[bytes], list[int | str | None]]:
    """Total, records and ids of a page of the list; `Transient` when it is none."""
    try:
        envelope = _envelopes.decode(reply.body)
        identities = _identities.decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # `from None`: the decoder's message may quote what the portal said.
        raise Transient(f"{call}: the answer is not a dossier list ({len(reply.body)} bytes)") from None
    rows = [bytes(piece) for piece in envelope.data or ()]
    return envelope.total, rows, [item.dossierId for item in identities.data or ()]


def months(first: date, last: date) -> Iterator[tuple[date, date]]:
    """[first, last] in calendar months."""
    while first <= last:
        following = (first.replace(day=1) + timedelta(days=32)).replace(day=1)
        yield first, min(last, following - timedelta(days=1))
        first = following


def runs(days: Iterable[date]) -> Iterator[tuple[date, date]]:
    """Neighbouring days as windows; each begins a day early, for an index kept in another zone."""
    ordered = sorted(set(days))
    for _, group in groupby(enumerate(ordered), key=lambda pair: pair[1].toordinal() - pair[0]):
        members = [day for _, day in group]
        yield members[0] - timedelta(days=1), members[-1]
