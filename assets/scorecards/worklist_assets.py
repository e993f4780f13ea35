"""Which dossiers lose points, as one Dagster asset.

Belongs here: the asset, and which indicator versions answer a target or a component of the score. Does
not belong here: which dossiers are lost to an indicator, and the advice (`worklist.py`).
"""

from collections.abc import Iterable
from typing import Any

import dagster as dg
import pyarrow as pa

from assets.indicators.definitions import load_definitions
from assets.scorecards.sets import ScoreSet, load_sets
from assets.scorecards.worklist import READS, load_rules, worklist
from assets.shown import materialised, spec
from assets.stores import Stores
from expectations.targets import Target
from expectations.wording import count_vi
from warehouse.tables.reconciliation import OUT_WORKLIST

GROUP = "scorecards"
#: What no target and no score asks for, but operators are held to (domain: operators, 08 giờ làm việc).
_WATCHED = {("reception-in-8-hours", "operators")}


@dg.multi_asset(
    name="worklist",
    specs=[spec(OUT_WORKLIST, group=GROUP, kinds=("deltalake", "duckdb"), deps=[table.name for table in READS])],
)
def worklist_of_dossiers(stores: dg.ResourceParam[Stores]) -> dg.MaterializeResult[Any]:
    """The dossiers of this year that lose points, unit by unit, with what would mend each one."""
    lake, as_of = stores.lake(), stores.as_of()
    rows = worklist(
        lake.connect(*READS),
        load_definitions(),
        load_rules(),
        counted=counted_versions(stores.targets(), load_sets()),
        as_of=as_of,
    )
    lake.replace(OUT_WORKLIST, rows)
    counts = worklist_counts(rows)
    stores.watcher.say(
        f"danh sách việc: {count_vi(counts['rows_lost'])} lượt mất điểm, còn sửa được "
        f"{count_vi(counts['rows_mendable'])}, sắp mất {count_vi(counts['rows_at_risk'])}"
    )
    return materialised(lake, OUT_WORKLIST, {"as_of": as_of.isoformat(), **counts})


def counted_versions(targets: Iterable[Target], sets: Iterable[ScoreSet]) -> frozenset[tuple[str, str]]:
    """The (indicator, version) pairs that answer a target, win points in a component, or are watched anyway."""
    asked = {(target.indicator, target.version) for target in targets if target.indicator}
    scored = {
        (source.indicator, source.version) for each in sets for component in each.scored for source in component.sources
    }
    return frozenset(asked | scored | _WATCHED)


def worklist_counts(rows: pa.Table) -> dict[str, int]:
    """How many rows are lost, lost but mendable, and at risk; how many dossiers they are of."""
    by_kind = {
        (row["loss"], row["is_mendable"]): row["dossier_key_count"]
        for row in rows.group_by(["loss", "is_mendable"]).aggregate([("dossier_key", "count")]).to_pylist()
    }
    return {
        "rows_lost": sum(count for (loss, _), count in by_kind.items() if loss == "lost"),
        "rows_mendable": by_kind.get(("lost", True), 0),
        "rows_at_risk": sum(count for (loss, _), count in by_kind.items() if loss == "at_risk"),
        "dossiers": len(rows["dossier_key"].unique()),
    }
