"""How a rate, a gap and a verdict are said in Vietnamese, in one place for checks and scorecards.

Belongs here: numbers and verdicts as text. Does not belong here: how they are found
(`assets/scorecards/verdicts.py`).
"""

from __future__ import annotations

#: Verdicts as an operator reads them.
VERDICT_VI = {
    "met": "đạt",
    "missed": "chưa đạt",
    "not_yet_due": "chưa đến hạn",
    "no_source": "chưa có nguồn",
    "not_applicable": "không áp dụng",
    "too_few": "quá ít để kết luận",
}
LEVEL_VI = {"all": "toàn tỉnh", "province": "cấp tỉnh", "district": "cấp huyện", "commune": "cấp xã"}
DOSSIERS = "hồ sơ"


def count_vi(number: int) -> str:
    """A count with Vietnamese thousands: 1143 is "1.143"."""
    return f"{number:,}".replace(",", ".")


def rate_vi(numerator: int, denominator: int) -> str:
    """A rate in percent with one place, cut and not rounded: 7999 of 10000 is "79,9 %".

    Rounding would show "80,0 %" beside a target of 80 % that is missed. `denominator` must not be 0.
    """
    thousandths = numerator * 1000 // denominator
    return f"{count_vi(thousandths // 10)},{thousandths % 10} %"


def threshold_vi(threshold: float) -> str:
    """A threshold in percent with the places it needs: 0.8 is "80 %", 0.995 is "99,5 %"."""
    text = f"{threshold * 100:.2f}".rstrip("0").rstrip(".")
    return f"{text.replace('.', ',')} %"


def sentence(
    *,
    verdict: str,
    threshold: float,
    numerator: int | None,
    denominator: int | None,
    gap: int | None,
    counted: str = DOSSIERS,
) -> str:
    """What a verdict says, with its numbers: "58,2 % so với 80 %, còn thiếu 1.143 hồ sơ".

    `counted` is the noun of the denominator. Without a source or a denominator no rate is shown,
    least of all 0 %.
    """
    if verdict == "no_source":
        return f"chưa có nguồn dữ liệu, ngưỡng {threshold_vi(threshold)}"
    if numerator is None or not denominator:
        return f"không có {counted} nào để đo, ngưỡng {threshold_vi(threshold)}: {VERDICT_VI[verdict]}"
    said = f"{rate_vi(numerator, denominator)} so với {threshold_vi(threshold)}"
    missing = f"còn thiếu {count_vi(gap)} {counted}" if gap else "đủ"
    ends = {
        "missed": missing,
        "not_yet_due": f"chưa đến hạn, {missing}",
        "too_few": f"chỉ có {count_vi(denominator)} {counted} nên không kết luận",
    }
    return f"{said}, {ends.get(verdict, VERDICT_VI[verdict])}"
