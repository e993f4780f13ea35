"""`thuocdo upkeep`: bring the lake into order now, or say what that would do.

Belongs here: the options and what is printed. Does not belong here: the rules (`warehouse/upkeep.py`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from orchestration.settings import Home


def upkeep(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Chỉ nói, không thay đổi gì · change nothing")] = False,
) -> None:
    """Gộp tệp nhỏ, dọn phiên bản quá hạn của kho. · Compact the lake and clear versions past their time."""
    from rich.console import Console
    from rich.markup import escape

    from expectations.wording import count_vi
    from orchestration.run import prepare_dagster
    from orchestration.upkeep import Settings, line, purge_runs, run_upkeep

    home, settings, now = Home.from_environment(), Settings.from_environment(), datetime.now(UTC)
    console = Console(highlight=False)
    report = run_upkeep(
        home, settings, now=now, is_dry=dry_run, on_table=lambda table: console.print(escape(line(table)))
    )
    with prepare_dagster(home) as instance:
        purged = purge_runs(instance, now=now, days=settings.run_days, is_dry=dry_run)
    freed = sum(table.removed_bytes for table in report.tables) / 2**20
    done = "Sẽ dọn · would free" if dry_run else "Đã dọn · freed"
    console.print(
        f"[green]✓[/green] {done} {freed:.1f} MiB; còn đọc lại được {count_vi(report.kept_nights)} đêm, "
        f"thôi giữ {count_vi(len(report.cleared_nights))} đêm, {count_vi(len(purged))} lần chạy Dagster cũ"
    )
