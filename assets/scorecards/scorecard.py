"""The scorecard that the command line prints: rates per level beside their targets.

Belongs here: choosing periods and rows from the published `indicator` and `verdict` tables, and
drawing them. Does not belong here: reading files, judging (`verdicts.py`), or the wording of numbers
(`expectations/wording.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from expectations.wording import LEVEL_VI, VERDICT_VI, bound_vi, count_vi, rate_vi

_ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
_LEVELS = ("all", "province", "district", "commune")
_STYLE = {"met": "green", "missed": "red", "not_yet_due": "cyan", "no_source": "yellow", "too_few": "yellow"}
_NOTHING = "–"


@dataclass(frozen=True)
class Measure:
    """One indicator version that the scorecard shows, with its names and what its denominator counts."""

    indicator: str
    version: str
    vi: str
    en: str


#: In the order of the scorecard: the four rates first. Every other indicator version that is
#: published (vendors' variants) is left to the Parquet files.
MEASURES = (
    Measure("online-processing", "766-3.3", "Nộp trực tuyến", "online"),
    Measure("online-payment", "766-3.6", "Thanh toán trực tuyến", "paid online"),
    Measure("digitisation", "766-4.2", "Số hóa hồ sơ", "digitised"),
    Measure("reuse", "766-4.3", "Tái sử dụng dữ liệu", "reused"),
    Measure("wholly-online", "3478-ii6a", "Hoàn toàn trực tuyến", "wholly online"),
    Measure("payment-transactions", "3478-ii2a", "Giao dịch trực tuyến", "payments"),
    Measure("internal-circulation", "3478-ii2a", "Luân chuyển điện tử", "circulated electronically"),
    Measure("accounts-verified", "3478-ii6a", "Tài khoản định danh", "accounts verified"),
    Measure("electronic-result", "766-4.1", "Kết quả điện tử", "e-result"),
    Measure("on-time", "766-2.1", "Đúng hạn / tiếp nhận", "on time / received"),
    Measure("on-time", "766-2.1-resolved", "Đúng hạn / kết thúc", "on time / ended"),
    Measure("on-time", "766-2.1-due", "Đúng hạn / đến hạn", "on time / due"),
    Measure("on-time", "provincial", "Đúng hạn (cách tỉnh)", "as the province counts"),
    Measure("reception-in-8-hours", "operators", "Tiếp nhận trong 8 giờ", "received in 8 hours"),
)


@dataclass(frozen=True)
class Period:
    """A period of the scorecard; `until` is the last day counted while it still runs."""

    kind: str
    start: date
    until: date | None = None

    @property
    def label(self) -> str:
        """As a heading: "2025", "Quý 3/2026", "Tháng 9/2026" or "2026 đến 31/10"."""
        if self.until:
            return f"{self.start.year} đến {self.until.day}/{self.until.month}"
        if self.kind == "quarter":
            return f"Quý {(self.start.month + 2) // 3}/{self.start.year}"
        return f"Tháng {self.start.month}/{self.start.year}" if self.kind == "month" else f"{self.start.year}"


@dataclass(frozen=True)
class Figure:
    """The two counts of a rate."""

    numerator: int
    denominator: int

    @property
    def text(self) -> str:
        """The rate for people; a dash without a denominator, never 0 %."""
        return rate_vi(self.numerator, self.denominator) if self.denominator else _NOTHING


@dataclass(frozen=True)
class Held:
    """One threshold that a line is held against, by one target or by several that agree."""

    targets: tuple[str, ...]
    threshold: float
    verdict: str
    gap: int | None
    operator: str = ">="
    measure: str = "share"


@dataclass(frozen=True)
class ScoreLine:
    """One indicator at one level: a figure per period of the scorecard, and the verdicts to date."""

    measure: Measure
    level: str
    figures: tuple[Figure | None, ...]
    held: tuple[Held, ...]


@dataclass(frozen=True)
class Scorecard:
    """Everything the scorecard shows; the last period is the one that the verdicts speak of.

    `without_source` names the targets that nobody can answer yet.
    """

    as_of: datetime
    periods: tuple[Period, ...]
    lines: tuple[ScoreLine, ...]
    without_source: tuple[str, ...] = ()


def periods_at(as_of: datetime) -> tuple[Period, ...]:
    """The last full year, quarter and month at `as_of`, then the year to date.

    The day of `as_of` in Asia/Ho_Chi_Minh is not over, so the night of 1 November sees October as
    full, and the night of 1 January still shows the year before as the year to date.
    """
    last = as_of.astimezone(_ZONE).date() - timedelta(days=1)
    following = last + timedelta(days=1)
    # A period is full when the day after `last` begins another one; else it is the one before.
    year = last.year if (following.month, following.day) == (1, 1) else last.year - 1
    month_start = following.replace(day=1)
    quarter_start = month_start.replace(month=(month_start.month - 1) // 3 * 3 + 1)
    return (
        Period("year", date(year, 1, 1)),
        Period("quarter", _months_before(quarter_start, 3)),
        Period("month", _months_before(month_start, 1)),
        Period("year", date(last.year, 1, 1), last),
    )


def _months_before(first: date, months: int) -> date:
    index = first.year * 12 + first.month - 1 - months
    return date(index // 12, index % 12 + 1, 1)


def build(indicators: pa.Table, verdicts: pa.Table) -> Scorecard:
    """The scorecard of a publication: its `indicator` and `verdict` tables, whole.

    Only sums (level and province) are shown. A level that has no row in any of the periods has no
    line. Raises `ValueError` when nothing was ever published.
    """
    if not indicators.num_rows:
        raise ValueError("the publication holds no indicator yet; run a night first")
    as_of: datetime = pc.max(indicators["as_of"]).as_py()
    periods = periods_at(as_of)
    figures = _figures(indicators, periods)
    judged = _verdicts(verdicts, periods[-1])
    lines = [
        ScoreLine(measure, level, found, _held(judged, measure.indicator, measure.version, level))
        for measure in MEASURES
        for level in _LEVELS
        if any(found := tuple(figures.get((measure.indicator, measure.version, level, p)) for p in periods))
    ]
    blind = sorted({str(row["target"]) for row in judged if row["verdict"] == "no_source"})
    return Scorecard(as_of, periods, tuple(lines), tuple(blind))


def _sums(table: pa.Table) -> pa.Table:
    return table.filter(pc.field("scope") != "unit")


def _figures(indicators: pa.Table, periods: Sequence[Period]) -> dict[tuple[str, str, str, Period], Figure]:
    by_start = {}
    for row in _sums(indicators).filter(pc.field("denominator").is_valid()).to_pylist():
        place = (row["indicator"], row["version"], row["level"], row["period"], row["period_start"])
        by_start[place] = Figure(row["numerator"], row["denominator"])
    return {
        (indicator, version, level, period): figure
        for (indicator, version, level, kind, start), figure in by_start.items()
        for period in periods
        if (kind, start) == (period.kind, period.start)
    }


def _verdicts(verdicts: pa.Table, period: Period) -> list[Mapping[str, object]]:
    here = (pc.field("period") == period.kind) & (pc.field("period_start") == pa.scalar(period.start, pa.date32()))
    rows: list[Mapping[str, object]] = _sums(verdicts).filter(here).sort_by("target").to_pylist()
    return rows


def _held(rows: Iterable[Mapping[str, object]], indicator: str, version: str, level: str) -> tuple[Held, ...]:
    """Targets of one line, those of equal threshold and verdict in one; lower thresholds first."""
    grouped: dict[tuple[Any, ...], list[str]] = {}
    for row in rows:
        if (row["indicator"], row["version"], row["level"]) == (indicator, version, level):
            key = tuple(row[name] for name in ("threshold", "verdict", "gap_dossiers", "operator", "measure"))
            grouped.setdefault(key, []).append(str(row["target"]))
    ordered = sorted(grouped.items(), key=lambda item: (item[0][4], item[0][0]))
    return tuple(Held(tuple(targets), *key) for key, targets in ordered)


def render(scorecard: Scorecard) -> Table:
    """The scorecard as a table of 80 to 120 columns, which says the same without colour."""
    table = Table(
        title=f"Bảng điểm tính đến {scorecard.as_of.astimezone(_ZONE):%H:%M %d/%m/%Y} (scorecard)",
        caption=_caption(scorecard),
        box=SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
    )
    table.add_column("Chỉ số\nIndicator", min_width=9, max_width=22)
    table.add_column("Cấp\nLevel", no_wrap=True)
    for period in scorecard.periods:
        kind, _, rest = period.label.partition(" ")
        table.add_column(f"{kind}\n{rest}", justify="right", no_wrap=True)
    table.add_column("Chỉ tiêu\nTarget", max_width=22)
    table.add_column("Kết luận\nVerdict")
    table.add_column("Còn thiếu\nGap", justify="right", no_wrap=True)
    for measure, lines in groupby(scorecard.lines, key=lambda line: line.measure):
        rows = [cells for line in lines for cells in _rows(line)]
        names = [*_names(measure, len(rows)), *[Text()] * len(rows)]
        for name, cells in zip(names, rows, strict=False):
            table.add_row(name, *cells)
        table.add_section()
    return table


def _caption(scorecard: Scorecard) -> str:
    said = "Kết luận và số còn thiếu (hồ sơ, giao dịch) theo năm đến nay; verdicts are for the year to date."
    if not scorecard.without_source:
        return said
    return f"{said}\nChưa có nguồn (no source yet): {', '.join(scorecard.without_source)}"


def _names(measure: Measure, rows: int) -> list[Text]:
    """Vietnamese on the first row of a group and English on the second, or both on its only row."""
    names = [Text(measure.vi, style="bold"), Text(measure.en, style="dim")]
    return names if rows > 1 else [Text("\n").join(names)]


def _rows(line: ScoreLine) -> list[tuple[str | Text, ...]]:
    """One row per threshold, without the name; the figures stand on the first."""
    left = [LEVEL_VI[line.level], *(figure.text if figure else _NOTHING for figure in line.figures)]
    blank = [""] * len(left)
    held = [_held_cells(each) for each in line.held] or [(_NOTHING, Text(_NOTHING), _NOTHING)]
    return [(*(left if number == 0 else blank), *cells) for number, cells in enumerate(held)]


def _held_cells(held: Held) -> tuple[str | Text, ...]:
    gap = _NOTHING if held.gap is None else count_vi(held.gap)
    verdict = Text(VERDICT_VI[held.verdict], style=_STYLE.get(held.verdict, ""))
    return f"{bound_vi(held.operator, held.threshold, held.measure)} {', '.join(held.targets)}", verdict, gap
