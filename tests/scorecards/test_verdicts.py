"""Verdicts, each rule by a case worked out by hand and the gap by brute force over fractions: what is
being tested is arithmetic and dates, so the pure function is the right door.

The cases over real targets and real units stand in `verdict_cases/`, where a clerk can read them.
"""

from __future__ import annotations

import csv
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.scorecards.verdicts import UnknownUnitError, judge
from expectations.targets import Target, load_targets
from expectations.wording import VERDICT_VI, sentence
from tests.rows import table_rows
from warehouse.reference import unit_table
from warehouse.tables import CORE_UNIT, OUT_INDICATOR, OUT_VERDICT

CASES = list(csv.DictReader((Path(__file__).parent / "verdict_cases" / "cases.csv").open(encoding="utf-8")))
AS_OF = datetime(2026, 10, 31, 18, tzinfo=UTC)  # 01:00 on 1 November in Vietnam
ALWAYS = date(1900, 1, 1)
MERGER = date(2025, 6, 30)
_PROVINCE = {"province_code": "H15", "valid_from": ALWAYS}
UNITS = table_rows(
    CORE_UNIT,
    _PROVINCE | {"unit_code": "H15", "level": "province"},
    _PROVINCE | {"unit_code": "H15.SNV", "level": "province", "parent_code": "H15"},
    _PROVINCE | {"unit_code": "H15.643", "level": "district", "parent_code": "H15", "valid_to": MERGER},
    _PROVINCE | {"unit_code": "H15.643.24118", "level": "commune", "parent_code": "H15.643", "valid_to": MERGER},
    _PROVINCE | {"unit_code": "H15.24133", "level": "commune", "parent_code": "H15", "valid_from": date(2025, 7, 1)},
)


def _target(threshold: str = "0.5", **changes: Any) -> Target:
    values: dict[str, Any] = {
        "target": "T",
        "indicator": "reuse",
        "version": "v1",
        "level": "all",
        "operator": ">=",
        "threshold": Decimal(threshold),
        "valid_from": date(2021, 12, 10),
        "valid_to": None,
        "due_on": date(2025, 12, 31),
        "document": "QĐ 1",
        "clauses": ("II.2.a", "II.6.a"),
        "wording": "tối thiểu",
        "counted": "hồ sơ",
        "note": "",
    }
    return Target(**values | changes)


def _row(numerator: int, denominator: int, **changes: Any) -> dict[str, Any]:
    return {
        "indicator": "reuse",
        "version": "v1",
        "scope": "province",
        "level": "all",
        "unit_code": "H15",
        "boundaries": "then",
        "period": "year",
        "period_start": date(2026, 1, 1),
        "numerator": numerator,
        "denominator": denominator,
        "rate": numerator / denominator if denominator else None,
        "state": "ok" if denominator else "no_denominator",
        "as_of": AS_OF,
    } | changes


def _judge_all(
    *rows: dict[str, Any], targets: Any = None, as_of: datetime = AS_OF, minimum: int = 5
) -> list[dict[str, Any]]:
    measured = table_rows(OUT_INDICATOR, *rows) if rows else OUT_INDICATOR.arrow_schema().empty_table()
    verdicts = judge(measured, targets or [_target()], units=UNITS, as_of=as_of, minimum_denominator=minimum)
    assert verdicts.schema.equals(OUT_VERDICT.arrow_schema(), check_metadata=True)
    found: list[dict[str, Any]] = verdicts.to_pylist()
    return found


def _judge(*rows: dict[str, Any], **how: Any) -> list[dict[str, Any]]:
    """The verdicts over figures, without those that say that a year has none."""
    return [row for row in _judge_all(*rows, **how) if row["indicator"]]


def _one(*rows: dict[str, Any], **how: Any) -> tuple[str, float | None, int | None]:
    (row,) = _judge(*rows, **how)
    return row["verdict"], row["rate"], row["gap_dossiers"]


def test_a_verdict_carries_its_target_and_its_counts() -> None:
    (row,) = _judge(_row(582, 1000), targets=[_target("0.8")])
    assert row == {
        "target": "T",
        "indicator": "reuse",
        "version": "v1",
        "level": "all",
        "scope": "province",
        "unit_code": "H15",
        "period": "year",
        "period_start": date(2026, 1, 1),
        "operator": ">=",
        "measure": "share",
        "threshold": 0.8,
        "rate": 0.582,
        "numerator": 582,
        "denominator": 1000,
        "gap_dossiers": 218,
        "verdict": "missed",
        "reason": None,
        "document": "QĐ 1",
        "clause": "II.2.a; II.6.a",
    }


@pytest.mark.parametrize(
    ("threshold", "numerator", "denominator", "verdict", "gap"),
    [
        ("0.5", 5, 10, "met", 0),
        ("0.5", 4, 10, "missed", 1),
        ("0.5", 5, 11, "missed", 1),  # 5.5 needed, so 6
        ("0.8", 4, 5, "met", 0),
        ("0.8", 3, 5, "missed", 1),
        # In floats 0.07 * 100 is 7.000000000000001, 0.29 * 100 is 28.999999999999996, 0.55 * 100 is 55.00000000000001.
        ("0.07", 7, 100, "met", 0),
        ("0.29", 28, 100, "missed", 1),
        ("0.29", 29, 100, "met", 0),
        ("0.55", 55, 100, "met", 0),
        ("0.7", 7, 10, "met", 0),
        ("1.00", 9, 10, "missed", 1),
        ("1.00", 10, 10, "met", 0),
        ("0", 0, 10, "met", 0),
        ("0.3333", 3333, 10000, "met", 0),
        ("0.3333", 1, 3 * 10**15, "missed", 3333 * 3 * 10**11 - 1),
    ],
)
def test_thresholds_are_met_in_whole_numbers(
    threshold: str, numerator: int, denominator: int, verdict: str, gap: int
) -> None:
    found = _one(_row(numerator, denominator), targets=[_target(threshold)])
    assert (found[0], found[2]) == (verdict, gap)


@pytest.mark.parametrize(
    ("period", "start", "as_of", "verdict"),
    [
        ("month", date(2025, 11, 1), AS_OF, "not_yet_due"),
        ("month", date(2025, 12, 1), AS_OF, "missed"),
        ("quarter", date(2025, 7, 1), AS_OF, "not_yet_due"),
        ("quarter", date(2025, 10, 1), AS_OF, "missed"),
        ("year", date(2024, 1, 1), AS_OF, "not_yet_due"),
        ("year", date(2025, 1, 1), AS_OF, "missed"),
        ("year", date(2026, 1, 1), AS_OF, "missed"),
        # The year 2025 while it runs: judged from 31 December on, by the day in Vietnam.
        ("year", date(2025, 1, 1), datetime(2025, 12, 30, 16, 59, tzinfo=UTC), "not_yet_due"),
        ("year", date(2025, 1, 1), datetime(2025, 12, 30, 17, 0, tzinfo=UTC), "missed"),
    ],
)
def test_not_yet_due_until_the_day(period: str, start: date, as_of: datetime, verdict: str) -> None:
    found = _one(_row(4, 10, period=period, period_start=start), as_of=as_of)
    assert found == (verdict, 0.4, 1), "rate and gap are shown before the day, too"


@pytest.mark.parametrize(
    ("denominator", "minimum", "verdict", "gap"),
    [(0, 5, "not_applicable", None), (0, 0, "not_applicable", None), (4, 5, "too_few", 2), (5, 5, "missed", 3)],
)
def test_small_and_empty_denominators(denominator: int, minimum: int, verdict: str, gap: int | None) -> None:
    found = _one(_row(0, denominator), minimum=minimum)
    assert found == (verdict, None if denominator == 0 else 0.0, gap)


def test_before_its_day_a_target_is_not_yet_due_whatever_was_counted() -> None:
    month = {"period": "month", "period_start": date(2024, 5, 1)}
    assert _one(_row(0, 0, **month)) == ("not_yet_due", None, None)
    assert _one(_row(0, 3, **month)) == ("not_yet_due", 0.0, 2)


@pytest.mark.parametrize(
    ("subject", "period", "start", "verdict"),
    [
        ({"scope": "level", "level": "district"}, "quarter", date(2025, 4, 1), "not_yet_due"),
        ({"scope": "level", "level": "district"}, "quarter", date(2025, 7, 1), "not_applicable"),
        # Its day of judgement, 31 December, comes half a year after the level ended.
        ({"scope": "level", "level": "district"}, "year", date(2025, 1, 1), "not_applicable"),
        ({"scope": "unit", "level": "district", "unit_code": "H15.643"}, "month", date(2025, 6, 1), "not_yet_due"),
        ({"scope": "unit", "level": "district", "unit_code": "H15.643"}, "month", date(2025, 7, 1), "not_applicable"),
        (
            {"scope": "unit", "level": "commune", "unit_code": "H15.643.24118"},
            "year",
            date(2025, 1, 1),
            "not_applicable",
        ),
        ({"scope": "unit", "level": "commune", "unit_code": "H15.24133"}, "year", date(2025, 1, 1), "missed"),
        ({"scope": "unit", "level": "commune", "unit_code": "H15.24133"}, "month", date(2025, 6, 1), "not_applicable"),
        ({"scope": "level", "level": "commune"}, "year", date(2025, 1, 1), "missed"),
        ({"scope": "unit", "level": "province", "unit_code": "H15.SNV"}, "year", date(2025, 1, 1), "missed"),
    ],
)
def test_a_subject_must_exist_on_the_last_day(subject: dict[str, Any], period: str, start: date, verdict: str) -> None:
    found = _one(_row(4, 10, period=period, period_start=start, **subject))
    assert found == (verdict, 0.4, None if verdict == "not_applicable" else 1)


def test_a_target_of_one_level_judges_that_level_only() -> None:
    rows = [
        _row(4, 10),
        _row(4, 10, scope="level", level="commune"),
        _row(4, 10, scope="unit", level="commune", unit_code="H15.24133"),
        _row(4, 10, scope="level", level="province"),
    ]
    found = _judge(*rows, targets=[_target(level="commune")])
    assert [(row["scope"], row["level"]) for row in found] == [("level", "commune"), ("unit", "commune")]


def test_another_version_of_the_indicator_is_not_judged() -> None:
    assert _judge(_row(4, 10, version="v2")) == []


def test_yearly_steps_and_succession() -> None:
    steps = [
        _target("0.4", valid_to=date(2025, 12, 31), due_on=date(2025, 12, 31)),
        _target("0.9", valid_from=date(2026, 1, 1), due_on=date(2026, 12, 31)),
    ]
    rows = [_row(4, 10, period_start=date(year, 1, 1)) for year in (2021, 2025, 2026)]
    found = _judge(*rows, targets=steps)
    # On 31 December 2021 the decision was three weeks old.
    assert [(row["period_start"].year, row["threshold"], row["verdict"]) for row in found] == [
        (2021, 0.4, "not_yet_due"),
        (2025, 0.4, "met"),
        (2026, 0.9, "not_yet_due"),
    ]


def test_a_target_without_source_is_said_once_per_level_and_year() -> None:
    found = _judge_all(targets=[row for row in load_targets(["dak-lak-3478"]) if row.target.startswith("DL-A3")])
    shown = [(row["target"], row["period_start"].year, row["threshold"], row["verdict"]) for row in found]
    assert shown == [
        ("DL-A3-H", 2022, 0.4, "no_source"),
        ("DL-A3-H", 2023, 0.6, "no_source"),
        ("DL-A3-H", 2024, 0.8, "no_source"),
        ("DL-A3-H", 2025, 1.0, "not_applicable"),
        ("DL-A3-H", 2026, 1.0, "not_applicable"),
        ("DL-A3-P", 2022, 0.5, "no_source"),
        ("DL-A3-P", 2023, 0.7, "no_source"),
        ("DL-A3-P", 2024, 0.9, "no_source"),
        ("DL-A3-P", 2025, 1.0, "no_source"),
        ("DL-A3-P", 2026, 1.0, "no_source"),
        ("DL-A3-X", 2022, 0.4, "no_source"),
        ("DL-A3-X", 2023, 0.6, "no_source"),
        ("DL-A3-X", 2024, 0.8, "no_source"),
        ("DL-A3-X", 2025, 1.0, "no_source"),
        ("DL-A3-X", 2026, 1.0, "no_source"),
    ]
    assert {(row["indicator"], row["version"], row["scope"], row["unit_code"], row["period"]) for row in found} == {
        (None, "", "level", "H15", "year")
    }
    assert {(row["rate"], row["numerator"], row["denominator"], row["gap_dossiers"]) for row in found} == {(None,) * 4}


def test_a_target_without_source_for_all_levels_names_the_province_too() -> None:
    target = _target(indicator=None, version="", valid_from=date(2026, 1, 1), due_on=date(2026, 12, 31))
    found = [(row["scope"], row["level"], row["verdict"]) for row in _judge_all(targets=[target])]
    assert found == [
        ("level", "commune", "no_source"),
        ("level", "district", "not_applicable"),
        ("level", "province", "no_source"),
        ("province", "all", "no_source"),
    ]


def test_rows_come_in_one_order() -> None:
    rows = [
        _row(4, 10, period=period, period_start=date(2026, 1, 1), unit_code=unit, scope="unit", level="commune")
        for period in ("year", "month", "quarter")
        for unit in ("H15.643.24118", "H15.24133")
    ]
    targets = [_target(target="T2"), _target(target="T1")]
    forwards, backwards = _judge(*rows, targets=targets), _judge(*reversed(rows), targets=targets[::-1])
    assert forwards == backwards
    keys = [tuple(row[name] for name in OUT_VERDICT.key) for row in forwards]
    assert keys == sorted(keys)


def test_an_unknown_unit_is_named_with_what_to_do() -> None:
    with pytest.raises(UnknownUnitError, match=r"1 unit codes have .* core_unit: H15.99999. Correct .* agencies.csv"):
        _judge(_row(4, 10, scope="unit", level="commune", unit_code="H15.99999"))


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="has no zone"):
        _judge(_row(4, 10), as_of=AS_OF.replace(tzinfo=None))


@given(
    rows=st.lists(
        st.integers(0, 400).flatmap(lambda d: st.tuples(st.integers(0, d), st.just(d))), min_size=1, max_size=60
    ),
    places=st.integers(0, 10_000),
)
@settings(max_examples=12, deadline=None)
def test_the_gap_is_the_least_that_meets_the_threshold(rows: list[tuple[int, int]], places: int) -> None:
    threshold = Decimal(places) / 10_000
    months = [date(1900 + number, 1, 1) for number in range(len(rows))]
    measured = pa.Table.from_pylist(
        [_row(n, d, period="month", period_start=month) for (n, d), month in zip(rows, months, strict=True)],
        schema=OUT_INDICATOR.arrow_schema(),
    )
    target = _target(str(threshold), valid_from=date(1900, 1, 1), due_on=date(1900, 1, 1))
    verdicts = judge(measured, [target], units=UNITS, as_of=AS_OF, minimum_denominator=0)
    found = [row for row in verdicts.to_pylist() if row["indicator"]]
    wanted = Fraction(places, 10_000)
    for (numerator, denominator), row in zip(rows, found, strict=True):
        if denominator == 0:
            assert (row["verdict"], row["gap_dossiers"]) == ("not_applicable", None)
            continue
        gap = next(k for k in range(denominator + 1) if Fraction(numerator + k, denominator) >= wanted)
        assert (row["verdict"], row["gap_dossiers"]) == ("met" if gap == 0 else "missed", gap)


def _value(rate: float, **changes: Any) -> dict[str, Any]:
    """What another system gave without counts."""
    return _row(0, 0, **changes) | {"numerator": None, "denominator": None, "rate": rate, "state": "ok"}


@given(places=st.integers(0, 10_000), values=st.lists(st.integers(0, 100_000), min_size=1, max_size=60))
@settings(max_examples=10, deadline=None)
def test_a_value_is_held_by_its_own_decimals(places: int, values: list[int]) -> None:
    """The share 0.29 is a little less than 29 % as a float; it still meets 29 %."""
    rows = [
        _value(value / 100_000, period="month", period_start=date(1900 + number, 1, 1))
        for number, value in enumerate([places * 10, *values])
    ]
    always = _target(str(Decimal(places) / 10_000), valid_from=date(1900, 1, 1), due_on=date(1900, 1, 1))
    found = _judge(*rows, targets=[always])
    assert [row["gap_dossiers"] for row in found] == [None] * len(rows)
    assert [row["verdict"] for row in found] == [
        "met" if Fraction(value, 10) >= places else "missed" for value in [places * 10, *values]
    ]


@pytest.mark.parametrize(
    ("measure", "operator", "threshold", "value", "verdict"),
    [
        ("rank", "<=", "20", 20, "met"),
        ("rank", "<=", "20", 21, "missed"),
        ("rank", "<=", "1", 1, "met"),
        ("count", ">=", "982", 981, "missed"),
        ("count", ">=", "982", 982, "met"),
        ("share", "=", "1", 1.0, "met"),
        ("share", "=", "1", 0.9999999999999999, "missed"),
        ("share", ">=", "0.9", 0.8999999999999999, "missed"),
    ],
)
def test_how_a_value_is_compared(measure: str, operator: str, threshold: str, value: float, verdict: str) -> None:
    target = _target(threshold, measure=measure, operator=operator)
    assert _one(_value(value), targets=[target]) == (verdict, value, None)


def test_a_value_that_is_missing_is_nothing_to_measure() -> None:
    empty = _value(0.5) | {"rate": None}
    assert _one(empty) == ("not_applicable", None, None)


def test_figures_on_todays_boundaries_are_not_judged() -> None:
    commune = {"scope": "unit", "level": "commune", "unit_code": "H15.24133"}
    rows = [_row(4, 10, **commune), _row(9, 10, **commune, boundaries="now")]
    assert [row["numerator"] for row in _judge(*rows)] == [4]


@pytest.mark.parametrize(
    ("start", "verdict"),
    [(date(2025, 1, 1), "not_yet_due"), (date(2025, 7, 1), "missed"), (date(2026, 7, 1), "missed")],
)
def test_a_half_year_is_judged_on_its_last_day(start: date, verdict: str) -> None:
    assert _one(_row(4, 10, period="half", period_start=start))[0] == verdict


def _without_figure(*rows: dict[str, Any], **how: Any) -> list[tuple[str, int]]:
    found = [row for row in _judge_all(*rows, **how) if not row["indicator"] and row["scope"] == "province"]
    assert {row["verdict"] for row in found} <= {"no_source"}
    return [(row["target"], row["period_start"].year) for row in found]


def test_a_target_with_no_figure_at_all_has_no_source_up_to_this_year() -> None:
    target = _target(valid_from=date(2024, 1, 1))
    assert _without_figure(targets=[target]) == [("T", 2024), ("T", 2025), ("T", 2026)]


def test_years_that_are_over_and_have_no_figure_are_said_and_the_running_one_is_waited_for() -> None:
    target = _target(valid_from=date(2023, 1, 1))
    rows = [_row(4, 10, period="month", period_start=date(2024, 5, 1))]
    assert _without_figure(*rows, targets=[target]) == [("T", 2023), ("T", 2025)]


def test_a_figure_of_another_level_is_no_figure_of_this_one() -> None:
    target = _target(level="commune", valid_from=date(2026, 1, 1), due_on=date(2026, 12, 31))
    department = _row(4, 10, scope="unit", level="province", unit_code="H15.SNV")
    (row,) = _judge_all(department, targets=[target])
    assert (row["scope"], row["level"], row["verdict"]) == ("level", "commune", "no_source")


def test_a_target_of_the_whole_province_judges_its_sum_only() -> None:
    rows = [_row(4, 10), _row(4, 10, scope="level", level="province"), _row(4, 10, scope="level", level="commune")]
    assert [(row["scope"], row["level"]) for row in _judge(*rows, targets=[_target(level="whole")])] == [
        ("province", "all")
    ]


def test_a_target_stated_twice_carries_both_citations() -> None:
    target = next(row for row in load_targets(["dak-lak-3478"]) if row.target == "DL-A4b")
    row = _row(4, 10, indicator="services-integrated", version="catalogue")
    (found,) = _judge(row, targets=[target])
    assert found["clause"] == "mục II.2.a, đến năm 2025; mục II.6.a, đến năm 2025"


@pytest.mark.parametrize(
    ("province", "names"), [("H15", ["dak-lak-3478", "national-2025"]), ("H53", ["tay-ninh-490", "national-2025"])]
)
def test_before_anything_is_handed_in_every_target_says_why_it_has_no_verdict(province: str, names: list[str]) -> None:
    targets = load_targets(names, province_code=province)
    found = _real(province, list(targets), AS_OF)
    assert {row["target"] for row in found} == {row.target for row in targets}
    assert all(row["reason"] and row["rate"] is None for row in found)
    assert {row["verdict"] for row in found if row["level"] != "district"} == {"no_source"}


def test_a_set_that_ended_judges_nothing_more() -> None:
    targets = [row for row in load_targets(["tay-ninh-490"]) if row.target == "TN-4"]
    row = _row(4, 10, indicator="online-processing", version="766-3.3", unit_code="H53")
    assert [one for one in _real("H53", targets, AS_OF, row) if one["indicator"]] == []


@cache
def _real_units(province: str) -> pa.Table:
    with NamedTemporaryFile("w", suffix=".csv") as departments:
        departments.write("code,name,valid_from,valid_to\n")
        departments.flush()
        return unit_table(province, Path(departments.name))


def _real(province: str, targets: list[Target], as_of: datetime, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    """Verdicts over the real units of a province, which has no departments here."""
    measured = table_rows(OUT_INDICATOR, *rows) if rows else OUT_INDICATOR.arrow_schema().empty_table()
    units = _real_units(province)
    found: list[dict[str, Any]] = judge(measured, targets, units=units, as_of=as_of, minimum_denominator=5).to_pylist()
    return found


_SCOPE = {"đơn vị": "unit", "cấp": "level", "tỉnh": "province"}
_LEVEL = {"tỉnh": "province", "huyện": "district", "xã": "commune", "toàn tỉnh": "all"}
_PERIOD = {"tháng": "month", "quý": "quarter", "nửa năm": "half", "năm": "year"}
_SETS = {"DL": "dak-lak-3478", "TN": "tay-ninh-490", "QG": "national-2025"}


def _given(case: dict[str, str], target: Target) -> dict[str, Any]:
    counts = {name: int(case[column]) if case[column] else None for name, column in _COUNTS.items()}
    rate = float(case["giá trị"]) if case["giá trị"] else None
    if counts["denominator"]:
        rate = (counts["numerator"] or 0) / counts["denominator"]
    version = {"indicator": target.indicator, "version": target.version}
    return _row(0, 0, **_subject(case), **version) | counts | {"rate": rate}


_COUNTS = {"numerator": "tử số", "denominator": "mẫu số"}


def _subject(case: dict[str, str]) -> dict[str, Any]:
    return {
        "scope": _SCOPE[case["phạm vi"]],
        "level": _LEVEL[case["cấp"]],
        "unit_code": case["đơn vị"],
        "period": _PERIOD[case["kỳ"]],
        "period_start": date.fromisoformat(case["đầu kỳ"]),
    }


@pytest.mark.parametrize("case", CASES, ids=[case["ca"] for case in CASES])
def test_cases_worked_out_by_hand(case: dict[str, str]) -> None:
    targets = [row for row in load_targets([_SETS[case["chỉ tiêu"][:2]]]) if row.target == case["chỉ tiêu"]]
    noon = datetime.fromisoformat(case["ngày"]).replace(hour=12, tzinfo=ZoneInfo("Asia/Ho_Chi_Minh"))
    has_figure = any(case[column] for column in ("tử số", "mẫu số", "giá trị"))
    rows = _real(case["tỉnh"], targets, noon, *([_given(case, targets[0])] if has_figure else []))
    (found,) = [row for row in rows if all(row[name] == value for name, value in _subject(case).items())]
    assert VERDICT_VI[found["verdict"]] == case["kết luận"]
    assert found["gap_dossiers"] == (int(case["còn thiếu"]) if case["còn thiếu"] else None)
    assert (found["reason"] or "") == case["lý do"]


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        ({"rate": 0.8999, "verdict": "missed"}, "89,9 % so với 90 %, chưa đạt"),
        ({"rate": 0.9, "verdict": "met"}, "90,0 % so với 90 %, đạt"),
        ({"rate": 0.29, "verdict": "not_yet_due", "reason": "Chưa đến hạn."}, "29,0 % so với 90 %, chưa đến hạn"),
        ({"rate": 17.0, "threshold": 20.0, "measure": "rank", "verdict": "met"}, "hạng 17 so với hạng 20, đạt"),
        (
            {"rate": 981.0, "threshold": 982.0, "measure": "count", "verdict": "missed"},
            "981 so với 982, chưa đạt",
        ),
        (
            {"verdict": "no_source", "reason": "Chưa có nguồn: cần số liệu từ khảo sát mức độ hài lòng."},
            "chưa có nguồn: cần số liệu từ khảo sát mức độ hài lòng, ngưỡng 90 %",
        ),
        (
            {"verdict": "not_applicable", "reason": "Không còn áp dụng: cấp này đã kết thúc."},
            "không còn áp dụng: cấp này đã kết thúc, ngưỡng 90 %",
        ),
        (
            {"numerator": 9, "denominator": 10, "gap": 0, "verdict": "met", "reason": "Lưu ý: gồm cả địa bàn khác."},
            "90,0 % so với 90 %, đạt (lưu ý: gồm cả địa bàn khác)",
        ),
    ],
)
def test_a_verdict_in_words(verdict: dict[str, Any], said: str) -> None:
    nothing = {"threshold": 0.9, "numerator": None, "denominator": None, "gap": None}
    assert sentence(**nothing | verdict) == said
