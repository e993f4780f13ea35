"""What a night costs the lake as its history grows: ten thousand changed dossiers over 1, 5 and 20 million.

Belongs here: making histories, the upsert as conforming does it, a Delta merge of the same rows beside it, and the
fingerprint that follows. Does not belong here: extraction, counting (they have benchmarks of their own).

    python -m benchmarks.night [changes [rounds]]

A history grows in two ways. A *longer* one has more months of the same size: the same province, years later. A
*denser* one has larger months: a larger province, which would not have only ten thousand changes a night; it stands
here to show what a month's size costs. Months of one history are links to the files of one month, so that making
twenty million rows takes seconds; what is read and written is real.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable
from deltalake.transaction import AddAction, create_table_with_add_actions
from rich.console import Console

from benchmarks.processes import Measured, run_apart, stopwatch
from warehouse.lake import Lake, connect, duckdb_type
from warehouse.tables import CORE_DOSSIER

MODULE = "benchmarks.night"
SIZES = (1_000_000, 5_000_000, 20_000_000)
CHANGES = 10_000
#: Dossiers a month of a longer history; 10,000 changes a night are some 3,500 new dossiers, each changed three times.
MONTHLY = 100_000
#: Months of a denser history.
MONTHS = 60
#: Changes fall on dossiers of the newest three months, but for one in a hundred, up to seven months older.
_RECENT, _OLDER = 3, 7
_LAST = date(2026, 10, 1)

out = Console(highlight=False)


def months_back(count: int) -> list[str]:
    """The newest `count` storage months, newest first."""
    newest = _LAST.year * 12 + _LAST.month - 1
    return [f"{index // 12:04}-{index % 12 + 1:02}" for index in range(newest, newest - count, -1)]


def make_history(folder: Path, *, dossiers: int, is_dense: bool) -> Lake:
    """A lake whose core_dossier has `dossiers` rows."""
    monthly = dossiers // MONTHS if is_dense else MONTHLY
    months = months_back(max(dossiers // monthly, _RECENT))
    lake = Lake(str(folder))
    template = Lake(str(folder / "template"))
    template.append(CORE_DOSSIER, _month(monthly))
    files = [Path(uri) for uri in _opened(template).file_uris()]
    actions = []
    for month in months:
        target = folder / CORE_DOSSIER.name / f"lake_month={month}"
        target.mkdir(parents=True)
        for number, file in enumerate(files):
            name = f"part-{number:05}-{month}-c000.zstd.parquet"
            os.link(file, target / name)
            relative, size = f"lake_month={month}/{name}", file.stat().st_size
            actions.append(AddAction(relative, size, {"lake_month": month}, 1_700_000_000_000, True, "{}"))
    schema = _opened(template).schema()
    create_table_with_add_actions(
        lake.uri(CORE_DOSSIER), schema, actions, mode="overwrite", partition_by=["lake_month"]
    )
    return lake


def _opened(lake: Lake) -> DeltaTable:
    opened = lake.open(CORE_DOSSIER)
    assert opened is not None
    return opened


def _month(rows: int) -> pa.Table:
    """Rows of one month: keys in order, facts of plain chance."""
    values = {
        "dossier_key": "'H15-' || i",
        "dossier_code": "'H15.26-' || i",
        "lake_month": "'2026-10'",
        "unit_code": "lpad((hash(i) % 120)::VARCHAR, 5, '0')",
        "procedure_code": "'1.' || lpad((hash(i, 3) % 2000)::VARCHAR, 6, '0')",
    }
    kinds = {
        "VARCHAR": "'v' || hash(i, {n}) % 7",
        "BIGINT": "hash(i, {n}) % 5",
        "BOOLEAN": "hash(i, {n}) % 3 > 0",
        "DATE": "DATE '2026-10-01' + (hash(i, {n}) % 30)::INTEGER",
        "TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ '2026-10-01' + to_seconds((hash(i, {n}) % 2500000)::BIGINT)",
    }
    columns = []
    for number, column in enumerate(CORE_DOSSIER.columns):
        kind = duckdb_type(column.type)
        value = values.get(column.name, kinds.get(kind, f"hash(i, {number}) % 5").format(n=number))
        columns.append(f"CAST({value} AS {kind}) AS {column.name}")
    return connect().sql(f"SELECT {', '.join(columns)} FROM range({rows}) AS t(i)").to_arrow_table()


def changed_rows(lake: Lake, changes: int) -> pa.Table:
    """Tonight's rows: dossiers that are there, and say something else now; spread over recent months."""
    months = months_back(_RECENT + _OLDER)
    opened = {Path(uri).parent.name.partition("=")[2] for uri in _opened(lake).file_uris()}
    recent, older = months[:_RECENT], [month for month in months[_RECENT:] if month in opened]
    few = changes // 100 if older else 0
    parts = [(month, (changes - few) // len(recent)) for month in recent]
    parts += [(month, max(few // len(older), 1)) for month in older]
    columns = ", ".join(
        "NOT is_reused AS is_reused" if name == "is_reused" else f'"{name}"' for name in CORE_DOSSIER.column_names
    )
    relation = " UNION ALL ".join(
        f"(SELECT {columns} FROM {lake.relation_sql(CORE_DOSSIER, partitions=[month])} USING SAMPLE {count} ROWS)"
        for month, count in parts
    )
    return connect().sql(relation).to_arrow_table()


def rewrite(lake: Lake, changed: pa.Table) -> None:
    """As conforming does it: the months of the changed rows, read, put together and replaced in one commit."""
    months = sorted(set(changed["lake_month"].to_pylist()))
    connection = connect()
    connection.register("fresh", changed)
    columns = ", ".join(f'"{name}"' for name in CORE_DOSSIER.column_names)
    rows = connection.sql(
        f"SELECT {columns} FROM {lake.relation_sql(CORE_DOSSIER, partitions=months)} AS kept "
        "WHERE (kept.lake_month, kept.dossier_key) NOT IN (SELECT (lake_month, dossier_key) FROM fresh) "
        f"UNION ALL SELECT {columns} FROM fresh"
    ).to_arrow_table()
    lake.replace_partitions(CORE_DOSSIER, rows, months, note={"night": "benchmark"})


def merge(lake: Lake, changed: pa.Table) -> None:
    """The same by Delta's own merge, told which months can match."""
    months = sorted(set(changed["lake_month"].to_pylist()))
    listed = ", ".join(f"'{month}'" for month in months)
    (
        _opened(lake)
        .merge(
            changed,
            predicate=f"t.lake_month IN ({listed}) AND t.lake_month = s.lake_month AND t.dossier_key = s.dossier_key",
            source_alias="s",
            target_alias="t",
            commit_properties=CommitProperties(custom_metadata={"night": "benchmark"}),
        )
        .when_matched_update_all()
        .when_not_matched_insert_all()
        .execute()
    )


UPSERTS: dict[str, Callable[[Lake, pa.Table], None]] = {"rewrite": rewrite, "merge": merge}


def measure(way: str, folder: str, dossiers: str, shape: str, changes: str) -> None:
    """One measured run, in a process of its own: upsert, then fingerprint (known of what stood before)."""
    lake = make_history(Path(folder), dossiers=int(dossiers), is_dense=shape == "denser")
    lake.fingerprint(CORE_DOSSIER)
    changed = changed_rows(lake, int(changes))
    count = f"SELECT count(*), count(*) FILTER (is_reused) FROM {lake.relation_sql(CORE_DOSSIER)}"
    before = connect().sql(count).fetchall()[0]
    flipped = changed.num_rows - 2 * sum(bool(value) for value in changed["is_reused"].to_pylist())
    with stopwatch() as facts:
        worked = time.process_time()
        UPSERTS[way](lake, changed)
        if way == "rewrite":
            lake.fingerprint(CORE_DOSSIER)
        # Of all threads; beside other work on the machine it says more than the seconds that passed.
        facts["cpu"] = time.process_time() - worked
    after = connect().sql(count.replace(count.split("FROM ", 1)[1], lake.relation_sql(CORE_DOSSIER))).fetchall()[0]
    # A faster upsert that loses rows, or changes others, is none.
    assert after == (before[0], before[1] - flipped), (before, after, flipped)


def main(changes: int = CHANGES, rounds: int = 3) -> None:
    """Measure every way, shape and size side by side, the best of some, and print the ratios to the first size."""
    for shape in ("longer", "denser"):
        for way in UPSERTS:
            found: list[Measured] = []
            for size in SIZES:
                found.append(quickest(way, size, shape, changes, rounds))
                last, first = found[-1], found[0]
                out.print(
                    f"{shape} {way} {size:>12,}: {_cpu(last):6.2f} s of CPU ({_cpu(last) / _cpu(first):.2f} times the "
                    f"first), {last.seconds:6.2f} s, peak {last.peak_mib:.0f} MiB"
                )


def quickest(way: str, size: int, shape: str, changes: int = CHANGES, rounds: int = 3) -> Measured:
    """The run that took the least processor time, of some."""
    return min((_apart(way, size, shape, changes) for _ in range(rounds)), key=_cpu)


def _cpu(run: Measured) -> float:
    return float(run.facts["cpu"])


def _apart(way: str, size: int, shape: str, changes: int) -> Measured:
    with tempfile.TemporaryDirectory(prefix="thuocdo-night-") as folder:
        return run_apart(MODULE, [way, folder, str(size), shape, str(changes)])


if __name__ == "__main__":
    if len(sys.argv) > 3:
        measure(*sys.argv[1:])
    else:
        main(*(int(argument) for argument in sys.argv[1:]))
