"""Every indicator of every unit, level and period, as one Dagster asset.

Belongs here: the asset. Does not belong here: what an indicator means (`definitions/`), or how it is
computed (`evaluate.py`).
"""

from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from assets.indicators.definitions import load_definitions
from assets.indicators.evaluate import evaluate
from assets.shown import materialised, spec
from assets.stores import Stores
from expectations.wording import count_vi
from warehouse.tables import CORE_DOSSIER, CORE_PAYMENT, CORE_UNIT, OUT_INDICATOR

GROUP = "indicators"


@dg.multi_asset(
    name="measure",
    specs=[
        spec(
            OUT_INDICATOR,
            group=GROUP,
            kinds=("deltalake", "duckdb"),
            deps=[table.name for table in (CORE_DOSSIER, CORE_PAYMENT, CORE_UNIT)],
        )
    ],
)
def measure(stores: dg.ResourceParam[Stores]) -> dg.MaterializeResult[Any]:
    """Counts first, then rates: a rate is never averaged."""
    lake, definitions, as_of = stores.lake(), load_definitions(), stores.as_of()
    rows = evaluate(lake, definitions, province_code=stores.province_code, as_of=as_of, start_on=stores.start_on)
    lake.replace(OUT_INDICATOR, rows)
    stores.watcher.say(f"tính {len(definitions)} chỉ số: {count_vi(rows.num_rows)} dòng")
    shown = newest_rates(rows) | {"as_of": as_of.isoformat(), "definitions": len(definitions)}
    return materialised(lake, OUT_INDICATOR, shown)


def newest_rates(rows: pa.Table) -> dict[str, float]:
    """Rates of the newest year for the province and each level, e.g. {"reuse 766-4.3 (commune)": 0.41}.

    What has no denominator is left out: a plot would show it as 0.
    """
    years = rows.filter((pc.field("period") == "year") & (pc.field("scope") != "unit") & pc.field("rate").is_valid())
    newest = pc.max(years["period_start"])
    shown = years.filter(pc.equal(years["period_start"], newest))
    return {f"{row['indicator']} {row['version']} ({row['level']})": row["rate"] for row in shown.to_pylist()}
