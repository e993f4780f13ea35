"""Extraction: joins the connectors with the lake and the database, and counts what came of every row.

Belongs here: which span to read, the contract check, what is new, the order in which things are
stored (records, quarantine, then the cursor), the counts. Does not belong here: any protocol
(`connectors`), Dagster (`assets.py`), or what a record means (the conform stage).

Counts. A row read is a distinct record of a batch in its newest copy; the same dossier seen again
on another axis or page of the batch is the same row. In a message log every message is a row. What
could not be read at all (a broken line) is a row too. Each row is stored (a new version), unchanged
(equal to the newest version known, or a message older than it) or quarantined, so the three sum up
to the rows read. Records are appended before the cursor moves: killed in between, the next run
reads the same records again and finds them unchanged.
"""

from __future__ import annotations

import asyncio
import json
import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from assets.raw.tables import RAW_ONESTOP, RAW_PORTAL, RAW_TABLES
from connectors import igate, npsp_log, opencps
from connectors.contract import SEEN, Broken, RecordContract
from connectors.protocol import Batch, Connection, Part, SourceError, Span
from connectors.settings import IGateSettings, MessageLogSettings, MissingSecret, OpenCpsSettings, SourceSettings
from warehouse.database import Database
from warehouse.lake import Lake, connect
from warehouse.schema import Table
from warehouse.tables import RAW_QUARANTINE

STAGE = "extract"
#: The progress messages of a log are counted as a source of their own.
PROGRESS_SOURCE = "progress"

Progress = Callable[[str, int], None]

_EXCERPT_LENGTH = 60
#: What a date or number field may show in an excerpt: no letters, and no bare run of digits that could be an identity.
_HARMLESS = re.compile(r"(?!\d{9,13}$)[0-9/:T .+Z-]{0,40}$")


@dataclass(frozen=True)
class SourceCount:
    """What came of the rows of one source; refuses numbers that do not close."""

    source: str
    rows_read: int
    rows_stored: int
    rows_unchanged: int
    rows_quarantined: int
    window_start: datetime
    window_end: datetime

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
    run = _Run(name, lake, database, night, now, on_progress)
    span = _span(window, run.stored_until(), now, settings)
    tables = _tables(settings)
    run.check_lake(tables)
    asyncio.run(run.read(_connect(run, settings), span, tables))
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
    return counts


def probe(name: str, settings: SourceSettings, *, home: Path | None = None) -> str:
    """Reach source `name` with the smallest call there is and say what came back.

    `home` resolves a folder that is still relative. `UnreachableSource` names the key at fault.
    """
    try:
        if isinstance(settings, MessageLogSettings):
            folder = settings.folder if settings.folder.is_absolute() or home is None else home / settings.folder
            return npsp_log.probe(settings.model_copy(update={"folder": folder}))
        hasty = settings.model_copy(update={"manners": settings.manners.model_copy(update={"attempts": 2})})
        return asyncio.run(opencps.probe(hasty) if isinstance(hasty, OpenCpsSettings) else igate.probe(hasty))
    except MissingSecret as error:
        key = next(key for key in type(settings).model_fields if getattr(settings, key) == error.variable)
        raise UnreachableSource(f"sources.{name}.{key}: {error}") from None
    except SourceError as error:
        raise UnreachableSource(f"sources.{name}.{error.key}: {error}") from None


def _span(window: tuple[datetime, datetime], stored: datetime | None, now: datetime, settings: SourceSettings) -> Span:
    start, end = window
    if isinstance(settings, MessageLogSettings):
        return Span(start, end, is_update=False)
    is_update = stored is not None and end >= stored
    if stored is not None and is_update:
        start = min(start, stored)
    safe = now - timedelta(minutes=settings.lag_minutes)
    return Span(start, max(start, min(end, safe)), is_update)


def _tables(settings: SourceSettings) -> dict[str, Table]:
    """Contract kind → table, for the kinds that a source delivers."""
    if isinstance(settings, OpenCpsSettings):
        return {"portal": RAW_PORTAL}
    if isinstance(settings, IGateSettings):
        return {"onestop": RAW_ONESTOP}
    return {kind: RAW_TABLES[kind] for kind in (npsp_log.MESSAGES.kind, npsp_log.PROGRESS.kind)}


def _connect(run: _Run, settings: SourceSettings) -> AbstractAsyncContextManager[Connection]:
    if isinstance(settings, OpenCpsSettings):
        return opencps.connect(settings, StoredDays.of(run.lake))
    if isinstance(settings, IGateSettings):
        return igate.connect(settings, known=_rows(run.lake, RAW_ONESTOP))
    return npsp_log.connect(settings, run.positions())


def _rows(lake: Lake, table: Table) -> int:
    return int(_value(lake.connect(table), f'SELECT count(*) FROM "{table.name}"'))


@dataclass
class _Tally:
    stored: int = 0
    unchanged: int = 0
    quarantined: int = 0

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

    def positions(self) -> dict[str, dict[str, Any]]:
        """Stored cursors of this source, stream → position."""
        return self.database.cursors().get(self.name, {})

    def stored_until(self) -> datetime | None:
        """Instant up to which the source was read, or None before the first batch."""
        untils = [datetime.fromisoformat(value["until"]) for value in self.positions().values() if "until" in value]
        return min(untils, default=None)

    def check_lake(self, tables: Mapping[str, Table]) -> None:
        """Refuse to read on from a cursor that is newer than the lake."""
        version = self._version(tables)
        for stream in self.positions():
            self.database.check_lake(self.name, stream, version)

    def _version(self, tables: Mapping[str, Table]) -> int:
        """Version of the raw table; of two tables the sum, which falls when either is restored."""
        return sum(self.lake.version(table) for table in tables.values())

    async def read(
        self, opening: AbstractAsyncContextManager[Connection], span: Span, tables: Mapping[str, Table]
    ) -> None:
        """Store batch after batch; the next one is read while one is stored."""
        async with opening as source:
            async for batch in _ahead(source.batches(span)):
                for part in batch.parts:
                    await self._take(source, part, tables[part.contract.kind])
                await asyncio.to_thread(self._move, batch, tables)
                if self.on_progress:
                    self.on_progress(self.name, sum(tally.read for tally in self.tallies.values()))

    async def _take(self, source: Connection, part: Part, table: Table) -> None:
        sifted = await asyncio.to_thread(sift, part, self.lake, table)
        completed = await source.complete(sifted.changed) if sifted.changed.num_rows else None
        unread = completed.broken if completed else ()
        await asyncio.to_thread(self._store, part, sifted, completed.records if completed else None, unread, table)

    def _store(
        self, part: Part, sifted: Sifted, records: pa.Table | None, unread: tuple[Broken, ...], table: Table
    ) -> None:
        kind = part.contract.kind
        if records is not None:
            rows = versions(records, table, night=self.night, at=_after(self.lake, table, self.now))
            self.lake.append(table, rows, note={"night": self.night})
            self.tallies[kind].stored += rows.num_rows
        source = self._source(kind)
        entries = [_refused(row, part.contract) for row in sifted.broken]
        entries += [_unreadable(item) for item in (*part.broken, *unread)]
        quarantine(entries, source, self.lake, now=self.now)
        self.tallies[kind].quarantined += len(entries)
        self.tallies[kind].unchanged += sifted.unchanged

    def _move(self, batch: Batch, tables: Mapping[str, Table]) -> None:
        """Move the cursors of a stored batch; one that says until when is never moved back."""
        version = self._version(tables)
        known = self.positions()
        for stream, position in batch.cursors.items():
            if not _is_behind(position, known.get(stream)):
                self.database.move_cursor(self.name, stream, position, lake_version=version)

    def _source(self, kind: str) -> str:
        return PROGRESS_SOURCE if kind == npsp_log.PROGRESS.kind else self.name

    def counts(self, tables: Mapping[str, Table], span: Span) -> list[SourceCount]:
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
            )
            for kind in tables
        ]


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


@dataclass(frozen=True)
class Sifted:
    """A batch against its contract and the lake: what is new, how many rows are known, what breaks a clause."""

    changed: pa.Table
    unchanged: int
    broken: list[dict[str, Any]]


def sift(part: Part, lake: Lake, table: Table) -> Sifted:
    """Hash, deduplicate, check and compare the records of a batch, in DuckDB.

    `changed` has the wire columns, `record_key`, `content_hash` and `version` (1, 2, … per record).
    Only keys and hashes pass through DuckDB; the records themselves are picked from the batch.
    """
    connection = lake.connect(table)
    connection.register("batch", part.records)
    connection.execute(f"CREATE TEMP TABLE checked AS {_checked_sql(part.contract)}")
    connection.execute(f"CREATE TEMP TABLE judged AS {_judged_sql(part.contract, table)}")
    chosen = f"SELECT {SEEN}, record_key, content_hash, version FROM judged WHERE is_changed ORDER BY {SEEN}"
    refused = f"SELECT {SEEN}, record_key, content_hash, clause FROM checked WHERE clause IS NOT NULL ORDER BY {SEEN}"
    return Sifted(
        changed=_picked(part.records, _arrow(connection, chosen)),
        unchanged=int(_value(connection, "SELECT count(*) FROM judged WHERE NOT is_changed")),
        broken=_picked(part.records, _arrow(connection, refused)).to_pylist(),
    )


def _picked(records: pa.Table, chosen: pa.Table) -> pa.Table:
    """The records that `chosen` names by `SEEN`, with its other columns; both are in order of `SEEN`."""
    picked = records.filter(pc.is_in(records[SEEN], value_set=chosen[SEEN].combine_chunks())).drop_columns([SEEN])
    for name in chosen.column_names[1:]:
        picked = picked.append_column(name, chosen[name])
    return picked


def _arrow(connection: duckdb.DuckDBPyConnection, query: str, parameters: Sequence[Any] = ()) -> pa.Table:
    return connection.sql(query, params=list(parameters)).to_arrow_table()


def _value(connection: duckdb.DuckDBPyConnection, query: str) -> Any:
    return connection.sql(query).fetchall()[0][0]


def _checked_sql(contract: RecordContract) -> str:
    """Key, hash and the first clause that it breaks, of every distinct record."""
    position = f', "{contract.position}"' if contract.position else ""
    clauses = " ".join(
        f"WHEN NOT coalesce({clause.predicate}, false) THEN {index}" for index, clause in enumerate(contract.clauses)
    )
    copies = f"PARTITION BY coalesce(record_key, '#' || {SEEN}) ORDER BY {contract.newest}"
    single = f"QUALIFY row_number() OVER ({copies}) = 1"
    return f"""
        SELECT {SEEN}{position}, {contract.key} AS record_key, {_hash_sql(contract)} AS content_hash,
            CASE {clauses} END AS clause
        FROM batch {"" if contract.position else single}
    """


def _hash_sql(contract: RecordContract) -> str:
    """md5 over the contract's fields, unit-separated; nothing said and said to be blank are not the same."""
    kinds = {item.name: item.type for item in contract.schema}
    plain = (f'to_json("{name}")' if pa.types.is_nested(kinds[name]) else f'"{name}"' for name in contract.hashed)
    texts = ", ".join(f"coalesce(CAST({text} AS VARCHAR), chr(30))" for text in plain)
    return f"md5(concat_ws(chr(31), {texts}))"


def _judged_sql(contract: RecordContract, table: Table) -> str:
    """Records that keep the contract, each marked as a new version or not.

    A record is compared with the newest stored version; a message also with the message before it,
    and one that was sent before the newest stored version changes nothing.
    """
    position = f', arg_max("{contract.position}", extracted_at) AS known_position' if contract.position else ""
    order = f'"{contract.position}"' if contract.position else SEEN
    is_newer = f'(known_position IS NULL OR "{contract.position}" >= known_position)' if contract.position else "true"
    return f"""
        WITH known AS (
            SELECT record_key, arg_max(content_hash, extracted_at) AS known_hash{position}
            FROM "{table.name}" WHERE record_key IN (SELECT record_key FROM checked) GROUP BY record_key
        ), compared AS (
            SELECT checked.*, known_hash, {is_newer} AS is_newer
            FROM checked LEFT JOIN known USING (record_key) WHERE clause IS NULL
        ), marked AS (
            SELECT *, is_newer AND content_hash IS DISTINCT FROM coalesce(
                lag(content_hash) OVER (PARTITION BY record_key, is_newer ORDER BY {order}), known_hash) AS is_changed
            FROM compared
        )
        SELECT *, row_number() OVER (PARTITION BY record_key, is_changed ORDER BY {order}) AS version FROM marked
    """


def _after(lake: Lake, table: Table, now: datetime) -> datetime:
    """`now`, or just after the newest stored version if that is later: versions never share an instant."""
    newest: datetime | None = _value(lake.connect(table), f'SELECT max(extracted_at) FROM "{table.name}"')
    return now.astimezone(UTC) if newest is None else max(now, newest + timedelta(microseconds=1)).astimezone(UTC)


def versions(records: pa.Table, table: Table, *, night: str, at: datetime) -> pa.Table:
    """Changed records as rows of the raw table; further versions of a record follow by one microsecond each."""
    connection = connect()
    connection.register("records", records)
    names = ", ".join(f'"{name}"' for name in table.column_names if name not in ("extracted_at", "night"))
    query = f"SELECT {names}, $1 + to_microseconds(version - 1) AS extracted_at, $2 AS night FROM records"
    rows = _arrow(connection, query, [at, night])
    return rows.select(list(table.column_names)).cast(table.arrow_schema())


def _refused(row: Mapping[str, Any], contract: RecordContract) -> dict[str, Any]:
    """The quarantine entry of a record that breaks a clause."""
    clause = contract.clauses[row["clause"]]
    return {
        "record_key": row["record_key"] or f"#{row['content_hash']}",
        "content_hash": row["content_hash"],
        "reason": clause.name,
        "clause": ", ".join(clause.fields),
        "detail": clause.vi,
        "excerpt": excerpt(row, contract),
    }


def _unreadable(broken: Broken) -> dict[str, Any]:
    return {
        "record_key": broken.where,
        "content_hash": broken.content_hash,
        "reason": broken.reason,
        "clause": broken.clause,
        "detail": broken.detail,
        "excerpt": None,
    }


def excerpt(row: Mapping[str, Any], contract: RecordContract) -> str:
    """Contract fields of a record as JSON, for someone who looks into it.

    Lists are left out. A field that should hold a date or a number may, in a broken record, hold
    anything, so letters and bare runs of digits in it are told by their length only.
    """
    dates = {name for clause in contract.clauses if clause.name.endswith("_readable") for name in clause.fields}
    shown = {
        name: _masked(str(value)) if name in dates else str(value)[:_EXCERPT_LENGTH]
        for name, value in row.items()
        if name in contract.hashed and value not in (None, "") and not isinstance(value, list | dict)
    }
    return json.dumps(shown, ensure_ascii=False)


def _masked(text: str) -> str:
    return text if _HARMLESS.match(text) else f"«{len(text)} ký tự»"


def quarantine(entries: Sequence[Mapping[str, Any]], source: str, lake: Lake, *, now: datetime) -> None:
    """Append entries that the quarantine does not hold yet."""
    if not entries:
        return
    rows = pa.Table.from_pylist(
        [{**entry, "stage": STAGE, "source": source, "quarantined_at": now} for entry in entries],
        schema=RAW_QUARANTINE.arrow_schema(),
    )
    connection = lake.connect(RAW_QUARANTINE)
    connection.register("entries", rows)
    key = ", ".join(RAW_QUARANTINE.key)
    fresh = _arrow(connection, f"SELECT DISTINCT ON ({key}) * FROM entries ANTI JOIN raw_quarantine USING ({key})")
    lake.append(RAW_QUARANTINE, fresh.cast(RAW_QUARANTINE.arrow_schema()))


@dataclass(frozen=True)
class StoredDays:
    """What the portal's walk may ask about stored dossiers: counted once, by site and day."""

    #: (site, axis) → sorted days and running counts.
    days: Mapping[tuple[int, str], tuple[list[date], list[int]]]
    waiting: Mapping[int, Sequence[date]]

    @classmethod
    def of(cls, lake: Lake) -> StoredDays:
        """Count the newest version of every stored dossier of the portal."""
        connection = lake.connect(RAW_PORTAL)
        connection.execute(_NEWEST_SQL)
        days: dict[tuple[int, str], tuple[list[date], list[int]]] = {}
        for axis in ("submit", "receive"):
            for site, day, count in _rows_of(connection, axis):
                known = days.setdefault((int(site), axis), ([], []))
                known[0].append(day)
                known[1].append(count + (known[1][-1] if known[1] else 0))
        waiting: dict[int, list[date]] = defaultdict(list)
        for site, day in connection.sql(_WAITING_SQL).fetchall():
            waiting[int(site)].append(day)
        return cls(days, waiting)

    def known(self, site: int, axis: str, first: date, last: date) -> int:
        """How many stored dossiers have their day in [first, last]."""
        days, running = self.days.get((site, axis), ([], []))
        upper, lower = bisect_right(days, last), bisect_left(days, first)
        return (running[upper - 1] if upper else 0) - (running[lower - 1] if lower else 0)

    def unreceived(self, site: int, before: date) -> Sequence[date]:
        """Submission days before `before` of dossiers neither received nor closed."""
        return [day for day in self.waiting.get(site, ()) if day < before]


_NEWEST_SQL = """
    CREATE TEMP TABLE newest AS
    SELECT "groupId" AS site, "dossierStatus" AS status, "releaseDate" AS released, "cancellingDate" AS cancelled,
        CAST(try_strptime("submitDate", '%d/%m/%Y %H:%M:%S') AS DATE) AS submit,
        CAST(try_strptime("receiveDate", '%d/%m/%Y %H:%M:%S') AS DATE) AS receive
    FROM raw_portal QUALIFY row_number() OVER (PARTITION BY record_key ORDER BY extracted_at DESC) = 1
"""
_WAITING_SQL = """
    SELECT DISTINCT site, submit FROM newest
    WHERE receive IS NULL AND submit IS NOT NULL AND coalesce(released, '') = ''
        AND status NOT IN ('denied', 'cancelled', 'unresolved', 'done') ORDER BY site, submit
"""


def _rows_of(connection: duckdb.DuckDBPyConnection, axis: str) -> list[tuple[str, date, int]]:
    return connection.sql(
        f"SELECT site, {axis}, count(*) FROM newest WHERE {axis} IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2"
    ).fetchall()
