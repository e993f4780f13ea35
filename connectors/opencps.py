"""Provincial service portal: OpenCPS REST v2.

Belongs here: which questions a night asks of the portal, and the connection that joins the walks with the
shared loop. Does not belong here: how one question is read (`opencps_list.py`), calls about single dossiers
(`opencps_details.py`), the wire contract (`opencps_records.py`), storage, and what its codes mean.

There is no "updated since" filter. A span is therefore read through several windows (axes) of day
granularity: submitted and received month by month; released and finished (in a first load or a
back-fill only for what came before the span: the rest came in it); and the API's own reporting set
(`top=statistic`), which holds whatever was still open. A dossier that was submitted but
never received is in none of them later on, so the days on which the store knows such dossiers are
read again by their submission day. What changed outside every window (a paper replaced long after
the result was handed over) and what vanished is found by the comparison: each night reads a part of the
history again by submission day, so that all of it is compared within `full_comparison_days` nights.

A deleted dossier keeps its row, with a negative originality, until it is deleted a second time. The portal
lists those only when asked for them; an update asks, so that a deletion is seen the next night. What is
hidden because nobody ever acted on it (`dossierActionId` 0) is never seen, and purged by the portal itself
after half an hour while its status is blank.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from connectors.contract import Broken
from connectors.loop import Loop, Pages, light_sender
from connectors.opencps_details import DetailWalk, PresenceWalk
from connectors.opencps_list import (
    ALL_SYSTEMS,
    EARLIEST,
    STATUSES,
    ListWalk,
    NothingStored,
    Slice,
    Store,
    decode,
    months,
    runs,
)
from connectors.opencps_records import (
    DATES,
    DOSSIERS,
    FILE,
    LIST_SCHEMA,
    PAYMENT,
    ensure_logged_in,
    is_deleted,
    site_headers,
)
from connectors.opencps_zone import BEHIND, SAME, Witness, shift_hours, witnesses, witnesses_of
from connectors.protocol import (
    Batch,
    Call,
    Completed,
    Guard,
    Part,
    Reply,
    Span,
    Step,
    Verdict,
    Walk,
    Whole,
)
from connectors.records import Reader, Typed, int_of
from connectors.settings import OpenCpsSettings, secret

__all__ = [
    "ALL_SYSTEMS",
    "BATCH_ROWS",
    "DOSSIERS",
    "STATUSES",
    "DetailWalk",
    "ListWalk",
    "NothingStored",
    "Portal",
    "Slice",
    "Store",
    "connect",
    "months",
    "probe",
    "runs",
]

STREAM = "dossiers"
#: From which day on everything was asked for, how far the history was compared, how the index keeps its days.
COVERAGE, COMPARISON, ZONE = "coverage", "comparison", "index_zone"

#: Months are stored together until they make so many rows, for each of which two more calls may follow.
BATCH_ROWS = 2_000
#: Rows of a site that a probe looks at for one that tells the index's zone.
_PROBE_ROWS = 200
_DAY = timedelta(days=1)


@dataclass
class Portal:
    """An open portal; `positions` are its stored cursors, by stream."""

    settings: OpenCpsSettings
    loop: Loop
    store: Store
    positions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: Stored dossiers asked about one by one so far.
    confirmed: int = 0

    async def batches(self, span: Span) -> AsyncIterator[Batch]:
        """Batches of whole months over all sites; each carries how far the source was read once it is stored.

        That is the end of its last month, or the newest change seen if that is earlier: by the
        source's clock, whatever ours says. An update ends with a part of the history, read to compare.
        """
        zone = ZoneInfo(self.settings.zone)
        first = span.start.astimezone(zone).date() - timedelta(days=self.settings.overlap_days)
        last = max(first, span.end.astimezone(zone).date())
        gathered = Pages(DOSSIERS.schema)
        newest: datetime | None = None
        since: date | None = None
        early: list[Witness] = []
        for begin, end in months(first, last):
            await self._read(self._windows(span, (first, last), (begin, end)), gathered)
            since = since or begin
            if gathered.rows < BATCH_ROWS and end < last:
                continue
            read = gathered.part(DOSSIERS)
            records = read.records
            newest = max(filter(None, (newest, _newest_change(records, zone))), default=None)
            early = witnesses_of(records) or early
            until = min(filter(None, (span.end, newest, None if end == last else _midnight_after(end, zone))))
            cursors: dict[str, Mapping[str, Any]] = {STREAM: {"until": until.isoformat()}} if newest else {}
            # A first load that is cut short goes on from its cursor, so its beginning holds from the first batch on;
            # a back-fill that is cut short does not.
            if not span.is_update and (end == last or STREAM not in self.positions):
                since_day = min(span.start.astimezone(zone).date(), self._covered or date.max)
                cursors[COVERAGE] = {"since": since_day.isoformat()}
            yield Batch((self._part(read, self._wholes(since + self._margin, end)),), cursors)
            since = None
        for window in self._to_compare(first) if span.is_update else ():
            yield await self._compare(*window, gathered)
        if early and self._is_zone_due(last):
            yield await self._find_zone(early, last)

    def _windows(self, span: Span, whole: tuple[date, date], month: tuple[date, date]) -> list[Slice]:
        slices = [*self._monthly(*month)]
        if span.is_update and month[1] == whole[1]:
            slices += [*self._still_open(*whole), *self._deleted(whole[1])]
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
            yield Slice(site, "receive", EARLIEST, first, statistic=(first, last))
            yield Slice(site, "release", first, last, before=("submit", first))
            yield Slice(site, "finish", first, last, before=("submit", first))

    def _still_open(self, first: date, last: date) -> Iterator[Slice]:
        """For an update: what was handled since, what is open, and what may still get papers and payments."""
        late = first - timedelta(days=self.settings.late_days)
        if self._covered is not None:
            # What ended before the first load was never asked for, and is not because it was cut short.
            late = max(late, self._covered - timedelta(days=self.settings.overlap_days))
        for site in self.settings.sites:
            yield Slice(site, "release", late, last)
            yield Slice(site, "finish", late, last)
            yield Slice(site, "receive", statistic=(first, last))
            for begin, end in runs(self.store.unreceived(site, first)):
                yield Slice(site, "submit", begin, end)

    def _deleted(self, last: date) -> Iterator[Slice]:
        """What the portal itself says is deleted; by submission, and by reception for what was never submitted."""
        first = last - timedelta(days=self.settings.deleted_days)
        for site in self.settings.sites:
            yield Slice(site, "submit", first, last, deleted=True)
            yield Slice(site, "receive", first, last, deleted=True)

    async def _read(self, slices: Sequence[Slice], gathered: Pages) -> None:
        reader = Reader(LIST_SCHEMA)

        def typed(step: Step) -> Typed:
            page = reader.read(step.records, where=lambda index: f"{step.where}#{index}")
            asked: Slice = step.origin
            records = _as_dossiers(page.records, asked.site)
            if asked.deleted:
                # The same question also finds what is only hidden; and what cannot be typed cannot be stored either.
                return Typed(records.filter(_deleted_rows(records)))
            return replace(page, records=records)

        async for page in self.loop.pages(ListWalk(slices, self.settings, self.store, margin=self._margin.days), typed):
            gathered.add(page)

    @staticmethod
    def _part(read: Part, wholes: tuple[Whole, ...]) -> Part:
        """The records that are there; those that are deleted are no versions, only keys."""
        deleted = _deleted_rows(read.records)
        gone = read.records.filter(deleted)
        keys = zip(gone["groupId"].to_pylist(), gone["dossierId"].to_pylist(), strict=True)
        return replace(
            read,
            records=read.records.filter(pc.invert(deleted)),
            wholes=wholes,
            gone=tuple(sorted({f"{site}:{dossier}" for site, dossier in keys})),
        )

    @property
    def _margin(self) -> timedelta:
        """Days at a window's start that the index may file under the day before; none once it is known not to."""
        known = self.positions.get(ZONE, {}).get("shift_hours")
        return timedelta(days=0 if known == SAME else 1)

    def _wholes(self, first: date, last: date, *, stream: str | None = None, axis: str = "submit") -> tuple[Whole, ...]:
        """The comparison of one window over all sites, where anything is stored for it.

        `first` is the first day that the window holds for certain. Of reception, only what has no submission.
        """
        sites = self.settings.sites
        if first > last or not any(self.store.known(site, axis, first, last) for site in sites):
            return ()
        day = f"""CAST(try_strptime(trim("{axis}Date"), '{DATES[0]}') AS DATE)"""
        named = ", ".join(f"'{site}'" for site in sites)
        within = f"\"groupId\" IN ({named}) AND {day} BETWEEN DATE '{first}' AND DATE '{last}'"
        if axis == "receive":
            within += """ AND coalesce(trim("submitDate"), '') = ''"""
        what = "ngày nộp" if axis == "submit" else "ngày tiếp nhận"
        guard = Guard(self.settings.missing_share, self.settings.missing_floor)
        where = f"{what} {first:%d/%m/%Y}-{last:%d/%m/%Y}"
        return (Whole(within, where, guard=guard, confirm=self._confirm, stream=stream),)

    async def _confirm(self, records: pa.Table) -> Verdict:
        """Ask the database: the list may only be late. At most so many calls a night."""
        keys = records["record_key"].to_pylist()
        pairs = zip(records["groupId"].to_pylist(), records["dossierId"].to_pylist(), strict=True)
        asked = [(str(site), int(dossier)) for site, dossier in pairs][: self.settings.confirmations - self.confirmed]
        self.confirmed += len(asked)
        walk = PresenceWalk(asked)
        async for _ in self.loop.run(walk):
            pass
        return Verdict(frozenset(keys[index] for index in walk.gone), len(keys) - len(asked) + walk.unasked)

    @property
    def _covered(self) -> date | None:
        """The first day from which on everything submitted was asked for; None where that was never noted."""
        said = self.positions.get(COVERAGE, {}).get("since")
        return date.fromisoformat(said) if said else None

    def _to_compare(self, recent: date) -> list[tuple[date, date]]:
        """Tonight's days of the history, as windows; what was submitted after `recent` is compared every night.

        As many days as bring all of it round in `full_comparison_days` nights; no window goes over the end of
        the history or over the first day that was asked for.
        """
        oldest, nights = self.store.first_day(), self.settings.full_comparison_days
        if not nights or oldest is None or oldest > recent:
            return []
        said = self.positions.get(COMPARISON, {}).get("compared_to")
        begin = date.fromisoformat(said) + _DAY if said else oldest
        left = -(-((recent - oldest).days + 1) // nights)
        windows: list[tuple[date, date]] = []
        while left:
            begin = begin if oldest <= begin <= recent else oldest
            limit = self._covered - _DAY if self._covered and begin < self._covered else recent
            end = min(begin + timedelta(days=left - 1), limit, recent)
            windows.append((begin, end))
            left -= (end - begin).days + 1
            begin = end + _DAY
        return windows

    async def _compare(self, first: date, last: date, gathered: Pages) -> Batch:
        """Read [first, last] wholly again: what changed unseen is stored, what is missing is asked about."""
        slices = [Slice(site, "submit", first - self._margin, last) for site in self.settings.sites]
        wholes = self._wholes(first, last, stream=COMPARISON)
        received = [site for site in self.settings.sites if self.store.unsubmitted(site, first, last)]
        if received:
            slices += [Slice(site, "receive", first - self._margin, last) for site in received]
            wholes += self._wholes(first, last, stream=COMPARISON, axis="receive")
        await self._read(slices, gathered)
        part = self._part(gathered.part(DOSSIERS), wholes)
        # Nobody asked for what was submitted before the first load; some of it is stored, since it was still open.
        part = replace(part, only_known=self._covered is None or last < self._covered)
        return Batch((part,), {COMPARISON: {"compared_to": last.isoformat()}})

    def _is_zone_due(self, today: date) -> bool:
        found = self.positions.get(ZONE, {}).get("found_on")
        return found is None or (today - date.fromisoformat(found)).days >= self.settings.zone_probe_days

    async def _find_zone(self, early: Sequence[Witness], today: date) -> Batch:
        """Ask how the index keeps its days; a finding that contradicts the one before is told."""
        found, known = await shift_hours(self.loop, self.settings, early), self.positions.get(ZONE, {})
        if found is None:
            return Batch((), {})
        notes = []
        if known.get("shift_hours", found) != found:
            notes.append(
                f"chỉ mục tìm kiếm của cổng trước đây ghi ngày lệch {known['shift_hours']} giờ so với giờ Việt Nam, "
                f"nay lệch {found} giờ (dò ngày {today:%d/%m/%Y}); hãy hỏi đơn vị vận hành cổng"
            )
        return Batch((), {ZONE: {"shift_hours": found, "found_on": today.isoformat()}}, tuple(notes))

    async def complete(self, records: pa.Table) -> Completed:
        """Fetch files and payments; a dossier whose cannot be had is left out and named as broken."""
        pairs = zip(records["groupId"].to_pylist(), records["dossierId"].to_pylist(), strict=True)
        walk = DetailWalk([(str(site), int(dossier)) for site, dossier in pairs])
        async for _ in self.loop.run(walk):
            pass
        table = records
        for name, values, kind in (("files", walk.files, pa.list_(FILE)), ("payment", walk.payments, PAYMENT)):
            table = table.set_column(table.schema.get_field_index(name), name, pa.array(values, kind))
        if not walk.failed:
            return Completed(table)
        kept = pa.array([index not in walk.failed for index in range(table.num_rows)])
        return Completed(table.filter(kept), tuple(_unread(records, index) for index in sorted(walk.failed)))


def _deleted_rows(records: pa.Table) -> pa.ChunkedArray:
    """Which records say that they are deleted."""
    said = (value for value in pc.unique(records["originality"]).to_pylist() if value is not None)
    deleted = pa.array([value for value in said if _is_deleted(value)], pa.string())
    return pc.is_in(records["originality"], value_set=deleted)


def _is_deleted(said: str) -> bool:
    try:
        return is_deleted(int_of(said))
    except ValueError:
        return False


def _newest_change(records: pa.Table, zone: ZoneInfo) -> datetime | None:
    changes = pc.strptime(records["modifiedDate"], format=DATES[0], unit="s", error_is_null=True)
    newest: datetime | None = pc.max(changes).as_py()
    return newest.replace(tzinfo=zone) if newest else None


def _midnight_after(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day + timedelta(days=1), datetime.min.time(), zone)


def _as_dossiers(records: pa.Table, site: int) -> pa.Table:
    """List columns completed to the contract's: the site asked, details not yet fetched."""
    given: Mapping[str, pa.ChunkedArray] = {name: records[name] for name in records.schema.names}
    filled = [
        pa.array([str(site)] * records.num_rows, pa.string())
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
async def connect(
    settings: OpenCpsSettings, store: Store | None = None, *, positions: Mapping[str, Mapping[str, Any]] | None = None
) -> AsyncIterator[Portal]:
    """Open the portal; `MissingSecret` when a variable is not set."""
    credentials = f"{secret(settings.username_env)}:{secret(settings.password_env)}".encode()
    headers = {"Authorization": f"Basic {b64encode(credentials).decode()}"}
    async with light_sender(str(settings.base_url), settings.manners, headers=headers) as send:
        yield Portal(settings, Loop.over(send, settings.manners), store or NothingStored(), positions or {})


async def probe(settings: OpenCpsSettings) -> str:
    """Ask every site for a few rows, and say what came back, what is hidden and how the index keeps its days."""
    async with connect(settings) as portal:
        walk = _ProbeWalk(settings.sites)
        async for _ in portal.loop.run(walk):
            pass
        found = await shift_hours(portal.loop, settings, witnesses(walk.rows))
    silent = [str(site) for site, total in walk.totals.items() if total == 0]
    note = f"; without dossiers: {', '.join(silent)} (check `sites`)" if silent else ""
    listed, hidden = sum(walk.totals.values()), sum(walk.hidden.values())
    return (
        f"{len(settings.sites)} sites, {listed} dossiers listed{note}; "
        f"{hidden} hidden (inter-agency copies, groups, deleted); {_ZONES[found]}"
    )


_ZONES = {
    SAME: "the index keeps days in Vietnam's time",
    BEHIND: "the index keeps days 7 hours behind Vietnam's",
    None: "in which zone the index keeps its days is not known yet: no dossier of the early hours was found",
}


class _Early(msgspec.Struct):
    dossierId: int | str | None = None  # noqa: N815  named as the source names it
    submitDate: str | None = None  # noqa: N815


class _ProbeWalk(Walk):
    """Two questions per site: what the default list holds, and how much it hides."""

    def __init__(self, sites: Sequence[int]) -> None:
        self._sites = tuple(sites)
        self.totals: dict[int, int] = {}
        self.hidden: dict[int, int] = {}
        self.rows: list[tuple[str, int | None, str | None]] = []

    def begin(self) -> Sequence[Call]:
        return [self._call(site, hidden=hidden) for site in self._sites for hidden in (False, True)]

    @staticmethod
    def _call(site: int, *, hidden: bool) -> Call:
        # Inter-agency copies are 2 or 4, groups 9; what is deleted is asked for by -1, which finds 4 and 9 as well.
        kind, rows = ((("originality", "-1"),), 1) if hidden else ((), _PROBE_ROWS)
        params = (("systemId", ALL_SYSTEMS), *kind, ("start", "0"), ("end", str(rows)))
        return Call("/dossiers", params, site_headers(site), (site, hidden))

    def accept(self, call: Call, reply: Reply) -> Step:
        ensure_logged_in(call, reply)
        site, hidden = call.tag
        total, records, _ = decode(call, reply)
        if hidden:
            self.hidden[site] = total
            return Step()
        self.totals[site] = total
        rows = [msgspec.json.decode(record, type=_Early, strict=False) for record in records]
        self.rows += [(str(site), int_of(row.dossierId) if row.dossierId else None, row.submitDate) for row in rows]
        return Step()
