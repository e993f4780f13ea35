"""The publication that BI tools read, as one Dagster asset.

Belongs here: the asset. Does not belong here: writing, verifying and switching (`publish.py`).
"""

from collections.abc import Collection, Iterable
from typing import Any

import dagster as dg

from assets.indicators.assets import definition_fingerprints
from assets.publications.publish import publish
from assets.publications.tables import PUBLISHED
from assets.raw.kinds import raw_tables
from assets.raw.tables import RAW_TABLES
from assets.shown import OWNERS
from assets.stores import Stores
from warehouse.schema import Table
from warehouse.tables import TABLES

GROUP = "publications"


def published_asset(*, without: Collection[str] = ()) -> dg.AssetsDefinition:
    """The asset that publishes every table; those of `without` are not made in this province and stay empty."""

    @dg.asset(
        group_name=GROUP,
        owners=list(OWNERS),
        kinds={"python", "parquet"},
        deps=[one.source.name for one in PUBLISHED if one.source.name not in without],
        description="Bộ Parquet cho công cụ BI, kèm datapackage.json; người đọc luôn thấy trọn một bản.\n\n"
        "Parquet for BI tools with datapackage.json; a reader always sees one whole publication.",
    )
    def published(stores: dg.ResourceParam[Stores]) -> dg.MaterializeResult[Any]:
        """Write aside, verify, switch."""
        database, as_of = stores.database(), stores.as_of()
        publication = publish(
            stores.lake(),
            folder=stores.published,
            as_of=as_of,
            night=stores.night,
            definitions=definition_fingerprints(),
            cursors=database.cursors(),
            remote=stores.remote,
        )
        lake = stores.lake()
        # What any source may fill, and what the configured ones do: a profiled system has a table of its own.
        raw = _named([*RAW_TABLES.values(), *raw_tables(stores.sources)]).values()
        versions = {table.name: lake.version(table) for table in (*TABLES.values(), *raw)}
        database.end_night(stores.night, as_of=as_of, publication=publication.folder.name, lake_versions=versions)
        rows = {f"rows_{name}": facts.rows for name, facts in publication.tables.items()}
        shown: dict[str, Any] = {"path": dg.MetadataValue.path(str(publication.folder)), "as_of": as_of.isoformat()}
        return dg.MaterializeResult(metadata=shown | rows, data_version=dg.DataVersion(publication.fingerprint))

    return published


def _named(tables: Iterable[Table]) -> dict[str, Table]:
    return {table.name: table for table in tables}
