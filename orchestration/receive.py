"""The receiver of national-portal messages as an HTTP service.

Belongs here: reading bodies within limits, handing them to the protocol and the journal, sending the
answers, what is logged, starting and stopping. Does not belong here: the protocol, the journal
(`connectors/npsp_receiver*.py`), printing (`commands/receive.py`).

The log says who sent how many records to which service and what came of them; never an address, a
body, a code of a dossier or the text of an error.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
import traceback
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import uvicorn
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from connectors.npsp_log import MessageLog
from connectors.npsp_receiver import Answer, Code, Received, Receiver
from connectors.npsp_receiver_journal import OWN_FOLDER, ZONE, FolderInUseError, Journal, NotStoredError, journals
from connectors.npsp_receiver_queue import CommitQueue
from connectors.npsp_receiver_records import Refused
from connectors.receiver_settings import ReceiverSettings
from connectors.settings import MessageLogSettings, MissingSecret, secret
from connectors.sources import SourceSettings
from orchestration.settings import ConfigurationError, Home, Province
from warehouse.database import Database

log = logging.getLogger("thuocdo.receiver")

#: Removes what is no longer needed, and says how many files that were.
Tidy = Callable[[], int]

_DAY_SECONDS = 24 * 3600
#: A body that is too large is read to its end, so that the sender can read the answer, but not beyond this multiple.
_READ_BEYOND = 8


class _RefusedBodyError(Exception):
    """The body was not taken."""

    def __init__(self, code: Code) -> None:
        super().__init__(code.name)
        self.code = code


class _Service:
    """The handlers of one running receiver."""

    def __init__(self, settings: ReceiverSettings, receiver: Receiver, journal: Journal, tidy: Tidy) -> None:
        self._settings, self._receiver, self._journal, self._tidy = settings, receiver, journal, tidy
        self._queue = CommitQueue(journal)

    @asynccontextmanager
    async def life(self, _: Starlette) -> AsyncIterator[None]:
        """Store while the application lives; what is in hand at its end is stored, then the journal is closed."""
        async with self._queue:
            tidying = asyncio.create_task(self._tidy_daily())
            yield
            tidying.cancel()
            await asyncio.gather(tidying, return_exceptions=True)
        self._journal.close()

    async def _tidy_daily(self) -> None:
        while True:
            try:
                if removed := await asyncio.to_thread(self._tidy):
                    log.info("removed journal files that were read: %d", removed)
            except (OSError, SQLAlchemyError) as error:
                log.warning("journal files are kept for now: %s", type(error).__name__)
            await asyncio.sleep(_DAY_SECONDS)

    async def log_in(self, request: Request) -> Response:
        """Log in to the adapter."""
        try:
            body = await self._body(request)
        except _RefusedBodyError as error:
            return _response(self._receiver.failed(error.code))
        answer = self._receiver.log_in(body, dstcode=request.headers.get("dstcode"))
        log.info("log-in code=%d", answer.code)
        return _response(answer)

    async def call(self, request: Request) -> Response:
        """Call the adapter."""
        try:
            body = await self._body(request)
        except _RefusedBodyError as error:
            return _response(self._receiver.failed(error.code))
        return await self._answered(self._receiver.call(body, dstcode=request.headers.get("dstcode")))

    async def gateway(self, request: Request) -> Response:
        """Call the REST variant."""
        service = request.path_params["service"]
        try:
            body = await self._body(request)
        except _RefusedBodyError as error:
            return _response(self._receiver.failed(error.code, is_text=True))
        authorization = request.headers.get("authorization")
        return await self._answered(
            self._receiver.gateway_call(service, request.query_params, body, authorization=authorization)
        )

    async def health(self, _: Request) -> Response:
        """That it runs; asked by supervisors, tells nothing else."""
        return Response("ok\n", media_type="text/plain")

    async def _answered(self, received: Received | Answer) -> Response:
        if isinstance(received, Answer):
            log.info("call code=%d", received.code)
            return _response(received)
        began = time.monotonic()
        submission = received.submission
        try:
            known = await self._queue.store(submission) if submission.records else frozenset[int]()
        except NotStoredError as error:
            # The reason is the system's own (no space, read-only), the number tells which.
            log.error("not stored: account=%s records=%d errno=%s", received.user, len(received.records), error.errno)  # noqa: TRY400
            return _response(self._receiver.failed(Code.NOT_STORED, received=received))
        answer = self._receiver.stored(received, known)
        refused = sum(isinstance(record, Refused) for record in received.records)
        log.info(
            "call code=%d account=%s service=%s records=%d stored=%d known=%d refused=%d ms=%d",
            answer.code,
            received.user,
            received.service,
            len(received.records),
            len(submission.records) - len(known),
            len(known),
            refused,
            (time.monotonic() - began) * 1000,
        )
        return _response(answer)

    async def _body(self, request: Request) -> bytes:
        try:
            async with asyncio.timeout(self._settings.body_seconds):
                return await self._within_limit(request)
        except TimeoutError:
            raise _RefusedBodyError(Code.TOO_SLOW) from None
        except ClientDisconnect:
            raise _RefusedBodyError(Code.MALFORMED) from None

    async def _within_limit(self, request: Request) -> bytes:
        limit, size, pieces = self._settings.max_body_bytes, 0, list[bytes]()
        async for piece in request.stream():
            size += len(piece)
            if size <= limit:
                pieces.append(piece)
            elif pieces:
                pieces.clear()
            if size > limit * _READ_BEYOND:
                break
        if size > limit:
            raise _RefusedBodyError(Code.TOO_LARGE)
        return b"".join(pieces)


def application(settings: ReceiverSettings, receiver: Receiver, journal: Journal, tidy: Tidy = lambda: 0) -> Starlette:
    """The service over an open journal, which it closes when it ends. `tidy` is called at the start and every day."""
    service = _Service(settings, receiver, journal, tidy)

    async def broken(_: Request, error: Exception) -> Response:
        """What nobody foresaw: told to the log by its place, and to the sender as a failure of ours."""
        # Where, not what: the text of an error may quote what was sent.
        frame = traceback.extract_tb(error.__traceback__)[-1]
        log.error("%s at %s:%s", type(error).__name__, Path(frame.filename).name, frame.lineno)
        return _response(receiver.failed(Code.FAILED))

    return Starlette(
        routes=[
            Route(settings.auth_endpoint, service.log_in, methods=["POST"]),
            Route(settings.integration_endpoint, service.call, methods=["POST"]),
            Route(f"{settings.gateway_endpoint}/{{service}}", service.gateway, methods=["POST"]),
            Route("/health", service.health),
        ],
        exception_handlers={Exception: broken},
        lifespan=service.life,
    )


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, answer.headers, answer.media_type)


def open_journal(settings: ReceiverSettings) -> Journal:
    """The journal in the configured folder, mended after a crash; `ConfigurationError` when it cannot be used."""
    try:
        journal = Journal(settings.folder, rotate_bytes=settings.rotate_bytes, rotate_seconds=settings.rotate_seconds)
    except FolderInUseError:
        raise ConfigurationError(
            f"receiver.folder: {settings.folder} đang được một tiến trình nhận khác dùng (another receiver is running)"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"receiver.folder: {settings.folder}: {error.strerror}") from None
    found = journal.recovered
    if found.files:
        log.warning(
            "closed after a crash: files=%d records=%d torn_bytes=%d", found.files, found.records, found.torn_bytes
        )
    return journal


def listener(settings: ReceiverSettings, *, host: str | None = None, port: int | None = None) -> socket.socket:
    """A listening socket at the configured or given place; `ConfigurationError` when that cannot be had."""
    at, number = host or settings.host, settings.port if port is None else port
    try:
        family, _, _, _, address = socket.getaddrinfo(at, number, type=socket.SOCK_STREAM)[0]
        made = socket.create_server(address[:2], family=family, backlog=1024)
    except OSError as error:
        raise ConfigurationError(f"receiver.host, receiver.port: {at}:{number}: {error.strerror}") from None
    return made


def serve(
    settings: ReceiverSettings, receiver: Receiver, journal: Journal, at: socket.socket, tidy: Tidy = lambda: 0
) -> None:
    """Serve until a signal to stop; calls in hand are answered and the journal is closed first."""
    config = uvicorn.Config(
        application(settings, receiver, journal, tidy),
        access_log=False,
        log_config=None,
        lifespan="on",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=settings.max_connections,
        # Senders keep connections for reuse; one that is closed under their hands fails their next call.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=30,
    )
    # It would write down tracebacks, which may quote what was sent; `application` logs where it broke.
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    # Once it has stopped in order, uvicorn raises the signal again; to be asked to stop is no failure.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    uvicorn.Server(config).run(sockets=[at])


def configured(province: Province) -> ReceiverSettings:
    """The province's receiver; `ConfigurationError` when there is none."""
    if province.receiver is None:
        raise ConfigurationError("receiver: chưa cấu hình; xem docs/receiver.md (no receiver is configured)")
    return province.receiver


def made_receiver(settings: ReceiverSettings) -> Receiver:
    """The protocol with its secrets; `ConfigurationError` names the variable that is missing."""
    try:
        return Receiver(settings, now=time.time)
    except MissingSecret as error:
        raise ConfigurationError(f"receiver.accounts: {error}") from None


def tidier(home: Home, province: Province) -> Tidy:
    """What removes journal files that nobody needs any more, and says how many."""

    def tidy() -> int:
        """Remove what every reader has read and the time to keep is over for; how many files."""
        settings = configured(province)
        if settings.keep_days is None:
            return 0
        cursors = Database.open(home.database_url).cursors()
        readers = {name: source for name, source in province.sources.items() if _reads(source, settings.folder)}
        before = datetime.now(ZONE) - timedelta(days=settings.keep_days)
        files = [read_files(source, cursors.get(name, {})) for name, source in readers.items()]
        done = {file for file in set[Path]().union(*files) if all(file in each for each in files)}
        gone = [file for file in done if file in journals(settings.folder) and file.name < f"{before:%Y-%m-%d_%H%M%S}"]
        for file in gone:
            file.unlink()
        return len(gone)

    return tidy


def read_files(source: SourceSettings, consumed: Mapping[str, Mapping[str, Any]]) -> set[Path]:
    """Files of a message log's folder that were read, and have not changed since."""
    if not isinstance(source, MessageLogSettings):
        return set()
    unread = set(MessageLog(source.model_copy(update={"settle_seconds": 0}), consumed).due())
    return {file for name in consumed if (file := source.folder / name).is_file() and file not in unread}


def probe(province: Province) -> str:
    """Whether the receiver can work as configured, and what its folder holds; for `thuocdo check`.

    Raises `ConfigurationError` that names the key. Starts nothing and writes nothing but a file that it removes.
    """
    settings = configured(province)
    for user, account in settings.accounts.items():
        for key in ("password_env", "token_env"):
            if variable := getattr(account, key):
                _secret_is_set(f"receiver.accounts.{user}.{key}", variable)
    readers = [name for name, source in province.sources.items() if _reads(source, settings.folder)]
    if not readers:
        raise ConfigurationError(
            f"receiver.folder: không nguồn npsp-log nào đọc {settings.folder}; tin nhận được sẽ không vào đêm nào "
            "(no source reads this folder)"
        )
    _writable(settings.folder)
    files = journals(settings.folder)
    at = f"{settings.host}:{settings.port}"
    return f"{at}, {len(settings.accounts)} tài khoản, {len(files)} tệp nhật ký cho nguồn {', '.join(readers)}"


def _reads(source: object, folder: Path) -> bool:
    return isinstance(source, MessageLogSettings) and source.folder.resolve() == folder.resolve()


def _secret_is_set(key: str, variable: str) -> None:
    try:
        secret(variable)
    except MissingSecret as error:
        raise ConfigurationError(f"{key}: {error}") from None


def _writable(folder: Path) -> None:
    own = folder / OWN_FOLDER
    probe_file = own / f"check-{datetime.now(ZONE):%H%M%S%f}"
    try:
        own.mkdir(parents=True, exist_ok=True)
        probe_file.write_bytes(b"1")
        probe_file.unlink()
    except OSError as error:
        raise ConfigurationError(f"receiver.folder: không ghi được vào {folder}: {error.strerror}") from None
