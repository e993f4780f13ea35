"""One night at a time on a home, whoever starts it: schedule, UI or command line.

Belongs here: the lock and the sentence that says who holds it. Does not belong here: what a night
does. The system frees the lock when its process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from orchestration.partitions import ZONE
from orchestration.settings import Home


class NightRunningError(RuntimeError):
    """Another night is at work on this home; the text says since when."""


def _path(home: Home) -> Path:
    return home.root / "night.lock"


@contextmanager
def night_lock(home: Home, *, night: str) -> Iterator[None]:
    """Hold the right to change `home`; raises `NightRunningError` at once when someone else holds it."""
    path = _path(home)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise NightRunningError(
                f"Một đêm khác đang chạy trên {home.root} ({file.read().strip() or 'vừa bắt đầu'}). "
                "Hãy đợi nó xong rồi chạy lại; dữ liệu không bị thay đổi."
            ) from None
        file.truncate(0)
        file.write(f"lần chạy {night}, tiến trình {os.getpid()}, từ {datetime.now(ZONE):%H:%M %d/%m/%Y}")
        file.flush()
        yield


def is_night_running(home: Home) -> bool:
    """Whether someone holds the lock right now."""
    with suppress(FileNotFoundError), _path(home).open(encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
