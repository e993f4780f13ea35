"""Numbers and verdicts as an operator reads them, letter by letter."""

from __future__ import annotations

import pytest

from expectations.wording import VERDICT_VI, rate_vi, sentence, threshold_vi
from warehouse.tables import VERDICTS


@pytest.mark.parametrize(
    ("verdict", "numerator", "denominator", "gap", "said"),
    [
        ("missed", 3052, 5243, 1143, "58,2 % so với 80 %, còn thiếu 1.143 hồ sơ"),
        ("met", 4, 5, 0, "80,0 % so với 80 %, đạt"),
        ("not_yet_due", 7999, 10_000, 1, "79,9 % so với 80 %, chưa đến hạn, còn thiếu 1 hồ sơ"),
        ("not_yet_due", 9, 10, 0, "90,0 % so với 80 %, chưa đến hạn, đủ"),
        ("too_few", 1, 3, 2, "33,3 % so với 80 %, chỉ có 3 hồ sơ nên không kết luận"),
        ("not_applicable", 1, 3, None, "33,3 % so với 80 %, không áp dụng"),
        ("not_applicable", 0, 0, None, "không có hồ sơ nào để đo, ngưỡng 80 %: không áp dụng"),
        ("not_yet_due", 0, 0, None, "không có hồ sơ nào để đo, ngưỡng 80 %: chưa đến hạn"),
        ("no_source", None, None, None, "chưa có nguồn dữ liệu, ngưỡng 80 %"),
    ],
)
def test_sentences(verdict: str, numerator: int | None, denominator: int | None, gap: int | None, said: str) -> None:
    found = sentence(verdict=verdict, threshold=0.8, numerator=numerator, denominator=denominator, gap=gap)
    assert found == said


def test_another_noun() -> None:
    said = sentence(verdict="missed", threshold=0.3, numerator=0, denominator=10, gap=3, counted="giao dịch")
    assert said == "0,0 % so với 30 %, còn thiếu 3 giao dịch"


@pytest.mark.parametrize(("share", "text"), [(0.8, "80 %"), (0.995, "99,5 %"), (1.0, "100 %"), (0.0725, "7,25 %")])
def test_thresholds(share: float, text: str) -> None:
    assert threshold_vi(share) == text


def test_a_rate_is_cut_and_not_rounded() -> None:
    assert rate_vi(1999, 2000) == "99,9 %"
    assert rate_vi(2000, 2000) == "100,0 %"


def test_every_verdict_has_words() -> None:
    assert set(VERDICT_VI) == set(VERDICTS)
