"""Which dossiers the receiver has heard of: what "đã tồn tại" is answered from.

Belongs here: the index beside the journal, and how far into the journal it has come. Does not belong
here: the journal itself, which is the truth; the index can be made again from it.

The index outlives the journal files that it was made from. It is written after them, so it never knows
a dossier that is not stored; what a crash kept it from learning is read from the journal at the next start.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger("thuocdo.receiver")

_ASKED_AT_ONCE = 500


class Mark(NamedTuple):
    """Up to where the journal is indexed: a file's name without its ending, and a length in bytes."""

    stem: str = ""
    size: int = 0


class KnownCodes:
    """The index, in one SQLite file that one process uses; `sqlite3.OperationalError` when it cannot be opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._open()
        except sqlite3.OperationalError:  # a full or read-only disk: nothing is wrong with the index itself
            raise
        except sqlite3.DatabaseError:
            # Damaged: it only repeats what the journal says.
            for part in path.parent.glob(f"{path.name}*"):
                part.unlink()
            self._open()
        #: Learned while the disk was too full to write it down.
        self._waiting: set[str] = set()

    def _open(self) -> None:
        self._database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        # One process alone: no shared-memory file. A kill loses nothing; a power cut loses what is read again.
        for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=NORMAL", "wal_autocheckpoint=500"):
            self._database.execute(f"PRAGMA {pragma}")
        self._database.execute("CREATE TABLE IF NOT EXISTS known (code TEXT PRIMARY KEY) WITHOUT ROWID")
        self._database.execute("CREATE TABLE IF NOT EXISTS mark (one INTEGER PRIMARY KEY, stem TEXT, size INTEGER)")
        self.mark = Mark(*(self._database.execute("SELECT stem, size FROM mark").fetchone() or ()))

    def __len__(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM known").fetchone()[0])

    def among(self, codes: Sequence[str]) -> set[str]:
        """Those of `codes` that are known; `sqlite3.Error` when it cannot be told."""
        found = self._waiting.intersection(codes)
        for first in range(0, len(codes), _ASKED_AT_ONCE):
            asked = codes[first : first + _ASKED_AT_ONCE]
            marks = ",".join("?" * len(asked))
            found.update(
                row[0] for row in self._database.execute(f"SELECT code FROM known WHERE code IN ({marks})", asked)
            )
        return found

    def learn(self, codes: Iterable[str], mark: Mark) -> None:
        """Add `codes`, which the journal holds up to `mark`. On a full disk they are kept in memory and tried again."""
        self._waiting.update(codes)
        try:
            self._database.execute("BEGIN")
            self._database.executemany("INSERT OR IGNORE INTO known VALUES (?)", [(code,) for code in self._waiting])
            self._database.execute("INSERT OR REPLACE INTO mark VALUES (1, ?, ?)", mark)
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            log.warning("index not written, %d codes wait in memory: %s", len(self._waiting), type(error).__name__)
            return
        self.mark = mark
        self._waiting.clear()

    def checkpoint(self) -> None:
        """Bring the index to the disk as far as it will go."""
        with suppress(sqlite3.Error):
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Checkpoint and close."""
        self.checkpoint()
        self._database.close()
