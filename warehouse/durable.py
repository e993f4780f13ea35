"""Making what a commit of the lake wrote survive a power cut, and letting damage be told later.

Belongs here: syncing the files of a commit, and one SHA-256 per data file beside the table. Does not belong here:
what the files hold, or reading them again (`inspection.py`).

Why: deltalake writes without a single fsync (seen with strace in 1.6.6), so that a power cut may take back what a
cursor already counts as stored; and the Parquet pages it writes carry no checksum, so that a flipped bit reads as
another value. An object store is durable before it answers and keeps checksums of its own: there is nothing to do.

Beside a table's files, in a folder that Delta leaves alone because of its first letter:

    <table>/_checksums/00000000000000000012.json    {"lake_month=2026-01/part-….parquet": "<sha256>",
                                                     "_delta_log/00000000000000000012.json": "<sha256>"}
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

LOG = "_delta_log"
CHECKSUMS = "_checksums"
CHECKPOINT = ".checkpoint.parquet"


def log_file(root: Path, version: int) -> Path:
    """Where the commit `version` of the local table `root` is written."""
    return root / LOG / f"{version:020}.json"


def added_files(root: Path, version: int) -> list[str]:
    """Data files that a commit added, relative to the table; none when the commit is not (or no longer) in the log."""
    try:
        lines = log_file(root, version).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    actions: Iterable[dict[str, Any]] = (json.loads(line) for line in lines if line)
    # Delta encodes paths like URLs, on top of what Hive does to a partition's value.
    return [unquote(action["add"]["path"]) for action in actions if "add" in action]


def secure(root: Path, versions: Collection[int]) -> None:
    """Sync everything that the commits `versions` of the local table `root` wrote, and note its checksums.

    When it returns, a power cut takes nothing of it away. Interrupted, the commit stands without checksums.
    """
    folders = {root}
    for version in versions:
        sums = {}
        for name in added_files(root, version):
            # Another writer may already have replaced and cleared a file of an older commit.
            with suppress(FileNotFoundError):
                sums[name] = sync_file(root / name)
                folders |= set(_between(root, (root / name).parent))
        with suppress(FileNotFoundError):
            sums[f"{LOG}/{version:020}.json"] = sync_file(log_file(root, version))
        if sums:
            _note(root, f"{version:020}.json", sums)
            folders.add(root / CHECKSUMS)
    for folder in sorted(folders | {root.parent}):
        sync_folder(folder)
    sync_log(root, versions)


def sync_log(root: Path, versions: Iterable[int]) -> None:
    """Sync the log entries and checkpoints of `versions` and the pointer to the newest checkpoint."""
    entries = (log_file(root, version).with_suffix(kind) for version in versions for kind in (".json", CHECKPOINT))
    for file in (*entries, root / LOG / "_last_checkpoint"):
        with suppress(FileNotFoundError):
            sync_file(file)
    sync_folder(root / LOG)


def _between(root: Path, folder: Path) -> Iterator[Path]:
    while folder != root:
        yield folder
        folder = folder.parent


def sync_file(file: Path) -> str:
    """Put a file's bytes on the disk and return their SHA-256, in hex."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_sha256(file: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_durably(file: Path, text: str) -> None:
    """Put `text` in place of a file in one step that survives a power cut whole."""
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    with aside.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    aside.replace(file)
    sync_folder(file.parent)


def _note(root: Path, name: str, sums: dict[str, str]) -> None:
    folder = root / CHECKSUMS
    folder.mkdir(exist_ok=True)
    write_durably(folder / name, json.dumps(sums, sort_keys=True, ensure_ascii=False))


def checksums(root: Path) -> dict[str, str]:
    """SHA-256 by data file and log entry of a local table, as written; those of older programs are not in it.

    Raises `ValueError` that names a file of checksums that cannot be read.
    """
    found: dict[str, str] = {}
    for file in sorted((root / CHECKSUMS).glob("*.json")):
        try:
            found |= json.loads(file.read_text(encoding="utf-8"))
        except (ValueError, TypeError):  # not JSON, not UTF-8, or no mapping
            raise ValueError(f"{file}: not readable as checksums") from None
    return found


def gather_checksums(root: Path, present: Collection[str]) -> None:
    """Bring all checksums of the files `present` into one file, so that neither files nor lines grow for ever."""
    files = sorted((root / CHECKSUMS).glob("*.json"))
    if not files:
        return
    kept = {name: digest for name, digest in checksums(root).items() if name in present}
    if len(files) == 1 and len(kept) == len(json.loads(files[0].read_text(encoding="utf-8"))):
        return
    # The newest name, so that a commit that comes while this runs has a file of its own.
    write_durably(files[-1], json.dumps(kept, sort_keys=True, ensure_ascii=False))
    for file in files[:-1]:
        file.unlink()
