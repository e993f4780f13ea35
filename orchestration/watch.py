"""Watching a night at a terminal.

Belongs here: drawing progress. Does not belong here: what a night does, or what commands there are.
"""

from __future__ import annotations

import os
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from expectations.wording import count_vi


def terminal() -> Console:
    """A console on the process's own stderr.

    Dagster redirects file descriptors 1 and 2 while a step runs; a duplicate made before stays ours.
    """
    return Console(file=os.fdopen(os.dup(2), "w", encoding="utf-8"), highlight=False)


class TerminalWatcher:
    """A line per finished step, a spinner with running counts in between; plain lines when piped."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None
        self._began = time.monotonic()
        self._next_plain = 10.0

    def __enter__(self) -> Self:
        self._status = self._console.status("bắt đầu …")
        self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    @property
    def seconds(self) -> float:
        """Since the watcher was made."""
        return time.monotonic() - self._began

    def say(self, text: str) -> None:
        """One line, with the time since the beginning."""
        self._console.print(f"[dim]{self.seconds:6.1f} s[/dim]  {escape(text)}")

    def doing(self, text: str) -> None:
        """What is being worked on now; a line of its own where nobody sees a spinner."""
        if self._status is not None and self._console.is_terminal:
            self._status.update(escape(text))

    def read(self, source: str, rows: int) -> None:
        """How far a source is: in the spinner, or every ten seconds as a line when piped."""
        text = f"{source}: đã đọc {count_vi(rows)} dòng"
        if self._console.is_terminal:
            self.doing(text)
        elif self.seconds >= self._next_plain:
            self._next_plain = self.seconds + 10
            self.say(text)
