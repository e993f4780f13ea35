"""The national portal's adapter as far as the catalogue of procedures, and the province's own export.

Belongs here: log-in, `LayDanhSachTTHC` and `LayThuTuc` as sources 3.1 and 3.5 word them, what is true of each
procedure, the export that says what the service does not know, and which department has which sector. Does
not belong here: the directory of units, which the same address answers (`directory.py`), nor HTTP (see
`server.py`, which mounts `Catalogue.routes`).

Names, sectors, levels, channels, limits and whether there is a fee are the reference's; amounts, levels of
online service, payment, integration and the changes of 2026 are inventions, drawn from the code alone.

The adapter's habits: `error_code` is a number in one answer and text in the next, a session ends without
warning and the answer says so in words, local sub-codes stand in the list, some beside the national code.
"""

from __future__ import annotations

import csv
import json
import secrets
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox import directory
from sandbox.territory import DEPARTMENTS, PROVINCE, REFERENCE, csv_text, department_of_sector

PREFIX = "/npsp/VXPAdapter/RestService/forward"
AUTH_ENDPOINT, SHARE_ENDPOINT = "/auth", "/share"
ENVIRONMENT = {
    "THUOCDO_CATALOGUE_USERNAME": "thuocdo-catalogue",
    "THUOCDO_CATALOGUE_PASSWORD": "sandbox-catalogue",
}
MADONVI, DSTCODE = "000.00.00.H15", "VN:GOV:000.00.00.G22:vpcpapi"
#: What this adapter's TRANGTHAI means; as with the other codes, a real one's are its own.
STATES = {"1": "in_force", "0": "repealed"}
#: From this day on some procedures are other than the reference says: repealed, or with a fee that is new.
CHANGED_ON = date(2026, 7, 1)
#: Calls that a session lasts.
SESSION_CALLS = 500
_LOCAL_SUFFIX = f".000.00.00.{PROVINCE}"
_AGENCIES = {
    "Cấp bộ": "Bộ (cơ quan cấp bộ)",
    "Cấp tỉnh": "Cơ quan chuyên môn thuộc UBND cấp tỉnh",
    "Cấp xã": "Ủy ban nhân dân cấp xã",
    "Cơ quan khác": "Cơ quan khác",
}
#: The reference cuts a list of applicants here.
_APPLICANTS_CUT_AT = 120


@dataclass(frozen=True, kw_only=True)
class Procedure:
    """What is true of a procedure on a day."""

    code: str
    name: str
    sector: str
    levels: tuple[str, ...]
    applicants: tuple[str, ...]
    channels: tuple[str, ...]
    limit: tuple[str, str]
    result: str
    has_fee: bool
    online_level: str
    is_online_eligible: bool
    offers_online_payment: bool
    is_integrated: bool
    is_in_force: bool


def _drawn(code: str, what: str) -> int:
    """A number that belongs to the code for ever, 0 … 99."""
    return zlib.crc32(f"{code}/{what}".encode()) % 100


@cache
def _reference() -> tuple[Mapping[str, str], ...]:
    with (REFERENCE / "procedures.csv").open(encoding="utf-8-sig", newline="") as file:
        return tuple(row for row in csv.DictReader(file) if "Cấp tỉnh" in row["levels"] or "Cấp xã" in row["levels"])


def _applicants(row: Mapping[str, str]) -> tuple[str, ...]:
    """The list, whole: behind a cut some have citizens, some not."""
    text = row["applicants"]
    if len(text) < _APPLICANTS_CUT_AT:
        return (text,)
    whole = text.rpartition(", ")[0]
    return (whole, "Công dân Việt Nam") if _drawn(row["procedure_code"], "citizens") < 50 else (whole,)


@cache
def procedures(*, changed: bool) -> tuple[Procedure, ...]:
    """Every procedure of province or commune level, before `CHANGED_ON` or from that day on."""
    return tuple(_procedure(row, changed=changed) for row in _reference())


@cache
def _by_code(*, changed: bool) -> Mapping[str, Procedure]:
    return {procedure.code: procedure for procedure in procedures(changed=changed)}


def truth(on: date) -> tuple[Procedure, ...]:
    """Every procedure as it is on a day."""
    return procedures(changed=on >= CHANGED_ON)


def _procedure(row: Mapping[str, str], *, changed: bool) -> Procedure:
    code, offers_online = row["procedure_code"], row["offers_online"] == "True"
    level = ("full" if _drawn(code, "level") < 70 else "partial") if offers_online else "none"
    has_fee = row["mentions_fee_amount"] == "True" or (changed and _drawn(code, "new fee") < 2)
    offered = [row["offers_direct"] == "True", offers_online, row["offers_post"] == "True"]
    return Procedure(
        code=code,
        name=row["name"],
        sector=row["sector"],
        levels=tuple(row["levels"].split(", ")),
        applicants=_applicants(row),
        channels=tuple(str(number) for number, is_offered in enumerate(offered, start=1) if is_offered) or ("1",),
        limit=(row["limit_value"], row["limit_unit"]),
        result=row["result"].strip(),
        has_fee=has_fee,
        online_level=level,
        is_online_eligible=offers_online or _drawn(code, "eligible") < 30,
        offers_online_payment=has_fee and offers_online and _drawn(code, "payment") < 80,
        is_integrated=offers_online and _drawn(code, "integrated") < 85,
        is_in_force=not (changed and _drawn(code, "repealed") < 3),
    )


def _amount(procedure: Procedure, channel: str) -> str:
    """SOTIEN at a channel; where there is no fee this adapter says 0 or nothing."""
    if not procedure.has_fee:
        return ("0", "", "00")[_drawn(procedure.code, channel) % 3]
    return "0" if channel == "2" and procedure.channels != ("2",) else f"{10_000 * (1 + _drawn(procedure.code, 'fee'))}"


def _times(procedure: Procedure, channel: str) -> list[dict[str, Any]]:
    """Time limits at a channel: the published one, and beside it a shorter one for simple cases."""
    value, unit = procedure.limit
    fees = [{"MAPHILEPHI": "LP01", "SOTIEN": _amount(procedure, channel), "DONVI": "VNĐ", "MOTA": ""}]
    times: list[dict[str, Any]] = [{"THOIGIANGIAIQUYET": value, "DONVITINH": unit, "MOTA": "", "PHILEPHI": fees}]
    if unit == "Ngày làm việc" and _drawn(procedure.code, "simple") < 20:
        times.insert(0, {"THOIGIANGIAIQUYET": "1", "DONVITINH": "Giờ", "MOTA": "Hồ sơ đơn giản", "PHILEPHI": None})
    return times


def record(procedure: Procedure, code: str) -> dict[str, Any]:
    """`LayThuTuc.result[0]` of a procedure, under the code it was asked for."""
    return {
        "MATTHC": code,
        "TENTTHC": procedure.name,
        "MACOQUANCONGBO": "G01",
        "LINHVUCTHUCHIEN": [{"MALINHVUC": "LV", "TENLINHVUC": procedure.sector}],
        "TRINHTUTHUCHIEN": [{"TRUONGHOP": "", "TRINHTU": [{"TENTRINHTU": "Nộp hồ sơ"}]}],
        "CACHTHUCTHUCHIEN": [
            {"KENH": int(channel) if channel == "3" else channel, "THOIGIAN": _times(procedure, channel)}
            for channel in procedure.channels
        ],
        "THANHPHANHOSO": [],
        "KETQUATHUCHIEN": [{"MAKETQUA": "KQ01", "TENKETQUA": procedure.result}] if procedure.result else [],
        "COQUANTHUCHIEN": [{"MADONVI": "", "TENDONVI": _AGENCIES[level]} for level in procedure.levels],
        "DOITUONGTHUCHIEN": [{"TENDOITUONG": name} for name in procedure.applicants],
        "CANCUPHAPLY": [],
        "YEUCAU": "",
        "MOTADOITUONGTHUCHIEN": None,
        "TRANGTHAI": "1" if procedure.is_in_force else "0",
    }


def _spoilt(said: dict[str, Any], number: int) -> dict[str, Any]:
    """A record that no reader can accept, one of three ways."""
    if number % 3 == 0:
        return said | {"TENTTHC": " "}
    if number % 3 == 1:
        return said | {"TRANGTHAI": "9"}
    return said | {"CACHTHUCTHUCHIEN": "xem quyết định"}


@dataclass
class Catalogue:
    """The adapter at the province's clock."""

    today: Callable[[], date]
    #: How many procedures are worded so that no reader can accept them.
    broken: int = 0
    sessions: dict[str, int] = field(default_factory=dict)
    _answers: int = 0

    def routes(self) -> list[Route]:
        """Where the adapter answers, for the sandbox's application."""
        return [
            Route(f"{PREFIX}{AUTH_ENDPOINT}", self.log_in, methods=["POST"]),
            Route(f"{PREFIX}{SHARE_ENDPOINT}", self.share, methods=["POST"]),
        ]

    def listed(self) -> tuple[str, ...]:
        """Codes of the list: some with the province's suffix, a few of these beside the national one."""
        return tuple(code for procedure in truth(self.today()) for code in _codes(procedure.code))

    def broken_codes(self) -> tuple[str, ...]:
        """Codes of the procedures that are worded so that no reader can accept them."""
        plain = [each.code for each in truth(self.today()) if _codes(each.code) == (each.code,)]
        return tuple(plain[: self.broken])

    async def log_in(self, request: Request) -> Response:
        """`POST …/auth`."""
        body = await _body(request)
        given = (body.get("username"), body.get("password"))
        if request.headers.get("dstcode") != DSTCODE or given != tuple(ENVIRONMENT.values()):
            return self._answer(-1, "Sai tài khoản hoặc mã hệ thống đích")
        session = secrets.token_hex(16)
        self.sessions[session] = SESSION_CALLS
        return self._answer(0, "Thành công", session=session)

    async def share(self, request: Request) -> Response:
        """`POST …/share`: one address for all services."""
        body = await _body(request)
        left = self.sessions.get(body.get("session", ""), 0)
        if left <= 0:
            return self._answer(-2, "Phiên làm việc đã hết hạn, vui lòng đăng nhập lại")
        self.sessions[body["session"]] = left - 1
        if body.get("madonvi") != MADONVI or request.headers.get("dstcode") != DSTCODE:
            return self._answer(-3, "Đơn vị không được phép khai thác")
        if body.get("service") == "LayDanhSachTTHC":
            return self._answer(0, "Thành công", result=[{"MATTHC": code} for code in self.listed()])
        if body.get("service") == "LayThuTuc":
            return self._answer(0, "Thành công", result=self._found(body.get("maTTHC", "")))
        if body.get("service") == directory.SERVICE:
            return self._answer(0, "Thành công", result=self.units())
        return self._answer(1, "Dịch vụ không tồn tại")

    def units(self) -> list[dict[str, str]]:
        """Rows of the directory of units."""
        return directory.listed(self.today())

    def _found(self, code: str) -> list[dict[str, Any]]:
        procedure = _by_code(changed=self.today() >= CHANGED_ON).get(code.removesuffix(_LOCAL_SUFFIX))
        if procedure is None:
            return []
        said, broken = record(procedure, code), self.broken_codes() if self.broken else ()
        return [_spoilt(said, broken.index(code)) if code in broken else said]

    def _answer(self, error_code: int, message: str, **more: Any) -> Response:
        self._answers += 1
        spelled = error_code if self._answers % 2 else str(error_code)
        return JSONResponse({"error_code": spelled, "message": message, **more})


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body())
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _codes(code: str) -> tuple[str, ...]:
    """Under which codes a procedure stands in the list."""
    drawn = _drawn(code, "code")
    if drawn < 5:
        return (code + _LOCAL_SUFFIX,)
    return (code, code + _LOCAL_SUFFIX) if drawn < 7 else (code,)


def catalogue_csv(on: date) -> str:
    """The province's own export: what the service does not know."""
    flag = {True: "Có", False: "Không"}
    level = {"full": "Toàn trình", "partial": "Một phần", "none": "Không trực tuyến"}
    header = ("Mã TTHC", "Tên TTHC", "Mức độ DVCTT", "Đủ điều kiện trực tuyến", "Thanh toán trực tuyến",
              "Tích hợp Cổng DVCQG")  # fmt: skip
    rows = (
        (each.code, each.name, level[each.online_level], *(flag[value] for value in _flags(each))) for each in truth(on)
    )
    return csv_text(header, rows)


def _flags(procedure: Procedure) -> Iterator[bool]:
    yield procedure.is_online_eligible
    yield procedure.offers_online_payment
    yield procedure.is_integrated


def sectors_csv() -> str:
    """Content of sectors.csv: every sector of a procedure of province level, and the department that has it."""
    sectors = sorted({row["sector"] for row in _reference() if "Cấp tỉnh" in row["levels"]})
    return csv_text(("sector", "unit_code", "note"), (_sector(sector) for sector in sectors))


def _sector(sector: str) -> tuple[str, str, str]:
    department = department_of_sector(sector)
    if department < 0:
        return sector, "", "không sở nào của tỉnh: cơ quan ngành dọc hoặc chưa phân công"
    return sector, f"{PROVINCE}.{DEPARTMENTS[department][0]}", ""
