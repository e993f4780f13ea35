"""Indicators that dossiers cannot give: their dictionary, and their rows of out_indicator from statements.

Belongs here: reading `observed.csv`, and the one function that turns statements (core_observation) into
indicators, with what is missing and what contradicts. Does not belong here: how statements come in
(`connectors/observations.py`), nor targets.

The rules:

- The newest statement counts (by the day it was made, then by when it was received), among those known
  at the instant asked for.
- A sum over units is a whole or nothing: a level has a sum of counts only when every one of its units
  that exists in the period has stated, the province only when every level that the indicator is given
  for has a figure. What is missing is listed in `Figures.gaps`, never hidden in a smaller sum.
- Time: `flow` counts of all the months (quarters, halves) of a longer period add up to it; a `stock`
  carries the last figure inside it, and its sums take the units that stand at its end; `period` speaks
  of the stated period alone (an index, a rank, procedures counted once per period).
- A figure that was stated as such wins over a sum; where both are known and differ,
  `Figures.contradictions` says so.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from warehouse.lake import connect
from warehouse.tables.common import LEVELS
from warehouse.tables.out import OUT_INDICATOR

FILE = Path(__file__).with_name("observed.csv")
VERSION = "observed"

#: Satisfaction survey, documents and work files, e-identification, inspection, reporting, archive of
#: valid results, manual entry, catalogue (targets, head of the table).
SOURCE_CLASSES = ("S", "W", "E", "I", "R", "A", "M", "C")
#: Scales that go with each kind.
KINDS = {"counts": ("share",), "value": ("share", "number"), "rank": ("rank",)}
NATURES = ("flow", "stock", "period")
_PLACES = (*LEVELS, "all")


class ObservedError(ValueError):
    """The dictionary cannot be used; the text names file, line and column, one problem per line."""


@dataclass(frozen=True, kw_only=True)
class ObservedIndicator:
    """One indicator that another system answers.

    `kind` says what is stated: counts, a value or a rank; `scale` what a value is: share (0..1), number
    (a whole count) or rank. `levels` are those it may be given for, `all` being the whole province.
    """

    id: str
    name_vi: str
    name_en: str
    source_class: str
    #: Noun of what the denominator counts (Vietnamese).
    counted: str
    kind: str
    scale: str
    nature: str
    levels: tuple[str, ...]
    document: str
    clause: str
    note_vi: str

    @property
    def is_additive(self) -> bool:
        """Whether figures of units may be summed: counts and numbers, not shares or ranks alone."""
        return self.kind == "counts" or self.scale == "number"


@cache
def observed_indicators(file: Path = FILE) -> tuple[ObservedIndicator, ...]:
    """The dictionary, in the order of the file. Raises `ObservedError` with every problem."""
    with file.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened, strict=True))
    problems: list[str] = []
    found: dict[str, ObservedIndicator] = {}
    for line, row in enumerate(rows, start=2):
        cells: dict[str, Any] = {**row, "levels": tuple(row["levels"].split(";"))}
        indicator = ObservedIndicator(**cells)
        problems += [f"{file.name}, line {line}: {problem}" for problem in _problems(indicator)]
        if indicator.id in found:
            problems.append(f"{file.name}, line {line}: id: {indicator.id} is there twice")
        found[indicator.id] = indicator
    if problems:
        raise ObservedError("\n".join(problems))
    return tuple(found.values())


def _problems(indicator: ObservedIndicator) -> list[str]:
    closed = {"source_class": SOURCE_CLASSES, "kind": tuple(KINDS), "nature": NATURES}
    closed["scale"] = KINDS.get(indicator.kind, ())
    wrong = [
        f"{name}: {getattr(indicator, name)!r} is not one of {', '.join(known)}"
        for name, known in closed.items()
        if getattr(indicator, name) not in known
    ]
    wrong += [f"levels: {level!r} is not one of {', '.join(_PLACES)}" for level in set(indicator.levels) - set(_PLACES)]
    wrong += [
        f"{name}: empty"
        for name in ("id", "name_vi", "name_en", "counted", "document", "clause")
        if not getattr(indicator, name)
    ]
    if indicator.nature == "flow" and not indicator.is_additive:
        wrong.append("nature: a flow adds up over months, which a share or rank does not; say period")
    return wrong


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What statements amount to.

    `rows` are rows of out_indicator. `gaps` are levels without a figure because some of their units are
    silent, in periods in which at least one has a figure: indicator, level, period, period_start,
    unit_count, stated_count, missing_count, missing_units (codes). `contradictions` are stated figures
    that differ from the sum of what was stated below them: subject and period, `against` (units: its
    units or levels; periods: the shorter periods inside), numerator, denominator and value as stated
    and as summed.
    """

    rows: pa.Table
    gaps: pa.Table
    contradictions: pa.Table


def observation_rows(
    observations: pa.Table, units: pa.Table, *, as_of: datetime, known_at: datetime | None = None
) -> pa.Table:
    """Statements as rows of out_indicator, version `observed`, boundaries `then`; see `figures_of`."""
    return figures_of(observations, units, as_of=as_of, known_at=known_at).rows


def figures_of(
    observations: pa.Table, units: pa.Table, *, as_of: datetime, known_at: datetime | None = None
) -> Figures:
    """Statements as indicators, with what is missing and what contradicts.

    `observations` are rows of core_observation, `units` of core_unit. Counted are statements made up to
    the day in Asia/Ho_Chi_Minh that `as_of` ends (or lies in), about periods that have begun by then,
    and, with `known_at`, only those received up to it: the figures as they were known then. A value
    without counts has its numerator and denominator null and `rate` = value. Raises `ValueError` for an
    instant without a zone.
    """
    connection = _computed(observations, units, as_of, known_at)
    rows = connection.sql(_ROWS, params={"as_of": as_of, "version": VERSION}).to_arrow_table()
    return Figures(
        rows=rows.select(list(OUT_INDICATOR.column_names)).cast(OUT_INDICATOR.arrow_schema()),
        gaps=connection.sql("SELECT * FROM gap ORDER BY ALL").to_arrow_table(),
        contradictions=connection.sql("SELECT * FROM contradiction ORDER BY ALL").to_arrow_table(),
    )


def _computed(
    observations: pa.Table, units: pa.Table, as_of: datetime, known_at: datetime | None
) -> duckdb.DuckDBPyConnection:
    """A connection with the tables `figure`, `gap` and `contradiction`, filled from months up to years."""
    if as_of.tzinfo is None or (known_at is not None and known_at.tzinfo is None):
        raise ValueError("as_of and known_at must be instants with their zone")
    connection = connect()
    connection.execute("SET threads = 1")  # many small statements: handing them out costs more than it gains
    connection.register("observation", observations)
    connection.register("unit", units)
    connection.register("dictionary", _dictionary_rows())
    prepare, step = (
        resources.files("assets.indicators").joinpath(name).read_text(encoding="utf-8")
        for name in ("observed_prepare.sql", "observed_step.sql")
    )
    connection.execute("SET VARIABLE as_of = $1::TIMESTAMPTZ", [as_of])
    connection.execute("SET VARIABLE known_at = $1::TIMESTAMPTZ", [known_at])
    connection.execute(prepare)
    for period, shorter in (("month", None), ("quarter", "month"), ("half", "quarter"), ("year", "half")):
        connection.execute("SET VARIABLE period = $1::VARCHAR", [period])
        connection.execute("SET VARIABLE shorter = $1::VARCHAR", [shorter])
        connection.execute(step)
    return connection


def _dictionary_rows() -> pa.Table:
    rows = [
        {"indicator": each.id, "nature": each.nature, "is_additive": each.is_additive, "levels": list(each.levels)}
        for each in observed_indicators()
    ]
    schema = pa.schema(
        [
            ("indicator", pa.string()),
            ("nature", pa.string()),
            ("is_additive", pa.bool_()),
            ("levels", pa.list_(pa.string())),
        ]
    )
    return pa.Table.from_pylist(rows, schema=schema)


_ROWS = """
SELECT indicator, $version AS version, scope, level, unit_code, 'then' AS boundaries, period, period_start,
    numerator, denominator,
    CASE WHEN denominator > 0 THEN numerator / denominator ELSE value END AS rate,
    CASE WHEN denominator = 0 THEN 'no_denominator' ELSE 'ok' END AS state,
    -- A stated figure may contradict its parts; what is a sum here was summed whole.
    'no' AS adds_up,
    $as_of::TIMESTAMPTZ AS as_of
FROM figure
ORDER BY ALL
"""
