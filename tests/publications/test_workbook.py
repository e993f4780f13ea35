"""The workbook read back with another library: what an office finds when it opens the file."""

from __future__ import annotations

import io
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from openpyxl import load_workbook
from openpyxl.worksheet.worksheet import Worksheet

from assets.periods import Period
from assets.publications.statistics import tabulate
from assets.publications.workbook import NoSuchPeriodError, Source, cut_rate, last_finished_month, workbook
from assets.publications.xlsx import FORMATS, Heading, Row, Sheet, render
from orchestration.commands.workbook import read_source, target_file
from orchestration.settings import ConfigurationError
from tests.publications.lakes import publish_small, small_lake
from tests.publications.test_statistics import clerk_dossiers, connection_with
from tests.rows import table_rows
from warehouse.schema import Table
from warehouse.tables import CORE_UNIT, OUT_INDICATOR, OUT_VERDICT
from warehouse.tables.reconciliation import OUT_WORKLIST
from warehouse.tables.score import OUT_SCORE, OUT_SCORE_TOTAL

JULY = Period("month", date(2025, 7, 1))
AS_OF = datetime(2025, 8, 31, 17, tzinfo=UTC)
FINGERPRINT = "0123456789abcdef" * 4
PLACE = {"scope": "unit", "level": "commune", "unit_code": "H15.24133", "period": "month", "period_start": JULY.start}
ALL = PLACE | {"scope": "province", "level": "all", "unit_code": "H15"}
HOSTILE = (
    "=1+1",
    "+84",
    "-5",
    "@cmd",
    "\tx",
    "\rx",
    '=HYPERLINK("http://x")',
    "000.00.15.H15-220101-0001",
    "http://a.b",
)


def rows_of(table: Table, *rows: dict[str, Any]) -> pa.Table:
    return table_rows(table, *rows)


def units() -> pa.Table:
    return rows_of(
        CORE_UNIT,
        {"unit_code": "H15", "name": "Tỉnh Đắk Lắk", "province_code": "H15", "level": "province"},
        {"unit_code": "H15.SNV", "name": "Sở Nội vụ", "province_code": "H15", "parent_code": "H15"},
        {
            "unit_code": "H15.24133",
            "name": "Phường Tân Lập",
            "province_code": "H15",
            "parent_code": "H15",
            "valid_from": date(2025, 7, 1),
        },
        {"unit_code": "H15.24133", "name": "Phường Tên Mới", "province_code": "H15", "valid_from": date(2026, 7, 1)},
    )


def statistic() -> pa.Table:
    return tabulate(connection_with(*clerk_dossiers()), province_code="H15", as_of=AS_OF, start_on=date(2025, 6, 1))


def indicators() -> pa.Table:
    reuse = {"indicator": "reuse", "version": "766-4.3", "boundaries": "then", "state": "ok"}
    return rows_of(
        OUT_INDICATOR,
        reuse | PLACE | {"numerator": 79996, "denominator": 100000, "rate": 0.79996},
        reuse | ALL | {"numerator": 0, "denominator": 0, "state": "no_denominator"},
        reuse | PLACE | {"boundaries": "now", "numerator": 1, "denominator": 1, "rate": 1.0},
        reuse | PLACE | {"indicator": "something-else", "numerator": 1, "denominator": 1, "rate": 1.0},
        reuse | PLACE | {"period_start": date(2025, 8, 1), "numerator": 5, "denominator": 9, "rate": 5 / 9},
    )


def verdicts() -> pa.Table:
    held = PLACE | {"indicator": "reuse", "version": "766-4.3", "operator": ">=", "measure": "share", "threshold": 0.8}
    return rows_of(
        OUT_VERDICT,
        held
        | {
            "target": "DL-A7",
            "verdict": "missed",
            "gap_dossiers": 4,
            "numerator": 79996,
            "denominator": 100000,
            "document": "Quyết định 3478/QĐ-UBND",
            "clause": "mục II.2.a",
        },
    )


def scores() -> tuple[pa.Table, pa.Table]:
    here = ALL | {"set_id": "766", "boundaries": "then", "period": "month"}
    score = rows_of(
        OUT_SCORE,
        here
        | {
            "component": "4.3",
            "group_id": "4",
            "numerator": 60,
            "denominator": 100,
            "rate": 0.6,
            "points": 1.5,
            "max_points": 2,
            "lost": 0.5,
            "next_point": 20,
            "state": "scored",
            "divisor": 1,
        },
    )
    commune = PLACE | {"set_id": "766", "boundaries": "then"}
    totals = rows_of(
        OUT_SCORE_TOTAL,
        commune | {"group_id": "4", "points": 11.25, "max_points": 22, "scored_max": 22, "lost": 10.75},
        commune
        | {
            "group_id": "total",
            "points": 60.5,
            "max_points": 100,
            "scored_max": 80,
            "lost": 19.5,
            "rank": 1,
            "ranked": 2,
        },
    )
    return score, totals


def worklist(*codes: str) -> pa.Table:
    return rows_of(
        OUT_WORKLIST,
        *(
            {
                "dossier_key": f"k{number}",
                "dossier_code": code,
                "unit_code": "H15.24133",
                "indicator": "reuse",
                "version": "766-4.3",
                "procedure_code": "1.001193",
                "received_on": date(2025, 7, 9),
                "status_code": 4,
                "event_on": date(2025, 7, 9),
                "loss": "lost",
                "reason": code,
                "remedy": "đánh dấu tái sử dụng",
                "is_mendable": True,
                "deadline_on": date(2025, 7, 20),
                "days_left": -42,
                "priority": number,
            }
            for number, code in enumerate(codes, start=1)
        ),
    )


@pytest.fixture(scope="module")
def source() -> Source:
    score, totals = scores()
    tables = {
        "statistic": statistic(),
        "indicator": indicators(),
        "verdict": verdicts(),
        "score": score,
        "score_total": totals,
        "worklist": worklist(*HOSTILE),
        "unit": units(),
    }
    return Source(tables=tables, fingerprint=FINGERPRINT, night="2025-08-31", as_of=AS_OF)


@pytest.fixture(scope="module")
def content(source: Source) -> bytes:
    return workbook(source, JULY)


@pytest.fixture(scope="module")
def book(content: bytes) -> Any:
    return load_workbook(io.BytesIO(content))


def table_of(page: Worksheet, headings: int) -> list[dict[str, Any]]:
    """The rows below `headings` rows of headings, up to the first empty line, by the lowest heading."""
    lines = list(page.iter_rows(min_row=6, values_only=True))
    names, above = [], None
    for place, text in enumerate(lines[headings - 1]):
        above = lines[0][place] or above
        # A heading that takes both rows is written in the upper one.
        names.append(f"{above} / {text}" if headings > 1 and text else str(text or above))
    found = []
    for line in lines[headings:]:
        if all(value is None for value in line):
            break
        found.append(dict(zip(names, line, strict=True)))
    return found


def test_the_sheets_are_those_of_the_form(book: Any) -> None:
    assert book.sheetnames == [
        "Thống kê theo đơn vị",
        "Thống kê theo cấp",
        "Thống kê theo lĩnh vực",
        "Bốn tỷ lệ",
        "Điểm 766",
        "766 theo đơn vị",
        "Danh sách việc",
        "Ghi chú",
    ]


def test_every_sheet_says_whose_when_and_from_what(book: Any) -> None:
    for page in book:
        assert page["A1"].value == "ĐƠN VỊ BÁO CÁO: TỈNH ĐẮK LẮK"
        assert page["A3"].value == "Kỳ báo cáo: Tháng 7/2025 · Số liệu tính đến 00:00 ngày 01/09/2025"
        assert FINGERPRINT in page["A4"].value
        assert page.page_setup.orientation == "landscape"
        assert int(page.page_setup.paperSize) == 9
        assert page.print_title_rows.startswith("$6:$")
        assert page.freeze_panes is not None
        assert page.auto_filter.ref is not None


def test_statistics_by_unit_are_the_clerks_numbers(book: Any) -> None:
    rows = table_of(book["Thống kê theo đơn vị"], 2)
    assert [(row["Mã đơn vị"], row["Tên đơn vị"]) for row in rows] == [
        (None, "Toàn tỉnh"),
        (None, "Cộng cấp tỉnh"),
        ("H15.SNV", "Sở Nội vụ"),
        (None, "Cộng cấp xã"),
        ("H15.24133", "Phường Tân Lập"),
    ]
    office = rows[2]
    assert office["Số hồ sơ nhận giải quyết / Tổng số"] == 3
    assert office["Số hồ sơ nhận giải quyết / Kỳ trước chuyển qua"] == 2
    assert (office["Số hồ sơ đã giải quyết / Đúng hạn"], office["Số hồ sơ đã giải quyết / Quá hạn"]) == (1, 1)
    assert office["Số hồ sơ đang giải quyết / Quá hạn"] == 1
    assert rows[0]["Số hồ sơ nhận giải quyết / Tổng số"] == 6
    # No reorganisation within July: its two columns are not there.
    assert not [name for name in office if "sắp xếp" in name]


def test_the_year_of_the_reorganisation_shows_what_was_handed_over(source: Source) -> None:
    page = load_workbook(io.BytesIO(workbook(source, Period("year", date(2025, 1, 1)))))["Thống kê theo đơn vị"]
    rows = {row["Mã đơn vị"]: row for row in table_of(page, 2)}
    assert rows["H15.643.24118"]["Kết thúc khác / Giao lại do sắp xếp"] == 1
    assert rows["H15.24133"]["Số hồ sơ nhận giải quyết / Nhận do sắp xếp đơn vị"] == 1


def test_sectors_of_a_place_add_up_to_its_sum(book: Any) -> None:
    rows = [row for row in table_of(book["Thống kê theo lĩnh vực"], 2) if row["Cấp"] == "toàn tỉnh"]
    whole, *parts = rows
    assert whole["Lĩnh vực"] == "Tất cả lĩnh vực"
    assert {row["Lĩnh vực"] for row in parts} == {"Nội vụ", "Hộ tịch"}
    for name in (name for name, value in whole.items() if isinstance(value, int)):
        assert sum(row[name] for row in parts) == whole[name]


def test_a_rate_just_below_its_threshold_does_not_look_met(book: Any) -> None:
    rows = table_of(book["Bốn tỷ lệ"], 1)
    assert [row["Tên đơn vị"] for row in rows] == ["Toàn tỉnh", "Phường Tân Lập"]
    assert rows[0]["Tỷ lệ"] is None
    commune = rows[1]
    # 79,996 % is cut, not rounded to 80,00 %.
    assert (commune["Tỷ lệ"], commune["Ngưỡng"], commune["So sánh"]) == (0.7999, 0.8, "≥")
    assert (commune["Kết luận"], commune["Còn thiếu (hồ sơ)"]) == ("chưa đạt", 4)
    assert commune["Căn cứ"] == "Quyết định 3478/QĐ-UBND, mục II.2.a"


@pytest.mark.parametrize(
    ("numerator", "denominator", "rate"), [(2, 3, 0.6666), (0, 5, 0.0), (5, 5, 1.0), (0, 0, None), (None, None, None)]
)
def test_rates_are_cut_to_two_decimals_of_a_percentage(
    numerator: int | None, denominator: int | None, rate: float | None
) -> None:
    assert cut_rate(numerator, denominator) == rate


def test_the_766_sheets_name_components_and_ranks(book: Any) -> None:
    (component,) = table_of(book["Điểm 766"], 1)
    assert (component["Số"], component["Điểm"], component["Điểm tối đa"]) == ("4.3", 1.5, 2)
    assert component["Cần thêm để được điểm kế tiếp"] == 20
    assert "sử dụng lại" in component["Chỉ số thành phần"]
    (unit,) = table_of(book["766 theo đơn vị"], 1)
    assert (unit["Nhóm 4"], unit["Tổng điểm"], unit["Trên số điểm chấm được"]) == (11.25, 60.5, 80)
    assert (unit["Hạng"], unit["Trong số"]) == (1, 2)


def test_a_rate_reads_alike_in_the_766_sheet(source: Source) -> None:
    """79.999 của 100.000 chưa tới 80 %: biểu 766 không được làm tròn thành 80,00 % khi biểu bốn tỷ lệ ghi 79,99 %."""
    row = scores()[0].to_pylist()[0] | {"numerator": 79_999, "denominator": 100_000, "rate": 0.79999}
    score = pa.Table.from_pylist([row], schema=OUT_SCORE.arrow_schema())
    changed = Source(
        tables={**source.tables, "score": score}, fingerprint=FINGERPRINT, night=source.night, as_of=source.as_of
    )
    made = load_workbook(io.BytesIO(workbook(changed, JULY)))
    (component,) = table_of(made["Điểm 766"], 1)
    assert component["Tỷ lệ"] == 0.7999


def test_text_never_becomes_a_formula_a_number_or_a_link(book: Any, content: bytes) -> None:
    page = book["Danh sách việc"]
    cells = [page.cell(row=number, column=4) for number in range(7, 7 + len(HOSTILE))]
    assert [cell.value.replace("_x000D_", "\r") for cell in cells] == list(HOSTILE)
    assert {cell.data_type for cell in cells} == {"s"}
    assert all(cell.hyperlink is None for cell in cells)
    assert [bool(cell.quotePrefix) for cell in cells] == [True] * 7 + [False, False]
    with zipfile.ZipFile(io.BytesIO(content)) as parts:
        sheets = [parts.read(name) for name in parts.namelist() if name.startswith("xl/worksheets/")]
    assert not [sheet for sheet in sheets if b"<f>" in sheet or b"<hyperlink" in sheet]


def test_numbers_carry_their_formats(book: Any) -> None:
    page = book["Danh sách việc"]
    headings = {cell.value: cell.column for cell in page[6]}
    first = {name: page.cell(row=7, column=column) for name, column in headings.items()}
    assert first["Tiếp nhận"].value == datetime(2025, 7, 9)  # noqa: DTZ001
    assert first["Tiếp nhận"].is_date
    assert first["Tiếp nhận"].number_format == "[$-42A]dd/mm/yyyy"
    assert first["Còn (ngày)"].value == -42
    assert first["Mã thủ tục"].value == "1.001193"
    rates = book["Bốn tỷ lệ"]
    assert (rates["G8"].number_format, rates["E8"].number_format) == ("[$-42A]0.00%", FORMATS["count"])
    assert rates["E8"].value == 79996


def test_a_worklist_too_long_for_a_sheet_says_what_is_left_out(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assets.publications.workbook.WORKLIST_ROWS", 3)
    page = load_workbook(io.BytesIO(workbook(source, JULY)))["Danh sách việc"]
    assert len(table_of(page, 1)) == 3
    assert "3 dòng đầu trong 9" in str(page["A11"].value)


def test_a_table_that_is_not_published_leaves_a_sheet_that_says_so(source: Source) -> None:
    few = Source(
        tables={name: source.tables[name] for name in ("indicator", "unit")},
        fingerprint=FINGERPRINT,
        night="n",
        as_of=AS_OF,
    )
    book = load_workbook(io.BytesIO(workbook(few, JULY)))
    said = {
        page.title: [cell.value for cell in page["A"] if cell.value and "không có bảng" in str(cell.value)]
        for page in book
    }
    assert said["Danh sách việc"] == ["Bản xuất bản này không có bảng “worklist”, nên biểu này chưa có số liệu."]
    empty = {name for name, notes in said.items() if notes}
    assert empty == set(said) - {"Bốn tỷ lệ", "Ghi chú"}


def test_a_period_without_numbers_is_refused_with_those_there_are(source: Source) -> None:
    with pytest.raises(NoSuchPeriodError, match=r"không có số liệu Tháng 1/2031; có từ 01/2025 đến 08/2025"):
        workbook(source, Period("month", date(2031, 1, 1)))


def test_equal_content_gives_equal_bytes(source: Source, content: bytes) -> None:
    shuffled = {name: table.take(list(reversed(range(table.num_rows)))) for name, table in source.tables.items()}
    again = Source(tables=shuffled, fingerprint=FINGERPRINT, night="2025-08-31", as_of=AS_OF)
    assert workbook(again, JULY) == content


@pytest.mark.parametrize(
    ("as_of", "month"),
    [
        (datetime(2025, 8, 31, 17, tzinfo=UTC), date(2025, 8, 1)),  # 1 September, 00:00 in Vietnam
        (datetime(2025, 8, 31, 16, 59, tzinfo=UTC), date(2025, 7, 1)),
        (datetime(2026, 1, 15, tzinfo=UTC), date(2025, 12, 1)),
    ],
)
def test_the_period_is_the_last_finished_month_unless_another_is_asked_for(as_of: datetime, month: date) -> None:
    assert last_finished_month(as_of) == Period("month", month)


def test_a_long_text_is_cut_with_a_mark_and_counts_keep_their_dots() -> None:
    sheet = Sheet(
        name="x",
        title="x",
        headings=(Heading(text="a", kind="text"), Heading(text="b")),
        rows=[Row(("y" * 40_000, 1_234_567))],
    )
    page = load_workbook(io.BytesIO(render([sheet], caption=("p", "q"), footer="a & b", created=AS_OF)))["x"]
    assert len(page["A7"].value) == 32_767
    assert page["A7"].value.endswith("…")
    assert page["B7"].number_format == r"[>=1000000]0\.000\.000;[>=1000]0\.000;0"


def test_a_row_is_as_high_as_its_longest_text() -> None:
    """Ba mươi từ "xa" là 89 chữ; cột rộng 20 chứa được 18: sáu từ một dòng (17 chữ), vậy là năm dòng."""
    text = " ".join(["xa"] * 30)
    sheet = Sheet(
        name="Cao",
        title="T",
        headings=(Heading(text="A", kind="text", width=20), Heading(text="B")),
        rows=(Row((text, 1)), Row(("ngắn", 2))),
    )
    content = render([sheet], caption=("a", "b"), footer="", created=AS_OF)
    page = load_workbook(io.BytesIO(content)).active
    assert isinstance(page, Worksheet)
    rows = {page.cell(row, 2).value: row for row in range(1, page.max_row + 1)}
    assert page.row_dimensions[rows[1]].height == 5 * 15
    assert page.row_dimensions[rows[2]].height is None


def test_a_publication_is_read_by_what_its_manifest_lists(tmp_path: Path) -> None:
    made = publish_small(small_lake(tmp_path / "lake", dossiers=4), tmp_path, night="n1")
    source = read_source(tmp_path / "published")
    assert {"indicator", "verdict", "unit"} <= set(source.tables)
    assert (source.fingerprint, source.night) == (made.fingerprint, "n1")
    assert source.tables["unit"].equals(pq.read_table(made.folder / "unit.parquet"))
    workbook(source, Period("year", date(2026, 1, 1)))


def test_without_a_publication_the_error_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="thuocdo night"):
        read_source(tmp_path / "published")


def test_the_file_is_named_after_the_period(tmp_path: Path) -> None:
    assert target_file(None, "2026-Q3") == Path("thuoc-do-2026-Q3.xlsx")
    assert target_file(tmp_path, "2026-10") == tmp_path / "thuoc-do-2026-10.xlsx"
    assert target_file(tmp_path / "a.xlsx", "2026-10") == tmp_path / "a.xlsx"
