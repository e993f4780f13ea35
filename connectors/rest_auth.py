"""Logging in to a REST system in the way that its profile names.

Belongs here: what is shown with each call, where it comes from, and which answer says that it is no longer
good. Does not belong here: when it is renewed (`tickets.py`), what is called, paging, retries (the shared loop).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import urlencode

import httpx
import msgspec

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
from connectors.tickets import Ticket, Ticketed, bearer, token_endpoint


class Access(Protocol):
    """What the province's file says for logging in: an address, and names of environment variables."""

    @property
    def token_url(self) -> Any:
        """Address that issues tokens."""

    @property
    def username_env(self) -> str | None:
        """Variable that holds the account's name."""

    @property
    def password_env(self) -> str | None:
        """Variable that holds its password."""

    @property
    def client_id_env(self) -> str | None:
        """Variable that holds the client's id (OAuth)."""

    @property
    def client_secret_env(self) -> str | None:
        """Variable that holds the client's secret; None for a public client."""

    @property
    def token_env(self) -> str | None:
        """Variable that holds a token or key that is sent as it is."""


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
            return Ticketed(send, _token(auth, access, timeout_seconds), bearer, key="client_id_env")
        case Session():
            login = {"username": _secret(access.username_env), "password": _secret(access.password_env)}
            codes = BodyCode(auth.error.path) if auth.error else _list_code(profile)
            return Ticketed(
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


def _token(
    auth: ClientCredentials | PasswordGrant, access: Access, timeout_seconds: float
) -> Callable[[], Awaitable[Ticket]]:
    """Fetches an OAuth2 token."""
    client_id = _secret(access.client_id_env)
    client_secret = secret(access.client_secret_env) if access.client_secret_env else None
    login = {}
    if isinstance(auth, PasswordGrant):
        login = {"username": _secret(access.username_env), "password": _secret(access.password_env)}
    client_auth = auth.client_auth
    if client_secret is not None and client_auth == "none":
        client_auth = "client_secret_basic"

    keys = ", ".join(NEEDED[auth.kind][1:])
    return token_endpoint(
        str(access.token_url),
        grant=auth.kind,
        client_id=client_id,
        client_secret=client_secret,
        client_auth=client_auth,
        scope=auth.scope,
        login=login,
        keys=keys,
        hint=f"Check token_url and the variables that hold {keys}",
        timeout_seconds=timeout_seconds,
    )


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
        return Ticket(session)

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
