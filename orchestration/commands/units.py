"""`thuocdo units`: every agency code that the sources' directories list, and the unit of ours that it is.

Belongs here: the table that is printed, the rows for agencies.csv, errors for operators. Does not belong here: what
is known of a code (`assets.dossiers.directory`), nor which unit it may be (`assets.dossiers.unit_proposal`).
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expectations.wording import count_vi
from orchestration.settings import Home, Province, load_province, province_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa
    from rich.console import Console
    from rich.table import Table

    from assets.dossiers.directory import Entry
    from assets.dossiers.unit_proposal import Proposal

Source = Annotated[str | None, typer.Option("--source", help="Chỉ một nguồn · one source alone")]
Unmapped = Annotated[bool, typer.Option("--unmapped", help="Chỉ mã chưa gắn · only codes without a unit of ours")]
Propose = Annotated[
    bool,
    typer.Option(
        "--propose",
        help="In các dòng CSV cho agencies.csv; điều còn nghi ngờ in ra luồng lỗi · rows for agencies.csv on the "
        "standard output, doubts on the standard error",
    ),
]
ProvinceFile = Annotated[Path | None, typer.Option("--province", help="Tệp YAML của tỉnh · province file")]


def units(
    source: Source = None, *, unmapped: Unmapped = False, propose: Propose = False, province: ProvinceFile = None
) -> None:
    """Danh bạ đơn vị của các nguồn và đơn vị của ta. · What sources call their units, and which of ours they are."""
    from datetime import UTC, datetime
    from zoneinfo import ZoneInfo

    from rich.console import Console

    from assets.dossiers.directory import entries, mapped, waiting, wanted
    from assets.dossiers.meanings import load_agencies
    from assets.dossiers.unit_proposal import propose as proposals
    from warehouse.lake import Lake
    from warehouse.reference import unit_table
    from warehouse.tables import CORE_AGENCY

    home = Home.from_environment()
    loaded = load_province(province or province_path(), home=home)
    lake = Lake(home.lake)
    agencies, says = load_agencies(loaded.agencies), {each.source: each.dossiers_say for each in loaded.units}
    # What was added to agencies.csv since the last night counts here already.
    listed = mapped(lake.read(CORE_AGENCY), agencies, says)
    found = [each for each in entries(listed) if source in (None, each.source)]
    known = unit_table(loaded.province_code, loaded.departments)
    if propose:
        today = datetime.now(UTC).astimezone(ZoneInfo("Asia/Ho_Chi_Minh")).date()
        _tell(proposals(found, known, agencies, says=says, on=today), loaded)
        return
    console = Console(highlight=False)
    if not found:
        console.print(
            "Chưa đọc danh bạ đơn vị nào: khai báo units trong tệp của tỉnh, rồi chạy thuocdo night. · No directory "
            "has been read yet"
        )
        return
    shown = [each for each in found if not unmapped or (each.unit_code is None and each.listed_to is None)]
    waits = wanted(waiting(lake))
    if shown:
        console.print(_table(shown, known, waits))
    _summarise(found, waits, console)


def _table(shown: Iterable[Entry], known: pa.Table, waits: dict[tuple[str, str], int]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    names = {row["unit_code"]: row["name"] for row in known.sort_by("valid_from").to_pylist()}
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("Nguồn\nsource", "Mã\ncode"):
        table.add_column(heading, no_wrap=True)
    for heading in ("Tên trong danh bạ\nname there", "Đơn vị của ta\nour unit", "Thay đổi\nchange"):
        table.add_column(heading, overflow="fold")
    for each in shown:
        records = waits.get((each.source, each.agency), 0)
        unit = f"{each.unit_code} {names.get(each.unit_code, '')}" if each.unit_code else "chưa gắn"
        unit += f", {count_vi(records)} bản ghi chờ" if records else ""
        table.add_row(each.source, *map(escape, (each.agency, each.name, unit, each.note)))
    return table


def _summarise(found: Sequence[Entry], waits: dict[tuple[str, str], int], console: Console) -> None:
    for source in dict.fromkeys(each.source for each in found):
        listed = [each for each in found if each.source == source and each.listed_to is None]
        gone = sum(each.source == source and each.listed_to is not None for each in found)
        open_ones = [each for each in listed if each.unit_code is None]
        waited = sum((source, each.agency) in waits for each in open_ones)
        console.print(
            f"{source}: {count_vi(len(listed))} mã đang liệt kê, {count_vi(len(open_ones))} chưa gắn "
            f"({count_vi(waited)} có hồ sơ chờ), {count_vi(gone)} không còn liệt kê",
            soft_wrap=True,
        )


def _tell(found: Sequence[Proposal], province: Province) -> None:
    """Rows for agencies.csv on the standard output; beside it what is in doubt, with its candidates."""
    from rich.console import Console
    from rich.markup import escape

    settled = [each for each in found if each.unit_code]
    _write_rows(settled)
    aside = Console(stderr=True, highlight=False)
    aside.print(f"{count_vi(len(settled))} dòng cho {province.agencies.name}; đọc lại trước khi dán", soft_wrap=True)
    for each in found:
        if not each.unit_code:
            named = f"[yellow]?[/yellow] {each.source} {escape(each.code)} “{escape(each.name)}”: {each.why}"
            aside.print(named + "".join(f"\n    {escape(str(one))}" for one in each.candidates), soft_wrap=True)


def _write_rows(settled: Iterable[Proposal]) -> None:
    """The rows as agencies.csv has them, with its header."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("source", "agency", "unit_code"))
    writer.writerows((each.source, each.agency, each.unit_code) for each in settled)
