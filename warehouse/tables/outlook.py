"""Where the year will end at this pace.

Belongs here: the declaration of out_outlook. Does not belong here: how it is reckoned
(`assets/scorecards/outlook.py`).
"""

from __future__ import annotations

from warehouse.schema import COUNT, DAY, RATE, Column, Table
from warehouse.tables.out import OUT_INDICATOR, OUT_VERDICT

OUT_OUTLOOK = Table(
    name="out_outlook",
    vi="Dự báo cuối năm so với chỉ tiêu, kèm sai số của chính cách dự báo",
    en="Where the year will end at this pace, with the error that the same method would have had",
    key=("target", "version", "scope", "level", "unit_code", "year_start"),
    sort=("target", "version", "scope", "level", "unit_code", "year_start"),
    columns=(
        OUT_VERDICT.column("target"),
        *(OUT_INDICATOR.column(name) for name in ("indicator", "version", "scope", "level", "unit_code")),
        Column(name="year_start", type=DAY, nullable=False, vi="Ngày đầu năm", en="First day of the year"),
        Column(name="known_until", type=DAY, nullable=False, vi="Đã biết đến ngày", en="Last day that is counted"),
        Column(name="threshold", type=RATE, nullable=False, vi="Ngưỡng (0..1)", en="Threshold, a share"),
        Column(name="numerator", type=COUNT, nullable=False, vi="Tử số đến nay", en="Numerator of the year so far"),
        Column(name="denominator", type=COUNT, nullable=False, vi="Mẫu số đến nay", en="Denominator so far"),
        Column(
            name="denominator_expected",
            type=COUNT,
            nullable=False,
            vi="Mẫu số dự kiến đến cuối năm",
            en="Denominators still to come, as many a day as in the last three whole months",
        ),
        Column(
            name="rate_expected",
            type=RATE,
            vi="Tỷ lệ dự kiến cuối năm (0..1)",
            en="Rate at the end of the year, the rest going as the last three whole months; null without them",
        ),
        Column(name="rate_low", type=RATE, vi="Thấp nhất", en="Expected less the largest past error"),
        Column(name="rate_high", type=RATE, vi="Cao nhất", en="Expected plus the largest past error"),
        Column(
            name="error_count",
            type=COUNT,
            nullable=False,
            vi="Số lần thử trên quá khứ",
            en="Past spans of twelve months that the same method was tried on, with as many months left",
        ),
        Column(
            name="error_largest",
            type=RATE,
            vi="Sai số lớn nhất trong quá khứ (0..1)",
            en="Largest distance between forecast and outcome in those trials",
        ),
        Column(
            name="needed",
            type=COUNT,
            vi="Còn cần đến cuối năm",
            en="Of the denominators still to come, how many must join the numerator; null when that cannot be enough",
        ),
        Column(name="needed_per_week", type=RATE, vi="Cần mỗi tuần", en="The same per week; null when not enough"),
        Column(name="pace_per_week", type=RATE, vi="Nhịp hiện nay mỗi tuần", en="Joined per week in the last three"),
    ),
)
