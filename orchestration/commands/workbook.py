"""`thuocdo workbook [--period …] [PATH]`: the newest publication as the workbook that an office files.

Belongs here: reading one publication's tables and writing the file. Does not belong here: what the sheets hold
(`assets/publications/workbook.py`).
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.commands.asked import chosen_period
from orchestration.settings import ConfigurationError, Home

if TYPE_CHECKING:
    from assets.publications.workbook import Source

PeriodText = Annotated[
    str | None,
    typer.Option("--period", help="Kỳ: 2026, 2026-H1, 2026-Q3, 2026-10; tháng gần nhất đã hết nếu không nói · period"),
]
Target = Annotated[
    Path | None, typer.Argument(show_default=False, help="Tệp .xlsx hoặc thư mục · file or folder to write")
]


def workbook(path: Target = None, *, period: PeriodText = None) -> None:
    """Xuất biểu thống kê, bốn tỷ lệ, bảng 766 và danh sách việc ra XLSX. · Write the workbook of a period."""
    from rich.console import Console

    from assets.publications.workbook import NoSuchPeriodError, last_finished_month
    from assets.publications.workbook import workbook as made

    source = read_source(Home.from_environment().published)
    chosen = chosen_period(period) if period else last_finished_month(source.as_of)
    try:
        content = made(source, chosen)
    except NoSuchPeriodError as error:
        raise ConfigurationError(str(error)) from None
    target = target_file(path, chosen.code)
    try:
        target.write_bytes(content)
    except OSError as error:
        raise ConfigurationError(f"{target}: không ghi được ({error.strerror}) (cannot be written)") from None
    Console(highlight=False).print(f"[green]✓[/green] {chosen.label}: {target}", soft_wrap=True)


def read_source(published: Path) -> Source:
    """The tables of the publication behind the link `published`, resolved once so that all fit together.

    Raises `ConfigurationError` when nothing was ever published.
    """
    import pyarrow.parquet as pq

    from assets.publications.manifest import ManifestError, read_manifest
    from assets.publications.workbook import TABLES, Source

    folder = published.resolve()
    try:
        manifest = read_manifest(folder)
    except ManifestError as error:
        raise ConfigurationError(
            f"{published}: chưa có bản xuất bản trọn vẹn, hãy chạy thuocdo night (nothing published): {error}"
        ) from None
    paths = {resource["name"]: folder / resource["path"] for resource in manifest["resources"]}
    return Source(
        tables={name: pq.read_table(paths[name]) for name in TABLES if name in paths},
        fingerprint=manifest["x-fingerprint"],
        night=manifest["x-night"],
        as_of=datetime.fromisoformat(manifest["x-as-of"]),
    )


def target_file(path: Path | None, period_code: str) -> Path:
    """Where the workbook goes: the file given, or a file named after the period in the folder given (or here)."""
    name = f"thuoc-do-{period_code}.xlsx"
    if path is None:
        return Path(name)
    return path / name if path.is_dir() else path
