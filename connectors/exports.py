"""Small lists that a system exports to a file: CSV, XLSX or JSON, as texts by column.

Belongs here: which column is which, wherever the headers stand, and each row with the place where it stood.
Does not belong here: what a value means (`catalogue_files.py`, `units.py`), nor dossiers in files (`files*.py`).
"""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any
from zipfile import BadZipFile

import openpyxl
from openpyxl.utils.exceptions import InvalidFileException
from pydantic import Field

from connectors.person_fields import is_personal, masked, shown, tells_person
from connectors.protocol import Permanent
from connectors.settings import Strict

#: Rows above the header that an export may put there (title, province, date).
_TITLE_ROWS = 20
#: What a source said is told up to here.
_LONGEST_QUOTE = 40
#: Why a row that holds what only a person has is set aside.
NO_PERSON = "looks_like_a_person"


def tidied(text: str) -> str:
    """Vietnamese text in NFC with single spaces."""
    return re.sub(r"\s+", " ", unicodedata.normalize("NFC", text)).strip()


def quoted(text: str) -> str:
    """What a source said, short enough for a message."""
    return f'"{text[:_LONGEST_QUOTE]}"' if text else "(trống)"


def quoted_word(text: str) -> str:
    """`quoted` for what should have been a code or a word of a list; its length where it looks like a person."""
    return masked(text) if is_personal("status", text) else quoted(text)


def speaks_of_person(title: str) -> bool:
    """Whether a title of any length, such as a procedure's, names somebody; no title is digits alone."""
    return tells_person(title) or re.fullmatch(r"\+?\d[\d .-]{7,}", title) is not None


def hidden(what: str, text: str) -> str:
    """What an operator is told of a value that is not kept: which one, and how long it is."""
    return (
        f"{what} {masked(text)} có vẻ chứa thông tin của một người (tên, số định danh, điện thoại, thư điện tử); "
        "giá trị không được lưu, hãy sửa tại nguồn"
    )


class ExportSettings(Strict):
    """A list exported to a file: CSV, JSON or XLSX, told by its name."""

    path: Path
    encoding: str = "utf-8-sig"
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    #: Sheet of a workbook; the first one when not named.
    sheet: str | None = None
    #: Our column → header in the file, where the export words it in its own way.
    columns: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is looked for in an export."""

    #: What the list is, and what one row of it is, for messages.
    name: str
    row: str
    #: Column → its headers in exports, folded; the first one found counts.
    headers: Mapping[str, Sequence[str]]
    #: Columns without which a file is no such list, each with what it holds, for messages.
    needed: Mapping[str, str]


@dataclass(frozen=True)
class Exported:
    """One row of an export: where it stood, its texts by column, and all that a JSON export said of it."""

    where: str
    cells: Mapping[str, str]
    item: Any = None


def read_export(settings: ExportSettings, wanted: Wanted) -> list[Exported]:
    """The rows of an exported file that say anything. `Permanent` when the file is not there or is no such list.

    In JSON a row is an object of the list, bare or under `result`; where it is something else its cells are empty.
    """
    path = settings.path
    kinds = {".csv": _csv_rows, ".json": _json_rows, ".xlsx": _xlsx_rows}
    if path.suffix.lower() not in kinds:
        raise Permanent(f"{path}: {wanted.name} is a file named .csv, .json or .xlsx", key="path")
    try:
        return kinds[path.suffix.lower()](settings, wanted)
    except OSError as error:
        raise Permanent(f"{path}: {error.strerror or 'cannot be read'}", key="path") from None
    except UnicodeDecodeError:
        raise Permanent(f"{path}: not text in {settings.encoding}", key="encoding") from None


def _csv_rows(settings: ExportSettings, wanted: Wanted) -> list[Exported]:
    text = settings.path.read_text(encoding=settings.encoding)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=settings.delimiter)
    return list(_tabular(rows, settings, wanted))


def _xlsx_rows(settings: ExportSettings, wanted: Wanted) -> list[Exported]:
    try:
        book = openpyxl.load_workbook(settings.path, read_only=True, data_only=True)
    except (ValueError, KeyError, BadZipFile, InvalidFileException) as error:
        raise Permanent(f"{settings.path}: not a workbook ({type(error).__name__})", key="path") from None
    try:
        name = settings.sheet or book.sheetnames[0]
        if name not in book.sheetnames:
            there = ", ".join(map(shown, book.sheetnames))
            raise Permanent(f"{settings.path}: no sheet {name!r}; it has {there}", key="sheet")
        rows = ([_cell(value) for value in row] for row in book[name].iter_rows(values_only=True))
        return list(_tabular(rows, settings, wanted))
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


def _json_rows(settings: ExportSettings, wanted: Wanted) -> list[Exported]:
    try:
        content = json.loads(settings.path.read_text(encoding=settings.encoding))
    except json.JSONDecodeError as error:
        raise Permanent(f"{settings.path}, line {error.lineno}: not JSON ({error.msg})", key="path") from None
    items = content.get("result") if isinstance(content, dict) else content
    if not isinstance(items, list):
        raise Permanent(f"{settings.path}: expected a list of {wanted.row}, bare or under result", key="path")
    return [
        Exported(f"{settings.path.name}#{number}", _cells_of(item, settings, wanted), item)
        for number, item in enumerate(items, start=1)
    ]


def _cells_of(item: Any, settings: ExportSettings, wanted: Wanted) -> dict[str, str]:
    if not isinstance(item, dict):
        return {}
    return {column: _cell(item[header]) for column, header in _places(list(item), settings, wanted).items()}


def _tabular(rows: Iterable[Sequence[str]], settings: ExportSettings, wanted: Wanted) -> Iterator[Exported]:
    numbered = enumerate(rows, start=1)
    places, header = _header(numbered, settings, wanted)
    for number, cells in numbered:
        if any(cell.strip() for cell in cells):
            row = {column: cells[at] if at < len(cells) else "" for column, at in places.items()}
            # A print-out repeats its header at the top of every page.
            if row != header:
                yield Exported(f"{settings.path.name}, dòng {number}", row)


def _header(
    rows: Iterator[tuple[int, Sequence[str]]], settings: ExportSettings, wanted: Wanted
) -> tuple[dict[str, int], dict[str, str]]:
    """Column → position, and → header, from the first row with what is needed; titles above it are skipped.

    A header cell that is merged downwards stands in the row above: a blank one is read as what is there.
    """
    above: Sequence[str] = ()
    for number, cells in rows:
        merged = [below if below.strip() else over for over, below in zip_longest(above, cells, fillvalue="")]
        for headers in (list(cells), merged):
            found = _places(headers, settings, wanted)
            if set(wanted.needed) <= set(found):
                if missing := sorted(set(settings.columns) - set(found)):
                    named = ", ".join(settings.columns[column] for column in missing)
                    raise Permanent(f"{settings.path}: no column {named}", key="columns")
                return {column: headers.index(header) for column, header in found.items()}, found
        above = cells
        if number >= _TITLE_ROWS:
            break
    lacking = "; ".join(
        f"no column for {what} ({settings.columns.get(column) or ' / '.join(wanted.headers[column])})"
        for column, what in wanted.needed.items()
    )
    raise Permanent(f"{settings.path}: {lacking}", key="columns")


def _places(headers: Sequence[str], settings: ExportSettings, wanted: Wanted) -> dict[str, str]:
    """Column → header as the file words it, for the columns that it has."""
    folded = {tidied(header).casefold(): header for header in reversed(headers)}
    found: dict[str, str] = {}
    for column, words in wanted.headers.items():
        own = settings.columns.get(column)
        candidates = (tidied(own).casefold(),) if own else words
        if header := next((folded[word] for word in candidates if word in folded), None):
            found[column] = header
    return found
