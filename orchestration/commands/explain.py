"""`thuocdo explain INDICATOR --period … --against …`: why a rate changed.

Belongs here: the two tables that are printed. Does not belong here: the split (`assets.questions.explain`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from expectations.wording import count_vi, rate_vi
from orchestration.commands.asked import chosen, chosen_period, chosen_unit
from orchestration.settings import ConfigurationError, Home

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table

    from assets.indicators.definitions import Definition
    from assets.questions.explain import Effect, Explanation

Indicator = Annotated[str, typer.Argument(help="Mã chỉ số, ví dụ online-processing · indicator id")]
Version = Annotated[
    str | None, typer.Option("--version", help="Phiên bản định nghĩa, khi chỉ số có nhiều · definition version")
]
PeriodText = Annotated[str, typer.Option("--period", help="Kỳ: 2026, 2026-H1, 2026-Q3, 2026-10 · period")]
AgainstText = Annotated[str, typer.Option("--against", help="So với kỳ · the period to compare with")]
UnitCode = Annotated[str | None, typer.Option("--unit", help="Chỉ một đơn vị · one unit only")]
Top = Annotated[int, typer.Option(min=1, help="Số dòng mỗi bảng · rows of each table")]


def explain(
    indicator: Indicator,
    *,
    period: PeriodText,
    against: AgainstText,
    version: Version = None,
    unit: UnitCode = None,
    top: Top = 10,
) -> None:
    """Tách thay đổi của một tỷ lệ thành phần do tỷ lệ và phần do cơ cấu. · Split the change of a rate."""
    from rich.console import Console

    from assets.indicators.definitions import load_definitions
    from assets.questions.explain import NothingToExplainError
    from assets.questions.explain import explain as answer
    from warehouse.database import Database
    from warehouse.lake import Lake
    from warehouse.tables import CORE_PROCEDURE, CORE_UNIT

    home = Home.from_environment()
    definition = chosen(load_definitions(), indicator, version)
    newest = Database.open(home.database_url).newest_night()
    if newest is None:
        raise ConfigurationError(f"{home.root}: chưa có đêm nào hoàn thành, hãy chạy thuocdo night (no night yet)")
    lake = Lake(home.lake)
    now, then = chosen_period(period), chosen_period(against, key="--against")
    asked = chosen_unit(lake, unit)
    try:
        found = answer(lake, definition, period=now, against=then, as_of=newest.as_of, unit_code=asked)
    except NothingToExplainError as error:
        raise ConfigurationError(f"{then.label}, {now.label}, {asked or 'toàn tỉnh'}: {error}") from None
    names = lake.connect(CORE_UNIT, CORE_PROCEDURE)
    units = dict(names.sql("SELECT unit_code, arg_max(name, valid_from) FROM core_unit GROUP BY 1").fetchall())
    procedures = names.sql("SELECT procedure_code, arg_max(name, valid_from) FROM core_procedure GROUP BY 1").fetchall()
    console = Console(highlight=False)
    console.print(_summary(definition, found, then.label, now.label))
    console.print(_table("Đơn vị · unit", found.units, units, top))
    console.print(_table("Thủ tục · procedure", found.procedures, dict(procedures), top))


def points(parts: int) -> str:
    """Ten-thousandths of a percentage point with their sign, for people: "+1,2500"."""
    sign = "−" if parts < 0 else "+" if parts > 0 else ""
    whole, rest = divmod(abs(parts), 10_000)
    return f"{sign}{whole},{rest:04d}"


def _summary(definition: Definition, found: Explanation, then: str, now: str) -> str:
    return (
        f"[bold]{definition.name_vi}[/bold] ({definition.id} {definition.version})\n"
        f"{then}: {rate_vi(*found.before)} ({count_vi(found.before[0])}/{count_vi(found.before[1])}) → "
        f"{now}: {rate_vi(*found.after)} ({count_vi(found.after[0])}/{count_vi(found.after[1])})\n"
        f"Thay đổi {points(found.change)} điểm phần trăm = do tỷ lệ {points(found.rate)} + "
        f"do cơ cấu {points(found.mix)} (rate effect + mix effect)"
    )


def _table(title: str, effects: Sequence[Effect], names: Mapping[str, str], top: int) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(title, max_width=60)
    for heading in ("Trước\nbefore", "Sau\nafter", "Do tỷ lệ\nrate", "Do cơ cấu\nmix", "Cộng\ntotal"):
        table.add_column(heading, justify="right", no_wrap=True)
    for effect in effects[:top]:
        cells = (f"{n}/{d}" for n, d in (effect.before, effect.after))
        name = f"{effect.name} {names.get(effect.name, '')}".strip()
        table.add_row(name, *cells, points(effect.rate), points(effect.mix), points(effect.total))
    rest = effects[top:]
    if rest:
        rate, mix = sum(effect.rate for effect in rest), sum(effect.mix for effect in rest)
        table.add_row(f"… {len(rest)} dòng còn lại · the rest", "", "", points(rate), points(mix), points(rate + mix))
    return table
