"""`thuocdo score FILE`: a table of counts scored by decision 766, without any dossier.

Belongs here: reading the file into counts, and showing what the score says of them. Does not belong
here: the rules of the score (`assets/scorecards/score.py`) or its sets (`assets/scorecards/sets`).

So that published figures can be checked by anyone who has them: one row per unit and component with
numerator and denominator (or a rate alone), and a period if there are several. The total of last year,
which 1.4 needs when its denominator is 0, is a row of that year in the same file.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import pyarrow as pa
import typer

from assets.scorecards.score import COUNTS, Scored, score_counts
from assets.scorecards.sets import SETS, Component, ScoreSet, ScoreSetError, load_set
from connectors.observation_cells import (
    BLANK,
    Cell,
    Period,
    UnreadableCellError,
    count_of,
    folded,
    period_of,
    share_of,
    shown,
    text_of,
)
from expectations.wording import LEVEL_VI, count_vi
from orchestration.commands.asked import csv_file, safe
from orchestration.settings import ConfigurationError
from warehouse.tables import LEVELS
from warehouse.tables.score import TOTAL

if TYPE_CHECKING:
    from rich.table import Table

_T = TypeVar("_T")

#: Headings of each column, folded: as a clerk writes them, and as the tables of the house do.
_HEADINGS: Mapping[str, tuple[str, ...]] = {
    "unit": ("unit", "unit_code", "don vi", "ma don vi", "co quan"),
    "level": ("level", "cap"),
    "period": ("period", "ky"),
    "component": ("component", "code", "chi so", "chi so thanh phan", "chi tieu", "ma chi so"),
    "numerator": ("numerator", "tu so"),
    "denominator": ("denominator", "mau so"),
    "rate": ("rate", "ratio", "ty le"),
}
_NEEDED = ("unit", "component")
_LEVELS = {folded(vi): level for level, vi in LEVEL_VI.items()} | {level: level for level in (*LEVELS, "all")}
_LEVELS |= {"tinh": "all", "so": "province", "huyen": "district", "xa": "commune"}
#: The period of a file that names none.
_UNNAMED = Period(date(1900, 1, 1), "year")
_SEPARATORS = ",;\t"
_PROBLEMS_SHOWN = 20
_WRITTEN = (
    *("unit", "level", "period", "period_start", "item", "name", "numerator", "denominator", "divisor"),
    *("points", "max_points", "scored_max", "lost", "next_point", "rank", "state"),
)
_STATE_VI = {
    "scored": "",
    "zero_rule": "mẫu số 0, theo quy tắc",
    "out_of_scope": "không áp dụng, điểm tối đa",
    "no_denominator": "mẫu số 0, không chấm",
    "no_source": "không có số, không chấm",
}


class ScoreFileError(ConfigurationError):
    """A file of counts cannot be scored; the text names the file and the rows, one problem per line."""


@dataclass(frozen=True)
class _Line:
    place: str
    cells: Mapping[str, Cell]


def read_counts(path: Path, scoring: ScoreSet) -> pa.Table:
    """Rows of `COUNTS` from a CSV or XLSX file (first sheet with a heading row on top).

    Raises `ScoreFileError` with every problem found, each naming the row.
    """
    problems: list[str] = []
    rows: dict[tuple[object, ...], tuple[str, dict[str, Any]]] = {}
    for line in _lines(path):
        try:
            row = _count(line.cells, scoring)
        except UnreadableCellError as error:
            problems.append(f"{line.place}: {error}")
            continue
        key = tuple(row[name] for name in ("unit_code", "level", "period", "period_start", "component"))
        if key in rows:
            problems.append(f"{line.place}: chỉ số {row['component']} của đơn vị này đã có ở {rows[key][0]}")
        rows[key] = (line.place, row)
    if not rows and not problems:
        problems.append(f"{path.name}: không có dòng số liệu nào (no rows)")
    if problems:
        more = [f"… và {len(problems) - _PROBLEMS_SHOWN} lỗi nữa"] if len(problems) > _PROBLEMS_SHOWN else []
        raise ScoreFileError("\n".join(problems[:_PROBLEMS_SHOWN] + more))
    return pa.Table.from_pylist([row for _, row in rows.values()], schema=COUNTS)


def _count(cells: Mapping[str, Cell], scoring: ScoreSet) -> dict[str, Any]:
    unit = text_of(cells.get("unit", BLANK))
    if not unit:
        raise UnreadableCellError("thiếu đơn vị (unit)")
    component = _component(cells.get("component", BLANK), scoring)
    numerator, denominator = (_read(cells, name, count_of) for name in ("numerator", "denominator"))
    rate = _read(cells, "rate", share_of)
    _refuse_counts(component, numerator, denominator, has_rate=rate is not None)
    period = _read(cells, "period", period_of) or _UNNAMED
    return {
        "scope": "unit",
        "level": _level(cells.get("level", BLANK)),
        "unit_code": unit,
        "boundaries": "then",
        "period": period.kind,
        "period_start": period.start,
        "component": component.component,
        "numerator": numerator,
        "denominator": denominator,
        "rate": None if rate is None or denominator is not None else float(rate),
        "basis": None,
    }


def _read(cells: Mapping[str, Cell], name: str, reader: Callable[[Cell], _T | None]) -> _T | None:
    try:
        return reader(cells.get(name, BLANK))
    except UnreadableCellError as error:
        raise UnreadableCellError(f"{name}: {error}") from None


def _component(cell: Cell, scoring: ScoreSet) -> Component:
    found = scoring.component(text_of(cell))
    if found is None:
        known = ", ".join(part.component for part in scoring.scored)
        raise UnreadableCellError(f"component: {shown(cell)} không có trong bộ {scoring.set}; có: {known}")
    if not found.is_scored:
        raise UnreadableCellError(f"component: {found.component} chỉ để theo dõi, không có điểm; hãy bỏ dòng này")
    return found


def _refuse_counts(component: Component, numerator: int | None, denominator: int | None, *, has_rate: bool) -> None:
    if (numerator is None) != (denominator is None):
        raise UnreadableCellError("phải có cả tử số và mẫu số, hoặc chỉ có tỷ lệ (rate)")
    if numerator is None and not has_rate:
        raise UnreadableCellError("không có số nào; chỉ số không có số thì bỏ cả dòng")
    # Only 1.4 can count more dossiers synchronised than its reporting system knows.
    if numerator is not None and denominator is not None and numerator > denominator and component.zero != "last_year":
        raise UnreadableCellError(f"tử số {count_vi(numerator)} lớn hơn mẫu số {count_vi(denominator)}")


def _level(cell: Cell) -> str:
    if cell.is_blank:
        return "all"
    level = _LEVELS.get(folded(text_of(cell)))
    if level is None:
        raise UnreadableCellError(f"level: {shown(cell)} không phải cấp (all, province, district, commune)")
    return level


def _lines(path: Path) -> Iterator[_Line]:
    if not path.is_file():
        raise ScoreFileError(f"{path}: không có tệp này (no such file)")
    readers = {".csv": _csv_rows, ".xlsx": _xlsx_rows}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ScoreFileError(f"{path.name}: phải là tệp .csv hoặc .xlsx")
    rows = reader(path)
    if not rows:
        raise ScoreFileError(f"{path.name}: tệp trống (the file is empty)")
    columns = _columns(path, rows[0])
    for number, cells in enumerate(rows[1:], start=2):
        if any(not cell.is_blank for cell in cells):
            named = {name: cells[at] for name, at in columns.items() if at < len(cells)}
            yield _Line(f"{path.name}, dòng {number}", named)


def _columns(path: Path, headings: Sequence[Cell]) -> dict[str, int]:
    spelled = [folded(text_of(cell)).rstrip(" (%)") for cell in headings]
    columns = {name: at for name, known in _HEADINGS.items() for at, text in enumerate(spelled) if text in known}
    missing = [name for name in _NEEDED if name not in columns]
    if missing or (not {"numerator", "denominator"} <= columns.keys() and "rate" not in columns):
        raise ScoreFileError(
            f"{path.name}, dòng 1: phải có các cột unit (đơn vị), component (chỉ số), numerator (tử số), "
            "denominator (mẫu số); thêm được level (cấp), period (kỳ), rate (tỷ lệ)"
        )
    return columns


def _csv_rows(path: Path) -> list[list[Cell]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ScoreFileError(f"{path.name}: không phải UTF-8; trong Excel chọn Lưu dưới dạng “CSV UTF-8”") from None
    first = text.partition("\n")[0]
    separator = max(_SEPARATORS, key=first.count)
    return [[Cell(value) for value in row] for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator)]


def _xlsx_rows(path: Path) -> list[list[Cell]]:
    import openpyxl

    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except (zipfile.BadZipFile, KeyError, ValueError, OSError):
        raise ScoreFileError(f"{path.name}: tệp .xlsx hỏng hoặc có mật khẩu; hãy lưu lại và thử lại") from None
    try:
        return [[_xlsx_cell(cell) for cell in row] for row in book.worksheets[0].iter_rows()]
    finally:
        book.close()


def _xlsx_cell(cell: Any) -> Cell:
    is_number = isinstance(cell.value, (int, float)) and not isinstance(cell.value, bool)
    return Cell(cell.value, is_percent=is_number and "%" in str(getattr(cell, "number_format", "")))


def score(
    file: Annotated[Path, typer.Argument(help="Tệp CSV hoặc XLSX: đơn vị, chỉ số, tử số, mẫu số · counts per unit")],
    set_id: Annotated[str, typer.Option("--set", help=f"Bộ chỉ số · score set: {', '.join(SETS)}")] = SETS[0],
    out: Annotated[Path | None, typer.Option("--out", help="Ghi kết quả ra CSV · write the result as CSV")] = None,
    *,
    detail: Annotated[bool, typer.Option("--detail", help="In từng chỉ số · print every component")] = False,
) -> None:
    """Chấm điểm 766 cho một bảng số liệu, không cần hồ sơ. · Score a table of counts by decision 766."""
    from rich.console import Console

    try:
        scoring = load_set(set_id)
    except ScoreSetError as error:
        raise ConfigurationError(f"--set: {error}") from None
    scored = score_counts(read_counts(file, scoring), scoring, as_of=datetime.now(UTC))
    console = Console(highlight=False)
    console.print(totals_table(scored, scoring))
    if detail or len({_subject(row) for row in scored.totals.to_pylist()}) == 1:
        for table in component_tables(scored, scoring):
            console.print(table)
    if out is not None:
        write_csv(out, scored, scoring)
        console.print(f"[green]✓[/green] {out}")


def totals_table(scored: Scored, scoring: ScoreSet) -> Table:
    """Group sums and totals, one line per unit and period."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"Điểm theo bộ {scoring.set}", caption=_caption(scored, scoring), box=None, pad_edge=False)
    for heading in ("Đơn vị\nunit", "Kỳ\nperiod"):
        table.add_column(heading)
    for group in scoring.groups:
        table.add_column(f"{group.group}\n/{group.max}", justify="right", no_wrap=True)
    for heading in ("Tổng\ntotal", "Chấm trên\nout of", "Hạng\nrank"):
        table.add_column(heading, justify="right", no_wrap=True)
    for subject, rows in _by_subject(scored.totals).items():
        groups = {row["group_id"]: row for row in rows}
        total = groups[TOTAL]
        points = [points_vi(groups[group.group]["points"]) for group in scoring.groups]
        rank = f"{total['rank']}/{total['ranked']}" if total["rank"] else "–"
        table.add_row(
            escape(subject[0]), _period_vi(total), *points, points_vi(total["points"]), str(total["scored_max"]), rank
        )
    return table


def _caption(scored: Scored, scoring: ScoreSet) -> str:
    partial = any(row["scored_max"] < row["max_points"] for row in scored.totals.to_pylist())
    note = "\nChỉ số không có số không được chấm; tổng nói trên số điểm ở cột “chấm trên”." if partial else ""
    return f"{scoring.standing_vi}{note}"


def component_tables(scored: Scored, scoring: ScoreSet) -> Iterator[Table]:
    """One table per unit and period: every component with what is lost and what wins the next point."""
    from rich.markup import escape
    from rich.table import Table

    names = {part.component: part for part in scoring.scored}
    for subject, rows in _by_subject(scored.components).items():
        table = Table(title=f"{escape(subject[0])} {_period_vi(rows[0])}", box=None, pad_edge=False)
        table.add_column("Chỉ số\ncomponent", max_width=36)
        for heading in ("Tử số\nnumerator", "Mẫu số\ndenominator", "Điểm\npoints", "Mất\nlost", "Cần thêm\nnext point"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("Ghi chú\nnote")
        for row in rows:
            part = names[row["component"]]
            denominator = _count_vi(row["denominator"]) + (f"/{row['divisor']}" if row["divisor"] > 1 else "")
            wins = f"{count_vi(row['next_point'])} {part.counted}" if row["next_point"] else "–"
            table.add_row(
                f"{part.component} {part.vi}",
                *(_count_vi(row["numerator"]), denominator),
                f"{points_vi(row['points'])}/{part.max}",
                *(points_vi(row["lost"]), wins, _STATE_VI[row["state"]]),
            )
        yield table


def write_csv(path: Path, scored: Scored, scoring: ScoreSet) -> None:
    """Components, groups and totals as one CSV that Excel opens as UTF-8; no cell can start a formula."""
    vi = {part.component: part.vi for part in scoring.scored} | {group.group: group.vi for group in scoring.groups}
    with csv_file(path, key="--out") as stream:
        writer = csv.DictWriter(stream, _WRITTEN, restval="", extrasaction="ignore")
        writer.writeheader()
        for row in [*scored.components.to_pylist(), *scored.totals.to_pylist()]:
            item = row.get("component", row["group_id"])
            named = row | {"unit": safe(row["unit_code"]), "item": item, "name": vi.get(item, "Tổng điểm")}
            if row["period_start"] == _UNNAMED.start:
                named |= {"period": "", "period_start": ""}
            writer.writerow(named)


def points_vi(points: float | None) -> str:
    """Points with two decimals and a comma; a dash where nothing was scored, which is not 0."""
    return "–" if points is None else f"{points:.2f}".replace(".", ",")


def _count_vi(number: int | None) -> str:
    return "–" if number is None else count_vi(number)


def _period_vi(row: Mapping[str, Any]) -> str:
    return "–" if row["period_start"] == _UNNAMED.start else Period(row["period_start"], row["period"]).vi


def _subject(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("unit_code", "level", "period_start", "period"))


def _by_subject(table: pa.Table) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    rows: Iterable[dict[str, Any]] = table.to_pylist()
    for row in rows:
        found.setdefault(_subject(row), []).append(row)
    return dict(sorted(found.items()))
