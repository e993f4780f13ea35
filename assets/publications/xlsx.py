"""A sheet as offices print it, drawn with XlsxWriter.

Belongs here: title block, headings in one or two rows, number formats, frozen panes, filter, print set-up, and the
safety of text. Does not belong here: what a sheet says (`workbook.py`).

Numbers are written as numbers, totals among them, computed by us and not by formulas: a reader without a spreadsheet's
engine (a phone, a script, an archive) sees them, and a filter does not change a total. Text is written as text in
every case: what begins like a formula stays a word (and keeps its quote mark when someone edits the cell), leading
zeros stay. The same input gives the same bytes.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal

import xlsxwriter

Kind = Literal["text", "count", "percent", "points", "date"]
Value = str | int | float | date | None

#: Vietnamese writes 1.234.567 and 79,98 %. The dots are part of the format, so that a computer set to English shows
#: them too; the comma follows the locale code where the program knows it, else the computer's setting.
FORMATS: Mapping[Kind, str] = {
    "text": "@",
    "count": r"[>=1000000]0\.000\.000;[>=1000]0\.000;0",
    "percent": "[$-42A]0.00%",
    "points": "[$-42A]0.00",
    "date": "[$-42A]dd/mm/yyyy",
}
#: Text that a spreadsheet may take for a formula when it is edited or exported (OWASP: CSV injection).
FORMULA_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r", "\n")
#: What Excel holds in one cell.
LONGEST_TEXT = 32_767
#: Height of a line of 11-point type.
LINE_POINTS = 15
_A4 = 9
_TITLE_ROWS = 5


@dataclass(frozen=True, kw_only=True)
class Heading:
    """One column: its heading, what it holds, its width in characters, and the heading above several."""

    text: str
    kind: Kind = "count"
    width: float = 10
    above: str = ""


@dataclass(frozen=True)
class Row:
    """The values of one row in the order of the headings; sums are set in bold."""

    values: tuple[Value, ...]
    is_sum: bool = False


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """One sheet: name on its tab, title, columns, rows, and notes below them; the first columns stay in view."""

    name: str
    title: str
    headings: tuple[Heading, ...]
    rows: Sequence[Row]
    notes: tuple[str, ...] = ()
    frozen_columns: int = 0


def render(sheets: Iterable[Sheet], *, caption: Sequence[str], footer: str, created: datetime) -> bytes:
    """The workbook of `sheets` as the bytes of an .xlsx file.

    `caption` are the lines around a sheet's title: the first above it, the others below. `created` is written as
    the file's date, so that equal content gives equal bytes.
    """
    stream = io.BytesIO()
    options = {
        "in_memory": True,
        "strings_to_formulas": False,
        "strings_to_numbers": False,
        "strings_to_urls": False,
        "default_date_format": FORMATS["date"],
    }
    with xlsxwriter.Workbook(stream, options) as book:
        book.set_properties({"created": created.astimezone(UTC).replace(tzinfo=None), "author": "Thước Đo"})
        for sheet in sheets:
            _Drawing(book, sheet).draw(caption, footer)
    return stream.getvalue()


class _Drawing:
    """One sheet while it is drawn; formats are shared by the cells of a sheet."""

    def __init__(self, book: Any, sheet: Sheet) -> None:
        self.book, self.sheet = book, sheet
        self.page = book.add_worksheet(sheet.name)
        self.formats: dict[tuple[tuple[str, Any], ...], Any] = {}

    def draw(self, caption: Sequence[str], footer: str) -> None:
        """Title, headings, rows, notes, then how it is shown and printed."""
        self._title(caption)
        top = _TITLE_ROWS + self._headings()
        for number, row in enumerate(self.sheet.rows, start=top):
            for column, (heading, value) in enumerate(zip(self.sheet.headings, row.values, strict=True)):
                self._cell(number, column, value, heading.kind, is_sum=row.is_sum)
            if (lines := lines_of(row, self.sheet.headings)) > 1:
                self.page.set_row(number, lines * LINE_POINTS)
        self._notes(top + len(self.sheet.rows) + 1)
        self._view(top)
        self._print(top, footer)

    def _format(self, **properties: Any) -> Any:
        key = tuple(sorted(properties.items()))
        if key not in self.formats:
            self.formats[key] = self.book.add_format({"font_name": "Times New Roman", "font_size": 11} | properties)
        return self.formats[key]

    def _title(self, caption: Sequence[str]) -> None:
        first, *others = caption
        self.page.write_string(0, 0, first, self._format(bold=True))
        self.page.write_string(1, 0, self.sheet.title, self._format(bold=True, font_size=14))
        self.page.set_row(1, 20)
        for number, line in enumerate(others, start=2):
            self.page.write_string(number, 0, line, self._format(italic=True))

    def _headings(self) -> int:
        """Write the headings and return how many rows they take: two where some stand below another."""
        headings = self.sheet.headings
        look = self._format(bold=True, border=1, text_wrap=True, align="center", valign="vcenter", bg_color="#DDEBF7")
        has_two = any(heading.above for heading in headings)
        last = _TITLE_ROWS + (1 if has_two else 0)
        for column, heading in enumerate(headings):
            self.page.set_column(column, column, heading.width)
            if has_two and not heading.above:
                self.page.merge_range(_TITLE_ROWS, column, last, column, heading.text, look)
            else:
                self.page.write_string(last, column, heading.text, look)
        if has_two:
            for above, first, end in _runs([heading.above for heading in headings]):
                if first == end:
                    self.page.write_string(_TITLE_ROWS, first, above, look)
                else:
                    self.page.merge_range(_TITLE_ROWS, first, _TITLE_ROWS, end, above, look)
        self.page.set_row(last, 48)
        return last - _TITLE_ROWS + 1

    def _cell(self, row: int, column: int, value: Value, kind: Kind, *, is_sum: bool) -> None:
        look: dict[str, Any] = {"border": 1, "valign": "top", "num_format": FORMATS[kind]}
        if is_sum:
            look |= {"bold": True, "bg_color": "#F2F2F2"}
        if value is None:
            self.page.write_blank(row, column, None, self._format(**look))
        elif isinstance(value, str):
            self._text(row, column, value, look | {"num_format": FORMATS["text"], "text_wrap": True, "indent": 1})
        elif isinstance(value, date):
            self.page.write_datetime(row, column, value, self._format(**look))
        else:
            self.page.write_number(row, column, value, self._format(**look))

    def _text(self, row: int, column: int, text: str, look: Mapping[str, Any]) -> None:
        if text.startswith(FORMULA_BEGINNINGS):
            look = {**look, "quote_prefix": True}
        shown = text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"
        self.page.write_string(row, column, shown, self._format(**look))

    def _notes(self, row: int) -> None:
        for number, note in enumerate(self.sheet.notes, start=row):
            self.page.write_string(number, 0, note, self._format(italic=True))

    def _view(self, top: int) -> None:
        if self.sheet.rows:
            self.page.autofilter(top - 1, 0, top - 1 + len(self.sheet.rows), len(self.sheet.headings) - 1)
        self.page.freeze_panes(top, self.sheet.frozen_columns)

    def _print(self, top: int, footer: str) -> None:
        self.page.set_landscape()
        self.page.set_paper(_A4)
        self.page.set_margins(left=0.4, right=0.4, top=0.5, bottom=0.6)
        self.page.fit_to_pages(1, 0)
        self.page.repeat_rows(_TITLE_ROWS, top - 1)
        self.page.set_footer(f"&L{footer.replace('&', '&&')}&RTrang &P/&N")


def lines_of(row: Row, headings: Sequence[Heading]) -> int:
    """How many lines the longest text of a row takes in its column.

    Programs other than Excel do not make a row higher for wrapped text by themselves, and print lines over each other.
    """
    texts = ((value, heading.width) for value, heading in zip(row.values, headings, strict=True))
    return max((_wrapped(value, width) for value, width in texts if isinstance(value, str)), default=1)


def _wrapped(text: str, width: float) -> int:
    """Lines of `text` in a column, two characters kept free for the indent and for wide letters."""
    room = max(1, int(width) - 2)
    return sum(len(textwrap.wrap(line, room)) or 1 for line in text.split("\n"))


def _runs(values: Sequence[str]) -> Iterable[tuple[str, int, int]]:
    """Neighbours of one value: the value, its first and last place; empty ones are left out."""
    first = 0
    for place in range(1, len(values) + 1):
        if place == len(values) or values[place] != values[first]:
            if values[first]:
                yield values[first], first, place - 1
            first = place
