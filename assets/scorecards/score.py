"""The 766 score: points, losses and the next point of every unit, level and province, and their rank.

Belongs here: from counts to points, as pure functions over Arrow tables. Does not belong here: the sets
(data, `assets/scorecards/sets`), where counts come from (`assets/indicators`), nor reading a file of
counts (`orchestration/commands/score.py`).

The rules, once for every set:

- `thr T`: points = min(max, max × R / T); `lin` is `thr 100`. Everything is computed in whole numbers.
- Points of a component are rounded half up to two decimals, as the portal shows them. A group is the sum
  of its rounded components, the total the sum of the groups (docs/decisions/0015-score-766.md).
- Denominator 0: full points, none, last year's total, or unscored, as the set says of the component.
- A level that a component is not asked of gets its full points.
- What has no source is unscored, not 0: the total says out of how many points it speaks (scored_max).
- Units are ranked within their level and period by points / scored_max, so that a missing source costs
  nobody a place; ties share a rank and the next rank is left out (1, 1, 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from importlib import resources
from typing import Any

import pyarrow as pa

from assets.scorecards.sets import ScoreSet
from warehouse.lake import session
from warehouse.tables.out import OUT_INDICATOR
from warehouse.tables.score import OUT_SCORE, OUT_SCORE_TOTAL, TOTAL

SUBJECT = ("scope", "level", "unit_code", "boundaries", "period", "period_start")
#: What is scored: one row per subject and component. Counts, or a rate alone (0..1); `component` is null
#: for a subject of which nothing is known.
COUNTS = pa.schema(
    [
        *(OUT_INDICATOR.arrow_schema().field(name).remove_metadata() for name in SUBJECT),
        pa.field("component", pa.string()),
        pa.field("numerator", pa.int64()),
        pa.field("denominator", pa.int64()),
        pa.field("rate", pa.float64()),
        pa.field("basis", pa.string()),
    ]
)

_COMPONENTS = pa.schema(
    [
        pa.field("component", pa.string()),
        pa.field("group_id", pa.string()),
        pa.field("max_points", pa.int64()),
        pa.field("threshold", pa.int64()),
        pa.field("zero", pa.string()),
        pa.field("full_for", pa.list_(pa.string())),
        pa.field("inherits", pa.bool_()),
    ]
)
_SOURCES = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("component", "indicator", "version", "label", "kind")),
        pa.field("position", pa.int32()),
        pa.field("extras", pa.int32()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Points: `components` as rows of `out_score`, `totals` as rows of `out_score_total`."""

    components: pa.Table
    totals: pa.Table


def score(indicators: pa.Table, scoring: ScoreSet, *, as_of: datetime) -> Scored:
    """Score every subject and period of `indicators` (rows of `out_indicator`) for which the set is valid."""
    return score_counts(counts_of(indicators, scoring), scoring, as_of=as_of)


def counts_of(indicators: pa.Table, scoring: ScoreSet) -> pa.Table:
    """The counts of each component, from the first of its sources that knows; rows of `COUNTS`."""
    connection = session()
    connection.register("indicator", indicators)
    connection.register("component", _components(scoring))
    sources, extras = _sources(scoring)
    connection.register("source", sources)
    connection.register("source_extra", extras)
    parameters: dict[str, date | None] = {"valid_from": scoring.valid_from, "valid_to": scoring.valid_to}
    found = connection.sql(_query("score_counts.sql"), params=parameters).to_arrow_table()
    return found.select(COUNTS.names).cast(COUNTS)


def score_counts(counts: pa.Table, scoring: ScoreSet, *, as_of: datetime) -> Scored:
    """Score rows of `COUNTS`; every component of the set is answered for every subject."""
    connection = session()
    connection.register("counts", counts)
    connection.register("component", _components(scoring))
    scored = connection.sql(_query("score.sql")).to_arrow_table()
    connection.register("scored", scored)
    totals = connection.sql(_query("score_total.sql"), params={"total": TOTAL}).to_arrow_table()
    connection.register("summed", totals)
    given = {"set_id": scoring.set, "as_of": as_of}
    rows = connection.sql(
        f"""SELECT *, $set_id AS set_id, hundredths / 100 AS points,
            (max_points * 100 - hundredths) / 100 AS lost, $as_of::TIMESTAMPTZ AS as_of
        FROM scored ORDER BY {", ".join(OUT_SCORE.sort)}""",
        params=given,
    ).to_arrow_table()
    sums = connection.sql(
        f"""SELECT *, $set_id AS set_id, hundredths / 100 AS points,
            (scored_max * 100 - hundredths) / 100 AS lost, $as_of::TIMESTAMPTZ AS as_of
        FROM summed ORDER BY {", ".join(OUT_SCORE_TOTAL.sort)}""",
        params=given,
    ).to_arrow_table()
    return Scored(
        components=rows.select(OUT_SCORE.column_names).cast(OUT_SCORE.arrow_schema()),
        totals=sums.select(OUT_SCORE_TOTAL.column_names).cast(OUT_SCORE_TOTAL.arrow_schema()),
    )


def _query(name: str) -> str:
    return resources.files("assets.scorecards").joinpath(name).read_text(encoding="utf-8")


def _components(scoring: ScoreSet) -> pa.Table:
    rows = [
        {
            "component": part.component,
            "group_id": part.group,
            "max_points": part.max,
            "threshold": part.threshold,
            "zero": part.zero,
            "full_for": list(part.full_for),
            "inherits": part.inherits,
        }
        for part in scoring.scored
    ]
    return pa.Table.from_pylist(rows, schema=_COMPONENTS)


def _sources(scoring: ScoreSet) -> tuple[pa.Table, pa.Table]:
    """The sources of every component in order of belief, and what they are put together with."""
    sources: list[Mapping[str, Any]] = []
    extras: list[Mapping[str, Any]] = []
    for part in scoring.scored:
        for position, source in enumerate(part.sources):
            place = {"component": part.component, "position": position}
            found = [
                place | extra.model_dump() | {"label": extra.label, "kind": kind}
                for kind, group in (("larger_of", source.larger_of), ("minus", source.minus))
                for extra in group
            ]
            sources.append(
                place
                | {"indicator": source.indicator, "version": source.version, "label": source.label}
                | {"extras": len(found)}
            )
            extras += found
    return _table(sources), _table(extras)


def _table(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=_SOURCES)
