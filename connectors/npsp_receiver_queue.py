"""Many calls, one sync: calls that arrive while the disk is busy are stored together when it is free.

Belongs here: waiting for a submission to be on disk. Does not belong here: how it gets there
(`npsp_receiver_journal.py`). All journal work happens on one thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Self, TypeVar

from connectors.npsp_receiver_journal import Journal, NotStoredError, Submission

#: How often an open file is looked at: it is closed at most this much after its time.
_LOOK_SECONDS = 5.0

_T = TypeVar("_T")


class CommitQueue:
    """Stores submissions in the order in which they came; run it with `async with`."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._waiting: list[tuple[Submission, asyncio.Future[frozenset[int]]]] = []
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._is_ending = False

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._store()), asyncio.create_task(self._look_after())]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_ending = True
        self._wake.set()
        await self._tasks[0]
        self._tasks[1].cancel()
        await asyncio.gather(self._tasks[1], return_exceptions=True)
        self._thread.shutdown(wait=True)

    async def store(self, submission: Submission) -> frozenset[int]:
        """Places of the records that were known already, once the others are on disk; `NotStoredError`."""
        if self._tasks[0].done():
            raise NotStoredError("the journal is closed")
        done: asyncio.Future[frozenset[int]] = asyncio.get_running_loop().create_future()
        self._waiting.append((submission, done))
        self._wake.set()
        return await done

    async def _store(self) -> None:
        while self._waiting or not self._is_ending:
            await self._wake.wait()
            self._wake.clear()
            taken, self._waiting = self._waiting, []
            if taken:
                await self._store_together(taken)
                if self._waiting or self._is_ending:
                    self._wake.set()

    async def _store_together(self, taken: list[tuple[Submission, asyncio.Future[frozenset[int]]]]) -> None:
        error: Exception | None = None
        outcomes: list[frozenset[int]] = []
        try:
            outcomes = await self._on_thread(lambda: self._journal.commit([submission for submission, _ in taken]))
        except Exception as caught:  # noqa: BLE001  handed to everyone who waits; the queue must go on
            error = caught
        for place, (_, done) in enumerate(taken):
            if done.cancelled():
                continue
            if error is None:
                done.set_result(outcomes[place])
            else:
                done.set_exception(error)

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await self._on_thread(self._journal.rotate_if_due)

    async def _on_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
