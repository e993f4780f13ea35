"""Rates that count procedures: hand-worked cases, and every row recomputed by loops in plain Python.

The loops know nothing of SQL: they walk subjects, periods, procedures and dossiers one by one, with the
rules of domain/indicators 2.1 (3.1, 3.2, 3.5a, 3.5b, 4.5a) and domain/targets 1.1, 1.2 written as functions.
"""

from __future__ import annotations

import calendar
import json
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from assets.indicators.definitions import DefinitionError
from assets.indicators.procedures import (
    FOLDER,
    ProcedureDefinition,
    SectorError,
    departments_without_sectors,
    load_procedure_definition,
    load_procedure_definitions,
    load_sectors,
    procedure_rows,
)
from tests.rows import table_rows
from warehouse.lake import Lake, connect
from warehouse.tables import CORE_DOSSIER, CORE_PROCEDURE, CORE_UNIT, OUT_INDICATOR

Row = dict[str, Any]

ALWAYS, LAST_OLD, FIRST_NEW = date(1900, 1, 1), date(2025, 6, 30), date(2025, 7, 1)
UNITS: list[Row] = [
    {"unit_code": "H15", "valid_from": ALWAYS, "valid_to": LAST_OLD, "level": "province", "parent_code": None},
    {"unit_code": "H15", "valid_from": FIRST_NEW, "valid_to": None, "level": "province", "parent_code": None},
    {"unit_code": "H15.STP", "valid_from": ALWAYS, "valid_to": None, "level": "province", "parent_code": "H15"},
    {"unit_code": "H15.SNNMT", "valid_from": ALWAYS, "valid_to": None, "level": "province", "parent_code": "H15"},
    {"unit_code": "H15.SYT", "valid_from": ALWAYS, "valid_to": None, "level": "province", "parent_code": "H15"},
    {"unit_code": "H15.643", "valid_from": ALWAYS, "valid_to": LAST_OLD, "level": "district", "parent_code": "H15"},
    {
        "unit_code": "H15.643.24118",
        "valid_from": ALWAYS,
        "valid_to": LAST_OLD,
        "level": "commune",
        "parent_code": "H15.643",
    },
    {"unit_code": "H15.24118", "valid_from": FIRST_NEW, "valid_to": None, "level": "commune", "parent_code": "H15"},
    {"unit_code": "H15.24133", "valid_from": FIRST_NEW, "valid_to": None, "level": "commune", "parent_code": "H15"},
]
SECTORS = pa.table({"sector": ["Hộ tịch", "Chứng thực", "Đất đai"], "unit_code": ["H15.STP", "H15.STP", "H15.SNNMT"]})
DEFINITIONS = load_procedure_definitions()


def world(procedures: Sequence[Row], dossiers: Sequence[Row]) -> duckdb.DuckDBPyConnection:
    """The tables that the counts read, in memory."""
    connection = connect()
    tables = {
        CORE_UNIT: [{"name": "Đơn vị", "province_code": "H15"} | row for row in UNITS],
        CORE_PROCEDURE: [PLAIN | row for row in procedures],
        CORE_DOSSIER: [{"dossier_key": f"D{n}", "is_received": True} | row for n, row in enumerate(dossiers)],
    }
    for table, rows in tables.items():
        connection.register("rows", table_rows(table, *rows))
        connection.execute(f'CREATE TABLE "{table.name}" AS SELECT * FROM rows')
        connection.unregister("rows")
    return connection


#: In force since records began, carried out by communes, free of charge, online of unknown level, for all comers.
PLAIN: Row = {
    "valid_from": ALWAYS,
    "name": "Thủ tục",
    "sector": "Hộ tịch",
    "levels": "Cấp xã",
    "offers_online": True,
    "has_whole_applicants": True,
    "state": "in_force",
    "source": "reference",
}


def rows_of(
    connection: duckdb.DuckDBPyConnection | Lake,
    *,
    start_on: date = date(2026, 1, 1),
    until: datetime = datetime(2026, 3, 31, 17, tzinfo=UTC),
    definitions: Sequence[ProcedureDefinition] = DEFINITIONS,
) -> list[Row]:
    """All rows, up to the first instant of 1 April 2026 in Vietnam unless said otherwise."""
    table = procedure_rows(
        connection, definitions, province_code="H15", as_of=until, start_on=start_on, sectors=SECTORS
    )
    assert table.schema.equals(OUT_INDICATOR.arrow_schema())
    return table.to_pylist()  # type: ignore[no-any-return]


def count(
    rows: Sequence[Row], indicator: str, unit: str, period: str, start: date, *, level: str = ""
) -> tuple[int, int]:
    """(numerator, denominator) of one unit, or of a level, or of the province (unit "H15" with a level or none)."""
    scope = "unit" if unit != "H15" else "level" if level else "province"
    (row,) = [
        row
        for row in rows
        if (row["indicator"], row["scope"], row["unit_code"], row["period"], row["period_start"])
        == (indicator, scope, unit, period, start)
        and (not level or row["level"] == level)
    ]
    return row["numerator"], row["denominator"]


JANUARY, FEBRUARY, MARCH, YEAR = date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1), date(2026, 1, 1)


def online(procedure: str, unit: str, day: date, level: str = "commune") -> Row:
    """A dossier received online."""
    return {
        "procedure_code": procedure,
        "unit_code": unit,
        "unit_level": level,
        "received_on": day,
        "channel": "online",
    }


def test_a_procedure_counts_once_and_counts_do_not_add_up() -> None:
    """Hai xã, hai thủ tục cấp xã có kênh trực tuyến.

    | xã    | tháng 1 | tháng 2 | quý 1 |
    |-------|---------|---------|-------|
    | 24118 | A, A    | A       | A     |
    | 24133 | A       | B       | A, B  |
    | tỉnh  | A       | A, B    | A, B  |
    """
    dossiers = [
        online("1.000001", "H15.24118", date(2026, 1, 5)),
        online("1.000001", "H15.24118", date(2026, 1, 6)),
        online("1.000001", "H15.24133", date(2026, 1, 7)),
        online("1.000001", "H15.24118", date(2026, 2, 3)),
        online("1.000002", "H15.24133", date(2026, 2, 28)),
    ]
    rows = rows_of(world([{"procedure_code": "1.000001"}, {"procedure_code": "1.000002"}], dossiers))
    services = "services-with-online-dossiers"
    assert count(rows, services, "H15.24118", "month", JANUARY) == (1, 2)
    assert count(rows, services, "H15.24118", "quarter", JANUARY) == (1, 2)  # 1 + 1 months, and still 1
    assert count(rows, services, "H15.24133", "quarter", JANUARY) == (2, 2)
    assert count(rows, services, "H15", "month", JANUARY) == (1, 2)  # 1 + 1 communes, and still 1
    assert count(rows, services, "H15", "month", FEBRUARY) == (2, 2)
    assert count(rows, services, "H15", "half", YEAR) == (2, 2)
    assert count(rows, services, "H15", "year", YEAR, level="commune") == (2, 2)
    assert count(rows, services, "H15", "month", MARCH) == (0, 2)


def test_only_what_is_online_and_received_in_the_period_is_an_online_dossier() -> None:
    """Không tính: nộp trực tiếp, chưa tiếp nhận, thủ tục không có dịch vụ trực tuyến."""
    procedures: list[Row] = [
        {"procedure_code": "1.000001"},
        {"procedure_code": "1.000002", "offers_online": False},
        {"procedure_code": "1.000003", "offers_online": False, "online_level": "partial"},
        {"procedure_code": "1.000004", "offers_online": True, "online_level": "none"},
    ]
    day = date(2026, 1, 5)
    dossiers = [
        online("1.000001", "H15.24118", day) | {"channel": "direct"},
        online("1.000001", "H15.24118", day) | {"is_received": False},
        online("1.000002", "H15.24118", day),
        online("1.000003", "H15.24118", day),
        online("1.000004", "H15.24118", day),
    ]
    rows = rows_of(world(procedures, dossiers))
    assert count(rows, "services-with-online-dossiers", "H15.24118", "month", JANUARY) == (1, 2)  # 3, of 1 and 3


def test_whose_a_procedure_is() -> None:
    """Sở theo lĩnh vực, xã theo cấp xã, tỉnh gồm mọi cấp của tỉnh, cấp bộ không của ai."""
    fee: Row = {"has_fee": True}
    procedures: list[Row] = [
        fee | {"procedure_code": "1.000001", "levels": "Cấp tỉnh, Cấp xã"},
        fee | {"procedure_code": "1.000002", "levels": "Cấp tỉnh", "sector": "Đất đai"},
        fee | {"procedure_code": "1.000003", "levels": "Cấp bộ, Cấp tỉnh", "sector": "Khám bệnh"},
        fee | {"procedure_code": "1.000004", "levels": "Cấp bộ"},
        fee | {"procedure_code": "1.000005", "levels": "Cấp xã", "sector": "Chứng thực"},
        fee | {"procedure_code": "1.000006", "levels": "Cấp tỉnh", "sector": "Chứng thực"},
        {"procedure_code": "1.000007", "levels": "Cấp tỉnh"},
    ]
    paid = {"is_paid_online": True}
    dossiers = [
        paid | online("1.000001", "H15.24118", date(2026, 1, 5)),
        paid | online("1.000006", "H15.24118", date(2026, 1, 5)),  # not a procedure of communes: not counted there
        paid | online("1.000002", "H15.SNNMT", date(2026, 1, 5), "province"),
        paid | online("1.000001", "H15.SYT", date(2026, 1, 5), "province"),  # of another department's sector
    ]
    rows = rows_of(world(procedures, dossiers))
    fees = "fee-procedures-paid-online"
    assert count(rows, fees, "H15.24118", "month", JANUARY) == (1, 2)  # 1; of 1 and 5
    assert count(rows, fees, "H15.24133", "month", JANUARY) == (0, 2)
    assert count(rows, fees, "H15.STP", "month", JANUARY) == (0, 2)  # of 1 and 6
    assert count(rows, fees, "H15.SNNMT", "month", JANUARY) == (1, 1)
    assert count(rows, fees, "H15", "month", JANUARY, level="province") == (2, 4)  # 1 and 2; of 1, 2, 3, 6
    assert count(rows, fees, "H15", "month", JANUARY, level="commune") == (1, 2)
    assert count(rows, fees, "H15", "month", JANUARY) == (3, 5)  # 1, 2 and 6; all but 4 and 7
    assert not [row for row in rows if row["unit_code"] == "H15.SYT"]
    units = table_rows(CORE_UNIT, *({"name": "x", "province_code": "H15"} | row for row in UNITS))
    assert departments_without_sectors(units, SECTORS) == ("H15.SYT",)


def test_a_procedure_counts_as_it_stood_on_the_last_day_of_the_period() -> None:
    """Có phí từ 15/02; bãi bỏ từ 01/03: tháng 1 không phí, tháng 2 có phí, tháng 3 và quý 1 không còn."""
    procedures: list[Row] = [
        {"procedure_code": "1.000001", "valid_to": date(2026, 2, 14)},
        {"procedure_code": "1.000001", "valid_from": date(2026, 2, 15), "valid_to": date(2026, 2, 28), "has_fee": True},
        {"procedure_code": "1.000001", "valid_from": MARCH, "has_fee": True, "state": "repealed"},
        {"procedure_code": "1.000002", "has_fee": True},
    ]
    dossiers = [online("1.000001", "H15.24118", date(2026, 1, 20)) | {"is_paid_online": True}]
    rows = rows_of(world(procedures, dossiers))
    fees = "fee-procedures-paid-online"
    assert count(rows, fees, "H15", "month", JANUARY) == (0, 1)
    assert count(rows, fees, "H15", "month", FEBRUARY) == (0, 2)
    assert count(rows, fees, "H15", "month", MARCH) == (0, 1)
    assert count(rows, fees, "H15", "quarter", JANUARY) == (0, 1)  # repealed on 31 March, paid or not


def test_a_period_that_still_runs_is_judged_on_the_last_day_known() -> None:
    later = [
        {"procedure_code": "1.000001", "valid_to": date(2026, 2, 20)},
        {"procedure_code": "1.000001", "valid_from": date(2026, 2, 21), "has_fee": True},
    ]
    fees = "fee-procedures-paid-online"
    known_until_20 = rows_of(world(later, []), until=datetime(2026, 2, 20, 17, tzinfo=UTC))  # 21 February, 00:00 here
    assert count(known_until_20, fees, "H15", "year", YEAR) == (0, 0)
    known_until_21 = rows_of(world(later, []), until=datetime(2026, 2, 20, 17, 0, 1, tzinfo=UTC))
    assert count(known_until_21, fees, "H15", "year", YEAR) == (0, 1)


def test_districts_have_procedures_while_there_are_districts() -> None:
    """Thủ tục cấp huyện thuộc tỉnh đến hết 30/6/2025; huyện có dòng của năm 2025, tỉnh cả năm thì không tính nữa."""
    procedures = [
        {"procedure_code": "1.000001", "levels": "Cấp huyện", "has_fee": True},
        {"procedure_code": "1.000002", "levels": "Cấp xã", "has_fee": True},
    ]
    dossiers = [online("1.000001", "H15.643", date(2025, 5, 5), "district") | {"is_paid_online": True}]
    rows = rows_of(world(procedures, dossiers), start_on=date(2025, 1, 1), until=datetime(2025, 12, 31, 17, tzinfo=UTC))
    fees, june, july = "fee-procedures-paid-online", date(2025, 6, 1), date(2025, 7, 1)
    assert count(rows, fees, "H15", "half", date(2025, 1, 1)) == (1, 2)
    assert count(rows, fees, "H15", "month", june) == (0, 2)
    assert count(rows, fees, "H15", "month", july) == (0, 1)
    assert count(rows, fees, "H15", "year", date(2025, 1, 1)) == (0, 1)
    assert count(rows, fees, "H15.643", "half", date(2025, 1, 1)) == (1, 1)
    assert not [row for row in rows if row["unit_code"] == "H15.643" and row["period_start"] >= july]
    assert not [row for row in rows if row["level"] == "district" and row["period_start"] >= july]


def test_fee_data_is_a_line_above_0_in_a_synchronised_dossier() -> None:
    """3.5a: phí khác 0 và hồ sơ đã đồng bộ; phí bằng 0, hoặc chỉ có ở cổng tỉnh, không tính."""
    procedures = [{"procedure_code": f"1.00000{n}", "has_fee": True} for n in (1, 2, 3, 4)]
    dossiers = [
        online("1.000001", "H15.24118", date(2026, 1, 5)) | {"in_messages": True, "has_fee_amount": True},
        online("1.000002", "H15.24118", date(2026, 1, 5)) | {"in_messages": True, "has_fee_amount": False},
        online("1.000003", "H15.24118", date(2026, 1, 5)) | {"in_portal": True, "has_fee_amount": True},
    ]
    rows = rows_of(world(procedures, dossiers))
    assert count(rows, "fee-procedures-synchronised", "H15.24118", "month", JANUARY) == (1, 4)


def levels(*known: str | None) -> list[Row]:
    return [{"procedure_code": f"1.{number:06d}", "online_level": level} for number, level in enumerate(known)]


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ([None] * 20, (0, 0, None, "no_denominator")),  # what nobody says is not 0 %
        (["full"] * 8 + ["partial"] * 4 + ["none"] * 8, (12, 20, 12 / 20, "ok")),
        (["full"] * 12 + ["none"] * 7 + [None], (12, 19, 12 / 19, "ok")),  # 19 of 20 known: 95 %
        (["full"] * 12 + ["none"] * 6 + [None, None], (0, 0, None, "no_denominator")),  # 18 of 20: too few
    ],
)
def test_too_much_unknown_is_no_denominator(known: list[str | None], expected: tuple[Any, ...]) -> None:
    rows = rows_of(world(levels(*known), []))
    (row,) = [
        row
        for row in rows
        if (row["indicator"], row["scope"], row["period"]) == ("procedures-online", "province", "year")
    ]
    assert (row["numerator"], row["denominator"], row["rate"], row["state"]) == expected


def test_eligible_procedures_are_those_found_eligible() -> None:
    """B2: đủ điều kiện, có mức độ một phần hoặc toàn trình, và đã tích hợp."""
    facts: list[tuple[bool, str | None, bool | None]] = [
        (True, "full", True),
        (True, "partial", False),
        (True, "none", None),  # not online: integration need not be known
        (False, "full", True),
    ]
    names = ("is_online_eligible", "online_level", "is_integrated")
    procedures: list[Row] = [
        {"procedure_code": f"1.{number:06d}", **dict(zip(names, fact, strict=True))}
        for number, fact in enumerate(facts)
    ]
    assert count(rows_of(world(procedures, [])), "eligible-online-integrated", "H15", "year", YEAR) == (1, 3)


# ---- every row again, by loops

Truth = bool | None


def _both(*parts: Truth) -> Truth:
    """AND of what may be unknown."""
    if any(part is False for part in parts):
        return False
    return None if any(part is None for part in parts) else True


def _is_online(p: Row) -> Truth:
    return bool(p["offers_online"]) if p["online_level"] is None else p["online_level"] in {"full", "partial"}


def _level_in(p: Row, *wanted: str) -> Truth:
    return None if p["online_level"] is None else p["online_level"] in wanted


def _citizens(p: Row) -> Truth:
    return True if p["is_citizen_subject"] else False if p["has_whole_applicants"] else None


def _any(_: Row) -> Truth:
    return True


#: indicator → population, numerator over the procedure or None, dossier or None, percent that must be known, since.
Rule = tuple[Callable[[Row], Truth], Callable[[Row], Truth] | None, Callable[[Row], bool] | None, int, date]
D766, D3478, D490 = date(2022, 6, 23), date(2021, 12, 10), date(2021, 3, 5)
RULES: dict[str, Rule] = {
    "procedures-online": (_any, lambda p: _level_in(p, "full", "partial"), None, 95, D766),
    "procedures-full-online": (_any, lambda p: _level_in(p, "full"), None, 95, D490),
    "procedures-online-payment": (lambda p: p["has_fee"], lambda p: p["offers_online_payment"], None, 95, D3478),
    "services-integrated": (_is_online, lambda p: p["is_integrated"], None, 95, D3478),
    "procedures-integrated": (_any, lambda p: p["is_integrated"], None, 95, D490),
    "eligible-online-integrated": (
        lambda p: p["is_online_eligible"],
        lambda p: _both(_level_in(p, "full", "partial"), p["is_integrated"]),
        None,
        95,
        D3478,
    ),
    "services-with-online-dossiers": (_is_online, None, lambda d: d["channel"] == "online", 100, D766),
    "fee-procedures-synchronised": (
        lambda p: p["has_fee"],
        None,
        lambda d: d["in_messages"] and d["fee_amount"] > 0,
        100,
        D766,
    ),
    "fee-procedures-paid-online": (lambda p: p["has_fee"], None, lambda d: d["is_paid_online"], 100, D766),
    "citizen-procedures-connected": (
        _citizens,
        None,
        lambda d: d["is_vneid_verified"] or d["is_population_data_used"],
        75,
        D766,
    ),
}


def _periods(start_on: date, last: date) -> Iterator[tuple[str, date, date]]:
    """(kind, first day, last day) of every period that has a month from `start_on` to `last`."""
    seen = set()
    year, month = start_on.year, start_on.month
    while (year, month) <= (last.year, last.month):
        for kind, size in (("month", 1), ("quarter", 3), ("half", 6), ("year", 12)):
            first = (month - 1) // size * size + 1
            end = first + size - 1
            seen.add((kind, date(year, first, 1), date(year, end, calendar.monthrange(year, end)[1])))
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
    yield from sorted(seen)


def _subjects(first: date, end: date, start_on: date, last: date) -> Iterator[tuple[str, str, str]]:
    """(scope, level, unit) of a period; only the months that are covered count for being there."""
    first, end = max(first, start_on), min(end, last)
    there = {
        (unit["level"], unit["unit_code"])
        for unit in UNITS
        if unit["parent_code"] and unit["valid_from"] <= end and (unit["valid_to"] or date.max) >= first
    }
    yield "province", "all", "H15"
    for level in {level for level, _ in there}:
        yield "level", level, "H15"
    for level, unit in there:
        if unit != "H15.SYT":
            yield "unit", level, unit


def _is_theirs(p: Row, scope: str, level: str, unit: str, day: date) -> bool:
    said = p["levels"]
    if scope == "province":
        return "Cấp tỉnh" in said or "Cấp xã" in said or ("Cấp huyện" in said and day <= LAST_OLD)
    words = {"province": "Cấp tỉnh", "district": "Cấp huyện", "commune": "Cấp xã"}
    sectors = {"H15.STP": ("Hộ tịch", "Chứng thực"), "H15.SNNMT": ("Đất đai",)}
    return words[level] in said and (unit not in sectors or p["sector"] in sectors[unit])


def by_loops(procedures: list[Row], dossiers: list[Row], start_on: date, last: date) -> dict[tuple[Any, ...], Any]:
    """(indicator, scope, level, unit, period, start) → (numerator, denominator), by the words of the rules."""
    rows: dict[tuple[Any, ...], Any] = {}
    for kind, first, end in _periods(start_on, last):
        day = min(end, last)
        in_force = [
            p for p in procedures if p["valid_from"] <= day <= (p["valid_to"] or date.max) and p["state"] == "in_force"
        ]
        for scope, level, unit in _subjects(first, end, start_on, last):
            theirs = [p for p in in_force if _is_theirs(p, scope, level, unit, day)]
            handled = [
                d
                for d in dossiers
                if d["is_received"]
                and first <= d["received_on"] <= end
                and (scope == "province" or d["unit_level"] == level)
                and (scope != "unit" or d["unit_code"] == unit)
            ]
            for indicator, rule in RULES.items():
                if rule[4] <= end:
                    rows[indicator, scope, level, unit, kind, first] = _counted(rule, theirs, handled)
    return rows


def _counted(rule: Rule, theirs: list[Row], handled: list[Row]) -> tuple[int, int]:
    population, numerator, wanted, percent, _ = rule
    may_belong = [p for p in theirs if population(p) is not False]
    belong = [p for p in may_belong if population(p)]
    if wanted is not None:
        hit = {d["procedure_code"] for d in handled if wanted(d)}
        counted = [p["procedure_code"] in hit for p in belong]
    else:
        assert numerator is not None
        counted = [value for p in belong if (value := numerator(p)) is not None]
    if len(counted) * 100 < percent * len(may_belong):
        return 0, 0
    return sum(counted), len(counted)


def _maybe(chance: random.Random, *values: Any, unknown: float = 0.02) -> Any:
    return None if chance.random() < unknown else chance.choice(values)


LEVELS = ("Cấp tỉnh", "Cấp xã", "Cấp tỉnh, Cấp xã", "Cấp huyện", "Cấp bộ, Cấp tỉnh", "Cấp bộ")


def random_procedures(chance: random.Random) -> list[Row]:
    """Forty procedures, some of which change in 2025 and 2026."""
    made = []
    for number in range(40):
        days = [ALWAYS, *sorted(chance.sample([date(2025, 5, 20), FIRST_NEW, date(2026, 1, 1), date(2026, 2, 11)], 2))]
        unknown = chance.choice([0.0, 0.0, 1.0])
        for begin, following in zip(days, [*days[1:], None], strict=True):
            made.append({
                "procedure_code": f"1.{number:06d}",
                "valid_from": begin,
                "valid_to": None if following is None else date.fromordinal(following.toordinal() - 1),
                "name": "Thủ tục",
                "sector": chance.choice(["Hộ tịch", "Chứng thực", "Đất đai", "Khám bệnh"]),
                "levels": chance.choice(LEVELS),
                "has_fee": chance.random() < 0.5,
                "offers_online": chance.random() < 0.8,
                "is_citizen_subject": chance.random() < 0.6,
                "has_whole_applicants": chance.random() < 0.8,
                "online_level": _maybe(chance, "full", "partial", "none", unknown=unknown),
                "is_online_eligible": _maybe(chance, True, False, unknown=unknown / 10),
                "offers_online_payment": _maybe(chance, True, False),
                "is_integrated": _maybe(chance, True, False),
                "state": "repealed" if begin > FIRST_NEW and chance.random() < 0.2 else "in_force",
                "source": "reference",
            })  # fmt: skip
    return made


def random_dossiers(chance: random.Random, size: int) -> list[Row]:
    units = [(unit["unit_code"], unit["level"]) for unit in UNITS if unit["parent_code"]]
    made = []
    for number in range(size):
        unit, level = chance.choice(units)
        made.append({
            "dossier_key": f"D{number}",
            "procedure_code": f"1.{min(chance.randrange(40), chance.randrange(40)):06d}",
            "unit_code": unit,
            "unit_level": level,
            "received_on": date.fromordinal(date(2025, 3, 1).toordinal() + chance.randrange(379)),
            "is_received": chance.random() < 0.9,
            "channel": chance.choice(["online", "direct", "post"]),
            "is_paid_online": chance.random() < 0.3,
            "in_messages": chance.random() < 0.6,
            "is_vneid_verified": chance.random() < 0.2,
            "is_population_data_used": chance.random() < 0.1,
            "fee_amount": chance.choice([0, 0, 5000, 80000]),
        })  # fmt: skip
    return made


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_row_agrees_with_loops_in_plain_python(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    procedures, dossiers = random_procedures(chance), random_dossiers(chance, 1500)
    start_on, last = date(2025, 3, 1), date(2026, 3, 14)
    seen = [
        {name: value for name, value in d.items() if name != "fee_amount"}
        | {"lake_month": "2026-01", "has_fee_amount": d["fee_amount"] > 0}
        for d in dossiers
    ]
    lake = Lake(str(tmp_path))
    for table, rows in (
        (CORE_UNIT, [{"name": "Đơn vị", "province_code": "H15"} | row for row in UNITS]),
        (CORE_PROCEDURE, procedures),
        (CORE_DOSSIER, seen),
    ):
        lake.replace(table, table_rows(table, *rows))
    found = rows_of(lake, start_on=start_on, until=datetime(2026, 3, 14, 17, tzinfo=UTC))
    expected = by_loops(procedures, dossiers, start_on, last)
    assert {
        (r["indicator"], r["scope"], r["level"], r["unit_code"], r["period"], r["period_start"]): (
            r["numerator"],
            r["denominator"],
        )
        for r in found
    } == expected
    assert sum(numerator > 0 for numerator, _ in expected.values()) > 500, (
        "a world in which nothing counts proves nothing"
    )
    for row in found:
        assert 0 <= row["numerator"] <= row["denominator"]
        assert row["state"] == ("ok" if row["denominator"] else "no_denominator")
        assert row["rate"] == (row["numerator"] / row["denominator"] if row["denominator"] else None)
        assert (row["boundaries"], row["adds_up"]) == ("then", "no")
    assert len({tuple(row[name] for name in OUT_INDICATOR.key) for row in found}) == len(found)


# ---- definitions as data


def test_every_definition_of_the_catalogue_has_a_rule_here() -> None:
    assert {definition.id for definition in DEFINITIONS} == set(RULES)
    assert {d.version for d in DEFINITIONS if d.dossier is None} == {"catalogue"}


GOOD = (FOLDER / "procedures-online.catalogue.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("wrong", "right", "complaint"),
    [
        ("state = 'in_force'", "state = 'alive'", "line 8: population: state = 'alive': 'alive' is not one of"),
        ("online_level IN", "online_kind IN", "line 9: numerator: unknown column 'online_kind'"),
        ("state = 'in_force'", "limit_value", "must be true or false"),
        ("valid_from: 2022-06-23", "valid_from: 2022-06-23\nvalid_to: 2022-01-01", "valid_to: ends before it begins"),
        ("least_known_pct: 95", "least_known_pct: 0", "least_known_pct: Input should be greater"),
        ("least_known_pct: 95", "dossier: is_received\nevent: received_on", "either numerator"),
        ("numerator: online_level IN ('full', 'partial')", "dossier: is_received", "event is the day of the dossier"),
        (
            "numerator: online_level IN ('full', 'partial')",
            "dossier: is_received\nevent: channel",
            "event: 'channel' is not a day of core_dossier",
        ),
        ("state = 'in_force'", "state = 'in_force' AND $as_of IS NOT NULL", r"population: may not refer to \$as_of"),
        (
            "numerator: online_level IN ('full', 'partial')",
            "dossier: deadline_at < $period_end\nevent: received_on",
            r"dossier: may not refer to \$period_end",
        ),
        ("id: procedures-online", "id: procedures-online\nunit: x", "unit: Extra inputs are not permitted"),
    ],
)
def test_what_cannot_be_computed_is_refused_with_file_and_line(
    tmp_path: Path, wrong: str, right: str, complaint: str
) -> None:
    assert wrong in GOOD
    path = tmp_path / "x.yaml"
    path.write_text(GOOD.replace(wrong, right), encoding="utf-8")
    with pytest.raises(DefinitionError, match=complaint) as refused:
        load_procedure_definition(path)
    assert "x.yaml, line " in str(refused.value)


def test_a_definition_given_twice_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="no definition files"):
        load_procedure_definitions(tmp_path)
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(GOOD, encoding="utf-8")
    with pytest.raises(DefinitionError, match="procedures-online catalogue is defined twice"):
        load_procedure_definitions(tmp_path)


def test_a_version_speaks_of_its_own_days_only(tmp_path: Path) -> None:
    """Có hiệu lực 10/01 đến hết 10/02/2026: hồ sơ ngày 09/01 và 11/02 không tính, tháng 3 không có dòng."""
    text = (FOLDER / "services-with-online-dossiers.766-3.2.yaml").read_text(encoding="utf-8")
    path = tmp_path / "x.yaml"
    path.write_text(text.replace("2022-06-23", "2026-01-10\nvalid_to: 2026-02-10"), encoding="utf-8")
    days = {"1.000001": date(2026, 1, 9), "1.000002": date(2026, 1, 10)}
    days |= {"1.000003": date(2026, 2, 10), "1.000004": date(2026, 2, 11)}
    connection = world(
        [{"procedure_code": code} for code in days], [online(code, "H15.24118", day) for code, day in days.items()]
    )
    rows = rows_of(connection, definitions=[load_procedure_definition(path)])
    services = "services-with-online-dossiers"
    assert count(rows, services, "H15.24118", "month", JANUARY) == (1, 4)
    assert count(rows, services, "H15.24118", "month", FEBRUARY) == (1, 4)
    assert not [row for row in rows if row["period"] == "month" and row["period_start"] == MARCH]


def test_a_fingerprint_changes_with_what_decides() -> None:
    assert len({definition.fingerprint for definition in DEFINITIONS}) == len(DEFINITIONS)


# ---- sectors


def test_the_sandboxs_sectors_are_those_that_its_territory_says() -> None:
    from sandbox.catalogue import sectors_csv  # noqa: PLC0415  the sandbox is slow to load

    path = Path(__file__).parents[2] / "provinces" / "dak-lak" / "sectors.csv"
    assert path.read_text(encoding="utf-8") == sectors_csv()
    units = {row["sector"]: row["unit_code"] for row in load_sectors(path).to_pylist()}
    assert units["Hộ tịch"] == "H15.STP"
    assert "Hải quan" not in units  # the customs are no department of the province


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("sector\nHộ tịch\n", "thiếu cột unit_code"),
        ("sector,unit_code\nHộ tịch,H15.STP\nHộ  tịch,H15.SNV\n", "line 3: lĩnh vực 'Hộ tịch' ghi hai lần"),
        ("sector,unit_code\n ,H15.STP\n", "line 2: lĩnh vực '' để trống"),
    ],
)
def test_a_table_of_sectors_that_cannot_be_used_says_where(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "sectors.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SectorError, match=complaint):
        load_sectors(path)


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="with its zone"):
        rows_of(world([], []), until=datetime(2026, 3, 31))  # noqa: DTZ001


# ---- from the sandbox's catalogue to the rate


def test_what_the_sandboxs_catalogue_said_in_june_and_july_are_the_rates_of_june_and_july(tmp_path: Path) -> None:
    """Danh mục nạp ngày 30/6 và 01/7/2026: tháng 5 chưa biết mức độ, tháng 6 và 7 theo điều đúng của từng ngày."""
    from connectors.catalogue import gathered, read_procedure  # noqa: PLC0415  only this test needs them
    from connectors.catalogue_files import CatalogueFileSettings, read_file  # noqa: PLC0415
    from sandbox import catalogue as province  # noqa: PLC0415
    from warehouse.reference import merge_catalogue, procedure_table  # noqa: PLC0415

    table = procedure_table()
    for on in (date(2026, 6, 30), province.CHANGED_ON):
        said = [(p.code, json.dumps(province.record(p, p.code)).encode()) for p in province.truth(on)]
        service = gathered(said, lambda record: read_procedure(record, {"1": "in_force", "0": "repealed"}), ())
        path = tmp_path / "danh-muc.csv"
        path.write_text(province.catalogue_csv(on), encoding="utf-8")
        file = read_file(CatalogueFileSettings(kind="catalogue-file", path=path))
        for each in (service, file):
            assert each.broken == ()
            table = merge_catalogue(table, each.procedures, on=on)
    connection = world([], [])
    connection.register("merged", table)
    connection.execute("DROP TABLE core_procedure; CREATE TABLE core_procedure AS SELECT * FROM merged")
    rows = rows_of(connection, start_on=date(2026, 5, 1), until=datetime(2026, 7, 31, 17, tzinfo=UTC))
    assert count(rows, "procedures-online", "H15", "month", date(2026, 5, 1)) == (0, 0)
    for month in (date(2026, 6, 1), date(2026, 7, 1)):
        in_force = [p for p in province.truth(date(2026, month.month, 30)) if p.is_in_force]
        fees = [p for p in in_force if p.has_fee]
        eligible = [p for p in in_force if p.is_online_eligible]
        services = [p for p in in_force if p.online_level != "none"]
        assert count(rows, "procedures-online", "H15", "month", month) == (len(services), len(in_force))
        full = sum(p.online_level == "full" for p in in_force)
        assert count(rows, "procedures-full-online", "H15", "month", month) == (full, len(in_force))
        paying = sum(p.offers_online_payment for p in fees)
        assert count(rows, "procedures-online-payment", "H15", "month", month) == (paying, len(fees))
        integrated = sum(p.is_integrated for p in services)
        assert count(rows, "services-integrated", "H15", "month", month) == (integrated, len(services))
        both = sum(p.online_level != "none" and p.is_integrated for p in eligible)
        assert count(rows, "eligible-online-integrated", "H15", "month", month) == (both, len(eligible))
        registry = [p for p in in_force if p.sector in {"Hộ tịch", "Chứng thực"} and "Cấp tỉnh" in p.levels]
        online_there = sum(p.online_level != "none" for p in registry)
        assert count(rows, "procedures-online", "H15.STP", "month", month) == (online_there, len(registry))
        assert len(registry) > 0
