"""The national catalogue of procedures: its service behind the national portal's adapter.

Belongs here: the services `LayDanhSachTTHC` and `LayThuTuc` (sources chapter 3.5), and what they say in the
house's columns. Does not belong here: log-in and session (`npsp_adapter.py`), catalogues in files
(`catalogue_files.py`), how either changes what is known (`warehouse.reference.merge_catalogue`), nor storage.

The service is asked for the list and then for each procedure, a few at a time. A procedure that cannot be
read or understood is told beside the others and never stops them; so is one whose title or time limit looks like a
person, with lengths in place of values. What is not said stays null: the service
of 2020 knows no level of online service, so a file of the province's own usually follows it.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import msgspec
import pyarrow as pa
from pydantic import Field

from connectors.contract import Broken, wire_field
from connectors.exports import NO_PERSON, hidden, quoted_word, speaks_of_person, tidied
from connectors.loop import Loop
from connectors.npsp_adapter import SUCCESS, AdapterSettings, Answer, answer_of, open_adapter
from connectors.person_fields import is_personal, masked
from connectors.protocol import Call, Permanent, Reply, SourceError, Step, Transient, Walk
from connectors.records import coerce, struct_of

LIST_SERVICE, PROCEDURE_SERVICE = "LayDanhSachTTHC", "LayThuTuc"

State = Literal["in_force", "repealed"]
#: Why nothing was heard of a procedure that is listed.
UNREACHABLE, REFUSED = "unreachable_procedure", "refused_procedure"
Row = dict[str, Any]

_TEXT = pa.string()


class CatalogueServiceSettings(AdapterSettings):
    """The catalogue service of the national portal's adapter (sources chapters 3.1 and 3.5)."""

    kind: Literal["npsp-catalogue"]
    #: What TRANGTHAI means. Empty: it is not looked at. A value that is not named is never guessed.
    states: dict[str, State] = Field(default_factory=dict)


#: What a catalogue says of a procedure, in the house's columns; null is "not said".
PROCEDURES = pa.schema(
    [
        pa.field("procedure_code", _TEXT, nullable=False),
        ("name", _TEXT),
        ("sector", _TEXT),
        ("levels", _TEXT),
        ("has_fee", pa.bool_()),
        ("is_result_required", pa.bool_()),
        ("offers_online", pa.bool_()),
        ("is_citizen_subject", pa.bool_()),
        ("has_whole_applicants", pa.bool_()),
        ("limit_value", pa.float64()),
        ("limit_unit", _TEXT),
        ("online_level", _TEXT),
        ("is_online_eligible", pa.bool_()),
        ("offers_online_payment", pa.bool_()),
        ("is_integrated", pa.bool_()),
        ("state", _TEXT),
        pa.field("source", _TEXT, nullable=False),
    ]
)


def _texts(*names: str) -> pa.StructType:
    return pa.struct([(name, _TEXT) for name in names])


_FEE = _texts("SOTIEN")
_TIME = pa.struct([("THOIGIANGIAIQUYET", _TEXT), ("DONVITINH", _TEXT), ("PHILEPHI", pa.list_(_FEE))])
_WAY = pa.struct([("KENH", _TEXT), ("THOIGIAN", pa.list_(_TIME))])

#: The fields of `LayThuTuc` that are read; every other is skipped unread.
WIRE = pa.schema(
    [
        wire_field("MATTHC", _TEXT, "Mã thủ tục", "Code, with or without a local suffix"),
        wire_field("TENTTHC", _TEXT, "Tên thủ tục", "Name"),
        wire_field("LINHVUCTHUCHIEN", pa.list_(_texts("TENLINHVUC")), "Lĩnh vực", "Sectors; the first one counts"),
        wire_field("CACHTHUCTHUCHIEN", pa.list_(_WAY), "Cách thức", "KENH 1 direct, 2 online, 3 post; times and fees"),
        wire_field("KETQUATHUCHIEN", pa.list_(_texts("MAKETQUA", "TENKETQUA")), "Kết quả", "Results"),
        wire_field("COQUANTHUCHIEN", pa.list_(_texts("TENDONVI")), "Cơ quan thực hiện", "Who carries it out"),
        wire_field("DOITUONGTHUCHIEN", pa.list_(_texts("TENDOITUONG")), "Đối tượng", "Who applies"),
        wire_field("TRANGTHAI", _TEXT, "Trạng thái", "State; its codes are the deployment's"),
    ]
)


@dataclass(frozen=True)
class Catalogue:
    """What a catalogue said (columns of `PROCEDURES`, one row a code), and what of it could not be used."""

    procedures: pa.Table
    broken: tuple[Broken, ...] = ()

    @property
    def unheard(self) -> frozenset[str]:
        """Codes that are listed but of which nothing was heard, each with its national one: all may be as it was."""
        listed = {each.where for each in self.broken if each.reason in (UNREACHABLE, REFUSED)}
        return frozenset(listed | {match[1] for code in listed if (match := _CODE.fullmatch(code))})


class UnusableProcedure(ValueError):  # noqa: N818  says what is wrong
    """A procedure cannot be used; `clause` is the field, `reason` the machine's word, the text the operator's."""

    def __init__(self, reason: str, clause: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.clause = clause


# ---- words and codes


_CODE = re.compile(r"(\d\.\d{6})((\.\d{2,3}){3}\.H\d{2})?")
_SHORTENED = re.compile(r"\d\.\d{1,5}")


def national_code(text: str) -> str:
    """The national code d.dddddd of a code as a source writes it.

    A local sub-code ("1.001612.000.00.00.H15") is its national code's; a spreadsheet that took the code for
    a number has cut zeros from its end. Raises `UnusableProcedure` for anything else.
    """
    code = tidied(text).upper()
    if match := _CODE.fullmatch(code):
        return match[1]
    if _SHORTENED.fullmatch(code):
        return code.ljust(len("d.dddddd"), "0")
    raise UnusableProcedure("unreadable_code", "MATTHC", f"Mã thủ tục {quoted_word(code)} không có dạng d.dddddd")


def title_of(text: str, field: str, what: str) -> str:
    """The title of a procedure or sector as it is; `UnusableProcedure` when it names somebody."""
    if speaks_of_person(text):
        raise UnusableProcedure(NO_PERSON, field, hidden(what, text))
    return text


#: How long a unit of time is beside the others, in minutes of the calendar: only to tell the longest of several
#: limits (a working hour is a fortieth of a week, a working day a fifth).
_UNIT_MINUTES = {"giờ": 252, "giờ làm việc": 252, "ngày": 1440, "ngày làm việc": 2016, "tuần": 10_080, "tháng": 43_200}
_LEVEL_WORDS = (
    ("Cấp bộ", re.compile(r"\bcấp bộ\b|^bộ (?!phận|đội|chỉ huy|tư lệnh)")),
    ("Cấp tỉnh", re.compile(r"\bcấp tỉnh\b|^sở |^(ubnd|ủy ban nhân dân) (tỉnh|thành phố trực thuộc)")),
    ("Cấp huyện", re.compile(r"\bcấp huyện\b|^(ubnd|ủy ban nhân dân) (huyện|quận|thị xã)")),
    ("Cấp xã", re.compile(r"\bcấp xã\b|^(ubnd|ủy ban nhân dân) (xã|phường|thị trấn|đặc khu)")),
)


def levels_of(agencies: Iterable[str]) -> str | None:
    """The levels that agencies are of, worded as the catalogue words them; None when one of them does not tell."""
    found: set[str] = set()
    for agency in agencies:
        bare = tidied(agency).casefold()
        levels = {level for level, words in _LEVEL_WORDS if words.search(bare)}
        if not levels:
            return None
        found |= levels
    return ", ".join(level for level, _ in _LEVEL_WORDS if level in found) or None


# ---- one procedure as LayThuTuc says it


_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(struct_of(pa.struct(list(WIRE))))


def read_procedure(record: bytes, states: Mapping[str, State]) -> Row:
    """One record of `LayThuTuc` in the columns of `PROCEDURES`; `UnusableProcedure` when it cannot be.

    A list that is missing says nothing; one that is empty says "none". Fee: any SOTIEN that is not 0 or
    blank. Time limit: the longest of all channels (formula 2.2 speaks of the maximum time limit).
    """
    try:
        said: Row = coerce(_decoder.decode(record), pa.struct(list(WIRE)))
    except (msgspec.DecodeError, ValueError, OverflowError, UnicodeDecodeError):
        # The decoder's own message may quote what it read; size is enough.
        text = f"Không đọc được thủ tục ({len(record)} byte): JSON hỏng hoặc sai kiểu dữ liệu"
        raise UnusableProcedure("unreadable_record", "json", text) from None
    name = tidied(said["TENTTHC"] or "")
    if not name:
        raise UnusableProcedure("TENTTHC_present", "TENTTHC", "Thiếu tên thủ tục (TENTTHC)")
    code = national_code(said["MATTHC"] or "")
    row = dict.fromkeys(PROCEDURES.names) | {"procedure_code": code, "name": title_of(name, "TENTTHC", "Tên thủ tục")}
    return row | _ways(said["CACHTHUCTHUCHIEN"]) | _people(said) | {
        "is_result_required": _any_said(said["KETQUATHUCHIEN"], "MAKETQUA", "TENKETQUA"),
        "state": _state(said["TRANGTHAI"], states),
        "source": "catalogue",
    }  # fmt: skip


def _people(said: Row) -> Row:
    """Sector, who carries it out, who applies."""
    sectors, applicants = said["LINHVUCTHUCHIEN"], said["DOITUONGTHUCHIEN"]
    names = [tidied(each["TENDOITUONG"] or "") for each in applicants or () if each]
    sector = next((tidied(each["TENLINHVUC"]) for each in sectors or () if each and each["TENLINHVUC"]), "")
    return {
        "sector": title_of(sector, "TENLINHVUC", "Tên lĩnh vực") or None,
        "levels": levels_of(each["TENDONVI"] or "" for each in said["COQUANTHUCHIEN"] or () if each),
        "is_citizen_subject": any("công dân" in name.casefold() for name in names) if applicants else None,
        "has_whole_applicants": True if applicants else None,
    }


def _any_said(items: list[Row] | None, *names: str) -> bool | None:
    if items is None:
        return None
    return any((item[name] or "").strip() for item in items if item for name in names)


def _ways(ways: list[Row] | None) -> Row:
    """Channels, the longest time limit, and whether any of them asks for a fee."""
    if not ways:
        return {}
    times = [time for way in ways if way for time in way["THOIGIAN"] or () if time]
    amounts = [fee["SOTIEN"] or "" for time in times for fee in time["PHILEPHI"] or () if fee]
    value, unit = longest_limit([(time["THOIGIANGIAIQUYET"], time["DONVITINH"]) for time in times])
    return {
        "offers_online": any((way["KENH"] or "").strip() == "2" for way in ways if way),
        "has_fee": _ask_money(amounts),
        "limit_value": value,
        "limit_unit": unit,
    }


def _ask_money(amounts: Sequence[str]) -> bool:
    """Whether any amount asks for something; every one is read, so that none is unreadable unseen."""
    return True in {_asks_money(amount) for amount in amounts}


def _asks_money(amount: str) -> bool:
    """Whether a SOTIEN asks for anything: 0, in whatever spelling, and blank do not."""
    digits = re.sub(r"\D", "", amount)
    if amount.strip() and not digits:
        raise UnusableProcedure("unreadable_fee", "SOTIEN", f"Số tiền {quoted_word(tidied(amount))} không phải là số")
    return digits.strip("0") != ""


def longest_limit(limits: Sequence[tuple[str | None, str | None]]) -> tuple[float | None, str | None]:
    """The longest of some time limits, as published; nothing when none is a number of a known unit."""
    found = [(value * _UNIT_MINUTES[unit.casefold()], value, unit) for value, unit in map(_limit, limits) if value]
    return max(found, key=lambda each: each[0])[1:] if found else (None, None)


def _limit(said: tuple[str | None, str | None]) -> tuple[float | None, str]:
    """One limit; (None, "") when there is none ("giải quyết ngay" has no number)."""
    value, unit = tidied(said[0] or "").replace(",", "."), tidied(said[1] or "")
    if not re.fullmatch(r"\d+(\.\d+)?", value):
        return None, ""
    if is_personal("status", value):
        raise UnusableProcedure(NO_PERSON, "THOIGIANGIAIQUYET", hidden("Thời hạn giải quyết", value))
    if unit.casefold() not in _UNIT_MINUTES:
        raise UnusableProcedure("unmapped_unit", "DONVITINH", f"Đơn vị thời hạn {quoted_word(unit)} chưa có nghĩa")
    return float(value), unit


def _state(said: str | None, states: Mapping[str, State]) -> State | None:
    text = tidied(said or "")
    if not text or not states:
        return None
    if text not in states:
        why = f"Trạng thái {quoted_word(text)} chưa có nghĩa: thêm vào states của cấu hình danh mục"
        raise UnusableProcedure("unmapped_state", "TRANGTHAI", why)
    return states[text]


# ---- several procedures


def _broken(where: str, record: bytes, error: UnusableProcedure) -> Broken:
    digest = hashlib.md5(record, usedforsecurity=False).hexdigest()
    return Broken(where=where, reason=error.reason, clause=error.clause, detail=str(error), content_hash=digest)


def gathered(heard: Iterable[tuple[str, bytes]], read: Callable[[bytes], Row], broken: Iterable[Broken]) -> Catalogue:
    """The catalogue made of records (where they stood, what was said), each read by `read`.

    Several codes may mean one national code. Of a service's codes the national one is believed, of a file's lines
    the first; another that says something else is told as broken.
    """
    refused = list(broken)
    rows: list[tuple[str, bytes, Row]] = []
    for where, record in heard:
        try:
            rows.append((where, record, read(record)))
        except UnusableProcedure as error:
            refused.append(_broken(where, record, error))
    rows.sort(key=lambda each: (each[2]["procedure_code"], len(each[0]), each[0]))
    kept: list[Row] = []
    for code, group in groupby(rows, key=lambda each: each[2]["procedure_code"]):
        (_, _, first), *others = group
        kept.append(first)
        told = UnusableProcedure("duplicate_procedure", "MATTHC", f"Thủ tục {code} được nói hai lần, khác nhau")
        refused.extend(_broken(where, record, told) for where, record, row in others if row != first)
    return Catalogue(pa.Table.from_pylist(kept, schema=PROCEDURES), tuple(refused))


# ---- the service


class _Listed(msgspec.Struct):
    MATTHC: str | int | float | None = None


_listings = msgspec.json.Decoder(list[_Listed] | None)
_results = msgspec.json.Decoder(list[msgspec.Raw] | msgspec.Raw | None)


class CatalogueWalk(Walk):
    """Asks for the list, then for each procedure of it. `heard` and `broken` hold what came of each."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.heard: list[tuple[str, bytes]] = []
        self.broken: list[Broken] = []
        self.listed = 0

    def begin(self) -> Sequence[Call]:
        """The list."""
        return [Call(self._path, (("service", LIST_SERVICE),), method="POST")]

    def accept(self, call: Call, reply: Reply) -> Step:
        """Take in the list, or one procedure."""
        answer = answer_of(call, reply)
        return self._one(call, answer) if call.tag else self._list(call, answer)

    def forgive(self, call: Call, error: SourceError) -> bool:
        """A procedure that cannot be had is told and left out; without the list there is nothing."""
        if not call.tag:
            return False
        self._refuse(call.tag, UnusableProcedure(UNREACHABLE, PROCEDURE_SERVICE, f"Không lấy được: {error}"))
        return True

    def _list(self, call: Call, answer: Answer) -> Step:
        if answer.code != SUCCESS:
            raise Permanent(f"{LIST_SERVICE}: error_code {answer.code}", hint="Check madonvi", key="madonvi")
        try:
            items = _listings.decode(bytes(answer.result)) or []
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Transient(f"{call}: {LIST_SERVICE} answered no list of procedures") from None
        codes = sorted({str(item.MATTHC).strip() for item in items if item.MATTHC is not None} - {""})
        if not codes:
            raise Transient(f"{LIST_SERVICE} answered an empty list of procedures", key="madonvi")
        self.listed = len(codes)
        return Step(calls=[self._call(code) for code in codes])

    def _call(self, code: str) -> Call:
        return Call(self._path, (("service", PROCEDURE_SERVICE), ("maTTHC", code)), tag=code, method="POST")

    def _one(self, call: Call, answer: Answer) -> Step:
        if answer.code != SUCCESS:
            why = f"{PROCEDURE_SERVICE} từ chối, error_code {answer.code}"
            return self._refuse(call.tag, UnusableProcedure(REFUSED, "error_code", why))
        try:
            found = _results.decode(bytes(answer.result))
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Transient(f"{call}: {PROCEDURE_SERVICE} answered something cut off") from None
        records = found if isinstance(found, list) else [] if found is None else [found]
        if not records:
            why = f"{PROCEDURE_SERVICE} không có thủ tục này dù danh sách có"
            return self._refuse(call.tag, UnusableProcedure("missing_procedure", "result", why))
        self.heard.append((_place(call.tag), bytes(records[0])))
        return Step()

    def _refuse(self, code: str, error: UnusableProcedure) -> Step:
        self.broken.append(_broken(_place(code), code.encode(), error))
        return Step()


def _place(code: str) -> str:
    """A code of the list as the place of its procedure."""
    return masked(code) if is_personal("code", code) else code


@dataclass(frozen=True)
class CatalogueService:
    """An open catalogue service."""

    settings: CatalogueServiceSettings
    loop: Loop

    async def read(self) -> Catalogue:
        """Every procedure that the service lists. `SourceError` when the list, or every single one, cannot be had."""
        walk = CatalogueWalk(self.settings.share_endpoint)
        async for _ in self.loop.run(walk):
            pass
        if not walk.heard:
            raise Transient(f"none of the {walk.listed} procedures listed could be had: {walk.broken[0].detail}")
        return gathered(walk.heard, lambda record: read_procedure(record, self.settings.states), walk.broken)


@asynccontextmanager
async def connect(settings: CatalogueServiceSettings) -> AsyncIterator[CatalogueService]:
    """Open the service; `MissingSecret` when a variable that the settings name is not set."""
    async with open_adapter(settings) as loop:
        yield CatalogueService(settings, loop)


def read_service(settings: CatalogueServiceSettings) -> Catalogue:
    """The whole catalogue of the service, for callers without an event loop."""

    async def run() -> Catalogue:
        """One session for the whole reading."""
        async with connect(settings) as service:
            return await service.read()

    return asyncio.run(run())
