"""What a source calls its units: the directory of the national portal's adapter, or an exported list.

Belongs here: the service `LayDanhMucCoQuan` (sources chapter 3.5), lists in files, and which of their rows can be
used. Does not belong here: log-in and session (`npsp_adapter.py`), headers of files (`exports.py`), which unit of
ours a code is and since when it is listed (`assets/dossiers/directory.py`).

A name here is that of an office. One that looks like a person's is refused with its length in its place: lists are
kept by hand, and a clerk's name or phone stands in them soon enough.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Annotated, Any, Literal

import msgspec
from pydantic import Field, NonNegativeInt

from connectors.contract import Broken
from connectors.exports import NO_PERSON, ExportSettings, Wanted, hidden, quoted, read_export, tidied
from connectors.npsp_adapter import SUCCESS, AdapterSettings, answer_of, open_adapter
from connectors.person_fields import is_personal
from connectors.protocol import Call, Guard, Permanent, Reply, Step, Transient, Walk
from connectors.records import text_of
from connectors.settings import Strict

SERVICE = "LayDanhMucCoQuan"


class DirectorySettings(Strict):
    """Whose codes a directory lists, and when a sudden gap in it is doubted."""

    #: Name of the source whose dossiers carry these codes.
    source: str
    #: What its dossiers name an agency by, and so what agencies.csv says: its code, or (messages in the national
    #: portal's format) its name.
    dossiers_say: Literal["code", "name"] = "code"
    #: When more than this share of the codes known, and more than so many, are missing at once, none of them is
    #: taken for gone, and the night says so.
    missing_share: Annotated[float, Field(gt=0, le=1)] = 0.2
    missing_floor: NonNegativeInt = 20

    @property
    def guard(self) -> Guard:
        """What doubts a directory that suddenly lists far fewer codes."""
        return Guard(self.missing_share, self.missing_floor)


class UnitServiceSettings(AdapterSettings, DirectorySettings):
    """The directory service of the national portal's adapter (sources chapters 3.1 and 3.5)."""

    kind: Literal["npsp-units"]


class UnitFileSettings(ExportSettings, DirectorySettings):
    """A directory exported to a file."""

    kind: Literal["units-file"]


UnitSettings = UnitServiceSettings | UnitFileSettings


@dataclass(frozen=True)
class Agency:
    """One row of a directory."""

    code: str
    name: str


@dataclass(frozen=True)
class Directory:
    """What a directory said: one row a code, what of it could not be used, and the codes of these where readable."""

    agencies: tuple[Agency, ...]
    broken: tuple[Broken, ...] = ()
    unusable: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Heard:
    """A row as it was said: where it stood, and its texts; None where they could not be read."""

    where: str
    record: bytes
    agency: Agency | None


def read_directory(settings: UnitSettings, *, places: Collection[str] = ()) -> Directory:
    """The whole directory. `SourceError` when it cannot be had or lists nothing, `MissingSecret` without a secret.

    `places` are names of units: what carries the name of a person as its own ("xã Văn Yên") is none.
    """
    return asyncio.run(directory_of(settings, places=places))


async def directory_of(settings: UnitSettings, *, places: Collection[str] = ()) -> Directory:
    """`read_directory` for callers with an event loop."""
    heard = _in_file(settings) if isinstance(settings, UnitFileSettings) else await _of_service(settings)
    found = gathered(heard, _judge(places))
    if not found.agencies:
        told = f"; the first of {len(found.broken)}: {found.broken[0].detail}" if found.broken else ""
        raise Permanent(f"the directory of {settings.source} lists no unit that can be used{told}", key="kind")
    return found


# ---- files


_WANTED = Wanted(
    name="a directory of units",
    row="units",
    headers={
        "code": ("mã đơn vị", "mã cơ quan", "mã định danh", "madonvi", "agency_code", "code"),
        "name": ("tên đơn vị", "tên cơ quan", "tendonvi", "agency_name", "name"),
    },
    needed={"code": "the unit's code", "name": "the unit's name"},
)


def _in_file(settings: UnitFileSettings) -> list[_Heard]:
    return [
        _Heard(row.where, json.dumps([row.item, dict(row.cells)]).encode(), _said(row.cells.get))
        for row in read_export(settings, _WANTED)
    ]


def _said(cell: Callable[[str], Any]) -> Agency | None:
    """The row's texts in NFC with single spaces; None for what is no row of a directory."""
    code, name = cell("code"), cell("name")
    return None if code is None and name is None else Agency(tidied(code or ""), tidied(name or ""))


# ---- the service


class _Row(msgspec.Struct):
    MADONVI: str | int | float | None = None
    TENDONVI: str | None = None


_rows = msgspec.json.Decoder(_Row)
_results = msgspec.json.Decoder(list[msgspec.Raw] | None)


class UnitWalk(Walk):
    """Asks for the directory, which comes in one answer; `heard` holds its rows."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.heard: list[_Heard] = []

    def begin(self) -> Sequence[Call]:
        """The one call."""
        return [Call(self._path, (("service", SERVICE),), method="POST")]

    def accept(self, call: Call, reply: Reply) -> Step:
        """Take in the directory."""
        answer = answer_of(call, reply)
        if answer.code != SUCCESS:
            raise Permanent(f"{SERVICE}: error_code {answer.code}", hint="Check madonvi", key="madonvi")
        try:
            records = _results.decode(bytes(answer.result))
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Transient(f"{call}: {SERVICE} answered no list of units") from None
        if not records:
            raise Transient(f"{SERVICE} answered an empty list of units", key="madonvi")
        self.heard = [_row(number, bytes(record)) for number, record in enumerate(records, start=1)]
        return Step()


async def _of_service(settings: UnitServiceSettings) -> list[_Heard]:
    walk = UnitWalk(settings.share_endpoint)
    async with open_adapter(settings) as loop:
        async for _ in loop.run(walk):
            pass
    return walk.heard


def _row(number: int, record: bytes) -> _Heard:
    where = f"{SERVICE}#{number}"
    try:
        row = _rows.decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Heard(where, record, None)
    code = "" if row.MADONVI is None else tidied(text_of(row.MADONVI))
    # A position changes with every unit that is added; a code that may be told is the better place.
    place = where if not code or is_personal("agencyCode", code) else code
    return _Heard(place, record, Agency(code, tidied(row.TENDONVI or "")))


# ---- several rows


#: Why a row cannot be used: the reason, the field, and what is told.
_Fault = tuple[str, str, str]


def _judge(places: Collection[str]) -> Callable[[Agency | None], _Fault | None]:
    """What is wrong with a row, by itself; the names of `places` are no persons."""
    names = sorted(map(tidied, places), key=len, reverse=True)
    known = re.compile("|".join(map(re.escape, names)), re.IGNORECASE)

    def fault(row: Agency | None) -> _Fault | None:
        if row is None:
            return "unreadable_record", "json", "Không đọc được bản ghi: JSON hỏng hoặc sai kiểu dữ liệu"
        if not row.code:
            return "MADONVI_present", "MADONVI", "Thiếu mã đơn vị (MADONVI)"
        if is_personal("agencyCode", row.code):
            return NO_PERSON, "MADONVI", hidden("Mã đơn vị", row.code)
        if not row.name:
            return "TENDONVI_present", "TENDONVI", f"Mã {quoted(row.code)} thiếu tên đơn vị (TENDONVI)"
        if is_personal("agencyName", known.sub("—", row.name) if names else row.name):
            return NO_PERSON, "TENDONVI", f"Mã {quoted(row.code)}: {hidden('tên đơn vị', row.name)}"
        return None

    return fault


def gathered(heard: Iterable[_Heard], fault: Callable[[Agency | None], _Fault | None]) -> Directory:
    """The directory made of rows; of a code with two names neither is believed."""
    broken: list[Broken] = []
    unusable: set[str] = set()
    sound: list[tuple[Agency, _Heard]] = []
    for each in heard:
        if (wrong := fault(each.agency)) is None and each.agency is not None:
            sound.append((each.agency, each))
        elif wrong is not None:
            broken.append(_broken(each, wrong))
            if each.agency is not None and wrong[1] != "MADONVI":
                unusable.add(each.agency.code)
    kept: list[Agency] = []
    for _, group in groupby(sorted(sound, key=_by_code), key=lambda each: each[0].code.lower()):
        rows = list(group)
        names = sorted({agency.name for agency, _ in rows})
        if len(names) == 1:
            kept.append(rows[0][0])
            continue
        unusable.add(rows[0][0].code)
        told = f"Mã {quoted(rows[0][0].code)} có nhiều tên khác nhau: {', '.join(map(quoted, names))}"
        broken.extend(_broken(each, ("two_names", "TENDONVI", told)) for _, each in rows)
    return Directory(tuple(kept), tuple(broken), frozenset(unusable))


def _by_code(each: tuple[Agency, _Heard]) -> tuple[str, str]:
    return each[0].code.lower(), each[0].code


def _broken(heard: _Heard, fault: _Fault) -> Broken:
    reason, clause, detail = fault
    digest = hashlib.md5(heard.record, usedforsecurity=False).hexdigest()
    return Broken(where=heard.where, reason=reason, clause=clause, detail=detail, content_hash=digest)
