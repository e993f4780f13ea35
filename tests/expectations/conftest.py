"""A world small enough to read in which every expectation holds, as DuckDB tables that a test can spoil."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import duckdb
import pyarrow as pa

from assets.raw.tables import RAW_TABLES
from expectations.gx import Source
from expectations.suites import Suite
from tests.rows import table_rows
from warehouse.lake import connect
from warehouse.schema import Table
from warehouse.tables import TABLES

AS_OF = datetime(2026, 3, 1, 18, tzinfo=UTC)


RAW = {table.name: table for table in RAW_TABLES.values()}

_CODE = "H15.24133-260105-0001"
# 06/01/2026 01:00 in Vietnam is still 5 January in UTC.
_RECEIVED = datetime(2026, 1, 5, 18, tzinfo=UTC)
_RESOLVED = datetime(2026, 1, 12, 3, tzinfo=UTC)
# The Friday before, at the close of the office: the dossier is late.
_DEADLINE = datetime(2026, 1, 9, 10, tzinfo=UTC)
_DIMENSIONS = {
    "unit_code": "H15.24133",
    "unit_level": "commune",
    "procedure_code": "1.000001",
    "channel": "online",
    "has_fee": True,
}
_HELD = {"dossier_key": _CODE, "lake_month": "2026-01", "source": "messages"}


#: What another system gave without counts: a rank, for the province as one.
_RANK: dict[str, Any] = {
    "indicator": "par-index-rank",
    "version": "observed",
    "scope": "province",
    "level": "all",
    "unit_code": "H15",
    "period": "year",
    "period_start": date(2026, 1, 1),
    "rate": 17.0,
}


def _indicators() -> list[dict[str, Any]]:
    """One commune with 1 of 2, one department with 0 of 1, and a month in which nothing came."""
    sums = [
        ("unit", "commune", "H15.24133", 1, 2),
        ("unit", "province", "H15.SNV", 0, 1),
        ("level", "commune", "H15", 1, 2),
        ("level", "province", "H15", 0, 1),
        ("province", "all", "H15", 1, 3),
    ]
    rows = [
        (*subject, period, date(2026, 1, 1), numerator, denominator)
        for *subject, numerator, denominator in sums
        for period in ("month", "quarter", "half", "year")
    ]
    rows.append(("unit", "commune", "H15.24133", "month", date(2026, 2, 1), 0, 0))
    names = ("scope", "level", "unit_code", "period", "period_start", "numerator", "denominator")
    fixed = {"indicator": "online-processing", "version": "766-3.3", "as_of": AS_OF}
    made: list[dict[str, Any]] = [fixed | dict(zip(names, row, strict=True)) for row in rows]
    for row in made:
        row["rate"] = row["numerator"] / row["denominator"] if row["denominator"] else None
        row["state"] = "ok" if row["denominator"] else "no_denominator"
    return [*made, _RANK | {"state": "ok", "as_of": AS_OF}]


def _verdicts() -> list[dict[str, Any]]:
    fixed = {"unit_code": "H15", "period": "year", "period_start": date(2026, 1, 1), "document": "QĐ", "clause": "I"}
    judged = fixed | {"indicator": "online-processing", "version": "766-3.3"}
    commune = judged | {"scope": "level", "level": "commune", "rate": 0.5, "numerator": 1, "denominator": 2}
    return [
        commune | {"target": "T-half", "threshold": 0.5, "gap_dossiers": 0, "verdict": "met"},
        commune | {"target": "T-more", "threshold": 0.8, "gap_dossiers": 1, "verdict": "missed"},
        fixed
        | {"target": "T-blind", "version": "", "scope": "level", "level": "commune", "threshold": 1.0}
        | {"verdict": "no_source", "reason": "Chưa có nguồn."},
        fixed | _RANK | {"target": "T-rank", "operator": "<=", "measure": "rank", "threshold": 20.0, "verdict": "met"},
    ]


_Rows = dict[str, list[dict[str, Any]]]


def _rows() -> _Rows:
    """The whole world: by table, the rows in which every expectation holds."""
    return _raw_rows() | _dossier_rows() | _reference_rows() | _out_rows()


def _raw_rows() -> _Rows:
    """What the sources said, each of one dossier in its own words."""
    book = {"content_hash": "a", "extracted_at": AS_OF, "night": "n1"}
    return {
        "raw_portal": [
            book
            | {"record_key": "10101:7", "groupId": "10101", "dossierId": 7, "dossierStatus": "done"}
            | {"createDate": "05/01/2026 08:00:00", "modifiedDate": "5/1/2026 08:00:00", "submitDate": ""}
            | {"receiveDate": "", "dueDate": "", "releaseDate": "", "finishDate": ""}
        ],
        "raw_onestop": [
            book
            | {"record_key": "64b", "id": "64b", "dossierStatusId": 0, "acceptedDate": "", "appointmentDate": ""}
            | {"completedDate": "", "returnedDate": "", "paidDate": ""}
            | {"updatedDate": "2026-01-05T17:00:00.000+0000", "appliedDate": "2026-01-05T17:00:00.000+0700"}
        ],
        "raw_messages": [
            book
            | {"record_key": _CODE, "MaHoSo": _CODE, "KenhThucHien": "", "TrangThaiHoSo": "10"}
            | {"NgayNopHoSo": "20260105080000", "NgayTiepNhan": "", "NgayHenTra": "", "NgayTuChoi": ""}
            | {"NgayKetThucXuLy": "", "NgayTra": ""}
        ],
        "raw_progress": [
            book
            | {"record_key": f"{_CODE}|20260105080000|4", "MaHoSo": _CODE}
            | {"ThoiDiemXuLy": "20260105080000", "TrangThai": "4"}
        ],
        # An agency that no directory lists.
        "raw_quarantine": [
            {"stage": "conform", "source": "onestop", "record_key": "64c", "reason": "unmapped_agency"}
            | {"clause": "agency", "excerpt": '{"code":"H15.10.77"}'}
        ],
        "raw_evaluation": [
            {"endpoint": "transparency", "period": "year", "department_id": "tinh", "is_root": True, "kind": "group"},
            {"endpoint": "transparency", "period": "year", "department_id": "xa", "is_root": False, "kind": "group"},
        ],
    }


def _dossier_rows() -> _Rows:
    """One dossier that three sources know, and a draft of the portal alone."""
    return {
        "core_crosswalk": [
            {"source": "portal", "record_key": "10101:7", "dossier_key": _CODE, "rule": "code", "evidence": _CODE},
            {"source": "onestop", "record_key": "64b", "dossier_key": _CODE, "rule": "code", "evidence": _CODE},
            {"source": "portal", "record_key": "10101:8", "dossier_key": "portal:10101:8", "rule": "alone"},
        ],
        "core_dossier": [
            _DIMENSIONS
            | {
                "dossier_key": _CODE,
                "dossier_code": _CODE,
                "lake_month": "2026-01",
                "status_code": 10,
                "in_portal": True,
            }
            | {"service_level": "full"}
            | {"received_at": _RECEIVED, "received_on": date(2026, 1, 6), "is_received": True}
            | {"resolved_at": _RESOLVED, "resolved_on": date(2026, 1, 12), "is_resolved": True}
            | {"ended_at": _RESOLVED, "ended_on": date(2026, 1, 12), "end_kind": "processed"}
            | {"deadline_at": _DEADLINE, "deadline_basis": "promise"}
            | {"transaction_count": 1, "online_transaction_count": 1, "component_count": 1, "supplement_count": 1},
            _DIMENSIONS
            | {"dossier_key": "portal:10101:8", "lake_month": "2026-02", "status_code": 1, "in_portal": True}
            | {"is_received": False, "is_resolved": False, "deadline_basis": "none"}
            | {"transaction_count": 0, "online_transaction_count": 0, "component_count": 0, "supplement_count": 0},
        ],
        "core_component": [_HELD | {"component_no": 1, "has_file": True, "reuse_code": 1}],
        "core_payment": [
            _HELD
            | _DIMENSIONS
            | {"payment_no": 1, "amount_vnd": 50_000, "method": "online", "is_settled": True, "is_online": True}
            | {"paid_on": date(2026, 1, 6), "source": "payments"},
            _HELD
            | _DIMENSIONS
            | {"payment_no": 2, "amount_vnd": 0, "is_settled": False, "is_online": False, "source": "onestop"},
        ],
        "core_step": [
            _HELD | {"step_no": 1, "acted_at": _RESOLVED, "status_code": 9, "started_at": _RECEIVED},
        ],
        "core_supplement": [_HELD | {"supplement_no": 1, "requested_at": _RECEIVED, "answered_at": _RESOLVED}],
        "core_claim": _claims(),
    }


def _reference_rows() -> _Rows:
    """Units across the reorganisation, a procedure that has ended, days, and what offices stated."""
    always = date(1900, 1, 1)
    until_reform = {"valid_to": date(2025, 6, 30)}
    unit = {"name": "Tên", "province_code": "H15", "valid_from": always, "parent_code": "H15"}
    return {
        "core_unit": [
            unit | {"unit_code": "H15", "level": "province", "parent_code": None},
            unit | {"unit_code": "H15.SNV", "level": "province"},
            unit | {"unit_code": "H15.643", "level": "district"} | until_reform,
            unit | {"unit_code": "H15.643.24130", "level": "commune", "parent_code": "H15.643"} | until_reform,
            unit | {"unit_code": "H15.24133", "level": "commune", "valid_from": date(2025, 7, 1)},
        ],
        "core_procedure": [
            {"procedure_code": "1.000001", "valid_from": always, "valid_to": date(2025, 12, 31), "limit_value": 3.0}
            | {"name": "Thủ tục", "has_fee": True, "is_result_required": True, "offers_online": True}
            | {"online_level": "full", "limit_unit": "Ngày"}
        ],
        "core_succession": [
            {"unit_code": "H15.643.24130", "successor_code": "H15.24133", "is_split": False, "is_confirmed": True}
        ],
        "core_calendar": _days(),
        "core_observation": _observations(),
        "core_agency": _agencies(),
    }


def _agencies() -> list[dict[str, Any]]:
    """A department that was renamed, a desk that is no unit of ours and that no dossier waits for, a team that left."""
    first, renamed = {"first_listed_on": date(2026, 1, 1)}, {"first_listed_on": date(2026, 2, 1)}
    department = {"source": "onestop", "agency": "H15.10.05", "unit_code": "H15.SNV", "mapped_by": "code"}
    return [
        department | first | {"name": "Sở Nội vụ", "last_listed_on": date(2026, 1, 31)},
        department | renamed | {"name": "Sở Nội vụ tỉnh"},
        first | {"source": "onestop", "agency": "H15.10.99", "name": "Trung tâm"},
        first | {"source": "onestop", "agency": "H15.10.98", "name": "Tổ", "last_listed_on": date(2026, 1, 1)},
    ]


def _out_rows() -> _Rows:
    """What is computed from them."""
    return {
        "out_indicator": _indicators(),
        "out_verdict": _verdicts(),
        "out_outlook": [
            {"target": "T-half", "indicator": "online-processing", "version": "766-3.3", "threshold": 0.5}
            | {"scope": "level", "level": "commune", "unit_code": "H15", "year_start": date(2026, 1, 1)}
            | {"numerator": 1, "denominator": 2, "denominator_expected": 10, "needed": 5, "error_count": 3}
            | {"rate_expected": 0.5, "rate_low": 0.4, "rate_high": 0.6, "error_largest": 0.1}
        ],
        "out_score": _scores(),
        "out_score_total": _totals(),
        "out_evaluation": [
            {"set_id": "766", "measure": "1.1", "kind": "component", "unit_code": "H15.24133", "state": "both"}
            | {"their_numerator": 2, "their_denominator": 4, "their_rate": 0.5, "their_points": 25.0}
            | {"our_numerator": 1, "our_denominator": 2, "our_rate": 0.5, "our_points": 25.0}
            | {"numerator_difference": -1, "denominator_difference": -2, "points_difference": 0.0}
        ],
        "out_statistic": _statistics(),
        "out_reconciliation": [
            _FINDING
            | {"kind": "late", "lateness": "real", "since_at": _DEADLINE, "age_days": 51}
            | {"difference_seconds": 2 * 86_400 + 61_200, "difference_days": 3},
            _FINDING | {"kind": "status", "pattern": "missing_value", "since_at": _RESOLVED, "age_days": 48},
        ],
        "out_worklist": [
            _LOST | {"indicator": "on-time", "version": "766-2.1", "loss": "lost", "priority": 1},
            _LOST
            | {"indicator": "digitisation", "version": "766-4.2", "loss": "at_risk", "priority": 2}
            | {"deadline_on": date(2026, 3, 5), "days_left": 3},
        ],
    }


#: A dossier of the good world, as findings and the worklist speak of it.
_FINDING: dict[str, Any] = {
    "dossier_key": _CODE,
    "unit_code": "H15.24133",
    "unit_level": "commune",
    "procedure_code": "1.000001",
    "status_code": 10,
    "as_of": AS_OF,
}
_LOST: dict[str, Any] = _FINDING | {"event_on": date(2026, 1, 12), "loss_count": 1}


def _claims() -> list[dict[str, Any]]:
    """One claim for each row of the crosswalk."""
    said = {"unit_code": "H15.24133", "procedure_code": "1.000001", "service_level": "full", "status_code": 10}
    return [
        said | {"source": "portal", "record_key": "10101:7", "dossier_key": _CODE},
        said | {"source": "onestop", "record_key": "64b", "dossier_key": _CODE},
        said | {"source": "portal", "record_key": "10101:8", "dossier_key": "portal:10101:8", "status_code": 1},
    ]


def _days() -> list[dict[str, Any]]:
    """Thursday 1 January 2026 to the Tuesday after, eight hours each: a holiday, a Friday, a weekend, two days."""
    rows = [
        (1, False, 0, 0, "Tết Dương lịch", "holidays"),
        (2, True, 1, 0, None, "weekday"),
        (3, False, 1, 28_800, None, "weekday"),
        (4, False, 1, 28_800, None, "weekday"),
        (5, True, 2, 28_800, None, "weekday"),
        (6, True, 3, 57_600, None, "weekday"),
    ]
    names = ("day", "is_working", "working_ordinal", "office_seconds_before", "reason", "source")
    return [dict(zip(names, (date(2026, 1, day), *rest), strict=True)) for day, *rest in rows]


def _observations() -> list[dict[str, Any]]:
    """A commune's counts of January, and the province's rank."""
    fixed = {"evidence": "12/BC-UBND", "stated_on": date(2026, 2, 2), "received_at": AS_OF, "source": "a.xlsx"}
    counts = {"indicator": "valid-results-digitised", "scope": "unit", "level": "commune", "unit_code": "H15.24133"}
    rank = {"indicator": "par-index-rank", "scope": "province", "level": "all", "unit_code": "H15", "period": "year"}
    return [
        fixed | counts | {"period": "month", "numerator": 3, "denominator": 4, "vouched_by_role": "Chủ tịch UBND xã"},
        fixed | rank | {"value": 17.0, "vouched_by_role": "Giám đốc Sở Nội vụ"},
    ]


_SCORED = {"set_id": "766", "scope": "unit", "level": "commune", "unit_code": "H15.24133", "period": "year"}


def _scores() -> list[dict[str, Any]]:
    """Half of 50 points, 40 that are not asked of a commune, 10 that nothing tells."""
    half = {"numerator": 1, "denominator": 2, "rate": 0.5, "points": 25.0, "lost": 25.0, "next_point": 1}
    return [
        _SCORED | {"component": "1.1", "group_id": "1", "max_points": 50, "state": "scored", "divisor": 1} | half,
        _SCORED
        | {"component": "2.1", "group_id": "2", "max_points": 40, "state": "out_of_scope", "divisor": 1}
        | {"points": 40.0, "lost": 0.0},
        _SCORED | {"component": "3.1", "group_id": "3a", "max_points": 10, "state": "no_source", "divisor": 1},
    ]


def _totals() -> list[dict[str, Any]]:
    """The sums of `_scores`: 65 points of 90 that were scored."""
    first = {"rank": 1, "ranked": 1}
    return [
        _SCORED | {"group_id": "1", "points": 25.0, "max_points": 50, "scored_max": 50, "lost": 25.0} | first,
        _SCORED | {"group_id": "2", "points": 40.0, "max_points": 40, "scored_max": 40, "lost": 0.0} | first,
        _SCORED | {"group_id": "3a", "max_points": 10, "scored_max": 0},
        _SCORED | {"group_id": "total", "points": 65.0, "max_points": 100, "scored_max": 90, "lost": 25.0} | first,
    ]


def _statistics() -> list[dict[str, Any]]:
    """Two dossiers came in January: one was resolved late, one is still open at the end of February."""
    places = [("unit", "commune", "H15.24133"), ("level", "commune", "H15"), ("province", "all", "H15")]
    came = {"received_total": 2, "received_online": 2, "resolved_total": 1, "resolved_late": 1}
    left = {"in_process_total": 1, "in_process_in_time": 1}
    spans: list[dict[str, Any]] = [
        {"period": "month", "period_start": date(2026, 1, 1)} | came | left,
        {"period": "month", "period_start": date(2026, 2, 1), "received_total": 1, "carried_over": 1} | left,
        {"period": "year", "period_start": date(2026, 1, 1)} | came | left,
    ]
    return [
        dict(zip(("scope", "level", "unit_code"), place, strict=True)) | {"breakdown": kind, "sector": sector} | span
        for place in places
        for kind, sector in (("all", ""), ("sector", "Hộ tịch"))
        for span in spans
    ]


def checked_tables() -> dict[str, Table]:
    """Every table that has a suite."""
    return RAW | {name: table for name, table in TABLES.items() if name != "raw_quarantine"}


def good_rows(table: Table) -> pa.Table:
    """The rows of `table` in the good world."""
    return table_rows(table, *_rows()[table.name])


def good_world(suite: Suite) -> duckdb.DuckDBPyConnection:
    """The tables that `suite` looks into, good and ready to be spoilt with SQL."""
    connection = connect()
    for table in (suite.table, *suite.reads):
        connection.register("rows", good_rows(table))
        connection.execute(f'CREATE TABLE "{table.name}" AS SELECT * FROM rows')
        connection.unregister("rows")
    return connection


def source_of(connection: duckdb.DuckDBPyConnection, table: Table) -> Source:
    """What a check sees of `table` in that world."""
    return Source(connection, table.arrow_schema())
