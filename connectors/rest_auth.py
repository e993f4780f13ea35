"""Logging in to a REST system in the way that its profile names.

Belongs here: what is shown with each call, when it is fetched anew, and which answer says that it is no
longer good. Does not belong here: what is called, paging, retries (the shared loop does them).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import urlencode

import httpx
import msgspec
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client

from connectors.loop import Send
from connectors.protocol import Call, Permanent, Reply, Transient, ensure_usable
from connectors.rest_path import Column, Path, Shape, text
from connectors.rest_profile import (
    BasicAuth,
    ClientCredentials,
    ErrorCode,
    HeaderAuth,
    PasswordGrant,
    RestProfile,
    Session,
    filled,
)
from connectors.settings import secret

#: A token is renewed so long before it ends, but never before nine tenths of a short life are over.
_LEEWAY_SECONDS = 30.0


class Access(Protocol):
    """What the province's file says for logging in: an address, and names of environment variables."""

    @property
    def token_url(self) -> Any: ...  # noqa: D102
    @property
    def username_env(self) -> str | None: ...  # noqa: D102
    @property
    def password_env(self) -> str | None: ...  # noqa: D102
    @property
    def client_id_env(self) -> str | None: ...  # noqa: D102
    @property
    def client_secret_env(self) -> str | None: ...  # noqa: D102
    @property
    def token_env(self) -> str | None: ...  # noqa: D102


#: Kind of login → keys that the province's file must have for it.
NEEDED: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "basic": ("username_env", "password_env"),
    "header": ("token_env",),
    "client_credentials": ("token_url", "client_id_env", "client_secret_env"),
    "password": ("token_url", "client_id_env", "username_env", "password_env"),
    "session": ("username_env", "password_env"),
}


class BodyCode:
    """Reads the code by which a reply says, under status 200, how it went."""

    def __init__(self, path: str) -> None:
        shape = Shape()
        read = Path.of(path)
        shape.add(read.steps)
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(shape.type())
        self._column = Column.of(read, shape)

    def of(self, body: bytes) -> str | None:
        """The code as text; None where there is none, or no JSON."""
        try:
            return text(next(self._column.found(self._decoder.decode(body)), None))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None


def code_texts(codes: tuple[Any, ...]) -> frozenset[str]:
    """Codes of a profile as text: a system sends the same one as 0 and as "0"."""
    return frozenset(said for code in codes if (said := text(code)) is not None)


def ensure_well(call: Call, reply: Reply, error: ErrorCode | None, *, key: str = "profile") -> None:
    """Raise `Transient` where a reply with status 200 says that it is an error; the code alone is told."""
    if error is None:
        return
    code = BodyCode(error.path).of(reply.body)
    if code is not None and code not in code_texts(error.ok):
        raise Transient(f"{call}: the answer says error {code[:20]!r} at {error.path}", key=key)


def signed(send: Send, profile: RestProfile, access: Access, *, base_path: str, timeout_seconds: float) -> Send:
    """`send`, which makes calls below the server and not below `base_path`, with what the profile's login shows.

    `MissingSecret` when a variable is not set.
    """
    auth = profile.auth
    match auth:
        case BasicAuth():
            pair = httpx.BasicAuth(_secret(access.username_env), _secret(access.password_env))
            request = next(pair.auth_flow(httpx.Request("GET", "http://unused.invalid")))
            return _with_headers(send, {"Authorization": request.headers["Authorization"]})
        case HeaderAuth():
            return _with_headers(send, {auth.name: f"{auth.prefix}{_secret(access.token_env)}"})
        case ClientCredentials() | PasswordGrant():
            return _Kept(send, _token(auth, access, timeout_seconds), _bearer, key="client_id_env")
        case Session():
            login = {"username": _secret(access.username_env), "password": _secret(access.password_env)}
            codes = BodyCode(auth.error.path) if auth.error else _list_code(profile)
            return _Kept(
                send,
                _session(send, auth, login, base_path),
                lambda call, session: _with_session(call, auth, session),
                key="username_env, password_env",
                is_over=lambda reply: codes is not None and codes.of(reply.body) in code_texts(auth.expired),
            )
    return send


def _secret(variable: str | None) -> str:
    if variable is None:
        raise ValueError("a key that names an environment variable is missing; the settings have refused this")
    return secret(variable)


def _list_code(profile: RestProfile) -> BodyCode | None:
    return BodyCode(profile.list.error.path) if profile.list.error else None


def _with_headers(send: Send, headers: Mapping[str, str]) -> Send:
    async def send_so(call: Call) -> Reply:
        return await send(replace(call, headers=(*call.headers, *headers.items())))

    return send_so


@dataclass(frozen=True)
class Ticket:
    """What a login gave, and the monotonic instant from which it is not relied on."""

    text: str
    until: float


def _never(reply: Reply) -> bool:  # noqa: ARG001  a reply of a system whose tickets end by the clock and by 401
    return False


@dataclass
class _Kept:
    """Calls with a ticket that is fetched before the first call, before it ends, and once more when it is refused."""

    send: Send
    fetch: Callable[[], Awaitable[Ticket]]
    shown: Callable[[Call, str], Call]
    key: str
    is_over: Callable[[Reply], bool] = _never
    _ticket: Ticket | None = None
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def __call__(self, call: Call) -> Reply:
        ticket = await self._good(None)
        reply = await self.send(self.shown(call, ticket.text))
        if self._refused(reply):
            ticket = await self._good(ticket)
            reply = await self.send(self.shown(call, ticket.text))
        if self._refused(reply):
            raise Permanent(
                f"{call}: refused right after a login (HTTP {reply.status})",
                hint="Check that this account may read dossiers",
                key=self.key,
            )
        return reply

    def _refused(self, reply: Reply) -> bool:
        is_read = HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES
        return reply.status == HTTPStatus.UNAUTHORIZED or (is_read and self.is_over(reply))

    async def _good(self, refused: Ticket | None) -> Ticket:
        """A ticket other than the refused one; calls that find out together log in once."""
        async with self._one:
            held = self._ticket
            if held is None or held is refused or time.monotonic() >= held.until:
                held = self._ticket = await self.fetch()
            return held


def _bearer(call: Call, token: str) -> Call:
    return replace(call, headers=(*call.headers, ("Authorization", f"Bearer {token}")))


def _token(
    auth: ClientCredentials | PasswordGrant, access: Access, timeout_seconds: float
) -> Callable[[], Awaitable[Ticket]]:
    """Fetch an OAuth2 token by Authlib."""
    client_id = _secret(access.client_id_env)
    client_secret = secret(access.client_secret_env) if access.client_secret_env else None
    login = {}
    if isinstance(auth, PasswordGrant):
        login = {"username": _secret(access.username_env), "password": _secret(access.password_env)}
    client_auth = auth.client_auth
    if client_secret is not None and client_auth == "none":
        client_auth = "client_secret_basic"

    async def fetch() -> Ticket:
        client = AsyncOAuth2Client(
            client_id=client_id,
            client_secret=client_secret,
            token_endpoint_auth_method=client_auth,
            scope=auth.scope,
            timeout=timeout_seconds,
        )
        async with client:
            token = await _asked(client.fetch_token(str(access.token_url), grant_type=auth.kind, **login), auth.kind)
        life = float(token.get("expires_in") or 0)
        until = time.monotonic() + life - min(_LEEWAY_SECONDS, life / 10) if life else float("inf")
        return Ticket(token["access_token"], until)

    return fetch


async def _asked(asking: Awaitable[Any], kind: str) -> Any:
    """Await a token; what its endpoint can answer becomes one of our errors."""
    try:
        token = await asking
        return token if token["access_token"] else None
    except OAuthError as error:
        raise Permanent(
            f"the token endpoint refused: {error.error}",
            hint=f"Check token_url and the variables that hold {', '.join(NEEDED[kind][1:])}",
            key=", ".join(NEEDED[kind][1:]),
        ) from None
    except httpx.HTTPStatusError as error:
        raise Transient(f"the token endpoint answered HTTP {error.response.status_code}", key="token_url") from None
    except httpx.TransportError as error:
        raise Transient(f"the token endpoint: {type(error).__name__}", key="token_url") from None
    except (ValueError, KeyError, TypeError):
        raise Transient("the token endpoint answered no token", key="token_url") from None


def _session(send: Send, auth: Session, login: Mapping[str, str], base_path: str) -> Callable[[], Awaitable[Ticket]]:
    """Make the login call of a session."""
    body = filled(auth.body, login)
    is_json = auth.send == "json"
    content = msgspec.json.encode(body) if is_json else urlencode(body).encode()
    kind = "application/json" if is_json else "application/x-www-form-urlencoded"
    headers = (("Content-Type", kind), ("Accept", "application/json"), *auth.headers.items())
    call = Call(f"{base_path}{auth.path}", headers=headers, method="POST", content=content)
    read = BodyCode(auth.session)

    async def fetch() -> Ticket:
        reply = await send(call)
        if reply.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise _refused_login(f"HTTP {reply.status}")
        ensure_usable(call, reply)
        code = BodyCode(auth.error.path).of(reply.body) if auth.error else None
        if auth.error and code is not None and code not in code_texts(auth.error.ok):
            raise _refused_login(f"error {code[:20]!r}")
        session = read.of(reply.body)
        if not session:
            raise Transient(f"{call}: the login answered no session at {auth.session}", key="profile")
        return Ticket(session, float("inf"))

    return fetch


def _refused_login(how: str) -> Permanent:
    return Permanent(
        f"the login was refused with {how}",
        hint="Check the variables that hold username_env and password_env",
        key="username_env, password_env",
    )


def _with_session(call: Call, auth: Session, session: str) -> Call:
    if auth.put == "header":
        return replace(call, headers=(*call.headers, (auth.name, f"{auth.prefix}{session}")))
    if auth.put == "query":
        return replace(call, params=(*call.params, (auth.name, session)))
    body = msgspec.json.decode(call.content or b"{}", type=dict[str, msgspec.Raw])
    content = msgspec.json.encode({auth.name: msgspec.Raw(msgspec.json.encode(session)), **body})
    return replace(call, content=content)
