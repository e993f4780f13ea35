"""What goes wrong on purpose, and when.

Belongs here: the table of faults, the schedule by seed, and the ASGI layer that plays them. Does not
belong here: anything a healthy server does.

Some faults need to know what the reply is about (`PLAYED_INSIDE`): the layer only says when, in the
request's scope under `SCOPE_KEY`, and the source itself plays them.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode

Kind = Literal[
    "too_many_requests",
    "internal_error",
    "bad_gateway",
    "unavailable",
    "slow_body",
    "truncated_json",
    "connection_reset",
    "login_page",
    "empty_search",
    "total_high",
    "total_low",
    "row_missing",
    "churn",
    "expired_token",
    "repeated_page",
    "count_high",
    "count_low",
]
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_LOGIN_PAGE = "<!DOCTYPE html><html><head><title>Đăng nhập</title></head><body><form></form></body></html>".encode()
PORTAL_LIST = "/portal/o/rest/v2/dossiers"
ONESTOP_LIST = "/onestop/pa/dossier/search"
#: These concern a list, so their path is the whole path of one.
_LIST_KINDS = frozenset(
    {
        "empty_search",
        "total_high",
        "total_low",
        "row_missing",
        "churn",
        "repeated_page",
        "count_high",
        "count_low",
    }
)
#: What the source plays itself.
#: total_high, total_low: the portal's second query counts one more, or one less, than its first one found.
#: row_missing: a row is being indexed anew and is left out of this reply; the total counts it.
#: churn: before this page of the one-stop a dossier changes and jumps to the front, or one that was
#: already read vanishes until the next walk, by turns (see `OnestopIndex.churn`).
PLAYED_INSIDE = frozenset({"total_high", "total_low", "row_missing", "churn"})
SCOPE_KEY = "sandbox.fault"
#: repeated_page: the page before the one that was asked for; count_high, count_low: the one-stop's counts are off by
#: one, and what follows from them (the last page) with them. These are played on the wire, whoever answers.
_COUNTS = re.compile(rb'"(totalElements|totalPages)":(\d+)')
_LAST = re.compile(rb'"last":(?:true|false)')


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong on every `every`-th request below `path`, at most `times` times if that is set."""

    kind: Kind
    every: int
    path: str = "/"
    times: int | None = None


#: What `--faults` switches on: a bad day, which a patient reader survives.
BAD_DAY = (
    Fault("too_many_requests", 71),
    Fault("internal_error", 97),
    Fault("bad_gateway", 113),
    Fault("unavailable", 131),
    Fault("slow_body", 211),
    Fault("truncated_json", 151),
    Fault("connection_reset", 173),
    Fault("login_page", 193),
    Fault("empty_search", 29, PORTAL_LIST),
    Fault("total_high", 31, PORTAL_LIST),
    Fault("total_low", 41, PORTAL_LIST),
    Fault("row_missing", 37, PORTAL_LIST),
    Fault("expired_token", 61, "/onestop/pa"),
    Fault("repeated_page", 43, PORTAL_LIST),
    Fault("repeated_page", 11, ONESTOP_LIST),
    Fault("count_low", 13, ONESTOP_LIST),
    Fault("count_high", 17, ONESTOP_LIST),
)
#: Dossiers jump and vanish under every other page of the one-stop, six in all: where it never ended, no walk
#: could. What jumped over a walk is found by the next night's, not before.
CHURN = (Fault("churn", 2, ONESTOP_LIST, times=6),)


@dataclass(frozen=True)
class FaultPlan:
    """Faults by schedule: the same seed and the same order of requests give the same faults."""

    faults: tuple[Fault, ...] = BAD_DAY
    seed: int = 3478
    slow_seconds: float = 1.0
    retry_after_seconds: int = 1

    def phases(self) -> list[int]:
        """At which request each fault begins."""
        drawn = random.Random(self.seed)
        return [drawn.randrange(fault.every) for fault in self.faults]


@dataclass
class FaultyApp:
    """An app behind a fault plan; the control endpoints below /sandbox never fail."""

    app: App
    plan: FaultPlan
    _counts: list[int] = field(init=False)
    _played: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.follow(self.plan)

    def follow(self, plan: FaultPlan) -> None:
        """Begin a plan."""
        self.plan, self._counts, self._played = plan, plan.phases(), [0] * len(plan.faults)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, well or badly."""
        kind = self._due(scope) if scope["type"] == "http" else None
        if kind is None:
            await self.app(scope, receive, send)
        elif kind in PLAYED_INSIDE:
            await self.app({**scope, SCOPE_KEY: kind}, receive, send)
        elif kind == "repeated_page":
            await self.app({**scope, "query_string": _page_before(scope["query_string"])}, receive, send)
        elif kind in ("slow_body", "truncated_json", "connection_reset", "count_high", "count_low"):
            await self._spoil(kind, scope, receive, send)
        else:
            await self._refuse(kind, send)

    def _due(self, scope: Scope) -> Kind | None:
        path = scope["path"]
        if path.startswith("/sandbox"):
            return None
        found: Kind | None = None
        for number, fault in enumerate(self.plan.faults):
            matches = path == fault.path if fault.kind in _LIST_KINDS else path.startswith(fault.path)
            if matches:
                self._counts[number] += 1
                if self._counts[number] % fault.every == 0 and found is None and self._is_left(number):
                    found = fault.kind
                    self._played[number] += 1
        return found

    def _is_left(self, number: int) -> bool:
        times = self.plan.faults[number].times
        return times is None or self._played[number] < times

    async def _refuse(self, kind: Kind, send: Send) -> None:
        json, html = (b"content-type", b"application/json"), (b"content-type", b"text/html;charset=UTF-8")
        retry = (b"retry-after", str(self.plan.retry_after_seconds).encode())
        status, headers, body = {
            "too_many_requests": (429, [json, retry], b'{"message":"Too Many Requests"}'),
            "internal_error": (500, [html], b"<html>500</html>"),
            "bad_gateway": (502, [html], b"<html>502 Bad Gateway</html>"),
            "unavailable": (503, [html, retry], b"<html>503 Service Unavailable</html>"),
            "login_page": (200, [html], _LOGIN_PAGE),
            # The portal logs a failed search and answers as if there were nothing.
            "empty_search": (200, [json], b'{"total":0,"data":[]}'),
            "expired_token": (401, [json, (b"www-authenticate", b"Bearer")], b'{"error":"invalid_token"}'),
        }[kind]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _spoil(self, kind: Kind, scope: Scope, receive: Receive, send: Send) -> None:
        kept: list[Message] = []

        async def keep(message: Message) -> None:
            """Hold a message back instead of sending it."""
            kept.append(message)

        await self.app(scope, receive, keep)
        start, body = kept[0], b"".join(message.get("body", b"") for message in kept[1:])
        if kind in ("count_high", "count_low"):
            body = _miscounted(body, 1 if kind == "count_high" else -1)
            headers = [pair for pair in start["headers"] if pair[0] != b"content-length"]
            await send({**start, "headers": [*headers, (b"content-length", str(len(body)).encode())]})
            await send({"type": "http.response.body", "body": body})
            return
        half = len(body) // 2
        if kind == "truncated_json":
            headers = [pair for pair in start["headers"] if pair[0] != b"content-length"]
            await send({**start, "headers": headers})
            await send({"type": "http.response.body", "body": body[:half]})
            return
        await send(start)
        await send({"type": "http.response.body", "body": body[:half], "more_body": True})
        if kind == "slow_body":
            await asyncio.sleep(self.plan.slow_seconds)
            await send({"type": "http.response.body", "body": body[half:]})
        # connection_reset: the rest never comes, and the server closes the connection.


def _page_before(query: bytes) -> bytes:
    """The same query for the page before: by page number, or by row offsets; the first page is its own."""
    parameters = dict(parse_qsl(query.decode(), keep_blank_values=True))
    if parameters.get("page", "").isdigit():
        parameters["page"] = str(max(int(parameters["page"]) - 1, 0))
    if parameters.get("start", "").isdigit() and parameters.get("end", "").isdigit():
        start, end = int(parameters["start"]), int(parameters["end"])
        rows = min(start, end - start)
        parameters |= {"start": str(start - rows), "end": str(end - rows)}
    return urlencode(parameters).encode()


def _miscounted(body: bytes, by: int) -> bytes:
    """A Spring page that counts wrongly, and believes it: one too few and the last full page looks like the end."""

    def off(match: re.Match[bytes]) -> bytes:
        return b'"%b":%d' % (match[1], max(int(match[2]) + by, 0))

    return _LAST.sub(b'"last":true' if by < 0 else b'"last":false', _COUNTS.sub(off, body))
