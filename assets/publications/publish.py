"""Publishing: write aside, verify, switch.

Belongs here: Parquet files of the published tables, the switch of the `published` link, and the
retention of older publications. Does not belong here: which tables are published (`tables.py`),
what the manifest says (`manifest.py`), Dagster (`assets.py`).

Layout, below the storage folder:

    publications/20261031T180112.402113Z-<night>/   one folder per publication, never changed again
        indicator.parquet … procedure.parquet, datapackage.json (its presence means: whole)
    published -> publications/20261031T180112.402113Z-<night>

The link is replaced by one rename, so that whoever opens a file below `published` has the old one or
the new one, whole. Two opens can lie on both sides of a switch, and most tools open a file by path more
than once (measured with strace: pandas and pyarrow twice, DuckDB four times). Hence a reader by path, or of
several files that must fit together, resolves the link once (or takes x-folder from the manifest) and reads
from the folder behind it, which never changes and stays for the newest `keep` publications.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from assets.publications.manifest import (
    MANIFEST,
    FileFacts,
    Provenance,
    build_manifest,
    fingerprint,
    manifest_text,
    problems,
)
from assets.publications.mirror import send
from assets.publications.tables import PUBLISHED, Published
from warehouse.durable import sync_folder
from warehouse.lake import Lake, conform, connect

#: Rows per row group: small enough that a filter on unit and month skips most of the file.
ROW_GROUP = 100_000
#: What DuckDB may hold while it sorts; the rest spills to disk beside the publications. Its threads need
#: their share of it (measured: 8 million dossiers fail on 32 threads and pass on 4), hence the limit.
SORT_MEMORY = "512MB"
SORT_THREADS = 4
STAMP = "%Y%m%dT%H%M%S.%fZ"
_FOLDER = re.compile(r"(\d{8}T\d{6}\.\d{6}Z)-.+")
_NIGHT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
SPILL = ".spill-"
#: The newest publication and the one before, which readers may still hold.
_LEAST_KEPT = 2


class PublicationRefusedError(RuntimeError):
    """Nothing was published and the old publication stands; the text says why and what to do."""


@dataclass(frozen=True)
class Publication:
    """One finished publication: its folder, what is in each file, and one hash over all content."""

    folder: Path
    tables: Mapping[str, FileFacts]
    fingerprint: str


def publish(
    lake: Lake,
    *,
    folder: Path,
    as_of: datetime,
    night: str,
    definitions: Mapping[str, str],
    cursors: Mapping[str, Any],
    keep: int = 8,
    remote: str | None = None,
) -> Publication:
    """Publish the lake as it is now and switch the link `folder` (…/published) to it.

    `as_of` is the instant up to which facts are known, `night` the id of the run, `definitions` maps
    indicator/version to its definition's hash. Publications run one at a time; a second one waits.
    The newest `keep` publications stay. Killed anywhere before the switch, the old one stays whole. With a bucket
    `remote` it is sent there first, so that the link here never shows what is not there.

    Raises `PublicationRefusedError` when `folder` cannot be switched or a file does not verify, `NotSentError` when
    the bucket cannot be written, and `ValueError` for arguments that cannot be used.
    """
    _check_arguments(as_of=as_of, night=night, keep=keep)
    check_link(folder)
    store = folder.parent / "publications"
    store.mkdir(parents=True, exist_ok=True)
    with alone(store):
        remove_leftovers(store, folder)
        created = next_instant(store)
        target = store / f"{created.strftime(STAMP)}-{night}"
        target.mkdir()
        try:
            files = _write_whole(
                lake, target, as_of=as_of, night=night, created=created, definitions=definitions, cursors=cursors
            )
            sync_folder(store)
            if remote:
                send(target, remote, keep=keep)
        except BaseException:
            # A full disk must not stay full because of what could not be finished.
            shutil.rmtree(target)
            raise
        switch(folder, target)
        remove_old(store, folder, keep=keep)
    return Publication(folder=target, tables=files, fingerprint=fingerprint(files))


def _check_arguments(*, as_of: datetime, night: str, keep: int) -> None:
    if as_of.tzinfo is None:
        raise ValueError(f"as_of has no time zone: {as_of!r}")
    if not _NIGHT.fullmatch(night):
        raise ValueError(f"night {night!r} cannot name a folder; use letters, digits, dot, dash and underscore")
    if keep < _LEAST_KEPT:
        raise ValueError(
            f"keep is {keep}; at least {_LEAST_KEPT}, or readers of the publication before would lose their files"
        )


def check_link(link: Path) -> None:
    """Refuse a place that is not a link of ours: a folder there may be somebody's data."""
    if link.exists() and not link.is_symlink():
        raise PublicationRefusedError(
            f"{link} is a real folder or file, not a link to a publication (a restored backup?). Nothing was changed. "
            f"Move it away, for instance to {link.with_name(link.name + '.old')}, and publish again."
        )


@contextmanager
def alone(store: Path) -> Iterator[None]:
    """Hold the only right to publish into `store`; the system frees it when the process ends."""
    with (store / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _publications(store: Path) -> list[Path]:
    """Folders of publications, finished or not, oldest first (their names begin with the instant)."""
    return sorted(path for path in store.iterdir() if _FOLDER.fullmatch(path.name) and path.is_dir())


def next_instant(store: Path) -> datetime:
    """Now, but always after the newest publication, even when the clock was set back."""
    now = datetime.now(UTC)
    for path in reversed(_publications(store)):
        newest = datetime.strptime(path.name.split("-", 1)[0], STAMP).replace(tzinfo=UTC)
        return max(now, newest + timedelta(microseconds=1))
    return now


def _write_whole(
    lake: Lake,
    target: Path,
    *,
    as_of: datetime,
    night: str,
    created: datetime,
    definitions: Mapping[str, str],
    cursors: Mapping[str, Any],
) -> dict[str, FileFacts]:
    """Write and verify all files, then the manifest, whose presence says that the folder is whole."""
    versions = {one.source.name: lake.version(one.source) for one in PUBLISHED}
    provenance = Provenance(as_of=as_of, night=night, definitions=definitions, cursors=cursors, lake_versions=versions)
    with tempfile.TemporaryDirectory(prefix=SPILL, dir=target.parent) as spill, sorting_connection(spill) as connection:
        files = {one.table.name: _write_table(lake, connection, one, target, versions) for one in PUBLISHED}
    place = f"{target.parent.name}/{target.name}"
    manifest = build_manifest(files, PUBLISHED, provenance, created=created, place=place)
    if found := [*problems(target, manifest), *_schema_problems(target)]:
        raise PublicationRefusedError("the files just written do not verify:\n" + "\n".join(found))
    write_manifest(target, manifest_text(manifest))
    return files


def sorting_connection(spill: str) -> duckdb.DuckDBPyConnection:
    """A connection that sorts within bounded memory and spills into the folder `spill`."""
    connection = connect()
    connection.execute("SET memory_limit = ?", [SORT_MEMORY])
    connection.execute("SET threads = ?", [min(SORT_THREADS, os.cpu_count() or 1)])
    connection.execute("SET temp_directory = ?", [spill])
    return connection


def _write_table(
    lake: Lake, connection: duckdb.DuckDBPyConnection, one: Published, target: Path, versions: Mapping[str, int]
) -> FileFacts:
    """Stream one table into its file, in declared order, and hold its row count against the lake's."""
    version = versions[one.source.name]
    relation = lake.relation_sql(one.source, version=version if version >= 0 else None)
    facts = write_file(connection, one, relation, target / one.file_name)
    expected = connection.sql(f"SELECT count(*) FROM {relation}").fetchall()[0][0]
    if facts.rows != expected:
        raise PublicationRefusedError(
            f"table {one.table.name}: {facts.rows} rows written, but {one.source.name} has {expected} "
            f"in version {version}. Nothing was published."
        )
    return facts


def write_file(connection: duckdb.DuckDBPyConnection, one: Published, relation: str, file: Path) -> FileFacts:
    """Write the rows of `relation` as the Parquet file of a published table, in its order; say what was written."""
    # The key after the sort columns makes the order total, and the bytes the same for the same rows.
    order = list(dict.fromkeys((*one.table.sort, *one.table.key)))
    columns = ", ".join(f'"{name}"' for name in one.table.column_names)
    ordering = ", ".join(f'"{name}" ASC NULLS LAST' for name in order)
    batches = connection.sql(f"SELECT {columns} FROM {relation} ORDER BY {ordering}").to_arrow_reader(ROW_GROUP)
    schema = one.table.arrow_schema()
    rows = 0
    with file.open("wb") as stream:
        sink = _Hashed(stream)
        with pq.ParquetWriter(
            pa.PythonFile(sink, mode="w"),
            schema,
            compression="zstd",
            sorting_columns=pq.SortingColumn.from_ordering(schema, [(name, "ascending") for name in order]),
        ) as writer:
            for group in _row_groups(batches):
                writer.write_table(_conform(group, one), row_group_size=ROW_GROUP)
                rows += group.num_rows
        stream.flush()
        os.fsync(stream.fileno())
    return FileFacts(rows=rows, bytes=sink.size, sha256=sink.digest.hexdigest())


class _Hashed:
    """A file that is hashed while it is written, so that verification compares disk with memory."""

    closed = False

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        """Take the bytes into the digest, then write them; how many the file took."""
        self.digest.update(data)
        self.size += len(data)
        return self.stream.write(data)

    def flush(self) -> None:
        """Hand what is buffered to the operating system."""
        self.stream.flush()

    def close(self) -> None:
        """Leave the file open: it has still to be synced."""


def _row_groups(batches: pa.RecordBatchReader) -> Iterator[pa.Table]:
    """Cut batches of any size into tables of exactly `ROW_GROUP` rows, the last one shorter."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        waiting.append(batch)
        count += batch.num_rows
        while count >= ROW_GROUP:
            whole = pa.Table.from_batches(waiting)
            yield whole.slice(0, ROW_GROUP)
            waiting = whole.slice(ROW_GROUP).to_batches()
            count -= ROW_GROUP
    if count:
        yield pa.Table.from_batches(waiting)


def _conform(rows: pa.Table, one: Published) -> pa.Table:
    try:
        return conform(one.table, rows).combine_chunks()
    except ValueError as error:
        raise PublicationRefusedError(f"{one.source.name} cannot be published, nothing was changed: {error}") from error


def _schema_problems(target: Path) -> Iterator[str]:
    for one in PUBLISHED:
        actual = pq.read_schema(target / one.file_name)
        if not actual.equals(one.table.arrow_schema(), check_metadata=True):
            yield f"{target / one.file_name}: its schema is not the declared one"


def write_manifest(target: Path, text: str) -> None:
    """Write the manifest last, whole: its presence means that the publication is finished."""
    aside = target / f".{MANIFEST}"
    with aside.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    aside.replace(target / MANIFEST)
    sync_folder(target)


def switch(link: Path, target: Path) -> None:
    """Point `link` at `target` in one step; relative, so that the storage folder can move as a whole."""
    fresh = link.with_name(f".{link.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(os.path.relpath(target, link.parent), target_is_directory=True)
    try:
        fresh.replace(link)
    except IsADirectoryError:
        check_link(link)
        raise
    sync_folder(link.parent)


def remove_leftovers(store: Path, link: Path) -> None:
    """Remove what a killed publication left: folders without manifest, and what a sort had spilled.

    Whoever calls this publishes alone, so that nothing unfinished is still being written.
    """
    current = link.resolve()
    for path in _publications(store):
        if not (path / MANIFEST).exists() and path.resolve() != current:
            shutil.rmtree(path)
    for path in store.glob(f"{SPILL}*"):
        shutil.rmtree(path)


def remove_old(store: Path, link: Path, *, keep: int) -> None:
    """Remove all publications but the newest `keep` and the one that `link` points to."""
    current = link.resolve()
    for path in _publications(store)[:-keep]:
        if path.resolve() != current:
            # The manifest first: killed half-way, what is left is seen as a leftover, not as a publication.
            (path / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(path)
