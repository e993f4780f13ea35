"""The evaluator through its public door: a real lake, hand-made dossiers, counts worked out by hand;
and the identities that must hold whatever the dossiers are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.indicators.definitions import FOLDER, Definition, load_definition, load_definitions
from assets.indicators.evaluate import counting_statement, evaluate, roll_up
from tests.rows import table_rows
from warehouse.lake import Lake
from warehouse.tables import CORE_DOSSIER, CORE_PAYMENT, CORE_UNIT, OUT_INDICATOR

UNITS = table_rows(
    CORE_UNIT,
    {"unit_code": "H15", "valid_from": date(1900, 1, 1), "level": "province", "province_code": "H15"},
    {"unit_code": "H15.SNV", "valid_from": date(1900, 1, 1), "level": "province", "parent_code": "H15"},
    {
        "unit_code": "H15.643",
        "valid_from": date(1900, 1, 1),
        "valid_to": date(2025, 6, 30),
        "level": "district",
        "parent_code": "H15",
    },
    {"unit_code": "H15.24133", "valid_from": date(2025, 7, 1), "level": "commune", "parent_code": "H15"},
)
#: The whole of November 2025 in Vietnam is over.
AS_OF = datetime(2025, 11, 30, 17, tzinfo=UTC)
Key = tuple[str, str, str, str, str]


def _dossier(key: str, unit: str, level: str, received_on: date, **facts: Any) -> dict[str, Any]:
    return {
        "dossier_key": key,
        "lake_month": f"{received_on:%Y-%m}",
        "unit_code": unit,
        "unit_level": level,
        "received_on": received_on,
        "is_received": True,
        "status_code": 4,
    } | facts


def _lake(folder: Path, dossiers: list[dict[str, Any]], payments: list[dict[str, Any]] | None = None) -> Lake:
    lake = Lake(str(folder))
    lake.replace(CORE_UNIT, UNITS)
    lake.replace(CORE_DOSSIER, table_rows(CORE_DOSSIER, *dossiers))
    lake.replace(CORE_PAYMENT, table_rows(CORE_PAYMENT, *(payments or [])))
    return lake


def _counts(rows: pa.Table, indicator: str, version: str) -> dict[Key, tuple[int, int]]:
    return {
        (row["scope"], row["level"], row["unit_code"], row["period"], str(row["period_start"])): (
            row["numerator"],
            row["denominator"],
        )
        for row in rows.to_pylist()
        if (row["indicator"], row["version"]) == (indicator, version)
    }


def _evaluated(lake: Lake, start_on: date = date(2025, 5, 1), as_of: datetime = AS_OF) -> pa.Table:
    return evaluate(lake, load_definitions(), province_code="H15", as_of=as_of, start_on=start_on)


def test_online_processing_by_both_rules_over_the_reorganisation(tmp_path: Path) -> None:
    """Six dossiers of 2025. National rule 3.3: online and, where a document is due, an electronic
    result; over all received. Vendor's: online over direct + online.
    """
    needs = {"is_result_required": True}
    lake = _lake(
        tmp_path,
        [
            # district, May: online with e-result (counts in both), online without (vendor only)
            _dossier(
                "a", "H15.643", "district", date(2025, 5, 31), channel="online", has_electronic_result=True, **needs
            ),
            _dossier("b", "H15.643", "district", date(2025, 5, 2), channel="online", **needs),
            # commune, July: online, no document due (both); by post (never online, not in vendor's denominator)
            _dossier("c", "H15.24133", "commune", date(2025, 7, 1), channel="online"),
            _dossier("d", "H15.24133", "commune", date(2025, 7, 31), channel="post"),
            # department, July: direct; and one not received at all (denied)
            _dossier("e", "H15.SNV", "province", date(2025, 7, 15), channel="direct"),
            _dossier("f", "H15.SNV", "province", date(2025, 7, 15), channel="online", is_received=False, status_code=3),
        ],
    )
    rows = _evaluated(lake)
    national = _counts(rows, "online-processing", "766-3.3")
    vendor = _counts(rows, "online-processing", "vendor-td")
    assert national["unit", "district", "H15.643", "month", "2025-05-01"] == (1, 2)
    assert vendor["unit", "district", "H15.643", "month", "2025-05-01"] == (2, 2)
    assert national["unit", "commune", "H15.24133", "month", "2025-07-01"] == (1, 2)
    assert vendor["unit", "commune", "H15.24133", "month", "2025-07-01"] == (1, 1)
    assert national["level", "province", "H15", "quarter", "2025-07-01"] == (0, 1)
    # 2025 mixes two structures: counts are summed, never rates averaged.
    assert national["province", "all", "H15", "year", "2025-01-01"] == (2, 5)
    assert vendor["province", "all", "H15", "year", "2025-01-01"] == (3, 4)


def test_no_denominator_is_a_state_and_not_zero_percent(tmp_path: Path) -> None:
    rows = _evaluated(_lake(tmp_path, [])).to_pylist()
    assert rows
    assert {(row["rate"], row["state"], row["denominator"]) for row in rows} == {(None, "no_denominator", 0)}


def test_the_district_level_ends_and_the_new_communes_begin_with_the_law(tmp_path: Path) -> None:
    months = defaultdict(set)
    for row in _evaluated(_lake(tmp_path, [])).to_pylist():
        if row["scope"] == "level" and row["period"] == "month":
            months[row["level"]].add(str(row["period_start"]))
    assert months["district"] == {"2025-05-01", "2025-06-01"}
    assert months["commune"] == {f"2025-{month:02}-01" for month in range(7, 12)}
    assert months["province"] == {f"2025-{month:02}-01" for month in range(5, 12)}


def test_months_are_vietnams_up_to_the_instant_of_counting(tmp_path: Path) -> None:
    """17:00 UTC on 30 November is 1 December in Vietnam: a night that knows everything before that
    instant speaks of November, one microsecond more and December has begun.
    """
    lake = _lake(tmp_path, [])
    last = max(row["period_start"] for row in _evaluated(lake, as_of=AS_OF).to_pylist())
    later = max(row["period_start"] for row in _evaluated(lake, as_of=AS_OF + timedelta(microseconds=1)).to_pylist())
    assert (str(last), str(later)) == ("2025-11-01", "2025-12-01")


def test_on_time_with_its_three_denominators(tmp_path: Path) -> None:
    """Worked by hand, all handled by one department; counted at the end of 30 November 2025.

    dossier  received  due     resolved   received-based   resolved-based   due-based
    a        3 Nov     10 Nov  10 Nov =   on time (Nov)    on time (Nov)    on time (Nov)
    b        3 Nov     10 Nov  11 Nov     late             late             late
    c        3 Nov     10 Nov  open       late (past due)  -                late
    d        28 Nov    5 Dec   open       on time (open)   -                not due yet
    e        28 Nov    none    29 Nov     on time          on time          -
    f        20 Oct    4 Nov   3 Nov      on time (Oct)    on time (Nov)    on time (Nov)
    """
    noon = {day: datetime(2025, 11, day, 5, tzinfo=UTC) for day in (3, 4, 10, 11, 29)}
    closed = {"is_resolved": True, "status_code": 10}
    november = date(2025, 11, 3)
    rows = [
        _dossier(
            "a", "H15.SNV", "province", november, due_at=noon[10], due_on=date(2025, 11, 10),
            resolved_at=noon[10], resolved_on=date(2025, 11, 10), **closed,
        ),
        _dossier(
            "b", "H15.SNV", "province", november, due_at=noon[10], due_on=date(2025, 11, 10),
            resolved_at=noon[11], resolved_on=date(2025, 11, 11), **closed,
        ),
        _dossier("c", "H15.SNV", "province", november, due_at=noon[10], due_on=date(2025, 11, 10)),
        _dossier(
            "d", "H15.SNV", "province", date(2025, 11, 28),
            due_at=datetime(2025, 12, 5, 5, tzinfo=UTC), due_on=date(2025, 12, 5),
        ),
        _dossier(
            "e", "H15.SNV", "province", date(2025, 11, 28),
            resolved_at=noon[29], resolved_on=date(2025, 11, 29), **closed,
        ),
        _dossier(
            "f", "H15.SNV", "province", date(2025, 10, 20), due_at=noon[4], due_on=date(2025, 11, 4),
            resolved_at=noon[3], resolved_on=date(2025, 11, 3), **closed,
        ),
    ]  # fmt: skip
    result = _evaluated(_lake(tmp_path, rows))
    unit = ("unit", "province", "H15.SNV", "month")
    received = _counts(result, "on-time", "received")
    assert received[(*unit, "2025-11-01")] == (3, 5)
    assert received[(*unit, "2025-10-01")] == (1, 1)
    assert _counts(result, "on-time", "resolved")[(*unit, "2025-11-01")] == (3, 4)
    assert _counts(result, "on-time", "due")[(*unit, "2025-11-01")] == (2, 4)


def test_transactions_are_counted_by_the_day_of_collection_not_by_dossier(tmp_path: Path) -> None:
    """One dossier with two collections (October online, November cash), one refund (not settled), one
    payment of a procedure without fee information (out of the population).
    """
    base = {"unit_code": "H15.SNV", "unit_level": "province", "lake_month": "2025-10", "has_fee": True}
    payments = [
        base
        | {"dossier_key": "a", "payment_no": 1, "is_settled": True, "is_online": True, "paid_on": date(2025, 10, 31)},
        base | {"dossier_key": "a", "payment_no": 2, "is_settled": True, "paid_on": date(2025, 11, 1)},
        base | {"dossier_key": "b", "payment_no": 1, "is_settled": False, "paid_on": None},
        base
        | {"dossier_key": "c", "payment_no": 1, "is_settled": True, "has_fee": False, "paid_on": date(2025, 11, 1)},
    ]
    counts = _counts(_evaluated(_lake(tmp_path, [], payments)), "payment-transactions", "3478-ii2a")
    assert counts["province", "all", "H15", "month", "2025-10-01"] == (1, 1)
    assert counts["province", "all", "H15", "month", "2025-11-01"] == (0, 1)
    assert counts["province", "all", "H15", "quarter", "2025-10-01"] == (1, 2)


def test_a_version_counts_only_the_days_for_which_it_is_the_rule(tmp_path: Path) -> None:
    text = next(FOLDER.glob("reuse.*.yaml")).read_text(encoding="utf-8")
    path = tmp_path / "reuse.yaml"
    path.write_text(text.replace("2022-06-23", "2025-07-02\nvalid_to: 2025-08-14"), encoding="utf-8")
    lake = _lake(
        tmp_path / "lake",
        [
            _dossier(str(day), "H15.SNV", "province", day)
            for day in (date(2025, 7, 1), date(2025, 7, 2), date(2025, 8, 14), date(2025, 8, 15))
        ],
    )
    rows = evaluate(lake, [load_definition(path)], province_code="H15", as_of=AS_OF, start_on=date(2025, 5, 1))
    counts = _counts(rows, "reuse", "766-4.3")
    province = {key[4]: value[1] for key, value in counts.items() if key[0] == "province" and key[3] == "month"}
    assert province == {"2025-07-01": 1, "2025-08-01": 1}


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="with its zone"):
        counting_statement(load_definitions(), as_of=datetime(2025, 11, 30))  # noqa: DTZ001 - the point of the test


_DAYS = st.dates(date(2025, 5, 1), date(2025, 11, 30))
_PLACES = st.sampled_from([("H15.SNV", "province"), ("H15.643", "district"), ("H15.24133", "commune")])
_COUNTED = st.tuples(_PLACES, _DAYS, st.integers(0, 50), st.integers(0, 50))


def _grain(counted: list[tuple[tuple[str, str], date, int, int]], width: int) -> pa.Table:
    rows: dict[tuple[str, str, date], dict[str, Any]] = {}
    for (unit, level), day, part, rest in counted:
        row = rows.setdefault((unit, level, day.replace(day=1)), defaultdict(int))
        row["n_0"] += part
        row["d_0"] += part + rest
    columns: Mapping[str, pa.DataType] = {"unit_code": pa.string(), "unit_level": pa.string(), "month": pa.date32()}
    counts = {f"{letter}_{i}": pa.int64() for i in range(width) for letter in "nd"}
    content = [
        {"unit_code": unit, "unit_level": level, "month": month} | {name: row.get(name, 0) for name in counts}
        for (unit, level, month), row in rows.items()
    ]
    return pa.Table.from_pylist(content, schema=pa.schema([*columns.items(), *counts.items()]))


def _first(definitions: tuple[Definition, ...]) -> list[Definition]:
    return [definitions[0]]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_COUNTED, max_size=30))
def test_sums_close_in_every_direction(counted: list[tuple[tuple[str, str], date, int, int]]) -> None:
    """Units make the level, levels make the province, months make quarter and year; nothing is lost."""
    rows = roll_up(
        _grain(counted, 1),
        _first(load_definitions()),
        units=UNITS,
        province_code="H15",
        as_of=AS_OF,
        start_on=date(2025, 5, 1),
    )
    assert rows.schema.equals(OUT_INDICATOR.arrow_schema())
    content = rows.to_pylist()
    keys = [tuple(row[name] for name in OUT_INDICATOR.key) for row in content]
    assert len(set(keys)) == len(keys)
    total = sum(part for _, _, part, _ in counted), sum(part + rest for _, _, part, rest in counted)
    for period in ("month", "quarter", "year"):
        for scope in ("unit", "level", "province"):
            chosen = [row for row in content if (row["period"], row["scope"]) == (period, scope)]
            assert (sum(r["numerator"] for r in chosen), sum(r["denominator"] for r in chosen)) == total
    for row in content:
        assert 0 <= row["numerator"] <= row["denominator"]
        assert (row["rate"] is None) == (row["denominator"] == 0) == (row["state"] == "no_denominator")
        assert row["rate"] is None or row["rate"] == row["numerator"] / row["denominator"]
