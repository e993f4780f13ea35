"""`thuocdo verify`: read everything again and say what is damaged.

Belongs here: what is read, in which order, and what is printed. Does not belong here: the checks themselves
(`assets.publications.manifest` and `mirror`, `warehouse.inspection`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import typer

from orchestration.settings import ConfigurationError, Home, load_province, province_path


def verify() -> None:
    """Đọc lại mọi bản xuất bản, kho và cơ sở dữ liệu. · Read everything again and say what is damaged."""
    from rich.console import Console
    from rich.markup import escape

    from expectations.wording import count_vi
    from warehouse.database import Database
    from warehouse.inspection import inspect_database, inspect_lake, inspect_nights
    from warehouse.lake import Lake

    home = Home.from_environment()
    lake, database = Lake(home.lake), Database.open(home.database_url)
    console, read = Console(highlight=False), {"tables": 0, "rows": 0}

    def count(_: str, rows: int) -> None:
        """Add a table that was read, with its rows, to what is told at the end."""
        read["tables"] += 1
        read["rows"] += rows

    found = 0
    for damage in chain(
        publication_damages(home),
        map(str, inspect_lake(lake, on_table=count)),
        map(str, inspect_nights(lake, database)),
        map(str, inspect_database(lake, database, tables_by_source())),
    ):
        console.print(f"[red]✗[/red] {escape(damage)}", soft_wrap=True)
        found += 1
    if found:
        console.print(f"[red]✗[/red] {count_vi(found)} chỗ hư hỏng · {found} damaged")
        raise typer.Exit(1)
    nights = len(database.past_nights())
    console.print(
        f"[green]✓[/green] {escape(str(home.published.resolve()))}; {count_vi(read['tables'])} bảng, "
        f"{count_vi(read['rows'])} dòng trong kho; {count_vi(nights)} đêm đọc lại được · all of it reads as written"
    )


def publication_damages(home: Home) -> Iterator[str]:
    """Damage in the publications of the home, all that stand, and in those that its bucket points at."""
    from assets.publications.manifest import MANIFEST
    from assets.publications.manifest import verify as differences
    from assets.publications.mirror import verify_sent

    yield from differences(home.published)
    current = home.published.resolve()
    for kind in ("publications", "public-copies"):
        for folder in sorted((home.storage / kind).glob("*-*")):
            # One without a manifest was never finished: the next night removes it.
            if folder.is_dir() and folder.resolve() != current and (folder / MANIFEST).exists():
                yield from differences(folder)
        if home.remote:
            yield from verify_sent(home.remote, kind)


def tables_by_source() -> Mapping[str, Sequence[str]]:
    """Tables whose versions the cursors of each source count; without a province file only our own cursors."""
    from assets.raw.kinds import kind_of

    ours = {"conform": ["core_dossier"]}
    try:
        province = load_province(province_path(), home=Home.from_environment())
    except ConfigurationError:
        return ours
    sources = {
        name: [table.name for table in kind_of(source).tables(name, source).values()]
        for name, source in province.sources.items()
    }
    return sources | ours
