"""What a public copy withholds, and that nobody finds it again by adding and subtracting.

Three judges share nothing: the program's own audit (SQL, one sum after the other), hand-worked cases in which a
reader sees what could be subtracted, and linear algebra over every sum of a small province at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.periods import Period
from assets.publications.disclosure import Violation, disclosed
from assets.publications.suppression import suppress
from tests.rows import table_rows
from warehouse.tables import OUT_INDICATOR
from warehouse.tables.statistic import OUT_STATISTIC, PUBLIC_INDICATOR, PUBLIC_STATISTIC

PROVINCE = "H15"
AS_OF = datetime(2026, 1, 1, 3, tzinfo=UTC)
#: Two communes until the middle of the year and three after it, two departments all year.
YEAR = [date(2025, month, 1) for month in range(1, 13)]
LIVES = {
    "H15.643.1": ("commune", range(6)),
    "H15.643.2": ("commune", range(6)),
    "H15.10": ("commune", range(6, 12)),
    "H15.11": ("commune", range(6, 12)),
    "H15.12": ("commune", range(6, 12)),
    "H15.SNV": ("province", range(12)),
    "H15.STC": ("province", range(12)),
}
Counts = dict[tuple[str, int], tuple[int, int]]
Key = tuple[str, str, str, str, date]


def indicator_rows(counts: Counts, *, months: int = 12, as_of: datetime = AS_OF) -> pa.Table:
    """out_indicator of units' monthly (numerator, denominator), every level and period summed."""
    summed: dict[Key, list[int]] = {}
    for (unit, month), (numerator, denominator) in counts.items():
        if month >= months:
            continue
        level = LIVES[unit][0]
        for scope, of_level, code in (("unit", level, unit), ("level", level, PROVINCE), ("province", "all", PROVINCE)):
            for period, size in (("month", 1), ("quarter", 3), ("half", 6), ("year", 12)):
                cell = summed.setdefault((scope, of_level, code, period, YEAR[month // size * size]), [0, 0])
                cell[0] += numerator
                cell[1] += denominator
    return table_rows(OUT_INDICATOR, *(_indicator_row(key, cell, as_of) for key, cell in summed.items()))


def _indicator_row(key: Key, cell: Sequence[int], as_of: datetime) -> dict[str, Any]:
    row = dict(zip(("scope", "level", "unit_code", "period", "period_start"), key, strict=True))
    numerator, denominator = cell
    return row | {
        "indicator": "online",
        "version": "1",
        "boundaries": "then",
        "numerator": numerator,
        "denominator": denominator,
        "rate": numerator / denominator if denominator else None,
        "state": "ok" if denominator else "no_denominator",
        "as_of": as_of,
    }


def full(numerator: int, denominator: int) -> Counts:
    """Every unit and month with the same counts."""
    return {(unit, month): (numerator, denominator) for unit, (_, months) in LIVES.items() for month in months}


def shown(table: pa.Table) -> dict[tuple[str, str, str, date], dict[str, Any]]:
    return {(row["scope"], row["unit_code"], row["period"], row["period_start"]): row for row in table.to_pylist()}


def withheld(table: pa.Table) -> set[tuple[str, str, int]]:
    """Unit, period and number of the month it begins in, of every row withheld."""
    return {
        (row["unit_code"] if row["scope"] == "unit" else row["level"], row["period"], row["period_start"].month)
        for row in table.to_pylist()
        if row["state"] == "suppressed"
    }


def test_nothing_small_nothing_withheld_and_everything_rounded() -> None:
    public = suppress(indicator_rows(full(12, 33)))
    assert public.schema.equals(PUBLIC_INDICATOR.arrow_schema(), check_metadata=True)
    assert withheld(public) == set()
    row = shown(public)["unit", "H15.SNV", "month", YEAR[0]]
    # 12 is nearer to 10 than to 15, 33 nearer to 35; the rate is that of the rounded counts.
    assert (row["numerator"], row["denominator"], row["rate"]) == (10, 35, 10 / 35)


def test_one_small_month_is_withheld_with_its_quarter_mates_and_with_a_second_unit() -> None:
    counts = full(50, 100)
    counts["H15.SNV", 4] = (3, 90)  # three dossiers online in May
    public = suppress(indicator_rows(counts))
    quarter = {("month", 4), ("month", 5), ("month", 6)}
    assert withheld(public) == {(unit, *month) for unit in ("H15.SNV", "H15.STC") for month in quarter}
    # The quarter itself is still told.
    assert shown(public)["unit", "H15.SNV", "quarter", YEAR[3]]["numerator"] == 105


def test_a_unit_small_all_year_is_withheld_all_year_with_the_smallest_of_its_level() -> None:
    counts = full(50, 100)
    counts |= {("H15.11", month): (0, 1 if month == 7 else 0) for month in range(6, 12)}
    counts |= {("H15.12", month): (40, 80) for month in range(6, 12)}
    public = suppress(indicator_rows(counts))
    units = {unit for unit, _, _ in withheld(public)}
    assert units == {"H15.11", "H15.12"}
    assert ("H15.11", "year", 1) in withheld(public)
    assert shown(public)["unit", "H15.10", "month", YEAR[7]]["state"] == "ok"


def test_zero_is_shown_because_it_is_about_nobody() -> None:
    counts = full(50, 100)
    counts["H15.SNV", 4] = (0, 0)
    counts["H15.STC", 4] = (0, 100)
    public = suppress(indicator_rows(counts))
    assert withheld(public) == set()
    assert shown(public)["unit", "H15.SNV", "month", YEAR[4]]["state"] == "no_denominator"
    assert shown(public)["unit", "H15.STC", "month", YEAR[4]]["rate"] == 0


def test_a_running_period_is_left_out() -> None:
    counts = full(50, 100)
    # Known up to 1 August, 00:00 in Vietnam: July is over, its quarter, half and year are not.
    rows = indicator_rows(counts, months=7, as_of=datetime(2025, 7, 31, 17, tzinfo=UTC))
    periods = {(row["period"], row["period_start"].month) for row in suppress(rows).to_pylist()}
    assert ("month", 7) in periods
    assert {kind for kind, _ in periods} == {"month", "quarter", "half"}
    assert ("quarter", 7) not in periods
    a_second_before = indicator_rows(counts, months=7, as_of=datetime(2025, 7, 31, 16, 59, 59, tzinfo=UTC))
    assert ("month", 7) not in {
        (row["period"], row["period_start"].month) for row in suppress(a_second_before).to_pylist()
    }


def test_counts_of_procedures_and_values_without_counts_pass_as_they_are() -> None:
    base = _indicator_row(("unit", "commune", "H15.10", "month", YEAR[7]), (1, 3), AS_OF)
    rows = table_rows(
        OUT_INDICATOR,
        base | {"version": "catalogue"},
        base | {"indicator": "rank", "numerator": None, "denominator": None, "rate": 12.0, "state": "ok"},
        base | {"boundaries": "now", "numerator": 50, "denominator": 100},
    )
    public = suppress(rows).to_pylist()
    assert [(row["indicator"], row["numerator"], row["denominator"], row["rate"], row["state"]) for row in public] == [
        ("online", 1, 3, 1 / 3, "ok"),
        ("rank", None, None, 12.0, "ok"),
    ]


@pytest.mark.parametrize(("threshold", "rounding"), [(0, 5), (7, 0), (7, 17)])
def test_parameters_that_would_hide_nothing_or_show_zero_are_refused(threshold: int, rounding: int) -> None:
    with pytest.raises(ValueError, match="threshold"):
        suppress(indicator_rows(full(50, 100)), threshold=threshold, rounding=rounding)


def test_two_indicators_over_the_same_dossiers_withhold_the_same_denominators() -> None:
    counts = full(50, 100)
    counts["H15.10", 7] = (2, 5)
    other = {
        place: (1 if place == ("H15.12", 7) else denominator, denominator) for place, (_, denominator) in counts.items()
    }
    first, second = indicator_rows(counts), indicator_rows(other)
    renamed = second.set_column(0, second.schema.field(0), pa.array(["reuse"] * second.num_rows))
    public = suppress(pa.concat_tables([first, renamed])).to_pylist()
    hidden: dict[str, set[Any]] = {"online": set(), "reuse": set()}
    for row in public:
        if row["state"] == "suppressed":
            hidden[row["indicator"]].add((row["unit_code"], row["period"], row["period_start"]))
    assert hidden["online"] <= hidden["reuse"]


# ---- the audit ---------------------------------------------------------------------------------------------------


def test_the_audit_finds_a_cell_that_is_the_only_one_missing_of_its_level() -> None:
    counts = full(50, 100)
    counts["H15.SNV", 4] = (3, 90)
    rows = indicator_rows(counts)
    public = suppress(rows)
    assert disclosed(public, rows, threshold=7, rounding=5) == []
    careless = _withhold_only(rows, {("unit", "H15.SNV", "month", YEAR[4])})
    found = disclosed(careless, rows, threshold=7)
    assert {(one.why, one.measure, one.unit_code, one.period_start) for one in found} == {
        ("recoverable", "numerator", "H15.SNV", "2025-05-01"),
        ("recoverable", "denominator", "H15.SNV", "2025-05-01"),
    }


def test_the_audit_goes_on_from_what_it_found() -> None:
    counts = full(50, 100)
    counts["H15.SNV", 4] = (3, 90)
    rows = indicator_rows(counts)
    # May of both departments and June of one: June follows from its level, May then from the quarter.
    cells = {
        ("unit", "H15.SNV", "month", YEAR[4]),
        ("unit", "H15.STC", "month", YEAR[4]),
        ("unit", "H15.SNV", "month", YEAR[5]),
    }
    found = disclosed(_withhold_only(rows, cells), rows, threshold=7)
    assert {(one.unit_code, one.period_start) for one in found} == {
        ("H15.SNV", "2025-06-01"),
        ("H15.SNV", "2025-05-01"),
        ("H15.STC", "2025-05-01"),
    }


def test_the_audit_sees_what_is_shown_small_exact_or_untrue() -> None:
    rows = indicator_rows({**full(50, 100), ("H15.SNV", 4): (3, 90)})
    public = suppress(rows)
    exact = _withhold_only(rows, set())
    assert {one.why for one in disclosed(exact, rows, threshold=7, rounding=5)} == {"shown_small", "not_rounded"}
    rate = public.column("rate").to_pylist()
    told = public.set_column(
        public.schema.get_field_index("rate"), "rate", pa.array([0.0 if r is None else r for r in rate])
    )
    assert {one.why for one in disclosed(told, rows, threshold=7, rounding=5)} == {"rate_not_of_counts"}
    moved = public.set_column(
        public.schema.get_field_index("unit_code"), "unit_code", pa.array(["H99"] * public.num_rows)
    )
    assert "not_true" in {one.why for one in disclosed(moved, rows, threshold=7, rounding=5)}


def test_a_violation_is_said_without_any_count() -> None:
    said = str(
        Violation(
            why="recoverable",
            subject="online/1",
            measure="numerator",
            scope="unit",
            level="commune",
            unit_code="H15.10",
            sector="",
            period="month",
            period_start="2025-08-01",
            by="level = units",
        )
    )
    assert said == "recoverable (level = units): online/1 numerator, unit commune H15.10, month 2025-08-01"


def _withhold_only(rows: pa.Table, cells: set[tuple[str, str, str, date]]) -> pa.Table:
    """A careless public copy: just these cells are withheld, nothing is rounded."""
    content = []
    for row in rows.to_pylist():
        is_hidden = (row["scope"], row["unit_code"], row["period"], row["period_start"]) in cells
        content.append(
            row | ({"numerator": None, "denominator": None, "rate": None, "state": "suppressed"} if is_hidden else {})
        )
    return pa.Table.from_pylist(
        [{name: row[name] for name in PUBLIC_INDICATOR.column_names} for row in content],
        schema=PUBLIC_INDICATOR.arrow_schema(),
    )


# ---- every sum at once -------------------------------------------------------------------------------------------

count = st.one_of(st.just(0), st.integers(1, 9), st.integers(8, 60))


@st.composite
def provinces(draw: st.DrawFn) -> Counts:
    drawn = {}
    for unit, (_, months) in LIVES.items():
        typical = draw(st.sampled_from([None, 0, 3, 40]))
        for month in months:
            denominator = draw(count) if typical is None else typical
            drawn[unit, month] = (
                draw(st.integers(0, denominator)) if typical is None else denominator // 2,
                denominator,
            )
    return drawn


@settings(max_examples=8, deadline=None)
@given(provinces(), st.sampled_from([7, 12]))
def test_no_sum_and_no_combination_of_sums_finds_what_is_withheld(counts: Counts, months: int) -> None:
    rows = indicator_rows(counts, months=months, as_of=datetime(2025, months, 31, 18, tzinfo=UTC))
    public = suppress(rows)
    assert disclosed(public, rows, threshold=7, rounding=5) == []
    truth = dict(shown_cells(rows))
    cells = dict(shown_cells(public))
    small = {cell for cell, row in truth.items() if 1 <= row["numerator"] <= 7 or 1 <= row["denominator"] <= 7}
    assert not small & {cell for cell, row in cells.items() if row["numerator"] is not None}
    unknown = [cell for cell in truth if cells.get(cell, {"numerator": None})["numerator"] is None]
    found = determined(unknown, list(sums(truth)))
    assert found & {cell for cell in unknown if cell in cells or cell in small} == set()


def shown_cells(table: pa.Table) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    for row in table.to_pylist():
        yield (row["scope"], row["level"], row["unit_code"], row["period"], str(row["period_start"])), row


def sums(cells: Iterable[tuple[str, ...]]) -> Iterator[list[tuple[str, ...]]]:
    """Every sum of the tables: the whole first, then its parts."""
    there = set(cells)
    for whole in there:
        scope, level, _, period, start = whole
        below = {"province": "level", "level": "unit"}.get(scope)
        parts = [c for c in there if c[0] == below and c[3:] == whole[3:] and (scope == "province" or c[1] == level)]
        if parts:
            yield [whole, *parts]
        finer = {"year": "half", "half": "quarter", "quarter": "month"}.get(period)
        end = str(Period(period, date.fromisoformat(start)).end)
        parts = [c for c in there if c[:3] == whole[:3] and c[3] == finer and start <= c[4] < end]
        if parts:
            yield [whole, *parts]


def determined(unknown: list[tuple[str, ...]], equations: list[list[tuple[str, ...]]]) -> set[tuple[str, ...]]:
    """Unknowns that every solution of all sums together gives the same value: their unit vector is in the row space."""
    number = {cell: index for index, cell in enumerate(unknown)}
    matrix = np.zeros((len(equations), len(unknown)))
    for line, (whole, *parts) in enumerate(equations):
        for cell, sign in ((whole, 1.0), *((part, -1.0) for part in parts)):
            if cell in number:
                matrix[line, number[cell]] = sign
    if not unknown:
        return set()
    _, singular, rows = np.linalg.svd(matrix)
    rank = int((singular > 1e-9).sum())
    free = rows[rank:]  # a basis of all changes that no sum notices
    return {cell for cell, index in number.items() if not (np.abs(free[:, index]) > 1e-9).any()}


# ---- statistics --------------------------------------------------------------------------------------------------


def statistic_rows(units: dict[str, list[dict[str, int]]], *, as_of: datetime = AS_OF) -> pa.Table:
    """out_statistic of communes' months; flows add up, what is in process stands at the end."""
    rows: dict[tuple[str, str, str, str, date], dict[str, int]] = {}
    for unit, months in units.items():
        for month, counts in enumerate(months):
            for scope, level, code in (
                ("unit", "commune", unit),
                ("level", "commune", PROVINCE),
                ("province", "all", PROVINCE),
            ):
                for period, size in (("month", 1), ("quarter", 3), ("half", 6), ("year", 12)):
                    row = rows.setdefault((scope, level, code, period, YEAR[month // size * size]), {})
                    is_last = month % size == size - 1
                    for name, value in counts.items():
                        if is_last or not name.startswith("in_process"):
                            row[name] = row.get(name, 0) + value
    content = [
        dict(zip(("scope", "level", "unit_code", "period", "period_start"), key, strict=True))
        | {"breakdown": "all", "sector": "", "as_of": as_of}
        | row
        for key, row in rows.items()
    ]
    return table_rows(OUT_STATISTIC, *content)


def month_counts(*drawn: int) -> dict[str, int]:
    early, on_time, late, in_time, overdue, online, direct = drawn
    return {
        "received_online": online,
        "received_direct": direct,
        "resolved_early": early,
        "resolved_on_time": on_time,
        "resolved_late": late,
        "resolved_total": early + on_time + late,
        "in_process_in_time": in_time,
        "in_process_overdue": overdue,
        "in_process_total": in_time + overdue,
    }


def test_a_small_part_is_withheld_with_its_sister_parts_and_the_total_is_still_told() -> None:
    plain = month_counts(30, 20, 10, 40, 0, 50, 20)
    units = {unit: [dict(plain) for _ in range(12)] for unit in ("H15.10", "H15.11", "H15.12")}
    units["H15.10"][1] = month_counts(30, 20, 2, 40, 0, 50, 20)  # two late in February
    rows = statistic_rows(units)
    public = suppress(rows)
    assert public.schema.equals(PUBLIC_STATISTIC.arrow_schema(), check_metadata=True)
    february = shown(public)["unit", "H15.10", "month", YEAR[1]]
    assert [february[name] for name in ("resolved_total", "resolved_early", "resolved_on_time", "resolved_late")] == [
        50,
        None,
        None,
        None,
    ]
    assert february["state"] == "suppressed"
    assert (february["received_online"], february["in_process_in_time"]) == (50, 40)
    assert disclosed(public, rows, threshold=7, rounding=5) == []


def test_a_stock_withheld_at_a_months_end_is_withheld_for_the_quarter_that_ends_there() -> None:
    plain = month_counts(30, 20, 10, 40, 0, 50, 20)
    units = {unit: [dict(plain) for _ in range(12)] for unit in ("H15.10", "H15.11", "H15.12")}
    units["H15.10"][5] = month_counts(30, 20, 10, 40, 3, 50, 20)
    public = suppress(statistic_rows(units))
    hidden = {
        (period, start.month)
        for (_, unit, period, start), row in shown(public).items()
        if unit == "H15.10" and row["in_process_overdue"] is None
    }
    assert hidden == {("month", 6), ("quarter", 4), ("half", 1)}


numbers = st.one_of(st.just(0), st.integers(1, 9), st.integers(8, 60))


@settings(max_examples=5, deadline=None)
@given(st.lists(st.lists(st.tuples(*[numbers] * 7), min_size=12, max_size=12), min_size=2, max_size=4))
def test_statistics_give_nothing_away(drawn: list[list[tuple[int, ...]]]) -> None:
    units = {f"H15.{10 + number}": [month_counts(*month) for month in months] for number, months in enumerate(drawn)}
    rows = statistic_rows(units)
    public = suppress(rows)
    assert disclosed(public, rows, threshold=7, rounding=5) == []
    for row in public.to_pylist():
        for name in ("received_new", "resolved_late", "in_process_overdue"):
            assert row[name] is None or row[name] == 0 or row[name] > 7
