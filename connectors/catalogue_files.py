"""A catalogue of procedures exported to a file: CSV, JSON or XLSX.

Belongs here: which column is which, and what the words of an export mean. Does not belong here: the
catalogue's service, nor the record that an export in JSON may share with it (`catalogue.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import Field

from connectors.catalogue import (
    PROCEDURES,
    Catalogue,
    Row,
    State,
    UnusableProcedure,
    gathered,
    longest_limit,
    national_code,
    read_procedure,
    title_of,
)
from connectors.exports import Exported, ExportSettings, Wanted, quoted_word, read_export, tidied

_T = TypeVar("_T")


class CatalogueFileSettings(ExportSettings):
    """A catalogue exported to a file."""

    kind: Literal["catalogue-file"]
    #: What the export's words for the state mean, beside `còn hiệu lực` and `hết hiệu lực`.
    states: dict[str, State] = Field(default_factory=dict)


#: Headers of exports, folded; the first one found counts.
HEADERS: Mapping[str, tuple[str, ...]] = {
    "procedure_code": ("mã tthc", "mã thủ tục", "mã thủ tục hành chính", "mã số tthc", "matthc", "procedure_code"),
    "name": ("tên tthc", "tên thủ tục", "tên thủ tục hành chính", "tentthc", "name"),
    "sector": ("lĩnh vực", "tên lĩnh vực", "sector"),
    "levels": ("cấp thực hiện", "levels"),
    "has_fee": ("có phí, lệ phí", "có phí", "has_fee"),
    "is_result_required": ("có kết quả", "is_result_required"),
    "offers_online": ("nộp trực tuyến", "nhận trực tuyến", "offers_online"),
    "applicants": ("đối tượng thực hiện", "đối tượng", "applicants"),
    "limit_value": ("thời hạn giải quyết", "thời hạn", "limit_value"),
    "limit_unit": ("đơn vị thời hạn", "đơn vị tính", "limit_unit"),
    "online_level": ("mức độ dvctt", "mức độ dịch vụ công", "mức độ dịch vụ công trực tuyến", "mức độ", "online_level"),
    "is_online_eligible": ("đủ điều kiện trực tuyến", "đủ điều kiện", "is_online_eligible"),
    "offers_online_payment": ("thanh toán trực tuyến", "offers_online_payment"),
    "is_integrated": ("tích hợp cổng dvcqg", "tích hợp dvcqg", "tích hợp", "is_integrated"),
    "state": ("trạng thái", "tình trạng", "state"),
}

_YES = frozenset({"có", "x", "1", "true", "yes", "rồi", "đã"})
_NO = frozenset({"không", "0", "false", "no", "chưa"})
#: Decree 42/2022/NĐ-CP names two kinds of online service; the four levels of before are read as those.
_LEVELS = {
    **dict.fromkeys(("full", "toàn trình", "dvctt toàn trình", "dịch vụ công trực tuyến toàn trình"), "full"),
    **dict.fromkeys(("4", "mức 4", "mức độ 4"), "full"),
    **dict.fromkeys(("partial", "một phần", "dvctt một phần", "dịch vụ công trực tuyến một phần"), "partial"),
    **dict.fromkeys(("3", "mức 3", "mức độ 3"), "partial"),
    **dict.fromkeys(
        ("none", "không", "không trực tuyến", "cung cấp thông tin", "cung cấp thông tin trực tuyến"), "none"
    ),
    **dict.fromkeys(("1", "2", "mức 1", "mức 2", "mức độ 1", "mức độ 2"), "none"),
}
_STATES: dict[str, State] = {
    "in_force": "in_force",
    "còn hiệu lực": "in_force",
    "đang có hiệu lực": "in_force",
    "repealed": "repealed",
    "hết hiệu lực": "repealed",
    "bãi bỏ": "repealed",
    "đã bãi bỏ": "repealed",
}
_LEVEL_CELLS = {
    "cấp bộ": "Cấp bộ",
    "bộ": "Cấp bộ",
    "cấp tỉnh": "Cấp tỉnh",
    "tỉnh": "Cấp tỉnh",
    "cấp huyện": "Cấp huyện",
    "huyện": "Cấp huyện",
    "cấp xã": "Cấp xã",
    "xã": "Cấp xã",
    "cơ quan khác": "Cơ quan khác",
}
_WANTED = Wanted(
    name="a catalogue", row="procedures", headers=HEADERS, needed={"procedure_code": "the procedure's code"}
)


def read_file(settings: CatalogueFileSettings) -> Catalogue:
    """The catalogue in an exported file. `Permanent` when the file is not there or is none.

    A cell left blank says nothing. A row that cannot be used is told by its line and stops no other. A list in JSON
    holds objects as `LayThuTuc` words them, or one value a column.
    """
    rows = read_export(settings, _WANTED)
    as_service = any(isinstance(row.item, dict) and "CACHTHUCTHUCHIEN" in row.item for row in rows)

    def read(record: bytes) -> Row:
        """A procedure as the service words it, or the cells of one row by column."""
        if as_service:
            return read_procedure(record, settings.states) | {"source": "file"}
        return _stated(json.loads(record), settings)

    return gathered(((row.where, _record(row, as_service=as_service)) for row in rows), read, ())


def _record(row: Exported, *, as_service: bool) -> bytes:
    """What of a row is read: the object, or its cells where it has any."""
    said: Any = row.item if as_service or (row.item is not None and not row.cells) else row.cells
    return json.dumps(said).encode()


def _stated(cells: Mapping[str, str], settings: CatalogueFileSettings) -> Row:
    """A row of a table in the columns of `PROCEDURES`."""
    if not isinstance(cells, dict):
        raise UnusableProcedure("unreadable_record", "json", "Bản ghi không phải là một đối tượng JSON")
    texts = {column: tidied(cells.get(column) or "") for column in HEADERS}
    row: Row = dict.fromkeys(PROCEDURES.names) | {"procedure_code": national_code(texts["procedure_code"])}
    row |= {name: title_of(texts[name], name, f"Cột {HEADERS[name][0]}") or None for name in ("name", "sector")}
    row["levels"] = _levels(texts["levels"])
    row |= {name: _flag(texts[name], name) for name in _FLAGS}
    row["limit_value"], row["limit_unit"] = longest_limit([(texts["limit_value"], texts["limit_unit"])])
    if texts["applicants"]:
        row["is_citizen_subject"] = "công dân" in texts["applicants"].casefold()
        row["has_whole_applicants"] = True
    row["online_level"] = _meant(texts["online_level"], _LEVELS, "online_level", "Mức độ dịch vụ công")
    known = _STATES | {tidied(word).casefold(): state for word, state in settings.states.items()}
    row["state"] = _meant(texts["state"], known, "state", "Trạng thái")
    row["source"] = "file"
    return row


_FLAGS = (
    "has_fee",
    "is_result_required",
    "offers_online",
    "is_online_eligible",
    "offers_online_payment",
    "is_integrated",
)


def _levels(text: str) -> str | None:
    """Levels in a cell, in the catalogue's own words and order."""
    parts = [tidied(part) for part in re.split(r"[,;/]", text) if part.strip()]
    found = {_meant(part, _LEVEL_CELLS, "levels", "Cấp thực hiện") for part in parts}
    return ", ".join(level for level in dict.fromkeys(_LEVEL_CELLS.values()) if level in found) or None


def _flag(text: str, column: str) -> bool | None:
    known = dict.fromkeys(_YES, True) | dict.fromkeys(_NO, False)
    return _meant(text, known, column, f"Giá trị cột {HEADERS[column][0]}")


def _meant(text: str, known: Mapping[str, _T], column: str, vi: str) -> _T | None:
    """What a word means; None when nothing is said, `UnusableProcedure` for a word without a meaning."""
    if not text:
        return None
    if text.casefold() not in known:
        raise UnusableProcedure(f"unmapped_{column}", column, f"{vi} {quoted_word(text)} chưa có nghĩa")
    return known[text.casefold()]
