"""The workbook that an office files: dossier statistics, the four rates, the 766 score, the worklist.

Belongs here: which sheets there are and what stands in them, from the tables of one publication. Does not belong here:
how a sheet is drawn (`xlsx.py`), where a publication is read from (`orchestration/commands/workbook.py`), nor any
number: every one comes from a published table.

A table that the publication does not hold, or that says nothing of the period, leaves a sheet that says so.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from assets.periods import VIETNAM, Period
from assets.publications.xlsx import Heading, Row, Sheet, render
from assets.scorecards.sets import load_sets
from expectations.wording import LEVEL_VI, OPERATOR_VI, VERDICT_VI, count_vi
from warehouse.tables.score import TOTAL

#: Rows of the worklist in one workbook; what is left out is said, and stands in the published table.
WORKLIST_ROWS = 50_000
#: Tables of a publication that the sheets are made from.
TABLES = ("statistic", "indicator", "verdict", "score", "score_total", "worklist", "unit")

#: The four rates, in the order of the form.
FOUR_RATES = {
    ("online-processing", "766-3.3"): "Tỷ lệ hồ sơ nộp trực tuyến",
    ("online-payment", "766-3.6"): "Tỷ lệ hồ sơ thanh toán trực tuyến",
    ("digitisation", "766-4.2"): "Tỷ lệ hồ sơ được số hóa",
    ("reuse", "766-4.3"): "Tỷ lệ hồ sơ khai thác, sử dụng lại dữ liệu số hóa",
}

_RECEIVED, _RESOLVED = "Số hồ sơ nhận giải quyết", "Số hồ sơ đã giải quyết"
_OPEN, _WAITING, _OTHER = "Số hồ sơ đang giải quyết", "Chờ người dân", "Kết thúc khác"
_WITHIN = "Trong đó"
_STATISTIC_HEADINGS = {
    "received_total": Heading(text="Tổng số", above=_RECEIVED),
    "received_online": Heading(text="Mới, trực tuyến", above=_RECEIVED),
    "received_direct": Heading(text="Mới, trực tiếp", above=_RECEIVED),
    "received_post": Heading(text="Mới, qua BCCI", above=_RECEIVED),
    "carried_over": Heading(text="Kỳ trước chuyển qua", above=_RECEIVED),
    "transferred_in": Heading(text="Nhận do sắp xếp đơn vị", above=_RECEIVED),
    "resolved_total": Heading(text="Tổng số", above=_RESOLVED),
    "resolved_early": Heading(text="Trước hạn", above=_RESOLVED),
    "resolved_on_time": Heading(text="Đúng hạn", above=_RESOLVED),
    "resolved_late": Heading(text="Quá hạn", above=_RESOLVED),
    "in_process_total": Heading(text="Tổng số", above=_OPEN),
    "in_process_in_time": Heading(text="Chưa đến hạn", above=_OPEN),
    "in_process_overdue": Heading(text="Quá hạn", above=_OPEN),
    "waiting_supplement": Heading(text="Bổ sung", above=_WAITING),
    "waiting_payment": Heading(text="Nộp phí", above=_WAITING),
    "stopped": Heading(text="Dừng", above=_OTHER),
    "denied": Heading(text="Trả lại", above=_OTHER),
    "withdrawn": Heading(text="Rút", above=_OTHER),
    "transferred_out": Heading(text="Giao lại do sắp xếp", above=_OTHER),
    "resolved_supplemented_again": Heading(text="Đúng hẹn nhưng bổ sung hơn một lần", above=_WITHIN, width=12),
    "in_process_undated_end": Heading(text="Kết thúc không rõ ngày", above=_WITHIN, width=12),
}
#: Only a reorganisation fills these: they are left out of a period that had none.
_TRANSFERS = frozenset({"transferred_in", "transferred_out"})
_SCOPES, _LEVELS = ("province", "level", "unit"), ("all", "province", "district", "commune")
_SCORE_STATE_VI = {
    "scored": "",
    "zero_rule": "mẫu số 0, tính điểm theo quy tắc",
    "out_of_scope": "không áp dụng cho cấp này, tính điểm tối đa",
    "no_denominator": "mẫu số 0, không chấm",
    "no_source": "chưa có nguồn, không chấm",
}
_CODE = Heading(text="Mã đơn vị", kind="text", width=16)
_NAME = Heading(text="Tên đơn vị", kind="text", width=30)
_LEVEL = Heading(text="Cấp", kind="text", width=11)


class NoSuchPeriodError(LookupError):
    """The publication says nothing of the period asked for; the text says of which ones it does."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One publication as the workbook reads it: its tables by published name, those it holds.

    `fingerprint` and `night` name the publication, `as_of` is the instant up to which facts are known.
    """

    tables: Mapping[str, pa.Table]
    fingerprint: str
    night: str
    as_of: datetime


def last_finished_month(as_of: datetime) -> Period:
    """The newest month that was over at `as_of`."""
    running = as_of.astimezone(VIETNAM).date().replace(day=1)
    before = (
        running.replace(year=running.year - 1, month=12)
        if running.month == 1
        else running.replace(month=running.month - 1)
    )
    return Period("month", before)


def workbook(source: Source, period: Period) -> bytes:
    """The workbook of one period as the bytes of an .xlsx file; the same publication and period, the same bytes.

    Raises `NoSuchPeriodError` when neither statistics nor indicators have a row of the period.
    """
    _require(source, period)
    names = _names(source, period)
    province = names.get(_province_code(source), "")
    local = source.as_of.astimezone(VIETNAM)
    caption = (
        f"ĐƠN VỊ BÁO CÁO: {province.upper()}",
        f"Kỳ báo cáo: {period.label} · Số liệu tính đến {local:%H:%M ngày %d/%m/%Y}",
        f"Nguồn: bản xuất bản {source.fingerprint} (lần chạy {source.night})",
    )
    sheets = [
        _by_unit(source, period, names),
        _by_level(source, period),
        _by_sector(source, period),
        _four_rates(source, period, names),
        _score(source, period),
        _score_by_unit(source, period, names),
        _worklist(source, period, names),
        _notes(),
    ]
    return render(sheets, caption=caption, footer=f"{period.label} · {source.fingerprint[:16]}", created=source.as_of)


def _require(source: Source, period: Period) -> None:
    if any(_rows(source, name, period) for name in ("statistic", "indicator")):
        return
    starts = [
        start
        for name in ("statistic", "indicator")
        if name in source.tables
        for start in pc.unique(source.tables[name]["period_start"]).to_pylist()
    ]
    spoken = f"có từ {min(starts):%m/%Y} đến {max(starts):%m/%Y}" if starts else "chưa có kỳ nào"
    raise NoSuchPeriodError(f"Bản xuất bản không có số liệu {period.label}; {spoken} (no such period)")


def _rows(source: Source, name: str, period: Period) -> list[dict[str, Any]]:
    """The rows of a table in one period, on the boundaries of their time; none where there is no such table."""
    table = source.tables.get(name)
    if table is None:
        return []
    here = (pc.field("period") == period.kind) & (pc.field("period_start") == pa.scalar(period.start, pa.date32()))
    if "boundaries" in table.column_names:
        here &= pc.field("boundaries") == "then"
    rows: list[dict[str, Any]] = table.filter(here).to_pylist()
    return sorted(rows, key=_place)


def _place(row: Mapping[str, Any]) -> tuple[int, int, str, str]:
    """Province first, then each level followed by its units."""
    scope = row["scope"]
    level = 0 if scope == "province" else 1 + _LEVELS.index(row["level"])
    return level, _SCOPES.index(scope), row["unit_code"], row.get("sector", "")


def _names(source: Source, period: Period) -> dict[str, str]:
    """Names of units as they were called at the end of the period (or ever after, or before)."""
    found: dict[str, str] = {}
    units = source.tables.get("unit")
    rows = [] if units is None else units.sort_by([("unit_code", "ascending"), ("valid_from", "ascending")]).to_pylist()
    for row in rows:
        if row["valid_from"] < period.end or row["unit_code"] not in found:
            found[row["unit_code"]] = row["name"]
    return found


def _province_code(source: Source) -> str:
    units = source.tables.get("unit")
    codes = [] if units is None else pc.unique(units["province_code"]).to_pylist()
    return str(codes[0]) if codes else ""


def _subject(row: Mapping[str, Any], names: Mapping[str, str]) -> tuple[str | None, str, str]:
    """Code, name and level of a row's place; a sum has no code."""
    level = LEVEL_VI[row["level"]]
    if row["scope"] == "unit":
        return row["unit_code"], names.get(row["unit_code"], ""), level
    return None, "Toàn tỉnh" if row["scope"] == "province" else f"Cộng {level}", level


def _absent(source: Source, name: str, rows: Sequence[object], period: Period) -> tuple[str, ...]:
    """Why a sheet is empty, if it is."""
    if rows:
        return ()
    if name not in source.tables:
        return (f"Bản xuất bản này không có bảng “{name}”, nên biểu này chưa có số liệu.",)
    return (f"Bảng “{name}” của bản xuất bản không có dòng nào của {period.label}.",)


# ---- statistics --------------------------------------------------------------------------------------------------


def _statistic(source: Source, period: Period, wanted: Callable[[Mapping[str, Any]], bool]) -> list[dict[str, Any]]:
    return [row for row in _rows(source, "statistic", period) if wanted(row)]


def _counts(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    moved = any(row[name] for row in rows for name in _TRANSFERS)
    return tuple(name for name in _STATISTIC_HEADINGS if moved or name not in _TRANSFERS)


def _statistic_sheet(
    *,
    name: str,
    title: str,
    leading: tuple[Heading, ...],
    rows: Sequence[Mapping[str, Any]],
    said: Callable[[Mapping[str, Any]], tuple[str | None, ...]],
    is_sum: Callable[[Mapping[str, Any]], bool],
    notes: tuple[str, ...],
) -> Sheet:
    counts = _counts(rows)
    return Sheet(
        name=name,
        title=title,
        headings=(*leading, *(_STATISTIC_HEADINGS[count] for count in counts)),
        rows=[Row((*said(row), *(row[count] for count in counts)), is_sum(row)) for row in rows],
        notes=notes,
        frozen_columns=len(leading),
    )


def _by_unit(source: Source, period: Period, names: Mapping[str, str]) -> Sheet:
    rows = _statistic(source, period, lambda row: row["breakdown"] == "all")
    return _statistic_sheet(
        name="Thống kê theo đơn vị",
        title="BIỂU THỐNG KÊ HỒ SƠ THEO ĐƠN VỊ",
        leading=(_CODE, _NAME, _LEVEL),
        rows=rows,
        said=lambda row: _subject(row, names),
        is_sum=lambda row: row["scope"] != "unit",
        notes=_absent(source, "statistic", rows, period),
    )


def _by_level(source: Source, period: Period) -> Sheet:
    rows = _statistic(source, period, lambda row: row["breakdown"] == "all" and row["scope"] != "unit")
    return _statistic_sheet(
        name="Thống kê theo cấp",
        title="BIỂU THỐNG KÊ HỒ SƠ THEO CẤP",
        leading=(Heading(text="Cấp", kind="text", width=20),),
        rows=rows,
        said=lambda row: (_subject(row, {})[1],),
        is_sum=lambda row: row["scope"] == "province",
        notes=_absent(source, "statistic", rows, period),
    )


def _by_sector(source: Source, period: Period) -> Sheet:
    # The sum of a place stands above its sectors: its sector is empty and sorts first.
    rows = _statistic(source, period, lambda row: row["scope"] != "unit")
    return _statistic_sheet(
        name="Thống kê theo lĩnh vực",
        title="BIỂU THỐNG KÊ HỒ SƠ THEO LĨNH VỰC",
        leading=(_LEVEL, Heading(text="Lĩnh vực", kind="text", width=38)),
        rows=rows,
        said=lambda row: (LEVEL_VI[row["level"]], row["sector"] or "Tất cả lĩnh vực"),
        is_sum=lambda row: row["breakdown"] == "all",
        notes=_absent(source, "statistic", rows, period),
    )


# ---- rates and targets -------------------------------------------------------------------------------------------

_RATE_HEADINGS = (
    Heading(text="Chỉ số", kind="text", width=34),
    _CODE,
    _NAME,
    _LEVEL,
    Heading(text="Tử số"),
    Heading(text="Mẫu số"),
    Heading(text="Tỷ lệ", kind="percent"),
    Heading(text="Chỉ tiêu", kind="text", width=12),
    Heading(text="So sánh", kind="text", width=8),
    Heading(text="Ngưỡng", kind="percent"),
    Heading(text="Kết luận", kind="text", width=16),
    Heading(text="Còn thiếu (hồ sơ)", width=12),
    Heading(text="Căn cứ", kind="text", width=44),
)


def _four_rates(source: Source, period: Period, names: Mapping[str, str]) -> Sheet:
    measured = [row for row in _rows(source, "indicator", period) if (row["indicator"], row["version"]) in FOUR_RATES]
    held: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in _rows(source, "verdict", period):
        if row["indicator"]:
            held.setdefault(_measured_at(row), []).append(row)
    order = list(FOUR_RATES)
    rows = [
        _rate_row(row, verdict, names)
        for row in sorted(measured, key=lambda row: order.index((row["indicator"], row["version"])))
        for verdict in sorted(held.get(_measured_at(row), _NOT_HELD), key=lambda found: str(found.get("target")))
    ]
    return Sheet(
        name="Bốn tỷ lệ",
        title="BỐN TỶ LỆ SO VỚI CHỈ TIÊU",
        headings=_RATE_HEADINGS,
        rows=rows,
        notes=_absent(source, "indicator", rows, period),
        frozen_columns=3,
    )


def _measured_at(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in ("indicator", "version", "scope", "level", "unit_code"))


#: In place of verdicts where no target asks for the rate.
_NOT_HELD: list[dict[str, Any]] = [{}]


def _rate_row(row: Mapping[str, Any], verdict: Mapping[str, Any], names: Mapping[str, str]) -> Row:
    told: tuple[str | int | float | None, ...] = (None,) * 6
    if verdict:
        told = (
            verdict["target"],
            OPERATOR_VI[verdict["operator"]],
            verdict["threshold"],
            VERDICT_VI[verdict["verdict"]],
            verdict["gap_dossiers"],
            f"{verdict['document']}, {verdict['clause']}",
        )
    named = FOUR_RATES[row["indicator"], row["version"]]
    counts = (row["numerator"], row["denominator"], cut_rate(row["numerator"], row["denominator"]))
    return Row((named, *_subject(row, names), *counts, *told), row["scope"] != "unit")


def cut_rate(numerator: int | None, denominator: int | None) -> float | None:
    """A rate with the two decimals of a percentage that are shown, cut: 79.999 of 100.000 is not shown as 80,00 %."""
    return numerator * 10_000 // denominator / 10_000 if numerator is not None and denominator else None


# ---- the 766 score -----------------------------------------------------------------------------------------------

_SCORE_HEADINGS = (
    Heading(text="Bộ chỉ số", kind="text", width=10),
    Heading(text="Phạm vi", kind="text", width=16),
    Heading(text="Nhóm", kind="text", width=7),
    Heading(text="Số", kind="text", width=7),
    Heading(text="Chỉ số thành phần", kind="text", width=50),
    Heading(text="Tử số"),
    Heading(text="Mẫu số"),
    Heading(text="Tỷ lệ", kind="percent"),
    Heading(text="Điểm", kind="points"),
    Heading(text="Điểm tối đa", kind="count"),
    Heading(text="Điểm mất", kind="points"),
    Heading(text="Cần thêm để được điểm kế tiếp", width=13),
    Heading(text="Ghi chú", kind="text", width=26),
)


def _score(source: Source, period: Period) -> Sheet:
    named = {(one.set, component.component): component.vi for one in load_sets() for component in one.components}
    found = [row for row in _rows(source, "score", period) if row["scope"] != "unit"]
    rows = [
        Row(
            (
                row["set_id"],
                _subject(row, {})[1],
                row["group_id"],
                row["component"],
                named.get((row["set_id"], row["component"]), ""),
                row["numerator"],
                row["denominator"],
                _shown_rate(row),
                row["points"],
                row["max_points"],
                row["lost"],
                row["next_point"],
                _SCORE_STATE_VI[row["state"]],
            )
        )
        for row in sorted(found, key=lambda row: (row["set_id"], *_place(row), row["component"]))
    ]
    return Sheet(
        name="Điểm 766",
        title="BỘ CHỈ SỐ 766: ĐIỂM TỪNG CHỈ SỐ THÀNH PHẦN, TOÀN TỈNH VÀ TỪNG CẤP",
        headings=_SCORE_HEADINGS,
        rows=rows,
        notes=_absent(source, "score", rows, period),
        frozen_columns=5,
    )


def _shown_rate(row: Mapping[str, Any]) -> float | None:
    """Cut as in every other sheet, so that one rate reads alike in all; as given where there are no counts."""
    if row["numerator"] is None or row["denominator"] is None:
        rate: float | None = row["rate"]
        return rate
    return cut_rate(row["numerator"] * row["divisor"], row["denominator"])


def _score_by_unit(source: Source, period: Period, names: Mapping[str, str]) -> Sheet:
    totals = _rows(source, "score_total", period)
    groups = sorted({row["group_id"] for row in totals if row["group_id"] != TOTAL})
    by_place: dict[tuple[Any, ...], dict[str, dict[str, Any]]] = {}
    for row in totals:
        by_place.setdefault((row["set_id"], *_place(row)), {})[row["group_id"]] = row
    headings = (
        Heading(text="Bộ chỉ số", kind="text", width=10),
        *(_CODE, _NAME, _LEVEL),
        *(Heading(text=f"Nhóm {group}", kind="points", width=9) for group in groups),
        Heading(text="Tổng điểm", kind="points"),
        Heading(text="Trên số điểm chấm được", width=12),
        Heading(text="Điểm mất", kind="points"),
        Heading(text="Hạng", width=7),
        Heading(text="Trong số", width=8),
    )
    rows = [_total_row(by_place[key], groups, names) for key in sorted(by_place)]
    return Sheet(
        name="766 theo đơn vị",
        title="BỘ CHỈ SỐ 766: ĐIỂM NHÓM VÀ TỔNG ĐIỂM THEO ĐƠN VỊ",
        headings=headings,
        rows=rows,
        notes=_absent(source, "score_total", rows, period),
        frozen_columns=4,
    )


def _total_row(of_place: Mapping[str, Mapping[str, Any]], groups: Iterable[str], names: Mapping[str, str]) -> Row:
    some = next(iter(of_place.values()))
    total = of_place.get(TOTAL, {})
    points = tuple(of_place.get(group, {}).get("points") for group in groups)
    told = tuple(total.get(name) for name in ("points", "scored_max", "lost", "rank", "ranked"))
    return Row((some["set_id"], *_subject(some, names), *points, *told), some["scope"] != "unit")


# ---- the worklist ------------------------------------------------------------------------------------------------

_WORK_HEADINGS = (
    _CODE,
    _NAME,
    Heading(text="Thứ tự", width=7),
    Heading(text="Mã hồ sơ", kind="text", width=26),
    Heading(text="Mã thủ tục", kind="text", width=11),
    Heading(text="Tiếp nhận", kind="date", width=11),
    Heading(text="Trạng thái", width=7),
    Heading(text="Chỉ số", kind="text", width=18),
    Heading(text="Phiên bản", kind="text", width=12),
    Heading(text="Tình trạng", kind="text", width=11),
    Heading(text="Lý do", kind="text", width=40),
    Heading(text="Cách khắc phục", kind="text", width=40),
    Heading(text="Còn sửa được", kind="text", width=9),
    Heading(text="Hạn giải quyết", kind="date", width=11),
    Heading(text="Còn (ngày)", width=8),
)
_LOSS_VI = {"lost": "mất điểm", "at_risk": "sắp mất"}


def _worklist(source: Source, period: Period, names: Mapping[str, str]) -> Sheet:
    table = source.tables.get("worklist")
    found = table.filter(_within(period)).sort_by(_WORK_ORDER) if table is not None else None
    count = 0 if found is None else found.num_rows
    rows = [] if found is None else [_work_row(row, names) for row in found.slice(0, WORKLIST_ROWS).to_pylist()]
    notes = _absent(source, "worklist", rows, period)
    if count > len(rows):
        shown, whole = count_vi(len(rows)), count_vi(count)
        notes = (f"Biểu này có {shown} dòng đầu trong {whole}; đủ mọi dòng ở bảng “worklist” của bản xuất bản.",)
    return Sheet(
        name="Danh sách việc",
        title="DANH SÁCH HỒ SƠ MẤT ĐIỂM HOẶC SẮP MẤT ĐIỂM",
        headings=_WORK_HEADINGS,
        rows=rows,
        notes=notes,
        frozen_columns=4,
    )


_WORK_ORDER = [(name, "ascending") for name in ("unit_code", "priority", "dossier_key", "indicator", "version")]


def _within(period: Period) -> pc.Expression:
    first, end = (pa.scalar(day, pa.date32()) for day in (period.start, period.end))
    return (pc.field("event_on") >= first) & (pc.field("event_on") < end)


def _work_row(row: Mapping[str, Any], names: Mapping[str, str]) -> Row:
    return Row(
        (
            row["unit_code"],
            names.get(row["unit_code"], ""),
            row["priority"],
            row["dossier_code"] or row["dossier_key"],
            row["procedure_code"],
            row["received_on"],
            row["status_code"],
            row["indicator"],
            row["version"],
            _LOSS_VI[row["loss"]],
            row["reason"],
            row["remedy"],
            "có" if row["is_mendable"] else "không",
            row["deadline_on"],
            row["days_left"],
        )
    )


def _notes() -> Sheet:
    text = resources.files("assets.publications").joinpath("workbook_notes.csv").read_text(encoding="utf-8")
    _, *notes = csv.reader(text.splitlines())
    return Sheet(
        name="Ghi chú",
        title="CÁCH HIỂU CÁC CỘT",
        headings=(Heading(text="Cột", kind="text", width=34), Heading(text="Ý nghĩa", kind="text", width=110)),
        rows=[Row(tuple(note)) for note in notes],
    )
