"""A change of a rate split by hand, and the identities that hold whatever the counts are."""

from __future__ import annotations

from datetime import UTC, date, datetime
from fractions import Fraction
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from assets.indicators.definitions import find, load_definitions
from assets.periods import Period
from assets.questions.explain import PARTS, Counts, NothingToExplainError, apportion, explain, split
from tests.rows import table_rows
from warehouse.lake import Lake
from warehouse.tables import CORE_DOSSIER


def _counts(unit: str, procedure: str, before: tuple[int, int], after: tuple[int, int]) -> Counts:
    return Counts(unit_code=unit, procedure_code=procedure, before=before, after=after)


def test_by_hand_one_unit_better_and_the_other_heavier() -> None:
    """Tháng trước: xã A 8/10 (80 %), xã B 4/10 (40 %), chung 12/20 = 60 %.
    Tháng này: xã A 9/10 (90 %), xã B 12/30 (40 %), chung 21/40 = 52,5 %. Thay đổi −7,5 điểm.

    Tỷ trọng A: 1/2 → 1/4, B: 1/2 → 3/4; trung bình hai tỷ lệ chung 56,25 %.
    Do tỷ lệ: A 3/8 × 10 = +3,75 điểm; B 0. Do cơ cấu: A −1/4 × (85 − 56,25) = −7,1875;
    B +1/4 × (40 − 56,25) = −4,0625. Cộng lại: 3,75 − 7,1875 − 4,0625 = −7,5.
    """
    found = split([_counts("A", "p", (8, 10), (9, 10)), _counts("B", "p", (4, 10), (12, 30))])
    assert found.change == -75_000
    by_unit = {effect.name: (effect.rate, effect.mix) for effect in found.units}
    assert by_unit == {"A": (37_500, -71_875), "B": (0, -40_625)}
    assert (found.rate, found.mix) == (37_500, -112_500)


def test_a_group_that_is_new_only_moves_the_weights() -> None:
    """Xã B chưa có hồ sơ ở kỳ trước: không tốt lên cũng không xấu đi, chỉ làm đổi cơ cấu."""
    found = split([_counts("A", "p", (5, 10), (5, 10)), _counts("B", "p", (0, 0), (10, 10))])
    assert found.change == 250_000
    assert {effect.name: effect.rate for effect in found.units} == {"A": 0, "B": 0}
    # A: −1/2 × (50 − 62,5) = +6,25; B: +1/2 × (100 − 62,5) = +18,75.
    assert {effect.name: effect.mix for effect in found.units} == {"A": 62_500, "B": 187_500}


def test_without_a_denominator_there_is_nothing_to_explain() -> None:
    with pytest.raises(NothingToExplainError, match="mẫu số"):
        split([_counts("A", "p", (0, 0), (1, 2))])


_PAIRS = st.integers(0, 60).flatmap(lambda d: st.tuples(st.integers(0, d), st.just(d)))
_GROUPS = st.lists(st.tuples(st.sampled_from("ABCDE"), st.sampled_from("pqr"), _PAIRS, _PAIRS), min_size=1, max_size=12)


def test_the_order_of_the_groups_decides_nothing() -> None:
    """Ba xã như nhau, một phần vạn lẻ phải ghi cho một xã: luôn là cùng một xã, dù kho trả dòng nào trước."""
    groups = [_counts(unit, "p", (1, 3), (2, 4)) for unit in "ABC"]
    splits = [split(list(order)) for order in permutations(groups)]
    assert all(found == splits[0] for found in splits)


def test_a_change_is_rounded_half_up() -> None:
    """1/3 = 33,33333… % và 2/3 = 66,66666… %: làm tròn đến phần vạn điểm là 33,3333 và 66,6667, chênh 33,3334."""
    found = split([_counts("A", "p", (1, 3), (2, 3))])
    assert (found.change, found.rate, found.mix) == (333_334, 333_334, 0)


@given(_GROUPS)
def test_every_split_adds_up_exactly(rows: list[Any]) -> None:
    merged = {(unit, procedure): _counts(unit, procedure, before, after) for unit, procedure, before, after in rows}
    groups = [one for one in merged.values() if one.before[1] or one.after[1]]
    assume(sum(one.before[1] for one in groups) and sum(one.after[1] for one in groups))
    found = split(groups)
    assert found.rate + found.mix == found.change
    assert sum(effect.total for effect in found.units) == found.change
    assert sum(effect.total for effect in found.procedures) == found.change
    assert sum(effect.rate for effect in found.units) == sum(effect.rate for effect in found.procedures) == found.rate
    exact = Fraction(*found.after) - Fraction(*found.before)
    assert abs(exact * 100 * PARTS - found.change) <= 1


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), st.integers(0, 1))
def test_whole_parts_stay_beside_their_values(values: list[float], up: int) -> None:
    total = int(sum(values) // 1) + up
    parts = apportion(values, total)
    assert sum(parts) == total
    assert all(abs(part - value) <= 1 + 1e-6 + 1 / len(values) for part, value in zip(parts, values, strict=True))


def test_counts_come_from_the_definition_and_both_periods(tmp_path: Path) -> None:
    """Tháng 9: 1/2 nộp trực tuyến; tháng 10: 2/2. Hồ sơ tháng 8 không thuộc kỳ nào."""
    days = [(date(2026, 8, 31), "online"), (date(2026, 9, 1), "online"), (date(2026, 9, 30), "direct")]
    days += [(date(2026, 10, 1), "online"), (date(2026, 10, 31), "online")]
    rows = [
        {
            "dossier_key": str(number),
            "lake_month": f"{day:%Y-%m}",
            "unit_code": "H15.SNV",
            "unit_level": "province",
            "procedure_code": "1.000001",
            "received_on": day,
            "is_received": True,
            "channel": channel,
        }
        for number, (day, channel) in enumerate(days)
    ]
    lake = Lake(str(tmp_path))
    lake.replace(CORE_DOSSIER, table_rows(CORE_DOSSIER, *rows))
    definition = find(load_definitions(), "online-processing", "766-3.3")
    october, september = Period.parse("2026-10"), Period.parse("2026-09")
    as_of = datetime(2026, 11, 1, tzinfo=UTC)
    found = explain(lake, definition, period=october, against=september, as_of=as_of)
    assert (found.before, found.after, found.change) == ((1, 2), (2, 2), 500_000)
    with pytest.raises(NothingToExplainError):
        explain(lake, definition, period=october, against=september, as_of=as_of, unit_code="H15.STP")
