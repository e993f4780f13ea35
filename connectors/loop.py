"""The one loop that all HTTP connectors share: it makes the calls that a walk asks for.

Belongs here: concurrency, pace, retries, redaction of what goes wrong on the wire. Does not belong
here: what a call means or what a reply holds (the walks), nor where records go.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlencode

import httpx
import pyarrow as pa
import stamina
from aiolimiter import AsyncLimiter

from connectors.contract import SEEN, Broken
from connectors.protocol import Call, Reply, SourceError, Step, Transient, Walk
from connectors.records import Typed, numbered
from connectors.settings import HttpManners

Send = Callable[[Call], Awaitable[Reply]]

#: A server that asks for a longer pause than this is not obeyed; the try counts and the usual wait applies.
LONGEST_WISH_SECONDS = 600.0
_WAIT_INITIAL_SECONDS = 0.2
_WAIT_MAX_SECONDS = 20.0


def sender(client: httpx.AsyncClient, base_url: str) -> Send:
    """Make calls below `base_url` through `client`; what fails on the wire is `Transient` without URL or body."""

    async def send(call: Call) -> Reply:
        url = f"{base_url}{call.path}?{urlencode(call.params)}" if call.params else f"{base_url}{call.path}"
        try:
            response = await client.request(call.method, url, headers=dict(call.headers))
        except httpx.TransportError as error:
            raise Transient(f"{call}: {type(error).__name__}", hint="The source did not answer") from error
        except httpx.DecodingError as error:
            raise Transient(f"{call}: the compressed answer was cut off") from error
        return Reply(response.status_code, response.headers, response.content)

    return send


@dataclass(frozen=True)
class Loop:
    """Makes calls politely: at most `concurrency` at once and `requests_per_second`, each tried `attempts` times."""

    send: Send
    manners: HttpManners
    limiter: AsyncLimiter

    @classmethod
    def over(cls, send: Send, manners: HttpManners) -> Loop:
        """A loop with the manners of one source."""
        return cls(send, manners, AsyncLimiter(max(1.0, manners.requests_per_second), 1.0))

    async def run(self, walk: Walk) -> AsyncIterator[Step]:
        """Yield the steps of `walk` as replies come in, until it asks for nothing more."""
        pending = deque(walk.begin())
        running: set[asyncio.Task[Step]] = set()
        try:
            while pending or running:
                while pending and len(running) < self.manners.concurrency:
                    running.add(asyncio.create_task(self._step(walk, pending.popleft())))
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    step = task.result()
                    pending.extend(step.calls)
                    yield step
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _step(self, walk: Walk, call: Call) -> Step:
        try:
            async for attempt in stamina.retry_context(
                on=_pause,
                attempts=self.manners.attempts,
                timeout=None,
                wait_initial=_WAIT_INITIAL_SECONDS,
                wait_max=_WAIT_MAX_SECONDS,
            ):
                with attempt:
                    async with self.limiter:
                        reply = await self.send(call)
                    return walk.accept(call, reply)
        except SourceError as error:
            if walk.forgive(call, error):
                return Step()
            raise
        raise AssertionError("unreachable: a retry context returns or raises")

    async def pages(self, walk: Walk, read: Callable[[Step], Typed]) -> AsyncIterator[Typed]:
        """Typed pages of `walk`, in the order in which they arrived, typed in threads while others are in flight."""
        typing: deque[asyncio.Task[Typed]] = deque()
        try:
            async for step in self.run(walk):
                if step.records:
                    typing.append(asyncio.create_task(asyncio.to_thread(read, step)))
                while typing and (typing[0].done() or len(typing) > 2 * self.manners.concurrency):
                    yield await typing.popleft()
            while typing:
                yield await typing.popleft()
        finally:
            for task in typing:
                task.cancel()


def _pause(error: Exception) -> bool | float:
    """Stamina's back-off hook: retry what may pass, after the pause the server asked for if it asked."""
    if not isinstance(error, Transient):
        return False
    wish = error.retry_after
    return True if wish is None or wish > LONGEST_WISH_SECONDS else wish


class Pages:
    """Typed pages gathered into one table, numbered in the order seen."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema.append(pa.field(SEEN, pa.int64()))
        self._tables: list[pa.Table] = []
        self._broken: list[Broken] = []
        self._seen = 0

    @property
    def rows(self) -> int:
        """Rows gathered since the last `take`."""
        return sum(int(table.num_rows) for table in self._tables) + len(self._broken)

    def add(self, page: Typed) -> None:
        """Add one page."""
        self._tables.append(numbered(page.records, self._seen, SEEN))
        self._seen += page.records.num_rows
        self._broken.extend(page.broken)

    def take(self) -> tuple[pa.Table, tuple[Broken, ...]]:
        """Everything gathered so far; gathering starts anew."""
        table = pa.concat_tables(self._tables) if self._tables else self._schema.empty_table()
        broken = tuple(self._broken)
        self._tables, self._broken = [], []
        return table, broken
