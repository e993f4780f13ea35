"""The public copy of a publication: small counts withheld, audited, written aside, switched.

Belongs here: making `public/` from a publication that stands. Does not belong here: what is withheld
(`suppression.py`), the audit (`disclosure.py`), the manners of writing (`publish.py`, which these are).

Beside `published`, below the storage folder:

    public-copies/20261031T180112.402113Z-<night>/    public_indicator.parquet … datapackage.json
    public -> public-copies/20261031T180112.402113Z-<night>

Only these two tables: a dossier is never public, and a verdict or a score would give the counts behind it away.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from assets.publications.disclosure import disclosed
from assets.publications.manifest import (
    FileFacts,
    Provenance,
    build_manifest,
    fingerprint,
    manifest_text,
    problems,
    read_manifest,
)
from assets.publications.mirror import send
from assets.publications.publish import (
    SPILL,
    STAMP,
    Publication,
    PublicationRefusedError,
    alone,
    check_link,
    next_instant,
    remove_leftovers,
    remove_old,
    sorting_connection,
    switch,
    write_file,
    write_manifest,
)
from assets.publications.suppression import ROUNDING, THRESHOLD, suppress
from assets.publications.tables import Published
from warehouse.durable import sync_folder
from warehouse.schema import Table
from warehouse.tables.out import OUT_INDICATOR
from warehouse.tables.statistic import OUT_STATISTIC, PUBLIC_INDICATOR, PUBLIC_STATISTIC

#: The public table, and the published one that it is made from.
COPIES = {
    "indicator": Published(source=OUT_INDICATOR, table=PUBLIC_INDICATOR),
    "statistic": Published(source=OUT_STATISTIC, table=PUBLIC_STATISTIC),
}
_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class _Copy:
    """Audited rows of one public table, and how they are published."""

    one: Published
    rows: pa.Table


def write_public(
    published: Path,
    *,
    folder: Path,
    threshold: int = THRESHOLD,
    rounding: int = ROUNDING,
    keep: int = 8,
    remote: str | None = None,
) -> Publication:
    """Make the public copy of the publication behind `published` and switch the link `folder` (…/public) to it.

    Counts from 1 to `threshold` are withheld, with what would give them away; others become multiples of
    `rounding`. The newest `keep` copies stay. Killed anywhere before the switch, the old copy stays whole. With a
    bucket `remote` the copy is sent there first.

    Raises `PublicationRefusedError` when the audit finds a count that the copy would give away, when `folder` cannot
    be switched, or when a file does not verify; `ManifestError` when `published` is not a publication.
    """
    source = published.resolve()
    manifest = read_manifest(source)
    copies = _audited(source, manifest, threshold=threshold, rounding=rounding)
    check_link(folder)
    store = folder.parent / f"{folder.name}-copies"
    store.mkdir(parents=True, exist_ok=True)
    with alone(store):
        remove_leftovers(store, folder)
        created = next_instant(store)
        target = store / f"{created.strftime(STAMP)}-{manifest['x-night']}"
        target.mkdir()
        try:
            files = _write_whole(target, copies, manifest, created, {"x-threshold": threshold, "x-rounding": rounding})
            sync_folder(store)
            if remote:
                send(target, remote, keep=keep)
        except BaseException:
            shutil.rmtree(target)
            raise
        switch(folder, target)
        remove_old(store, folder, keep=keep)
    return Publication(folder=target, tables=files, fingerprint=fingerprint(files))


def _audited(source: Path, manifest: Mapping[str, Any], *, threshold: int, rounding: int) -> list[_Copy]:
    paths = {resource["name"]: resource["path"] for resource in manifest["resources"]}
    copies, found = [], []
    for name, one in COPIES.items():
        if name not in paths:
            continue
        rows = pq.read_table(source / paths[name])
        public = suppress(rows, threshold=threshold, rounding=rounding)
        found += disclosed(public, rows, threshold=threshold, rounding=rounding)
        copies.append(_Copy(one=one, rows=public))
    if found:
        lines = "\n".join(str(violation) for violation in found[:_SHOWN])
        raise PublicationRefusedError(
            f"Bản công khai sẽ làm lộ {len(found)} số đếm nhỏ nên không được phát hành; bản cũ giữ nguyên "
            f"(the public copy would give {len(found)} small counts away; nothing was changed):\n{lines}"
        )
    return copies


def _write_whole(
    target: Path, copies: list[_Copy], manifest: Mapping[str, Any], created: datetime, said: Mapping[str, Any]
) -> dict[str, FileFacts]:
    """Write and verify all files, then the manifest, whose presence says that the folder is whole."""
    files = {copy.one.table.name: _write_copy(copy, target) for copy in copies}
    provenance = Provenance(
        as_of=datetime.fromisoformat(manifest["x-as-of"]),
        night=manifest["x-night"],
        definitions=manifest["x-definitions"],
        # How far each source was read and which versions were used is for the inside.
        cursors={},
        lake_versions={},
    )
    place = f"{target.parent.name}/{target.name}"
    made = build_manifest(files, tuple(copy.one for copy in copies), provenance, created=created, place=place)
    made |= {"title": "Thước Đo: số liệu công khai", "x-source-fingerprint": manifest["x-fingerprint"], **said}
    if found := problems(target, made):
        raise PublicationRefusedError("the files just written do not verify:\n" + "\n".join(found))
    write_manifest(target, manifest_text(made))
    return files


def _write_copy(copy: _Copy, target: Path) -> FileFacts:
    with tempfile.TemporaryDirectory(prefix=SPILL, dir=target.parent) as spill, sorting_connection(spill) as connection:
        connection.register("rows", copy.rows)
        return write_file(connection, copy.one, "rows", target / copy.one.file_name)


def public_tables() -> tuple[Table, ...]:
    """The tables of a public copy, for the data dictionary."""
    return tuple(one.table for one in COPIES.values())
