"""The lake: Delta tables under one root, read through DuckDB.

Belongs here: creating, appending, replacing partitions of, and querying Delta tables. Does not
belong here: what the tables mean, or any business query.

Why file lists and not DuckDB's delta extension: extensions are downloaded at run time, which a
government network does not allow; the current files of a Delta version are an ordinary list, and
DuckDB's own Parquet reader is the fastest way over them (docs/decisions/).
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, reduce
from operator import xor
from typing import Any, Literal
from urllib.parse import unquote

import duckdb
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, WriterProperties, write_deltalake
from deltalake.exceptions import TableNotFoundError

from warehouse import durable, objects
from warehouse.schema import Column, Table

WRITER = WriterProperties(compression="ZSTD", max_row_group_size=100_000)
#: Without this, deltalake deletes log entries older than thirty days whenever it writes a checkpoint (every hundred
#: commits), and with them the past: a version is read from its log. What goes is decided in `upkeep.py` alone.
KEEP_LOG = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False)
_DIGESTS = "_digests.json"


#: Delta panics or loses its way on some of these in the path of a local table, DuckDB reads others as wildcards.
_UNUSABLE = frozenset("%[]^|\\*?")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@dataclass(frozen=True)
class Lake:
    """Delta tables under `root` (a folder or an object-store URL), one folder per table.

    Example:
        >>> lake = Lake("/srv/thuocdo/lake")
        >>> lake.append(CORE_UNIT, rows)                        # doctest: +SKIP
        >>> lake.connect(CORE_UNIT).sql("SELECT count(*) FROM core_unit")  # doctest: +SKIP
    """

    root: str
    storage_options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if objects.is_remote(self.root):
            objects.expect(self.root)
        elif "://" not in self.root and (found := _UNUSABLE & set(self.root)):
            raise ValueError(
                f"lake folder {self.root!r}: its path has {' '.join(sorted(found))}, which Delta or DuckDB cannot "
                "read back; choose another THUOCDO_HOME or THUOCDO_STORAGE_URL"
            )

    def uri(self, table: Table) -> str:
        """Where `table` lives."""
        return f"{self.root.rstrip('/')}/{table.name}"

    def open(self, table: Table, *, version: int | None = None) -> DeltaTable | None:
        """The Delta table in its newest (or the given) version, or None when it was never written."""
        return self.open_named(table.name, version=version)

    def open_named(self, name: str, *, version: int | None = None) -> DeltaTable | None:
        """The Delta table in folder `name`, declared or not, in its newest (or the given) version, or None."""
        options = dict(self.storage_options) or None
        try:
            return DeltaTable(f"{self.root.rstrip('/')}/{name}", version=version, storage_options=options)
        except TableNotFoundError:
            return None

    def names(self) -> list[str]:
        """Every table there is, declared or not."""
        store = self.store()
        return [name for name in store.folders() if durable.LOG in store.folders(name)]

    def store(self) -> objects.Store:
        """The files of all tables, as files."""
        return objects.Store.at(self.root)

    def version(self, table: Table) -> int:
        """Newest version, -1 when the table was never written."""
        opened = self.open(table)
        return -1 if opened is None else opened.version()

    def append(self, table: Table, rows: pa.Table, *, note: Mapping[str, str] | None = None) -> int:
        """Add `rows` in one commit and return how many were added; no rows, no commit.

        `note` is kept in the commit's metadata (e.g. the night and window that wrote it).
        """
        if rows.num_rows:
            self._write(table, rows, mode="append", note=note)
        return int(rows.num_rows)

    def replace(self, table: Table, rows: pa.Table, *, note: Mapping[str, str] | None = None) -> int:
        """Put `rows` in place of everything the table holds, in one commit."""
        self._write(table, rows, mode="overwrite", note=note)
        return int(rows.num_rows)

    def replace_if_different(self, table: Table, rows: pa.Table, *, note: Mapping[str, str] | None = None) -> bool:
        """Like `replace`, but nothing is written when the table holds these rows already; say whether it was.

        For small tables: both sides are compared in memory, whatever the order of their rows.
        """
        order = [(name, "ascending") for name in table.key]
        if self.open(table) is not None and conform(table, rows).sort_by(order).equals(self.read(table).sort_by(order)):
            return False
        self.replace(table, rows, note=note)
        return True

    def replace_partitions(
        self, table: Table, rows: pa.Table, partitions: Iterable[str], *, note: Mapping[str, str] | None = None
    ) -> int:
        """Put `rows` in place of the named partitions, in one commit; others keep their files.

        Rows must belong to one of `partitions`; a partition without rows ends up empty. Deterministic
        order within a file comes from the table's `sort`.
        """
        if table.partition is None:
            raise ValueError(f"table {table.name} has no partition column")
        wanted = sorted(set(partitions))
        if strangers := sorted(set(rows[table.partition].unique().to_pylist()) - set(wanted)):
            raise ValueError(f"table {table.name}: rows of {table.partition} {strangers}, to be replaced: {wanted}")
        if not wanted:
            return 0
        if self.open(table) is None:
            return self.replace(table, rows, note=note)
        names = ", ".join(_quoted(name) for name in wanted)
        self._write(table, rows, mode="overwrite", predicate=f"{table.partition} IN ({names})", note=note)
        return int(rows.num_rows)

    def _write(
        self,
        table: Table,
        rows: pa.Table,
        *,
        mode: Literal["append", "overwrite"],
        predicate: str | None = None,
        note: Mapping[str, str] | None = None,
    ) -> None:
        rows = conform(table, rows)
        if table.sort:
            order = [*([table.partition] if table.partition else []), *table.sort]
            rows = rows.sort_by([(name, "ascending") for name in dict.fromkeys(order)])
        opened = self.open(table)
        before = -1 if opened is None else opened.version()
        options: dict[str, Any] = {
            "partition_by": [table.partition] if table.partition else None,
            "storage_options": dict(self.storage_options) or None,
            "writer_properties": WRITER,
            "commit_properties": CommitProperties(custom_metadata=dict(note)) if note else None,
            "post_commithook_properties": KEEP_LOG,
        }
        if mode == "append":
            # A column that was declared after the table was made is null in what stands there already.
            write_deltalake(opened or self.uri(table), rows, mode="append", schema_mode="merge", **options)
        else:
            # Replacing everything may also replace the columns, when the declaration has changed since.
            whole: dict[str, Any] = {"schema_mode": "overwrite"} if predicate is None else {"predicate": predicate}
            write_deltalake(opened or self.uri(table), rows, mode="overwrite", **whole, **options)
        # Written through an open table, that one has moved on to what it wrote.
        self.secure(table.name, after=before, until=None if opened is None else opened.version())

    def secure(self, name: str, *, after: int, until: int | None = None) -> None:
        """Make the commits of table `name` from the one after `after` to `until` (the newest) outlast a power cut."""
        root = objects.local_path(self.root)
        if root is None:
            return
        if until is None:
            opened = self.open_named(name)
            until = after if opened is None else opened.version()
        durable.secure(root / name, range(after + 1, until + 1))

    def renew(self, table: Table, *, note: Mapping[str, str] | None = None) -> bool:
        """Empty a table whose columns are not the declared ones, and say whether that was so.

        For tables that can be computed again. Earlier versions stay readable (`relation_sql`).
        """
        opened = self.open(table)
        if opened is None or opened.schema().to_arrow().names == list(table.column_names):
            return False
        self.replace(table, table.arrow_schema().empty_table(), note=note)
        return True

    def relation_sql(self, table: Table, *, partitions: Iterable[str] | None = None, version: int | None = None) -> str:
        """A SQL expression that yields the table's rows in DuckDB, in declared columns.

        The rows are those of `version`, by default the newest. A table never written yields no rows of
        the right types, so that queries need no special case.
        """
        opened = self.open(table, version=version)
        files = [] if opened is None else self._files(opened, table, partitions)
        return self._relation(table, opened, files)

    def relation_holding(self, table: Table, condition: str, *, connection: duckdb.DuckDBPyConnection) -> str:
        """As `relation_sql`, of those files only that hold a row for which `condition` is true.

        For few rows of many and wide ones: a filter that nothing prunes makes DuckDB unpack every column of every
        file, while to find the files it unpacks what the condition names. `condition` may speak of temporary tables
        of `connection`.
        """
        opened = self.open(table)
        if opened is None:
            return self._relation(table, None, [])
        if not (files := self._files(opened, table, None)):
            return self._relation(table, opened, [])
        rows = self._relation(table, opened, files, also="filename")
        holding = connection.execute(f"SELECT DISTINCT filename FROM {rows} WHERE {condition}").fetchall()
        found = {name for (name,) in holding}
        return self._relation(table, opened, [file for file in files if file in found])

    def _relation(self, table: Table, opened: DeltaTable | None, files: Collection[str], *, also: str = "") -> str:
        """The rows in `files` of a version; `also` is one more column of DuckDB's reader, by name."""
        if opened is None or not files:
            return f"(SELECT {_empty_columns(table)} WHERE false)"
        listing = ", ".join(_quoted(file) for file in files)
        held = set(opened.schema().to_arrow().names)
        columns = ", ".join([*(_selected(column, held) for column in table.columns), *([also] if also else [])])
        options = f", {also} = true" if also else ""
        if table.partition:
            options += f", hive_partitioning = true, hive_types = {{'{table.partition}': VARCHAR}}"
        return f"(SELECT {columns} FROM read_parquet([{listing}]{options}))"

    @staticmethod
    def _files(opened: DeltaTable, table: Table, partitions: Iterable[str] | None) -> list[str]:
        if partitions is None or table.partition is None:
            return _readable(opened, opened.file_uris())
        wanted = sorted(set(partitions))
        if not wanted:
            return []
        return _readable(opened, opened.file_uris(file_pruning_predicate=[(table.partition, "in", wanted)]))

    def connect(self, *tables: Table, connection: duckdb.DuckDBPyConnection | None = None) -> duckdb.DuckDBPyConnection:
        """A DuckDB session with one temporary view per table, pinned to its version now."""
        connection = connection or session()
        for table in tables:
            view = f'CREATE OR REPLACE TEMP VIEW "{table.name}" AS SELECT * FROM {self.relation_sql(table)}'
            connection.execute(view)
        return connection

    def read(self, table: Table) -> pa.Table:
        """All rows, in the declared schema; for small tables and tests."""
        return self.connect(table).sql(f'SELECT * FROM "{table.name}"').to_arrow_table().cast(table.arrow_schema())

    def fingerprint(self, table: Table) -> str:
        """Hash of the table's content, whatever the order of its rows or the names of its files.

        Equal content gives an equal fingerprint, so that a night that changed nothing does not mark
        what depends on it as stale. Files never change, so that each is hashed once: what is known of them stays
        in a small file beside the table, and a night hashes what it wrote, however long the history is.
        """
        digests = list(self._digests(table).values())
        rows, total = (sum(one[place] for one in digests) for place in (0, 2))
        mixed = reduce(xor, (one[1] for one in digests), 0)
        return hashlib.sha256(f"{table.name}|{rows}|{mixed}|{total}".encode()).hexdigest()[:16]

    def _digests(self, table: Table) -> dict[str, list[int]]:
        """Rows, their hashes mixed and their hashes summed, of every current file; these three add up over files."""
        opened = self.open(table)
        if opened is None:
            return {}
        files = {uri.rsplit("/", 1)[-1]: uri for uri in self._files(opened, table, None)}
        # Hashes hold for one version of DuckDB and one set of columns.
        made_by = f"{duckdb.__version__} {','.join(f'{column.name} {column.type}' for column in table.columns)}"
        found = {name: digest for name, digest in self._known_digests(table, made_by).items() if name in files}
        missing = [uri for name, uri in files.items() if name not in found]
        if missing:
            found |= self._counted_digests(table, opened, missing)
            text = json.dumps({"made_by": made_by, "files": found})
            # Without it (a full disk, a lake that may only be read) the next fingerprint takes longer, no more.
            with suppress(OSError):
                self.store().write(f"{table.name}/{_DIGESTS}", text.encode())
        return found

    def _known_digests(self, table: Table, made_by: str) -> dict[str, list[int]]:
        try:
            known = json.loads(self.store().read(f"{table.name}/{_DIGESTS}") or "{}")
        except ValueError:  # cut short
            return {}
        return known["files"] if known.get("made_by") == made_by else {}

    def _counted_digests(self, table: Table, opened: DeltaTable, files: Collection[str]) -> dict[str, list[int]]:
        relation = self._relation(table, opened, files, also="filename")
        row = ", ".join(f'"{name}"' for name in table.column_names)
        counted = session().sql(
            f"SELECT filename, count(*), bit_xor(h), sum(h % 1000000007) "
            f"FROM (SELECT filename, hash(row({row})) AS h FROM {relation}) GROUP BY filename"
        )
        digests = {name: [int(part) for part in parts] for name, *parts in counted.fetchall()}
        # A file without rows has no line.
        return {file.rsplit("/", 1)[-1]: digests.get(file, [0, 0, 0]) for file in files}

    def written_at(self, table: Table) -> datetime | None:
        """When the newest version was committed, or None when the table was never written."""
        opened = self.open(table)
        if opened is None:
            return None
        return datetime.fromtimestamp(opened.history(1)[0]["timestamp"] / 1000, UTC)


def conform(table: Table, rows: pa.Table) -> pa.Table:
    """The declared columns of `rows` in the declared types; columns that are not declared are left out.

    Raises `ValueError` that names table and column where one is missing, null against its declaration,
    cannot be converted without loss, or is an instant without a zone (which would be taken for UTC).
    """
    schema = table.arrow_schema()
    if missing := [name for name in schema.names if name not in rows.column_names]:
        raise ValueError(f"table {table.name}: the rows lack the columns {missing}")
    rows = rows.select(schema.names)
    for field_ in rows.schema:
        if pa.types.is_timestamp(field_.type) and field_.type.tz is None:
            raise ValueError(f"table {table.name}, column {field_.name}: instants without a zone")
    columns = [_converted(table, wanted, rows[wanted.name]) for wanted in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _converted(table: Table, wanted: pa.Field, values: pa.ChunkedArray) -> pa.ChunkedArray:
    if values.null_count and not wanted.nullable:
        raise ValueError(f"table {table.name}, column {wanted.name}: {values.null_count} nulls, declared without")
    try:
        return values.cast(wanted.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        # The cause is left out: its text quotes the value, which may be anything that a source said.
        raise ValueError(
            f"table {table.name}, column {wanted.name}: {values.type} does not fit {wanted.type} without loss"
        ) from None


def _selected(column: Column, held: Collection[str]) -> str:
    """A declared column, null in a version of the table that was written before it was declared."""
    return f'"{column.name}"' if column.name in held else f'CAST(NULL AS {duckdb_type(column.type)}) AS "{column.name}"'


def _readable(opened: DeltaTable, uris: Iterable[str]) -> list[str]:
    """File names as DuckDB opens them: Delta percent-encodes where a table is, files and objects do not."""
    encoded = opened.table_uri.removeprefix("file://")
    return [unquote(encoded) + uri.removeprefix(encoded) for uri in uris]


def connect() -> duckdb.DuckDBPyConnection:
    """A DuckDB instance of its own (UTC, quiet, no extension downloads), for what sets its memory or makes schemas."""
    connection = duckdb.connect()
    connection.execute("SET autoinstall_known_extensions = false")
    objects.lend(connection)
    return _quiet(connection)


def session() -> duckdb.DuckDBPyConnection:
    """A session of the process's one DuckDB instance: as `connect`, in a hundredth of the time.

    Whoever works in it makes temporary objects only, which no other session sees, and sets nothing.
    """
    return _quiet(_instance(os.getpid(), objects.lent()).cursor())


@cache
def _instance(process: int, lent: object) -> duckdb.DuckDBPyConnection:  # noqa: ARG001  what it is remembered by
    # A child that was forked has none of its parent's threads, so that it must not use its instance.
    return connect()


# What is still open when the interpreter ends is told on standard error as a leak of the binding.
atexit.register(_instance.cache_clear)


def _quiet(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")
    return connection


def _empty_columns(table: Table) -> str:
    return ", ".join(f'CAST(NULL AS {duckdb_type(column.type)}) AS "{column.name}"' for column in table.columns)


def duckdb_type(kind: pa.DataType) -> str:
    """The DuckDB type that an Arrow type of a declaration reads as, nested ones included."""
    if pa.types.is_list(kind):
        return f"{duckdb_type(kind.value_type)}[]"
    if pa.types.is_struct(kind):
        inner = ", ".join(f'"{child.name}" {duckdb_type(child.type)}' for child in kind)
        return f"STRUCT({inner})"
    if pa.types.is_timestamp(kind):
        return "TIMESTAMP WITH TIME ZONE" if kind.tz else "TIMESTAMP"
    return {
        "string": "VARCHAR",
        "bool": "BOOLEAN",
        "int64": "BIGINT",
        "int32": "INTEGER",
        "int16": "SMALLINT",
        "double": "DOUBLE",
        "date32[day]": "DATE",
    }[str(kind)]
