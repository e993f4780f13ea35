"""A catalogue of procedures exported to a file: CSV, JSON or XLSX.

Belongs here: which column is which, and what the words of an export mean. Does not belong here: the
catalogue's service, nor the record that an export in JSON may share with it (`catalogue.py`).
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from zipfile import BadZipFile

import openpyxl
from openpyxl.utils.exceptions import InvalidFileException
from pydantic import Field

from connectors.catalogue import (
    PROCEDURES,
    Catalogue,
    Row,
    State,
    Strict,
    UnusableProcedure,
    gathered,
    longest_limit,
    national_code,
    quoted,
    read_procedure,
    tidied,
)
from connectors.protocol import Permanent

_T = TypeVar("_T")


class CatalogueFileSettings(Strict):
    """A catalogue exported to a file: CSV, JSON or XLSX, told by its name."""

    kind: Literal["catalogue-file"]
    path: Path
    encoding: str = "utf-8-sig"
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    #: Sheet of a workbook; the first one when not named.
    sheet: str | None = None
    #: Column of `PROCEDURES` → header in the file, where the export words it in its own way.
    columns: dict[str, str] = Field(default_factory=dict)
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
#: Rows above the header that an export may put there (title, province, date).
_TITLE_ROWS = 20


def read_file(settings: CatalogueFileSettings) -> Catalogue:
    """The catalogue in an exported file. `Permanent` when the file is not there or is none.

    A cell left blank says nothing. A row that cannot be used is told by its line and stops no other.
    """
    path = settings.path
    kinds = {".csv": _csv_rows, ".json": _json_rows, ".xlsx": _xlsx_rows}
    if path.suffix.lower() not in kinds:
        raise Permanent(f"{path}: a catalogue is a file named .csv, .json or .xlsx", key="path")
    try:
        return kinds[path.suffix.lower()](settings)
    except OSError as error:
        raise Permanent(f"{path}: {error.strerror or 'cannot be read'}", key="path") from None
    except UnicodeDecodeError:
        raise Permanent(f"{path}: not text in {settings.encoding}", key="encoding") from None


def _csv_rows(settings: CatalogueFileSettings) -> Catalogue:
    text = settings.path.read_text(encoding=settings.encoding)
    return _tabular(csv.reader(io.StringIO(text, newline=""), delimiter=settings.delimiter), settings)


def _xlsx_rows(settings: CatalogueFileSettings) -> Catalogue:
    try:
        book = openpyxl.load_workbook(settings.path, read_only=True, data_only=True)
    except (ValueError, KeyError, BadZipFile, InvalidFileException) as error:
        raise Permanent(f"{settings.path}: not a workbook ({type(error).__name__})", key="path") from None
    try:
        name = settings.sheet or book.sheetnames[0]
        if name not in book.sheetnames:
            raise Permanent(f"{settings.path}: no sheet {name!r}; it has {', '.join(book.sheetnames)}", key="sheet")
        return _tabular(([_cell(value) for value in row] for row in book[name].iter_rows(values_only=True)), settings)
    finally:
        book.close()


def _cell(value: Any) -> str:
    """A cell as text; a code that was taken for a number keeps the six decimals that it has."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float):
        return f"{value:.6f}".rstrip("0").rstrip(".")
    return str(value)


def _json_rows(settings: CatalogueFileSettings) -> Catalogue:
    """A list of objects, bare or under `result`: as `LayThuTuc` words them, or one value a column."""
    try:
        content = json.loads(settings.path.read_text(encoding=settings.encoding))
    except json.JSONDecodeError as error:
        raise Permanent(f"{settings.path}, line {error.lineno}: not JSON ({error.msg})", key="path") from None
    items = content.get("result") if isinstance(content, dict) else content
    if not isinstance(items, list):
        raise Permanent(f"{settings.path}: expected a list of procedures, bare or under result", key="path")
    heard = [
        (f"{settings.path.name}#{number}", json.dumps(item).encode()) for number, item in enumerate(items, start=1)
    ]
    as_service = any(isinstance(item, dict) and "CACHTHUCTHUCHIEN" in item for item in items)
    return gathered(heard, _service_reader(settings) if as_service else _flat_reader(settings), ())


def _service_reader(settings: CatalogueFileSettings) -> Callable[[bytes], Row]:
    return lambda record: read_procedure(record, settings.states) | {"source": "file"}


def _flat_reader(settings: CatalogueFileSettings) -> Callable[[bytes], Row]:
    def read(record: bytes) -> Row:
        """A flat JSON object as a row; `UnusableProcedure` for anything else."""
        item = json.loads(record)
        if not isinstance(item, dict):
            raise UnusableProcedure("unreadable_record", "json", "Bản ghi không phải là một đối tượng JSON")
        places = _places(list(item), settings)
        return _stated({column: _cell(item[header]) for column, header in places.items()}, settings)

    return read


def _tabular(rows: Iterable[Sequence[str]], settings: CatalogueFileSettings) -> Catalogue:
    numbered = enumerate(rows, start=1)
    places = _header(numbered, settings)
    heard = [
        (
            f"{settings.path.name}, dòng {number}",
            json.dumps([cells[i] if i < len(cells) else "" for i in places.values()]),
        )
        for number, cells in numbered
        if any(cell.strip() for cell in cells)
    ]

    def read(record: bytes) -> Row:
        """The cells of one line, by column, as a row."""
        return _stated(dict(zip(places, json.loads(record), strict=True)), settings)

    return gathered(((where, text.encode()) for where, text in heard), read, ())


def _header(rows: Iterator[tuple[int, Sequence[str]]], settings: CatalogueFileSettings) -> dict[str, int]:
    """Column → position, from the first row that has the code's header; titles above it are skipped."""
    for number, cells in rows:
        found = _places(list(cells), settings)
        if "procedure_code" in found:
            if missing := sorted(set(settings.columns) - set(found)):
                headers = ", ".join(settings.columns[column] for column in missing)
                raise Permanent(f"{settings.path}: no column {headers}", key="columns")
            return {column: list(cells).index(header) for column, header in found.items()}
        if number >= _TITLE_ROWS:
            break
    wanted = settings.columns.get("procedure_code") or " / ".join(HEADERS["procedure_code"])
    raise Permanent(f"{settings.path}: no column for the procedure's code ({wanted})", key="columns")


def _places(headers: Sequence[str], settings: CatalogueFileSettings) -> dict[str, str]:
    """Column → header as the file words it, for the columns that it has."""
    folded = {tidied(header).casefold(): header for header in reversed(headers)}
    found: dict[str, str] = {}
    for column, words in HEADERS.items():
        own = settings.columns.get(column)
        candidates = (tidied(own).casefold(),) if own else words
        if header := next((folded[word] for word in candidates if word in folded), None):
            found[column] = header
    return found


def _stated(cells: Mapping[str, str], settings: CatalogueFileSettings) -> Row:
    """A row of a table in the columns of `PROCEDURES`."""
    texts = {column: tidied(cells.get(column) or "") for column in HEADERS}
    row: Row = dict.fromkeys(PROCEDURES.names) | {"procedure_code": national_code(texts["procedure_code"])}
    row |= {name: texts[name] or None for name in ("name", "sector")}
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
        raise UnusableProcedure(f"unmapped_{column}", column, f"{vi} {quoted(text)} chưa có nghĩa")
    return known[text.casefold()]
