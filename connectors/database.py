"""A system connected through a read-only replica of its database, by a profile (SQLAlchemy).

Belongs here: what an integrator writes about such a source, in which order its rows are read, and the
cursors that are safe after each chunk. Does not belong here: the profile's shape (`database_profile.py`),
statements (`database_plan.py`), sessions (`database_session.py`), columns (`database_columns.py`).

One night reads, in this order:

1. what has no usable `modified`, by key: nothing would show that it changed;
2. the dossiers by (modified, key), from the last one seen less an overlap, for rows that a long
   transaction, a slow replica or a wrong clock made visible late with an older time;
3. dossiers of which only a row elsewhere changed (a payment, a component), where that table says when;
4. every so many days all keys, so that what was deleted physically gets a tombstone.

Each of 2 and 3 is a stream with a position: `seen`, the newest `modified` that was there, from which the
next reading starts (a replica that stood still for hours has a clock that did not). The dossiers' stream also
has `until`, up to which everything was read by both clocks; it alone says how far the source was read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any, ClassVar, Literal
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from pydantic import Field, NonNegativeInt, PositiveInt

from connectors.contract import SEEN, RecordContract
from connectors.database_columns import aware, records
from connectors.database_plan import Plan, Position, Predicate, Rest, Wanted
from connectors.database_profile import DatabaseProfile
from connectors.database_session import Fetched, Session, engine_of
from connectors.profiled import KIND, SCHEMA, Profile, ProfiledSettings, contract
from connectors.protocol import Batch, Completed, Part, Permanent, Span, Whole
from connectors.records import numbered
from connectors.settings import VariableName, secret

#: Stream of the dossiers' own changes; others are called by their key in the profile.
MODIFIED = "modified"
COMPARISON = "comparison"
#: So many values stand in one IN list: SQL Server takes 2,100 parameters, Oracle 1,000.
_LISTED = 500
#: A batch whose rows were fetched; it is made of them when called, one after another.
Make = Callable[[], Batch]
Positions = Mapping[str, Mapping[str, Any]]
_NEVER = datetime.min.replace(tzinfo=UTC)


class DatabaseSettings(ProfiledSettings):
    """A read-only replica of a system's database.

    The account must only be able to read; the session is made read-only besides. For SQL Server the URL
    must say ApplicationIntent=ReadOnly.
    """

    profile_model: ClassVar[type[Profile]] = DatabaseProfile

    kind: Literal["database"]
    #: Environment variable with SQLAlchemy's URL: it holds a password.
    url_env: VariableName
    #: Where all tables of the profile stand, in place of the schemas that it names.
    db_schema: Annotated[str | None, Field(alias="schema", min_length=1)] = None
    #: Dossiers in memory at a time.
    chunk_rows: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000
    #: Read again by this much: the longest transaction, the clocks' difference, the replica's delay.
    overlap_minutes: NonNegativeInt = 60
    #: All keys are compared every so many days; never when 0 (then only deleted flags tell).
    full_comparison_days: NonNegativeInt = 7
    #: Refuse to read where the session cannot be made read-only.
    read_only_guard: bool = True
    attempts: PositiveInt = 3

    @property
    def lag(self) -> timedelta:
        """How far behind the present nothing is called read."""
        return timedelta(minutes=self.lag_minutes)

    @property
    def overlap(self) -> timedelta:
        """How far behind the last row seen a reading starts."""
        return timedelta(minutes=self.overlap_minutes)


@dataclass
class Replica:
    """An open database, as `assets/raw` sees it; `positions` are the stored cursors of its streams."""

    name: str
    settings: DatabaseSettings
    session: Session
    plan: Plan
    positions: Positions
    _contract: RecordContract = field(init=False)
    _read: int = 0
    #: The newest dossier of this reading: so far, at least, the replica had come.
    _newest: datetime = _NEVER

    def __post_init__(self) -> None:
        self._contract = replace(contract(self.name, self.plan.profile), wire=tuple(sorted(self.plan.read)))

    async def batches(self, span: Span) -> AsyncIterator[Batch]:
        """Everything that changed in the span, chunk by chunk; see the module for the order."""
        iterator = self._batches(span)
        fetching = asyncio.create_task(asyncio.to_thread(next, iterator, None))
        try:
            while (fetched := await fetching) is not None:
                # The server works on the next chunk while this one becomes columns.
                fetching = asyncio.create_task(asyncio.to_thread(next, iterator, None))
                yield await asyncio.to_thread(fetched)
        finally:
            await asyncio.gather(fetching, return_exceptions=True)

    async def complete(self, records: pa.Table) -> Completed:
        """A record is read whole."""
        return Completed(records)

    def _batches(self, span: Span) -> Iterator[Make]:
        try:
            yield from self._passes(span)
        except Permanent:
            # A table or column that vanished meanwhile is named; whatever else it was, the server's code says.
            profile, found = self.plan.profile, self.session.found
            Plan(profile, found, dialect=self.session.dialect, schema=self.settings.db_schema)
            raise

    def _passes(self, span: Span) -> Iterator[Make]:
        seen = Part(self._contract, numbered(SCHEMA.empty_table(), 0, SEEN), shape=self.plan.shape)
        yield lambda: Batch((seen,), {})
        now = self.session.clock()
        safe = min(span.end, now - self.settings.lag)
        # A span before what was read is a back-fill: it moves no cursor.
        is_update = span.is_update or MODIFIED not in self.positions
        starts = [(rest, self._start(rest.at, span)) for rest in self.plan.rests if rest.child.modified]
        if is_update:
            # Noted before anything is read: killed in between, the next night knows where each has to begin.
            fresh = {rest.at: {"seen": start.isoformat()} for rest, start in starts}
            yield _only({stream: seen for stream, seen in fresh.items() if stream not in self.positions})
        if is_update or self.plan.modified is None:
            yield from self._by_key()
        if self.plan.modified is not None:
            read_from = self._start(MODIFIED, span)
            yield from self._changed(read_from, None if is_update else span.end, safe)
            for rest, start in starts if is_update else ():
                yield from self._touched(rest, start, read_from, safe)
        elif is_update:
            yield _only({MODIFIED: _position(safe, safe.isoformat())})
        if is_update and self.settings.full_comparison_days:
            yield from self._comparison(now)

    def _start(self, stream: str, span: Span) -> datetime:
        """From where a stream is read: the span's start, or the newest row seen before, less the overlap."""
        known = self.positions.get(stream)
        start = min(span.start, datetime.fromisoformat(known["seen"])) if known and span.is_update else span.start
        return start - self.settings.overlap

    # Passes.

    def _by_key(self) -> Iterator[Make]:
        """Rows without a usable `modified`, or all rows of a profile that names none."""
        after: Position | None = None
        while (chunk := self._chunk(self.plan.undated(after), by_key=True)) is not None:
            yield partial(self._batch, [chunk.table], {})
            if chunk.is_last:
                return
            after = self._further(after, chunk.position)

    def _changed(self, start: datetime, stop: datetime | None, safe: datetime) -> Iterator[Make]:
        """Dossiers by (modified, key) from `start` on, before `stop` if given; only without it cursors move."""
        column = self.plan.plain(self.plan.dated_by)
        lower = self._local(start, column)
        upper = None if stop is None else self._local(stop, column)
        after: Position | None = None
        newest = start
        while (chunk := self._chunk(self.plan.dated(lower, after=after, stop=upper), by_key=False)) is not None:
            newest = max(newest, min(aware(chunk.position.modified, column, self.plan.profile.zone), safe))
            cursors = {MODIFIED: _position(newest, newest.isoformat())} if stop is None else {}
            yield partial(self._batch, [chunk.table], cursors)
            if chunk.is_last:
                break
            after = self._further(after, chunk.position)
        self._newest = newest
        if stop is None:
            yield _only({MODIFIED: _position(safe, self._seen(MODIFIED, newest))})

    def _touched(self, rest: Rest, start: datetime, read_from: datetime, safe: datetime) -> Iterator[Make]:
        """Dossiers of which only a row of another table changed from `start` on."""
        modified = self.plan.modified_of(rest)
        column = self.plan.plain(modified)
        lower, mine = self._local(start, column), self._local(read_from, self.plan.plain(self.plan.dated_by))
        after: Position | None = None
        newest, limit = start, self.settings.chunk_rows
        while True:
            statement = self.plan.touched(rest, lower, read_from=mine, after=after, limit=limit)
            rows = self.session.run(partial(_rows, statement=statement))
            if rows:
                newest = max(newest, min(aware(rows[-1][0], column, self.plan.profile.zone), safe))
                references = list(dict.fromkeys(row[2] for row in rows))
                tables = [
                    self._named(rest, references[first : first + _LISTED])
                    for first in range(0, len(references), _LISTED)
                ]
                yield partial(self._batch, tables, {rest.at: {"seen": self._seen(rest.at, newest)}})
            if len(rows) < limit:
                break
            after = self._further(after, Position(rows[-1][0], rows[-1][1]))
        # Rows whose dossiers changed too were read with them, so the stream is as far as the dossiers are.
        yield _only({rest.at: {"seen": self._seen(rest.at, max(newest, self._newest))}})

    def _seen(self, stream: str, newest: datetime) -> str:
        """The newest `modified` seen, never before what was seen another night."""
        known = self.positions.get(stream)
        seen = newest if known is None else max(newest, datetime.fromisoformat(known["seen"]))
        return seen.astimezone(UTC).isoformat()

    def _further(self, before: Position | None, last: Position) -> Position:
        # A server that does not find its own values equal again would hand out the same rows for ever.
        if before == last:
            raise Permanent(f"table {self.plan.profile.table} cannot be read in the order of its key", key="profile")
        return last

    def _comparison(self, now: datetime) -> Iterator[Make]:
        """One part that promises: what is stored and not among these keys, is gone. Keys alone are held."""
        compared = {COMPARISON: {"compared_at": now.isoformat()}}
        known = self.positions.get(COMPARISON)
        if known is None and MODIFIED not in self.positions:
            # The first reading: there is nothing yet that could be gone.
            yield _only(compared)
            return
        days = timedelta(days=self.settings.full_comparison_days)
        if known is not None and now - datetime.fromisoformat(known["compared_at"]) < days:
            return
        found: list[pa.Array] = []
        after: Any = None
        while True:
            query = self.plan.keys(after=after, limit=self.settings.chunk_rows * 5)
            fetched = self.session.run(partial(self.session.fetch, query=query))
            found.append(fetched.columns()[0])
            if fetched.rows < self.settings.chunk_rows * 5:
                break
            after = fetched.last[0]
        keys = pa.concat_arrays(found)
        # The record's key as the contract makes it: '<source>:<record_id>'.
        seen = pc.binary_join_element_wise(f"{self.name}:", keys, "")
        where = f"toàn bộ khóa của bảng {self.plan.profile.table}"
        empty = numbered(SCHEMA.empty_table(), 0, SEEN)
        whole = Whole(within="true", where=where, seen=seen, stream=COMPARISON)
        batch = Batch((Part(self._contract, empty, wholes=(whole,)),), compared)
        yield lambda: batch

    # Chunks.

    def _chunk(self, which: Predicate, *, by_key: bool, limit: int | None = None) -> _Chunk | None:
        size = limit or self.settings.chunk_rows

        def read(connection: sa.Connection) -> _Chunk | None:
            main = self.session.fetch(connection, self.plan.records(which, limit=size, by_key=by_key))
            if main.rows == 0:
                return None
            last = Position(None if by_key else main.last[1], main.last[0])
            within = self.plan.upto(which, last)
            rests = [
                (rest, self.session.fetch(connection, self.plan.children(rest, within))) for rest in self.plan.rests
            ]
            return _Chunk(partial(_table, self.plan, main, rests), last, is_last=main.rows < size)

        return self.session.run(read)

    def _named(self, rest: Rest, references: Sequence[Any]) -> Callable[[], pa.Table]:
        """The dossiers that rows of another table refer to."""

        def read(connection: sa.Connection) -> Callable[[], pa.Table]:
            which = self.plan.named(rest.reference, references)
            main = self.session.fetch(connection, self.plan.records(which, limit=None, by_key=True))
            rests = [
                (each, self.session.fetch(connection, self.plan.children(each, which))) for each in self.plan.rests
            ]
            return partial(_table, self.plan, main, rests)

        return self.session.run(read)

    def _batch(self, tables: Sequence[Callable[[], pa.Table]], cursors: Positions) -> Batch:
        table = pa.concat_tables([make() for make in tables])
        part = Part(self._contract, numbered(table, self._read, SEEN))
        self._read += table.num_rows
        return Batch((part,), cursors)

    def _local(self, moment: datetime, column: Wanted) -> datetime:
        """An instant as the column compares it."""
        if column.kind == "aware":
            return moment.astimezone(UTC)
        return moment.astimezone(ZoneInfo(column.zone or self.plan.profile.zone)).replace(tzinfo=None)

    def sample(self, limit: int) -> pa.Table:
        """Up to `limit` records, in the order of their key."""
        chunk = self._chunk(sa.true(), by_key=True, limit=limit)
        return SCHEMA.empty_table() if chunk is None else chunk.table()


@dataclass(frozen=True)
class _Chunk:
    """Records of a chunk, where it ended, and whether nothing can come after it."""

    table: Callable[[], pa.Table]
    position: Position
    is_last: bool


def _table(plan: Plan, main: Fetched, rests: Sequence[tuple[Rest, Fetched]]) -> pa.Table:
    return records(plan, main.columns(), [(rest, fetched.columns()) for rest, fetched in rests])


def _only(cursors: Positions) -> Make:
    return partial(Batch, (), cursors)


def _rows(connection: sa.Connection, statement: sa.Select[Any]) -> Sequence[Any]:
    return connection.execute(statement).fetchall()


def _position(until: datetime, seen: str) -> dict[str, str]:
    return {"until": until.astimezone(UTC).isoformat(), "seen": seen}


def _opened(name: str, settings: DatabaseSettings, positions: Positions) -> Replica:
    profile = settings.loaded()
    if not isinstance(profile, DatabaseProfile):
        raise TypeError(f"a database needs a database profile, not {type(profile).__name__}")
    session = Session(
        engine_of(secret(settings.url_env)), profile.zone, settings.read_only_guard, attempts=settings.attempts
    )
    try:
        plan = Plan(profile, session.found, dialect=session.dialect, schema=settings.db_schema)
    except BaseException:
        session.close()
        raise
    return Replica(name, settings, session, plan, positions)


@asynccontextmanager
async def connect(
    settings: DatabaseSettings, *, name: str, positions: Positions | None = None
) -> AsyncIterator[Replica]:
    """Open the database of the source `name`; `positions` are the stored cursors of its streams."""
    replica = await asyncio.to_thread(_opened, name, settings, positions or {})
    try:
        yield replica
    finally:
        await asyncio.to_thread(replica.session.close)


def probe(settings: DatabaseSettings) -> str:
    """Open the database, find every table and column of the profile, and read one key."""
    replica = _opened("probe", settings, {})
    try:
        product = replica.session.dialect
        query = replica.plan.keys(after=None, limit=1)
        replica.session.run(lambda connection: replica.session.fetch(connection, query))
        tables = dict.fromkeys([replica.plan.main.fullname, *(rest.table.fullname for rest in replica.plan.rests)])
        now = replica.session.clock().astimezone(ZoneInfo(replica.plan.profile.zone))
        return f"{product}: {', '.join(tables)}; giờ máy chủ {now:%Y-%m-%d %H:%M:%S}"
    finally:
        replica.session.close()


def sample(settings: DatabaseSettings, limit: int) -> pa.Table:
    """Up to `limit` mapped records, for someone who checks a profile."""
    replica = _opened("sample", settings, {})
    try:
        return replica.sample(limit)
    finally:
        replica.session.close()


__all__ = ["COMPARISON", "KIND", "MODIFIED", "DatabaseSettings", "Replica", "connect", "probe", "sample"]
