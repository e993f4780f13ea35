"""The dossier statistics table of the periodic report (out_statistic), and the public copies of it and of indicators.

Belongs here: their declarations. Does not belong here: how they are counted
(`assets/publications/statistics.py`) or what a public copy withholds (`assets/publications/suppression.py`).

The columns are those of the periodic report of TT 01/2020/TT-VPCP as provincial systems implement them
(domain: law-units-codes 3). Two identities hold in every row, exactly:

    received_total = received_online + received_direct + received_post + carried_over
    received_total + transferred_in = resolved_total + in_process_total + waiting_supplement + waiting_payment
        + stopped + denied + withdrawn + transferred_out
"""

from __future__ import annotations

from dataclasses import replace

from warehouse.schema import COUNT, DAY, INSTANT, TEXT, Column, Table
from warehouse.tables.common import LEVEL, PERIODS, SCOPE, STATES
from warehouse.tables.out import OUT_INDICATOR

#: `sector` of dossiers whose procedure is not in the catalogue, or is there without one.
UNKNOWN_SECTOR = "(chưa rõ lĩnh vực)"
BREAKDOWNS = ("all", "sector")
PUBLIC_STATES = (*STATES, "suppressed")


def _count(name: str, vi: str, en: str) -> Column:
    return Column(name=name, type=COUNT, nullable=False, unit="dossiers", vi=vi, en=en)


_PLACE_AND_PERIOD = (
    SCOPE,
    LEVEL,
    Column(name="unit_code", type=TEXT, nullable=False, vi="Mã đơn vị", en="Handling unit, or the province for sums"),
    Column(
        name="breakdown",
        type=TEXT,
        nullable=False,
        values=BREAKDOWNS,
        vi="Phân tổ",
        en="all: every sector; sector: one sector. Sum rows of one breakdown only, or dossiers count twice",
    ),
    Column(
        name="sector",
        type=TEXT,
        nullable=False,
        vi="Lĩnh vực",
        en=f"Sector of the procedure on the day of reception; empty when breakdown is all, {UNKNOWN_SECTOR} when the "
        "catalogue does not say",
    ),
    Column(name="period", type=TEXT, nullable=False, values=PERIODS, vi="Kỳ", en="Kind of period"),
    Column(name="period_start", type=DAY, nullable=False, vi="Ngày đầu kỳ", en="First day of the period"),
)
_KEY = ("scope", "level", "unit_code", "breakdown", "sector", "period", "period_start")

OUT_STATISTIC = Table(
    name="out_statistic",
    vi="Biểu thống kê hồ sơ: tiếp nhận, giải quyết, đang giải quyết theo đơn vị, cấp, lĩnh vực và kỳ",
    en="Dossier statistics of the periodic report: received, resolved, in process, by unit, level, sector and period",
    key=_KEY,
    sort=_KEY,
    columns=(
        *_PLACE_AND_PERIOD,
        _count(
            "received_total",
            "Tổng số nhận giải quyết",
            "To be handled in the period: newly received ones and those carried over",
        ),
        _count("received_online", "Mới tiếp nhận trực tuyến", "Received in the period (received_on), submitted online"),
        _count("received_direct", "Mới tiếp nhận trực tiếp", "Received in the period, submitted at the desk"),
        _count("received_post", "Mới tiếp nhận qua BCCI", "Received in the period, submitted by public post"),
        _count(
            "carried_over",
            "Kỳ trước chuyển qua",
            "Received before the period and not ended before it, by the unit that has them at its beginning; equals "
            "in process and waiting at the end of the period before",
        ),
        _count(
            "transferred_in",
            "Nhận do sắp xếp đơn vị",
            "Taken over from another unit within the period by a reorganisation (not on its first day: those are "
            "carried over); the province's row equals transferred_out",
        ),
        _count("resolved_total", "Đã giải quyết", "Ended in the period as processed or returned (state 9 or 10)"),
        _count("resolved_early", "Trước hạn", "Resolved on a day before the deadline's day"),
        _count(
            "resolved_on_time",
            "Đúng hạn",
            "Resolved on the deadline's day, up to its instant; or without a deadline, which cannot be late",
        ),
        _count("resolved_late", "Quá hạn", "Resolved after the deadline"),
        _count(
            "resolved_supplemented_again",
            "Trong đó yêu cầu bổ sung hơn một lần",
            "Of the early and on time: those with more than one request for supplements, which rule 2.2 of the "
            "national portal calls late",
        ),
        _count("in_process_total", "Đang giải quyết", "Open at the end of the period and not waiting for the citizen"),
        _count("in_process_in_time", "Chưa đến hạn", "Of those: the deadline is not past, or there is none"),
        _count("in_process_overdue", "Quá hạn", "Of those: the deadline passed before the end of the period"),
        _count(
            "in_process_undated_end",
            "Trong đó đã kết thúc nhưng không có ngày",
            "Of those: in a final state (3, 7, 8, 9, 10) now, but no source says when it ended",
        ),
        _count(
            "waiting_supplement",
            "Chờ bổ sung",
            "Open at the end of the period, waiting for the citizen's supplement (state 5; in past periods by the "
            "instants of request and answer)",
        ),
        _count(
            "waiting_payment",
            "Chờ thực hiện nghĩa vụ tài chính",
            "Open, in state 6 now; 0 at the end of a past month, which no source tells (there they are in process)",
        ),
        _count("stopped", "Dừng giải quyết", "Ended in the period as stopped (state 8)"),
        _count("denied", "Trả lại", "Ended in the period as refused after reception (state 3)"),
        _count("withdrawn", "Rút hồ sơ", "Ended in the period as withdrawn (state 7)"),
        _count(
            "transferred_out",
            "Giao lại do sắp xếp đơn vị",
            "Handed to another unit within the period by a reorganisation",
        ),
        Column(name="as_of", type=INSTANT, nullable=False, vi="Tính đến", en="Facts known up to this instant"),
    ),
)

#: The counts of a row, in the order of the form.
STATISTIC_COUNTS = tuple(column.name for column in OUT_STATISTIC.columns if column.type == COUNT)

_PUBLIC_STATE = replace(
    OUT_INDICATOR.column("state"),
    values=PUBLIC_STATES,
    en="ok; no_denominator: nothing to measure; suppressed: withheld, small itself or needed to hide a small one",
)
_ROUNDED = "; a multiple of the rounding base, null when withheld"


def _rounded(column: Column) -> Column:
    return replace(column, nullable=True, en=f"{column.en}{_ROUNDED}")


PUBLIC_INDICATOR = Table(
    name="public_indicator",
    vi="Chỉ số, bản công khai: số nhỏ không hiển thị, số còn lại làm tròn",
    en="Indicators, public copy: small counts withheld, the others rounded; finished periods only",
    key=tuple(name for name in OUT_INDICATOR.key if name != "boundaries"),
    sort=tuple(name for name in OUT_INDICATOR.key if name != "boundaries"),
    columns=tuple(
        _rounded(column) if column.type == COUNT else _PUBLIC_STATE if column.name == "state" else column
        for column in OUT_INDICATOR.columns
        if column.name != "boundaries"
    ),
)

#: What the public statistics hold: three families of a total and its parts. Whatever ties the families
#: together (carried over, waiting, stopped, returned, transferred) stays inside, or one family would tell another.
PUBLIC_FAMILIES = {
    "received_new": ("received_online", "received_direct", "received_post"),
    "resolved_total": ("resolved_early", "resolved_on_time", "resolved_late"),
    "in_process_total": ("in_process_in_time", "in_process_overdue"),
}
_RECEIVED_NEW = _count("received_new", "Mới tiếp nhận", "Received in the period, by any channel")

PUBLIC_STATISTIC = Table(
    name="public_statistic",
    vi="Biểu thống kê hồ sơ, bản công khai: số nhỏ không hiển thị, số còn lại làm tròn",
    en="Dossier statistics, public copy: small counts withheld, the others rounded; finished periods only, sectors "
    "for the whole province only",
    key=_KEY,
    sort=_KEY,
    columns=(
        *_PLACE_AND_PERIOD,
        *(
            _rounded(_RECEIVED_NEW if name == "received_new" else OUT_STATISTIC.column(name))
            for total, parts in PUBLIC_FAMILIES.items()
            for name in (total, *parts)
        ),
        replace(
            _PUBLIC_STATE,
            values=("ok", "suppressed"),
            en="ok; suppressed: at least one count is withheld",
        ),
        OUT_STATISTIC.column("as_of"),
    ),
)
