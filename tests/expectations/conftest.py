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
_DIMENSIONS = {
    "unit_code": "H15.24133",
    "unit_level": "commune",
    "procedure_code": "1.000001",
    "channel": "online",
    "has_fee": True,
}
_HELD = {"dossier_key": _CODE, "lake_month": "2026-01", "source": "messages"}


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
        for period in ("month", "quarter", "year")
    ]
    rows.append(("unit", "commune", "H15.24133", "month", date(2026, 2, 1), 0, 0))
    names = ("scope", "level", "unit_code", "period", "period_start", "numerator", "denominator")
    fixed = {"indicator": "online-processing", "version": "766-3.3", "as_of": AS_OF}
    made: list[dict[str, Any]] = [fixed | dict(zip(names, row, strict=True)) for row in rows]
    for row in made:
        row["rate"] = row["numerator"] / row["denominator"] if row["denominator"] else None
        row["state"] = "ok" if row["denominator"] else "no_denominator"
    return made


def _verdicts() -> list[dict[str, Any]]:
    fixed = {"unit_code": "H15", "period": "year", "period_start": date(2026, 1, 1), "document": "QĐ", "clause": "I"}
    judged = fixed | {"indicator": "online-processing", "version": "766-3.3"}
    commune = judged | {"scope": "level", "level": "commune", "rate": 0.5, "numerator": 1, "denominator": 2}
    return [
        commune | {"target": "T-half", "threshold": 0.5, "gap_dossiers": 0, "verdict": "met"},
        commune | {"target": "T-more", "threshold": 0.8, "gap_dossiers": 1, "verdict": "missed"},
        fixed
        | {"target": "T-blind", "version": "", "scope": "level", "level": "commune", "threshold": 1.0}
        | {"verdict": "no_source"},
    ]


def _rows() -> dict[str, list[dict[str, Any]]]:
    book = {"content_hash": "a", "extracted_at": AS_OF, "night": "n1"}
    always = date(1900, 1, 1)
    unit = {"name": "Tên", "province_code": "H15", "valid_from": always, "parent_code": "H15"}
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
            | {"transaction_count": 1, "online_transaction_count": 1, "component_count": 1, "supplement_count": 1},
            _DIMENSIONS
            | {"dossier_key": "portal:10101:8", "lake_month": "2026-02", "status_code": 1, "in_portal": True}
            | {"is_received": False, "is_resolved": False}
            | {"transaction_count": 0, "online_transaction_count": 0, "component_count": 0, "supplement_count": 0},
        ],
        "core_component": [_HELD | {"component_no": 1, "has_file": True, "reuse_code": 1}],
        "core_payment": [
            _HELD
            | _DIMENSIONS
            | {"payment_no": 1, "amount_vnd": 50_000, "method": "online", "is_settled": True, "is_online": True}
            | {"paid_on": date(2026, 1, 6)},
            _HELD | _DIMENSIONS | {"payment_no": 2, "amount_vnd": 0, "is_settled": False, "is_online": False},
        ],
        "core_step": [
            _HELD | {"step_no": 1, "acted_at": _RESOLVED, "status_code": 9, "started_at": _RECEIVED},
        ],
        "core_supplement": [_HELD | {"supplement_no": 1, "requested_at": _RECEIVED, "answered_at": _RESOLVED}],
        "core_unit": [
            unit | {"unit_code": "H15", "level": "province", "parent_code": None},
            unit | {"unit_code": "H15.SNV", "level": "province"},
            unit | {"unit_code": "H15.643", "level": "district", "valid_to": date(2025, 6, 30)},
            unit | {"unit_code": "H15.24133", "level": "commune", "valid_from": date(2025, 7, 1)},
        ],
        "core_procedure": [
            {"procedure_code": "1.000001", "valid_from": always, "valid_to": date(2025, 12, 31), "limit_value": 3.0}
            | {"name": "Thủ tục", "has_fee": True, "is_result_required": True, "offers_online": True}
        ],
        "out_indicator": _indicators(),
        "out_verdict": _verdicts(),
    }


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
