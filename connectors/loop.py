"""The one loop that all HTTP connectors share: it makes the calls that a walk asks for.

Belongs here: concurrency, pace, retries, redaction of what goes wrong on the wire. Does not belong
here: what a call means or what a reply holds (the walks), nor where records go.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from urllib.parse import urlencode
from urllib.request import getproxies, proxy_bypass

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
    """Make calls below `base_url` through `client`, for what needs a whole client (OAuth2)."""

    async def send(call: Call) -> Reply:
        with _on_the_wire(call):
            response = await client.request(call.method, _url(base_url, call), headers=dict(call.headers))
            return Reply(response.status_code, response.headers, response.content)

    return send


@asynccontextmanager
async def light_sender(base_url: str, manners: HttpManners, *, headers: Mapping[str, str]) -> AsyncIterator[Send]:
    """Make calls below `base_url` straight through httpx's transports, with `headers` on each.

    A client adds cookies, redirects and authentication flows to every request, and a pool looks at
    all its connections for each, together at twice the price of the request itself. Two small calls
    for each changed dossier need none of it: as many transports of one connection as calls may be
    under way, the last one used first. A proxy that the environment names is used.
    """
    timeout = httpx.Timeout(manners.timeout_seconds).as_dict()
    idle: asyncio.LifoQueue[httpx.AsyncHTTPTransport] = asyncio.LifoQueue()

    async def send(call: Call) -> Reply:
        merged = {**headers, **dict(call.headers)}
        url = _url(base_url, call)
        request = httpx.Request(call.method, url, headers=merged, extensions={"timeout": timeout})
        transport = await idle.get()
        try:
            with _on_the_wire(call):
                response = await transport.handle_async_request(request)
                try:
                    body = await response.aread()
                finally:
                    await response.aclose()
                return Reply(response.status_code, response.headers, body)
        finally:
            idle.put_nowait(transport)

    tls = httpx.create_ssl_context()
    async with AsyncExitStack() as stack:
        for _ in range(manners.concurrency):
            single = httpx.Limits(max_connections=1)
            transport = httpx.AsyncHTTPTransport(verify=tls, limits=single, proxy=_proxy(base_url))
            idle.put_nowait(await stack.enter_async_context(transport))
        yield send


def _proxy(base_url: str) -> str | None:
    url = httpx.URL(base_url)
    return None if proxy_bypass(url.host) else getproxies().get(url.scheme)


def _url(base_url: str, call: Call) -> str:
    return f"{base_url}{call.path}?{urlencode(call.params)}" if call.params else f"{base_url}{call.path}"


@contextmanager
def _on_the_wire(call: Call) -> Iterator[None]:
    """What fails on the wire is `Transient`, told without URL, headers or body."""
    try:
        yield
    except httpx.TransportError as error:
        raise Transient(f"{call}: {type(error).__name__}", hint="The source did not answer") from error
    except httpx.DecodingError as error:
        raise Transient(f"{call}: the compressed answer was cut off") from error


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
            return await self._once(walk, call)
        except Transient as error:
            return await self._again(walk, call, error)
        except SourceError as error:
            return _forgiven(walk, call, error)

    async def _once(self, walk: Walk, call: Call) -> Step:
        async with self.limiter:
            reply = await self.send(call)
        return walk.accept(call, reply)

    async def _again(self, walk: Walk, call: Call, first: Transient) -> Step:
        """Further tries; the first one, made already, is replayed so that stamina counts and waits for it."""
        tries = stamina.retry_context(
            on=_pause,
            attempts=self.manners.attempts,
            timeout=None,
            wait_initial=_WAIT_INITIAL_SECONDS,
            wait_max=_WAIT_MAX_SECONDS,
        )
        step = Step()
        try:
            async for attempt in tries:
                with attempt:
                    if attempt.num == 1:
                        raise first
                    step = await self._once(walk, call)
        except SourceError as error:
            return _forgiven(walk, call, error)
        return step

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


def _forgiven(walk: Walk, call: Call, error: SourceError) -> Step:
    if not walk.forgive(call, error):
        raise error
    return Step()


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
