"""One conformed row per dossier, and the reference data it leans on, as Dagster assets.

Belongs here: the assets of the core layer. Does not belong here: matching and merging (`conform.py`),
units and procedures themselves (`warehouse/reference.py`).
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pyarrow as pa

from assets.dossiers.catalogue import SOURCE, amend, hear, is_due, last_day, settings_key
from assets.dossiers.conform import CONFORMED, REFERENCE, conform
from assets.dossiers.profiled import profiled_systems
from assets.raw.quarantine import STAGE, quarantine, settle_unsaid
from assets.shown import count_metadata, materialised, said, spec
from assets.stores import Stores
from warehouse.lake import Lake
from warehouse.reference import known_procedures, reference_tables
from warehouse.schema import Table
from warehouse.tables import CORE_DOSSIER, CORE_PROCEDURE

GROUP = "dossiers"


def reference_asset(raw: Iterable[Table]) -> dg.AssetsDefinition:
    """The tables of reference data; after the `raw` ones, whose last day dates what a catalogue says."""
    upstream = [table.name for table in raw]

    @dg.multi_asset(name="reference", specs=[spec(table, group=GROUP, deps=upstream) for table in REFERENCE])
    def reference(stores: dg.ResourceParam[Stores]) -> Iterator[dg.MaterializeResult[Any]]:
        """Units and who took them over, procedures, working days: all dated."""
        lake = stores.lake()
        for table, rows in reference_tables(stores.province_code, stores.departments, stores.working_calendar):
            if table is CORE_PROCEDURE:
                yield _procedures(stores, lake, rows, now=datetime.now(UTC))
                continue
            lake.renew(table)
            lake.replace_if_different(table, rows)
            yield materialised(lake, table)

    return reference


def _procedures(stores: Stores, lake: Lake, shipped: pa.Table, *, now: datetime) -> dg.MaterializeResult[Any]:
    """Procedures as known, with what the configured catalogues say of the last day that the night covers.

    A catalogue that cannot be had does not end the night: what was known stays, and it is told. All are asked
    together, every `catalogue_every_days` days: a national service is not asked for thousands of procedures
    every night, and one alone would put its wording in place of another's. What was set aside and is refused no longer
    is closed when all of them were heard, or there is none any more.
    """
    known, on = _known(lake, shipped), last_day(stores.as_of())
    database, settings = stores.database(), settings_key(stores.catalogues)
    asked = database.cursor(SOURCE, settings)
    if not stores.catalogues or not is_due(asked, on=on, every_days=stores.catalogue_every_days):
        if not stores.catalogues:
            settle_unsaid(lake, SOURCE, (), now=now)
        lake.replace_if_different(CORE_PROCEDURE, known)
        return materialised(lake, CORE_PROCEDURE)
    heard = [hear(each) for each in stores.catalogues]
    found = [each.catalogue for each in heard if each.catalogue is not None]
    amended = amend(known, found, on=on)
    quarantine(amended.refused, SOURCE, lake, now=now)
    is_whole = len(found) == len(heard)
    if is_whole:
        settle_unsaid(lake, SOURCE, amended.refused, unread=amended.unheard, now=now)
    lake.replace_if_different(CORE_PROCEDURE, amended.procedures)
    counts: dict[str, Any] = {**count_metadata(amended)}
    database.record_counts(stores.night, stage=STAGE, source=SOURCE, **counts)
    if is_whole:
        database.move_cursor(SOURCE, settings, {"on": on.isoformat()}, lake_version=lake.version(CORE_PROCEDURE))
    for line in (*(each.said for each in heard), said(amended)):
        stores.watcher.say(line)
    told = {f"catalogue_{number}": each.said for number, each in enumerate(heard, start=1)}
    return materialised(lake, CORE_PROCEDURE, counts | told)


def _known(lake: Lake, shipped: pa.Table) -> pa.Table:
    """The procedures known so far: `shipped`, the reference files, until something was learned beside them."""
    query = f"SELECT count(*) FROM {CORE_PROCEDURE.name} WHERE source <> 'reference'"
    if lake.connect(CORE_PROCEDURE).sql(query).fetchall()[0][0]:
        return known_procedures(lake.read(CORE_PROCEDURE))
    lake.renew(CORE_PROCEDURE)
    return shipped


def conform_asset(raw: Iterable[Table]) -> dg.AssetsDefinition:
    """The conformed tables, made from the `raw` tables that exist in this province."""
    upstream = [table.name for table in (*raw, *REFERENCE)]

    @dg.multi_asset(name="conform", specs=[spec(table, group=GROUP, deps=upstream) for table in CONFORMED])
    def conformed(stores: dg.ResourceParam[Stores]) -> Iterator[dg.MaterializeResult[Any]]:
        lake, database = stores.lake(), stores.database()
        result = conform(
            lake,
            database,
            agencies=stores.agencies,
            codes=stores.codes,
            night=stores.night,
            zones=stores.zones,
            profiled=profiled_systems(stores.sources),
            office_hours=stores.working_calendar.office_hours,
            cut_off=stores.working_calendar.cut_off,
        )
        metadata: dict[str, Any] = {"dossiers_changed": result.changed, "months_rewritten": len(result.months)}
        for count in result.counts:
            counted: dict[str, Any] = {**count_metadata(count)}
            database.record_counts(stores.night, stage="conform", source=count.source, **counted)
            metadata |= {f"{name}_{count.source}": value for name, value in counted.items()}
            stores.watcher.say(f"hợp nhất {said(count)}")
        for line in result.new_codes:
            stores.watcher.say(line)
        for table in CONFORMED:
            yield materialised(lake, table, metadata if table is CORE_DOSSIER else None)

    return conformed
