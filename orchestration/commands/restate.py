"""`thuocdo restate`: figures as they were reported, as they are now, and the dossiers between.

Belongs here: which nights a question means, the tables printed, the CSV of dossiers. Does not belong here:
the answer (`assets.questions.restate`).
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expectations.wording import count_vi, rate_vi, value_vi
from orchestration.commands.asked import chosen_period, chosen_unit, csv_file, safe
from orchestration.settings import ConfigurationError, Home, Province, load_province, province_path

if TYPE_CHECKING:
    from rich.table import Table

    from assets.periods import Period
    from assets.questions.restate import Changed, Figure, Knowledge, Restated, Restatement
    from warehouse.database import Database, PastNight

_STANDING_VI = {
    "same": "",
    "changed": "định nghĩa đã đổi từ đó",
    "absent": "khi đó chưa có định nghĩa này",
    "unknown": "không còn biết định nghĩa khi đó",
}
#: Dossiers printed per indicator version; the CSV has them all.
_SHOWN = 20
_COLUMNS = (
    *("indicator", "version", "dossier_key", "payment_no", "change", "unit_then", "unit_now", "day_then", "day_now"),
    *("denominator_then", "denominator_now", "numerator_then", "numerator_now", "other_key", "fields", "because"),
)


def restate(
    *,
    day: Annotated[
        datetime | None,
        typer.Option(
            "--as-known-on",
            formats=["%Y-%m-%d"],
            help="Như đã biết hết ngày này; không nói: đêm đầu tiên biết trọn kỳ · as known on that day",
        ),
    ] = None,
    indicator: Annotated[str | None, typer.Option("--indicator", help="Chỉ số · indicator id")] = None,
    version: Annotated[str | None, typer.Option("--version", help="Phiên bản định nghĩa · definition version")] = None,
    period: Annotated[str | None, typer.Option("--period", help="Kỳ: 2026, 2026-H1, 2026-Q3, 2026-10 · period")] = None,
    unit: Annotated[str | None, typer.Option("--unit", help="Một đơn vị, mặc định toàn tỉnh · one unit only")] = None,
    file: Annotated[
        Path | None, typer.Option("--csv", help="Ghi danh sách hồ sơ thay đổi · write the dossiers between")
    ] = None,
) -> None:
    """Số đã báo cáo, số nay và các hồ sơ ở giữa. · Reported then, restated now, and the dossiers between."""
    from rich.console import Console
    from rich.markup import escape

    home = Home.from_environment()
    province = load_province(province_path(), home=home)
    asked = _Asked(
        day=day, period=chosen_period(period) if period else None, unit=unit, indicator=indicator, version=version
    )
    found = _answered(home, province, asked)
    console = Console(highlight=False)
    console.print(escape(heading_vi(found)))
    console.print(figure_table(found))
    if indicator is not None:
        for one in found.figures:
            if one.dossiers:
                console.print(dossier_table(one))
    if file is not None:
        write_csv(file, found.figures)
        console.print(f"[green]✓[/green] {file}")


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """The question as the command line put it; None where it said nothing."""

    day: datetime | None
    period: Period | None
    unit: str | None
    indicator: str | None
    version: str | None


def _answered(home: Home, province: Province, asked: _Asked) -> Restatement:
    """The figures asked for; `ConfigurationError` where there are none on either night."""
    from assets.indicators.definitions import load_definitions
    from assets.questions.past import NoNightError, VersionGoneError, newest_night
    from assets.questions.restate import restate as answer
    from warehouse.database import Database

    database = Database.open(home.database_url)
    try:
        night, period = _meant(database, asked.day, asked.period)
        now = knowledge(home, newest_night(database))
        found = answer(
            knowledge(home, night),
            now,
            load_definitions(),
            period=period,
            province_code=province.province_code,
            start_on=province.start_on,
            unit_code=chosen_unit(now.lake, asked.unit),
            indicator=asked.indicator,
            version=asked.version,
        )
    except (NoNightError, VersionGoneError) as error:
        raise ConfigurationError(str(error)) from None
    if all(one.reported is None and one.now is None for one in found.figures):
        named = " ".join(word for word in (asked.indicator or "mọi chỉ số", asked.version) if word)
        raise ConfigurationError(
            f"Không có số nào cho {period.label}, {asked.unit or 'toàn tỉnh'}, {named} (no such figure)"
        )
    return found


def _meant(database: Database, day: datetime | None, period: Period | None) -> tuple[PastNight, Period]:
    """The night and period of the question: each follows from the other where it is not said."""
    from assets.periods import VIETNAM, Period
    from assets.questions.past import first_night_covering, night_known_on

    if day is not None:
        known = night_known_on(database, day.date())
        last_day = (known.as_of - timedelta(microseconds=1)).astimezone(VIETNAM).date()
        return known, period or Period("month", last_day.replace(day=1))
    if period is None:
        raise ConfigurationError("Hãy nói --as-known-on hoặc --period (say a day or a period)")
    first = first_night_covering(database, period.ends_at)
    if first is None:
        raise ConfigurationError(f"Chưa có đêm nào biết trọn {period.label} (no night covers the whole period yet)")
    return first, period


def knowledge(home: Home, night: PastNight) -> Knowledge:
    """A night as questions see it."""
    from assets.questions.past import PastLake, definitions_of
    from assets.questions.restate import Knowledge
    from warehouse.lake import Lake

    return Knowledge(
        night=night.night,
        as_of=night.as_of,
        lake=PastLake.of(Lake(home.lake), night),
        definitions=definitions_of(home.published.parent / "publications", night.night),
    )


def heading_vi(found: Restatement) -> str:
    """The period, the unit and what both nights knew."""
    from assets.questions.decisions import said

    nights = f"số liệu đến {said(found.then.as_of)} và đến {said(found.now.as_of)}"
    return f"{found.period.label}, {found.unit_code or 'toàn tỉnh'}, {nights}"


def figure_table(found: Restatement) -> Table:
    """One line per indicator version: reported, counted again, now, and what changed."""
    from rich.table import Table

    from assets.questions.restate import CHANGE_VI

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("Chỉ số\nindicator")
    for heading in ("Đã báo cáo\nreported", "Tính lại\nrecomputed", "Nay\nnow"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("Thay đổi · changes")
    for one in found.figures:
        notes = [f"{count_vi(count)} {CHANGE_VI[kind]}" for kind, count in one.changes.items()]
        standing = _STANDING_VI[one.definition] if one.is_counted else "không đếm từ hồ sơ, nên không có danh sách"
        notes += [note for note in (standing, _mismatch(one)) if note]
        figures = (figure_vi(figure) for figure in (one.reported, one.recomputed, one.now))
        table.add_row(f"{one.indicator} {one.version}", *figures, "; ".join(notes) or "không đổi")
    return table


def _mismatch(one: Restated) -> str:
    differs = one.recomputed is not None and one.reported is not None and one.recomputed != one.reported
    return "tính lại khác số đã báo cáo" if differs else ""


def figure_vi(figure: Figure | None) -> str:
    """58,2 % (1.143/1.964); a dash where there is no figure."""
    if figure is None:
        return "–"
    if figure.numerator is None or figure.denominator is None:
        return "–" if figure.rate is None else value_vi(figure.rate)
    rate = rate_vi(figure.numerator, figure.denominator) if figure.denominator else "–"
    return f"{rate} ({count_vi(figure.numerator)}/{count_vi(figure.denominator)})"


def dossier_table(one: Restated) -> Table:
    """The first dossiers between, with the facts that changed."""
    from rich.markup import escape
    from rich.table import Table

    from assets.questions.restate import CHANGE_VI

    more = len(one.dossiers) - _SHOWN
    table = Table(
        title=f"\n{one.indicator} {one.version}",
        caption=f"… và {count_vi(more)} hồ sơ nữa (--csv ghi hết)" if more > 0 else None,
        box=None,
        pad_edge=False,
        header_style="dim",
    )
    for heading in ("Hồ sơ · dossier", "Thay đổi · change", "Dữ kiện · facts", "Phần quyết định · because"):
        table.add_column(heading, overflow="fold")
    for dossier in one.dossiers[:_SHOWN]:
        change = ", ".join(CHANGE_VI[kind] for kind in dossier.change.split(" + "))
        table.add_row(*map(escape, (_named(dossier), change, facts_vi(dossier), because_vi(dossier))))
    return table


def _named(dossier: Changed) -> str:
    number = f" #{dossier.payment_no}" if dossier.payment_no is not None else ""
    return f"{dossier.dossier_key}{number}" + (f" (trước/sau: {dossier.other_key})" if dossier.other_key else "")


def facts_vi(dossier: Changed) -> str:
    """Each fact that changed, then → now; or why there is none."""
    if dossier.fields:
        return "; ".join(f"{one.field}: {one.then or 'trống'} → {one.now or 'trống'}" for one in dossier.fields)
    if not dossier.known_then:
        return "khi đó chưa có trong kho"
    if not dossier.known_now:
        return "nay không còn trong kho"
    return "dữ kiện không đổi, thời điểm tính đã khác"


def because_vi(dossier: Changed) -> str:
    """The parts of the rule that kept it out on the night on which it counted less."""
    return "; ".join(part.vi for part in dossier.because)


def write_csv(path: Path, figures: Iterable[Restated]) -> None:
    """Every dossier between as CSV that Excel opens as UTF-8; no cell can start a formula."""
    with csv_file(path, key="--csv") as stream:
        writer = csv.writer(stream)
        writer.writerow(_COLUMNS)
        for one in figures:
            for dossier in one.dossiers:
                values = [getattr(dossier, name) for name in _COLUMNS[2:-2]]
                cells = [one.indicator, one.version, *values, facts_vi(dossier), because_vi(dossier)]
                writer.writerow([safe(cell) for cell in cells])
