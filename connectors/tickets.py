"""What a login gives, and its renewal: fetched before the first call, before it ends, and when it is refused.

Belongs here: one ticket shared by all calls of a source, and OAuth2's token endpoint (Authlib reads it). Does not
belong here: which login a system has (`igate.py`, `rest_auth.py`), retries (the shared loop does them).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

import httpx
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client

from connectors.loop import Send
from connectors.protocol import Call, Permanent, Reply, SourceError, Transient, ensure_usable

#: A token is renewed so long before it ends, but never before nine tenths of a short life are over.
_LEEWAY_SECONDS = 30.0
#: Answers with which a token endpoint refuses in OAuth's own words (RFC 6749, 5.2): Authlib reads those.
_REFUSALS = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


@dataclass(frozen=True)
class Ticket:
    """What a login gave, and the monotonic instant from which it is not relied on."""

    text: str
    until: float = float("inf")


def _never(reply: Reply) -> bool:  # noqa: ARG001  a reply of a system whose tickets end by the clock and by 401
    return False


@dataclass
class Ticketed:
    """`send` with a ticket, fetched when there is none, when it ends, and once more when a call is refused."""

    send: Send
    fetch: Callable[[], Awaitable[Ticket]]
    #: A call with the ticket's text in it.
    shown: Callable[[Call, str], Call]
    #: The configuration keys that are the likeliest at fault when a fresh ticket is refused.
    key: str
    #: Whether a reply with a good status says that the ticket is over.
    is_over: Callable[[Reply], bool] = _never
    _ticket: Ticket | None = None
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def __call__(self, call: Call) -> Reply:
        """Make `call`; `Permanent` when it is refused right after a login."""
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


def bearer(call: Call, token: str) -> Call:
    """`call` with a token in its header (RFC 6750, 2.1)."""
    return replace(call, headers=(*call.headers, ("Authorization", f"Bearer {token}")))


def token_endpoint(
    url: str,
    *,
    grant: str,
    client_id: str,
    client_secret: str | None,
    keys: str,
    hint: str,
    timeout_seconds: float,
    client_auth: str = "client_secret_basic",
    scope: str | None = None,
    login: Mapping[str, str] | None = None,
) -> Callable[[], Awaitable[Ticket]]:
    """Fetches tokens at `url` by `grant`; `keys` and `hint` are what a refusal is told with.

    The fetch raises `Permanent` when the endpoint refuses (a wrong password is not tried again: accounts get
    locked) and `Transient` for what may pass; neither quotes what was sent.
    """

    async def fetch() -> Ticket:
        """One token, by a client of its own; `Permanent` or `Transient`."""
        client = AsyncOAuth2Client(
            client_id=client_id,
            client_secret=client_secret,
            token_endpoint_auth_method=client_auth,
            scope=scope,
            timeout=timeout_seconds,
        )
        client.register_compliance_hook("access_token_response", _ensure_answered)
        async with client:
            return _ticket(await _asked(client.fetch_token(url, grant_type=grant, **(login or {})), keys, hint))

    return fetch


def _ensure_answered(response: httpx.Response) -> httpx.Response:
    """Only what the endpoint says for itself reaches Authlib, which takes any JSON object for a token."""
    if response.status_code not in _REFUSALS:
        try:
            call = Call(response.request.url.path, method=response.request.method)
            ensure_usable(call, Reply(response.status_code, response.headers, response.content))
        except SourceError as error:
            error.key = "token_url"
            raise
    return response


async def _asked(asking: Awaitable[Any], keys: str, hint: str) -> Any:
    """Await a token; what its endpoint can answer becomes one of our errors."""
    try:
        return await asking
    except OAuthError as error:
        raise Permanent(f"the token endpoint refused: {error.error}", hint=hint, key=keys) from None
    except httpx.HTTPStatusError as error:
        raise Transient(f"the token endpoint answered HTTP {error.response.status_code}", key="token_url") from None
    except httpx.TransportError as error:
        raise Transient(f"the token endpoint: {type(error).__name__}", key="token_url") from None
    except ValueError:
        raise Transient("the token endpoint answered no token", key="token_url") from None


def _ticket(token: Mapping[str, Any]) -> Ticket:
    text = token.get("access_token")
    if not text or not isinstance(text, str):
        raise Transient("the token endpoint answered no token", key="token_url")
    try:
        life = float(token.get("expires_in") or 0)
    except (TypeError, ValueError):
        life = 0.0
    return Ticket(text, time.monotonic() + life - min(_LEEWAY_SECONDS, life / 10) if life else float("inf"))
