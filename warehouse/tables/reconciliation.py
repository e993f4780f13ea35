"""Which dossiers, and why (out_): what the sources disagree about, and which dossiers lose points.

Belongs here: declarations of out_reconciliation and out_worklist, and their closed lists. Does not
belong here: the rules that fill them (`assets/dossiers/reconciliation.py`, `assets/scorecards/worklist.py`).
"""

from __future__ import annotations

from warehouse.schema import COUNT, DAY, FLAG, INSTANT, TEXT, Column, Table
from warehouse.tables.common import DOSSIER_KEY
from warehouse.tables.core import CORE_DOSSIER

#: What a finding is about.
FINDINGS = (
    "only_in_portal",
    "only_in_onestop",
    "only_in_messages",
    "missing_in_messages",
    "status",
    "received_date",
    "due_date",
    "end_date",
    "channel",
    "payment",
    "result",
    "procedure_code",
    "unit",
    "code_mismatch",
    "duplicate_code",
    "invented_step",
    "status_burst",
    "late",
)
#: How a finding came about, where the values themselves betray it.
PATTERNS = (
    "paused_sent_as_finished",
    "any_payment_sent_as_online",
    "component_sent_as_result",
    "missing_value",
    "zone_7h",
    "clock_12h",
    "substitute_code",
    "national_code",
    "old_unit",
    "same_source",
    "shared_code",
    "same_instant",
    "entered_at_once",
    "supplements",
)
#: Whether a late dossier is late by every system's dates.
LATENESS = ("sync", "real", "one_source")
#: A row that costs a point now, or one that will if nothing is done.
LOSSES = ("lost", "at_risk")

_OF_DOSSIER = tuple(
    CORE_DOSSIER.column(name)
    for name in ("dossier_code", "unit_code", "unit_level", "procedure_code", "received_on", "status_code")
)

OUT_RECONCILIATION = Table(
    name="out_reconciliation",
    vi="Đối soát: hồ sơ mà các nguồn nói khác nhau, và hồ sơ trễ vì đồng bộ hay trễ thật",
    en="Reconciliation: one row per dossier and finding, the sources' words side by side",
    key=("dossier_key", "kind"),
    sort=("unit_code", "kind", "dossier_key"),
    columns=(
        DOSSIER_KEY,
        Column(
            name="kind",
            type=TEXT,
            nullable=False,
            values=FINDINGS,
            vi="Loại sai lệch",
            en="What the finding is about; late: a dossier that is late by the national rule",
        ),
        *_OF_DOSSIER,
        Column(name="sources", type=TEXT, nullable=False, vi="Các nguồn có hồ sơ", en="Sources that have the dossier"),
        Column(name="portal_value", type=TEXT, vi="Cổng tỉnh nói", en="What the portal says; local time"),
        Column(name="onestop_value", type=TEXT, vi="Một cửa nói", en="What the one-stop system says; local time"),
        Column(name="messages_value", type=TEXT, vi="Nhật ký đồng bộ nói", en="What the message log says; local time"),
        Column(
            name="believed_source",
            type=TEXT,
            vi="Nguồn được tin",
            en="Whose word stands in core_dossier, by the table of precedence; null where none is chosen",
        ),
        Column(
            name="other_key",
            type=TEXT,
            vi="Hồ sơ kia",
            en="Keys of the dossiers that may be the same one (duplicate_code), in order",
        ),
        Column(
            name="difference_seconds",
            type=COUNT,
            unit="s",
            vi="Lệch (giây)",
            en="Latest less earliest instant said; of a late dossier, how late it is; of a burst, how long it took",
        ),
        Column(
            name="difference_days",
            type=COUNT,
            unit="days",
            vi="Lệch (ngày)",
            en="The same in calendar days of Asia/Ho_Chi_Minh; 0 within one day",
        ),
        Column(
            name="since_at",
            type=INSTANT,
            nullable=False,
            vi="Có từ",
            en="Since when it stands at the latest: the newest change among the records that disagree; for an absence "
            "the reception, for a late dossier its deadline, for steps the step",
        ),
        Column(
            name="age_days",
            type=COUNT,
            nullable=False,
            unit="days",
            vi="Tồn (ngày)",
            en="Whole days from since_at to as_of: it stands at least so long",
        ),
        Column(
            name="pattern",
            type=TEXT,
            values=PATTERNS,
            vi="Dấu hiệu",
            en="How it came about, where the values betray it: a known distortion of a sender, a wrong zone or clock",
        ),
        Column(
            name="lateness",
            type=TEXT,
            values=LATENESS,
            vi="Trễ do đâu",
            en="Of a late dossier: sync (đồng bộ, another system's dates make it on time), real (thật, no system's "
            "do), one_source (nobody else can be asked); null in every other finding",
        ),
        Column(name="explanation", type=TEXT, nullable=False, vi="Giải thích", en="What it means, in Vietnamese"),
        Column(name="as_of", type=INSTANT, nullable=False, vi="Tính đến", en="Facts known up to this instant"),
    ),
)

OUT_WORKLIST = Table(
    name="out_worklist",
    vi="Danh sách việc: hồ sơ làm mất điểm, vì sao và còn sửa được không",
    en="Worklist: which dossiers lose points in which indicator, why, and what would mend it",
    key=("dossier_key", "indicator", "version"),
    sort=("unit_code", "priority"),
    columns=(
        DOSSIER_KEY,
        Column(name="indicator", type=TEXT, nullable=False, vi="Chỉ số", en="Indicator id that the dossier hurts"),
        Column(name="version", type=TEXT, nullable=False, vi="Phiên bản định nghĩa", en="Definition version"),
        *_OF_DOSSIER,
        Column(
            name="event_on",
            type=DAY,
            nullable=False,
            vi="Ngày tính vào kỳ",
            en="The day that puts the dossier into a period of this indicator",
        ),
        Column(
            name="loss",
            type=TEXT,
            nullable=False,
            values=LOSSES,
            vi="Mất điểm hay sắp mất",
            en="lost: in the denominator and not in the numerator; at_risk: still in both, but not for long",
        ),
        Column(name="rule", type=TEXT, nullable=False, vi="Mã hướng dẫn", en="Advice that fitted: rule and case"),
        Column(name="reason", type=TEXT, nullable=False, vi="Lý do", en="Why it does not count, in Vietnamese"),
        Column(name="remedy", type=TEXT, nullable=False, vi="Cách khắc phục", en="What would mend it, in Vietnamese"),
        Column(name="is_mendable", type=FLAG, nullable=False, vi="Còn sửa được", en="The point can still be won"),
        Column(name="deadline_on", type=DAY, vi="Hạn giải quyết", en="Day of deadline_at, while the dossier is open"),
        Column(
            name="days_left",
            type=COUNT,
            unit="days",
            vi="Còn (ngày)",
            en="Calendar days from the day of as_of to deadline_on, negative when overdue; null without deadline_on",
        ),
        Column(
            name="loss_count",
            type=COUNT,
            nullable=False,
            unit="indicators",
            vi="Số chỉ số mất điểm",
            en="How many rows with loss = lost this dossier has here",
        ),
        Column(
            name="priority",
            type=COUNT,
            nullable=False,
            vi="Thứ tự",
            en="Place in the unit's list, 1 first: about to be lost, then what can be mended, then what cannot",
        ),
        Column(name="as_of", type=INSTANT, nullable=False, vi="Tính đến", en="Facts known up to this instant"),
    ),
)
