"""Every indicator of every unit, level and period, as one Dagster asset.

Belongs here: the asset. Does not belong here: what an indicator means (`definitions/`), or how it is
computed (`evaluate.py`, `procedures.py`, `observed.py`).
"""

from datetime import date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from assets.indicators.definitions import load_definitions
from assets.indicators.evaluate import evaluate
from assets.indicators.observed import observation_rows
from assets.indicators.procedures import load_procedure_definitions, load_sectors, procedure_rows
from assets.shown import materialised, spec
from assets.stores import Stores
from expectations.wording import count_vi
from warehouse.lake import Lake
from warehouse.tables import CORE_DOSSIER, CORE_PAYMENT, CORE_PROCEDURE, CORE_SUCCESSION, CORE_UNIT, OUT_INDICATOR
from warehouse.tables.observation import CORE_OBSERVATION

GROUP = "indicators"
_READS = (CORE_DOSSIER, CORE_PAYMENT, CORE_UNIT, CORE_SUCCESSION, CORE_PROCEDURE, CORE_OBSERVATION)


@dg.multi_asset(
    name="measure",
    specs=[
        spec(OUT_INDICATOR, group=GROUP, kinds=("deltalake", "duckdb"), deps=[table.name for table in _READS]),
    ],
)
def measure(stores: dg.ResourceParam[Stores]) -> dg.MaterializeResult[Any]:
    """Counts first, then rates: a rate is never averaged. What other systems stated stands beside them."""
    lake, as_of = stores.lake(), stores.as_of()
    rows = measured(
        lake, province_code=stores.province_code, as_of=as_of, start_on=stores.start_on, sectors=stores.sectors
    )
    lake.replace(OUT_INDICATOR, rows)
    versions = len(set(definition_fingerprints()))
    stores.watcher.say(f"tính {versions} định nghĩa chỉ số: {count_vi(rows.num_rows)} dòng")
    shown = newest_rates(rows) | {"as_of": as_of.isoformat(), "definitions": versions}
    return materialised(lake, OUT_INDICATOR, shown)


def measured(lake: Lake, *, province_code: str, as_of: datetime, start_on: date, sectors: Path | None) -> pa.Table:
    """Rows of out_indicator from every maker: dossiers, procedures, and statements of other systems."""
    place: dict[str, Any] = {"province_code": province_code, "as_of": as_of, "start_on": start_on}
    return pa.concat_tables(
        [
            evaluate(lake, load_definitions(), **place),
            procedure_rows(lake, load_procedure_definitions(), **place, sectors=load_sectors(sectors)),
            observation_rows(lake.read(CORE_OBSERVATION), lake.read(CORE_UNIT), as_of=as_of),
        ]
    )


def definition_fingerprints() -> dict[str, str]:
    """Hash of everything that decides the counts, for each indicator/version that is computed."""
    of_dossiers = {f"{one.id}/{one.version}": one.fingerprint for one in load_definitions()}
    return of_dossiers | {f"{one.id}/{one.version}": one.fingerprint for one in load_procedure_definitions()}


def newest_rates(rows: pa.Table) -> dict[str, float]:
    """Rates of the newest year for the province and each level, e.g. {"reuse 766-4.3 (commune)": 0.41}.

    What has no denominator is left out: a plot would show it as 0.
    """
    years = rows.filter((pc.field("period") == "year") & (pc.field("scope") != "unit") & pc.field("rate").is_valid())
    newest = pc.max(years["period_start"])
    shown = years.filter(pc.equal(years["period_start"], newest))
    return {f"{row['indicator']} {row['version']} ({row['level']})": row["rate"] for row in shown.to_pylist()}
