"""The SQL database: cursors, files already read, nights and their counts (the audit trail).

Belongs here: table definitions and the few statements that move a cursor or write the trail.
SQLite by default, PostgreSQL in production; both through SQLAlchemy. Does not belong here: records
of dossiers (they live in the lake) and anything personal.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine, make_url

metadata = sa.MetaData()

#: How to be the only one who creates tables, until the transaction ends: the steps of a first night open
#: the database at the same moment.
_ALONE = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "SELECT pg_advisory_xact_lock(7408202610)"}
#: Seconds that a writer waits for another one; SQLite's own 5 are too few beside a busy disk.
_SQLITE_WAIT = 30


class Instant(sa.types.TypeDecorator[datetime]):
    """An aware UTC instant, also on SQLite, which keeps no zone of its own."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002 - the signature is SQLAlchemy's  # noqa: ARG002
        """Refuse a naive value; store UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"instant without a zone: {value!r}")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002 - the signature is SQLAlchemy's  # noqa: ARG002
        """Give UTC back its zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


cursor_table = sa.Table(
    "source_cursor",
    metadata,
    sa.Column("source", sa.String(100), primary_key=True),
    sa.Column("stream", sa.String(200), primary_key=True),
    sa.Column("position", sa.Text, nullable=False, comment="JSON; what it means is the connector's"),
    sa.Column("lake_version", sa.BigInteger, nullable=False, comment="version of the raw table it is safe for"),
    sa.Column("moved_at", Instant, nullable=False),
)

document_table = sa.Table(
    "source_document",
    metadata,
    sa.Column("source", sa.String(100), primary_key=True),
    sa.Column("documents", sa.Text, nullable=False, comment="JSON; validators and hashes, never a body"),
    sa.Column("lake_version", sa.BigInteger, nullable=False, comment="version of the table that has what they held"),
)

night_table = sa.Table(
    "night",
    metadata,
    sa.Column("night", sa.String(64), primary_key=True, comment="id of the run"),
    sa.Column("province_code", sa.String(8), nullable=False),
    sa.Column("started_at", Instant, nullable=False),
    sa.Column("ended_at", Instant),
    sa.Column("as_of", Instant),
    sa.Column("publication", sa.String(200)),
)

count_table = sa.Table(
    "night_count",
    metadata,
    sa.Column("night", sa.String(64), primary_key=True),
    sa.Column("stage", sa.String(20), primary_key=True, comment="extract | conform"),
    sa.Column("source", sa.String(100), primary_key=True),
    sa.Column("rows_read", sa.BigInteger, nullable=False),
    sa.Column("rows_stored", sa.BigInteger, nullable=False),
    sa.Column("rows_unchanged", sa.BigInteger, nullable=False),
    sa.Column("rows_quarantined", sa.BigInteger, nullable=False),
    sa.Column("window_start", Instant),
    sa.Column("window_end", Instant),
)


absence_table = sa.Table(
    "night_absence",
    metadata,
    sa.Column("night", sa.String(64), primary_key=True),
    sa.Column("source", sa.String(100), primary_key=True),
    sa.Column("rows_gone", sa.BigInteger, nullable=False, comment="tombstones written: the source has them no longer"),
    sa.Column("rows_missing", sa.BigInteger, nullable=False, comment="not seen, but not believed to be gone"),
    sa.Column("notes", sa.Text, nullable=False, comment="JSON list: what an operator was told of them"),
)

version_table = sa.Table(
    "night_version",
    metadata,
    sa.Column("night", sa.String(64), primary_key=True),
    sa.Column("table_name", sa.String(100), primary_key=True),
    sa.Column("lake_version", sa.BigInteger, nullable=False, comment="version of the lake's table that it ended with"),
)

cleared_table = sa.Table(
    "night_cleared",
    metadata,
    sa.Column("night", sa.String(64), primary_key=True, comment="a night whose lake can no longer be read"),
    sa.Column("cleared_at", Instant, nullable=False),
)


@dataclass(frozen=True)
class PastNight:
    """A night that ended: facts were known up to `as_of`, and each table of the lake stood at its version."""

    night: str
    as_of: datetime
    ended_at: datetime
    lake_versions: Mapping[str, int]


@dataclass(frozen=True)
class Cursor:
    """How far a stream of a source has been read: a position the connector understands."""

    position: Mapping[str, Any]
    lake_version: int
    moved_at: datetime


class LakeBehindCursorError(RuntimeError):
    """The lake is older than a cursor: it was restored or deleted, and reading on would lose records."""


@dataclass(frozen=True)
class Database:
    """The SQL half of the home."""

    engine: Engine

    @classmethod
    def open(cls, url: str) -> Database:
        """Connect and create what is missing; the folder of an SQLite file is made."""
        parsed = make_url(url)
        is_sqlite = parsed.get_backend_name() == "sqlite"
        if is_sqlite and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = sa.create_engine(parsed, connect_args={"timeout": _SQLITE_WAIT} if is_sqlite else {})
        with engine.begin() as connection:
            if alone := _ALONE.get(parsed.get_backend_name()):
                connection.exec_driver_sql(alone)
            metadata.create_all(connection)
        return cls(engine)

    @classmethod
    def existing(cls, url: str) -> Database | None:
        """Connect for reading alone: nothing is made. None where no night has made the tables yet."""
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            if not parsed.database or not Path(parsed.database).is_file():
                return None
            parsed = parsed.set(database=f"file:{parsed.database}", query={"mode": "ro", "uri": "true"})
        engine = sa.create_engine(parsed)
        return cls(engine) if sa.inspect(engine).has_table(cursor_table.name) else None

    def cursor(self, source: str, stream: str) -> Cursor | None:
        """The stored cursor, or None before the first batch."""
        query = sa.select(cursor_table).where(cursor_table.c.source == source, cursor_table.c.stream == stream)
        with self.engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else Cursor(json.loads(row.position), row.lake_version, row.moved_at)

    def cursors(self) -> dict[str, dict[str, Any]]:
        """Every position as {source: {stream: position}}, for the manifest and the command line."""
        with self.engine.connect() as connection:
            rows = connection.execute(sa.select(cursor_table).order_by(cursor_table.c.source, cursor_table.c.stream))
            result: dict[str, dict[str, Any]] = {}
            for row in rows:
                result.setdefault(row.source, {})[row.stream] = json.loads(row.position)
        return result

    def move_cursor(self, source: str, stream: str, position: Mapping[str, Any], *, lake_version: int) -> None:
        """Store the cursor that is safe now that the batch is in the lake at `lake_version`."""
        values = {
            "position": json.dumps(position, sort_keys=True),
            "lake_version": lake_version,
            "moved_at": datetime.now(UTC),
        }
        mine = sa.and_(cursor_table.c.source == source, cursor_table.c.stream == stream)
        with self.engine.begin() as connection:
            if connection.execute(cursor_table.update().where(mine).values(**values)).rowcount == 0:
                connection.execute(cursor_table.insert().values(source=source, stream=stream, **values))

    def documents(self, source: str, *, lake_version: int) -> dict[str, Any]:
        """What is known of a source's documents, by key; nothing when the lake is older than what they brought."""
        query = sa.select(document_table).where(document_table.c.source == source)
        with self.engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return {} if row is None or lake_version < row.lake_version else dict(json.loads(row.documents))

    def keep_documents(self, source: str, documents: Mapping[str, Any], *, lake_version: int) -> None:
        """Put `documents` (key → JSON) in place of what is known of a source's; what they held is in the lake."""
        values = {"documents": json.dumps(documents, sort_keys=True), "lake_version": lake_version}
        mine = document_table.c.source == source
        with self.engine.begin() as connection:
            if connection.execute(document_table.update().where(mine).values(**values)).rowcount == 0:
                connection.execute(document_table.insert().values(source=source, **values))

    def check_lake(self, source: str, stream: str, version: int) -> None:
        """Raise `LakeBehindCursorError` when the raw table's `version` is older than the cursor knows."""
        stored = self.cursor(source, stream)
        if stored is not None and version < stored.lake_version:
            raise LakeBehindCursorError(
                f"source {source}, stream {stream}: the lake is at version {version}, but its cursor was stored "
                f"for version {stored.lake_version}. The lake was restored or deleted; reading on from the cursor "
                "would lose records. Restore the database of the same time, or delete this row of source_cursor "
                "to read everything again (unchanged records are not stored twice)."
            )

    def begin_night(self, night: str, *, province_code: str) -> None:
        """Write that a night began; beginning the same night again (a retry) changes nothing."""
        with self.engine.begin() as connection:
            known = connection.execute(sa.select(night_table.c.night).where(night_table.c.night == night)).first()
            if known is None:
                connection.execute(
                    night_table.insert().values(night=night, province_code=province_code, started_at=datetime.now(UTC))
                )

    def end_night(
        self, night: str, *, as_of: datetime, publication: str, lake_versions: Mapping[str, int] | None = None
    ) -> None:
        """Write that a night published `publication`, with facts up to `as_of`; it must have begun.

        `lake_versions` says at which version each table of the lake stood, so that what was known then
        can be read again.
        """
        values = {"ended_at": datetime.now(UTC), "as_of": as_of, "publication": publication}
        with self.engine.begin() as connection:
            ended = connection.execute(night_table.update().where(night_table.c.night == night).values(**values))
            if ended.rowcount == 0:
                raise LookupError(f"night {night} never began: there is no row of it to end")
            connection.execute(version_table.delete().where(version_table.c.night == night))
            for name, version in sorted((lake_versions or {}).items()):
                connection.execute(version_table.insert().values(night=night, table_name=name, lake_version=version))

    def night_known_on(self, until: datetime) -> PastNight | None:
        """The last night that ended with facts up to `until` or an earlier instant, or None before the first."""
        return self._past_night(night_table.c.as_of <= until)

    def newest_night(self) -> PastNight | None:
        """The night that ended with the newest facts, or None before the first."""
        return self._past_night(sa.true())

    def _past_night(self, condition: sa.ColumnElement[bool]) -> PastNight | None:
        query = (
            sa.select(night_table)
            .where(night_table.c.ended_at.is_not(None), condition)
            .order_by(night_table.c.as_of.desc(), night_table.c.ended_at.desc())
            .limit(1)
        )
        with self.engine.connect() as connection:
            row = connection.execute(query).one_or_none()
            if row is None:
                return None
            mine = sa.select(version_table).where(version_table.c.night == row.night)
            versions = {version.table_name: version.lake_version for version in connection.execute(mine)}
        return PastNight(night=row.night, as_of=row.as_of, ended_at=row.ended_at, lake_versions=versions)

    def past_nights(self) -> list[PastNight]:
        """Every night that ended and whose lake was not cleared away, oldest facts first."""
        cleared = sa.select(cleared_table.c.night)
        query = (
            sa.select(night_table)
            .where(night_table.c.ended_at.is_not(None), night_table.c.night.not_in(cleared))
            .order_by(night_table.c.as_of, night_table.c.ended_at)
        )
        with self.engine.connect() as connection:
            versions: dict[str, dict[str, int]] = {}
            for row in connection.execute(sa.select(version_table)):
                versions.setdefault(row.night, {})[row.table_name] = row.lake_version
            return [
                PastNight(row.night, as_of=row.as_of, ended_at=row.ended_at, lake_versions=versions.get(row.night, {}))
                for row in connection.execute(query)
            ]

    def clear_nights(self, nights: Iterable[str]) -> None:
        """Write that the lake of these nights is no longer kept; before their files go, so that nobody is misled."""
        now = datetime.now(UTC)
        with self.engine.begin() as connection:
            known = set(connection.execute(sa.select(cleared_table.c.night)).scalars())
            for night in sorted(set(nights) - known):
                connection.execute(cleared_table.insert().values(night=night, cleared_at=now))

    def record_counts(
        self,
        night: str,
        *,
        stage: str,
        source: str,
        rows_read: int,
        rows_stored: int,
        rows_unchanged: int,
        rows_quarantined: int,
        window: tuple[datetime, datetime] | None = None,
    ) -> None:
        """Write what came of the rows of a source; refuses numbers that do not close."""
        if rows_read != rows_stored + rows_unchanged + rows_quarantined:
            raise ValueError(
                f"{stage} of {source}: {rows_read} rows read, but {rows_stored} stored + {rows_unchanged} unchanged "
                f"+ {rows_quarantined} quarantined = {rows_stored + rows_unchanged + rows_quarantined}"
            )
        values = {
            "rows_read": rows_read,
            "rows_stored": rows_stored,
            "rows_unchanged": rows_unchanged,
            "rows_quarantined": rows_quarantined,
            "window_start": window[0] if window else None,
            "window_end": window[1] if window else None,
        }
        mine = sa.and_(count_table.c.night == night, count_table.c.stage == stage, count_table.c.source == source)
        with self.engine.begin() as connection:
            if connection.execute(count_table.update().where(mine).values(**values)).rowcount == 0:
                connection.execute(count_table.insert().values(night=night, stage=stage, source=source, **values))

    def counts(self, night: str) -> list[dict[str, Any]]:
        """What `record_counts` wrote for a night, by stage and source."""
        order = (count_table.c.stage, count_table.c.source)
        query = sa.select(count_table).where(count_table.c.night == night).order_by(*order)
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def record_absences(
        self, night: str, *, source: str, rows_gone: int, rows_missing: int, notes: Iterable[str] = ()
    ) -> None:
        """Write how many records of a source are gone, how many were only not seen, and what was said of them."""
        values = {
            "rows_gone": rows_gone,
            "rows_missing": rows_missing,
            "notes": json.dumps(list(notes), ensure_ascii=False),
        }
        mine = sa.and_(absence_table.c.night == night, absence_table.c.source == source)
        with self.engine.begin() as connection:
            if connection.execute(absence_table.update().where(mine).values(**values)).rowcount == 0:
                connection.execute(absence_table.insert().values(night=night, source=source, **values))

    def absences(self, night: str) -> list[dict[str, Any]]:
        """What `record_absences` wrote for a night, by source; `notes` as a list."""
        query = sa.select(absence_table).where(absence_table.c.night == night).order_by(absence_table.c.source)
        with self.engine.connect() as connection:
            rows = [dict(row) for row in connection.execute(query).mappings()]
        return [row | {"notes": json.loads(row["notes"])} for row in rows]

    def extracted_until(self, sources: Iterable[str]) -> datetime | None:
        """End of the newest window that every one of `sources` has been read to, None when one never was."""
        wanted = set(sources)
        query = (
            sa.select(sa.func.max(count_table.c.window_end))
            .where(count_table.c.stage == "extract", count_table.c.source.in_(wanted))
            .group_by(count_table.c.source)
        )
        with self.engine.connect() as connection:
            ends: list[datetime] = [end for end in connection.execute(query).scalars() if end is not None]
        return min(ends) if ends and len(ends) == len(wanted) else None

    def last_night(self) -> str | None:
        """The night that ended last, or None."""
        ended = night_table.c.ended_at
        query = sa.select(night_table.c.night).where(ended.is_not(None)).order_by(ended.desc()).limit(1)
        with self.engine.connect() as connection:
            return connection.execute(query).scalar_one_or_none()
