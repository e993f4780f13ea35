"""One-stop system: VNPT iGate v2 REST.

Belongs here: the wire contract of its dossier search, the state machines that walk it, OAuth2 by
Authlib, and the connection that joins them with the shared loop. Does not belong here: storage, and
what its codes mean.

The search cannot be filtered by the time of change, but it can be sorted by it. A walk goes from
the newest dossier down until everything is older than the cursor. Pages are read one after another,
never ahead: rows only move towards the end while a walk goes on (what changes jumps to the top), so
in this order a row is seen twice, never skipped. What jumped over the walk is newer than its start
and is seen by the next one. Only a deletion moves rows towards the top; it lowers the total, and
the walk is then made again.
"""

# ruff: noqa: N815  fields are named as the source names them
from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import httpx
import msgspec
import pyarrow as pa
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client

from connectors.contract import (
    SEEN,
    Broken,
    Clause,
    RecordContract,
    any_said,
    present,
    readable_date,
    wire_field,
)
from connectors.loop import Loop, Pages, Send, sender
from connectors.protocol import (
    Batch,
    Call,
    Completed,
    Part,
    Permanent,
    Reply,
    Span,
    Step,
    Transient,
    Walk,
    ensure_usable,
)
from connectors.records import Typed, float_of, int_of, text_of, untyped
from connectors.settings import IGateSettings, secret

STREAM = "dossiers"

#: Rows that are stored together; bounds memory whatever the length of a walk.
BATCH_ROWS = 20_000
#: How often a walk is made anew because rows vanished under it.
_REWALKS = 5
_ZERO_CONFIRMATIONS = 2
#: A token is renewed so long before it ends, but never before nine tenths of a short life are over.
_LEEWAY_SECONDS = 30.0

_FORMATS = ("%Y-%m-%dT%H:%M:%S.%g%z", "%Y-%m-%dT%H:%M:%S%z")
_TEXT = pa.string()
_WHOLE = pa.int64()
_FORM_FILE = pa.struct([("formId", _TEXT), ("fileCount", _WHOLE)])
_FEE = pa.struct([("id", _TEXT), ("amount", pa.float64()), ("paid", pa.float64())])

_DATE_FIELDS = {
    "appliedDate": "Ngày nộp",
    "acceptedDate": "Ngày tiếp nhận",
    "appointmentDate": "Ngày hẹn trả",
    "completedDate": "Ngày xử lý xong",
    "returnedDate": "Ngày trả kết quả",
    "updatedDate": "Ngày cập nhật",
    "paidDate": "Ngày thanh toán",
}

DOSSIERS = RecordContract(
    kind="onestop",
    schema=pa.schema(
        [
            wire_field("id", _TEXT, "Mã trong hệ thống", "Mongo id"),
            wire_field("code", _TEXT, "Mã hồ sơ", "Public code"),
            wire_field("nationCode", _TEXT, "Mã quốc gia", "Code on the national portal"),
            wire_field("dossierStatusId", _WHOLE, "Mã trạng thái", "dossierStatus, an object or a number"),
            wire_field("dossierStatusName", _TEXT, "Tên trạng thái", "Name of the status, null with the number"),
            wire_field("procedureCode", _TEXT, "Mã thủ tục", "procedure.code"),
            wire_field("procedureLevel", _TEXT, "Mức độ dịch vụ công", "Level of the procedure"),
            wire_field("agencyId", _TEXT, "Mã đơn vị trong hệ thống", "agency.id"),
            wire_field("agencyCode", _TEXT, "Mã đơn vị", "agency.code"),
            wire_field("agencyName", _TEXT, "Tên đơn vị", "agency.name"),
            wire_field("applyMethodId", _WHOLE, "Mã hình thức nộp", "applyMethod, an object or a number"),
            wire_field("applyMethodName", _TEXT, "Hình thức nộp", "Name of the way of submission"),
            *(
                wire_field(name, _TEXT, label, "ISO with +0700 or +0000")
                for name, label in _DATE_FIELDS.items()
                if name != "paidDate"
            ),
            wire_field("paymentMethodName", _TEXT, "Hình thức thanh toán", "paymentMethod.name"),
            wire_field("paidDate", _TEXT, "Ngày thanh toán", "paymentRequestData.paidDate"),
            wire_field("formFiles", pa.list_(_FORM_FILE), "Thành phần và số tệp", "Form papers and number of files"),
            wire_field("fees", pa.list_(_FEE), "Phí, lệ phí", "Fee lines: asked and paid"),
        ]
    ),
    details=("fees",),
    key='"id"',
    newest=f"""try_strptime("updatedDate", ['{"', '".join(_FORMATS)}']) DESC NULLS LAST, "{SEEN}" DESC""",
    clauses=(
        present("id", "mã bản ghi"),
        any_said("some_date_present", ("appliedDate", "acceptedDate"), "Không có ngày nộp hay ngày tiếp nhận"),
        *(readable_date(name, _FORMATS, label) for name, label in _DATE_FIELDS.items()),
        Clause("dossierStatusId_present", '"dossierStatusId" IS NOT NULL', ("dossierStatusId",), "Thiếu trạng thái"),
        present("procedureCode", "mã thủ tục"),
        present("agencyCode", "mã đơn vị"),
    ),
)

_Scalar = str | int | float | bool


class _Named(msgspec.Struct, gc=False):
    """An object with an id, a code and a name; the same thing may come as its bare id, or in a list of one."""

    id: _Scalar | None = None
    code: _Scalar | None = None
    name: str | None = None


_Reference = _Named | list[_Named] | _Scalar | None


class _File(msgspec.Struct, gc=False):
    """A file is counted, nothing of it is read."""


class _Form(msgspec.Struct, gc=False):
    id: _Scalar | None = None
    file: list[_File] | _File | None = None
    procedureForm: _Reference = None


class _Paid(msgspec.Struct, gc=False):
    paidDate: _Scalar | None = None


class _Item(msgspec.Struct, gc=False):
    """A dossier's contract fields; everything else, the applicant first of all, is skipped unread."""

    id: _Scalar | None = None
    code: _Scalar | None = None
    nationCode: _Scalar | None = None
    dossierStatus: _Reference = None
    procedure: _Reference = None
    procedureLevel: _Reference = None
    agency: _Reference = None
    applyMethod: _Reference = None
    appliedDate: _Scalar | None = None
    acceptedDate: _Scalar | None = None
    appointmentDate: _Scalar | None = None
    completedDate: _Scalar | None = None
    returnedDate: _Scalar | None = None
    updatedDate: _Scalar | None = None
    paymentMethod: _Reference = None
    paymentRequestData: _Paid | list[_Paid] | None = None
    dossierFormFile: list[_Form] | _Form | None = None


_items = msgspec.json.Decoder(_Item)
_NOTHING = _Named()


def _reference(value: Any) -> _Named:
    """Any spelling of a reference as an object; a bare scalar is its id."""
    if isinstance(value, _Named):
        return value
    if isinstance(value, list):
        return value[0] if value else _NOTHING
    return _NOTHING if value is None else _Named(id=value)


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else text_of(value)


def _whole(value: Any) -> int | None:
    return None if value is None else int_of(value)


def _row(item: _Item) -> dict[str, Any]:
    """One dossier in wire columns; `ValueError` when a number is none."""
    status, apply = _reference(item.dossierStatus), _reference(item.applyMethod)
    agency, level = _reference(item.agency), _reference(item.procedureLevel)
    paid = item.paymentRequestData
    paid = (paid[0] if paid else None) if isinstance(paid, list) else paid
    return {
        "id": _text(item.id),
        "code": _text(item.code),
        "nationCode": _text(item.nationCode),
        "dossierStatusId": _whole(status.id),
        "dossierStatusName": status.name,
        "procedureCode": _text(_reference(item.procedure).code),
        "procedureLevel": _text(next((said for said in (level.code, level.name, level.id) if said is not None), None)),
        "agencyId": _text(agency.id),
        "agencyCode": _text(agency.code),
        "agencyName": agency.name,
        "applyMethodId": _whole(apply.id),
        "applyMethodName": apply.name,
        "appliedDate": _text(item.appliedDate),
        "acceptedDate": _text(item.acceptedDate),
        "appointmentDate": _text(item.appointmentDate),
        "completedDate": _text(item.completedDate),
        "returnedDate": _text(item.returnedDate),
        "updatedDate": _text(item.updatedDate),
        "paymentMethodName": _reference(item.paymentMethod).name,
        "paidDate": _text(paid.paidDate) if paid else None,
        "formFiles": _forms(item.dossierFormFile),
    }


def _forms(value: list[_Form] | _Form | None) -> list[dict[str, Any]] | None:
    if value is None:
        return None
    return [
        {
            "formId": _text(_reference(form.procedureForm).id if form.procedureForm is not None else form.id),
            "fileCount": len(form.file) if isinstance(form.file, list) else int(form.file is not None),
        }
        for form in (value if isinstance(value, list) else [value])
    ]


def read_items(step: Step) -> Typed:
    """Typed columns of a page; a dossier that cannot be typed becomes `Broken`."""
    rows: list[dict[str, Any]] = []
    broken: list[Broken] = []
    for index, record in enumerate(step.records):
        try:
            rows.append(_row(_items.decode(record)))
        except (msgspec.DecodeError, ValueError, OverflowError, UnicodeDecodeError):
            broken.append(untyped(record, f"{step.where}#{index}"))
    columns = [pa.array([row.get(item.name) for row in rows], item.type) for item in DOSSIERS.schema]
    return Typed(pa.table(columns, schema=DOSSIERS.schema), tuple(broken))


class _Head(msgspec.Struct):
    id: _Scalar | None = None
    updatedDate: _Scalar | None = None


class _PageHeads(msgspec.Struct):
    content: list[_Head]


class _Page(msgspec.Struct):
    content: list[msgspec.Raw]
    totalElements: int | None = None
    totalPages: int | None = None
    last: bool | None = None


_pages = msgspec.json.Decoder(_Page)
_heads = msgspec.json.Decoder(_PageHeads)


class SearchWalk(Walk):
    """Walks the search from the newest change down to `since`.

    `newest` is the newest change seen. A walk under which rows vanished is made again from the top;
    where the server states no total that cannot be seen, so walks are made until one finds nothing
    that an earlier one had not.
    """

    def __init__(self, since: datetime, settings: IGateSettings, *, known: int = 0) -> None:
        self._since = since
        self._rows = settings.page_rows
        self._known = known
        self._zeros = 0
        self._walks = 1
        self._totals: list[int] = []
        self._ids: set[_Scalar | None] = set()
        self._found_new = False
        self.newest: datetime | None = None

    def begin(self) -> Sequence[Call]:
        """The newest page."""
        return [self._call(0)]

    def accept(self, call: Call, reply: Reply) -> Step:
        """Take a page in and ask for the next one."""
        ensure_usable(call, reply)
        try:
            page, heads = _pages.decode(reply.body), _heads.decode(reply.body).content
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Transient(f"{call}: the answer is not a page of dossiers ({len(reply.body)} bytes)") from None
        if call.tag == 0 and not page.content:
            return self._zero(call)
        times = [time for time in (_instant(head.updatedDate) for head in heads) if time]
        self._note(page, heads, times)
        ended = not page.content or _is_last(page, call.tag) or (bool(times) and min(times) < self._since)
        calls = self._again() if ended else [self._call(call.tag + 1)]
        return Step([bytes(piece) for piece in page.content], calls, f"page {call.tag} of walk {self._walks}")

    def _call(self, page: int) -> Call:
        params = (("page", str(page)), ("size", str(self._rows)), ("sort", "updatedDate,desc"), ("spec", "page"))
        return Call("/pa/dossier/search", params, (("Accept", "application/json"),), page)

    def _zero(self, call: Call) -> Step:
        if self._known or self.newest:
            raise Transient(f"{call}: no dossiers at all, but {self._known or 'some'} were read before")
        self._zeros += 1
        return Step(calls=[call] if self._zeros <= _ZERO_CONFIRMATIONS else ())

    def _note(self, page: _Page, heads: list[_Head], times: list[datetime]) -> None:
        self.newest = max([*times, *([self.newest] if self.newest else [])], default=None)
        if page.totalElements is not None:
            self._totals.append(page.totalElements)
            return
        fresh = {head.id for head in heads} - self._ids
        self._found_new = self._found_new or bool(fresh)
        self._ids |= fresh

    def _again(self) -> Sequence[Call]:
        shrunk = any(later < earlier for earlier, later in zip(self._totals, self._totals[1:], strict=False))
        if not shrunk and not self._found_new:
            return ()
        if self._walks > _REWALKS:
            raise Transient("dossiers vanish from the search faster than it can be read; the night can be run again")
        self._walks += 1
        self._totals, self._found_new = [], False
        return [self._call(0)]


def _is_last(page: _Page, number: int) -> bool:
    return page.last is True or (page.totalPages is not None and number + 1 >= page.totalPages)


def _instant(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return None
    return time if time.tzinfo else None


class _FeeLine(msgspec.Struct):
    id: _Scalar | None = None
    amount: _Scalar | None = None
    paid: _Scalar | None = None
    dossier: _Reference = None


_fees = msgspec.json.Decoder(list[_FeeLine] | None)


class FeeWalk(Walk):
    """Fee lines of changed dossiers, `fee_batch` dossiers a call; `fees` holds them by dossier id."""

    def __init__(self, dossiers: Sequence[str], settings: IGateSettings) -> None:
        self._dossiers = tuple(dossiers)
        self._batch = settings.fee_batch
        self.fees: dict[str, list[dict[str, Any]]] = {dossier: [] for dossier in self._dossiers}

    def begin(self) -> Sequence[Call]:
        """One call per batch of dossiers."""
        starts = range(0, len(self._dossiers), self._batch)
        return [self._call(self._dossiers[start : start + self._batch]) for start in starts]

    def accept(self, call: Call, reply: Reply) -> Step:
        """Keep the fee lines of one batch."""
        ensure_usable(call, reply)
        try:
            lines = _fees.decode(reply.body) if reply.body.strip() else []
            rows = [(_text(_reference(line.dossier).id), _fee(line)) for line in lines or ()]
        except (msgspec.DecodeError, ValueError, UnicodeDecodeError):
            raise Transient(f"{call}: the answer is not a list of fees ({len(reply.body)} bytes)") from None
        strangers = sum(dossier not in self.fees for dossier, _ in rows)
        if strangers:
            raise Transient(f"{call}: {strangers} fee lines name no dossier that was asked for")
        for dossier, fee in rows:
            if dossier is not None:
                self.fees[dossier].append(fee)
        return Step()

    def _call(self, dossiers: Sequence[str]) -> Call:
        params = (("dossier-ids", ",".join(dossiers)),)
        return Call("/pa/dossier-fee/--by-dossiers", params, (("Accept", "application/json"),))


def _fee(line: _FeeLine) -> dict[str, Any]:
    amount, paid = (None if value is None else float_of(value) for value in (line.amount, line.paid))
    return {"id": _text(line.id), "amount": amount, "paid": paid}


@dataclass(frozen=True)
class OneStop:
    """An open one-stop system."""

    settings: IGateSettings
    loop: Loop
    known: int = 0

    async def batches(self, span: Span) -> AsyncIterator[Batch]:
        """Batches of one walk. Only the last carries a cursor: the walk goes from new to old, so until
        it has ended nothing older than what was read is known to be complete.
        """
        lag = timedelta(minutes=self.settings.lag_minutes)
        walk = SearchWalk(span.start - lag, self.settings, known=self.known)
        gathered = Pages(DOSSIERS.schema)
        async for page in self.loop.pages(walk, read_items):
            gathered.add(page)
            if gathered.rows >= BATCH_ROWS:
                yield Batch((Part(DOSSIERS, *gathered.take()),), {})
        yield Batch((Part(DOSSIERS, *gathered.take()),), self._cursor(walk, span, lag))

    @staticmethod
    def _cursor(walk: SearchWalk, span: Span, lag: timedelta) -> Mapping[str, Mapping[str, Any]]:
        """The newest change seen minus the lag: by the source's clock, whatever ours says, and never after ours."""
        if walk.newest is None:
            return {}
        return {STREAM: {"until": (min(walk.newest, span.end) - lag).astimezone(UTC).isoformat()}}

    async def complete(self, records: pa.Table) -> Completed:
        """Fetch the fee lines."""
        ids = [str(value) for value in records["id"].to_pylist()]
        walk = FeeWalk(ids, self.settings)
        async for _ in self.loop.run(walk):
            pass
        fees = pa.array([sorted(walk.fees[key], key=lambda fee: fee["id"] or "") for key in ids], pa.list_(_FEE))
        return Completed(records.set_column(records.schema.get_field_index("fees"), "fees", fees))


def authorised(client: AsyncOAuth2Client, send: Send, settings: IGateSettings) -> Send:
    """`send` with a token: fetched before the first call, renewed by Authlib before it ends, and anew on 401."""

    async def fetch() -> None:
        await _asking(lambda: client.fetch_token(settings.token_url, grant_type="client_credentials"), settings)
        client.leeway = min(_LEEWAY_SECONDS, float(client.token.get("expires_in") or 0) / 10)

    async def with_token(call: Call) -> Reply:
        if not client.token:
            await fetch()
        used = client.token["access_token"]
        reply: Reply = await _asking(lambda: send(call), settings)
        if reply.status == HTTPStatus.UNAUTHORIZED:
            if client.token["access_token"] == used:
                await fetch()
            reply = await _asking(lambda: send(call), settings)
        if reply.status == HTTPStatus.UNAUTHORIZED:
            raise Permanent(
                f"{call}: refused with HTTP 401 under a fresh token",
                hint="Check that the client named by client_id_env may read dossiers",
                key="client_id_env",
            )
        return reply

    return with_token


async def _asking(ask: Callable[[], Any], settings: IGateSettings) -> Any:
    """Await `ask()`; what the token endpoint can answer becomes one of our errors."""
    try:
        return await ask()
    except OAuthError as error:
        raise Permanent(
            f"the token endpoint refused: {error.error}",
            hint=f"Check token_url and the variables {settings.client_id_env} and {settings.client_secret_env}",
            key="client_id_env, client_secret_env",
        ) from None
    except httpx.HTTPStatusError as error:
        raise Transient(f"the token endpoint answered HTTP {error.response.status_code}", key="token_url") from None
    except httpx.TransportError as error:
        raise Transient(f"the token endpoint: {type(error).__name__}", key="token_url") from None
    except (ValueError, KeyError):
        raise Transient("the token endpoint answered no token", key="token_url") from None


@asynccontextmanager
async def connect(settings: IGateSettings, *, known: int = 0) -> AsyncIterator[OneStop]:
    """Open the system; `known` is how many of its dossiers are stored. `MissingSecret` when a variable is not set."""
    client = AsyncOAuth2Client(
        client_id=secret(settings.client_id_env),
        client_secret=secret(settings.client_secret_env),
        token_endpoint=settings.token_url,
        grant_type="client_credentials",
        timeout=settings.manners.timeout_seconds,
        limits=httpx.Limits(max_connections=settings.manners.concurrency),
    )
    async with client:
        send = authorised(client, sender(client, str(settings.base_url)), settings)
        yield OneStop(settings, Loop.over(send, settings.manners), known)


async def probe(settings: IGateSettings) -> str:
    """Log in, ask for the newest dossier, and say what came back."""
    async with connect(settings.model_copy(update={"page_rows": 1})) as onestop:
        walk = _ProbeWalk(SearchWalk(datetime.max.replace(tzinfo=UTC), onestop.settings).begin())
        async for _ in onestop.loop.run(walk):
            pass
    total = "an unknown number of" if walk.total is None else str(walk.total)
    return f"logged in, {total} dossiers listed"


class _ProbeWalk(Walk):
    def __init__(self, calls: Sequence[Call]) -> None:
        self._calls = calls
        self.total: int | None = None

    def begin(self) -> Sequence[Call]:
        return self._calls

    def accept(self, call: Call, reply: Reply) -> Step:
        ensure_usable(call, reply)
        try:
            self.total = _pages.decode(reply.body).totalElements
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Transient(f"{call}: the answer is not a page of dossiers", hint="Check base_url") from None
        return Step()
