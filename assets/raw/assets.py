"""What each source said, as extracted: one Dagster asset per raw table.

Belongs here: which raw tables a configured source fills, in which partitions and pool, and which
failures are worth another try. Does not belong here: extraction itself (`extraction.py`), or what the
records mean (`assets/dossiers`).

A source that is overloaded is asked again after a pause; whatever will fail again (a wrong password,
a missing variable, a changed contract) fails the night at once, so that somebody reads why.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from assets.raw.extraction import SourceCount, extract
from assets.raw.tables import RAW_MESSAGES, RAW_ONESTOP, RAW_PORTAL, RAW_PROGRESS
from assets.shown import count_metadata, materialised, said, spec
from assets.stores import Stores
from connectors.protocol import Transient
from connectors.settings import SourceSettings
from warehouse.schema import Table

GROUP = "raw"
#: Tables that a source of each kind fills; the first carries the source's own counts.
TABLES_BY_KIND: Mapping[str, tuple[Table, ...]] = {
    "opencps": (RAW_PORTAL,),
    "igate": (RAW_ONESTOP,),
    "npsp-log": (RAW_MESSAGES, RAW_PROGRESS),
}
#: Another try of the whole extraction, after those that the connector made of each call.
RETRIES = 2
PAUSE_SECONDS = 30


def raw_tables(sources: Mapping[str, SourceSettings]) -> tuple[Table, ...]:
    """Every raw table that the configured sources fill."""
    return tuple(table for source in sources.values() for table in TABLES_BY_KIND[source.kind])


def raw_assets(
    sources: Mapping[str, SourceSettings], *, partitions: dg.PartitionsDefinition[str]
) -> list[dg.AssetsDefinition]:
    """One extraction per configured source."""
    return [_extraction(name, source, partitions) for name, source in sources.items()]


def _extraction(name: str, source: SourceSettings, partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    tables = TABLES_BY_KIND[source.kind]

    @dg.multi_asset(
        name=f"extract_{name}",
        specs=[spec(table, group=GROUP, kinds=("deltalake", source.kind)) for table in tables],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=f"portal_{name}",
    )
    def raw(context: dg.AssetExecutionContext, stores: dg.ResourceParam[Stores]) -> Iterator[dg.MaterializeResult[Any]]:
        lake = stores.lake()
        counts = _extract(context, stores, name, source)
        for table, count in zip(tables, counts, strict=True):
            stores.watcher.say(said(count))
            yield materialised(lake, table, count_metadata(count))

    return raw


def _extract(context: dg.AssetExecutionContext, stores: Stores, name: str, source: SourceSettings) -> list[SourceCount]:
    window = context.partition_time_window
    try:
        return extract(
            name,
            source,
            window=(window.start, window.end),
            lake=stores.lake(),
            database=stores.database(),
            night=stores.night,
            now=datetime.now(UTC),
            on_progress=stores.watcher.read,
        )
    except Transient as error:
        stores.watcher.say(f"{name}: {error}; thử lại sau {PAUSE_SECONDS} giây")
        raise dg.RetryRequested(max_retries=RETRIES, seconds_to_wait=PAUSE_SECONDS) from error
