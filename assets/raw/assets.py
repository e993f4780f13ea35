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
from assets.raw.kinds import kind_of
from assets.shown import count_metadata, materialised, said, spec
from assets.stores import Stores
from connectors.protocol import Transient
from connectors.sources import SourceSettings
from expectations.wording import count_vi

GROUP = "raw"
#: Another try of the whole extraction, after those that the connector made of each call.
RETRIES = 2
PAUSE_SECONDS = 30


def raw_assets(
    sources: Mapping[str, SourceSettings], *, partitions: dg.PartitionsDefinition[str]
) -> list[dg.AssetsDefinition]:
    """One extraction per configured source."""
    return [_extraction(name, source, partitions) for name, source in sources.items()]


def _extraction(name: str, source: SourceSettings, partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    tables = tuple(kind_of(source).tables(name, source).values())

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
            for line in (said(count), *absent(count)):
                stores.watcher.say(line)
            yield materialised(lake, table, count_metadata(count) | absence_metadata(count))

    return raw


def absence_metadata(count: SourceCount) -> dict[str, int]:
    """What a source no longer showed, beside what was read."""
    return {"rows_gone": count.rows_gone, "rows_missing": count.rows_missing}


def absent(count: SourceCount) -> list[str]:
    """What an operator is told of records that are gone or missing; nothing when every one was seen."""
    if not (count.rows_gone or count.rows_missing):
        return list(count.notes)
    gone, missing = count_vi(count.rows_gone), count_vi(count.rows_missing)
    return [f"{count.source}: nguồn không còn {gone}, vắng mặt chưa tin là đã xóa {missing}", *count.notes]


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
