"""The national portal's message format as a receiver: what one-stop vendors' senders already speak.

Belongs here: the protocol of sources chapter 3 without any I/O: log-in, calls and their checks, the
words and codes of the answers, in both variants. Does not belong here: HTTP (`orchestration/receive.py`),
storage (`npsp_receiver_journal.py`), what is kept of a record (`npsp_receiver_records.py`).

Adapter variant (3.1): `POST {auth}` with `{username, password}` and header `dstcode` gives a session;
`POST {integration}` with `{session, madonvi, service, isUpdating, data}`. Gateway variant: `POST
…/DongBoHoSoMC?MaDinhDanhDV=…&isUpdating=…` with a bare array, proved by HTTP Basic or a bearer token;
progress is answered in plain text.

An answer is HTTP 200 and `error_code`, as this protocol has it, where the sender can mend the matter by
the protocol's own means (log in again, send as update, correct a record). What must not be mistaken for
success by a client that looks at the status alone has that status as well: too large, not stored, no proof.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal

import msgspec

from connectors.npsp_log import DOSSIER_SERVICE
from connectors.npsp_receiver_journal import Submission
from connectors.npsp_receiver_records import CONTRACTS, Kept, Refused, kept
from connectors.npsp_receiver_sessions import Sessions, claimed_user
from connectors.receiver_settings import ReceiverAccount, ReceiverSettings
from connectors.records import flag_of
from connectors.settings import secret

JSON, TEXT = "application/json", "text/plain"
Variant = Literal["adapter", "gateway"]

_SHOWN_PROBLEMS = 3


class Code(IntEnum):
    """`error_code` of our answers, beside the account's own for "đã tồn tại"; none is 3 or -3."""

    OK = 0
    MALFORMED = 400
    NOT_LOGGED_IN = 401
    NOT_ALLOWED = 403
    UNKNOWN_SERVICE = 404
    TOO_SLOW = 408
    TOO_LARGE = 413
    RECORD_REFUSED = 422
    FAILED = 500
    NOT_STORED = 503


#: Codes that are the HTTP status too, whatever the variant.
_ALSO_STATUS = frozenset({Code.TOO_SLOW, Code.TOO_LARGE, Code.FAILED, Code.NOT_STORED})


@dataclass(frozen=True)
class Answer:
    """What goes back; `code` is for the log."""

    code: int
    body: bytes
    status: int = 200
    media_type: str = JSON

    @property
    def headers(self) -> dict[str, str]:
        """Headers that the status asks for."""
        if self.status == Code.NOT_LOGGED_IN:
            return {"WWW-Authenticate": 'Basic realm="thuocdo", charset="UTF-8"'}
        return {"Retry-After": "30"} if self.status == Code.NOT_STORED else {}


@dataclass(frozen=True)
class Received:
    """A call that was let in: its records in order, each as it is kept or with the reason why not."""

    variant: Variant
    user: str
    account: ReceiverAccount
    service: str
    is_updating: bool
    records: tuple[Kept | Refused, ...]

    @property
    def submission(self) -> Submission:
        """The records to be stored."""
        return Submission(self.service, self.is_updating, tuple(one for one in self.records if isinstance(one, Kept)))


class _LogIn(msgspec.Struct):
    username: str = ""
    password: str = ""


_NOTHING = msgspec.Raw()


class _Call(msgspec.Struct):
    session: str | None = None
    madonvi: str | None = None
    service: str | None = None
    isUpdating: str | bool | int | None = None  # noqa: N815  as on the wire
    data: msgspec.Raw = _NOTHING


_log_ins = msgspec.json.Decoder(_LogIn)
_calls = msgspec.json.Decoder(_Call)
_pieces = msgspec.json.Decoder(list[msgspec.Raw])


class _NotLetInError(Exception):
    """The call is answered without being looked at further."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


_UNPROVED = _NotLetInError(Code.NOT_LOGGED_IN, "Thiếu hoặc sai thông tin xác thực (Authorization)")


class Receiver:
    """The protocol for the accounts of one configuration.

    Reads the accounts' secrets from the environment (`MissingSecret`). `now` says seconds since the epoch.
    """

    def __init__(self, settings: ReceiverSettings, *, now: Callable[[], float]) -> None:
        self._settings = settings
        passwords = {user: secret(account.password_env) for user, account in settings.accounts.items()}
        self._tokens = {user: secret(one.token_env) for user, one in settings.accounts.items() if one.token_env}
        self._sessions = Sessions(passwords, seconds=settings.session_seconds, now=now)

    def log_in(self, body: bytes, *, dstcode: str | None) -> Answer:
        """Answer to the adapter's log-in."""
        account: ReceiverAccount | None = None
        try:
            given = _decoded(_log_ins, body)
            account = self._settings.accounts.get(given.username)
            self._check_log_in(given, account, dstcode)
        except _NotLetInError as refusal:
            return self._refusal(refusal, "adapter", account=account, session="")
        session = self._sessions.begin(given.username)
        return _said(account or self._any_account, Code.OK, "Đăng nhập thành công", session=session)

    def call(self, body: bytes, *, dstcode: str | None) -> Received | Answer:
        """A call to the adapter: let in, or the answer why not."""
        account: ReceiverAccount | None = None
        try:
            given = _decoded(_calls, body)
            account = self._settings.accounts.get(claimed_user(given.session or ""))
            user = self._check_session(given, account, dstcode)
            return self._received("adapter", user, given)
        except _NotLetInError as refusal:
            return self._refusal(refusal, "adapter", account=account)

    def gateway_call(
        self, service: str, query: Mapping[str, str], body: bytes, *, authorization: str | None
    ) -> Received | Answer:
        """A call to the gateway: let in, or the answer why not. `query` as in the address, whatever the case."""
        asked = {name.lower(): value for name, value in query.items()}
        user = self._proved(authorization or "")
        account = None if user is None else self._settings.accounts[user]
        try:
            if user is None:
                return self._refusal(_UNPROVED, "gateway", account=None, service=service)
            data = msgspec.Raw(_utf8(body))
            given = _Call(None, asked.get("madinhdanhdv"), service, asked.get("isupdating"), data)
            return self._received("gateway", user, given)
        except _NotLetInError as refusal:
            return self._refusal(refusal, "gateway", account=account, service=service)

    def _check_log_in(self, given: _LogIn, account: ReceiverAccount | None, dstcode: str | None) -> None:
        proved = self._sessions.proves(given.username, given.password)
        if not proved or account is None or not _is_same(dstcode, account.dstcode):
            raise _NotLetInError(Code.NOT_LOGGED_IN, "Sai tên đăng nhập, mật khẩu hoặc dstcode")

    def _check_session(self, given: _Call, account: ReceiverAccount | None, dstcode: str | None) -> str:
        user = self._sessions.account(given.session or "")
        if user is None or account is None:
            raise _NotLetInError(
                Code.NOT_LOGGED_IN, "Phiên làm việc (session) không hợp lệ hoặc đã hết hạn, hãy đăng nhập lại"
            )
        if not _is_same(dstcode, account.dstcode):
            raise _NotLetInError(Code.NOT_ALLOWED, "Header dstcode không phải của tài khoản này")
        return user

    @property
    def _any_account(self) -> ReceiverAccount:
        """Whose spelling of codes is used for someone unknown."""
        return next(iter(self._settings.accounts.values()))

    def _proved(self, authorization: str) -> str | None:
        """The account that an Authorization header proves."""
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() == "bearer":
            matches = [user for user, token in self._tokens.items() if _is_same(value.strip(), token)]
            return matches[0] if matches else None
        if scheme.lower() != "basic":
            return None
        try:
            user, _, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
        except ValueError:
            return None
        return user if self._sessions.proves(user, password) else None

    def _received(self, variant: Variant, user: str, given: _Call) -> Received:
        account = self._settings.accounts[user]
        if (given.madonvi or "").strip() not in account.madonvi:
            name = "madonvi" if variant == "adapter" else "MaDinhDanhDV"
            raise _NotLetInError(Code.NOT_ALLOWED, f"Tài khoản không được gửi cho {name} này")
        if given.service not in CONTRACTS:
            known = ", ".join(CONTRACTS)
            raise _NotLetInError(Code.UNKNOWN_SERVICE, f"Dịch vụ (service) không được hỗ trợ; chỉ nhận {known}")
        is_updating = _flag(given.isUpdating)
        pieces = self._taken_apart(bytes(given.data))
        records = tuple(kept(given.service, piece) for piece in pieces)
        return Received(variant, user, account, given.service, is_updating, records)

    def _taken_apart(self, data: bytes) -> list[bytes]:
        text = data.strip()
        if text[:1] == b"{":  # one record without its list
            return [text]
        try:
            pieces = [bytes(piece) for piece in _pieces.decode(text)]
        except (msgspec.DecodeError, RecursionError):
            raise _NotLetInError(Code.MALFORMED, "data phải là một mảng JSON các bản ghi") from None
        if not pieces:
            raise _NotLetInError(Code.MALFORMED, "data không có bản ghi nào")
        if len(pieces) > self._settings.max_records:
            most = self._settings.max_records
            raise _NotLetInError(Code.TOO_LARGE, f"Quá {most} bản ghi trong một lần gọi, hãy chia nhỏ")
        return pieces

    def stored(self, received: Received, known: frozenset[int]) -> Answer:
        """Answer to a call whose submission is on disk, but for the records at the places `known`."""
        results = _results(received, known)
        codes = {result["error_code"] for result in results}
        message = _message(received, results)
        account = received.account
        code = next((code for code in (Code.RECORD_REFUSED, account.duplicate_code) if code in codes), Code.OK)
        if received.variant == "gateway" and received.service != DOSSIER_SERVICE:
            return Answer(code, message.encode(), media_type=TEXT)
        spelled = [result | {"error_code": _spelled(account, result["error_code"])} for result in results]
        return _said(account, code, message, result=spelled)

    def failed(self, code: Code, *, received: Received | None = None, is_text: bool = False) -> Answer:
        """Answer when the call could not be read or stored: `code` says why. `is_text` before it is known who asks."""
        refusal = _NotLetInError(code, _FAILURES[code].format(limit=self._settings.max_body_bytes))
        if received is None:
            # As plain text the answer suits both of the gateway's services; clients look for words in it.
            return _text(refusal) if is_text else self._refusal(refusal, "adapter", account=None)
        return self._refusal(refusal, received.variant, account=received.account, service=received.service)

    def _refusal(
        self,
        refusal: _NotLetInError,
        variant: Variant,
        *,
        account: ReceiverAccount | None,
        service: str = DOSSIER_SERVICE,
        **more: Any,
    ) -> Answer:
        if variant == "gateway" and service != DOSSIER_SERVICE:
            return _text(refusal)
        return _said(
            account or self._any_account, refusal.code, refusal.message, status=_status(refusal.code, variant), **more
        )


_FAILURES: Mapping[Code, str] = {
    Code.MALFORMED: "Gói tin không trọn vẹn, hãy gửi lại",
    Code.TOO_SLOW: "Gửi quá chậm, hãy gửi lại",
    Code.TOO_LARGE: "Gói tin lớn hơn {limit} byte, hãy chia nhỏ",
    Code.FAILED: "Lỗi của hệ thống nhận, chưa lưu gì, hãy gửi lại sau",
    Code.NOT_STORED: "Hệ thống nhận chưa lưu được (đĩa đầy hoặc lỗi), hãy gửi lại sau",
}


def _results(received: Received, known: frozenset[int]) -> list[dict[str, Any]]:
    """What came of each record of the call, in order."""
    results: list[dict[str, Any]] = []
    place = 0
    for record in received.records:
        if isinstance(record, Refused):
            results.append({"MaHoSo": None, "error_code": Code.RECORD_REFUSED, "message": record.reason})
            continue
        code, message = (received.account.duplicate_code, "đã tồn tại") if place in known else (Code.OK, "thành công")
        results.append({"MaHoSo": record.code, "error_code": code, "message": message})
        place += 1
    return results


def _message(received: Received, results: list[dict[str, Any]]) -> str:
    """One sentence; "thành công" only when every record was stored, "đã tồn tại" when sending as update mends it."""
    of_dossiers = received.service == DOSSIER_SERVICE
    doing, unit = ("Đồng bộ", "hồ sơ") if of_dossiers else ("Cập nhật", "tiến độ")
    stored = sum(result["error_code"] == Code.OK for result in results)
    if stored == len(results):
        return f"{doing} {unit} thành công ({stored})"
    known = [result["MaHoSo"] for result in results if result["error_code"] == received.account.duplicate_code]
    refused = [
        f"bản ghi {number}: {result['message']}"
        for number, result in enumerate(results, start=1)
        if result["error_code"] == Code.RECORD_REFUSED
    ]
    parts = [f"Đã lưu {stored}/{len(results)} {unit}"] if len(results) > 1 else []
    if known:
        which = f"Hồ sơ {known[0]}" if len(known) == 1 else f"{len(known)} hồ sơ"
        parts.append(f"{which} đã tồn tại, hãy gửi lại với isUpdating=True")
    parts += refused[:_SHOWN_PROBLEMS]
    if len(refused) > _SHOWN_PROBLEMS:
        parts.append(f"và {len(refused) - _SHOWN_PROBLEMS} bản ghi lỗi nữa")
    return "; ".join(parts)


def _said(account: ReceiverAccount, code: int, message: str, *, status: int = 200, **more: Any) -> Answer:
    body = {"error_code": _spelled(account, code), "message": message, **({"result": []} if not more else {}), **more}
    return Answer(int(code), msgspec.json.encode(body), status)


def _text(refusal: _NotLetInError) -> Answer:
    return Answer(refusal.code, refusal.message.encode(), _status(refusal.code, "gateway"), TEXT)


def _status(code: Code, variant: Variant) -> int:
    # Clients of plain REST may offer their password only after they were asked for it.
    is_status = code in _ALSO_STATUS or (variant == "gateway" and code == Code.NOT_LOGGED_IN)
    return int(code) if is_status else 200


def _spelled(account: ReceiverAccount, code: int) -> int | str:
    return str(int(code)) if account.error_code == "string" else int(code)


def _decoded(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    try:
        return decoder.decode(_utf8(body))
    except (msgspec.DecodeError, RecursionError):
        # The decoder's own message may quote what stood there.
        raise _NotLetInError(Code.MALFORMED, "Nội dung không phải JSON đúng cấu trúc của dịch vụ") from None


def _utf8(body: bytes) -> bytes:
    try:
        body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _NotLetInError(Code.MALFORMED, "Nội dung không phải UTF-8") from None
    return body.removeprefix(b"\xef\xbb\xbf")


def _flag(said: str | bool | int | None) -> bool:
    """`isUpdating` however it is spelled; an insert when nothing is said."""
    try:
        return bool(flag_of("" if said is None else said))
    except ValueError:
        raise _NotLetInError(Code.MALFORMED, "isUpdating phải là True hoặc False") from None


def _is_same(given: str | None, expected: str | None) -> bool:
    return expected is not None and hmac.compare_digest((given or "").encode(), expected.encode())
