"""The national portal's adapter as its clients speak to it: log-in, session, and one address for all services.

Belongs here: what is the same for every service behind the adapter (sources chapter 3.1): settings, the session
that ends without warning, answers whose `error_code` is a number or text. Does not belong here: any service
(`catalogue.py`, `units.py`), nor the adapter as a receiver (`npsp_receiver.py`).
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Annotated

import msgspec
from pydantic import Field

from connectors.loop import Loop, Send, light_sender
from connectors.protocol import Call, Permanent, Reply, Transient, ensure_usable
from connectors.settings import BaseUrl, HttpManners, Strict, VariableName, secret

#: error_code of an answer that brings what was asked for.
SUCCESS = "0"
_OLD_SESSION = re.compile(r"session|phiên|token|đăng nhập", re.IGNORECASE)
_HEADERS = {"Charset": "utf-8", "Accept": "application/json", "Content-Type": "application/json"}


class AdapterSettings(Strict):
    """Where an adapter is, and who asks (sources chapter 3.1)."""

    #: adapter_url; the endpoints are paths below it.
    base_url: BaseUrl
    auth_endpoint: Annotated[str, Field(pattern="^/")]
    share_endpoint: Annotated[str, Field(pattern="^/")]
    username_env: VariableName
    password_env: VariableName
    #: Code of the unit that asks, and of the system that is asked.
    madonvi: str
    dstcode: str
    #: error_code of an answer that means "log in again"; its wording is looked at as well.
    stale_codes: tuple[str, ...] = ()
    manners: HttpManners = HttpManners()


class Answer(msgspec.Struct):
    """What the adapter answers, whatever was asked; `result` is the service's own."""

    error_code: str | int | float | None = None
    message: str | None = None
    session: str | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")

    @property
    def code(self) -> str:
        """error_code as text, whichever way this stack spells it."""
        code = self.error_code
        return str(int(code)) if isinstance(code, float) and code.is_integer() else str(code).strip()


_answers = msgspec.json.Decoder(Answer)


def answer_of(call: Call, reply: Reply) -> Answer:
    """The adapter's answer in a reply; `Transient` or `Permanent` when it is none."""
    ensure_usable(call, reply)
    try:
        return _answers.decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Transient(f"{call}: the answer is not one of the adapter's ({len(reply.body)} bytes)") from None


class Session:
    """Calls under a session: logged in before the first one, and once more when the session has grown old.

    The adapter keeps sessions for a day at most and says an old one in many ways: HTTP 401, a code, or words.
    """

    def __init__(self, send: Send, settings: AdapterSettings) -> None:
        self._send = send
        self._settings = settings
        self._token = ""
        self._lock = asyncio.Lock()

    async def send(self, call: Call) -> Reply:
        """Make one call, its parameters in the body; `Permanent` when a fresh session is refused too."""
        used = await self._session("")
        reply = await self._post(call, used)
        if self._is_old(reply):
            reply = await self._post(call, await self._session(used))
            if self._is_old(reply):
                raise Permanent(
                    f"{call}: refused under a fresh session", hint="Check dstcode and madonvi", key="dstcode"
                )
        return reply

    async def _session(self, old: str) -> str:
        """A session other than `old`; who comes second finds the one that the first got."""
        async with self._lock:
            if self._token == old:
                self._token = await self._log_in()
            return self._token

    async def _log_in(self) -> str:
        settings = self._settings
        call = Call(settings.auth_endpoint, method="POST")
        body = {"username": secret(settings.username_env), "password": secret(settings.password_env)}
        answer = answer_of(call, await self._request(call, body))
        if answer.code != SUCCESS or not answer.session:
            raise Permanent(
                f"{call}: log-in refused, error_code {answer.code}",
                hint=f"Check the variables {settings.username_env} and {settings.password_env}, and dstcode",
                key="username_env, password_env",
            )
        return answer.session

    async def _post(self, call: Call, session: str) -> Reply:
        return await self._request(call, {"session": session, "madonvi": self._settings.madonvi, **dict(call.params)})

    async def _request(self, call: Call, body: Mapping[str, str]) -> Reply:
        headers = tuple({**_HEADERS, "dstcode": self._settings.dstcode}.items())
        return await self._send(Call(call.path, headers=headers, method="POST", content=json.dumps(body).encode()))

    def _is_old(self, reply: Reply) -> bool:
        if reply.status == HTTPStatus.UNAUTHORIZED:
            return True
        try:
            answer = _answers.decode(reply.body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False
        stale = answer.code in self._settings.stale_codes or bool(_OLD_SESSION.search(answer.message or ""))
        return answer.code != SUCCESS and stale


@asynccontextmanager
async def open_adapter(settings: AdapterSettings) -> AsyncIterator[Loop]:
    """A loop whose calls are made under a session; `MissingSecret` when a variable of the settings is not set."""
    for variable in (settings.username_env, settings.password_env):
        secret(variable)
    async with light_sender(str(settings.base_url), settings.manners, headers={}) as send:
        yield Loop.over(Session(send, settings).send, settings.manners)
