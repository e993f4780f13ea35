"""Targets held against indicators, as one Dagster asset.

Belongs here: the asset. Does not belong here: the rules of a verdict (`verdicts.py`), the targets
(`expectations/targets/`).
"""

from typing import Any

import dagster as dg
import pyarrow as pa

from assets.scorecards.verdicts import judge
from assets.shown import materialised, spec
from assets.stores import Stores
from warehouse.tables import CORE_UNIT, OUT_INDICATOR, OUT_VERDICT

GROUP = "scorecards"


@dg.multi_asset(name="verdicts", specs=[spec(OUT_VERDICT, group=GROUP, deps=[OUT_INDICATOR.name, CORE_UNIT.name])])
def verdicts(stores: dg.ResourceParam[Stores]) -> dg.MaterializeResult[Any]:
    """Met, missed, not yet due, no source, not applicable or too few, with the gap in dossiers."""
    lake, as_of = stores.lake(), stores.as_of()
    rows = judge(
        lake.read(OUT_INDICATOR),
        stores.targets(),
        units=lake.read(CORE_UNIT),
        as_of=as_of,
        minimum_denominator=stores.minimum_denominator,
    )
    lake.replace(OUT_VERDICT, rows)
    return materialised(lake, OUT_VERDICT, {"as_of": as_of.isoformat(), **verdict_counts(rows)})


def verdict_counts(rows: pa.Table) -> dict[str, int]:
    """How many rows got each verdict."""
    return {f"verdicts_{pair['values']}": pair["counts"] for pair in rows["verdict"].value_counts().to_pylist()}
