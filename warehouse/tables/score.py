"""The 766 score (out_score, out_score_total) and its comparison with what the national portal publishes.

Belongs here: declarations of those tables and of what was read of the portal (raw_evaluation). Does not
belong here: the rules by which points are given (`assets/scorecards/sets`).

Points are stored rounded to two decimals, as the portal shows them; a group is the sum of its rounded
components and the total the sum of the groups, so that every table adds up to what it shows.
"""

from __future__ import annotations

from warehouse.schema import COUNT, DAY, FLAG, INSTANT, RATE, TEXT, Column, Table
from warehouse.tables.out import OUT_INDICATOR

SCORE_STATES = ("scored", "zero_rule", "out_of_scope", "no_denominator", "no_source")
TOTAL = "total"
#: Whose numbers a comparison has.
EVALUATION_STATES = ("both", "only_theirs", "only_ours")
PUBLISHED_KINDS = ("metric", "field", "group")

_SUBJECT = tuple(
    OUT_INDICATOR.column(name) for name in ("scope", "level", "unit_code", "boundaries", "period", "period_start")
)
_SUBJECT_NAMES = tuple(column.name for column in _SUBJECT)
_SET = Column(name="set_id", type=TEXT, nullable=False, vi="Bộ chỉ số", en="Score set, with its reading of the rules")
_GROUP = Column(
    name="group_id",
    type=TEXT,
    nullable=False,
    vi="Nhóm",
    en="Group as the portal shows it: 1, 2, 3a, 3b, 4, 5",
)
_AS_OF = OUT_INDICATOR.column("as_of")
_POINT = "điểm (point)"

OUT_SCORE = Table(
    name="out_score",
    vi="Điểm từng chỉ số thành phần của Bộ chỉ số 766",
    en="Points of every component of the 766 score, by unit, level and province, and by period",
    key=("set_id", "component", *_SUBJECT_NAMES),
    sort=("set_id", "period", "period_start", "scope", "level", "unit_code", "boundaries", "component"),
    columns=(
        _SET,
        Column(name="component", type=TEXT, nullable=False, vi="Chỉ số thành phần", en="Number of the component: 1.1"),
        _GROUP,
        *_SUBJECT,
        Column(name="numerator", type=COUNT, vi="Tử số", en="Numerator; null without source or where only a rate is"),
        Column(
            name="denominator",
            type=COUNT,
            vi="Mẫu số",
            en="Denominator; for 1.4 under its zero rule the total of last year, to be divided by `divisor`",
        ),
        Column(
            name="divisor",
            type=COUNT,
            nullable=False,
            vi="Số chia của mẫu số",
            en="1; 12 (month) or 4 (quarter) where the denominator is the total of last year",
        ),
        Column(name="rate", type=RATE, vi="Tỷ lệ (0..1)", en="numerator × divisor / denominator, or the rate as given"),
        Column(
            name="points",
            type=RATE,
            unit=_POINT,
            vi="Điểm",
            en="Points, rounded half up to two decimals; null where nothing was scored",
        ),
        Column(name="max_points", type=COUNT, nullable=False, unit=_POINT, vi="Điểm tối đa", en="Most there is to win"),
        Column(name="lost", type=RATE, unit=_POINT, vi="Điểm mất", en="max_points less points; null where unscored"),
        Column(
            name="next_point",
            type=COUNT,
            vi="Cần thêm để được điểm kế tiếp",
            en="How many more of the denominator must join the numerator to win the next point, or what is left "
            "of the component when that is less; null when there is nothing to win or no counts",
        ),
        Column(
            name="state",
            type=TEXT,
            nullable=False,
            values=SCORE_STATES,
            vi="Tình trạng",
            en="scored: from counts or a rate; zero_rule: denominator 0, points by the set's rule; out_of_scope: not "
            "asked of this level, full points; no_denominator: 0 and no rule said, unscored; no_source: unscored",
        ),
        Column(name="basis", type=TEXT, vi="Nguồn số liệu", en="Indicator and version that gave the counts"),
        _AS_OF,
    ),
)

OUT_SCORE_TOTAL = Table(
    name="out_score_total",
    vi="Điểm nhóm và tổng điểm của Bộ chỉ số 766, kèm xếp hạng",
    en="Group sums and total of the 766 score, with rank among units of the level",
    key=("set_id", "group_id", *_SUBJECT_NAMES),
    sort=("set_id", "period", "period_start", "scope", "level", "unit_code", "boundaries", "group_id"),
    columns=(
        _SET,
        Column(
            name="group_id",
            type=TEXT,
            nullable=False,
            vi="Nhóm",
            en="Group as the portal shows it (1, 2, 3a, 3b, 4, 5), or total",
        ),
        *_SUBJECT,
        Column(name="points", type=RATE, unit=_POINT, vi="Điểm", en="Sum of what was scored; null when nothing was"),
        Column(name="max_points", type=COUNT, nullable=False, unit=_POINT, vi="Điểm tối đa", en="Most there is to win"),
        Column(
            name="scored_max",
            type=COUNT,
            nullable=False,
            unit=_POINT,
            vi="Điểm tối đa đã chấm được",
            en="Out of how many points this speaks: maximum of the components that were scored",
        ),
        Column(name="lost", type=RATE, unit=_POINT, vi="Điểm mất", en="scored_max less points"),
        Column(
            name="rank",
            type=COUNT,
            vi="Hạng",
            en="Rank among units of the level in the period by points / scored_max; ties share a rank (1, 1, 3)",
        ),
        Column(name="ranked", type=COUNT, vi="Số đơn vị được xếp hạng", en="How many units share the ranking"),
        _AS_OF,
    ),
)

RAW_EVALUATION = Table(
    name="raw_evaluation",
    vi="Điểm đánh giá mà Cổng Dịch vụ công quốc gia công bố, đúng như đã đọc",
    en="The national portal's published evaluation as read: null stays null, quality flags are kept",
    key=("read_at", "endpoint", "period", "period_start", "department_id", "kind", "code"),
    sort=("read_at", "endpoint", "period", "period_start", "department_id", "kind", "code"),
    columns=(
        Column(name="read_at", type=INSTANT, nullable=False, vi="Đọc lúc", en="When it was read"),
        Column(name="endpoint", type=TEXT, nullable=False, vi="Nhóm API", en="Last part of the address"),
        Column(
            name="period",
            type=TEXT,
            nullable=False,
            values=("month", "quarter", "year"),
            vi="Kỳ",
            en="Kind of period",
        ),
        Column(name="period_start", type=DAY, nullable=False, vi="Ngày đầu kỳ", en="First day of the period"),
        Column(name="department_id", type=TEXT, nullable=False, vi="Định danh cơ quan", en="The portal's own id"),
        Column(name="department_code", type=TEXT, vi="Mã cơ quan", en="H44.01; some answers leave it out"),
        Column(name="department_name", type=TEXT, vi="Tên cơ quan", en="Name of the agency"),
        Column(name="is_root", type=FLAG, nullable=False, vi="Là cơ quan gốc", en="The province asked for"),
        Column(
            name="kind",
            type=TEXT,
            nullable=False,
            values=PUBLISHED_KINDS,
            vi="Loại",
            en="metric: numerator, denominator and score of a code; field: one number of a tree, in numerator; "
            "group: the score of the whole group",
        ),
        Column(name="code", type=TEXT, nullable=False, vi="Mã", en="Code of the metric or name of the field; '' group"),
        Column(name="numerator", type=RATE, vi="Tử số", en="Numerator, or the field's number"),
        Column(name="denominator", type=RATE, vi="Mẫu số", en="Denominator"),
        Column(name="ratio", type=RATE, unit="%", vi="Tỷ lệ (%)", en="Rate in percent as published"),
        Column(name="score", type=RATE, unit=_POINT, vi="Điểm", en="Points as published"),
        Column(name="max_score", type=RATE, unit=_POINT, vi="Điểm tối đa", en="Maximum as published"),
        Column(name="quality_status", type=TEXT, vi="Cờ chất lượng", en="dataQualityStatus"),
        Column(name="quality_message", type=TEXT, vi="Ghi chú chất lượng", en="dataQualityMessage"),
    ),
)

OUT_EVALUATION = Table(
    name="out_evaluation",
    vi="Đối soát điểm 766: số của Cổng Dịch vụ công quốc gia cạnh số của ta",
    en="The national portal's published evaluation beside ours, component by component and group by group",
    key=("set_id", "measure", "department_id", "period", "period_start"),
    sort=("set_id", "period", "period_start", "department_id", "measure"),
    columns=(
        _SET,
        Column(name="measure", type=TEXT, nullable=False, vi="Chỉ số hoặc nhóm", en="Component (1.1) or group (3a)"),
        Column(
            name="kind",
            type=TEXT,
            nullable=False,
            values=("component", "group"),
            vi="Loại",
            en="component or group",
        ),
        RAW_EVALUATION.column("department_id"),
        RAW_EVALUATION.column("department_code"),
        RAW_EVALUATION.column("department_name"),
        Column(name="unit_code", type=TEXT, vi="Mã đơn vị", en="Our unit; null where nobody said which it is"),
        RAW_EVALUATION.column("period"),
        RAW_EVALUATION.column("period_start"),
        Column(name="their_numerator", type=COUNT, vi="Tử số của Cổng", en="Numerator as published"),
        Column(name="their_denominator", type=COUNT, vi="Mẫu số của Cổng", en="Denominator as published"),
        Column(name="their_rate", type=RATE, vi="Tỷ lệ của Cổng (0..1)", en="Rate of their counts, or as published"),
        Column(name="their_points", type=RATE, unit=_POINT, vi="Điểm của Cổng", en="Points as published"),
        Column(
            name="their_points_by_rule",
            type=RATE,
            unit=_POINT,
            vi="Điểm tính lại từ số của Cổng",
            en="Points that the set's rule gives to their counts: apart from their_points, the rule differs; apart "
            "from our_points, the counts do",
        ),
        Column(name="our_numerator", type=COUNT, vi="Tử số của ta", en="Our numerator"),
        Column(name="our_denominator", type=COUNT, vi="Mẫu số của ta", en="Our denominator"),
        Column(name="our_rate", type=RATE, vi="Tỷ lệ của ta (0..1)", en="Our rate"),
        Column(name="our_points", type=RATE, unit=_POINT, vi="Điểm của ta", en="Our points"),
        Column(name="rate_difference", type=RATE, vi="Chênh tỷ lệ", en="Ours less theirs"),
        Column(name="points_difference", type=RATE, unit=_POINT, vi="Chênh điểm", en="Ours less theirs"),
        Column(name="numerator_difference", type=COUNT, vi="Chênh tử số", en="Ours less theirs, in what is counted"),
        Column(name="denominator_difference", type=COUNT, vi="Chênh mẫu số", en="Ours less theirs"),
        Column(name="state", type=TEXT, nullable=False, values=EVALUATION_STATES, vi="Tình trạng", en="Who has it"),
        RAW_EVALUATION.column("quality_status"),
        RAW_EVALUATION.column("quality_message"),
        Column(
            name="quality_note",
            type=TEXT,
            vi="Mâu thuẫn trong số công bố",
            en="Totals of one unit and period that the portal publishes and that contradict each other",
        ),
        RAW_EVALUATION.column("read_at"),
        _AS_OF,
    ),
)

SCORE_TABLES = (OUT_SCORE, OUT_SCORE_TOTAL, OUT_EVALUATION)
