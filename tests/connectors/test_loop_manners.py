"""The loop as a guest, against a real server that gets slow, asks for rest, or may not be called now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from assets.raw.extraction import UnreachableSource, probe
from connectors.loop import Gate, Loop, light_sender
from connectors.manners import ZONE, OutsideCallingHours
from connectors.protocol import Call, Reply, SourceError, Step, Walk, ensure_usable
from connectors.settings import HttpManners
from tests.connectors.test_loop import serving
from tests.connectors.test_opencps import settings as portal_settings


class Many(Walk):
    """So many calls of one kind."""

    def __init__(self, count: int, *, path: str = "/x") -> None:
        self.calls = [Call(path, (("n", str(number)),)) for number in range(count)]

    def begin(self) -> Sequence[Call]:
        return self.calls

    def accept(self, call: Call, reply: Reply) -> Step:
        ensure_usable(call, reply)
        return Step([reply.body])

    def forgive(self, call: Call, error: SourceError) -> bool:  # noqa: ARG002  a walk that would go on without anything
        return True


class Narrow:
    """A server of `workers` hands: who comes when all are busy waits, and waiting costs every other one something."""

    def __init__(self, *, workers: int, seconds: float, thrash: float) -> None:
        self.hands = asyncio.Semaphore(workers)
        self.workers, self.seconds, self.thrash = workers, seconds, thrash
        self.under_way = 0
        self.seen: list[int] = []

    async def __call__(self, request: Request) -> Response:  # noqa: ARG002
        self.under_way += 1
        self.seen.append(self.under_way)
        try:
            async with self.hands:
                crowd = max(0, self.under_way - self.workers)
                await asyncio.sleep(self.seconds * (1 + self.thrash * crowd))
        finally:
            self.under_way -= 1
        return JSONResponse({})


def drive(server: Narrow, calls: int, *, concurrency: int, is_fixed: bool = False) -> None:
    """Make so many calls of `server`; `is_fixed` keeps the ceiling under way, as a rude guest would."""
    manners = HttpManners(requests_per_second=10_000, concurrency=concurrency, attempts=1)

    async def run(url: str) -> None:
        async with light_sender(url, manners, headers={}) as send:
            loop = Loop.over(send, manners)
            if is_fixed:
                loop.gate.concurrency.limit = concurrency
                loop.gate.concurrency.observe = lambda *_, **__: concurrency  # type: ignore[method-assign]
            assert len([step async for step in loop.run(Many(calls))]) == calls

    async def endpoint(request: Request) -> Response:
        return await server(request)

    with serving(Route("/x", endpoint)) as url:
        asyncio.run(run(url))


@pytest.mark.slow
def test_fewer_calls_are_under_way_when_more_only_make_it_slow() -> None:
    rude, polite = (Narrow(workers=2, seconds=0.08, thrash=0.1) for _ in range(2))
    drive(rude, 120, concurrency=12, is_fixed=True)
    drive(polite, 120, concurrency=12)
    assert max(rude.seen) == 12
    settled = polite.seen[60:]
    assert sum(settled) / len(settled) <= 6


def test_a_server_with_room_is_given_all_that_was_agreed() -> None:
    server = Narrow(workers=100, seconds=0.02, thrash=0)
    drive(server, 200, concurrency=6)
    assert max(server.seen) == 6


def test_a_wish_for_rest_holds_for_every_call_of_the_source() -> None:
    manners = HttpManners(requests_per_second=10_000, concurrency=4, attempts=3)
    arrivals: list[tuple[float, str]] = []
    refused_at = 0.0

    async def endpoint(request: Request) -> Response:
        nonlocal refused_at
        arrivals.append((time.monotonic(), request.url.path))
        if len(arrivals) == 30:
            refused_at = time.monotonic()
            return JSONResponse({}, status_code=429, headers={"Retry-After": "1"})
        await asyncio.sleep(0.01)
        return JSONResponse({})

    async def run(url: str) -> int:
        async with light_sender(url, manners, headers={}) as send:
            loop = Loop.over(send, manners)
            # Two walks over one source, as a list is read ahead while details are fetched.
            counts = await asyncio.gather(*(count(loop, Many(40, path=path)) for path in ("/a", "/b")))
        return sum(counts)

    with serving(Route("/a", endpoint), Route("/b", endpoint)) as url:
        assert asyncio.run(run(url)) == 80
    assert len(arrivals) == 81
    # What was on the wire when the server refused may still arrive; nothing new before the second is over.
    during = [path for at, path in arrivals[30:] if at < refused_at + 0.95]
    assert len(during) <= manners.concurrency
    after = [path for at, path in arrivals[30:] if at >= refused_at + 0.95]
    assert {"/a", "/b"} == set(after)


async def count(loop: Loop, walk: Walk) -> int:
    return len([step async for step in loop.run(walk)])


def test_two_walks_together_are_no_more_than_the_source_agreed_to() -> None:
    manners = HttpManners(requests_per_second=10_000, concurrency=3, attempts=1)
    under_way, most = 0, 0

    async def endpoint(request: Request) -> Response:  # noqa: ARG001
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        return JSONResponse({})

    async def run(url: str) -> None:
        async with light_sender(url, manners, headers={}) as send:
            loop = Loop.over(send, manners)
            await asyncio.gather(count(loop, Many(30)), count(loop, Many(30)))

    with serving(Route("/x", endpoint)) as url:
        asyncio.run(run(url))
    assert most == 3


class Clock:
    """A clock that is moved by whoever sleeps."""

    def __init__(self, hour: int, minute: int = 0) -> None:
        self.now = datetime(2026, 11, 2, hour, minute, tzinfo=ZONE)
        self.slept = timedelta()

    def __call__(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.slept += timedelta(seconds=seconds)


def ask(hours: Sequence[str], clock: Clock, made: list[Call], *, calls: int = 3, patience: int = 60) -> None:
    """Make `calls` calls, each of which takes the source a quarter of an hour; `made` notes them."""
    manners = HttpManners(calling_hours=tuple(hours), patience_minutes=patience, concurrency=1)

    async def send(call: Call) -> Reply:
        made.append(call)
        clock.now += timedelta(minutes=15)
        return Reply(200, {}, b"{}")

    async def run() -> None:
        loop = Loop.over(send, manners)
        loop.gate = Gate(manners, now=clock, sleep=clock.sleep)
        assert await count(loop, Many(calls)) == calls

    asyncio.run(run())


def test_inside_the_hours_nobody_waits() -> None:
    clock, made = Clock(20), list[Call]()
    ask(["19:00-06:00"], clock, made)
    assert len(made) == 3
    assert clock.slept == timedelta()


def test_hours_that_open_soon_are_waited_for() -> None:
    clock, made = Clock(18, 10), list[Call]()
    ask(["19:00-06:00"], clock, made)
    assert len(made) == 3
    assert clock.slept == timedelta(minutes=50)


def test_hours_that_open_late_give_the_source_up_and_say_which_key() -> None:
    made: list[Call] = []
    with pytest.raises(OutsideCallingHours, match=r"manners\.calling_hours") as caught:
        ask(["19:00-06:00"], Clock(17, 59), made)
    assert made == []
    assert caught.value.key == "manners.calling_hours"
    for said in ("19:00-06:00", "60 phút", "outside the hours"):
        assert said in str(caught.value)


def test_when_the_hours_end_no_new_call_is_made_and_no_walk_forgives_it() -> None:
    made: list[Call] = []
    with pytest.raises(OutsideCallingHours):
        ask(["19:00-06:00"], Clock(5, 40), made, calls=5)
    # At 05:40 and 05:55; the third would be at 06:10.
    assert len(made) == 2


def test_a_pause_at_noon_is_waited_out_in_the_middle_of_a_walk() -> None:
    clock, made = Clock(11, 10), list[Call]()
    ask(["08:00-11:30", "12:00-17:00"], clock, made, calls=4)
    assert len(made) == 4
    # 11:10, 11:25, then from 11:40 until 12:00.
    assert clock.slept == timedelta(minutes=20)


def test_a_pace_of_one_call_in_two_seconds_is_kept() -> None:
    manners = HttpManners(requests_per_second=0.5, concurrency=4)

    async def send(call: Call) -> Reply:  # noqa: ARG001
        return Reply(200, {}, b"{}")

    async def run() -> float:
        began = time.perf_counter()
        await count(Loop.over(send, manners), Many(2))
        return time.perf_counter() - began

    assert asyncio.run(run()) >= 1.9


def test_a_check_says_at_once_that_it_is_outside_the_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTAL_USER", "a")
    monkeypatch.setenv("PORTAL_PASSWORD", "b")
    soon = datetime.now(ZONE) + timedelta(minutes=30)
    hours = f"{soon:%H:%M}-{soon + timedelta(minutes=1):%H:%M}"
    manners = HttpManners(calling_hours=(hours,), patience_minutes=60)
    settings = portal_settings().model_copy(update={"base_url": "http://127.0.0.1:9", "manners": manners})
    with pytest.raises(UnreachableSource, match=r"^sources\.portal\.manners\.calling_hours: ngoài giờ"):
        probe("portal", settings)
