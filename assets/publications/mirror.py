"""A publication in a bucket: sent whole, then pointed at.

Belongs here: sending a finished publication to an object store, its pointer, its retention there, and holding it
against its manifest. Does not belong here: making one (`publish.py`, `public.py`), which happens in a folder.

A bucket has no links (docs/decisions/0022-object-storage.md). Below the prefix of the storage URL:

    publications/20261031T180112.402113Z-<night>/    never changed again; datapackage.json comes last
    publications/latest.json                         {"folder": "publications/20261031T…-<night>", …}
    public-copies/…                                  the same for the public copy

The pointer is one object, replaced in one step, last. A reader reads it once and then the folder it names, which
stays for the newest publications.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from assets.publications.manifest import MANIFEST, read_manifest
from warehouse.objects import Store

POINTER = "latest.json"
_RESTORE = "gửi lại bằng lần xuất bản sau, hoặc chép từ bản ở máy · the next publication, or a copy from the home"
_BLOCK = 1 << 20


class NotSentError(RuntimeError):
    """A publication did not arrive whole in the bucket; the pointer there is as it was."""


def send(folder: Path, remote: str, *, keep: int) -> None:
    """Send the finished publication `folder` to the bucket `remote`, point at it, and remove all but the newest `keep`.

    Raises `NotSentError` when the bucket cannot be written; what was pointed at before then stands.
    """
    store, place = Store.at(remote), f"{folder.parent.name}/{folder.name}"
    manifest = read_manifest(folder)
    names = [*(resource["path"] for resource in manifest["resources"]), MANIFEST]
    try:
        for name in names:
            _upload(store, folder / name, f"{place}/{name}")
        arrived = {name: found.size for name, found in store.sizes(place).items()}
        if lost := [name for name in names if arrived.get(f"{place}/{name}") != (folder / name).stat().st_size]:
            raise NotSentError(f"{remote}/{place}: {', '.join(lost)} không đến đủ (did not arrive whole)")
        pointer = {
            "folder": place,
            "night": manifest["x-night"],
            "created": manifest["created"],
            "fingerprint": manifest["x-fingerprint"],
        }
        store.write(f"{folder.parent.name}/{POINTER}", json.dumps(pointer, indent=2, sort_keys=True).encode())
        _remove_old(store, folder.parent.name, place, keep=keep)
    except OSError as error:
        raise NotSentError(f"{remote}: không ghi được vào kho, bản cũ giữ nguyên (not sent): {error}") from error


def _upload(store: Store, file: Path, name: str) -> None:
    with file.open("rb") as source, store.filesystem.open_output_stream(store.path(name)) as sink:
        sink.upload(source, _BLOCK)


def _remove_old(store: Store, kind: str, current: str, *, keep: int) -> None:
    """Remove publications but the newest `keep` and the one pointed at, and what killed ones left."""
    # A bucket's folder is nothing but the beginning of names, so that they are told from the files.
    files = [name for name in store.sizes(kind) if name.count("/") > 1]
    whole = sorted({name.rsplit("/", 1)[0] for name in files if name.endswith(f"/{MANIFEST}")})
    kept = {current, *whole[-keep:]}
    # Manifests first: killed half-way, what is left is a leftover and not a publication.
    for name in sorted(files, key=lambda name: (not name.endswith(f"/{MANIFEST}"), name)):
        if name.rsplit("/", 1)[0] not in kept:
            store.delete(name)


def pointed_at(remote: str, kind: str = "publications") -> dict[str, Any] | None:
    """What the pointer of a bucket says, None before the first publication."""
    text = Store.at(remote).read(f"{kind}/{POINTER}")
    return None if text is None else dict(json.loads(text))


def verify_sent(remote: str, kind: str = "publications") -> Iterator[str]:
    """Read the publication that the bucket points at again, and say what differs from its manifest."""
    store = Store.at(remote)
    try:
        pointer = pointed_at(remote, kind)
        if pointer is None:
            return
        manifest = json.loads(store.read(f"{pointer['folder']}/{MANIFEST}") or "null")
    except (ValueError, KeyError, TypeError) as error:
        yield f"{remote}/{kind}/{POINTER}: không đọc được ({error}); {_RESTORE}"
        return
    if not isinstance(manifest, dict):
        yield f"{remote}/{pointer['folder']}/{MANIFEST}: không còn; {_RESTORE}"
        return
    for resource in manifest["resources"]:
        if problem := _problem(store, f"{pointer['folder']}/{resource['path']}", resource):
            yield f"{remote}/{pointer['folder']}/{resource['path']}: {problem}; {_RESTORE}"


def _problem(store: Store, name: str, resource: dict[str, Any]) -> str | None:
    digest = hashlib.sha256()
    try:
        with store.filesystem.open_input_file(store.path(name)) as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
            if f"sha256:{digest.hexdigest()}" != resource["hash"]:
                return f"SHA-256 {digest.hexdigest()[:12]}…, {MANIFEST} ghi {resource['hash'][7:19]}…"
            stream.seek(0)
            rows = pq.read_metadata(stream).num_rows
    except FileNotFoundError:
        return "không còn"
    except (pa.ArrowException, OSError) as error:
        return f"không đọc được ({error})"
    return None if rows == resource["rows"] else f"{rows} dòng, {MANIFEST} ghi {resource['rows']}"
