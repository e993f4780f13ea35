"""`thuocdo outlook`: where the year ends at this pace.

Belongs here: the table that is printed from the publication. Does not belong here: the forecast
(`assets.scorecards.outlook`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from expectations.wording import LEVEL_VI, count_vi, rate_vi, threshold_vi
from orchestration.settings import ConfigurationError, Home

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.table import Table

Unit = Annotated[
    str | None, typer.Option("--unit", help="Một đơn vị; không nói thì toàn tỉnh và các cấp · one unit's own outlook")
]


def outlook(unit: Unit = None) -> None:
    """Theo nhịp này thì cuối năm đạt bao nhiêu, còn cần bao nhiêu mỗi tuần. · Where the year ends at this pace."""
    import pyarrow.parquet as pq
    from rich.console import Console

    file = Home.from_environment().published.resolve() / "outlook.parquet"
    if not file.is_file():
        raise ConfigurationError(f"{file}: chưa xuất bản lần nào, hãy chạy thuocdo night (nothing published)")
    rows = pq.read_table(file).to_pylist()
    shown = [row for row in rows if (row["scope"] != "unit" if unit is None else row["unit_code"] == unit)]
    if not shown:
        asked = f"--unit {unit}: không có dự báo nào cho đơn vị này" if unit else "Chưa có dự báo nào"
        raise ConfigurationError(f"{asked} (no outlook)")
    Console(highlight=False).print(_table(shown))


_LEVELS = ("all", "province", "district", "commune")


def _table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """The outlook in 80 columns: targets in their order, the province before its levels."""
    from rich.table import Table

    table = Table(
        box=None,
        pad_edge=False,
        header_style="dim",
        caption="± là sai số lớn nhất của chính cách tính này trên quá khứ, trống khi thử chưa đủ năm lần; mỗi tuần: "
        "cần / nhịp hiện nay · ± is the largest error of the same method on the past; a week: needed / pace now",
    )
    for heading in ("Chỉ tiêu\ntarget", "Cấp\nlevel"):
        table.add_column(heading, no_wrap=True)
    for heading in (
        "Đến nay\nso far",
        "Cuối năm\nexpected",
        "±",
        "Ngưỡng\ntarget",
        "Còn cần\nneeded",
        "Mỗi tuần\na week",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in sorted(rows, key=lambda row: (row["target"], _LEVELS.index(row["level"]))):
        table.add_row(*_cells(row))
    return table


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    so_far = rate_vi(row["numerator"], row["denominator"]) if row["denominator"] else "–"
    error = row["error_largest"] if row["rate_low"] is not None else None
    return (
        row["target"],
        LEVEL_VI.get(row["level"], row["level"]),
        so_far,
        _percent(row["rate_expected"]),
        "" if error is None else _number(error * 100),
        threshold_vi(row["threshold"]),
        "không thể" if row["needed"] is None else count_vi(row["needed"]),
        f"{_number(row['needed_per_week'])}/{_number(row['pace_per_week'])}",
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share * 100:.1f} %".replace(".", ",")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}".replace(".", ",")
