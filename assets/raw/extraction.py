"""Extraction: joins the connectors with the lake and the database, and counts what came of every row.

Belongs here: which span to read, the contract check, what is new, the order in which things are
stored (records, quarantine, then the cursor), the counts. Does not belong here: any protocol
(`connectors`), Dagster (`assets.py`), or what a record means (the conform stage).

Counts. A row read is a distinct record of a batch in its newest copy; the same dossier seen again
on another axis or page of the batch is the same row. In a message log every message is a row. What
could not be read at all (a broken line) is a row too. Each row is stored (a new version), unchanged
(equal to the newest version known, or a message older than it) or quarantined, so the three sum up
to the rows read. Records are appended before the cursor moves: killed in between, the next run
reads the same records again and finds them unchanged. Beside them stand the records that were not
read: gone (a tombstone was written) and missing (not seen where everything was read, but not
believed to be gone).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from assets.raw.drift import note_shape
from assets.raw.kinds import Cursors, Opening, Tables, below_home, kind_of
from assets.raw.quarantine import STAGE, Waiting, quarantine, refused, settle, unreadable, waiting
from assets.raw.sift import Sifted, after, sift, versions
from assets.raw.tombstones import Comparison, compare, only_known, tombstones
from connectors import npsp_log
from connectors.contract import Broken, RecordContract
from connectors.protocol import Batch, Connection, Part, SourceError, Span
from connectors.settings import MissingSecret
from connectors.shape import Shape, together
from connectors.sources import SourceSettings
from expectations.wording import count_vi
from warehouse.database import Database
from warehouse.lake import Lake
from warehouse.schema import Table

#: The progress messages of a log are counted as a source of their own.
PROGRESS_SOURCE = "progress"

Progress = Callable[[str, int], None]


@dataclass(frozen=True)
class SourceCount:
    """What came of the rows of one source; refuses numbers that do not close.

    `rows_gone` and `rows_missing` are no rows that were read; `notes` are for the operator, in Vietnamese.
    """

    source: str
    rows_read: int
    rows_stored: int
    rows_unchanged: int
    rows_quarantined: int
    window_start: datetime
    window_end: datetime
    rows_gone: int = 0
    rows_missing: int = 0
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        kept = self.rows_stored + self.rows_unchanged + self.rows_quarantined
        if self.rows_read != kept:
            raise ValueError(f"extraction of {self.source}: {self.rows_read} rows read, but {kept} accounted for")


class UnreachableSource(RuntimeError):  # noqa: N818  says what is wrong
    """A source of the configuration cannot be used; the text names the key."""


def extract(
    name: str,
    settings: SourceSettings,
    *,
    window: tuple[datetime, datetime],
    lake: Lake,
    database: Database,
    night: str,
    now: datetime,
    on_progress: Progress | None = None,
) -> list[SourceCount]:
    """Read source `name` over `window` ([start, end), aware) into its raw table(s) and move its cursor.

    A window that reaches the stored cursor begins at the cursor if that is earlier, so that missed
    nights heal; a window wholly before it is a back-fill and leaves the cursor alone. Counts are
    also written to the night's trail. Idempotent: killed anywhere and run again, the state is the
    one that an undisturbed run leaves. Raises `SourceError`, `MissingSecret`, `LakeBehindCursorError`.
    """
    run = _Run(name, lake, database, night, now, on_progress, has_spans=kind_of(settings).lag is not None)
    span = _span(window, run.stored_until(), now, settings)
    tables = kind_of(settings).tables(name, settings)
    run.check_lake(tables)
    opening = Opening(name, lake, run.positions())
    asyncio.run(run.read(kind_of(settings).open(opening, settings), span, tables))
    _read_again(run, settings, tables)
    run.settle(tables)
    counts = run.counts(tables, span)
    for count in counts:
        database.record_counts(
            night,
            stage=STAGE,
            source=count.source,
            rows_read=count.rows_read,
            rows_stored=count.rows_stored,
            rows_unchanged=count.rows_unchanged,
            rows_quarantined=count.rows_quarantined,
            window=(count.window_start, count.window_end),
        )
        database.record_absences(
            night, source=count.source, rows_gone=count.rows_gone, rows_missing=count.rows_missing, notes=count.notes
        )
    return counts


def _read_again(run: _Run, settings: SourceSettings, tables: Tables) -> None:
    """Read what was set aside under a contract that has changed since: by spans, or everything where there are none."""
    waiting = run.waiting()
    spans = [Span(start, end, is_update=False) for start, end in waiting.spans] if run.has_spans else []
    if waiting.entries and not run.has_spans:
        spans = [Span(run.now, run.now, is_update=False)]
        run.reads_everything = True
    for span in spans:
        stored = run.positions()
        opening = Opening(run.name, run.lake, stored if run.has_spans else {}, remembered=stored)
        asyncio.run(run.read(kind_of(settings).open(opening, settings), span, tables))


def probe(name: str, settings: SourceSettings, *, home: Path | None = None) -> str:
    """Reach source `name` with the smallest call there is and say what came back.

    `home` resolves a folder that is still relative. `UnreachableSource` names the key at fault.
    """
    try:
        return kind_of(settings).probe(settings if home is None else below_home(settings, home))
    except MissingSecret as error:
        key = next(key for key in type(settings).model_fields if getattr(settings, key) == error.variable)
        raise UnreachableSource(f"sources.{name}.{key}: {error}") from None
    except SourceError as error:
        raise UnreachableSource(f"sources.{name}.{error.key}: {error}") from None


def next_span(settings: SourceSettings, *, window: tuple[datetime, datetime], cursors: Cursors, now: datetime) -> Span:
    """The span that `extract` reads over `window` when these are the source's stored cursors (stream → position)."""
    return _span(window, _stored_until(cursors), now, settings)


def _stored_until(cursors: Cursors) -> datetime | None:
    untils = [datetime.fromisoformat(value["until"]) for value in cursors.values() if "until" in value]
    return min(untils, default=None)


def _span(window: tuple[datetime, datetime], stored: datetime | None, now: datetime, settings: SourceSettings) -> Span:
    start, end = window
    lag = kind_of(settings).lag
    if lag is None:
        return Span(start, end, is_update=False)
    is_update = stored is not None and end >= stored
    if stored is not None and is_update:
        start = min(start, stored)
    safe = now - lag(settings)
    return Span(start, max(start, min(end, safe)), is_update)


@dataclass
class _Tally:
    stored: int = 0
    unchanged: int = 0
    quarantined: int = 0
    #: Keys that got a tombstone, keys not seen and asked about or left, and how many more were not looked at.
    gone: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    doubted: int = 0
    notes: list[str] = field(default_factory=list)
    #: Keys set aside, and what the sampled records looked like.
    refused: set[str] = field(default_factory=set)
    shapes: list[tuple[RecordContract, Shape]] = field(default_factory=list)

    @property
    def read(self) -> int:
        return self.stored + self.unchanged + self.quarantined


@dataclass
class _Run:
    """One extraction of one source."""

    name: str
    lake: Lake
    database: Database
    night: str
    now: datetime
    on_progress: Progress | None
    tallies: dict[str, _Tally] = field(default_factory=lambda: defaultdict(_Tally))
    #: Streams of the batch whose cursors stay: something of it is to be asked the next night.
    held: set[str] = field(default_factory=set)
    #: Spans read, the last of them now.
    spans: list[Span] = field(default_factory=list)
    #: Whether reading a span gives all of it; a folder gives what is new, or everything when it is read again.
    has_spans: bool = True
    reads_everything: bool = False

    def positions(self) -> dict[str, dict[str, Any]]:
        """Stored cursors of this source, stream → position."""
        return self.database.cursors().get(self.name, {})

    def stored_until(self) -> datetime | None:
        """Instant up to which the source was read, or None before the first batch."""
        return _stored_until(self.positions())

    def check_lake(self, tables: Tables) -> None:
        """Refuse to read on from a cursor that is newer than the lake."""
        version = self._version(tables)
        for stream in self.positions():
            self.database.check_lake(self.name, stream, version)

    def _version(self, tables: Tables) -> int:
        """Version of the raw table; of two tables the sum, which falls when either is restored."""
        return sum(self.lake.version(table) for table in tables.values())

    async def read(self, opening: AbstractAsyncContextManager[Connection], span: Span, tables: Tables) -> None:
        """Store batch after batch; the next one is read while one is stored."""
        self.spans.append(span)
        async with opening as source:
            async for batch in _ahead(source.batches(span)):
                for part in batch.parts:
                    await self._take(source, part, tables[part.contract.kind])
                self.tallies[next(iter(tables))].notes.extend(batch.notes)
                await asyncio.to_thread(self._move, batch, tables)
                if self.on_progress:
                    self.on_progress(self.name, sum(tally.read for tally in self.tallies.values()))

    async def _take(self, source: Connection, part: Part, table: Table) -> None:
        part = await asyncio.to_thread(only_known, part, self.lake, table)
        sifted = await asyncio.to_thread(sift, part, self.lake, table)
        completed = await source.complete(sifted.changed) if sifted.changed.num_rows else None
        unread = completed.broken if completed else ()
        await asyncio.to_thread(self._store, part, sifted, completed.records if completed else None, unread, table)
        await self._take_absences(part, table)

    def _store(
        self, part: Part, sifted: Sifted, records: pa.Table | None, unread: tuple[Broken, ...], table: Table
    ) -> None:
        kind = part.contract.kind
        if records is not None:
            rows = versions(records, table, night=self.night, at=after(self.lake, table, self.now))
            self.lake.append(table, rows, note={"night": self.night})
            self.tallies[kind].stored += rows.num_rows
        source = self._source(kind)
        entries = [refused(row, part.contract) for row in sifted.broken]
        entries += [unreadable(item) for item in (*part.broken, *unread)]
        span, contract = self.spans[-1], part.contract.fingerprint
        quarantine(entries, source, self.lake, now=self.now, window=(span.start, span.end), contract=contract)
        self.tallies[kind].refused.update(str(entry["record_key"]) for entry in entries)
        self.tallies[kind].shapes.append((part.contract, part.shape))
        self.tallies[kind].quarantined += len(entries)
        self.tallies[kind].unchanged += sifted.unchanged

    async def _take_absences(self, part: Part, table: Table) -> None:
        """Tombstones for what the source calls deleted, and for what a whole reading no longer found."""
        tally = self.tallies[part.contract.kind]
        if part.gone:
            await asyncio.to_thread(self._bury, part.gone, table, tally)
        for comparison in await asyncio.to_thread(compare, part, self.lake, table):
            if comparison.is_doubted:
                tally.doubted += comparison.missing.num_rows
                tally.notes.append(_doubted(self.name, comparison))
            elif comparison.missing.num_rows:
                await self._take_missing(comparison, table, tally)

    async def _take_missing(self, comparison: Comparison, table: Table, tally: _Tally) -> None:
        keys = comparison.missing["record_key"].to_pylist()
        whole = comparison.whole
        verdict = await whole.confirm(comparison.missing) if whole.confirm else None
        tally.missing.update(keys)
        await asyncio.to_thread(self._bury, keys if verdict is None else verdict.gone, table, tally)
        if verdict and verdict.unasked:
            tally.notes.append(
                f"{self.name}: {whole.where}: còn {count_vi(verdict.unasked)} hồ sơ vắng mặt chưa hỏi lại nguồn, "
                "các đêm sau hỏi tiếp"
            )
            self.held.update([whole.stream] if whole.stream else [])

    def _bury(self, keys: Collection[str], table: Table, tally: _Tally) -> None:
        rows = tombstones(self.lake, table, keys, night=self.night, at=after(self.lake, table, self.now))
        self.lake.append(table, rows, note={"night": self.night})
        tally.gone.update(rows["record_key"].to_pylist())

    def _move(self, batch: Batch, tables: Tables) -> None:
        """Move the cursors of a stored batch; one that says until when is never moved back."""
        version = self._version(tables)
        known = self.positions()
        for stream, position in batch.cursors.items():
            if stream not in self.held and not _is_behind(position, known.get(stream)):
                self.database.move_cursor(self.name, stream, position, lake_version=version)

    def waiting(self) -> Waiting:
        """What was set aside under other contracts than those read by now, whatever the kind of record."""
        found = [
            waiting(self.lake, self._source(kind), {contract.fingerprint for contract, _ in tally.shapes})
            for kind, tally in self.tallies.items()
            if tally.shapes
        ]
        return Waiting(tuple(span for each in found for span in each.spans), sum(each.entries for each in found))

    def settle(self, tables: Tables) -> None:
        """Close what no longer stands in the way, and note how the records' fields have changed."""
        read = [(span.start, span.end) for span in self.spans] if self.has_spans else []
        spans = None if self.reads_everything else read
        for kind, tally in self.tallies.items():
            source = self._source(kind)
            settle(self.lake, source, tables[kind], tally.refused, spans, now=self.now)
            if tally.shapes:
                shape = together(each for _, each in tally.shapes)
                tally.notes += note_shape(self.lake, source, tally.shapes[0][0], shape, now=self.now)

    def _source(self, kind: str) -> str:
        return PROGRESS_SOURCE if kind == npsp_log.PROGRESS.kind else self.name

    def counts(self, tables: Tables, span: Span) -> list[SourceCount]:
        """The counts of every kind of record that the source delivers."""
        return [
            SourceCount(
                source=self._source(kind),
                rows_read=self.tallies[kind].read,
                rows_stored=self.tallies[kind].stored,
                rows_unchanged=self.tallies[kind].unchanged,
                rows_quarantined=self.tallies[kind].quarantined,
                window_start=span.start,
                window_end=span.end,
                rows_gone=len(self.tallies[kind].gone),
                rows_missing=len(self.tallies[kind].missing - self.tallies[kind].gone) + self.tallies[kind].doubted,
                notes=tuple(dict.fromkeys(self.tallies[kind].notes)),
            )
            for kind in tables
        ]


def _doubted(source: str, comparison: Comparison) -> str:
    missing, known = count_vi(comparison.missing.num_rows), count_vi(comparison.known)
    return (
        f"{source}: {comparison.whole.where}: không thấy {missing} trên {known} hồ sơ đã lưu, quá nhiều để tin là đã "
        f"xóa (ngưỡng {comparison.whole.guard.share:.0%}); giữ nguyên, hãy kiểm tra chỉ mục tìm kiếm của nguồn"
    )


def _is_behind(position: Mapping[str, Any], known: Mapping[str, Any] | None) -> bool:
    if known is None or "until" not in position or "until" not in known:
        return False
    return datetime.fromisoformat(position["until"]) <= datetime.fromisoformat(known["until"])


async def _ahead(batches: AsyncIterator[Batch]) -> AsyncIterator[Batch]:
    """The same batches; the next one is already being read while one is used."""

    async def following() -> Batch | None:
        return await anext(batches, None)

    task = asyncio.create_task(following())
    try:
        while (batch := await task) is not None:
            task = asyncio.create_task(following())
            yield batch
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
