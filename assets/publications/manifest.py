"""The manifest of a publication: datapackage.json, and the check of a folder against it.

Belongs here: what the manifest says (Frictionless Data Package with extension fields that begin
with x-), reading it, and telling what in a folder differs from it. Does not belong here: writing
Parquet and switching publications (`publish.py`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from assets.publications.tables import Published
from warehouse.schema import Table

MANIFEST = "datapackage.json"
_RESTORE = "it was changed or damaged after it was published; run the night's publication again"


class ManifestError(ValueError):
    """A folder has no usable datapackage.json; the text names the file and what is wrong."""


@dataclass(frozen=True)
class FileFacts:
    """What identifies the content of one published file: rows, size in bytes, SHA-256 in hex."""

    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Provenance:
    """Where the numbers of a publication come from.

    `definitions` maps indicator/version to the hash or text of its definition, `cursors` says how
    far each source was read, `lake_versions` which version of each lake table was read.
    """

    as_of: datetime
    night: str
    definitions: Mapping[str, str]
    cursors: Mapping[str, Any]
    lake_versions: Mapping[str, int]


def fingerprint(files: Mapping[str, FileFacts]) -> str:
    """One hash over the content of all tables, by name; equal exactly when every file is equal."""
    lines = "".join(f"{name}:{files[name].sha256}\n" for name in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def build_manifest(
    files: Mapping[str, FileFacts],
    published: tuple[Published, ...],
    provenance: Provenance,
    *,
    created: datetime,
    place: str,
) -> dict[str, Any]:
    """The content of datapackage.json; `files` maps table names to what was written.

    `place` is where this publication stays, relative to the storage folder: what to read from for a
    tool that cannot resolve the `published` link.
    """
    return {
        "$schema": "https://datapackage.org/profiles/2.0/datapackage.json",
        "name": "thuocdo",
        "title": "Thước Đo: chỉ số dịch vụ công trực tuyến",
        "description": "E-government service indicators, verdicts and the dossiers behind them, without personal data",
        "created": _text(created),
        "resources": [_resource(one, files[one.table.name]) for one in published],
        "x-folder": place,
        "x-as-of": _text(provenance.as_of),
        "x-night": provenance.night,
        "x-fingerprint": fingerprint(files),
        "x-definitions": dict(provenance.definitions),
        "x-cursors": dict(provenance.cursors),
        "x-lake-versions": dict(provenance.lake_versions),
        "x-thuocdo-version": installed_version("thuocdo"),
    }


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _resource(one: Published, facts: FileFacts) -> dict[str, Any]:
    return {
        "name": one.table.name,
        "title": one.table.vi,
        "description": one.table.en,
        "path": one.file_name,
        "format": "parquet",
        "mediatype": "application/vnd.apache.parquet",
        "bytes": facts.bytes,
        "hash": f"sha256:{facts.sha256}",
        "rows": facts.rows,
        "schema": _schema(one.table),
    }


def _schema(table: Table) -> dict[str, Any]:
    # The Frictionless types are coarser than the file's (integer: 16 or 64 bits), so that the exact type
    # stands beside them: a publication can then be verified by a later version of this program.
    schema = table.frictionless()
    fields = [{**field, "x-arrow-type": str(table.column(field["name"]).type)} for field in schema["fields"]]
    return {**schema, "fields": fields}


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """The manifest as it is stored: UTF-8 JSON, keys sorted, one per line."""
    return json.dumps(manifest, ensure_ascii=False, indent=2, sort_keys=True) + "\n"


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read datapackage.json of a publication (or of the `published` link).

    Raises `ManifestError` when there is none or it is not a manifest.
    """
    file = folder / MANIFEST
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ManifestError(f"{file}: no such file; {folder} is not a finished publication") from None
    except ValueError as error:  # not JSON, or not UTF-8
        raise ManifestError(f"{file}: not readable as JSON ({error}); {_RESTORE}") from error
    if not isinstance(content, dict) or not isinstance(content.get("resources"), list):
        raise ManifestError(f"{file}: has no list of resources; {_RESTORE}")
    return content


def verify(folder: Path) -> list[str]:
    """Read every file of a publication again and say what differs from its manifest; [] when whole.

    `folder` is a publication or the `published` link, which is resolved once.
    """
    folder = folder.resolve()
    try:
        manifest = read_manifest(folder)
    except ManifestError as error:
        return [str(error)]
    return [*problems(folder, manifest), *_strangers(folder, manifest)]


def problems(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """What of the files that `manifest` lists is missing or differs, one line each."""
    try:
        found = [problem for resource in manifest["resources"] for problem in _file_problems(folder, resource)]
    except (KeyError, TypeError, AttributeError) as error:
        return [f"{folder / MANIFEST}: a resource is incomplete ({error!r}); {_RESTORE}"]
    return found


def _file_problems(folder: Path, resource: Mapping[str, Any]) -> Iterator[str]:
    file = folder / resource["path"]
    if not file.is_file():
        yield f"{file}: missing; {_RESTORE}"
        return
    if (size := file.stat().st_size) != resource["bytes"]:
        yield f"{file}: {size} bytes, {MANIFEST} says {resource['bytes']}; {_RESTORE}"
    if (digest := f"sha256:{file_sha256(file)}") != resource["hash"]:
        yield f"{file}: {digest}, {MANIFEST} says {resource['hash']}; {_RESTORE}"
    yield from _parquet_problems(file, resource)


def _parquet_problems(file: Path, resource: Mapping[str, Any]) -> Iterator[str]:
    try:
        with pq.ParquetFile(file) as opened:
            rows, schema = opened.metadata.num_rows, opened.schema_arrow
    except (pa.ArrowException, OSError) as error:
        yield f"{file}: not readable as Parquet ({error}); {_RESTORE}"
        return
    if rows != resource["rows"]:
        yield f"{file}: {rows} rows, {MANIFEST} says {resource['rows']}; {_RESTORE}"
    expected = [_said_column(field) for field in resource["schema"]["fields"]]
    actual = [_found_column(field) for field in schema]
    if actual != expected:
        differing = sorted(set(actual) ^ set(expected)) or ["the order of columns"]
        yield f"{file}: its columns differ from {MANIFEST}: {'; '.join(differing)}; {_RESTORE}"


def _said_column(field: Mapping[str, Any]) -> str:
    required = field.get("constraints", {}).get("required", False)
    return f"{field['name']} {field['x-arrow-type']}{' not null' if required else ''}"


def _found_column(field: pa.Field) -> str:
    return f"{field.name} {field.type}{'' if field.nullable else ' not null'}"


def _strangers(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    known = {MANIFEST, *(str(resource.get("path")) for resource in manifest["resources"])}
    return [f"{file}: not listed in {MANIFEST}" for file in sorted(folder.iterdir()) if file.name not in known]


def file_sha256(file: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
