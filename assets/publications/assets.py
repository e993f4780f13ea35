"""The publication that BI tools read, as one Dagster asset.

Belongs here: the asset. Does not belong here: writing, verifying and switching (`publish.py`).
"""

from typing import Any

import dagster as dg

from assets.indicators.definitions import load_definitions
from assets.publications.publish import publish
from assets.publications.tables import PUBLISHED
from assets.shown import OWNERS
from assets.stores import Stores

GROUP = "publications"


@dg.asset(
    group_name=GROUP,
    owners=list(OWNERS),
    kinds={"python", "parquet"},
    deps=[one.source.name for one in PUBLISHED],
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
        definitions={f"{one.id}/{one.version}": one.fingerprint for one in load_definitions()},
        cursors=database.cursors(),
    )
    database.end_night(stores.night, as_of=as_of, publication=publication.folder.name)
    rows = {f"rows_{name}": facts.rows for name, facts in publication.tables.items()}
    shown: dict[str, Any] = {"path": dg.MetadataValue.path(str(publication.folder)), "as_of": as_of.isoformat()}
    return dg.MaterializeResult(metadata=shown | rows, data_version=dg.DataVersion(publication.fingerprint))
