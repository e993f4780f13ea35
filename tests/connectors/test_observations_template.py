"""The form that offices fill in: what it holds before, and that the reading takes it back as it was filled."""

from __future__ import annotations

import csv
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest
import typer
from typer.testing import CliRunner

from assets.indicators.observed import observed_indicators
from connectors.observation_cells import Period
from connectors.observations import Reading, read_observations
from orchestration.commands.template import (
    COLUMNS,
    chosen_format,
    chosen_indicators,
    chosen_period,
    form_rows,
    template,
    write_form,
)
from orchestration.settings import ConfigurationError
from tests.connectors.test_observations import UNITS

NOW = datetime(2026, 11, 19, 18, tzinfo=UTC)
OCTOBER = Period(date(2026, 10, 1), "month")
HEADINGS = [
    "Mã chỉ số",
    "Tên chỉ số",
    "Mã đơn vị",
    "Tên đơn vị",
    "Phạm vi",
    "Kỳ",
    "Tử số",
    "Mẫu số",
    "Giá trị",
    "Văn bản chứng minh",
    "Chức danh xác nhận",
    "Ngày xác nhận",
]


def subjects(*wanted: str, period: Period = OCTOBER, levels: tuple[str, ...] = ()) -> list[tuple[str, str, str]]:
    rows = form_rows(chosen_indicators(wanted), UNITS, period, levels=levels)
    return [(row.indicator.id, row.unit_code, row.scope) for row in rows]


def read(folder: Path) -> Reading:
    return read_observations(folder, indicators=observed_indicators(), units=UNITS, now=NOW, settle_seconds=-1e9)


def test_a_form_holds_the_units_of_the_levels_that_live_in_the_period() -> None:
    work = "work-files-online"
    assert subjects(work) == [(work, code, "") for code in ("H15.24133", "H15.24175", "H15.SNV", "H15.STP")]
    assert subjects(work, levels=("province",)) == [(work, "H15.SNV", ""), (work, "H15.STP", "")]
    before = Period(date(2025, 4, 1), "quarter")
    assert subjects(work, period=before) == [
        (work, code, "") for code in ("H15.643", "H15.643.24118", "H15.SNV", "H15.STP")
    ]
    assert subjects("certified-copy-communes") == [
        ("certified-copy-communes", code, "") for code in ("H15.24133", "H15.24175")
    ]
    assert subjects("par-index-rank") == [("par-index-rank", "H15", "toàn tỉnh")]


def test_every_indicator_has_a_row_by_default() -> None:
    rows = form_rows(chosen_indicators(()), UNITS, OCTOBER)
    assert {row.indicator.id for row in rows} == {each.id for each in observed_indicators()}


@pytest.mark.parametrize("kind", ["xlsx", "csv"])
def test_an_empty_form_says_nothing(tmp_path: Path, kind: str) -> None:
    rows = form_rows(chosen_indicators(()), UNITS, OCTOBER)
    write_form(tmp_path / f"form.{kind}", rows, kind=kind)
    reading = read(tmp_path)
    assert (reading.rows_read, reading.refused.num_rows, reading.rows_blank) == (0, 0, len(rows))


def _filled(row: list[Any], changes: dict[str, Any]) -> list[Any]:
    return [changes.get(name, cell) for name, cell in zip(COLUMNS, row, strict=True)]


FILLED = {"numerator": 60, "denominator": 100, "evidence": "1/BC", "vouched_by_role": "Giám đốc Sở"}


def test_a_filled_xlsx_is_taken_back_with_every_code_as_it_was(tmp_path: Path) -> None:
    rows = form_rows(chosen_indicators(("work-files-online", "satisfaction-procedures")), UNITS, OCTOBER)
    path = tmp_path / "form.xlsx"
    write_form(path, rows, kind="xlsx")
    book = openpyxl.load_workbook(path)
    sheet = book["Số liệu"]
    assert [cell.value for cell in sheet[1]] == HEADINGS
    for number, row in enumerate(rows, start=2):
        changes: dict[str, Any] = {**FILLED, "stated_on": datetime(2026, 11, 5)}  # noqa: DTZ001  a cell
        if row.indicator.kind == "value":
            changes = {**changes, "numerator": None, "denominator": None, "value": 0.955}
        for column, value in enumerate(_filled([cell.value for cell in sheet[number]], changes), start=1):
            sheet.cell(number, column).value = value
    book.save(path)
    reading = read(tmp_path)
    assert reading.refused["detail"].to_pylist() == []
    found = [(row["indicator"], row["unit_code"], row["numerator"], row["value"]) for row in reading.rows.to_pylist()]
    codes = ("H15.24133", "H15.24175", "H15.SNV", "H15.STP")
    assert found == [("work-files-online", code, 60, None) for code in codes] + [
        ("satisfaction-procedures", code, None, 0.955) for code in codes
    ]


def test_a_filled_csv_is_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "form.csv"
    write_form(path, form_rows(chosen_indicators(("work-files-online",)), UNITS, OCTOBER), kind="csv")
    with path.open(encoding="utf-8-sig", newline="") as file:
        heading, *rows = list(csv.reader(file, delimiter=";"))
    assert heading == HEADINGS
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerows([heading, *(_filled(row, {**FILLED, "stated_on": "5/11/2026"}) for row in rows)])
    reading = read(tmp_path)
    assert (reading.rows.num_rows, reading.refused.num_rows) == (4, 0)


def test_the_sheet_keeps_codes_as_text_and_asks_for_what_the_reading_asks_for(tmp_path: Path) -> None:
    names = ("work-files-online", "satisfaction-procedures", "par-index-rank")
    write_form(tmp_path / "form.xlsx", form_rows(chosen_indicators(names), UNITS, OCTOBER), kind="xlsx")
    book = openpyxl.load_workbook(tmp_path / "form.xlsx")
    sheet = book["Số liệu"]
    assert sheet.freeze_panes == "A2"
    assert {(cell.number_format, cell.data_type) for row in sheet["A2:D10"] for cell in row} == {("@", "s")}
    rules = {str(rule.sqref): (rule.type, rule.formula1) for rule in sheet.data_validations.dataValidation}
    assert rules["A2:A210"] == ("list", "'Danh mục'!$A$1:$A$3")
    # Four rows of counts, four of a share, one of a rank.
    assert rules["I2:I5"] == ("custom", "FALSE")
    assert rules["I6:I9"] == ("decimal", "0")
    assert rules["I10"] == ("whole", "1")
    units = [cell.value for cell in book["Danh mục"]["B"] if cell.value]
    assert units == ["H15", "H15.24133", "H15.24175", "H15.SNV", "H15.STP"]
    guide = " ".join(str(cell.value) for row in book["Hướng dẫn"].iter_rows() for cell in row)
    assert all(name in guide for name in names)
    assert not any(cell.data_type == "f" for page in book for row in page.iter_rows() for cell in row)


def test_text_that_a_spreadsheet_would_calculate_is_inert(tmp_path: Path) -> None:
    names = UNITS["name"].to_pylist()
    units = UNITS.set_column(
        UNITS.schema.get_field_index("name"),
        UNITS.schema.field("name"),
        [["=1+1" if name == "Sở Tư pháp" else name for name in names]],
    )
    rows = form_rows(chosen_indicators(("work-files-online",)), units, OCTOBER, levels=("province",))
    write_form(tmp_path / "form.xlsx", rows, kind="xlsx")
    write_form(tmp_path / "form.csv", rows, kind="csv")
    sheet = openpyxl.load_workbook(tmp_path / "form.xlsx")["Số liệu"]
    assert (sheet["D3"].value, sheet["D3"].data_type) == ("=1+1", "s")
    assert "'=1+1" in (tmp_path / "form.csv").read_text(encoding="utf-8-sig")


def test_choices_of_the_command_line() -> None:
    assert chosen_period(None, today=date(2026, 1, 15)) == Period(date(2025, 12, 1), "month")
    assert chosen_period("2026-Q4", today=date(2026, 1, 15)) == Period(date(2026, 10, 1), "quarter")
    assert chosen_format(Path("a.XLSX"), None) == "xlsx"
    assert chosen_format(Path("a.txt"), "csv") == "csv"
    with pytest.raises(ConfigurationError, match="--format"):
        chosen_format(Path("a.ods"), None)
    with pytest.raises(ConfigurationError, match="--period"):
        chosen_period("tuần 3", today=date(2026, 1, 15))
    with pytest.raises(ConfigurationError, match="khong-co"):
        chosen_indicators(("khong-co",))


def test_the_command_writes_a_form_of_the_configured_province(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THUOCDO_HOME", str(tmp_path / "home"))
    app = typer.Typer()
    app.command()(template)
    province = Path(__file__).parents[2] / "provinces" / "dak-lak.yaml"
    target = tmp_path / "bieu.csv"
    options = ["--indicator", "certified-copy-communes", "--period", "2026-10", "--province", str(province)]
    result = CliRunner().invoke(app, [str(target), *options])
    assert result.exit_code == 0, result.output
    with target.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    # Đắk Lắk has 102 communes since 1 July 2025.
    assert len(rows) == 102
    assert {row["Kỳ"] for row in rows} == {"Tháng 10/2026"}
