"""The one loop that all HTTP connectors share: it makes the calls that a walk asks for.

Belongs here: concurrency, pace, calling hours, retries, redaction of what goes wrong on the wire. Does not
belong here: what a call means or what a reply holds (the walks), how many calls at once and which hours are
good manners (`manners.py`), nor where records go.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx
import pyarrow as pa
import stamina
from aiolimiter import AsyncLimiter

from connectors.contract import SEEN, Broken, RecordContract
from connectors.manners import CallingHours, Concurrency, OutsideCallingHours
from connectors.protocol import Call, Part, Reply, SourceError, Step, Transient, Walk, retry_after
from connectors.records import Typed, numbered
from connectors.settings import HttpManners
from connectors.shape import Shape, together

Send = Callable[[Call], Awaitable[Reply]]

#: A server that asks for a longer pause than this is not obeyed; the try counts and the usual wait applies.
LONGEST_WISH_SECONDS = 600.0
_WAIT_INITIAL_SECONDS = 0.2
_WAIT_MAX_SECONDS = 20.0
#: Answers by which a server says that it has too much to do.
_OVERLOADED = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
#: While it waits for its hours, a loop looks at the clock so often: clocks are set, machines sleep.
_LOOK_SECONDS = 60.0
#: A connection that was idle for longer is opened anew: servers close theirs.
_KEEP_SECONDS = 5.0
#: A path that goes on the wire as it is.
_PLAIN_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]*)+")
#: What may go wrong between two machines, in the words of httpx's client and of its transport.
_FAILURES = (
    httpx.TransportError,
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
    httpcore.ProxyError,
)
_VARIABLE_SEGMENT = re.compile(r"[^/]*\d[^/]*")


@asynccontextmanager
async def light_sender(base_url: str, manners: HttpManners, *, headers: Mapping[str, str]) -> AsyncIterator[Send]:
    """Make calls below `base_url` straight through httpcore, httpx's own transport, with `headers` on each.

    A client adds cookies, redirects and authentication flows to every request and parses its address character by
    character, and a pool looks at all its connections for each, together at twice the price of the request itself.
    Two small calls for each changed dossier need none of it: as many pools of one connection as calls may be
    under way, the last one used first. A proxy that the environment names is used.
    """
    base_url = base_url.rstrip("/")
    base = httpx.URL(base_url)
    timeout = httpx.Timeout(manners.timeout_seconds).as_dict()
    idle: asyncio.LifoQueue[httpcore.AsyncConnectionPool] = asyncio.LifoQueue()

    async def send(call: Call) -> Reply:
        merged = list({**headers, **dict(call.headers)}.items())
        url = httpcore.URL(
            scheme=base.raw_scheme, host=base.raw_host, port=base.port, target=_target(base, base_url, call)
        )
        pool = await idle.get()
        try:
            with _on_the_wire(call):
                response = await pool.request(
                    call.method, url, headers=merged, content=call.content, extensions={"timeout": timeout}
                )
                return _reply(response)
        finally:
            idle.put_nowait(pool)

    tls, proxy = httpx.create_ssl_context(), _proxy(base_url)
    async with AsyncExitStack() as stack:
        for _ in range(manners.concurrency):
            single = httpcore.AsyncConnectionPool(
                ssl_context=tls, proxy=proxy, max_connections=1, keepalive_expiry=_KEEP_SECONDS
            )
            idle.put_nowait(await stack.enter_async_context(single))
        yield send


def _target(base: httpx.URL, base_url: str, call: Call) -> bytes:
    """Path and query as they go on the wire; whatever is not plain is left to httpx."""
    if _PLAIN_PATH.fullmatch(call.path) is None:
        return httpx.URL(_url(base_url, call)).raw_path
    return base.raw_path.removesuffix(b"/") + _url("", call).encode("ascii")


def _reply(response: httpcore.Response) -> Reply:
    headers = httpx.Headers(response.headers)
    if "content-encoding" in headers:
        return Reply(response.status, headers, httpx.Response(200, headers=headers, content=response.content).content)
    return Reply(response.status, headers, response.content)


def _proxy(base_url: str) -> httpcore.Proxy | None:
    url = httpx.URL(base_url)
    named = None if proxy_bypass(url.host) else getproxies().get(url.scheme)
    if named is None:
        return None
    proxy = httpx.Proxy(named)
    address = httpcore.URL(scheme=proxy.url.raw_scheme, host=proxy.url.raw_host, port=proxy.url.port, target=b"/")
    return httpcore.Proxy(address, auth=proxy.raw_auth)


def _url(base_url: str, call: Call) -> str:
    # A comma may stand as it is; lists of ids are most of what is sent.
    return f"{base_url}{call.path}?{urlencode(call.params, safe=',')}" if call.params else f"{base_url}{call.path}"


@contextmanager
def _on_the_wire(call: Call) -> Iterator[None]:
    """What fails on the wire is `Transient`, told without URL, headers or body."""
    try:
        yield
    except _FAILURES as error:
        raise Transient(f"{call}: {type(error).__name__}", hint="The source did not answer") from error
    except httpx.DecodingError as error:
        raise Transient(f"{call}: the compressed answer was cut off") from error


def _now() -> datetime:
    return datetime.now(UTC)


class Gate:
    """Lets the calls of one source through: as many at once as it bears, in its hours, not while it asked for rest.

    All walks over a source share its gate, so that no two of them together are more than it agreed to.
    """

    def __init__(
        self,
        manners: HttpManners,
        *,
        now: Callable[[], datetime] = _now,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.concurrency = Concurrency(manners.concurrency)
        self.under_way = 0
        self._hours = CallingHours.of(manners.calling_hours)
        self._patience = timedelta(minutes=manners.patience_minutes)
        self._now = now
        self._sleep = sleep
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._rest_until = 0.0

    async def __aenter__(self) -> None:
        """Wait until one call more may be under way."""
        while self.under_way >= self.concurrency.limit:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._wake()
                raise
        self.under_way += 1

    async def __aexit__(self, *_: object) -> None:
        self.under_way -= 1
        self._wake()

    def _wake(self) -> None:
        free = self.concurrency.limit - self.under_way
        while free > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1

    @property
    def is_open(self) -> bool:
        """Whether the source may be called at this instant."""
        return time.monotonic() >= self._rest_until and not self._hours.wait(self._now())

    async def opened(self) -> None:
        """Wait until the source may be called. `OutsideCallingHours` when its hours begin too late for that."""
        while not self.is_open:
            if wait := self._hours.wait(self._now()):
                if wait > self._patience:
                    raise OutsideCallingHours(self._hours, self._patience)
                await self._sleep(min(wait.total_seconds(), _LOOK_SECONDS))
            else:
                await asyncio.sleep(max(0.0, self._rest_until - time.monotonic()))

    def answered(self, call: Call, reply: Reply, seconds: float) -> None:
        """Learn from a reply: how many calls the source bears, and whether it asked for rest."""
        is_overloaded = reply.status in _OVERLOADED
        self.concurrency.observe(
            seconds, not is_overloaded, kind=_kind(call), size=len(reply.body), under_way=self.under_way
        )
        if is_overloaded:
            self.rest(retry_after(reply))

    def unanswered(self, call: Call, error: Transient, seconds: float) -> None:
        """Learn from a call that nobody answered."""
        self.concurrency.observe(seconds, ok=False, kind=_kind(call), under_way=self.under_way)
        self.rest(error.retry_after)

    def rest(self, seconds: float | None) -> None:
        """Make no call of this source for so long, as it asked; what is already under way ends."""
        if seconds is not None and seconds <= LONGEST_WISH_SECONDS:
            self._rest_until = max(self._rest_until, time.monotonic() + seconds)


def _kind(call: Call) -> str:
    """The same for calls that ask for the same of different dossiers or days."""
    return f"{call.method} {_VARIABLE_SEGMENT.sub('*', call.path)} {','.join(name for name, _ in call.params)}"


def _limiter(requests_per_second: float) -> AsyncLimiter:
    """Fewer than one a second are counted over the longer time that one takes."""
    return AsyncLimiter(max(1.0, requests_per_second), max(1.0, 1.0 / requests_per_second))


@dataclass
class Loop:
    """Makes calls politely: at most `concurrency` at once and `requests_per_second`, each tried `attempts` times."""

    send: Send
    manners: HttpManners
    limiter: AsyncLimiter
    gate: Gate = field(init=False)

    def __post_init__(self) -> None:
        self.gate = Gate(self.manners)

    @classmethod
    def over(cls, send: Send, manners: HttpManners) -> Loop:
        """A loop with the manners of one source."""
        return cls(send, manners, _limiter(manners.requests_per_second))

    async def run(self, walk: Walk) -> AsyncIterator[Step]:
        """Yield the steps of `walk` as replies come in, until it asks for nothing more."""
        pending = deque(walk.begin())
        running: set[asyncio.Task[Step]] = set()
        done: set[asyncio.Task[Step]] = set()
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
            # Of several that failed at once the first is told; the others' errors are taken note of here.
            await asyncio.gather(*running, *done, return_exceptions=True)

    async def _step(self, walk: Walk, call: Call) -> Step:
        try:
            return await self._once(walk, call)
        except Transient as error:
            return await self._again(walk, call, error)
        except SourceError as error:
            return _forgiven(walk, call, error)

    async def _once(self, walk: Walk, call: Call) -> Step:
        async with self.gate:
            await self._turn()
            began = time.perf_counter()
            try:
                reply = await self.send(call)
            except Transient as error:
                self.gate.unanswered(call, error, time.perf_counter() - began)
                raise
            self.gate.answered(call, reply, time.perf_counter() - began)
        return walk.accept(call, reply)

    async def _turn(self) -> None:
        """Wait for the pace; the source may have asked for rest, or its hours ended, meanwhile."""
        await self.gate.opened()
        await self.limiter.acquire()
        while not self.gate.is_open:
            await self.gate.opened()
            await self.limiter.acquire()

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


async def _nobody(call: Call) -> Reply:
    raise RuntimeError(f"{call} was to be made in a rehearsal")


class Rehearsal(Loop):
    """A loop that makes no call: `calls` are those with which the walks over a source would begin.

    Nothing is answered, so what a walk asks for next is not among them.
    """

    def __init__(self, manners: HttpManners) -> None:
        super().__init__(_nobody, manners, _limiter(manners.requests_per_second))
        self.calls: list[Call] = []

    async def run(self, walk: Walk) -> AsyncIterator[Step]:
        """Write down the first calls of `walk`; no step follows."""
        self.calls.extend(walk.begin())
        for _ in ():
            yield Step()


def _forgiven(walk: Walk, call: Call, error: SourceError) -> Step:
    # What was never asked is not missing at the source: the next night asks for it.
    if isinstance(error, OutsideCallingHours) or not walk.forgive(call, error):
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
        self._shapes: list[Shape] = []
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
        self._shapes.append(page.shape)

    def part(self, contract: RecordContract, **said: Any) -> Part:
        """What was gathered so far, as a part of `contract`; `said` are further fields of it."""
        shape = together(self._shapes)
        self._shapes = []
        return Part(contract, *self.take(), shape=shape, **said)

    def take(self) -> tuple[pa.Table, tuple[Broken, ...]]:
        """Everything gathered so far; gathering starts anew."""
        table = pa.concat_tables(self._tables) if self._tables else self._schema.empty_table()
        broken = tuple(self._broken)
        self._tables, self._broken = [], []
        return table, broken
