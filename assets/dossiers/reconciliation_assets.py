"""What the sources disagree about, as one Dagster asset.

Belongs here: the asset. Does not belong here: how findings are made (`reconciliation.py`).
"""

from typing import Any

import dagster as dg
import pyarrow as pa

from assets.dossiers.reconciliation import READS, reconcile
from assets.shown import materialised, spec
from assets.stores import Stores
from expectations.wording import count_vi
from warehouse.tables.reconciliation import OUT_RECONCILIATION

GROUP = "dossiers"


@dg.multi_asset(
    name="reconciliation",
    specs=[
        spec(OUT_RECONCILIATION, group=GROUP, kinds=("deltalake", "duckdb"), deps=[table.name for table in READS]),
    ],
)
def reconciliation(stores: dg.ResourceParam[Stores]) -> dg.MaterializeResult[Any]:
    """Portal against one-stop against message log, dossier by dossier, and late ones by everybody's dates."""
    lake, as_of = stores.lake(), stores.as_of()
    rows = reconcile(lake.connect(*READS), as_of=as_of)
    lake.replace(OUT_RECONCILIATION, rows)
    counts = finding_counts(rows)
    late = {name: counts.get(f"late_{name}", 0) for name in ("sync", "real")}
    stores.watcher.say(
        f"đối soát: {count_vi(rows.num_rows)} sai lệch; trễ do đồng bộ {count_vi(late['sync'])}, "
        f"trễ thật {count_vi(late['real'])}"
    )
    return materialised(lake, OUT_RECONCILIATION, {"as_of": as_of.isoformat(), **counts})


def finding_counts(rows: pa.Table) -> dict[str, int]:
    """How many findings of each kind, and how many late dossiers of each lateness (late_sync, …)."""
    kinds = {f"findings_{pair['values']}": pair["counts"] for pair in rows["kind"].value_counts().to_pylist()}
    late = rows["lateness"].drop_null().value_counts().to_pylist()
    return dict(sorted(kinds.items())) | {f"late_{pair['values']}": pair["counts"] for pair in late}
