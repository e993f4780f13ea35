"""A dropped file as byte streams: plain, packed by gzip, or the members of a zip archive.

Belongs here: what a file is by its name, unpacking within limits, and telling a file that is still being
uploaded from one that is broken. Does not belong here: what the bytes say (`files_sheets.py`,
`files_objects.py`).

Nothing is unpacked to disk: what must be read from the middle (a workbook, Parquet, JSON) and is packed is
held in memory, up to a limit; everything else is a stream.
"""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from connectors.file_names import Called, FileNames
from connectors.person_marks import looks_personal

FORMATS = {
    ".csv": "csv",
    ".txt": "csv",
    ".tsv": "csv",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".json": "json",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".parquet": "parquet",
}
#: An archive that grows beyond this, or by more than this many times, is made to fill the memory.
MOST_UNPACKED_BYTES = 4 * 1024**3
MOST_RATIO = 200
_RATIO_COUNTS_FROM = 64 * 1024**2
#: What can only be read whole is held in memory up to this.
MOST_HELD_BYTES = 512 * 1024**2
_CHUNK = 1024 * 1024


class FileProblem(ValueError):  # noqa: N818  what it says of the file
    """A file or a part of it cannot be used; `reason` is for machines, the text for who sent it."""

    def __init__(self, reason: str, text: str, *, place: str = "") -> None:
        super().__init__(text)
        self.reason = reason
        self.place = place


class PartialFile(FileProblem):
    """The end of the file is missing: it may still be coming."""


@dataclass(frozen=True)
class Payload:
    """One table's worth of bytes: what messages call it, its format, and a fresh stream from its start."""

    place: str
    format: str
    open: Callable[[], BinaryIO]
    is_packed: bool = False

    @contextmanager
    def seekable(self) -> Iterator[BinaryIO]:
        """The bytes as something that can be read from the middle."""
        with _told(self.place), self.open() as stream:
            if not self.is_packed:
                yield stream
                return
            data = stream.read(MOST_HELD_BYTES + 1)
        if len(data) > MOST_HELD_BYTES:
            raise FileProblem("file_too_big", f"giải nén ra lớn hơn {MOST_HELD_BYTES // 1024**2} MB; hãy gửi không nén")
        yield io.BytesIO(data)

    @contextmanager
    def stream(self) -> Iterator[BinaryIO]:
        """The bytes once, from start to end."""
        with _told(self.place), self.open() as stream:
            yield stream


@contextmanager
def _told(place: str) -> Iterator[None]:
    """What goes wrong while unpacking, as a problem of the file."""
    try:
        yield
    except EOFError:
        raise PartialFile("incomplete_file", "tệp nén thiếu phần cuối", place=place) from None
    except (zlib.error, zipfile.BadZipFile, gzip.BadGzipFile):
        raise FileProblem("unreadable_file", "tệp nén bị hỏng", place=place) from None


def shown_name(name: str) -> str:
    """A file's name as messages may hold it: of one that may hold a person its length."""
    return called(name, FileNames()).name


def called(name: str, names: FileNames) -> Called:
    """What messages and cursors call a file; its name, in which words are parted by dashes too, may hold a person."""
    is_personal = looks_personal(name.replace("_", " ").replace("-", " "))
    return names.call(name) if is_personal else Called(name)


def payloads(path: Path, name: str) -> list[Payload]:
    """What a file holds, `name` being what messages call it.

    Raises `FileProblem`; `PartialFile` where its end is missing.
    """
    suffix = path.suffix.lower()
    if suffix == ".zip":
        return _members(path, name)
    if suffix == ".gz":
        kind = FORMATS.get(Path(path.stem).suffix.lower())
        if kind is None:
            raise _unsupported(path.stem)
        return [Payload(f"tệp {name}", kind, lambda: _unzipped(path), is_packed=True)]
    if suffix not in FORMATS:
        raise _unsupported(path.name)
    return [Payload(f"tệp {name}", FORMATS[suffix], lambda: path.open("rb"))]


def _unsupported(name: str) -> FileProblem:
    kind = Path(name).suffix.lower() or "(không đuôi)"
    known = " ".join(FORMATS)
    return FileProblem("unsupported_file", f"không đọc được loại tệp {kind}; đọc được {known}, .gz và .zip của chúng")


def _unzipped(path: Path) -> BinaryIO:
    return cast("BinaryIO", io.BufferedReader(_Bounded(gzip.open(path), path.stat().st_size), _CHUNK))


class _Bounded(io.RawIOBase):
    """A stream that stops where an archive would grow too big."""

    def __init__(self, inner: io.BufferedIOBase | gzip.GzipFile, packed: int) -> None:
        self._inner = inner
        self._packed = max(1, packed)
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._inner.read(len(buffer))
        self._read += len(data)
        refuse_bomb(self._read, self._packed)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._inner.close()
        super().close()


def refuse_bomb(unpacked: int, packed: int) -> None:
    """Raise `FileProblem` where so many bytes come of so few."""
    if unpacked > MOST_UNPACKED_BYTES or (unpacked > _RATIO_COUNTS_FROM and unpacked > MOST_RATIO * max(1, packed)):
        raise FileProblem("file_too_big", "tệp nén giải ra quá lớn so với kích thước của nó; không đọc")


@contextmanager
def archive_of(stream: Path | BinaryIO) -> Iterator[zipfile.ZipFile]:
    """An open zip archive (a workbook is one too) within the limits; its checksums are not tried yet."""
    start = b""
    try:
        archive = zipfile.ZipFile(stream)
    except zipfile.BadZipFile:
        if isinstance(stream, Path):
            with stream.open("rb") as opened:
                start = opened.read(4)
        else:
            stream.seek(0)
            start = stream.read(4)
        if start.startswith(b"PK\x03\x04") or not start:
            raise PartialFile("incomplete_file", "thiếu phần cuối (mục lục của tệp nén)") from None
        raise FileProblem("unreadable_file", "không phải tệp nén, hoặc tệp có mật khẩu") from None
    with archive:
        refuse_bomb(
            sum(item.file_size for item in archive.infolist()), sum(item.compress_size for item in archive.infolist())
        )
        for item in archive.infolist():
            refuse_bomb(item.file_size, item.compress_size)
        yield archive


def refuse_damaged(archive: zipfile.ZipFile) -> None:
    """Raise `FileProblem` where a member does not agree with its checksum."""
    try:
        wrong = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError):
        wrong = "?"
    if wrong is not None:
        raise FileProblem("unreadable_file", "tệp nén bị hỏng, hoặc có mật khẩu")


def _members(path: Path, name: str) -> list[Payload]:
    found: list[Payload] = []
    with archive_of(path) as archive:
        if any(item.flag_bits & 1 for item in archive.infolist()):
            raise FileProblem("unreadable_file", "tệp nén có mật khẩu")
        refuse_damaged(archive)
        for number, item in enumerate(sorted(archive.infolist(), key=lambda each: each.filename), start=1):
            inner = PurePosixPath(item.filename)
            if item.is_dir() or inner.name.startswith((".", "~$")) or "__MACOSX" in inner.parts:
                continue
            kind = FORMATS.get(inner.suffix.lower())
            if kind is None:
                raise _unsupported(inner.name)
            told = shown_name(item.filename)
            # Two that are told by one length are not one place.
            place = f"tệp {name}, mục {told if told == item.filename else f'số {number} {told}'}"
            found.append(Payload(place, kind, _member(path, item.filename), is_packed=True))
    if not found:
        raise FileProblem("no_rows", "tệp nén không có tệp số liệu nào")
    return found


def _member(path: Path, member: str) -> Callable[[], BinaryIO]:
    def opened() -> BinaryIO:
        archive = zipfile.ZipFile(path)
        stream = archive.open(member)
        archive.close()  # the member keeps the file open until it is closed itself
        return cast("BinaryIO", stream)

    return opened
