"""One conformed row per dossier, and the reference data it leans on, as Dagster assets.

Belongs here: the assets of the core layer. Does not belong here: matching and merging (`conform.py`),
units and procedures themselves (`warehouse/reference.py`).
"""

from collections.abc import Iterable, Iterator
from typing import Any

import dagster as dg

from assets.dossiers.conform import CONFORMED, conform
from assets.shown import count_metadata, materialised, said, spec
from assets.stores import Stores
from warehouse.reference import procedure_table, unit_table
from warehouse.schema import Table
from warehouse.tables import CORE_DOSSIER, CORE_PROCEDURE, CORE_UNIT

GROUP = "dossiers"
REFERENCE = (CORE_UNIT, CORE_PROCEDURE)


@dg.multi_asset(name="reference", specs=[spec(table, group=GROUP) for table in REFERENCE])
def reference(stores: dg.ResourceParam[Stores]) -> Iterator[dg.MaterializeResult[Any]]:
    """Units and procedures, dated."""
    lake = stores.lake()
    lake.replace_if_different(CORE_UNIT, unit_table(stores.province_code, stores.departments))
    lake.replace_if_different(CORE_PROCEDURE, procedure_table())
    for table in REFERENCE:
        yield materialised(lake, table)


def conform_asset(raw: Iterable[Table]) -> dg.AssetsDefinition:
    """The conformed tables, made from the `raw` tables that exist in this province."""
    upstream = [table.name for table in (*raw, *REFERENCE)]

    @dg.multi_asset(name="conform", specs=[spec(table, group=GROUP, deps=upstream) for table in CONFORMED])
    def conformed(stores: dg.ResourceParam[Stores]) -> Iterator[dg.MaterializeResult[Any]]:
        lake, database = stores.lake(), stores.database()
        result = conform(
            lake, database, agencies=stores.agencies, codes=stores.codes, night=stores.night, zones=stores.zones
        )
        metadata: dict[str, Any] = {"dossiers_changed": result.changed, "months_rewritten": len(result.months)}
        for count in result.counts:
            counted: dict[str, Any] = {**count_metadata(count)}
            database.record_counts(stores.night, stage="conform", source=count.source, **counted)
            metadata |= {f"{name}_{count.source}": value for name, value in counted.items()}
            stores.watcher.say(f"hợp nhất {said(count)}")
        for table in CONFORMED:
            yield materialised(lake, table, metadata if table is CORE_DOSSIER else None)

    return conformed
