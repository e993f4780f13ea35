"""When a dossier ended and whether it was on time, case by case as a clerk would check it (`time_cases.csv`).

Each line of the file is one message; it is stored, conformed and judged by the two rules, through the public
doors. The expected values were worked out from the rule (domain: indicators 2.2) and a wall calendar.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from assets.dossiers.conform import conform
from assets.indicators.definitions import bind, find, load_definitions
from assets.indicators.evaluate import evaluate, parameter_values
from tests.dossiers.records import CODES, World, message
from warehouse.calendar import Calendar, OfficeHours
from warehouse.tables import CORE_CALENDAR, CORE_DOSSIER

VIETNAM = ZoneInfo("Asia/Ho_Chi_Minh")
AS_OF = datetime(2026, 11, 1, tzinfo=VIETNAM)
_LINES = (Path(__file__).parent / "time_cases.csv").read_text(encoding="utf-8").splitlines(keepends=True)
CASES = list(csv.DictReader(line for line in _LINES if not line.startswith("#")))


#: Every national status, as messages carry it.
_KNOWN = {line.split(",")[2] for line in CODES.splitlines() if line.startswith("messages,status,")}
_CODES = CODES + "".join(f"messages,status,{code},{code}\n" for code in range(1, 11) if str(code) not in _KNOWN)


def _world(folder: Path) -> World:
    return World(folder, codes=_CODES)


def _wire(text: str) -> str:
    return text.translate(str.maketrans("", "", "- :"))


def _supplement(text: str) -> dict[str, str | None]:
    times, _, before = text.partition("@")
    asked, _, answered = times.partition(">")
    return {
        "NgayBoSung": _wire(asked),
        "NgayTiepNhanBoSung": _wire(answered) or None,
        "TrangThaiBoSung": None,
        "NgayHenTraTruoc": _wire(before) or None,
        "NgayHenTraMoi": None,
    }


def _code(case: Mapping[str, str]) -> str:
    return f"H15.07-261001-{int(case['so']):04d}"


def _message(case: Mapping[str, str]) -> dict[str, Any]:
    return message(
        _code(case),
        MaTTHC=case["thu_tuc"],
        TrangThaiHoSo=case["trang_thai"],
        NgayNopHoSo="20261001073000",
        NgayTiepNhan=_wire(case["tiep_nhan"]) or None,
        NgayHenTra=_wire(case["hen_tra"]) or None,
        NgayKetThucXuLy=_wire(case["ket_thuc"]) or None,
        NgayTra=_wire(case["tra"]) or None,
        NgayTuChoi=_wire(case["tu_choi"]) or None,
        DanhSachHoSoBoSung=[_supplement(text) for text in case["bo_sung"].split("|") if text],
    )


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Every case's dossier after one night, with what each rule says of it: None where it does not count."""
    world = _world(tmp_path_factory.mktemp("time"))
    world.night(messages=[_message(case) for case in CASES])
    columns = []
    for version in ("766-2.1", "provincial"):
        definition = find(load_definitions(), "on-time", version)
        values = parameter_values(AS_OF, definition.event, None)
        population, numerator = (
            bind(one, values).sql("duckdb") for one in (definition.population, definition.numerator)
        )
        columns.append(f'CASE WHEN {population} AND {definition.event} IS NOT NULL THEN {numerator} END AS "{version}"')
    connection = world.lake.connect(CORE_DOSSIER)
    rows = connection.sql(f"SELECT *, {', '.join(columns)} FROM core_dossier").to_arrow_table().to_pylist()
    return {row["dossier_code"]: row for row in rows}


def _instant(text: str) -> datetime | None:
    return datetime.fromisoformat(text).replace(tzinfo=VIETNAM) if text else None


@pytest.mark.parametrize("case", CASES, ids=[f"{case['so']} {case['tinh_huong']}" for case in CASES])
def test_a_clerk_would_judge_it_so(case: dict[str, str], judged: dict[str, dict[str, Any]]) -> None:
    row = judged[_code(case)]
    words = {True: "có", False: "không", None: "-"}
    found = {
        "bang": row["end_kind"] or "",
        "luc": row["ended_at"],
        "han": row["deadline_at"],
        "can_cu": row["deadline_basis"],
        "quoc_gia": words[row["766-2.1"]],
        "tinh": words[row["provincial"]],
    }
    expected = {**{name: case[name] for name in found}, "luc": _instant(case["luc"]), "han": _instant(case["han"])}
    assert found == expected


def test_calendar_days_and_months_end_at_midnight_of_the_last_day(tmp_path: Path) -> None:
    """15 ngày từ 01/10 là hết ngày 16/10; 3 tháng từ 31/7 là hết 31/10, thứ Bảy, nên lùi đến hết thứ Hai 02/11."""
    world = _world(tmp_path)
    world.night(
        messages=[
            message("H15.07-261001-0001", MaTTHC="1.000034", NgayTiepNhan="20261001080000"),
            message("H15.07-260731-0001", MaTTHC="1.004030", NgayTiepNhan="20260731080000"),
        ]
    )
    ends = {code: row["deadline_at"].astimezone(VIETNAM) for code, row in world.dossiers().items()}
    assert {code: f"{end:%Y-%m-%d %H:%M:%S}" for code, end in ends.items()} == {
        "H15.07-261001-0001": "2026-10-16 23:59:59",
        "H15.07-260731-0001": "2026-11-02 23:59:59",
    }


def test_reception_is_due_after_eight_working_hours(tmp_path: Path) -> None:
    """Nộp 16:30 thứ Sáu 02/10: nửa giờ hôm đó, bốn giờ sáng và ba giờ rưỡi chiều thứ Hai: 16:30 thứ Hai 05/10."""
    world = _world(tmp_path)
    world.night(messages=[message("H15.07-261002-0001", NgayNopHoSo="20261002163000", NgayTiepNhan="20261005163000")])
    (row,) = world.dossiers().values()
    assert row["reception_due_at"] == datetime(2026, 10, 5, 9, 30, tzinfo=UTC)


def test_a_quarter_is_judged_on_its_own_last_day(tmp_path: Path) -> None:
    """Tiếp nhận 20/7, hẹn 15/8, đến nay chưa xong: cuối tháng 7 chưa đến hẹn, cuối quý 3 đã trễ."""
    world = _world(tmp_path)
    world.night(messages=[message("H15.07-260720-0001", NgayTiepNhan="20260720080000", NgayHenTra="20260815170000")])
    rows = evaluate(world.lake, load_definitions(), province_code="H15", as_of=AS_OF, start_on=date(2026, 1, 1))
    found = {
        (row["period"], row["period_start"]): (row["numerator"], row["denominator"], row["adds_up"])
        for row in rows.to_pylist()
        if (row["indicator"], row["version"], row["scope"]) == ("on-time", "766-2.1", "province") and row["denominator"]
    }
    assert found == {
        ("month", date(2026, 7, 1)): (1, 1, "units"),
        ("quarter", date(2026, 7, 1)): (0, 1, "units"),
        ("half", date(2026, 7, 1)): (0, 1, "units"),
        ("year", date(2026, 1, 1)): (0, 1, "units"),
    }


AGENCIES = """source,agency,unit_code
messages,Sở Nội vụ,H15.SNV
messages,UBND xã cũ,H15.{full}
messages,UBND xã chia tách,H15.648.24292
messages,UBND huyện cũ,H15.643
messages,UBND xã mới,H15.{new}
onestop,H15.A,H15.{full}
onestop,H15.07,H15.SNV
"""
#: Xã cũ 24118 thuộc huyện 643, và xã mới nhận trọn nó từ 01/7/2025 (communes_crosswalk_2025-07-01.csv).
FULL = "643.24118"


def _successor(world: World) -> str:
    rows = world.lake.connect().sql(
        "SELECT new_code FROM read_csv('warehouse/reference/communes_crosswalk_2025-07-01.csv', all_varchar = true) "
        "WHERE old_code = '24118' AND old_province_code = '66'"
    )
    ((code,),) = rows.fetchall()
    return str(code)


def test_open_dossiers_go_to_the_successor_and_nobody_is_guessed(tmp_path: Path) -> None:
    world = _world(tmp_path)
    new = _successor(world)
    world.agencies = AGENCIES.format(full=FULL, new=new)
    june, july = "20250620080000", "20250710080000"
    done = {"TrangThaiHoSo": "10", "NgayKetThucXuLy": july}
    world.night(
        messages=[
            message("H15.A-250620-0001", DonViXuLy="UBND xã cũ", NgayTiepNhan=june, **done),
            message("H15.A-250620-0002", DonViXuLy="UBND xã cũ", NgayTiepNhan=june,
                    TrangThaiHoSo="10", NgayKetThucXuLy="20250630163000"),
            message("H15.A-250620-0003", DonViXuLy="UBND xã mới", NgayTiepNhan=june, **done),
            message("H15.B-250620-0004", DonViXuLy="UBND xã chia tách", NgayTiepNhan=june, **done),
            message("H15.B-250620-0005", DonViXuLy="UBND huyện cũ", NgayTiepNhan=june, TrangThaiHoSo="4"),
            message("H15.A-250620-0006", DonViXuLy="UBND xã cũ", NgayTiepNhan=june, TrangThaiHoSo="5",
                    DanhSachHoSoBoSung=[_supplement("2025-06-25 08:00:00 > @")]),
        ]
    )  # fmt: skip
    old = f"H15.{FULL}"
    found = {
        code[-1]: (row["unit_code"], row["previous_unit_code"], row["reception_unit_code"])
        for code, row in world.dossiers().items()
    }
    assert found == {
        "1": (f"H15.{new}", old, old),  # open on 30/6: carried over by the house
        "2": (old, None, old),  # ended before: stays where it was handled
        "3": (f"H15.{new}", old, old),  # carried over by the source itself
        "4": ("H15.648.24292", None, None),  # a split commune: nobody knows
        "5": ("H15.643", None, None),  # a district has no successor
        "6": (f"H15.{new}", old, old),  # waiting for the citizen is open
    }


def test_the_same_dossiers_on_the_boundaries_of_then_and_of_now(tmp_path: Path) -> None:
    """Hai hồ sơ xã cũ tiếp nhận tháng 5 và 6, một hồ sơ xã mới tháng 7, một của xã chia tách tháng 6.

    Theo địa giới lúc đó: xã cũ 2 (nửa đầu năm), xã mới 1. Theo địa giới hôm nay: xã mới cả năm 3, và xã chia
    tách không được đoán. Cả năm 2025 của tỉnh là tổng hai nửa năm: 4.
    """
    world = _world(tmp_path)
    new = _successor(world)
    world.agencies = AGENCIES.format(full=FULL, new=new)
    done = {"TrangThaiHoSo": "10", "KenhThucHien": "1"}
    received = [("UBND xã cũ", "20250520"), ("UBND xã cũ", "20250615"), ("UBND xã mới", "20250703")]
    received.append(("UBND xã chia tách", "20250616"))
    world.night(
        messages=[
            message(f"H15.C-250101-000{number}", DonViXuLy=unit, NgayTiepNhan=f"{day}080000",
                    NgayKetThucXuLy=f"{day}160000", **done)
            for number, (unit, day) in enumerate(received)
        ]
    )  # fmt: skip
    rows = evaluate(world.lake, load_definitions(), province_code="H15", as_of=AS_OF, start_on=date(2025, 1, 1))
    counted = {
        (row["boundaries"], row["unit_code"], row["period"], row["period_start"]): row["denominator"]
        for row in rows.to_pylist()
        if (row["indicator"], row["version"]) == ("reuse", "766-4.3") and row["scope"] != "level" and row["denominator"]
    }
    year, first, second = date(2025, 1, 1), date(2025, 1, 1), date(2025, 7, 1)
    old, today = f"H15.{FULL}", f"H15.{new}"
    assert counted["then", old, "year", year] == 2
    assert counted["then", today, "year", year] == 1
    assert counted["now", today, "year", year] == 3
    assert (counted["now", today, "half", first], counted["now", today, "half", second]) == (2, 1)
    assert not any(unit in (old, "H15.648.24292") for boundaries, unit, *_ in counted if boundaries == "now")
    assert counted["then", "H15", "half", first] + counted["then", "H15", "half", second] == 4
    assert counted["then", "H15", "year", year] == 4


def test_other_office_hours_move_every_deadline_without_new_records(tmp_path: Path) -> None:
    world = _world(tmp_path)
    world.night(messages=[message("H15.07-261002-0001", NgayNopHoSo="20261002110000", NgayTiepNhan="20261005163000")])
    (before,) = world.dossiers().values()
    # 11:00 thứ Sáu: nửa giờ + bốn giờ chiều, còn ba giờ rưỡi sáng thứ Hai: 11:00.
    assert before["reception_due_at"] == datetime(2026, 10, 5, 4, 0, tzinfo=UTC)
    hours = OfficeHours.of("08:00-12:00", "13:30-17:00")
    world.lake.replace(CORE_CALENDAR, Calendar.load(office_hours=hours).table())
    result = conform(
        world.lake,
        world.database,
        night="2",
        office_hours=hours,
        agencies=world.folder / "agencies.csv",
        codes=world.folder / "codes.csv",
    )
    (after,) = world.dossiers().values()
    # Một giờ + ba giờ rưỡi chiều, còn ba giờ rưỡi sáng thứ Hai từ 08:00: 11:30.
    assert after["reception_due_at"] == datetime(2026, 10, 5, 4, 30, tzinfo=UTC)
    assert result.changed == 1
