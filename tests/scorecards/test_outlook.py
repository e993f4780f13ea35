"""Outlook worked out by hand, and what must hold whatever the months say."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.scorecards.outlook import LEAST_TRIALS, forecast, needed, outlook, trial_errors
from expectations.targets import Target
from tests.rows import table_rows
from warehouse.tables import OUT_INDICATOR


def _months(start: date, counts: list[tuple[int, int]]) -> dict[date, tuple[int, int]]:
    months = [
        date(start.year + (start.month - 1 + i) // 12, (start.month - 1 + i) % 12 + 1, 1) for i in range(len(counts))
    ]
    return dict(zip(months, counts, strict=True))


def test_by_hand_nine_months_known() -> None:
    """Chín tháng, mỗi tháng 5/10. Ba tháng gần nhất (92 ngày): 15/30. Còn 92 ngày: dự kiến thêm 30 hồ sơ.

    Cuối năm: (45 + 15) / (90 + 30) = 50 %. Để đạt 60 % của 120 phải có 72: còn cần 27 trong 30; để đạt 70 %
    phải có 84: còn thiếu 39, nhiều hơn số hồ sơ sẽ đến.
    """
    seen = forecast(_months(date(2026, 1, 1), [(5, 10)] * 9), start=date(2026, 1, 1), last=date(2026, 9, 30))
    assert (seen.numerator, seen.denominator, seen.rest, seen.pace) == (45, 90, 30, (15, 30))
    assert seen.rate == pytest.approx(0.5)
    assert needed(seen, Decimal("0.60")) == 27
    assert needed(seen, Decimal("0.70")) is None
    assert needed(seen, Decimal("0.30")) == 0


def test_by_hand_in_the_middle_of_a_month() -> None:
    """Đến hết 15/10, tháng 10 mới có 2/4: nhịp vẫn lấy từ tháng 7, 8, 9 (92 ngày, 30 hồ sơ); còn 77 ngày.

    Dự kiến thêm 30 × 77 / 92 = 25,1 → 25 hồ sơ; tử số đến nay 47, mẫu số 94.
    """
    months = _months(date(2026, 1, 1), [(5, 10)] * 9 + [(2, 4)])
    seen = forecast(months, start=date(2026, 1, 1), last=date(2026, 10, 15))
    assert (seen.numerator, seen.denominator, seen.rest) == (47, 94, 25)


def test_a_year_that_is_over_has_nothing_left() -> None:
    seen = forecast(_months(date(2026, 1, 1), [(1, 2)] * 12), start=date(2026, 1, 1), last=date(2026, 12, 31))
    assert (seen.rest, seen.rate) == (0, 0.5)


def test_by_hand_what_the_method_would_have_missed() -> None:
    """Mười hai tháng: chín tháng đầu 5/10, ba tháng sau 10/10. Đứng ở cuối tháng 9 sẽ dự báo 50 %
    (tháng 10, 11, 12 có 92 ngày như tháng 7, 8, 9); thực tế (45 + 30) / 120 = 62,5 %: sai 12,5 điểm.
    """
    months = _months(date(2025, 1, 1), [(5, 10)] * 9 + [(10, 10)] * 3)
    errors = trial_errors(months, known_months=9, first=date(2025, 1, 1), last_whole=date(2025, 12, 1))
    assert errors == [pytest.approx(0.125)]
    # What came later moves the outcome, never the forecast: 45/120 = 37,5 % is as far below 50 %.
    worse = _months(date(2025, 1, 1), [(5, 10)] * 9 + [(0, 10)] * 3)
    errors = trial_errors(worse, known_months=9, first=date(2025, 1, 1), last_whole=date(2025, 12, 1))
    assert errors == [pytest.approx(0.125)]


@given(st.lists(st.integers(0, 9).map(lambda n: (n, 9)), min_size=12, max_size=30), st.integers(1, 11))
def test_every_past_span_of_twelve_months_is_one_trial(counts: list[tuple[int, int]], known: int) -> None:
    """Spans begin where the pace of three months before their known ones is there too."""
    start = date(2024, 1, 1)
    months = _months(start, counts)
    last_whole = max(months)
    errors = trial_errors(months, known_months=known, first=start, last_whole=last_whole)
    assert len(errors) == max(0, len(counts) - 11 - max(0, 3 - known))
    assert all(0 <= error <= 1 for error in errors)


def _rows(months: dict[date, tuple[int, int]], **more: Any) -> pa.Table:
    subject = {
        "indicator": "reuse",
        "version": "766-4.3",
        "scope": "province",
        "level": "all",
        "unit_code": "H15",
        "boundaries": "then",
        "period": "month",
        "adds_up": "always",
        "as_of": datetime(2026, 10, 1, tzinfo=UTC),
    } | more
    rows = [{**subject, "period_start": month, "numerator": n, "denominator": d} for month, (n, d) in months.items()]
    return table_rows(OUT_INDICATOR, *rows)


def _target(**more: Any) -> Target:
    facts: dict[str, Any] = {
        "target": "DL-A7", "indicator": "reuse", "version": "766-4.3", "level": "all", "operator": ">=",
        "threshold": Decimal("0.60"), "valid_from": date(2021, 12, 10), "valid_to": None, "due_on": date(2025, 12, 31),
        "document": "QĐ", "clauses": ("II",), "wording": "", "counted": "hồ sơ", "note": "",
    }  # fmt: skip
    known = set(Target.__dataclass_fields__)
    return Target(**{name: value for name, value in (facts | more).items() if name in known})


AS_OF = datetime(2026, 9, 30, 17, tzinfo=UTC)


def test_a_row_says_width_and_need() -> None:
    months = _months(date(2024, 1, 1), [(5, 10)] * 33)
    (row,) = outlook(_rows(months), [_target()], as_of=AS_OF, start_on=date(2024, 1, 1)).to_pylist()
    assert (row["numerator"], row["denominator"], row["denominator_expected"], row["needed"]) == (45, 90, 30, 27)
    assert row["error_count"] == 22
    # Every month has the same rate, so the method was never wrong.
    assert (row["rate_low"], row["rate_expected"], row["rate_high"]) == pytest.approx((0.5, 0.5, 0.5))
    assert row["needed_per_week"] == pytest.approx(27 / (92 / 7))
    assert row["pace_per_week"] == pytest.approx(15 * 7 / 92)


def test_too_few_trials_give_no_width() -> None:
    months = _months(date(2025, 9, 1), [(5, 10)] * 13)
    (row,) = outlook(_rows(months), [_target()], as_of=AS_OF, start_on=date(2025, 9, 1)).to_pylist()
    assert row["error_count"] == 2 < LEAST_TRIALS
    assert (row["rate_expected"], row["rate_low"], row["rate_high"]) == (0.5, None, None)


@pytest.mark.parametrize(("months_known", "trials"), [(15, LEAST_TRIALS - 1), (16, LEAST_TRIALS)])
def test_the_least_number_of_trials_is_enough(months_known: int, trials: int) -> None:
    """Mười sáu tháng đến hết 9/2026 có năm khoảng mười hai tháng trọn vẹn, mười lăm tháng mới có bốn."""
    start = date(2026, 10 - (months_known - 12), 1).replace(year=2025)
    (row,) = outlook(
        _rows(_months(start, [(5, 10)] * months_known)), [_target()], as_of=AS_OF, start_on=start
    ).to_pylist()
    assert row["error_count"] == trials
    assert (row["rate_low"] is None) == (row["rate_high"] is None) == (trials < LEAST_TRIALS)


def test_what_does_not_add_up_or_has_ended_has_no_outlook() -> None:
    months = _months(date(2024, 1, 1), [(5, 10)] * 33)
    ended = _months(date(2024, 1, 1), [(5, 10)] * 18)
    rows = pa.concat_tables(
        [
            _rows(months, adds_up="units"),
            _rows(ended, level="district", scope="level"),
            _rows(months, unit_code="H15.X"),
        ]
    )
    found = outlook(rows, [_target()], as_of=AS_OF, start_on=date(2024, 1, 1))
    assert found["unit_code"].to_pylist() == ["H15.X"]


@given(
    st.lists(st.integers(0, 20).flatmap(lambda d: st.tuples(st.integers(0, d), st.just(d))), min_size=9, max_size=9),
    st.sampled_from([Decimal("0.3"), Decimal("0.8"), Decimal(1)]),
)
def test_needed_is_the_least_that_reaches_the_threshold(counts: list[tuple[int, int]], threshold: Decimal) -> None:
    seen = forecast(_months(date(2026, 1, 1), counts), start=date(2026, 1, 1), last=date(2026, 9, 30))
    whole = seen.denominator + seen.rest
    missing = needed(seen, threshold)
    if missing is None:
        assert seen.numerator + seen.rest < threshold * whole
    else:
        assert seen.numerator + missing >= threshold * whole
        assert missing == 0 or seen.numerator + missing - 1 < threshold * whole


def test_days_of_the_rest_are_counted_to_the_last_of_december() -> None:
    last = date(2026, 12, 30)
    seen = forecast(_months(date(2026, 1, 1), [(91, 91)] * 12), start=date(2026, 1, 1), last=last)
    # September, October, November: 91 days, 273 dossiers, three a day; one day is left.
    assert (seen.rest, last + timedelta(days=1)) == (3, date(2026, 12, 31))
