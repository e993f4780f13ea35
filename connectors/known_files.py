"""Files that were read before: told by how they stand where that is safe, by their bytes where it is not.

Belongs here: what a cursor remembers of a file, and when it may be believed unread. Does not belong here: which
files are looked at, and what becomes of one that is new (`files.py`, `npsp_log.py`).

A file system's clock ticks (milliseconds on a local disk, two seconds on some shares), and a share's clock may be
another machine's. A file that is replaced by one of the same size within the tick of its last change stands as
before. So the times of a file say nothing until they are older, by `MARGIN_SECONDS`, than the look at which its
bytes were summed; a file that was too young then is summed once more and believed from then on.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Longer than the tick of any file system, and than two clocks of one network should differ.
MARGIN_SECONDS = 60


@dataclass(frozen=True)
class Stamp:
    """How a file stands: bytes, when its content and its entry were last changed, and when that was looked at (ns).

    The entry's time (ctime) is no program's to set, so that a copy that keeps the old file's time is seen too.
    """

    size: int
    changed: int
    entered: int
    looked: int

    @classmethod
    def of(cls, file: Path) -> Stamp:
        """The file now; take it before its bytes are read. Raises `OSError`."""
        looked = time.time_ns()
        stat = file.stat()
        return cls(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, looked)

    @property
    def age_seconds(self) -> float:
        """How long ago its content was changed."""
        return (self.looked - self.changed) / 1e9

    def is_same(self, other: Stamp) -> bool:
        """Whether the file stood alike at both looks."""
        return self._stands == other._stands

    @property
    def _stands(self) -> tuple[int, int, int]:
        return self.size, self.changed, self.entered

    def cursor(self, sha256: str) -> dict[str, Any]:
        """What is remembered of a file of this stamp whose bytes have this sum."""
        said = {"size": self.size, "changed": self.changed, "entered": self.entered, "looked": self.looked}
        return said | {"sha256": sha256}

    def is_known(self, known: Mapping[str, Any]) -> bool:
        """Whether this is the file of that cursor, as sure as its bytes would say; no byte is read."""
        if (known.get("size"), known.get("changed"), known.get("entered")) != self._stands:
            return False
        return self._is_older_than(int(known.get("looked", 0)))

    @property
    def is_settled(self) -> bool:
        """Whether the file is old enough for a later look to believe what this one remembers."""
        return self._is_older_than(self.looked)

    def _is_older_than(self, looked: int) -> bool:
        return max(self.changed, self.entered) + MARGIN_SECONDS * 1_000_000_000 <= looked


def sum_of(file: Path) -> str:
    """SHA-256 of the file's bytes, hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
