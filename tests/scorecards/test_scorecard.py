"""The scorecard that people read: which periods, which lines, and the drawn text at both widths.

The drawing is compared as text without colour, since that is what must be readable.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from assets.scorecards.scorecard import Figure, Held, Scorecard, build, periods_at, render
from tests.rows import table_rows
from warehouse.tables import OUT_INDICATOR, OUT_VERDICT

AS_OF = datetime(2026, 10, 31, 18, tzinfo=UTC)


def _indicator(indicator: str, version: str, level: str, period: str, start: date, *counts: int) -> dict[str, Any]:
    n, d = counts
    return {
        "indicator": indicator,
        "version": version,
        "scope": "province" if level == "all" else "level",
        "level": level,
        "unit_code": "H15",
        "period": period,
        "period_start": start,
        "numerator": n,
        "denominator": d,
        "rate": n / d if d else None,
        "as_of": AS_OF,
    }


def _verdict(
    target: str, level: str, threshold: float, verdict: str, gap: int | None, **changes: Any
) -> dict[str, Any]:
    return {
        "target": target,
        "indicator": "online-processing",
        "version": "766-3.3",
        "scope": "province" if level == "all" else "level",
        "level": level,
        "unit_code": "H15",
        "period": "year",
        "period_start": date(2026, 1, 1),
        "threshold": threshold,
        "operator": ">=",
        "measure": "share",
        "verdict": verdict,
        "gap_dossiers": gap,
    } | changes


def _scorecard() -> Scorecard:
    online = ("online-processing", "766-3.3")
    unit = _indicator(*online, "commune", "year", date(2026, 1, 1), 9, 9) | {"scope": "unit", "unit_code": "H15.24133"}
    indicators = table_rows(
        OUT_INDICATOR,
        _indicator("reuse", "766-4.3", "all", "month", date(2026, 10, 1), 0, 0),
        _indicator(*online, "all", "year", date(2025, 1, 1), 7999, 10_000),
        _indicator(*online, "all", "quarter", date(2026, 7, 1), 1, 3),
        _indicator(*online, "all", "month", date(2026, 10, 1), 10, 10),
        _indicator(*online, "all", "month", date(2026, 9, 1), 0, 10),
        _indicator(*online, "all", "year", date(2026, 1, 1), 2182, 10_000),
        _indicator(*online, "district", "year", date(2025, 1, 1), 1, 2),
        _indicator(*online, "district", "year", date(2024, 1, 1), 2, 2),
        _indicator("online-processing", "vendor-td", "all", "year", date(2026, 1, 1), 1, 1),
        unit,
    )
    verdicts = table_rows(
        OUT_VERDICT,
        _verdict("DL-D1", "all", 0.5, "missed", 2818),
        _verdict("DL-A4c", "all", 0.5, "missed", 2818),
        _verdict("DL-Z", "all", 0.9, "not_yet_due", 6818),
        _verdict("DL-D1", "all", 0.5, "not_yet_due", 1, period_start=date(2025, 1, 1)),
        _verdict("DL-A3-P", "province", 1.0, "no_source", None, indicator=None, version=""),
        _verdict("DL-A3-H", "district", 1.0, "not_applicable", None, indicator=None, version=""),
    )
    return build(indicators, verdicts)


@pytest.mark.parametrize(
    ("as_of", "labels"),
    [
        (AS_OF, ["2025", "Quý 3/2026", "Tháng 10/2026", "2026 đến 31/10"]),
        (datetime(2026, 10, 31, 3, tzinfo=UTC), ["2025", "Quý 3/2026", "Tháng 9/2026", "2026 đến 30/10"]),
        # The night of New Year: the year before is full, and is still the year to date.
        (datetime(2025, 12, 31, 18, tzinfo=UTC), ["2025", "Quý 4/2025", "Tháng 12/2025", "2025 đến 31/12"]),
        (datetime(2026, 1, 1, 18, tzinfo=UTC), ["2025", "Quý 4/2025", "Tháng 12/2025", "2026 đến 1/1"]),
        (datetime(2026, 4, 1, 3, tzinfo=UTC), ["2025", "Quý 1/2026", "Tháng 3/2026", "2026 đến 31/3"]),
    ],
)
def test_the_periods_are_the_last_full_ones_and_the_year_to_date(as_of: datetime, labels: list[str]) -> None:
    assert [period.label for period in periods_at(as_of)] == labels


def test_lines_hold_sums_only_and_verdicts_of_the_year_to_date() -> None:
    first, second, third = _scorecard().lines
    assert (first.measure.indicator, first.level) == ("online-processing", "all")
    assert first.figures == (Figure(7999, 10_000), Figure(1, 3), Figure(10, 10), Figure(2182, 10_000))
    assert first.held == (
        Held(("DL-A4c", "DL-D1"), 0.5, "missed", 2818),
        Held(("DL-Z",), 0.9, "not_yet_due", 6818),
    )
    assert (second.level, second.figures, second.held) == ("district", (Figure(1, 2), None, None, None), ())
    assert (third.measure.indicator, third.figures[2]) == ("reuse", Figure(0, 0))
    assert _scorecard().without_source == ("DL-A3-P",)


def test_an_empty_publication_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="run a night first"):
        build(OUT_INDICATOR.arrow_schema().empty_table(), OUT_VERDICT.arrow_schema().empty_table())


def _drawn(width: int) -> list[str]:
    out = StringIO()
    Console(file=out, width=width, no_color=True).print(render(_scorecard()))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_the_drawing_says_numbers_in_vietnamese() -> None:
    (line,) = [line for line in _drawn(120) if "toàn tỉnh" in line and "DL-A4c" in line]
    # 79,99 % is cut to 79,9 and never rounded up towards a target.
    assert " ".join(line.split()) == (
        "Nộp trực tuyến toàn tỉnh 79,9 % 33,3 % 100,0 % 21,8 % ≥ 50 % DL-A4c, DL-D1 chưa đạt 2.818"
    )
    text = "\n".join(_drawn(120))
    assert "Chưa có nguồn (no source yet): DL-A3-P" in text
    assert "01:00 01/11/2026" in text
    assert " 0,0 %" not in text, "without a denominator there is no 0 %"


@pytest.mark.parametrize("width", [80, 120])
def test_the_drawing_fits_and_cuts_no_number(width: int) -> None:
    lines = _drawn(width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert all(number in text for number in ("79,9 %", "100,0 %", "2.818", "6.818", "50 %"))
    assert "…" not in text
