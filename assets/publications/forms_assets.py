"""The dossier statistics table and the public copy, as Dagster assets.

Belongs here: the assets. Does not belong here: counting (`statistics.py`), withholding (`suppression.py`), writing the
copy (`public.py`).
"""

from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from assets.publications.public import write_public
from assets.publications.statistics import SOURCES
from assets.publications.statistics import statistics as counted
from assets.shown import OWNERS, materialised, spec
from assets.stores import Stores
from warehouse.tables.statistic import OUT_STATISTIC

GROUP = "publications"
#: What the UI plots of the newest month.
_PLOTTED = (
    "received_total",
    "carried_over",
    "resolved_total",
    "resolved_late",
    "in_process_total",
    "in_process_overdue",
)


@dg.multi_asset(name="statistics", specs=[spec(OUT_STATISTIC, group=GROUP, deps=[table.name for table in SOURCES])])
def statistics(stores: dg.ResourceParam[Stores]) -> dg.MaterializeResult[Any]:
    """Received, resolved, in process, waiting, returned, by unit, level, sector and period."""
    lake, as_of = stores.lake(), stores.as_of()
    rows = counted(lake, province_code=stores.province_code, as_of=as_of, start_on=stores.start_on)
    lake.replace(OUT_STATISTIC, rows)
    return materialised(lake, OUT_STATISTIC, {"as_of": as_of.isoformat(), **newest_month(rows)})


def newest_month(rows: pa.Table) -> dict[str, int]:
    """The province's totals of the newest month, for the UI to plot."""
    whole = (pc.field("scope") == "province") & (pc.field("breakdown") == "all") & (pc.field("period") == "month")
    newest = max(rows.filter(whole).to_pylist(), key=lambda row: row["period_start"], default=None)
    return {name: newest[name] for name in _PLOTTED} if newest else {}


@dg.asset(
    name="public",
    group_name=GROUP,
    owners=list(OWNERS),
    kinds={"python", "parquet"},
    deps=["published"],
    description="Bản công khai: số nhỏ không hiển thị, số còn lại làm tròn, chỉ kỳ đã hết; kiểm tra lộ số chặn phát "
    "hành.\n\nPublic copy: small counts withheld, others rounded, finished periods only, behind a blocking audit.",
)
def public_copy(stores: dg.ResourceParam[Stores]) -> dg.MaterializeResult[Any]:
    """Withhold, audit, write aside, verify, switch."""
    made = write_public(stores.published, folder=stores.published.with_name("public"), remote=stores.remote)
    rows = {f"rows_{name}": facts.rows for name, facts in made.tables.items()}
    return dg.MaterializeResult(
        metadata={"path": dg.MetadataValue.path(str(made.folder)), **rows},
        data_version=dg.DataVersion(made.fingerprint),
    )
