"""The receiver's journal: every accepted call as a line on disk before it is answered.

Belongs here: files, their names and their ends, what a crash or a full disk leaves behind. Does not
belong here: the protocol, HTTP, or who waits for a line to be on disk (`npsp_receiver_queue.py`).

One process writes. Its file ends in `.open` until it is closed by size, age or the process' end; then it
is renamed to `.ndjson`, which is what the night reads, so the night sees whole files only. Names are
instants (Vietnam) and never go back, so that by name they are in sending order. A line is acknowledged
only when it is on disk (`fdatasync`); what could not be written whole is cut off again at once, or at
the next start: it was never acknowledged, and the sender has it still.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from connectors.npsp_log import DOSSIER_SERVICE, Sorted, split_line
from connectors.npsp_receiver_index import KnownCodes, Mark
from connectors.npsp_receiver_records import Kept
from connectors.records import text_of

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
OPEN, CLOSED = ".open", ".ndjson"
#: What is the receiver's own, below the journal's folder.
OWN_FOLDER = ".receiver"

_NAME = "%Y-%m-%d_%H%M%S-%f"
_IS_OURS = re.compile(r"\d{4}-\d\d-\d\d_\d{6}-\d{6}(\.open|\.ndjson)")


class FolderInUseError(RuntimeError):
    """Another receiver writes into the folder."""


class NotStoredError(OSError):
    """Nothing of this was stored: the disk is full, read-only or broken."""


@dataclass(frozen=True)
class Submission:
    """The good records of one call."""

    service: str
    is_updating: bool
    records: tuple[Kept, ...]


@dataclass(frozen=True)
class Recovered:
    """What the start found of an earlier process that did not end in order."""

    files: int = 0
    records: int = 0
    #: Bytes of unfinished lines, cut off; nobody was told that they were stored.
    torn_bytes: int = 0


class Journal:
    """The journal in `folder`; not for use by two threads at once. Raises `FolderInUseError`, `OSError`."""

    def __init__(
        self,
        folder: Path,
        *,
        rotate_bytes: int,
        rotate_seconds: float,
        now: Callable[[], datetime] = lambda: datetime.now(ZONE),
    ) -> None:
        self._folder, self._rotate_bytes, self._rotate_seconds, self._now = folder, rotate_bytes, rotate_seconds, now
        own = folder / OWN_FOLDER
        own.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(own / "lock")
        self._file: _OpenFile | None = None
        try:
            self.recovered = _recover(folder)
            self._known = _index(own / "known.db")
            self._catch_up()
            self._last = max([file.stem for file in journals(folder)] + [self._known.mark.stem])
        except BaseException:
            os.close(self._lock)
            raise

    @property
    def known(self) -> int:
        """How many dossiers were heard of."""
        return len(self._known)

    def commit(self, submissions: Sequence[Submission]) -> list[frozenset[int]]:
        """Store the submissions with one sync; for each, the places of records that were known already.

        An insert (`is_updating` False) of a known dossier is not stored: an old one that is sent again must
        not come to stand behind a newer update. All or nothing: `NotStoredError` means that none is stored.
        """
        try:
            lines, outcomes, fresh = self._sifted(submissions)
            if lines:
                self._append(b"".join(lines))
        except sqlite3.Error as error:
            raise NotStoredError(errno.EIO, f"index: {type(error).__name__}") from error
        if self._file is not None and lines:
            self._known.learn(fresh, Mark(self._file.path.stem, self._file.size))
        self.rotate_if_due()
        return outcomes

    def _sifted(self, submissions: Sequence[Submission]) -> tuple[list[bytes], list[frozenset[int]], set[str]]:
        inserted = [record.code for one in submissions if _is_insert(one) for record in one.records]
        known = self._known.among(inserted) if inserted else set()
        fresh: set[str] = set()
        lines: list[bytes] = []
        outcomes: list[frozenset[int]] = []
        for one in submissions:
            bodies: list[bytes] = []
            twice: list[int] = []
            for place, record in enumerate(one.records):
                if _is_insert(one) and (record.code in known or record.code in fresh):
                    twice.append(place)
                    continue
                bodies.append(record.body)
                if one.service == DOSSIER_SERVICE:
                    fresh.add(record.code)
            outcomes.append(frozenset(twice))
            if bodies:
                lines.append(b'{"service":"%b","data":[%b]}\n' % (one.service.encode(), b",".join(bodies)))
        return lines, outcomes, fresh

    def _append(self, data: bytes) -> None:
        try:
            if self._file is None:
                self._file = self._begin()
            self._file.append(data)
        except OSError as error:
            raise NotStoredError(error.errno, error.strerror) from error

    def _begin(self) -> _OpenFile:
        stem = self._now().astimezone(ZONE).strftime(_NAME)
        if stem <= self._last:  # the clock was set back, or two files within a microsecond
            stem = (datetime.strptime(self._last, _NAME) + timedelta(microseconds=1)).strftime(_NAME)  # noqa: DTZ007
        file = _OpenFile.create(self._folder / f"{stem}{OPEN}")
        self._last = stem
        return file

    def rotate_if_due(self) -> None:
        """Close the file when it is large or old enough; it stays open when that fails, and is tried again."""
        file = self._file
        if file is None or not (file.size >= self._rotate_bytes or file.age >= self._rotate_seconds):
            return
        with suppress(OSError):
            self._rotate()

    def _rotate(self) -> None:
        if self._file is not None:
            self._known.checkpoint()
            self._file.finish()
            self._file = None

    def close(self) -> None:
        """Close the file for the night and let go of the folder."""
        try:
            self._rotate()
            self._known.close()
        finally:
            os.close(self._lock)

    def _catch_up(self) -> None:
        """Teach the index what the journal says beyond its mark."""
        for file in journals(self._folder):
            mark = self._known.mark
            if file.stem >= mark.stem:
                with file.open("rb") as stream:
                    stream.seek(mark.size if file.stem == mark.stem else 0)
                    codes = [code for line in stream for code in _dossiers(line)]
                self._known.learn(codes, Mark(file.stem, file.stat().st_size))


class _OpenFile:
    """The file that is being written: as many bytes of it count as were synced."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.size = 0
        self._descriptor = descriptor
        self._began = time.monotonic()
        self._is_torn = False

    @classmethod
    def create(cls, path: Path) -> _OpenFile:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            sync_folder(path.parent)
        except OSError:
            os.close(descriptor)
            path.unlink()
            raise
        return cls(path, descriptor)

    @property
    def age(self) -> float:
        """Seconds since it was begun."""
        return time.monotonic() - self._began

    def append(self, data: bytes) -> None:
        """Write and sync; on any error nothing of `data` stays."""
        if self._is_torn:
            self._cut_off()
        self._is_torn = True
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            os.fdatasync(self._descriptor)
        except OSError:
            # When even this fails, the next append begins with it, and the next start cuts what is torn.
            with suppress(OSError):
                self._cut_off()
            raise
        self._is_torn = False
        self.size += len(data)

    def _cut_off(self) -> None:
        os.ftruncate(self._descriptor, self.size)
        os.fsync(self._descriptor)
        self._is_torn = False

    def finish(self) -> None:
        """Make it a file that the night reads; one without a line is removed."""
        if self._is_torn:
            self._cut_off()
        _close(self.path, self.size)
        os.close(self._descriptor)


def journals(folder: Path) -> list[Path]:
    """The receiver's files in `folder`, in sending order."""
    return sorted((file for file in folder.iterdir() if _IS_OURS.fullmatch(file.name)), key=lambda file: file.name)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _close(path: Path, size: int) -> None:
    if size:
        path.rename(path.with_suffix(CLOSED))
    else:
        path.unlink()
    sync_folder(path.parent)


def _recover(folder: Path) -> Recovered:
    """Close what an earlier process left open, without the line that it did not finish."""
    left = [file for file in journals(folder) if file.suffix == OPEN]
    records = torn = 0
    for path in left:
        good, found = _whole_lines(path)
        torn += path.stat().st_size - good
        records += found
        with path.open("r+b") as file:
            file.truncate(good)
            os.fsync(file.fileno())
        _close(path, good)
    return Recovered(len(left), records, torn)


def _whole_lines(path: Path) -> tuple[int, int]:
    """Length up to the end of the last line that can be read, and the records up to there."""
    good = at = records = 0
    with path.open("rb") as file:
        for line in file:
            at += len(line)
            found = split_line(line, "") if line.endswith(b"\n") else None
            if isinstance(found, Sorted):
                good = at
                records += len(found.records)
    return good, records


class _Code(msgspec.Struct):
    MaHoSo: str | int | float | bool


_codes = msgspec.json.Decoder(_Code)


def _dossiers(line: bytes) -> list[str]:
    found = split_line(line, "")
    if not isinstance(found, Sorted) or not line.startswith(b'{"service":"%b"' % DOSSIER_SERVICE.encode()):
        return []
    return [text_of(_codes.decode(record).MaHoSo).strip() for record in found.records]


def _index(path: Path) -> KnownCodes:
    try:
        return KnownCodes(path)
    except sqlite3.OperationalError as error:
        raise OSError(errno.EIO, f"{path}: {error}") from error


def _is_insert(submission: Submission) -> bool:
    return submission.service == DOSSIER_SERVICE and not submission.is_updating


def _locked(path: Path) -> int:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise FolderInUseError(f"another receiver writes into {path.parent.parent}") from None
    return descriptor
