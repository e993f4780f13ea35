"""The loop against a real server that misbehaves: retries, pauses and tokens are only true on a socket."""

# ruff: noqa: ARG001, ARG002  an endpoint takes a request whether it looks at it or not
from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
import stamina
import uvicorn
from stamina.instrumentation import RetryDetails, set_on_retry_hooks
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from connectors import igate, igate_records, opencps
from connectors.loop import Loop, light_sender
from connectors.protocol import Call, Permanent, Reply, Step, Transient, Walk, ensure_usable
from connectors.settings import HttpManners, IGateSettings
from tests.connectors.test_igate import START, row
from tests.connectors.test_opencps import settings as portal_settings

Endpoint = Callable[[Request], Awaitable[Response]]
MANNERS = HttpManners(requests_per_second=1000, concurrency=3, attempts=3, timeout_seconds=5)


@contextmanager
def serving(*routes: Route) -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = uvicorn.Server(uvicorn.Config(Starlette(routes=list(routes)), log_level="critical", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


class Script:
    """Answers `/x` with each response in turn, then for ever with a good one."""

    def __init__(self, *responses: Response) -> None:
        self.responses = list(responses)
        self.served = 0

    async def __call__(self, request: Request) -> Response:
        self.served += 1
        return self.responses.pop(0) if self.responses else JSONResponse({"n": 1})


class Single(Walk):
    """One call whose answer must be JSON."""

    def begin(self) -> list[Call]:
        return [Call("/x", (("secret", "canary-in-parameters"),))]

    def accept(self, call: Call, reply: Reply) -> Step:
        ensure_usable(call, reply)
        try:
            msgspec.json.decode(reply.body)
        except msgspec.DecodeError:
            raise Transient(f"{call}: cut off") from None
        return Step([reply.body])


def fetch(script: Script) -> list[bytes]:
    async def run(url: str) -> list[bytes]:
        async with light_sender(url, MANNERS, headers={"Authorization": "canary-in-headers"}) as send:
            return [bytes(record) async for step in Loop.over(send, MANNERS).run(Single()) for record in step.records]

    async def endpoint(request: Request) -> Response:
        return await script(request)

    with serving(Route("/x", endpoint)) as url:
        return asyncio.run(run(url))


@pytest.fixture
def waits() -> Iterator[list[float]]:
    """The pauses that stamina made."""
    seen: list[float] = []

    def note(details: RetryDetails) -> None:
        seen.append(details.wait_for)

    set_on_retry_hooks([note])
    yield seen
    set_on_retry_hooks(None)


@pytest.mark.parametrize(
    "bad",
    [
        Response(status_code=500),
        Response(status_code=502),
        Response(status_code=503),
        Response(b'{"n":', media_type="application/json"),
        Response("<html>Đăng nhập</html>", media_type="text/html"),
    ],
    ids=["500", "502", "503", "truncated", "web page"],
)
def test_a_passing_failure_is_tried_again(bad: Response) -> None:
    with stamina.set_testing(True, attempts=3):
        script = Script(bad, bad)
        assert fetch(script) == [b'{"n":1}']
        assert script.served == 3


def test_the_servers_own_wish_for_a_pause_is_honoured(waits: list[float]) -> None:
    assert fetch(Script(Response(status_code=429, headers={"Retry-After": "1"}))) == [b'{"n":1}']
    assert waits == [1.0]


def test_an_absurd_wish_is_not_obeyed(waits: list[float]) -> None:
    fetch(Script(Response(status_code=503, headers={"Retry-After": "86400"})))
    assert waits[0] < 30


def test_after_the_last_try_the_error_says_what_was_tried_and_no_secret() -> None:
    script = Script(*[Response(b"canary-in-body", status_code=500)] * 9)
    with stamina.set_testing(True, attempts=3), pytest.raises(Transient, match=r"GET /x answered HTTP 500") as caught:
        fetch(script)
    assert script.served == 3
    assert "canary" not in str(caught.value)


def test_what_will_not_pass_is_not_tried_again() -> None:
    script = Script(*[Response(status_code=404)] * 2)
    with pytest.raises(Permanent):
        fetch(script)
    assert script.served == 1


def test_nobody_there_is_transient_and_does_not_show_the_address() -> None:
    async def run() -> None:
        async with light_sender("http://127.0.0.1:9", MANNERS, headers={}) as send:
            async for _ in Loop.over(send, MANNERS).run(Single()):
                pass

    with stamina.set_testing(True, attempts=2), pytest.raises(Transient, match="ConnectError") as caught:
        asyncio.run(run())
    assert "canary" not in str(caught.value)


def test_no_more_calls_at_once_than_agreed() -> None:
    under_way, most = 0, 0

    async def slow(request: Request) -> Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.02)
        under_way -= 1
        return JSONResponse({})

    class Many(Single):
        def begin(self) -> list[Call]:
            return [Call("/x")] * 20

    async def run(url: str) -> int:
        async with light_sender(url, MANNERS, headers={}) as send:
            return len([step async for step in Loop.over(send, MANNERS).run(Many())])

    with serving(Route("/x", slow)) as url:
        assert asyncio.run(run(url)) == 20
    assert most == 3


class OneStopServer:
    """Tokens that end after a few searches, whatever their stated life."""

    def __init__(self, *, good_for: int, expires_in: int = 300, pause: float = 0) -> None:
        self.good_for, self.expires_in, self.pause = good_for, expires_in, pause
        self.refused = 0
        self.tokens = 0
        self.left = 0

    async def token(self, request: Request) -> Response:
        self.tokens += 1
        self.left = self.good_for
        return JSONResponse({"access_token": f"t{self.tokens}", "expires_in": self.expires_in, "token_type": "Bearer"})

    async def search(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer t{self.tokens}" or self.left == 0:
            self.refused += 1
            return JSONResponse({"error": "invalid_token"}, status_code=401)
        await asyncio.sleep(self.pause)
        self.left -= 1
        number = int(request.query_params["page"])
        return JSONResponse({"content": [row(f"d{number}", 50 - number)], "totalPages": 5, "totalElements": 5})


def walk_onestop(server: OneStopServer, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> list[str]:
    monkeypatch.setenv("CLIENT_ID", "thuocdo")
    monkeypatch.setenv("CLIENT_SECRET", "canary-secret")

    async def run(url: str) -> list[str]:
        settings = IGateSettings.model_validate(
            {
                "kind": "igate",
                "base_url": url,
                "token_url": f"{url}/token",
                "client_id_env": "CLIENT_ID",
                "client_secret_env": "CLIENT_SECRET",
                "manners": MANNERS.model_dump(),
                **changes,
            }
        )
        async with igate.connect(settings) as onestop:
            pages = onestop.loop.pages(igate.SearchWalk(START, settings), igate_records.read_items)
            return [name async for page in pages for name in page.records["id"].to_pylist()]

    routes = Route("/token", server.token, methods=["POST"]), Route("/pa/dossier/search", server.search)
    with serving(*routes) as url:
        return asyncio.run(run(url))


def test_a_token_that_ends_mid_walk_is_renewed_and_no_page_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    server = OneStopServer(good_for=2)
    assert walk_onestop(server, monkeypatch) == ["d0", "d1", "d2", "d3", "d4"]
    assert server.tokens == 3


def test_a_token_is_renewed_before_its_stated_end(monkeypatch: pytest.MonkeyPatch) -> None:
    server = OneStopServer(good_for=99, expires_in=2, pause=0.5)
    assert len(walk_onestop(server, monkeypatch)) == 5
    assert server.tokens > 1
    assert server.refused == 0


def test_a_fresh_token_that_opens_nothing_is_final(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Permanent, match="refused right after a login"):
        walk_onestop(OneStopServer(good_for=0), monkeypatch)


@pytest.mark.parametrize(
    "reply",
    [
        JSONResponse({"message": "Too Many Requests"}, status_code=429, headers={"Retry-After": "0"}),
        JSONResponse({"error": "busy"}, status_code=503),
        JSONResponse({"message": "no token here"}),
        JSONResponse({"access_token": None}),
        JSONResponse(["no object"]),
        HTMLResponse("<html>Đăng nhập</html>"),
        HTMLResponse("<html>502</html>", status_code=502),
    ],
)
def test_whatever_a_token_endpoint_answers_instead_of_a_token_is_asked_again(
    reply: Response, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stumbling(OneStopServer):
        async def token(self, request: Request) -> Response:
            if self.tokens in (1, 2):
                self.tokens += 1
                return reply
            return await super().token(request)

    server = Stumbling(good_for=2)
    assert walk_onestop(server, monkeypatch) == ["d0", "d1", "d2", "d3", "d4"]
    assert server.tokens == 5


def test_a_refused_client_names_the_variables_and_not_their_content(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(OneStopServer):
        async def token(self, request: Request) -> Response:
            return JSONResponse({"error": "unauthorized_client"}, status_code=401)

    with pytest.raises(Permanent, match="CLIENT_SECRET") as caught:
        walk_onestop(Refusing(good_for=1), monkeypatch)
    assert "canary" not in str(caught.value)


def test_a_whole_month_of_the_portal_through_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    async def dossiers(request: Request) -> Response:
        start, end = int(request.query_params["start"]), int(request.query_params["end"])
        rows = [{"dossierId": number} for number in range(1, 8)]
        return JSONResponse({"total": 7, "data": rows[start:end]})

    async def run(url: str) -> set[int]:
        settings = portal_settings().model_copy(update={"base_url": url})
        monkeypatch.setenv("PORTAL_USER", "a")
        monkeypatch.setenv("PORTAL_PASSWORD", "b")
        async with opencps.connect(settings) as portal:
            walk = opencps.ListWalk([opencps.Slice(7, "submit", START.date(), START.date())], settings)
            steps = [step async for step in portal.loop.run(walk)]
        return {msgspec.json.decode(record)["dossierId"] for step in steps for record in step.records}

    with serving(Route("/dossiers", dossiers)) as url:
        assert asyncio.run(run(url)) == set(range(1, 8))


def test_a_proxy_that_the_environment_names_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        asked.extend(head.split("\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n" + b'{"n":1}')
        await writer.drain()
        writer.close()

    async def run() -> bytes:
        proxy = await asyncio.start_server(relay, "127.0.0.1", 0)
        port = proxy.sockets[0].getsockname()[1]
        monkeypatch.setenv("http_proxy", f"http://user:word@127.0.0.1:{port}")
        monkeypatch.delenv("no_proxy", raising=False)
        async with proxy, light_sender("http://source.invalid/rest", MANNERS, headers={}) as send:
            return (await send(Call("/dossiers", (("ids", "a,b"), ("unit", "Xã Ea"))))).body

    assert asyncio.run(run()) == b'{"n":1}'
    assert asked[0] == "GET http://source.invalid/rest/dossiers?ids=a,b&unit=X%C3%A3+Ea HTTP/1.1"
    assert "Proxy-Authorization: Basic dXNlcjp3b3Jk" in asked


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/dossiers/7", "/rest/dossiers/7"),
        ("/dossiers/H15.1-26/á b", "/rest/dossiers/H15.1-26/%C3%A1%20b"),
        ("/list?page=2&at=1%2F2", "/rest/list?page=2&at=1%2F2"),
        ("", "/rest"),
    ],
)
def test_a_path_goes_on_the_wire_as_an_address_must(path: str, target: str) -> None:
    async def echo(request: Request) -> Response:
        query = f"?{request.url.query}" if request.url.query else ""
        return Response(request.scope["raw_path"].decode() + query)

    async def run(url: str) -> str:
        async with light_sender(f"{url}/rest/", MANNERS, headers={}) as send:
            return (await send(Call(path))).body.decode()

    with serving(Route("/{path:path}", echo)) as url:
        assert asyncio.run(run(url)) == target
