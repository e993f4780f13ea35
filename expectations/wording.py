"""How a rate, a gap and a verdict are said in Vietnamese, in one place for checks and scorecards.

Belongs here: numbers, verdicts and their reasons as text. Does not belong here: how they are found
(`assets/scorecards/verdicts.py`).
"""

from __future__ import annotations

from decimal import Decimal

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
OPERATOR_VI = {">=": "≥", "=": "=", "<=": "≤"}
DOSSIERS = "hồ sơ"
#: Why there is no verdict, or what to mind about one, a sentence each; `{}` is filled in the order
#: that the comment says, by Python or by DuckDB's format().
REASON_VI = {
    # Last day.
    "ended": "Không còn áp dụng: đơn vị hoặc cấp này đã kết thúc ngày {}.",
    # Day.
    "not_begun": "Không áp dụng: đơn vị hoặc cấp này chưa có vào ngày {}.",
    # Territory.
    "outside": "Không áp dụng: ngoài địa bàn của văn bản ({}).",
    # Kinds of systems.
    "unconnected": "Chưa có nguồn: chưa chỉ số nào trả lời được, cần số liệu từ {}.",
    # Indicator, version, year, kinds of systems.
    "awaited": "Chưa có nguồn: chưa nhận được số liệu của chỉ số {} ({}) năm {}, cần số liệu từ {}.",
    # First day of judgement.
    "due_later": "Chưa đến hạn: chỉ tiêu được kết luận từ ngày {}.",
    # Noun.
    "nothing": "Không có {} nào để đo trong kỳ này.",
    # Count, noun, minimum.
    "too_few": "Quá ít để kết luận: chỉ có {} {}, cần ít nhất {}.",
    # Territory.
    "wider": "Lưu ý: số liệu gồm cả địa bàn nhập vào từ ngày 01/7/2025, văn bản chỉ ban hành cho {}.",
}


def count_vi(number: int) -> str:
    """A count with Vietnamese thousands: 1143 is "1.143"."""
    return f"{number:,}".replace(",", ".")


def rate_vi(numerator: int, denominator: int) -> str:
    """A rate in percent with one place, cut and not rounded: 7999 of 10000 is "79,9 %".

    Rounding would show "80,0 %" beside a target of 80 % that is missed. `denominator` must not be 0.
    """
    thousandths = numerator * 1000 // denominator
    return f"{count_vi(thousandths // 10)},{thousandths % 10} %"


def threshold_vi(threshold: float, measure: str = "share") -> str:
    """A threshold with the places it needs: a share 0.8 is "80 %", 0.995 "99,5 %"; a rank "hạng 20", a count "982"."""
    if measure == "rank":
        return f"hạng {count_vi(round(threshold))}"
    if measure == "count":
        return count_vi(round(threshold))
    text = f"{threshold * 100:.2f}".rstrip("0").rstrip(".")
    return f"{text.replace('.', ',')} %"


def bound_vi(operator: str, threshold: float, measure: str = "share") -> str:
    """What a target asks for: "≥ 80 %", "= 100 %", "≤ hạng 20"."""
    return f"{OPERATOR_VI[operator]} {threshold_vi(threshold, measure)}"


def value_vi(value: float, measure: str = "share") -> str:
    """A value that came without counts: a share in percent, cut like `rate_vi`, or a rank or count as it is."""
    # Through the shortest decimal text: the float 0.29 is a little less than 29 %, its text is not.
    exact = Decimal(str(value))
    if measure == "share":
        return rate_vi(*exact.as_integer_ratio())
    text = f"{exact.normalize():f}".replace(".", ",")
    return f"hạng {text}" if measure == "rank" else text


def sentence(
    *,
    verdict: str,
    threshold: float,
    numerator: int | None,
    denominator: int | None,
    gap: int | None,
    counted: str = DOSSIERS,
    measure: str = "share",
    rate: float | None = None,
    reason: str | None = None,
) -> str:
    """What a verdict says, with its numbers: "58,2 % so với 80 %, còn thiếu 1.143 hồ sơ".

    `counted` is the noun of the denominator, `rate` the value where another system gave no counts,
    `reason` the verdict's own (`REASON_VI`). Without a source or a denominator no rate is shown, least
    of all 0 %.
    """
    bound = threshold_vi(threshold, measure)
    if verdict == "no_source":
        return f"{_within(reason) or 'chưa có nguồn dữ liệu'}, ngưỡng {bound}"
    said = _measured(numerator, denominator, rate, measure)
    if said is None and reason:
        return f"{_within(reason)}, ngưỡng {bound}"
    if said is None:
        return f"không có {counted} nào để đo, ngưỡng {bound}: {VERDICT_VI[verdict]}"
    missing = f"còn thiếu {count_vi(gap)} {counted}" if gap else ("đủ" if gap == 0 else "")
    ends = {
        "missed": missing or VERDICT_VI["missed"],
        "not_yet_due": ", ".join(filter(None, ("chưa đến hạn", missing))),
        "too_few": f"chỉ có {count_vi(denominator or 0)} {counted} nên không kết luận",
        "not_applicable": _within(reason) or VERDICT_VI["not_applicable"],
    }
    caution = f" ({_within(reason)})" if reason and verdict in ("met", "missed") else ""
    return f"{said} so với {bound}, {ends.get(verdict, VERDICT_VI[verdict])}{caution}"


def _measured(numerator: int | None, denominator: int | None, rate: float | None, measure: str) -> str | None:
    if numerator is not None and denominator:
        return rate_vi(numerator, denominator)
    return None if rate is None or denominator == 0 else value_vi(rate, measure)


def _within(reason: str | None) -> str:
    """A reason as part of another sentence: without capital and full stop."""
    return reason[:1].lower() + reason[1:].rstrip(".") if reason else ""
