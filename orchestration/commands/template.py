"""`thuocdo template`: the form in which offices send observations.

Belongs here: which rows a form has, and writing it as XLSX or CSV. Does not belong here: how a form is
read back (`connectors/observations.py`), nor the indicators (`assets/indicators/observed.csv`).

A form has one row for each indicator and each unit of the levels for which it is given; a row whose
numbers stay blank says nothing. Codes are text, so that Excel leaves them alone; the XLSX refuses
while typing what the reading would refuse later.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestration.commands.asked import safe
from orchestration.settings import ConfigurationError, Home, load_province, province_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa
    import xlsxwriter

    from assets.indicators.observed import ObservedIndicator
    from connectors.observation_cells import Period

FORMATS = ("xlsx", "csv")
#: Columns of the form, as fields of an observation.
COLUMNS = (
    "indicator",
    "indicator_name",
    "unit_code",
    "unit_name",
    "scope",
    "period",
    "numerator",
    "denominator",
    "value",
    "evidence",
    "vouched_by_role",
    "stated_on",
)
_WIDTHS = (30, 44, 16, 34, 14, 24, 12, 12, 12, 40, 34, 14)
#: Rows below the prefilled ones in which the rules of a form hold as well.
_SPARE_ROWS = 200
_DATA_SHEET = "Số liệu"
_FIRST_DATE, _LAST_DATE = date(2000, 1, 1), date(2099, 12, 31)


@dataclass(frozen=True, kw_only=True)
class FormRow:
    """One row of a form before anybody filled it in."""

    indicator: ObservedIndicator
    unit_code: str
    unit_name: str
    scope: str
    period: Period

    def cells(self) -> tuple[str, ...]:
        """Text of each of COLUMNS; what an office fills in is blank."""
        known = {
            "indicator": self.indicator.id,
            "indicator_name": self.indicator.name_vi,
            "unit_code": self.unit_code,
            "unit_name": self.unit_name,
            "scope": self.scope,
            "period": self.period.vi,
        }
        return tuple(known.get(column, "") for column in COLUMNS)


def form_rows(
    indicators: Sequence[ObservedIndicator], units: pa.Table, period: Period, *, levels: Sequence[str] = ()
) -> list[FormRow]:
    """The rows of a form: per indicator, the units of its levels that exist in the period, by code.

    An indicator that is given for the whole province alone has one row of the province. `levels`
    narrows the units. `units` are rows of core_unit.
    """
    living = [
        row
        for row in units.sort_by([("unit_code", "ascending"), ("valid_from", "descending")]).to_pylist()
        if row["valid_from"] <= period.end and (row["valid_to"] is None or row["valid_to"] >= period.start)
    ]
    newest = {row["unit_code"]: row for row in reversed(living)}
    return [row for indicator in indicators for row in _rows_of(indicator, newest, period, levels)]


def _rows_of(
    indicator: ObservedIndicator, living: Mapping[str, Mapping[str, Any]], period: Period, levels: Sequence[str]
) -> Iterator[FormRow]:
    for code in sorted(living):
        unit = living[code]
        is_province = code == unit["province_code"]
        wanted = "all" if is_province else unit["level"]
        is_given = indicator.levels == ("all",) if is_province else wanted in indicator.levels
        if is_given and (not levels or wanted in levels):
            scope = "toàn tỉnh" if is_province else ""
            yield FormRow(indicator=indicator, unit_code=code, unit_name=unit["name"], scope=scope, period=period)


def write_form(path: Path, rows: Sequence[FormRow], *, kind: str) -> None:
    """Write the form; `kind` is one of FORMATS. The folder must exist, a file of that name is replaced."""
    (_write_xlsx if kind == "xlsx" else _write_csv)(path, rows)


def _headings() -> list[str]:
    from connectors.observation_files import HEADINGS

    return [HEADINGS[column] for column in COLUMNS]


def _write_csv(path: Path, rows: Sequence[FormRow]) -> None:
    """UTF-8 with a byte order mark and semicolons: what a Vietnamese Excel opens in columns."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file, delimiter=";", lineterminator="\r\n")
        writer.writerow(_headings())
        writer.writerows([safe(cell) for cell in row.cells()] for row in rows)


def _write_xlsx(path: Path, rows: Sequence[FormRow]) -> None:
    import xlsxwriter

    options = {"strings_to_formulas": False, "strings_to_numbers": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(str(path), options) as book:
        data = book.add_worksheet(_DATA_SHEET)
        _write_guide(book, rows)
        lists = _write_lists(book, rows)
        _write_data(book, data, rows)
        _write_rules(data, rows, lists)


def _write_data(book: xlsxwriter.Workbook, sheet: Any, rows: Sequence[FormRow]) -> None:
    heading = book.add_format({"bold": True, "bg_color": "#DDEBF7", "border": 1, "text_wrap": True, "valign": "top"})
    text = book.add_format({"num_format": "@"})
    filled = book.add_format({"num_format": "@", "font_color": "#595959"})
    number = book.add_format({"num_format": "#,##0"})
    share = book.add_format({"num_format": "0.0%"})
    day = book.add_format({"num_format": "dd/mm/yyyy"})
    formats = {"numerator": number, "denominator": number, "stated_on": day}
    for at, column in enumerate(COLUMNS):
        sheet.set_column(at, at, _WIDTHS[at], formats.get(column, text))
    sheet.write_row(0, 0, _headings(), heading)
    sheet.freeze_panes(1, 0)
    sheet.autofilter(0, 0, max(1, len(rows)), len(COLUMNS) - 1)
    for at, row in enumerate(rows, start=1):
        for place, cell in enumerate(row.cells()):
            if cell:
                sheet.write_string(at, place, cell, filled)
        wanted = share if row.indicator.scale == "share" else number
        sheet.write_blank(at, COLUMNS.index("value"), None, wanted)


def _write_guide(book: xlsxwriter.Workbook, rows: Sequence[FormRow]) -> None:
    from connectors.observation_files import GUIDE_SHEET

    sheet = book.add_worksheet(GUIDE_SHEET)
    bold, wrap = book.add_format({"bold": True}), book.add_format({"text_wrap": True, "valign": "top"})
    sheet.set_column(0, 0, 34, wrap)
    sheet.set_column(1, 1, 120, wrap)
    for at, (what, how) in enumerate(_GUIDE):
        sheet.write_string(at, 0, what, bold)
        sheet.write_string(at, 1, how)
    first = len(_GUIDE) + 1
    sheet.write_string(first, 0, "Chỉ số trong biểu này", bold)
    for number, indicator in enumerate(dict.fromkeys(row.indicator for row in rows), start=1):
        sheet.write_string(first + number, 0, indicator.id)
        sheet.write_string(first + number, 1, _about(indicator))


_ASKED = {
    "share": "ghi Giá trị là tỷ lệ (95,5% hoặc 0,955)",
    "number": "ghi Giá trị là số nguyên",
    "rank": "ghi Giá trị là thứ hạng",
}
_NATURE_VI = {
    "flow": "phát sinh trong kỳ; đủ các tháng thì hệ thống tự cộng thành quý, năm",
    "stock": "tính đến ngày cuối kỳ",
    "period": "nêu riêng cho từng kỳ, hệ thống không cộng",
}


def _about(indicator: ObservedIndicator) -> str:
    asked = f"ghi Tử số và Mẫu số ({indicator.counted})" if indicator.kind == "counts" else _ASKED[indicator.scale]
    return (
        f"{indicator.name_vi}: {asked}; {_NATURE_VI[indicator.nature]}. {indicator.note_vi}. "
        f"Căn cứ: {indicator.document}, {indicator.clause}."
    )


_GUIDE = (
    ("Cách điền", "Chỉ điền các cột Tử số, Mẫu số, Giá trị, Văn bản chứng minh, Chức danh xác nhận, Ngày xác nhận."),
    (
        "Chưa có số liệu",
        "Để trống cả Tử số, Mẫu số và Giá trị: dòng đó coi như chưa nêu. Không ghi 0 thay cho “chưa có”.",
    ),
    ("Văn bản chứng minh", "Số văn bản (ví dụ 123/BC-UBND ngày 05/11/2026) hoặc đường dẫn. Không ghi tên người."),
    (
        "Chức danh xác nhận",
        "Ví dụ: Chánh Văn phòng UBND tỉnh. Không ghi tên, số điện thoại, thư điện tử của bất kỳ ai.",
    ),
    ("Ngày xác nhận", "Ngày ký hoặc ngày chốt số liệu, dd/mm/yyyy. Đính chính: gửi lại dòng đó với ngày xác nhận mới."),
    ("Phạm vi", "Để trống cho từng đơn vị. Với mã tỉnh: toàn tỉnh, cấp tỉnh, cấp huyện hoặc cấp xã."),
    ("Kỳ", "Tháng 10/2026, Quý 4/2026, 6 tháng đầu năm 2026, Năm 2026."),
    ("Cộng lên cấp trên", "Cấp xã, cấp tỉnh, toàn tỉnh chỉ có số cộng khi mọi đơn vị của cấp đó đã nêu."),
    (
        "Gửi lại",
        "Lưu thành .xlsx hoặc CSV UTF-8 rồi đặt vào thư mục số liệu. Gửi lại cùng một tệp không làm thay đổi gì.",
    ),
)


@dataclass(frozen=True, kw_only=True)
class _Lists:
    """Where the lists that cells may be chosen from stand, as Excel's references."""

    indicators: str
    units: str
    scopes: str


def _write_lists(book: xlsxwriter.Workbook, rows: Sequence[FormRow]) -> _Lists:
    from connectors.observation_files import LISTS_SHEET
    from connectors.observation_statements import SCOPES

    sheet = book.add_worksheet(LISTS_SHEET)
    text = book.add_format({"num_format": "@"})
    columns = [
        sorted({row.indicator.id for row in rows}),
        # With the province's own code, for a whole level or the whole province in one statement.
        sorted({code for row in rows for code in (row.unit_code, row.unit_code.split(".")[0])}),
        list(SCOPES),
    ]
    references = []
    for at, values in enumerate(columns):
        sheet.write_column(0, at, values, text)
        letter = "ABC"[at]
        references.append(f"='{LISTS_SHEET}'!${letter}$1:${letter}${max(1, len(values))}")
    sheet.set_column(0, len(columns) - 1, 32, text)
    return _Lists(indicators=references[0], units=references[1], scopes=references[2])


def _write_rules(sheet: Any, rows: Sequence[FormRow], lists: _Lists) -> None:
    last = len(rows) + _SPARE_ROWS
    number = {"validate": "custom", "error_title": "Số không hợp lệ"}
    numerator, denominator = (f"{'ABCDEFGHIJKL'[COLUMNS.index(name)]}2" for name in ("numerator", "denominator"))
    whole = "AND(ISNUMBER({0}),{0}>=0,{0}=INT({0}))"
    within = f"IF(AND(ISNUMBER({numerator}),ISNUMBER({denominator})),{numerator}<={denominator},TRUE)"
    rules: dict[str, dict[str, Any]] = {
        "indicator": {
            "validate": "list",
            "source": lists.indicators,
            "error_message": "Chọn mã chỉ số trong danh mục.",
        },
        "unit_code": {"validate": "list", "source": lists.units, "error_message": "Chọn mã đơn vị trong danh mục."},
        "scope": {"validate": "list", "source": lists.scopes, "error_message": "Để trống, hoặc chọn trong danh sách."},
        "numerator": number
        | {
            "value": f"=AND({whole.format(numerator)},{within})",
            "error_message": "Số nguyên từ 0, không lớn hơn mẫu số.",
        },
        "denominator": number
        | {
            "value": f"=AND({whole.format(denominator)},{within})",
            "error_message": "Số nguyên từ 0, không nhỏ hơn tử số.",
        },
        "stated_on": {
            "validate": "date",
            "criteria": "between",
            "minimum": _FIRST_DATE,
            "maximum": _LAST_DATE,
            "error_message": "Ghi ngày, ví dụ 31/10/2026.",
        },
    }
    for column, rule in rules.items():
        at = COLUMNS.index(column)
        sheet.data_validation(1, at, last, at, rule)
    _write_value_rules(sheet, rows)


def _write_value_rules(sheet: Any, rows: Sequence[FormRow]) -> None:
    """What the value may be depends on the indicator of the row; one of counts has none."""
    at = COLUMNS.index("value")
    first = 1
    for indicator, group in groupby(rows, key=lambda row: row.indicator):
        last = first + len(list(group)) - 1
        sheet.data_validation(first, at, last, at, _value_rule(indicator))
        first = last + 1


def _value_rule(indicator: ObservedIndicator) -> dict[str, Any]:
    if indicator.kind == "counts":
        message = "Chỉ số này ghi Tử số và Mẫu số; để trống Giá trị."
        return {"validate": "custom", "value": "=FALSE", "error_message": message}
    if indicator.scale == "share":
        limits = {"criteria": "between", "minimum": 0, "maximum": 1}
        return {"validate": "decimal", **limits, "error_message": "Tỷ lệ từ 0% đến 100%."}
    minimum = 1 if indicator.kind == "rank" else 0
    return {"validate": "integer", "criteria": ">=", "value": minimum, "error_message": f"Số nguyên từ {minimum}."}


def chosen_indicators(wanted: Sequence[str]) -> tuple[ObservedIndicator, ...]:
    """The indicators of these ids, all of them for none; an unknown id is a `ConfigurationError` that lists them."""
    from assets.indicators.observed import observed_indicators

    known = {each.id: each for each in observed_indicators()}
    if unknown := [name for name in wanted if name not in known]:
        raise ConfigurationError(f"--indicator {', '.join(unknown)}: không có trong danh mục ({', '.join(known)})")
    return tuple(known[name] for name in dict.fromkeys(wanted)) or tuple(known.values())


def chosen_levels(wanted: Sequence[str]) -> tuple[str, ...]:
    """The levels asked for, none for every one; an unknown one is a `ConfigurationError` that lists them."""
    from warehouse.tables import LEVELS

    known = (*LEVELS, "all")
    if unknown := [name for name in wanted if name not in known]:
        raise ConfigurationError(f"--level {', '.join(unknown)}: phải là {', '.join(known)} (unknown level)")
    return tuple(wanted)


def chosen_period(text: str | None, *, today: date) -> Period:
    """The period as the command line says it (2026-10, 2026-Q4, 2026-H2, 2026), last month by default."""
    from connectors.observation_cells import Cell, Period, UnreadableCellError, period_of

    if text is None:
        return Period((today.replace(day=1) - timedelta(days=1)).replace(day=1), "month")
    try:
        period = period_of(Cell(text))
    except UnreadableCellError as error:
        raise ConfigurationError(f"--period: {error}") from None
    if period is None:
        raise ConfigurationError("--period: còn trống (empty)")
    return period


def chosen_format(path: Path, wanted: str | None) -> str:
    """The format that is asked for, else what the file's name says."""
    kind = (wanted or path.suffix.removeprefix(".")).lower()
    if kind not in FORMATS:
        raise ConfigurationError(f"--format: {kind or '(trống)'} phải là {' hoặc '.join(FORMATS)}")
    return kind


def template(
    path: Annotated[Path, typer.Argument(show_default=False, help="Tệp cần ghi · file to write (.xlsx, .csv)")],
    *,
    indicator: Annotated[
        list[str] | None, typer.Option("--indicator", help="Mã chỉ số, lặp lại được · indicator ids; all by default")
    ] = None,
    period: Annotated[
        str | None, typer.Option(help="Kỳ: 2026-10, 2026-Q4, 2026-H2, 2026 · period; last month by default")
    ] = None,
    level: Annotated[
        list[str] | None, typer.Option("--level", help="Chỉ các cấp này: province, district, commune, all")
    ] = None,
    kind: Annotated[str | None, typer.Option("--format", help="xlsx | csv; theo đuôi tệp · by the file's name")] = None,
    province: Annotated[Path | None, typer.Option("--province", help="Tệp YAML của tỉnh · province file")] = None,
) -> None:
    """Ghi biểu mẫu số liệu quan sát cho đơn vị điền. · Write the form in which offices send observations."""
    from datetime import UTC, datetime
    from zoneinfo import ZoneInfo

    from rich.console import Console
    from xlsxwriter.exceptions import FileCreateError

    from warehouse.reference import unit_table

    today = datetime.now(UTC).astimezone(ZoneInfo("Asia/Ho_Chi_Minh")).date()
    loaded = load_province(province or province_path(), home=Home.from_environment())
    wanted = chosen_format(path, kind)
    units = unit_table(loaded.province_code, loaded.departments)
    rows = form_rows(
        chosen_indicators(indicator or []),
        units,
        chosen_period(period, today=today),
        levels=chosen_levels(level or ()),
    )
    if not rows:
        raise ConfigurationError("không có đơn vị nào cho các chỉ số, kỳ và cấp này (no unit for this choice)")
    if not path.parent.is_dir():
        raise ConfigurationError(f"{path.parent}: thư mục không tồn tại (no such folder)")
    try:
        write_form(path, rows, kind=wanted)
    except (OSError, FileCreateError) as error:
        raise ConfigurationError(f"{path}: không ghi được ({error}) (cannot be written)") from None
    Console(highlight=False).print(f"[green]✓[/green] {len(rows)} dòng · {path}", soft_wrap=True)
