"""The sandbox's province on loopback: portal, one-stop, message log and catalogue, with a clock that can be moved.

Belongs here: HTTP (log-in, tokens, pages, control), the process that serves, and the files written
beside it (truth, messages, catalogue, province file). Does not belong here: records and what is true.

The sources' addresses are those of provinces/dak-lak.yaml: portal below /portal/o/rest/v2, one-stop
below /onestop, catalogue below `catalogue.PREFIX`. It listens on loopback only, and says nothing until
everything is rendered.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import math
import multiprocessing
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import uvicorn
import yaml
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox import catalogue
from sandbox.broken import broken_records
from sandbox.faults import SCOPE_KEY, FaultPlan, FaultyApp
from sandbox.messages import MessageLog
from sandbox.onestop import OnestopIndex
from sandbox.population import DEFAULT_CLOCK, VIETNAM, Population, seconds
from sandbox.portal import PortalIndex
from sandbox.portal_search import PortalSearch
from sandbox.territory import PROVINCE_FOLDER
from sandbox.traits import DEFAULT, Traits

DEFAULT_PORT = 8765
#: What a reader of the sandbox must have in its environment; they open nothing but the sandbox.
ENVIRONMENT = {
    "THUOCDO_PORTAL_USERNAME": "thuocdo@sandbox.invalid",
    "THUOCDO_PORTAL_PASSWORD": "sandbox-portal",
    "THUOCDO_ONESTOP_CLIENT_ID": "thuocdo-sandbox",
    "THUOCDO_ONESTOP_CLIENT_SECRET": "sandbox-onestop",
    **catalogue.ENVIRONMENT,
}
TOKEN_SECONDS = 60
_MAX_PAGE = 1000
_PORTAL, _ONESTOP = "/portal/o/rest/v2", "/onestop"


class SandboxError(RuntimeError):
    """The sandbox cannot be served as asked; the text says what to do."""


@dataclass
class Practice:
    """The province at its clock: what the sources say, and the files in `home`."""

    population: Population
    home: Path
    clock: datetime = DEFAULT_CLOCK
    tokens: dict[str, float] = field(default_factory=dict)
    traits: Traits = DEFAULT

    def __post_init__(self) -> None:
        now, traits, broken = seconds(self.clock), self.traits, broken_records(self.population, self.traits.broken)
        portal, onestop, messages = (
            tuple(record for record in broken if record.breakage.source == source)
            for source in ("portal", "onestop", "messages")
        )
        zone = traits.index_zone_hours * 3600
        self.portal = PortalIndex(self.population, now, index_offset=zone, broken=portal)
        self.search = PortalSearch(self.portal, traits.scope)
        self.onestop = OnestopIndex(self.population, now, broken=onestop)
        self.log = MessageLog(self.population, self.home / "sandbox" / "messages", traits.personality, messages)
        self.log.write_history(self.clock)
        self.catalogue = catalogue.Catalogue(self.today)
        # Offices hand their observations in here; there are none unless someone does.
        (self.home / "observations").mkdir(parents=True, exist_ok=True)
        self._write_files()

    def today(self) -> date:
        """The day in Vietnam."""
        return self.clock.astimezone(VIETNAM).date()

    def advance(self, to: datetime) -> None:
        """Move the clock: render what changed, add the message files, write the new truth."""
        if to < self.clock:
            raise ValueError(f"the clock stands at {self.clock.isoformat()} and cannot go back to {to.isoformat()}")
        if self.traits.index_lag:
            self.search.fall_behind(self.portal.as_it_stands(), self.traits.index_lag)
        self.portal.update(seconds(to))
        self.onestop.update(seconds(to))
        self.search.forget()
        self.log.write(self.clock, to)
        self.clock = to
        self._write_files()

    def _write_files(self) -> None:
        self._write_truth()
        aside = self.home / "sandbox" / "catalogue.part"
        aside.write_text(catalogue.catalogue_csv(self.today()), encoding="utf-8", newline="")
        aside.replace(aside.with_suffix(".csv"))

    def _write_truth(self) -> None:
        folder = self.home / "sandbox" / "truth"
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in self.population.truth(self.clock).items():
            aside = folder / f"{name}.part"
            pq.write_table(table, aside)
            aside.replace(folder / f"{name}.parquet")
        keys = self.portal.broken_keys() + self.onestop.broken_keys() + self.log.broken_keys(seconds(self.clock))
        told = [record.told(key) for record, key in keys]
        (folder / "broken.json").write_text(json.dumps(told, ensure_ascii=False, indent=1), encoding="utf-8")

    def new_token(self) -> str:
        """A token that opens the one-stop for `TOKEN_SECONDS`."""
        now = time.monotonic()
        self.tokens = {token: until for token, until in self.tokens.items() if until > now}
        token = secrets.token_urlsafe(24)
        self.tokens[token] = now + TOKEN_SECONDS
        return token


def _json(body: bytes | str, status: int = 200) -> Response:
    return Response(body, status_code=status, media_type="application/json")


def _basic(header: str) -> tuple[str, str] | None:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return user, password


@dataclass(frozen=True)
class PortalEndpoints:
    """OpenCPS REST v2, as far as the list, a dossier, its files and its payment."""

    practice: Practice

    def _refusal(self, request: Request) -> Response | None:
        """203 for who is not logged in, 403 "No Content." for every other mistake; None when all is well."""
        known = (ENVIRONMENT["THUOCDO_PORTAL_USERNAME"], ENVIRONMENT["THUOCDO_PORTAL_PASSWORD"])
        if _basic(request.headers.get("authorization", "")) != known:
            return JSONResponse(
                {"message": "Non-Authoritative Information.", "code": 203, "description": ""}, status_code=203
            )
        if not request.headers.get("groupid", "").isdigit():
            return _no_content()
        return None

    async def dossiers(self, request: Request) -> Response:
        """`GET /dossiers`."""
        if refusal := self._refusal(request):
            return refusal
        site = int(request.headers["groupid"])
        fault = request.scope.get(SCOPE_KEY)
        return _json(self.practice.search.page(site, dict(request.query_params), fault))

    async def dossier(self, request: Request) -> Response:
        """`GET /dossiers/{id}`; an unknown one is an empty object, not an error."""
        if refusal := self._refusal(request):
            return refusal
        position = self.practice.portal.position(request.path_params["key"])
        return _json(b"{}" if position is None else self.practice.portal.records[position])

    async def files(self, request: Request) -> Response:
        """`GET /dossiers/{id}/files`."""
        if refusal := self._refusal(request):
            return refusal
        position = self.practice.portal.position(request.path_params["key"])
        return _no_content() if position is None else _json(self.practice.portal.files(position))

    async def payment(self, request: Request) -> Response:
        """`GET /dossiers/{id}/payment`."""
        if refusal := self._refusal(request):
            return refusal
        position = self.practice.portal.position(request.path_params["key"])
        return _no_content() if position is None else _json(self.practice.portal.payment(position))


def _no_content() -> Response:
    return JSONResponse({"message": "No Content.", "code": 403, "description": ""}, status_code=403)


@dataclass(frozen=True)
class OnestopEndpoints:
    """iGate v2: Keycloak's token endpoint, the dossier search, the fees by dossiers."""

    practice: Practice

    async def token(self, request: Request) -> Response:
        """Client credentials, by HTTP Basic or in the form."""
        form = dict(parse_qsl((await request.body()).decode()))
        given = _basic(request.headers.get("authorization", "")) or (
            form.get("client_id", ""),
            form.get("client_secret", ""),
        )
        if given != (ENVIRONMENT["THUOCDO_ONESTOP_CLIENT_ID"], ENVIRONMENT["THUOCDO_ONESTOP_CLIENT_SECRET"]):
            return JSONResponse(
                {"error": "unauthorized_client", "error_description": "Invalid client secret"}, status_code=401
            )
        if form.get("grant_type") != "client_credentials":
            return JSONResponse({"error": "unsupported_grant_type"}, status_code=400)
        granted = {"access_token": self.practice.new_token(), "expires_in": TOKEN_SECONDS, "refresh_expires_in": 0}
        return JSONResponse(granted | {"token_type": "Bearer", "not-before-policy": 0, "scope": "profile email"})

    def _refusal(self, request: Request) -> Response | None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.practice.tokens.get(token, 0.0) > time.monotonic():
            return None
        challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        return JSONResponse({"error": "invalid_token"}, status_code=401, headers=challenge)

    async def search(self, request: Request) -> Response:
        """`GET /pa/dossier/search`: a Spring page, or a slice that never says how many there are."""
        if refusal := self._refusal(request):
            return refusal
        query = request.query_params
        size = min(max(_number(query.get("size"), 10), 1), _MAX_PAGE)
        page = _number(query.get("page"), 0)
        if page == 0:
            self.practice.onestop.begin_walk()
        if request.scope.get(SCOPE_KEY) == "churn":
            self.practice.onestop.churn(page * size)
        found = self._found(query.get("code", ""), query.get("dossier-status", ""))
        if query.get("sort", "updatedDate,desc") == "updatedDate,asc":
            found = found[::-1]
        return _json(self._page(found, page, size, counted=query.get("spec", "page") != "slice"))

    def _found(self, code: str, statuses: str) -> list[int]:
        onestop = self.practice.onestop
        found = onestop.newest_first
        if code:
            position = onestop.position_by_code.get(code)
            found = [position] if position is not None and onestop.items[position] else []
        if statuses:
            wanted = set(statuses.split(","))
            found = [position for position in found if str(onestop.status[position]) in wanted]
        return found

    def _page(self, found: list[int], page: int, size: int, *, counted: bool) -> bytes:
        shown = found[page * size : (page + 1) * size]
        content = b",".join([self.practice.onestop.items[position] for position in shown])
        totals = b'"totalPages":%d,"totalElements":%d,' % (math.ceil(len(found) / size), len(found)) if counted else b""
        flags = [b"true" if flag else b"false" for flag in ((page + 1) * size >= len(found), page == 0, not shown)]
        return (
            b'{"content":[%b],"pageable":{"sort":{"sorted":true,"unsorted":false,"empty":false},"offset":%d,"pageNumber":%d,'
            b'"pageSize":%d,"paged":true,"unpaged":false},"last":%b,%b"size":%d,"number":%d,'
            b'"sort":{"sorted":true,"unsorted":false,"empty":false},"first":%b,"numberOfElements":%d,"empty":%b}'
        ) % (content, page * size, page, size, flags[0], totals, size, page, flags[1], len(shown), flags[2])

    async def fees(self, request: Request) -> Response:
        """`GET /pa/dossier-fee/--by-dossiers?dossier-ids=a,b`."""
        if refusal := self._refusal(request):
            return refusal
        identities = request.query_params.get("dossier-ids", "").split(",")
        lines = [line for identity in identities for line in self.practice.onestop.fees(identity)]
        return _json(f"[{','.join(lines)}]")


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isdigit() else default


@dataclass(frozen=True)
class ControlEndpoints:
    """The sandbox's own doors: is it there, what time is it, make it later."""

    practice: Practice

    async def health(self, _: Request) -> Response:
        """`GET /sandbox/health`."""
        return JSONResponse({"clock": self.practice.clock.isoformat(), "dossiers": len(self.practice.population)})

    async def clock(self, request: Request) -> Response:
        """`POST /sandbox/clock` with `{"at": "2026-11-02T00:00:00+07:00"}`."""
        try:
            at = datetime.fromisoformat((await request.json())["at"])
            seconds(at)  # refuses a time without zone
            self.practice.advance(at)
        except (KeyError, TypeError, ValueError) as error:
            return JSONResponse({"error": f'{error}; send {{"at": "2026-11-02T00:00:00+07:00"}}'}, status_code=400)
        return await self.health(request)


def application(practice: Practice) -> Starlette:
    """The app that serves a practice province."""
    portal, onestop, control = PortalEndpoints(practice), OnestopEndpoints(practice), ControlEndpoints(practice)
    return Starlette(
        routes=[
            Route(f"{_PORTAL}/dossiers/{{key}}/files", portal.files),
            Route(f"{_PORTAL}/dossiers/{{key}}/payment", portal.payment),
            Route(f"{_PORTAL}/dossiers", portal.dossiers),
            Route(f"{_PORTAL}/dossiers/{{key:path}}", portal.dossier),
            Route(f"{_ONESTOP}/pa/dossier/search", onestop.search),
            Route(f"{_ONESTOP}/pa/dossier-fee/--by-dossiers", onestop.fees),
            Route(f"{_ONESTOP}/auth/realms/digo/protocol/openid-connect/token", onestop.token, methods=["POST"]),
            *practice.catalogue.routes(),
            Route("/sandbox/health", control.health),
            Route("/sandbox/clock", control.clock, methods=["POST"]),
        ],
        middleware=[Middleware(GZipMiddleware, compresslevel=1)] if practice.traits.gzip else [],
    )


def _listener(host: str, port: int) -> socket.socket:
    address = "127.0.0.1" if host == "localhost" else host
    if not ipaddress.ip_address(address).is_loopback:
        raise SandboxError(f"the sandbox listens on loopback only, not on {host}; leave --host out")
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen(256)
    except OSError as error:
        listener.close()
        raise SandboxError(
            f"port {port} of {host} is in use ({error.strerror}); stop what listens there, or choose another port"
        ) from error
    return listener


def _free(host: str, port: int) -> None:
    """Refuse a port in use before the long work of rendering."""
    if port:
        _listener(host, port).close()


def _server(population: Population, home: Path, faults: FaultPlan | None, traits: Traits) -> uvicorn.Server:
    app = application(Practice(population, home, traits=traits))
    config = uvicorn.Config(
        FaultyApp(app, faults) if faults else app,
        access_log=False,
        log_level="critical",
        lifespan="off",
        server_header=False,
    )
    return uvicorn.Server(config)


def serve(
    population: Population,
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    home: Path,
    faults: FaultPlan | None = None,
    traits: Traits = DEFAULT,
) -> None:
    """Serve a population until interrupted; files go below `home`/sandbox.

    Raises `SandboxError` when the port is in use or the address is not loopback.
    """
    _free(host, port)
    server = _server(population, home, faults, traits)
    with _listener(host, port) as listener:
        server.run(sockets=[listener])


@dataclass(frozen=True)
class RunningSandbox:
    """A sandbox in another process."""

    base_url: str
    home: Path
    #: Province file with this sandbox's addresses.
    province_file: Path
    #: The secrets a reader must have in its environment.
    environment: dict[str, str]

    def advance(self, to: datetime) -> None:
        """Move the clock; message files and truth are written when this returns."""
        reply = httpx.post(f"{self.base_url}/sandbox/clock", json={"at": to.isoformat()}, timeout=120)
        if reply.status_code != httpx.codes.OK:
            raise ValueError(reply.json()["error"])

    def truth(self) -> dict[str, pa.Table]:
        """The truth at the clock: tables `dossier` and `payment`."""
        folder = self.home / "sandbox" / "truth"
        return {name: pq.read_table(folder / f"{name}.parquet") for name in ("dossier", "payment")}

    def broken(self) -> list[dict[str, Any]]:
        """The records that no reader can accept, as truth/broken.json tells them."""
        file = self.home / "sandbox" / "truth" / "broken.json"
        told: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
        return told


def write_province_file(home: Path, base_url: str) -> Path:
    """Write `home`/sandbox/dak-lak.yaml: the province with addresses at `base_url` and absolute paths."""
    source = PROVINCE_FOLDER.with_suffix(".yaml")
    province = yaml.safe_load(source.read_text(encoding="utf-8"))
    for name in ("departments", "agencies", "codes", "calendar", "sectors"):
        province[name] = str(source.parent / province[name])
    sources = province["sources"]
    sources["portal"]["base_url"] = f"{base_url}{_PORTAL}"
    sources["onestop"]["base_url"] = f"{base_url}{_ONESTOP}"
    sources["onestop"]["token_url"] = f"{base_url}{_ONESTOP}/auth/realms/digo/protocol/openid-connect/token"
    sources["messages"]["folder"] = str(home / "sandbox" / "messages")
    province["observations"] = str(home / province["observations"])
    service, file = province["catalogue"]
    service["base_url"] = f"{base_url}{catalogue.PREFIX}"
    file["path"] = str(home / file["path"])
    for units in province["units"]:
        units["base_url"] = service["base_url"]
    target = home / "sandbox" / "dak-lak.yaml"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(yaml.safe_dump(province, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return target


def _serve_for_parent(
    population: Population, home: Path, port: int, *, faults: FaultPlan | None, traits: Traits, parent: Connection
) -> None:
    """The other process: report the port once ready, serve until the parent lets go of the pipe."""
    try:
        _free("127.0.0.1", port)
        server = _server(population, home, faults, traits)
        listener = _listener("127.0.0.1", port)
    except SandboxError as error:
        parent.send(("error", str(error)))
        return

    def watch() -> None:
        """Wait for the other end of the pipe to close, then stop the server."""
        try:
            parent.recv()
        except EOFError:
            server.should_exit = True

    threading.Thread(target=watch, daemon=True).start()
    parent.send(("ready", listener.getsockname()[1]))
    server.run(sockets=[listener])


@contextmanager
def running_sandbox(
    population: Population,
    *,
    home: Path,
    port: int = 0,
    faults: FaultPlan | None = None,
    traits: Traits = DEFAULT,
) -> Iterator[RunningSandbox]:
    """Serve a population from another process, so that it does not share the interpreter with its reader.

    Port 0 takes any free one. Raises `SandboxError` when it cannot be served.
    """
    home = home.resolve()
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(
        target=_serve_for_parent,
        args=(population, home, port),
        kwargs={"faults": faults, "traits": traits, "parent": there},
        daemon=True,
    )
    process.start()
    there.close()
    try:
        kind, value = here.recv()
        if kind == "error":
            raise SandboxError(value)
        base_url = f"http://127.0.0.1:{value}"
        yield RunningSandbox(base_url, home, write_province_file(home, base_url), dict(ENVIRONMENT))
    except EOFError:
        raise SandboxError("the sandbox's process ended before it was ready; its error is above") from None
    finally:
        here.close()
        process.join(timeout=10)
        if process.is_alive():
            process.terminate()
            process.join()
