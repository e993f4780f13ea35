"""The 766 score and its comparison with the national portal, as Dagster assets.

Belongs here: the assets. Does not belong here: the sets (`sets/`), how points are given (`score.py`), how
the comparison is made (`evaluation.py`), or how the portal is read (`connectors/evaluation.py`).

The national portal owes nobody an answer: a night in which it refuses or fails goes on with what was read
before, and says so.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from assets.dossiers.meanings import load_agencies
from assets.scorecards.evaluation import compare
from assets.scorecards.score import Scored, score
from assets.scorecards.sets import load_sets
from assets.shown import materialised, spec
from assets.stores import Stores
from connectors.evaluation import EvaluationSettings, PublishedEvaluation, spans_until
from connectors.protocol import SourceError
from expectations.wording import count_vi
from warehouse.lake import Lake
from warehouse.tables import OUT_INDICATOR
from warehouse.tables.score import OUT_EVALUATION, OUT_SCORE, OUT_SCORE_TOTAL, RAW_EVALUATION, TOTAL

GROUP = "scorecards"
#: The name under which agencies.csv says what the national portal calls a unit.
PORTAL = "evaluation"
_ZONE = ZoneInfo("Asia/Ho_Chi_Minh")


@dg.multi_asset(
    name="score",
    specs=[
        spec(OUT_SCORE, group=GROUP, kinds=("deltalake", "duckdb"), deps=[OUT_INDICATOR.name]),
        spec(OUT_SCORE_TOTAL, group=GROUP, kinds=("deltalake", "duckdb"), deps=[OUT_INDICATOR.name]),
    ],
)
def score_units(stores: dg.ResourceParam[Stores]) -> tuple[dg.MaterializeResult[Any], dg.MaterializeResult[Any]]:
    """Points of every unit, level and province by each score set, with rank and the next point."""
    lake, as_of = stores.lake(), stores.as_of()
    indicators = lake.read(OUT_INDICATOR)
    scored = [score(indicators, scoring, as_of=as_of) for scoring in load_sets()]
    components = pa.concat_tables([each.components for each in scored])
    totals = pa.concat_tables([each.totals for each in scored])
    lake.replace(OUT_SCORE, components)
    lake.replace(OUT_SCORE_TOTAL, totals)
    stores.watcher.say(f"chấm điểm 766: {count_vi(components.num_rows)} dòng")
    shown = {"as_of": as_of.isoformat(), **newest_totals(totals)}
    return materialised(lake, OUT_SCORE, {"as_of": as_of.isoformat()}), materialised(lake, OUT_SCORE_TOTAL, shown)


def newest_totals(totals: pa.Table) -> dict[str, str]:
    """The province's total of the newest year by each set, e.g. {"766": "41.2 / 62"}: points out of those scored."""
    years = totals.filter(
        (pc.field("scope") == "province") & (pc.field("group_id") == TOTAL) & (pc.field("period") == "year")
    ).sort_by("period_start")
    rows = [row for row in years.to_pylist() if row["points"] is not None]
    return {row["set_id"]: f"{row['points']:.2f} / {row['scored_max']}" for row in rows}


def published_evaluation(settings: EvaluationSettings) -> dg.AssetsDefinition:
    """The asset that reads what the national portal publishes, for a province that configures it."""

    @dg.multi_asset(name="read_evaluation", specs=[spec(RAW_EVALUATION, group="raw")], pool="portal_evaluation")
    def read_evaluation(stores: dg.ResourceParam[Stores]) -> dg.MaterializeResult[Any]:
        """The last full month, its quarter and the year, as published; a refusal ends the reading, not the night."""
        lake = stores.lake()
        spans = spans_until(stores.as_of().astimezone(_ZONE).date())
        try:
            rows = asyncio.run(PublishedEvaluation(settings).read(spans))
        except SourceError as error:
            stores.watcher.say("Cổng Dịch vụ công quốc gia không cho đọc điểm đánh giá; dùng số đã đọc trước đó")
            return materialised(lake, RAW_EVALUATION, {"refused": str(error)})
        lake.append(RAW_EVALUATION, read_at(rows, datetime.now(UTC)))
        return materialised(lake, RAW_EVALUATION, {"rows_read": rows.num_rows})

    return read_evaluation


def read_at(rows: pa.Table, instant: datetime) -> pa.Table:
    """Rows of `PUBLISHED` as rows of `raw_evaluation`, read at that instant."""
    schema = RAW_EVALUATION.arrow_schema()
    column = pa.array([instant] * rows.num_rows, schema.field("read_at").type)
    return rows.append_column("read_at", column).select(RAW_EVALUATION.column_names).cast(schema)


@dg.multi_asset(
    name="evaluation",
    specs=[
        spec(OUT_EVALUATION, group=GROUP, deps=[RAW_EVALUATION.name, OUT_SCORE.name, OUT_SCORE_TOTAL.name]),
    ],
)
def evaluation(stores: dg.ResourceParam[Stores]) -> dg.MaterializeResult[Any]:
    """The portal's published scores beside ours, component by component and in dossiers."""
    lake, as_of = stores.lake(), stores.as_of()
    published, units = newest_published(lake), units_on_portal(stores.agencies)
    rows = pa.concat_tables(
        compare(
            published,
            scored_of(lake, scoring.set, published),
            scoring,
            units=units,
            province_code=stores.province_code,
            as_of=as_of,
        )
        for scoring in load_sets()
    )
    lake.replace(OUT_EVALUATION, rows)
    return materialised(lake, OUT_EVALUATION, {"as_of": as_of.isoformat(), **states(rows)})


def units_on_portal(agencies: Path) -> dict[str, str]:
    """Our unit for each code of the national portal (H44.100), from the rows of agencies.csv of source `evaluation`."""
    rows = load_agencies(agencies).to_pylist()
    return {row["agency"]: row["unit_code"] for row in rows if row["source"] == PORTAL}


def newest_published(lake: Lake) -> pa.Table:
    """The newest reading of each group and period."""
    query = f"""
        SELECT * FROM {RAW_EVALUATION.name}
        QUALIFY read_at = max(read_at) OVER (PARTITION BY endpoint, period, period_start)"""
    return lake.connect(RAW_EVALUATION).sql(query).to_arrow_table().cast(RAW_EVALUATION.arrow_schema())


def scored_of(lake: Lake, set_id: str, published: pa.Table) -> Scored:
    """What the set gave in the periods that were published."""
    connection = lake.connect(OUT_SCORE, OUT_SCORE_TOTAL)
    connection.register("published", published)

    def of(name: str) -> pa.Table:
        """Rows of one scored table in the published periods, of this set."""
        query = f"SELECT * FROM {name} SEMI JOIN published USING (period, period_start) WHERE set_id = $set_id"
        return connection.sql(query, params={"set_id": set_id}).to_arrow_table()

    return Scored(
        components=of(OUT_SCORE.name).cast(OUT_SCORE.arrow_schema()),
        totals=of(OUT_SCORE_TOTAL.name).cast(OUT_SCORE_TOTAL.arrow_schema()),
    )


def states(rows: pa.Table) -> Mapping[str, int]:
    """How many rows are on both sides, and on one alone."""
    return {f"rows_{pair['values']}": pair["counts"] for pair in rows["state"].value_counts().to_pylist()}
