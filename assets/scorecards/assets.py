"""Targets held against indicators, and where the year will end, as Dagster assets.

Belongs here: the assets. Does not belong here: the rules of a verdict (`verdicts.py`), of the forecast
(`outlook.py`), or the targets (`expectations/targets/`).
"""

from typing import Any

import dagster as dg
import pyarrow as pa

from assets.scorecards.outlook import outlook
from assets.scorecards.verdicts import judge
from assets.shown import materialised, spec
from assets.stores import Stores
from warehouse.tables import CORE_UNIT, OUT_INDICATOR, OUT_VERDICT
from warehouse.tables.outlook import OUT_OUTLOOK

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


@dg.multi_asset(name="outlooks", specs=[spec(OUT_OUTLOOK, group=GROUP, deps=[OUT_INDICATOR.name])])
def outlooks(stores: dg.ResourceParam[Stores]) -> dg.MaterializeResult[Any]:
    """The rest of the year going as the last three months did, and what is needed to meet each target."""
    lake, as_of = stores.lake(), stores.as_of()
    rows = outlook(lake.read(OUT_INDICATOR), stores.targets(), as_of=as_of, start_on=stores.start_on)
    lake.replace(OUT_OUTLOOK, rows)
    return materialised(lake, OUT_OUTLOOK, {"as_of": as_of.isoformat()})
