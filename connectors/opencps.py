"""Provincial service portal: OpenCPS REST v2.

Belongs here: the wire contract of its dossier list, the state machines that read it without losing
a row, and the connection that joins them with the shared loop. Does not belong here: storage, and
what its codes mean.

There is no "updated since" filter. A span is therefore read through several windows (axes) of day
granularity: submitted and received month by month; released and finished (in a first load or a
back-fill only for what came before the span: the rest came in it); and the API's own reporting set
(`top=statistic`), which holds whatever was still open. A dossier that was submitted but
never received is in none of them later on, so the days on which the store knows such dossiers are
read again by their submission day. What changed outside every window (a paper replaced long after
the result was handed over) is seen when its month is read again as a back-fill.
"""

# ruff: noqa: N815  fields are named as the source names them
from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from http import HTTPStatus
from itertools import groupby
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from connectors.contract import (
    SEEN,
    Broken,
    Clause,
    RecordContract,
    any_said,
    present,
    readable_date,
    wire_field,
)
from connectors.loop import Loop, Pages, light_sender
from connectors.protocol import (
    Batch,
    Call,
    Completed,
    Part,
    Permanent,
    Reply,
    SourceError,
    Span,
    Step,
    Transient,
    Walk,
    ensure_usable,
)
from connectors.records import Reader, Typed, coerce, struct_of
from connectors.settings import OpenCpsSettings, secret

STREAM = "dossiers"

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
_EARLIEST = date(2010, 1, 1)
_LATEST = date(2099, 12, 31)
#: Months are stored together until they make so many rows, for each of which two more calls may follow.
BATCH_ROWS = 2_000
#: An empty answer is also what a failed search looks like; it is believed after so many further answers.
_ZERO_CONFIRMATIONS = 2
#: A slice whose rows and total disagree is read again so often before it is divided.
_REREADS = 3

_DATES = ("%d/%m/%Y %H:%M:%S",)
_TEXT = pa.string()
_WHOLE = pa.int64()

_FILE = pa.struct(
    [
        ("dossierFileId", _WHOLE),
        ("dossierPartNo", _TEXT),
        ("dossierPartType", _WHOLE),
        ("fileSize", _WHOLE),
        ("removed", pa.bool_()),
        ("eForm", pa.bool_()),
        ("signCheck", _WHOLE),
    ]
)
_PAYMENT = pa.struct(
    [
        ("paymentFileId", _WHOLE),
        ("feeAmount", _WHOLE),
        ("paymentAmount", _WHOLE),
        ("paymentStatus", _WHOLE),
        ("paymentMethod", _TEXT),
        ("confirmDatetime", _TEXT),
    ]
)

_LIST = (
    wire_field("groupId", _TEXT, "Mã trang (site) của cơ quan", "Site of the agency"),
    wire_field("dossierId", _WHOLE, "Mã hồ sơ trong hệ thống", "Database id, per installation"),
    wire_field("referenceUid", _TEXT, "Mã tham chiếu", "Shared between installations"),
    wire_field("dossierNo", _TEXT, "Mã hồ sơ", "Public code, blank until received"),
    wire_field("originality", _TEXT, "Nguồn gốc hồ sơ", "1 online, 2 inter-agency, 3 one-stop; negative: deleted"),
    wire_field("originDossierId", _WHOLE, "Hồ sơ gốc", "Parent of an inter-agency copy, 0 for none"),
    wire_field("systemId", _WHOLE, "Hệ thống tạo", "5: created from the national portal"),
    wire_field("serviceCode", _TEXT, "Mã thủ tục", "Procedure, may carry a local suffix"),
    wire_field("serviceLevel", _WHOLE, "Mức độ dịch vụ công", "0: not indexed"),
    wire_field("govAgencyCode", _TEXT, "Mã cơ quan", "Agency"),
    wire_field("govAgencyName", _TEXT, "Tên cơ quan", "Name of the agency"),
    wire_field("createDate", _TEXT, "Ngày tạo", "Created, dd/MM/yyyy HH:mm:ss"),
    wire_field("modifiedDate", _TEXT, "Ngày sửa", "Changed"),
    wire_field("submitDate", _TEXT, "Ngày nộp", "Submitted by the applicant"),
    wire_field("receiveDate", _TEXT, "Ngày tiếp nhận", "Accepted by the one-stop desk"),
    wire_field("dueDate", _TEXT, "Ngày hẹn trả", "Promised return"),
    wire_field("extendDate", _TEXT, "Ngày gia hạn", "Extended"),
    wire_field("releaseDate", _TEXT, "Ngày có kết quả", "Result ready"),
    wire_field("finishDate", _TEXT, "Ngày trả kết quả", "Result handed over"),
    wire_field("cancellingDate", _TEXT, "Ngày yêu cầu rút", "Withdrawal asked"),
    wire_field("dossierStatus", _TEXT, "Trạng thái", "Status"),
    wire_field("dossierSubStatus", _TEXT, "Trạng thái con", "Sub-status of the site's dictionary"),
    wire_field("lockState", _TEXT, "Tình trạng khóa", "PAUSE, PAUSE_OVERDUE, LOCK"),
    wire_field("online", _TEXT, "Nộp trực tuyến", "Submitted online (true/false as text)"),
    wire_field("viaPostal", _TEXT, "Trả qua bưu chính", "Return by post, 2: used"),
    wire_field("fromViaPostal", _TEXT, "Nộp qua bưu chính", "Above 0: submitted by post"),
)
_DATE_FIELDS = {
    "createDate": "Ngày tạo",
    "modifiedDate": "Ngày sửa",
    "submitDate": "Ngày nộp",
    "receiveDate": "Ngày tiếp nhận",
    "dueDate": "Ngày hẹn trả",
    "extendDate": "Ngày gia hạn",
    "releaseDate": "Ngày có kết quả",
    "finishDate": "Ngày trả kết quả",
    "cancellingDate": "Ngày yêu cầu rút",
}

DOSSIERS = RecordContract(
    kind="portal",
    schema=pa.schema(
        [
            *_LIST,
            wire_field("files", pa.list_(_FILE), "Tệp của hồ sơ (không có tên tệp)", "Files, without names"),
            wire_field("payment", _PAYMENT, "Thanh toán", "Payment, at most one by this API"),
        ]
    ),
    details=("files", "payment"),
    key='"groupId" || \':\' || CAST("dossierId" AS VARCHAR)',
    newest=f'try_strptime("modifiedDate", \'{_DATES[0]}\') DESC NULLS LAST, "{SEEN}" DESC',
    clauses=(
        Clause(
            "key_present",
            "coalesce(\"groupId\", '') <> '' AND coalesce(\"dossierId\", 0) <> 0",
            ("groupId", "dossierId"),
            "Thiếu mã trang hoặc mã hồ sơ (groupId, dossierId)",
        ),
        any_said(
            "some_date_present",
            ("submitDate", "receiveDate", "createDate"),
            "Không có ngày nộp, ngày tiếp nhận hay ngày tạo",
        ),
        *(readable_date(name, _DATES, label) for name, label in _DATE_FIELDS.items()),
        present("serviceCode", "mã thủ tục"),
        present("govAgencyCode", "mã cơ quan"),
        # Blank is a status of its own: a draft.
        Clause("dossierStatus_present", '"dossierStatus" IS NOT NULL', ("dossierStatus",), "Thiếu trạng thái"),
    ),
)
_LIST_SCHEMA = pa.schema([item for item in _LIST if item.name != "groupId"])


class Store(Protocol):
    """What the walk may ask about records stored earlier; days are the source's own calendar days."""

    def known(self, site: int, axis: str, first: date, last: date) -> int:
        """How many stored dossiers of a site have their submit or receive day in [first, last]."""
        ...

    def unreceived(self, site: int, before: date) -> Sequence[date]:
        """Submission days before `before` on which the store knows dossiers neither received nor closed."""
        ...


class NothingStored:
    """An empty store: a first load."""

    def known(self, site: int, axis: str, first: date, last: date) -> int:  # noqa: ARG002
        """Nothing is known."""
        return 0

    def unreceived(self, site: int, before: date) -> Sequence[date]:  # noqa: ARG002
        """Nothing is waiting."""
        return ()


@dataclass(frozen=True)
class Slice:
    """One question to the list: a site, a window of days on an axis, and whatever divides it further.

    `statistic` turns it into the reporting set of that window; `first`/`last` then divide the set by
    the day of reception and may be absent. `before` keeps what has its day on another axis up to a day.
    """

    site: int
    axis: str
    first: date | None = None
    last: date | None = None
    status: str | None = None
    statistic: tuple[date, date] | None = None
    before: tuple[str, date] | None = None

    def __str__(self) -> str:
        window = f"{self.first:%d/%m/%Y}-{self.last:%d/%m/%Y}" if self.first and self.last else "all days"
        name = "statistic" if self.statistic else self.axis
        return f"site {self.site}, {name} {window}" + (f", status {self.status}" if self.status else "")

    def params(self) -> tuple[tuple[str, str], ...]:
        """Query parameters, without paging."""
        params = [("systemId", ALL_SYSTEMS)]
        if self.statistic:
            params += [("top", "statistic"), *_window("Statistic", *self.statistic)]
        if self.first and self.last:
            params += _window(self.axis.capitalize(), self.first, self.last)
        if self.before:
            params += _window(self.before[0].capitalize(), _EARLIEST, self.before[1])
        if self.status:
            params.append(("status", self.status))
        return tuple(params)

    def divided(self) -> tuple[Slice, ...]:
        """The same question in parts: by halves of the window down to a day, then by status; () when it cannot be."""
        if self.first is None or self.last is None:
            last = self.statistic[1] if self.statistic else _LATEST
            return replace(self, first=_EARLIEST, last=last).divided()
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
    union: set[int | str | None] = field(default_factory=set)
    before: int = 0
    #: offset → rows of the pages of the current reading.
    rows: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Page:
    slice: Slice
    start: int


class ListWalk(Walk):
    """Reads slices of the dossier list completely, or says that it could not.

    Complete means: as many distinct ids as the largest total that any page of the reading stated.
    Unstable ties, rows that move between pages and searches that failed behind a 200 all show as
    fewer; the slice is then read again, and divided when that does not help.
    """

    def __init__(self, slices: Sequence[Slice], settings: OpenCpsSettings, store: Store | None = None) -> None:
        self._slices = tuple(slices)
        self._rows = min(settings.page_rows, settings.search_limit)
        self._limit = settings.search_limit
        self._store = store or NothingStored()
        self._readings: dict[Slice, _Reading] = {}

    def begin(self) -> Sequence[Call]:
        """The first page of every slice."""
        return [self._open(item) for item in self._slices]

    def accept(self, call: Call, reply: Reply) -> Step:
        """Take a page in."""
        ensure_logged_in(call, reply)
        page: _Page = call.tag
        total, rows, ids = _decode(call, reply)
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
        if reading.zeros < _ZERO_CONFIRMATIONS:
            reading.zeros += 1
            return Step(calls=[call])
        known = self._known(item)
        if known:
            raise Transient(
                f"{item}: the portal answers 0 dossiers, but {known} are stored for these days",
                hint="A failed search looks like an empty list; check the portal's index",
            )
        del self._readings[item]
        return Step()

    def _known(self, item: Slice) -> int:
        # Only days that are never cleared again count; the first day may belong to the day before in the index's zone.
        if item.statistic or item.status or item.axis not in ("submit", "receive") or not (item.first and item.last):
            return 0
        return self._store.known(item.site, item.axis, item.first + timedelta(days=1), item.last)

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
        return Step(rows, calls, f"{page.slice}, rows from {page.start}", page.slice.site)

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


def _decode(call: Call, reply: Reply) -> tuple[int, list[bytes], list[int | str | None]]:
    try:
        envelope = _envelopes.decode(reply.body)
        identities = _identities.decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # `from None`: the decoder's message may quote what the portal said.
        raise Transient(f"{call}: the answer is not a dossier list ({len(reply.body)} bytes)") from None
    rows = [bytes(piece) for piece in envelope.data or ()]
    return envelope.total, rows, [item.dossierId for item in identities.data or ()]


def site_headers(site: int | str) -> tuple[tuple[str, str], ...]:
    """Headers of every call: the site is a mandatory filter, and without Accept the portal may answer XML."""
    return ("groupId", str(site)), ("Accept", "application/json")


def ensure_logged_in(call: Call, reply: Reply) -> None:
    """Raise for what OpenCPS says instead of an answer: 203 is "not logged in", 403 is everything else."""
    if reply.status in (HTTPStatus.NON_AUTHORITATIVE_INFORMATION, HTTPStatus.UNAUTHORIZED):
        raise Permanent(
            f"{call}: the portal says that nobody is logged in (HTTP {reply.status})",
            hint="Check what username_env and password_env name, and that the account may use the REST API",
            key="username_env, password_env",
        )
    if reply.status == HTTPStatus.FORBIDDEN:
        raise Transient(
            f"{call}: the portal refused with HTTP 403, its answer to every inner error",
            hint="If it stays: check that `sites` lists the right groupId and that the account has rights there",
            key="sites",
        )
    ensure_usable(call, reply)


_FILES: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
    msgspec.defstruct("Files", [("data", list[struct_of(_FILE)] | None, None), ("total", int | None, None)])  # type: ignore[misc]
)
_PAYMENTS: msgspec.json.Decoder[Any] = msgspec.json.Decoder(struct_of(_PAYMENT) | None)


class DetailWalk(Walk):
    """Files and payment of changed dossiers: two calls each, in any order."""

    def __init__(self, dossiers: Sequence[tuple[str, int]]) -> None:
        self._dossiers = tuple(dossiers)
        self.files: list[list[dict[str, Any]] | None] = [None] * len(self._dossiers)
        self.payments: list[dict[str, Any] | None] = [None] * len(self._dossiers)
        self.failed: dict[int, SourceError] = {}

    def begin(self) -> Sequence[Call]:
        """Both calls of every dossier."""
        return [
            Call(f"/dossiers/{dossier}/{what}", (), site_headers(site), (index, what))
            for index, (site, dossier) in enumerate(self._dossiers)
            for what in ("files", "payment")
        ]

    def accept(self, call: Call, reply: Reply) -> Step:
        """Keep the contract's fields of one answer."""
        ensure_logged_in(call, reply)
        index, what = call.tag
        try:
            if what == "files":
                self.files[index] = _files(reply.body)
            else:
                self.payments[index] = _payment(reply.body)
        except (msgspec.DecodeError, ValueError, UnicodeDecodeError):
            raise Transient(f"{call}: the answer cannot be read ({len(reply.body)} bytes)") from None
        return Step()

    def forgive(self, call: Call, error: SourceError) -> bool:
        """Yes while it concerns single dossiers: they go to quarantine; many at once is a failure of the source."""
        if isinstance(error, Permanent):
            return False
        self.failed[call.tag[0]] = error
        return len(self.failed) <= max(5, len(self._dossiers) // 20)


def _files(body: bytes) -> list[dict[str, Any]]:
    if not body.strip():
        return []
    return [coerce(item, _FILE) for item in _FILES.decode(body).data or ()]


def _payment(body: bytes) -> dict[str, Any] | None:
    """The payment, or None for every way of saying that there is none."""
    found = _PAYMENTS.decode(body) if body.strip() else None
    payment = coerce(found, _PAYMENT)
    return payment if payment and payment["paymentFileId"] else None


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


@dataclass(frozen=True)
class Portal:
    """An open portal."""

    settings: OpenCpsSettings
    loop: Loop
    store: Store

    async def batches(self, span: Span) -> AsyncIterator[Batch]:
        """Batches of whole months over all sites; each carries how far the source was read once it is stored.

        That is the end of its last month, or the newest change seen if that is earlier: by the
        source's clock, whatever ours says.
        """
        zone = ZoneInfo(self.settings.zone)
        first = span.start.astimezone(zone).date() - timedelta(days=self.settings.overlap_days)
        last = max(first, span.end.astimezone(zone).date())
        gathered = Pages(DOSSIERS.schema)
        newest: datetime | None = None
        for begin, end in months(first, last):
            await self._read(self._windows(span, (first, last), (begin, end)), gathered)
            if gathered.rows < BATCH_ROWS and end < last:
                continue
            records, broken = gathered.take()
            newest = max(filter(None, (newest, _newest_change(records, zone))), default=None)
            until = min(filter(None, (span.end, newest, None if end == last else _midnight_after(end, zone))))
            cursors = {STREAM: {"until": until.isoformat()}} if newest else {}
            yield Batch((Part(DOSSIERS, records, broken),), cursors)

    def _windows(self, span: Span, whole: tuple[date, date], month: tuple[date, date]) -> list[Slice]:
        slices = [*self._monthly(*month)]
        if span.is_update and month[1] == whole[1]:
            slices += self._still_open(*whole)
        if not span.is_update and month[0] == whole[0]:
            slices += self._from_before(*whole)
        return list(dict.fromkeys(slices))

    def _monthly(self, begin: date, end: date) -> Iterator[Slice]:
        for site in self.settings.sites:
            yield Slice(site, "submit", begin, end)
            yield Slice(site, "receive", begin, end)

    def _from_before(self, first: date, last: date) -> Iterator[Slice]:
        """What came before the span and was open when it began, or was released or finished in it.

        What came in the span needs no window of release: it is found by its submission or reception.
        """
        for site in self.settings.sites:
            yield Slice(site, "receive", _EARLIEST, first, statistic=(first, last))
            yield Slice(site, "release", first, last, before=("submit", first))
            yield Slice(site, "finish", first, last, before=("submit", first))

    def _still_open(self, first: date, last: date) -> Iterator[Slice]:
        """For an update: what was handled since, what is open, and what may still get papers and payments."""
        late = first - timedelta(days=self.settings.late_days)
        for site in self.settings.sites:
            yield Slice(site, "release", late, last)
            yield Slice(site, "finish", late, last)
            yield Slice(site, "receive", statistic=(first, last))
            for begin, end in runs(self.store.unreceived(site, first)):
                yield Slice(site, "submit", begin, end)

    async def _read(self, slices: Sequence[Slice], gathered: Pages) -> None:
        reader = Reader(_LIST_SCHEMA)

        def typed(step: Step) -> Typed:
            page = reader.read(step.records, where=lambda index: f"{step.where}#{index}")
            return replace(page, records=_as_dossiers(page.records, step.origin))

        async for page in self.loop.pages(ListWalk(slices, self.settings, self.store), typed):
            gathered.add(page)

    async def complete(self, records: pa.Table) -> Completed:
        """Fetch files and payments; a dossier whose cannot be had is left out and named as broken."""
        pairs = zip(records["groupId"].to_pylist(), records["dossierId"].to_pylist(), strict=True)
        walk = DetailWalk([(str(site), int(dossier)) for site, dossier in pairs])
        async for _ in self.loop.run(walk):
            pass
        table = records
        for name, values, kind in (("files", walk.files, pa.list_(_FILE)), ("payment", walk.payments, _PAYMENT)):
            table = table.set_column(table.schema.get_field_index(name), name, pa.array(values, kind))
        if not walk.failed:
            return Completed(table)
        kept = pa.array([index not in walk.failed for index in range(table.num_rows)])
        return Completed(table.filter(kept), tuple(_unread(records, index) for index in sorted(walk.failed)))


def _newest_change(records: pa.Table, zone: ZoneInfo) -> datetime | None:
    changes = pc.strptime(records["modifiedDate"], format=_DATES[0], unit="s", error_is_null=True)
    newest: datetime | None = pc.max(changes).as_py()
    return newest.replace(tzinfo=zone) if newest else None


def _midnight_after(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day + timedelta(days=1), datetime.min.time(), zone)


def _as_dossiers(records: pa.Table, site: int) -> pa.Table:
    """List columns completed to the contract's: the site asked, details not yet fetched."""
    given: Mapping[str, pa.ChunkedArray] = {name: records[name] for name in records.schema.names}
    filled = [
        pa.array([str(site)] * records.num_rows, _TEXT)
        if item.name == "groupId"
        else given.get(item.name, pa.nulls(records.num_rows, item.type))
        for item in DOSSIERS.schema
    ]
    return pa.table(filled, schema=DOSSIERS.schema)


def _unread(records: pa.Table, index: int) -> Broken:
    key = str(records["record_key"][index])
    return Broken(
        where=key,
        reason="details_unreadable",
        clause="files, payment",
        detail=f"Không đọc được tệp hoặc thanh toán của hồ sơ {key} sau nhiều lần thử; chưa lưu phiên bản này",
        content_hash=str(records["content_hash"][index]),
    )


@asynccontextmanager
async def connect(settings: OpenCpsSettings, store: Store | None = None) -> AsyncIterator[Portal]:
    """Open the portal; `MissingSecret` when a variable is not set."""
    credentials = f"{secret(settings.username_env)}:{secret(settings.password_env)}".encode()
    headers = {"Authorization": f"Basic {b64encode(credentials).decode()}"}
    async with light_sender(str(settings.base_url), settings.manners, headers=headers) as send:
        yield Portal(settings, Loop.over(send, settings.manners), store or NothingStored())


async def probe(settings: OpenCpsSettings) -> str:
    """Ask every site for one row, and say what came back."""
    async with connect(settings) as portal:
        walk = _ProbeWalk(settings.sites)
        async for _ in portal.loop.run(walk):
            pass
    silent = [str(site) for site, total in walk.totals.items() if total == 0]
    note = f"; without dossiers: {', '.join(silent)} (check `sites`)" if silent else ""
    return f"{len(settings.sites)} sites, {sum(walk.totals.values())} dossiers listed{note}"


class _ProbeWalk(Walk):
    def __init__(self, sites: Sequence[int]) -> None:
        self._sites = tuple(sites)
        self.totals: dict[int, int] = {}

    def begin(self) -> Sequence[Call]:
        params = (("systemId", ALL_SYSTEMS), ("start", "0"), ("end", "1"))
        return [Call("/dossiers", params, site_headers(site), site) for site in self._sites]

    def accept(self, call: Call, reply: Reply) -> Step:
        ensure_logged_in(call, reply)
        self.totals[call.tag] = _decode(call, reply)[0]
        return Step()
