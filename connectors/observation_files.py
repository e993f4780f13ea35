"""The files in which offices send observations: CSV and XLSX, as sheets of cells under known headings.

Belongs here: opening a file, telling its separator, finding the row of headings, and what makes a
whole file or sheet unusable. Does not belong here: what a row must say (`observations.py`).

- CSV is UTF-8, with or without a byte order mark. Anything else (Windows-1258, UTF-16, TCVN3) is
  refused: the old Vietnamese encodings cannot be told apart from their bytes, and a number beside a
  misread unit is worse than a file sent again.
- The separator is the one (; , or tab) under which the headings are found.
- Titles above the headings are normal; headings are looked for in the first rows.
- XLSX is read without calculating: a formula counts with the result that Excel stored, and one
  without a stored result is an error, not a blank.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import openpyxl
from openpyxl.utils.exceptions import InvalidFileException

from connectors.observation_cells import Cell, folded, tidy
from connectors.person_fields import tells_person
from connectors.person_marks import looks_personal

#: Vietnamese heading of each field, as templates write it.
HEADINGS: Mapping[str, str] = {
    "indicator": "Mã chỉ số",
    "indicator_name": "Tên chỉ số",
    "unit_code": "Mã đơn vị",
    "unit_name": "Tên đơn vị",
    "scope": "Phạm vi",
    "period": "Kỳ",
    "period_start": "Ngày đầu kỳ",
    "numerator": "Tử số",
    "denominator": "Mẫu số",
    "value": "Giá trị",
    "evidence": "Văn bản chứng minh",
    "vouched_by_role": "Chức danh xác nhận",
    "stated_on": "Ngày xác nhận",
}
_OTHER_HEADINGS = {
    "indicator": ("mã số chỉ số", "mã chỉ tiêu"),
    "unit_code": ("mã cơ quan", "mã xã"),
    "unit_name": ("đơn vị", "cơ quan"),
    "period": ("kỳ báo cáo", "kỳ số liệu", "loại kỳ"),
    "value": ("chỉ số đạt được", "kết quả"),
    "evidence": ("căn cứ", "văn bản", "số văn bản"),
    "vouched_by_role": ("chức vụ người xác nhận", "chức danh người xác nhận", "chức vụ"),
    "stated_on": ("ngày", "ngày ký"),
}
#: Without these a row says nothing that can be used.
REQUIRED = ("indicator", "unit_code", "period", "evidence", "vouched_by_role", "stated_on")
#: What tells the row of headings from any other.
_MARKS = REQUIRED[:3]
#: Sheets of the template that hold no data.
GUIDE_SHEET, LISTS_SHEET = "Hướng dẫn", "Danh mục"

_FIRST_ROWS = 30
#: An office's file is far smaller; a bigger one is a mistake, or meant to fill the memory.
MOST_BYTES = 20 * 1024 * 1024
MOST_UNPACKED_BYTES = 200 * 1024 * 1024
_SEPARATORS = ";,\t"

_FIELD_OF = {folded(heading): field for field, heading in HEADINGS.items()}
_FIELD_OF |= {folded(name): field for field, names in _OTHER_HEADINGS.items() for name in names}
_FIELD_OF |= {field: field for field in HEADINGS}


class UnusableFileError(ValueError):
    """A file, or a part of it, cannot be read at all.

    `reason` is for machines, the text for the office that sent it; `place` says which part.
    """

    def __init__(self, reason: str, text: str, *, place: str = "") -> None:
        super().__init__(text)
        self.reason = reason
        self.place = place


class _Formula:
    """Stands for a formula whose result the file does not hold."""

    def __str__(self) -> str:
        return "(công thức chưa có kết quả)"


FORMULA = _Formula()

Rows = Sequence[tuple[int, Sequence[Cell]]]


@dataclass(frozen=True, kw_only=True)
class Record:
    """One row or item: where it stood, in words for an operator, and its cells by field."""

    where: str
    cells: Mapping[str, Cell]
    #: Cells behind the last heading: the row is shifted, none of its numbers can be trusted.
    is_shifted: bool = False


def records_of(path: Path, name: str) -> Iterator[Record | UnusableFileError]:
    """Every row below the headings of a file, `name` being what errors call the file; unusable sheets as such.

    Raises `UnusableFileError` when nothing of the file can be read. Rows without any cell are left out.
    """
    if path.stat().st_size > MOST_BYTES:
        raise UnusableFileError("file_too_big", f"tệp lớn hơn {MOST_BYTES // 1024 // 1024} MB")
    suffix = path.suffix.lower()
    if suffix == ".csv":
        yield from _csv(path.read_bytes(), f"tệp {name}")
    elif suffix == ".xlsx":
        yield from _workbook(path, name)
    else:
        raise UnusableFileError(
            "unsupported_file",
            f"không đọc được loại tệp {suffix or '(không đuôi)'}; hãy lưu thành .xlsx hoặc CSV UTF-8",
        )


def _csv(content: bytes, place: str) -> Iterator[Record | UnusableFileError]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnusableFileError(
            "not_utf8",
            "tệp CSV không phải UTF-8 (có thể là Windows-1258 hoặc bảng mã cũ); trong Excel chọn Lưu dưới dạng "
            "“CSV UTF-8 (phân tách bằng dấu phẩy)” hoặc gửi .xlsx",
        ) from None
    tables = [_split(text, separator) for separator in _SEPARATORS]
    rows, torn = next((table for table in tables if _find_headings(table[0]) is not None), tables[0])
    yield from _below_headings(rows, place)
    if torn:
        yield UnusableFileError("broken_quotes", "dấu ngoặc kép không khớp", place=f"từ dòng {torn} trở đi")


def _split(text: str, separator: str) -> tuple[Rows, int | None]:
    """Rows up to the first line whose quotes do not close, and that line."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[tuple[int, list[Cell]]] = []
    while True:
        first = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error:
            return rows, first
        if cells is None:
            return rows, None
        rows.append((first, [Cell(value) for value in cells]))


def _workbook(path: Path, name: str) -> Iterator[Record | UnusableFileError]:
    _refuse_bomb(path)
    try:
        results = openpyxl.load_workbook(path, read_only=True, data_only=True)
        formulas = openpyxl.load_workbook(path, read_only=True)
    except (zipfile.BadZipFile, InvalidFileException, KeyError, ValueError, OSError, SyntaxError):
        # Text of the cause left out: it may quote the file.
        raise _broken_workbook() from None
    try:
        yield from _sheets(results, formulas, name)
    finally:
        results.close()
        formulas.close()


def _broken_workbook() -> UnusableFileError:
    return UnusableFileError("unreadable_file", "tệp .xlsx hỏng, đang ghi dở hoặc có mật khẩu; hãy lưu lại và gửi lại")


def _refuse_bomb(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(item.file_size for item in archive.infolist())
    except (zipfile.BadZipFile, OSError):
        raise _broken_workbook() from None
    if unpacked > MOST_UNPACKED_BYTES:
        raise UnusableFileError("file_too_big", "tệp .xlsx giải nén quá lớn")


def _sheets(results: Any, formulas: Any, name: str) -> Iterator[Record | UnusableFileError]:
    used = 0
    for number, sheet in enumerate(results.worksheets, start=1):
        if sheet.title in {GUIDE_SHEET, LISTS_SHEET}:
            continue
        try:
            rows = _sheet_rows(sheet, formulas[sheet.title])
        except (zipfile.BadZipFile, KeyError, ValueError, SyntaxError):
            raise _broken_workbook() from None
        if not any(not cell.is_blank for _, cells in rows for cell in cells):
            continue
        used += 1
        is_personal = looks_personal(sheet.title) or tells_person(sheet.title)
        title = f"số {number}" if is_personal else f"“{tidy(sheet.title)}”"
        try:
            yield from _below_headings(rows, f"tệp {name}, trang tính {title}")
        except UnusableFileError as error:
            error.place = f"trang tính {title}"
            yield error
    if not used:
        raise UnusableFileError("no_rows", "tệp không có trang tính nào chứa số liệu")


def _sheet_rows(sheet: Any, formulas: Any) -> Rows:
    for each in (sheet, formulas):
        each.reset_dimensions()  # some writers store a wrong size, and rows beyond it would be lost
    pairs = zip_longest(sheet.iter_rows(), formulas.iter_rows(), fillvalue=())
    return [
        (number, [_xlsx_cell(cell, origin) for cell, origin in zip_longest(cells, origins)])
        for number, (cells, origins) in enumerate(pairs, start=1)
    ]


def _xlsx_cell(cell: Any, origin: Any) -> Cell:
    value = getattr(cell, "value", None)
    if value is None and getattr(origin, "data_type", "") == "f":
        return Cell(FORMULA)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return Cell(value, is_percent=is_number and "%" in str(getattr(cell, "number_format", "")))


def _find_headings(rows: Rows) -> tuple[int, dict[int, str]] | None:
    """Index of the row of headings and the field of each of its columns."""
    for index, (_, cells) in enumerate(rows[:_FIRST_ROWS]):
        fields = {at: field for at, cell in enumerate(cells) if (field := _FIELD_OF.get(folded(str(cell.value or ""))))}
        if set(_MARKS) <= set(fields.values()):
            return index, fields
    return None


def _below_headings(rows: Rows, place: str) -> Iterator[Record]:
    found = _find_headings(rows)
    if found is None:
        raise UnusableFileError(
            "no_headings",
            f"trong {_FIRST_ROWS} dòng đầu không thấy dòng tiêu đề có các cột {_listed(_MARKS)}",
        )
    index, fields = found
    _refuse_headings(list(fields.values()))
    width = len(rows[index][1])
    for number, cells in rows[index + 1 :]:
        if any(not cell.is_blank for cell in cells):
            yield Record(
                where=f"{place}, dòng {number}",
                cells={field: cells[at] for at, field in fields.items() if at < len(cells)},
                is_shifted=any(not cell.is_blank for cell in cells[width:]),
            )


def _refuse_headings(fields: Sequence[str]) -> None:
    if twice := sorted({field for field in fields if fields.count(field) > 1}):
        raise UnusableFileError("duplicate_column", f"cột {_listed(twice)} có hai lần")
    missing = [field for field in REQUIRED if field not in fields]
    if "value" not in fields:
        missing += [field for field in ("numerator", "denominator") if field not in fields]
    if missing:
        raise UnusableFileError("missing_column", f"thiếu cột {_listed(missing)}")


def _listed(fields: Sequence[str]) -> str:
    return ", ".join(f"“{HEADINGS[field]}”" for field in fields)
