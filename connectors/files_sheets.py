"""CSV files and workbooks as tables of cells below their headings.

Belongs here: encodings, separators, quotes, sheets, formulas, merged cells. Does not belong here: what a
column means (`files_map.py`), archives (`files_open.py`).

- Text is UTF-8 (with or without a byte order mark), UTF-16 with one, or what the profile says. Windows-1258
  must be said: almost any bytes can be read as it. TCVN3 is refused: its bytes are those of other letters.
- Bytes that cannot be read refuse the file before anything of it is stored, and so do an end that is missing
  and quotes that never close.
- A workbook is read without calculating: a formula counts with the result that Excel stored.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, islice, zip_longest
from typing import Any, BinaryIO

import openpyxl
from openpyxl.utils import get_column_letter
from openpyxl.utils.cell import range_boundaries
from openpyxl.utils.exceptions import InvalidFileException

from connectors.files_open import FileProblem, PartialFile, Payload, archive_of, refuse_damaged
from connectors.files_profile import FilesProfile, name_key, names_of
from connectors.files_table import (
    FIRST_ROWS,
    FORMULA,
    Merge,
    Row,
    Table,
    data_rows,
    find_heading,
    refuse_heading,
)
from connectors.person_marks import looks_personal

_SEPARATORS = (",", ";", "\t", "|")
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_CODECS = {"utf-8": "utf-8", "utf-16": "utf-16", "windows-1258": "cp1258"}
_OPEN_QUOTES = "dấu ngoặc kép mở mà không đóng"
#: What the csv module says → what is told.
_TORN = {"unexpected end": _OPEN_QUOTES, "field limit": "ô quá dài", "": "dấu ngoặc kép không khớp"}
#: No line of a table is so long; a file without line ends would be held in memory.
_MOST_LINE_BYTES = 64 * 1024**2
_CHUNK = 4 * 1024**2
_MERGE = re.compile(rb"<(?:\w+:)?mergeCell\b[^>]*?\bref=\"([A-Z]{1,3}[0-9]+:[A-Z]{1,3}[0-9]+)\"")
_HAS_FORMULA = re.compile(rb"<(?:\w+:)?f[ >/]")


def letter(at: int) -> str:
    """The column `at` (from 0) as spreadsheets call it."""
    return str(get_column_letter(at + 1))


def encoding_of(payload: Payload, said: str) -> str:
    """The codec of a text: by its byte order mark, else what the profile says."""
    with payload.stream() as stream:
        head = stream.read(4)
    for mark, codec in _BOMS:
        if head.startswith(mark):
            return codec
    if said == "utf-16":
        raise FileProblem("not_text", "tệp UTF-16 không có dấu BOM ở đầu", place=payload.place)
    return _CODECS[said]


def undecodable(payload: Payload, codec: str) -> FileProblem:
    """Where the first bytes stand that are no text in this codec."""
    hint = "hãy lưu lại thành CSV UTF-8, hoặc ghi encoding: windows-1258 trong hồ sơ nguồn nếu đúng là bảng mã đó"
    if codec == "utf-16":
        return FileProblem("not_text", "có byte không phải UTF-16; hãy lưu lại thành UTF-8", place=payload.place)
    name = "UTF-8" if codec.startswith("utf-8") else "Windows-1258"
    with payload.stream() as stream:
        for number, line in enumerate(iter(lambda: stream.readline(_MOST_LINE_BYTES), b""), start=1):
            try:
                line.decode(codec)
            except UnicodeDecodeError as error:
                column = len(line[: error.start].decode(codec)) + 1
                text = f"dòng {number}, cột {column}: byte không phải {name}; {hint}"
                return FileProblem("not_text", text, place=payload.place)
    return FileProblem("not_text", f"có byte không phải {name}; {hint}", place=payload.place)


@contextmanager
def csv_tables(payload: Payload, profile: FilesProfile) -> Iterator[list[Table]]:
    """The one table of a CSV file, after the whole file was seen to be text with quotes that close."""
    codec = encoding_of(payload, profile.encoding)
    head = _csv_head(payload, codec)
    separator = profile.delimiter or _separator(head, profile)
    heading = find_heading([cells for cells, _ in _split(iter(head), separator)], profile)
    refuse_heading(heading, payload.place, letter)
    _refuse_torn(payload, codec, separator, len(heading.names))
    with _text(payload, codec) as stream:
        numbered = _csv_rows(_Counted(stream), separator, len(heading.names))
        table = Table(
            place=payload.place,
            columns=heading.columns,
            rows=data_rows(islice(numbered, heading.below, None), heading),
            row=lambda row: f"{payload.place}, dòng {row}",
            cell=lambda row, at: f"{payload.place}, dòng {row}, cột {letter(at)}",
            headings=heading.spelt,
        )
        yield [table]


def csv_head(payload: Payload, said: str) -> dict[str, list[list[str]]]:
    """The first rows of a CSV file under each separator; `said` is its encoding where it has no mark."""
    head = _csv_head(payload, encoding_of(payload, said))
    return {one: [cells for cells, _ in _split(iter(head), one)] for one in _SEPARATORS}


@contextmanager
def _text(payload: Payload, codec: str) -> Iterator[io.TextIOWrapper]:
    with payload.stream() as stream, io.TextIOWrapper(stream, codec, newline="") as text:
        yield text


def _csv_head(payload: Payload, codec: str) -> list[str]:
    """The first lines; a line `sep=;` for Excel is no part of the table."""
    try:
        with _text(payload, codec) as text:
            lines = [text.readline(_MOST_LINE_BYTES) for _ in range(FIRST_ROWS * 3)]
    except UnicodeError:
        raise undecodable(payload, codec) from None
    found = [line for line in lines if line]
    if not found:
        raise PartialFile("incomplete_file", "tệp rỗng", place=payload.place)
    return found


def _separator(head: Sequence[str], profile: FilesProfile) -> str:
    """The one under which most of the wanted headings are found."""
    scored = [(len(find_heading([c for c, _ in _split(iter(head), one)], profile).columns), one) for one in _SEPARATORS]
    return max(scored, key=lambda pair: pair[0])[1]


def _split(lines: Iterator[str], separator: str) -> Iterator[tuple[list[str], str | None]]:
    """Rows with what is wrong with each; a row whose quotes are wrong ends at its line."""
    reader = csv.reader(lines, delimiter=separator, strict=True)
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield [], next(told for said, told in _TORN.items() if said in str(error))
            continue
        if cells is None:
            return
        yield cells, None


def _csv_rows(lines: _Counted, separator: str, width: int) -> Iterator[Row]:
    first = 1
    for cells, problem in _split(lines, separator):
        if len(cells) == width and problem is None:
            yield Row(first, cells)
            first = lines.number + 1
            continue
        filled = len(cells)
        while filled > width and not cells[filled - 1].strip():
            filled -= 1
        if problem is None and sum(1 for cell in cells if cell.strip()) <= 1:
            # Blank lines, titles and footers have fewer cells; they hold no record.
            yield Row(first, [*cells, *[""] * (width - len(cells))])
        elif problem is None and filled != width:
            yield Row(first, cells, f"có {len(cells)} ô, trong khi tiêu đề có {width} cột: dòng bị lệch")
        else:
            yield Row(first, cells, problem)
        first = lines.number + 1


class _Counted(Iterator[str]):
    """Lines of a text, counted; `is_ended`: the last one had its end."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self._stream = stream
        self.number = 0
        self.is_ended = True

    def __next__(self) -> str:
        line = self._stream.readline(_MOST_LINE_BYTES)
        if not line:
            raise StopIteration
        self.number += 1
        self.is_ended = line.endswith(("\n", "\r"))
        return line


def _refuse_torn(payload: Payload, codec: str, separator: str, width: int) -> None:
    """Read the whole file once: every byte is text, and the last row is whole."""
    last: Row | None = None
    try:
        with _text(payload, codec) as text:
            lines = _Counted(text)
            for row in _csv_rows(lines, separator, width):
                last = row
    except UnicodeError:
        raise undecodable(payload, codec) from None
    is_short = last is not None and not lines.is_ended and len(last.cells) < width
    if last is not None and (last.problem == _OPEN_QUOTES or is_short):
        told = f"tệp ngừng giữa dòng {last.number}: thiếu phần cuối, hoặc dấu ngoặc kép mở mà không đóng"
        raise PartialFile("incomplete_file", told, place=payload.place)


@contextmanager
def workbook_tables(payload: Payload, profile: FilesProfile) -> Iterator[list[Table]]:
    """Every sheet of a workbook that has the headings, or those that the profile names."""
    with _workbook(payload) as (book, stream):
        yield _sheets(book, stream, payload.place, profile)


def workbook_heads(payload: Payload) -> list[tuple[str, list[Any], list[Merge]]]:
    """Title, first rows and merged cells of every sheet."""
    with _workbook(payload) as (book, stream):
        found = []
        for sheet in book.worksheets:
            merges, _ = _layout(sheet, stream)
            sheet.reset_dimensions()
            found.append((str(sheet.title), list(islice(sheet.iter_rows(values_only=True), FIRST_ROWS * 2)), merges))
    return found


@contextmanager
def _workbook(payload: Payload) -> Iterator[tuple[Any, BinaryIO]]:
    with payload.seekable() as stream:
        _refuse_broken(stream, payload.place)
        try:
            book = openpyxl.load_workbook(stream, read_only=True, data_only=True)
        except (zipfile.BadZipFile, InvalidFileException, KeyError, ValueError, OSError, SyntaxError):
            # Text of the cause left out: it may quote the file.
            raise FileProblem("unreadable_file", "tệp .xlsx hỏng hoặc có mật khẩu", place=payload.place) from None
        try:
            yield book, stream
        finally:
            book.close()


def _refuse_broken(stream: BinaryIO, place: str) -> None:
    try:
        with archive_of(stream) as archive:
            refuse_damaged(archive)
    except FileProblem as problem:
        problem.place = place
        raise
    finally:
        stream.seek(0)


def _sheets(book: Any, stream: BinaryIO, place: str, profile: FilesProfile) -> list[Table]:
    found: list[Table] = []
    notes: list[str] = []
    refused: FileProblem | None = None
    wanted = {name_key(name) for name in profile.sheets}
    for number, sheet in enumerate(book.worksheets, start=1):
        title = f"số {number}" if looks_personal(sheet.title) else f"“{sheet.title}”"
        at = f"{place}, trang tính {title}"
        if wanted and name_key(sheet.title) not in wanted:
            continue
        if not wanted and sheet.sheet_state != "visible":
            notes.append(f"{at}: trang ẩn, không đọc; nếu cần, ghi tên vào sheets của hồ sơ nguồn")
            continue
        try:
            found.append(_sheet(sheet, stream, at, profile))
        except _NoTable as problem:
            refused = refused or problem
            notes.append(f"{at}: {problem}, bỏ qua trang này")
    if not found:
        raise refused or FileProblem("missing_sheet", "không có trang tính cần đọc", place=place)
    return [*found[:-1], _noted(found[-1], tuple(notes))]


class _NoTable(FileProblem):
    """A sheet that has no heading of the key: a cover page, a list of values."""


def _noted(table: Table, notes: tuple[str, ...]) -> Table:
    return replace(table, notes=notes)


def _sheet(sheet: Any, stream: BinaryIO, place: str, profile: FilesProfile) -> Table:
    merges, has_formulas = _layout(sheet, stream)
    sheet.reset_dimensions()  # some writers store a wrong size, and rows beyond it would be lost
    rows = _formula_rows(sheet, stream) if has_formulas else iter(sheet.iter_rows(values_only=True))
    head = list(islice(rows, FIRST_ROWS * 2))
    heading = find_heading(head, profile, merges)
    keys = {name_key(name) for name in names_of(profile.fields[profile.key])}
    if heading.missing and not keys & set(heading.columns):
        missing = ", ".join(f"“{name}”" for name in heading.missing)
        raise _NoTable("missing_column", f"không thấy cột {missing}", place=place)
    refuse_heading(heading, place, letter)
    numbered = (Row(number, cells) for number, cells in enumerate(chain(head, rows), start=1))
    return Table(
        place=place,
        columns=heading.columns,
        rows=data_rows(islice(numbered, heading.below, None), heading),
        row=lambda row: f"{place}, dòng {row}",
        cell=lambda row, at: f"{place}, ô {letter(at)}{row}",
        headings=heading.spelt,
    )


def _layout(sheet: Any, stream: BinaryIO) -> tuple[list[Merge], bool]:
    """The merged cells among the first rows, and whether the sheet has formulas; read-only sheets tell neither."""
    merges: list[Merge] = []
    has_formulas = False
    stream.seek(0)
    with zipfile.ZipFile(stream) as archive, archive.open(sheet._worksheet_path) as xml:  # noqa: SLF001  no other way to its part
        rest = b""
        while chunk := xml.read(_CHUNK):
            text = rest + chunk
            has_formulas = has_formulas or _HAS_FORMULA.search(text) is not None
            end = 0
            for found in _MERGE.finditer(text):
                left, top, right, bottom = range_boundaries(found[1].decode())
                end = found.end()
                if top <= FIRST_ROWS * 2:
                    merges.append((top - 1, left - 1, bottom - 1, right - 1))
            rest = text[max(end, len(text) - 200) :]
    return list(dict.fromkeys(merges)), has_formulas


def _formula_rows(sheet: Any, stream: BinaryIO) -> Iterator[list[Any]]:
    """Rows of results, with a mark where a formula has none: read beside the same sheet with its formulas."""
    stream.seek(0)
    book = openpyxl.load_workbook(stream, read_only=True)
    formulas = book[sheet.title]
    formulas.reset_dimensions()
    pairs = zip_longest(sheet.iter_rows(values_only=True), formulas.iter_rows(values_only=True), fillvalue=())
    try:
        for results, origins in pairs:
            yield [
                FORMULA if value is None and isinstance(origin, str) and origin.startswith("=") else value
                for value, origin in zip_longest(results, origins)
            ]
    finally:
        book.close()
