"""Canaries and the search for them: invented persons in every writing, and every byte and cell of a folder.

Belongs here: what is planted, where in a record, and how it is found again, also where compression hides
bytes. Does not belong here: any expectation of a source.
"""

from __future__ import annotations

import copy
import gzip
import io
import sqlite3
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

NAME = "Nguyễn Thị Hư Cấu"
CITIZEN, OLD_NUMBER = "099066123456", "987650123"
#: One of each kind of thing that only a person has; names in every writing that systems send.
CANARIES = (
    NAME,
    unicodedata.normalize("NFD", NAME),
    NAME.upper(),
    "NGUYEN THI HU CAU",
    "Nguyen Thi Hu Cau",
    CITIZEN,
    "0999123456",
    "+84999123456",
    "hu.cau@vi-du.invalid",
    "Số 12 đường Tưởng Tượng",
)
#: Nine digits are a code as well as an old identity number: planted only where no code can stand.
OUTSIDE = (*CANARIES, OLD_NUMBER)
#: What no fact holds; parts, so that a cut canary is found too.
MARKS = ("Hư Cấu", "Hu Cau", "hu.cau", "vi-du.invalid", "Tưởng Tượng", "99066123456", OLD_NUMBER, "999123456")


@cache
def patterns() -> tuple[bytes, ...]:
    """Every writing of every mark in every encoding of text, JSON's escapes included."""
    writings = {writing for mark in MARKS for writing in (mark, mark.upper(), mark.lower())}
    texts = {unicodedata.normalize(form, each) for each in writings for form in ("NFC", "NFD")}
    escaped = {each.encode("ascii", "backslashreplace") for each in texts}
    return tuple(escaped | {each.encode(code) for each in texts for code in ("utf-8", "utf-16-le", "utf-16-be")})


def found_in(data: bytes) -> bytes | None:
    """The first writing of a canary among bytes."""
    return next((pattern for pattern in patterns() if pattern in data), None)


def pieces(name: str, data: bytes) -> Iterator[bytes]:
    """A file's bytes and, where they are packed, what a reader of the format would see."""
    yield name.encode() + b"\n" + data
    if data[:4] == b"PAR1":
        yield str(pq.read_table(io.BytesIO(data)).to_pylist()).encode()
    elif data[:2] == b"\x1f\x8b":
        yield from pieces("", gzip.decompress(data))
    elif data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.namelist():
                yield from pieces(member, archive.read(member))
    elif data[:2] in (b"\x78\x9c", b"\x78\xda"):
        yield zlib.decompress(data)


def cells(file: Path) -> Iterator[bytes]:
    """The cells of an SQLite file, its write-ahead log included; bytes alone miss what is split over pages."""
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    try:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                yield str(row).encode()
    finally:
        connection.close()


def persons(folder: Path, *, but: tuple[Path, ...] = ()) -> list[str]:
    """Where in `folder` a canary stands (file and writing); folders in `but` are what was given, not what is kept."""
    told = []
    for file in sorted(folder.rglob("*")):
        if not file.is_file() or any(file.is_relative_to(one) for one in but):
            continue
        data = file.read_bytes()
        every = [*pieces(str(file.relative_to(folder)), data)]
        every += [*cells(file)] if data[:15] == b"SQLite format 3" else []
        told += [f"{file}: {hit!r}" for each in every if (hit := found_in(each))][:1]
    return told


# ---- planting


def planted(record: Mapping[str, Any]) -> dict[str, Any]:
    """`record` with canaries in fields that no contract knows, on every level, as names of fields too."""
    grown: dict[str, Any] = {key: _grown(value) for key, value in record.items()}
    extra = {f"ghiChu{place}": canary for place, canary in enumerate(OUTSIDE)}
    named = dict.fromkeys(OUTSIDE, 1)
    return {**grown, **extra, **named, "nguoiNop": {"ten": NAME, "giayTo": [[{"so": CITIZEN}], list(OUTSIDE)]}}


def _grown(value: Any) -> Any:
    if isinstance(value, Mapping):
        return planted(value)
    return [_grown(one) for one in value] if isinstance(value, list) else value


def spoilt(
    record: Mapping[str, Any], canaries: Sequence[str] = CANARIES
) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """The record once for each of its scalars, which holds one of `canaries` in turn; with the scalar's path."""
    for number, path in enumerate(_paths(record)):
        changed: Any = copy.deepcopy(dict(record))
        inner = changed
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = canaries[number % len(canaries)]
        yield path, changed


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _paths(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _paths(inner, (*path, index))
    elif path:
        yield path
