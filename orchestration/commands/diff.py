"""`thuocdo diff INDICATOR VERSION_A VERSION_B`: two versions of a rule, dossier by dossier.

Belongs here: the tables printed and the CSV of dossiers. Does not belong here: the comparison
(`assets.questions.difference`).
"""

from __future__ import annotations

import csv
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expectations.wording import count_vi
from orchestration.commands.asked import chosen, chosen_period, chosen_unit, csv_file, safe
from orchestration.settings import ConfigurationError, Home

if TYPE_CHECKING:
    from rich.table import Table

    from assets.periods import Period
    from assets.questions.difference import Difference, Differing, Missing

_WHAT_VI = {"denominator": "mẫu số", "numerator": "tử số"}
#: Dossiers printed; the CSV has them all.
_SHOWN = 20


def diff(
    indicator: Annotated[str, typer.Argument(help="Chỉ số · indicator id")],
    version_a: Annotated[str, typer.Argument(help="Phiên bản thứ nhất · first version")],
    version_b: Annotated[str, typer.Argument(help="Phiên bản thứ hai · second version")],
    *,
    period: Annotated[
        str | None, typer.Option("--period", help="Kỳ, mặc định năm mới nhất · period, by default the newest year")
    ] = None,
    unit: Annotated[str | None, typer.Option("--unit", help="Một đơn vị, mặc định toàn tỉnh · one unit only")] = None,
    file: Annotated[Path | None, typer.Option("--csv", help="Ghi mọi hồ sơ khác nhau · write every dossier")] = None,
) -> None:
    """So hai phiên bản của một chỉ số theo từng hồ sơ. · Compare two versions of an indicator dossier by dossier."""
    from rich.console import Console

    from assets.indicators.definitions import load_definitions
    from assets.questions.difference import IncomparableError, difference
    from assets.questions.past import NoNightError, PastLake, VersionGoneError, newest_night
    from warehouse.database import Database
    from warehouse.lake import Lake

    home = Home.from_environment()
    a, b = (chosen(load_definitions(), indicator, version) for version in (version_a, version_b))
    try:
        night = newest_night(Database.open(home.database_url))
        asked = chosen_period(period) if period else _newest_year(night.as_of)
        lake = PastLake.of(Lake(home.lake), night)
        found = difference(lake, a, b, period=asked, unit_code=chosen_unit(lake, unit), as_of=night.as_of)
    except (NoNightError, VersionGoneError, IncomparableError) as error:
        raise ConfigurationError(str(error)) from None
    if found.denominator.count == 0:
        raise ConfigurationError(
            f"{indicator}: không phiên bản nào đếm gì trong {asked.label}, {found.unit_code or 'toàn tỉnh'} "
            "(neither version counts anything)"
        )
    console = Console(highlight=False)
    console.print(agreement_table(found))
    if found.dossiers:
        console.print(reason_table(found))
        console.print(dossier_table(found))
    if file is not None:
        write_csv(file, found)
        console.print(f"[green]✓[/green] {file}")


def _newest_year(as_of: datetime) -> Period:
    from assets.periods import VIETNAM, Period

    last = (as_of - timedelta(microseconds=1)).astimezone(VIETNAM).date()
    return Period("year", last.replace(month=1, day=1))


def agreement_table(found: Difference) -> Table:
    """How many both versions count, and each of them alone."""
    from rich.table import Table

    where = found.unit_code or "toàn tỉnh"
    title = f"{found.a.id}: {found.a.version} và {found.b.version}, {found.period.label}, {where}"
    table = Table(title=title, box=None, pad_edge=False, header_style="dim")
    for heading in ("", "Cả hai · both", f"Chỉ {found.a.version}", f"Chỉ {found.b.version}", "Chênh lệch · difference"):
        table.add_column(heading, justify="right" if heading else "left")
    for what, counts in (("denominator", found.denominator), ("numerator", found.numerator)):
        numbers = (counts.both, counts.only_a, counts.only_b, counts.only_a - counts.only_b)
        table.add_row(_WHAT_VI[what], *map(count_vi, numbers))
    return table


def reason_table(found: Difference) -> Table:
    """The parts of the rules that decided, by how many dossiers each decided."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="\nPhần quyết định · what decided", box=None, pad_edge=False, header_style="dim")
    for heading in ("Không có trong · missing from", "Vì không thỏa · because of"):
        table.add_column(heading, overflow="fold")
    table.add_column("Số hồ sơ", justify="right")
    for missing, count in found.reasons():
        table.add_row(_place(found, missing), escape(missing.rule), count_vi(count))
    return table


def dossier_table(found: Difference) -> Table:
    """The first dossiers that are counted differently, with the values that decided."""
    from rich.markup import escape
    from rich.table import Table

    more = len(found.dossiers) - _SHOWN
    caption = f"… và {count_vi(more)} hồ sơ nữa (--csv ghi hết)" if more > 0 else None
    table = Table(title="\nHồ sơ · dossiers", caption=caption, box=None, pad_edge=False, header_style="dim")
    for heading in ("Hồ sơ · dossier", "Đơn vị · unit", "Vì sao · why"):
        table.add_column(heading, overflow="fold")
    for one in found.dossiers[:_SHOWN]:
        table.add_row(*map(escape, (one.dossier_key, one.unit_code, why_vi(found, one))))
    return table


def why_vi(found: Difference, one: Differing) -> str:
    """Where it is missing, and each deciding part with its values."""
    return "; ".join(
        f"không vào {_place(found, missing)}: {', '.join(part.vi for part in missing.parts)}" for missing in one.missing
    )


def _place(found: Difference, missing: Missing) -> str:
    version = found.a.version if missing.side == "a" else found.b.version
    return f"{_WHAT_VI[missing.what]} {version}"


def write_csv(path: Path, found: Difference) -> None:
    """Every dossier that is counted differently, as CSV that Excel opens as UTF-8."""
    flags = ("denominator_a", "denominator_b", "numerator_a", "numerator_b")
    with csv_file(path, key="--csv") as stream:
        writer = csv.writer(stream)
        writer.writerow(("dossier_key", "payment_no", "unit_code", *flags, "why"))
        for one in found.dossiers:
            cells = (one.dossier_key, one.payment_no, one.unit_code, *(getattr(one, name) for name in flags))
            writer.writerow([safe(cell) for cell in (*cells, why_vi(found, one))])
