"""A table found in a dropped file, and how its headings are found.

Belongs here: the shape that every format is brought into, headings of one or several rows, columns that
carry the same name. Does not belong here: any format (`files_sheets.py`, `files_objects.py`), nor what a
column means (`files_profile.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from connectors.files_open import FileProblem
from connectors.files_profile import FilesProfile, name_key
from connectors.observation_cells import tidy
from connectors.person_fields import shown

#: Headings are looked for in so many rows; titles and the name of the office stand above them.
FIRST_ROWS = 30
_MOST_HEADING_ROWS = 3
_NUMBERED = re.compile(r"(.*)#([1-9])$")
_ORDINAL = re.compile(r"\(?([0-9]{1,2})\)?$")
#: A row of column numbers has so many cells at least.
_FEW_CELLS = 3

Cells = Sequence[Any]
#: First and last row and column (from 0) of merged cells: top, left, bottom, right.
Merge = tuple[int, int, int, int]


class _Unknown:
    """Stands for a formula whose result the file does not hold."""


FORMULA = _Unknown()


@dataclass(frozen=True, slots=True)
class Row:
    """A row by its number (from 1) in the file; `problem` says why it cannot be told apart into cells."""

    number: int
    cells: Cells
    problem: str | None = None


@dataclass(frozen=True)
class Table:
    """Rows below headings. `columns`: name as compared → index in a row's cells. `cell` names a cell for people.

    `headings` says what stands there, wanted or not, once the rows have been read.
    """

    place: str
    columns: Mapping[str, int]
    rows: Iterator[Row]
    row: Callable[[int], str]
    cell: Callable[[int, int], str]
    headings: Callable[[], Iterable[str]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Heading:
    """Where headings stand (index of the first row, how many), every column's name, and those that are wanted."""

    first: int
    height: int
    names: tuple[str, ...]
    columns: Mapping[str, int] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    twice: tuple[str, ...] = ()

    def spelt(self) -> Iterator[str]:
        """Every column by the name that the profile finds it by, or else by its own, as names are compared."""
        wanted = {at: name for name, at in self.columns.items()}
        yield from (wanted.get(at) or told(name) for at, name in enumerate(self.names) if name)

    @property
    def below(self) -> int:
        """Index of the first row below the headings."""
        return self.first + self.height


def told(name: str) -> str:
    """A heading as it is compared, or its length where it names somebody (small letters would hide that)."""
    return name_key(shown(name))


def text_of(value: Any) -> str | None:
    """A cell as text: instants in ISO, whole numbers without a point, None for what says nothing."""
    if value is None or value.__class__ is str:
        return value
    if isinstance(value, date | time):
        return _iso(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        # A data frame writes a gap as the number that does not equal itself.
        return (f"{value:.0f}" if value.is_integer() else repr(value)) if value == value else None  # noqa: PLR0124
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _iso(value: date | time) -> str:
    if not isinstance(value, datetime):
        return value.isoformat()
    local = (value + timedelta(microseconds=500_000)).replace(microsecond=0, tzinfo=None)
    return local.date().isoformat() if local.time() == time() else local.isoformat(" ")


def find_heading(rows: Sequence[Cells], profile: FilesProfile, merges: Sequence[Merge] | None = None) -> Heading:
    """The headings among the first rows: where most of the wanted names stand, in the fewest and first rows.

    `merges` are the merged cells where the format tells; without them a blank cell beside a group's heading
    belongs to the group.
    """
    starts = range(min(len(rows), FIRST_ROWS)) if profile.header_row is None else [profile.header_row - 1]
    heights = range(1, _MOST_HEADING_ROWS + 1) if profile.header_rows is None else [profile.header_rows]
    best: Heading | None = None
    for height in heights:
        for first in starts:
            if first + height > len(rows):
                continue
            found = _resolved(first, height, unfolded(rows, first, height, merges), profile)
            if best is None or len(found.columns) > len(best.columns):
                best = found
    if best is None:
        wanted = tuple(" / ".join(names) for _, names, must in profile.columns() if must)
        return Heading(0, 0, (), missing=wanted)
    return best


def unfolded(rows: Sequence[Cells], first: int, height: int, merges: Sequence[Merge] | None) -> list[list[str]]:
    """The rows of the headings as texts, with what merged cells say written into each of them."""
    width = max(len(row) for row in rows[first : first + height])
    grid = [
        [tidy(text_of(value) or "") for value in [*row, *[None] * (width - len(row))]]
        for row in rows[first : first + height]
    ]
    if merges is None:
        for upper, lower in pairwise(grid):
            for at in range(1, width):
                upper[at] = upper[at] or (upper[at - 1] if lower[at] else "")
        return grid
    for top, left, bottom, right in merges:
        if first <= top < first + height:
            for row in range(top, min(bottom + 1, first + height)):
                grid[row - first][left : right + 1] = [grid[top - first][left]] * len(grid[0][left : right + 1])
    return grid


def _resolved(first: int, height: int, grid: list[list[str]], profile: FilesProfile) -> Heading:
    levels = [[cell for cell in dict.fromkeys(column) if cell] for column in zip(*grid, strict=True)]
    names = tuple(" / ".join(column) for column in levels)
    full = [name_key(name) for name in names]
    last = [name_key(column[-1]) if column else "" for column in levels]
    columns: dict[str, int] = {}
    missing: list[str] = []
    twice: list[str] = []
    for _, wanted, must in profile.columns():
        found = {name: hits for name in wanted if (hits := _hits(name_key(name), full, last))}
        columns |= {name_key(name): hits[0] for name, hits in found.items()}
        twice += [name for name, hits in found.items() if len(hits) > 1]
        if must and not found:
            missing.append(" / ".join(wanted))
    return Heading(first, height, names, columns, tuple(dict.fromkeys(missing)), tuple(dict.fromkeys(twice)))


def _hits(name: str, full: Sequence[str], last: Sequence[str]) -> list[int]:
    """The columns that a name means: by the whole heading, else by its lowest row, else by its number."""
    for names in (full, last):
        if hits := [at for at, each in enumerate(names) if each == name]:
            return hits
    if numbered := _NUMBERED.match(name):
        hits = _hits(numbered[1].strip(), full, last)
        return hits[int(numbered[2]) - 1 :][:1]
    return []


def refuse_heading(heading: Heading, place: str, letters: Callable[[int], str]) -> None:
    """Raise `FileProblem` that names the columns that are missing, or that stand there twice."""
    if heading.missing:
        listed = ", ".join(f"“{name}”" for name in heading.missing)
        raise FileProblem("missing_column", f"không thấy cột {listed}", place=place)
    if heading.twice:
        told = []
        for name in heading.twice:
            same = [at for at, each in enumerate(heading.names) if name_key(each).endswith(name_key(name))]
            told.append(f"“{name}” (cột {', '.join(map(letters, same))})")
        hint = f"ghi rõ cột thứ mấy, ví dụ “{heading.twice[0]}#2”"
        raise FileProblem("duplicate_column", f"tiêu đề lặp lại: {'; '.join(told)}; {hint}", place=place)


def data_rows(rows: Iterator[Row], heading: Heading) -> Iterator[Row]:
    """The rows below the headings, without blank ones, the row of column numbers and headings printed again."""
    again = [name_key(name) for name in heading.names]
    is_first = True
    for row in rows:
        if row.problem is None:
            says = _said(row)
            start = next(says, None)
            if start is None:
                continue
            # Few rows begin like a heading; only those, and the first one, are looked at whole.
            if (is_first and _counts_columns([start[1], *(text for _, text in says)])) or (
                _is_heading(start, again) and _says_again(row, again)
            ):
                is_first = False
                continue
        is_first = False
        yield row


def _said(row: Row) -> Iterator[tuple[int, str]]:
    """Index and text of the cells that say something."""
    for at, cell in enumerate(row.cells):
        text = text_of(cell)
        if text and (text := text.strip()):
            yield at, text


def _is_heading(said: tuple[int, str], names: Sequence[str]) -> bool:
    at, text = said
    return at < len(names) and bool(names[at]) and names[at].endswith(name_key(text))


def _counts_columns(texts: Sequence[str]) -> bool:
    """(1) (2) (3) …, as forms have it under their headings."""
    numbers = [int(found[1]) if (found := _ORDINAL.match(text)) else None for text in texts]
    return len(numbers) >= _FEW_CELLS and all(one is not None and other == one + 1 for one, other in pairwise(numbers))


def _says_again(row: Row, names: Sequence[str]) -> bool:
    said = list(_said(row))
    return len(said) > 1 and all(_is_heading(each, names) for each in said)
