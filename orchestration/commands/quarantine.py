"""`thuocdo quarantine`: what was set aside and why, and having it read again.

Belongs here: the table that is printed, and marking entries under the home's lock. Does not belong here:
what is set aside (`assets.raw.quarantine`, conforming), nor the reading itself, which a night does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from expectations.wording import count_vi
from orchestration.settings import Home

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

    from assets.dossiers.directory import Waiting
    from assets.raw.quarantine import Reason

Source = Annotated[str | None, typer.Option("--source", help="Chỉ một nguồn · one source alone")]
Replay = Annotated[
    bool, typer.Option("--replay", help="Đêm tới đọc lại những bản ghi này · have the next night read them again")
]


def quarantine(source: Source = None, *, replay: Replay = False) -> None:
    """Bản ghi đang bị cách ly, theo lý do; đọc lại được. · Records set aside, by reason; they can be read again."""
    from rich.console import Console

    from assets.dossiers.directory import waiting
    from assets.raw.quarantine import ask_again, reasons
    from orchestration.lock import night_lock
    from warehouse.lake import Lake

    home, console = Home.from_environment(), Console(highlight=False)
    lake = Lake(home.lake)
    found = reasons(lake, source=source)
    if not found:
        console.print("Không có bản ghi nào bị cách ly. · Nothing is set aside.")
        return
    console.print(_table(found))
    if held := waiting(lake, source=source):
        console.print(_agencies(held))
    if replay:
        with night_lock(home, night="quarantine --replay"):
            marked = ask_again(lake, source=source)
        console.print(
            f"Đêm tới sẽ đọc lại {count_vi(marked)} bản ghi bị dừng ở khâu trích xuất; bản ghi bị dừng ở khâu hợp nhất "
            "tự trở lại khi mã của nó có nghĩa. · the next night reads them again"
        )


def _agencies(held: Iterable[Waiting]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    caption = "Đơn vị chưa gắn: thuocdo units --propose · agencies without a unit"
    table = Table(box=None, pad_edge=False, header_style="dim", caption=caption)
    table.add_column("Nguồn\nsource", no_wrap=True)
    table.add_column("Đơn vị\nagency", overflow="fold")
    table.add_column("Số\ncount", justify="right", no_wrap=True)
    table.add_column("Trong danh bạ của nguồn\nin the source's directory", overflow="fold")
    for one in held:
        named = "; ".join(map(str, one.listed)) or "không có"
        table.add_row(one.source, *map(escape, (one.agency, count_vi(one.records), named)))
    return table


def _table(found: Iterable[Reason]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim", caption="Số bản ghi đang chờ · records waiting")
    for heading in ("Nguồn\nsource", "Khâu\nstage", "Lý do\nreason"):
        table.add_column(heading, no_wrap=True)
    table.add_column("Số\ncount", justify="right", no_wrap=True)
    table.add_column("Ví dụ\nexample", overflow="fold")
    for one in found:
        table.add_row(one.source, one.stage, one.reason, count_vi(one.count), one.detail)
    return table
