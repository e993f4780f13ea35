"""Statements as offices send them, file by file: what is taken over, and what each refusal says.

The files under `observation_files/` are written as offices write them; `loi-ly-do.csv` says in words
that a clerk can check why each row of `loi.csv` is refused. XLSX files are made here cell by cell.
"""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pytest

from connectors.observation_files import HEADINGS
from connectors.observations import OBSERVATIONS, REFUSED, Reading, read_observations
from connectors.protocol import Permanent
from tests.rows import table_rows
from warehouse.tables.core import CORE_UNIT
from warehouse.tables.observation import CORE_OBSERVATION
from warehouse.tables.raw import RAW_QUARANTINE

FILES = Path(__file__).parent / "observation_files"
#: 20 November 2026, 01:00 in Vietnam, which is still the 19th in UTC.
NOW = datetime(2026, 11, 19, 18, tzinfo=UTC)
HEADING_ROW = (
    "Mã chỉ số",
    "Mã đơn vị",
    "Kỳ",
    "Tử số",
    "Mẫu số",
    "Giá trị",
    "Văn bản chứng minh",
    "Chức danh xác nhận",
    "Ngày xác nhận",
)
SOUND: tuple[Any, ...] = (
    "work-files-online",
    "H15.SNV",
    "Tháng 10/2026",
    60,
    100,
    None,
    "1/BC-SNV",
    "Giám đốc Sở Nội vụ",
    "05/11/2026",
)


@dataclass(frozen=True)
class Known:
    """An indicator as the connector needs to know it."""

    id: str
    kind: str
    scale: str
    levels: tuple[str, ...]


_ALL = ("province", "district", "commune", "all")
INDICATORS = (
    Known("work-files-online", "counts", "share", ("province", "district", "commune")),
    Known("valid-results-digitised", "counts", "share", _ALL),
    Known("certified-copy-communes", "counts", "share", ("commune", "all")),
    Known("reporting-regimes-connected", "counts", "share", ("all",)),
    Known("satisfaction-procedures", "value", "share", _ALL),
    Known("dossiers-reported", "value", "number", _ALL),
    Known("par-index-rank", "rank", "rank", ("all",)),
)


def unit(code: str, name: str, level: str, **more: Any) -> dict[str, Any]:
    fixed = {"province_code": "H15", "valid_from": date(1900, 1, 1), "parent_code": "H15"}
    return fixed | {"unit_code": code, "name": name, "level": level} | more


FIRST, LAST = date(2025, 7, 1), date(2025, 6, 30)
UNITS = table_rows(
    CORE_UNIT,
    unit("H15", "Tỉnh Đắk Lắk", "province", parent_code=None),
    unit("H15.SNV", "Sở Nội vụ", "province"),
    unit("H15.STP", "Sở Tư pháp", "province"),
    unit("H15.643", "Thành phố Buôn Ma Thuột", "district", valid_to=LAST),
    unit("H15.643.24118", "Phường Tân Lập", "commune", parent_code="H15.643", valid_to=LAST),
    unit("H15.24133", "Phường Buôn Ma Thuột", "commune", valid_from=FIRST),
    unit("H15.24175", "Xã Hòa Phú", "commune", valid_from=FIRST),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "so-lieu"
    found.mkdir()
    return found


def read(folder: Path, known: pa.Table | None = None, **more: Any) -> Reading:
    settings: dict[str, Any] = {"settle_seconds": 0, "now": NOW, **more}
    for path in folder.rglob("*"):
        os.utime(path, (0, 0))
    return read_observations(folder, indicators=INDICATORS, units=UNITS, known=known, **settings)


def received(folder: Path, name: str, known: pa.Table | None = None) -> Reading:
    shutil.copy(FILES / name, folder / name)
    return read(folder, known)


def workbook(path: Path, *rows: Sequence[Any], sheet: str = "Số liệu") -> openpyxl.Workbook:
    book = openpyxl.Workbook()
    page = book.active
    assert page is not None
    page.title = sheet
    for row in (HEADING_ROW, *rows):
        page.append(list(row))
    book.save(path)
    return book


def changed(**cells: Any) -> tuple[Any, ...]:
    """The sound row with some cells changed, named by field."""
    by_heading = {HEADINGS[field]: value for field, value in cells.items()}
    return tuple(by_heading.get(name, value) for name, value in zip(HEADING_ROW, SOUND, strict=True))


def reasons(reading: Reading) -> list[str]:
    return sorted(str(reason) for reason in reading.refused["reason"].to_pylist())


def closes(reading: Reading) -> bool:
    return bool(reading.rows_read == reading.rows.num_rows + reading.rows_unchanged + reading.rows_refused)


def test_a_form_with_titles_a_byte_order_mark_and_semicolons(folder: Path) -> None:
    reading = received(folder, "tot.csv")
    assert reading.refused.num_rows == 0
    assert (reading.rows_read, reading.rows_blank) == (4, 1)
    names = ("indicator", "scope", "level", "unit_code", "period", "period_start", "stated_on")
    numbers = ("numerator", "denominator", "value")
    said = [tuple(row[name] for name in (*names, *numbers)) for row in reading.rows.to_pylist()]
    october, stated = date(2026, 10, 1), date(2026, 11, 5)
    work, satisfied = "work-files-online", "satisfaction-procedures"
    assert said == [
        (work, "unit", "province", "H15.SNV", "month", october, stated, 1143, 1250, None),
        (work, "unit", "commune", "H15.24133", "month", october, stated, 60, 100, None),
        (work, "unit", "commune", "H15.24175", "month", october, stated, 0, 12, None),
        # 46040 days after 30 December 1899.
        (satisfied, "province", "all", "H15", "year", date(2025, 1, 1), date(2026, 1, 18), None, None, 0.955),
    ]
    first = reading.rows.to_pylist()[0]
    assert first["source"] == "tot.csv"
    assert first["received_at"] == NOW
    assert first["evidence"] == "123/BC-SNV ngày 05/11/2026"
    assert first["vouched_by_role"] == "Chánh Văn phòng Sở Nội vụ"


def test_commas_english_names_and_kind_and_first_day_of_a_period(folder: Path) -> None:
    rows = received(folder, "phay.csv").rows.to_pylist()
    assert [(row["scope"], row["level"], row["period"], row["period_start"], row["numerator"]) for row in rows] == [
        ("unit", "province", "month", date(2026, 10, 1), 9000),
        ("level", "commune", "quarter", date(2026, 7, 1), 12500),
    ]


def test_every_bad_row_is_refused_for_the_reason_a_clerk_would_give(folder: Path) -> None:
    reading = received(folder, "loi.csv")
    with (FILES / "loi-ly-do.csv").open(encoding="utf-8", newline="") as file:
        expected = sorted((row["dòng"], row["cột"], row["mã lý do"]) for row in csv.DictReader(file))
    headings = {**HEADINGS, "record": ""}
    found = sorted(
        (row["record_key"].rpartition("dòng ")[2], headings[row["clause"]], row["reason"])
        for row in reading.refused.to_pylist()
    )
    assert found == expected
    # The one good row among them is kept, and none is lost.
    assert reading.rows["unit_code"].to_pylist() == ["H15.SNV"]
    assert (reading.rows_read, reading.rows_refused) == (32, 31)
    assert closes(reading)


def test_a_refusal_names_file_row_and_column_and_quotes_no_person(folder: Path) -> None:
    reading = received(folder, "loi.csv")
    details = {row["record_key"]: row["detail"] for row in reading.refused.to_pylist()}
    assert details["tệp loi.csv, dòng 3"] == "Tệp loi.csv, dòng 3, cột “Tử số”: tử số 101 lớn hơn mẫu số 100"
    told = " ".join(str(value) for row in reading.refused.to_pylist() for value in row.values())
    for personal in ("Tưởng", "Nguyễn", "0905", "123 456", "vanthu", "token=abc"):
        assert personal not in told


def test_a_name_in_the_wrong_column_is_not_quoted(folder: Path) -> None:
    workbook(
        folder / "a.xlsx",
        changed(unit_code="Nguyễn Văn Tưởng"),
        changed(period="Lê Thị Hoa"),
        changed(indicator="0905123456"),
    )
    reading = read(folder)
    assert reasons(reading) == ["unknown_indicator", "unknown_unit", "unreadable_period"]
    told = " ".join(str(value) for row in reading.refused.to_pylist() for value in row.values())
    assert not any(personal in told for personal in ("Tưởng", "Hoa", "0905123456"))


def test_xlsx_cells_keep_their_kinds(folder: Path) -> None:
    path = folder / "a.xlsx"
    satisfied = {"indicator": "satisfaction-procedures", "numerator": None, "denominator": None}
    book = workbook(
        path,
        changed(numerator="1.143", denominator=2000.0, stated_on=datetime(2026, 11, 5, 9, 30)),  # noqa: DTZ001  a cell
        changed(**satisfied, value=0.955, unit_code="H15.STP"),
        changed(**satisfied, value=0.9, unit_code="H15.24133"),
        changed(**satisfied, value="88,25 %", unit_code="H15.24175"),
        changed(unit_code="H15.STP", period=datetime(2026, 10, 1), stated_on=46331),  # noqa: DTZ001  as Excel turns 10/2026
    )
    book["Số liệu"]["F4"].number_format = "0.0%"
    book.save(path)
    rows = read(folder).rows.to_pylist()
    assert [(row["numerator"], row["denominator"], row["value"]) for row in rows] == [
        (1143, 2000, None),
        (None, None, 0.955),
        (None, None, 0.9),
        (None, None, 0.8825),
        (60, 100, None),
    ]
    assert {row["stated_on"] for row in rows} == {date(2026, 11, 5)}
    assert {(row["period"], row["period_start"]) for row in rows} == {("month", date(2026, 10, 1))}


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"numerator": 60.5}, "unreadable_numerator"),
        # A number that a sheet holds as 1.234 is no 1,234 written with a Vietnamese dot.
        ({"numerator": 1.234, "denominator": 5000}, "unreadable_numerator"),
        ({"numerator": True}, "unreadable_numerator"),
        ({"numerator": "#DIV/0!"}, "unreadable_numerator"),
        ({"numerator": "không có"}, "unreadable_numerator"),
        ({"numerator": datetime(2026, 10, 1)}, "unreadable_numerator"),  # noqa: DTZ001  a cell
        ({"stated_on": "05/11/26"}, "unreadable_stated_on"),
        ({"stated_on": 12}, "unreadable_stated_on"),
        ({"period": datetime(2026, 10, 2)}, "unreadable_period"),  # noqa: DTZ001  a cell
        ({"period": "Tháng 13/2026"}, "unreadable_period"),
        ({"unit_code": 24133}, "unknown_unit"),
    ],
)
def test_xlsx_cells_that_say_nothing_sure(folder: Path, cells: Mapping[str, Any], reason: str) -> None:
    workbook(folder / "a.xlsx", changed(**cells))
    reading = read(folder)
    assert reasons(reading) == [reason]
    assert reading.rows.num_rows == 0


@pytest.mark.parametrize(
    ("period", "kind", "start"),
    [
        ("Quý IV/2026", "quarter", date(2026, 10, 1)),
        ("quý 3 năm 2026", "quarter", date(2026, 7, 1)),
        ("2026-Q2", "quarter", date(2026, 4, 1)),
        ("6 tháng đầu năm 2026", "half", date(2026, 1, 1)),
        ("6 THÁNG CUỐI NĂM 2025", "half", date(2025, 7, 1)),
        ("2026-H2", "half", date(2026, 7, 1)),
        ("Năm 2025", "year", date(2025, 1, 1)),
        (2025, "year", date(2025, 1, 1)),
        ("tháng 9 năm 2026", "month", date(2026, 9, 1)),
        ("9/2026", "month", date(2026, 9, 1)),
        ("09-2026", "month", date(2026, 9, 1)),
        # The serial number of 1 October 2026, 46,296 days after 30 December 1899.
        (46296, "month", date(2026, 10, 1)),
    ],
)
def test_spellings_of_a_period(folder: Path, period: object, kind: str, start: date) -> None:
    workbook(folder / "a.xlsx", changed(period=period, stated_on="18/11/2026"))
    rows = read(folder).rows.to_pylist()
    assert [(row["period"], row["period_start"]) for row in rows] == [(kind, start)]


@pytest.mark.parametrize(
    ("written", "count"),
    [
        ("60", 60),
        ("1.143", 1143),
        ("1 143", 1143),
        ("1,143", 1143),
        ("12.345.678", 12345678),
        ("60.0", 60),
        ("60,00", 60),
    ],
)
def test_spellings_of_a_count(folder: Path, written: str, count: int) -> None:
    workbook(folder / "a.xlsx", changed(numerator=written, denominator=99_999_999))
    assert read(folder).rows["numerator"].to_pylist() == [count]


@pytest.mark.parametrize("written", ["1.14", "1.1434", "1.143,5", "1.143,000", "12,34.567", "1e3", "٣", "60 hồ sơ"])
def test_what_is_no_count(folder: Path, written: str) -> None:
    workbook(folder / "a.xlsx", changed(numerator=written, denominator=99_999_999))
    assert reasons(read(folder)) == ["unreadable_numerator"]


@pytest.mark.parametrize("role", ["Tô Lan", "Tưởng", "0905", "Sơ Hoa"])
def test_what_is_no_role(folder: Path, role: str) -> None:
    workbook(folder / "a.xlsx", changed(vouched_by_role=role))
    assert reasons(read(folder)) == ["not_a_role"]


@pytest.mark.parametrize("role", ["Tổ Đề án 06", "Sở Nội vụ", "Trưởng phòng KSTTHC", "Phó Chủ tịch UBND xã Hòa Phú"])
def test_what_is_a_role(folder: Path, role: str) -> None:
    workbook(folder / "a.xlsx", changed(vouched_by_role=role))
    assert read(folder).rows["vouched_by_role"].to_pylist() == [role]


def test_a_formula_counts_with_its_result_and_is_an_error_without(folder: Path) -> None:
    # openpyxl stores formulas without a result, as a program does that never calculates.
    workbook(folder / "a.xlsx", changed(numerator="=50+10"))
    assert reasons(read(folder)) == ["formula_without_result"]


def test_several_sheets_and_a_sheet_that_is_none(folder: Path) -> None:
    path = folder / "a.xlsx"
    book = workbook(path, SOUND)
    second = book.create_sheet("Xã")
    second.append(["Tổng hợp của tỉnh"])
    second.append([])
    second.append(list(HEADING_ROW))
    second.append(list(changed(unit_code="H15.24175", numerator="x")))
    book.create_sheet("Trống")
    book.create_sheet("Hướng dẫn").append(["Cách điền"])
    book.create_sheet("Ghi chú").append(["Số liệu do Sở tổng hợp"])
    book.save(path)
    reading = read(folder)
    assert reading.rows["unit_code"].to_pylist() == ["H15.SNV"]
    details = {row["reason"]: row["detail"] for row in reading.refused.to_pylist()}
    assert details["unreadable_numerator"].startswith("Tệp a.xlsx, trang tính “Xã”, dòng 4, cột “Tử số”: ")
    assert details["no_headings"].startswith("Tệp a.xlsx, trang tính “Ghi chú”: ")
    assert (reading.rows_read, reading.rows_refused) == (3, 2)
    assert closes(reading)


@pytest.mark.parametrize(
    ("name", "reason", "kept"),
    [
        ("windows-1258.csv", "not_utf8", []),
        ("thieu-cot.csv", "missing_column", []),
        # What stands above the quote that does not close is read.
        ("ngoac-kep.csv", "broken_quotes", ["H15.SNV"]),
    ],
)
def test_files_that_cannot_be_read_whole(folder: Path, name: str, reason: str, kept: list[str]) -> None:
    reading = received(folder, name)
    assert reasons(reading) == [reason]
    assert reading.rows["unit_code"].to_pylist() == kept
    assert closes(reading)
    assert name in reading.refused["detail"].to_pylist()[0]


def test_other_files_are_refused_by_name_and_locks_are_not_data(folder: Path) -> None:
    (folder / "cu.xls").write_bytes(b"\xd0\xcf\x11\xe0")
    (folder / "hong.xlsx").write_bytes(b"PK\x03\x04 cut off")
    (folder / "~$mo.xlsx").write_bytes(b"lock")
    (folder / ".an.csv").write_text("x")
    (folder / "BC ông Lê Văn Tám.csv").write_text("x")
    reading = read(folder)
    assert reasons(reading) == ["personal_file_name", "unreadable_file", "unsupported_file"]
    told = " ".join(str(value) for row in reading.refused.to_pylist() for value in row.values())
    assert "Tám" not in told
    assert reading.rows_read == 3


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="khong-co"):
        read_observations(tmp_path / "khong-co", indicators=INDICATORS, units=UNITS, now=NOW)


def test_a_file_that_is_still_being_copied_waits(folder: Path) -> None:
    shutil.copy(FILES / "tot.csv", folder / "tot.csv")
    copied_at = (folder / "tot.csv").stat().st_mtime
    soon = datetime.fromtimestamp(copied_at + 30, UTC)
    reading = read_observations(folder, indicators=INDICATORS, units=UNITS, now=soon)
    assert (reading.rows_read, reading.files_waiting) == (0, 1)
    later = read_observations(folder, indicators=INDICATORS, units=UNITS, now=soon + timedelta(seconds=31))
    assert later.files_waiting == 0


def test_the_same_file_twice_changes_nothing(folder: Path) -> None:
    first = received(folder, "tot.csv")
    again = read(folder, known=first.rows, now=NOW + timedelta(days=1))
    assert (again.rows.num_rows, again.rows_unchanged) == (0, 4)
    # Neither does the same under another name, as XLSX, or twice at once.
    shutil.copy(FILES / "tot.csv", folder / "gui-lai.csv")
    same = changed(unit_code="H15.24133", evidence="45/BC-UBND", vouched_by_role="Chủ tịch UBND phường")
    workbook(folder / "so.xlsx", same)
    both = read(folder)
    assert (both.rows.num_rows, both.rows_unchanged, both.rows_refused) == (4, 5, 0)


def test_a_correction_is_a_statement_of_its_own(folder: Path) -> None:
    workbook(folder / "a.xlsx", SOUND)
    first = read(folder)
    workbook(folder / "b.xlsx", changed(numerator=61, stated_on="06/11/2026"))
    second = read(folder, known=first.rows)
    assert second.rows["numerator"].to_pylist() == [61]
    assert second.rows_unchanged == 1


def test_two_files_that_contradict_are_both_refused_until_one_is_withdrawn(folder: Path) -> None:
    workbook(folder / "a.xlsx", SOUND)
    workbook(folder / "b.xlsx", changed(numerator=61))
    reading = read(folder)
    assert reasons(reading) == ["contradicting_statement"] * 2
    assert reading.rows.num_rows == 0
    assert closes(reading)
    assert "tệp b.xlsx" in reading.refused["detail"].to_pylist()[0]
    (folder / "b.xlsx").unlink()
    assert read(folder).rows["numerator"].to_pylist() == [60]


def test_equal_numbers_with_other_evidence_do_not_contradict(folder: Path) -> None:
    workbook(folder / "a.xlsx", SOUND, changed(evidence="2/BC-SNV"))
    reading = read(folder)
    assert (reading.rows.num_rows, reading.refused.num_rows) == (2, 0)


def test_old_units_may_be_stated_for_the_time_in_which_they_lived(folder: Path) -> None:
    workbook(
        folder / "a.xlsx",
        changed(unit_code="H15.643", period="Quý 2/2025"),
        changed(unit_code="H15.643.24118", period="Năm 2025"),
        changed(unit_code="H15.643", period="Quý 3/2025"),
        changed(unit_code="H15.24133", period="Tháng 6/2025"),
    )
    reading = read(folder)
    assert [(row["unit_code"], row["level"]) for row in reading.rows.to_pylist()] == [
        ("H15.643", "district"),
        ("H15.643.24118", "commune"),
    ]
    assert reasons(reading) == ["unit_not_living"] * 2


def test_the_provinces_code_needs_its_scope_when_several_fit(folder: Path) -> None:
    workbook(folder / "a.xlsx", changed(unit_code="H15"))
    reading = read(folder)
    assert reasons(reading) == ["unclear_scope"]
    assert "toàn tỉnh, cấp tỉnh, cấp huyện, cấp xã" in reading.refused["detail"].to_pylist()[0]


def test_a_number_and_a_rank_are_whole_values(folder: Path) -> None:
    empty = {"numerator": None, "denominator": None}
    workbook(
        folder / "a.xlsx",
        changed(**empty, indicator="dossiers-reported", value="12.345"),
        changed(**empty, indicator="par-index-rank", value=17, unit_code="H15", period="Năm 2025"),
        changed(**empty, indicator="dossiers-reported", value=0.5, unit_code="H15.STP"),
    )
    reading = read(folder)
    assert reading.rows["value"].to_pylist() == [12345.0, 17.0]
    assert reasons(reading) == ["unreadable_value"]


def test_the_columns_are_those_of_the_declared_tables() -> None:
    """The connector knows nothing of the warehouse; what it hands over must fit all the same.

    What reading a record again goes by is filled in when the entry is stored.
    """
    when_stored = {"window_start", "window_end", "contract", "settled_at"}
    for made, table in ((OBSERVATIONS, CORE_OBSERVATION), (REFUSED, RAW_QUARANTINE)):
        declared = pa.schema([field for field in table.arrow_schema() if field.name not in when_stored])
        assert made.names == declared.names
        assert made.types == declared.types
        assert [field.nullable for field in made] == [field.nullable for field in declared]
