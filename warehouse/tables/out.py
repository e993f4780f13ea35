"""What is computed (out_): indicators and verdicts.

Belongs here: declarations of out_ tables. Does not belong here: facts about dossiers (`core.py`).
"""

from __future__ import annotations

from warehouse.schema import COUNT, DAY, INSTANT, RATE, TEXT, Column, Table
from warehouse.tables.common import ADDS_UP, BOUNDARIES, LEVEL, PERIODS, SCOPE, STATES, VERDICTS

OUT_INDICATOR = Table(
    name="out_indicator",
    vi="Chỉ số theo đơn vị, cấp, tỉnh và theo tháng, quý, năm",
    en="Indicators by unit, level and province, by month, quarter and year",
    key=("indicator", "version", "scope", "level", "unit_code", "boundaries", "period", "period_start"),
    sort=("indicator", "version", "scope", "level", "unit_code", "boundaries", "period", "period_start"),
    columns=(
        Column(name="indicator", type=TEXT, nullable=False, vi="Chỉ số", en="Indicator id"),
        Column(name="version", type=TEXT, nullable=False, vi="Phiên bản định nghĩa", en="Definition version"),
        SCOPE,
        LEVEL,
        Column(name="unit_code", type=TEXT, nullable=False, vi="Mã đơn vị", en="Unit, or the province for sums"),
        Column(
            name="boundaries",
            type=TEXT,
            nullable=False,
            values=BOUNDARIES,
            vi="Địa giới",
            en="then: units as they stood in the period; now: communes of today, with what their territory did before "
            "2025-07-01 where the crosswalk is not in doubt (scope unit, level commune only)",
        ),
        Column(
            name="period",
            type=TEXT,
            nullable=False,
            values=PERIODS,
            vi="Kỳ",
            en="Kind of period",
        ),
        Column(name="period_start", type=DAY, nullable=False, vi="Ngày đầu kỳ", en="First day of the period"),
        Column(name="numerator", type=COUNT, vi="Tử số", en="Numerator; null where another system gave only a value"),
        Column(
            name="denominator",
            type=COUNT,
            vi="Mẫu số",
            en="Denominator; null where another system gave only a value",
        ),
        Column(name="rate", type=RATE, vi="Tỷ lệ (0..1)", en="numerator / denominator; null without denominator"),
        Column(
            name="state",
            type=TEXT,
            nullable=False,
            values=STATES,
            vi="Tình trạng",
            en="ok, or no_denominator: nothing to measure, which is not 0 %",
        ),
        Column(
            name="adds_up",
            type=TEXT,
            nullable=False,
            values=ADDS_UP,
            vi="Được cộng",
            en="always: units add up to levels and months to longer periods; units: only units, because each period is "
            "judged at its end; no: distinct procedures, or another system's figure",
        ),
        Column(name="as_of", type=INSTANT, nullable=False, vi="Tính đến", en="Facts known up to this instant"),
    ),
)

OUT_VERDICT = Table(
    name="out_verdict",
    vi="Kết luận so với chỉ tiêu",
    en="Verdicts: indicators held against dated targets",
    key=("target", "version", "scope", "level", "unit_code", "period", "period_start"),
    sort=("target", "version", "scope", "level", "unit_code", "period", "period_start"),
    columns=(
        Column(name="target", type=TEXT, nullable=False, vi="Chỉ tiêu", en="Target id, as in the decision's table"),
        Column(name="indicator", type=TEXT, vi="Chỉ số", en="Indicator that answers it; null without source"),
        Column(name="version", type=TEXT, nullable=False, vi="Phiên bản", en="Definition version; '' without source"),
        *(OUT_INDICATOR.column(name) for name in ("level", "scope", "unit_code", "period", "period_start")),
        Column(
            name="operator",
            type=TEXT,
            nullable=False,
            values=(">=", "=", "<="),
            vi="Dấu so sánh",
            en="How the value is held against the threshold: = for 100 %, <= for a rank",
        ),
        Column(
            name="measure",
            type=TEXT,
            nullable=False,
            values=("share", "rank", "count"),
            vi="Cách đo",
            en="What threshold and rate are: a share 0..1, a rank (1 is best) or a count",
        ),
        Column(name="threshold", type=RATE, nullable=False, vi="Ngưỡng", en="Threshold; a share is 0..1"),
        Column(
            name="rate",
            type=RATE,
            vi="Tỷ lệ hoặc giá trị",
            en="Rate 0..1 (or the rank), null without denominator or source",
        ),
        Column(
            name="numerator",
            type=COUNT,
            vi="Tử số",
            en="Numerator, null without source or where another system gave only a value",
        ),
        Column(name="denominator", type=COUNT, vi="Mẫu số", en="Denominator, null as the numerator is"),
        Column(
            name="gap_dossiers",
            type=COUNT,
            vi="Còn thiếu (hồ sơ)",
            en="How many more of the denominator must join the numerator to meet the threshold; 0 when met, null "
            "without counts",
        ),
        Column(name="verdict", type=TEXT, nullable=False, values=VERDICTS, vi="Kết luận", en="Verdict"),
        Column(
            name="reason",
            type=TEXT,
            vi="Lý do",
            en="Why it is neither met nor missed, one sentence; beside met or missed only what to mind about the sum",
        ),
        Column(name="document", type=TEXT, nullable=False, vi="Văn bản", en="Decision"),
        Column(name="clause", type=TEXT, nullable=False, vi="Điều khoản", en="Clause(s)"),
    ),
)
