"""The one evaluator: every definition, one statement, one pass per event day; then sums of counts.

Belongs here: compiling definitions into SQL, and rolling counts up to levels, the province, quarters
and years. Does not belong here: what an indicator means.

A rate is made last, from summed counts; rates are never averaged, and a rate without denominator is
null, not 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from importlib import resources

import duckdb
import pyarrow as pa
from sqlglot import exp

from assets.indicators.definitions import Definition, bind
from warehouse.lake import Lake, connect
from warehouse.tables import CORE_UNIT, OUT_INDICATOR

#: What counts are kept apart by; everything above is a sum over these.
_GRAIN = ("unit_code", "unit_level")


@dataclass(frozen=True, kw_only=True)
class _Scan:
    """All definitions that count rows of one fact by one event day, and so share a pass."""

    fact: str
    event: str
    members: tuple[tuple[int, Definition], ...]


def _scans(definitions: Sequence[Definition]) -> Iterator[_Scan]:
    kinds = sorted({(definition.fact, definition.event) for definition in definitions})
    for fact, event in kinds:
        members = tuple((i, d) for i, d in enumerate(definitions) if (d.fact, d.event) == (fact, event))
        yield _Scan(fact=fact, event=event, members=members)


def counting_statement(
    definitions: Sequence[Definition], *, as_of: datetime, since: date = date.min, dialect: str = "duckdb"
) -> str:
    """Compile `definitions` into one SQL statement over the tables of their facts.

    Its rows: unit_code, unit_level, month (first day), then n_i and d_i, the numerator and
    denominator of definition i (0 in rows of another event day). Only events from `since` on are
    counted. `dialect` is any that sqlglot writes; DuckDB and Spark are the ones in use.
    """
    if as_of.tzinfo is None:
        raise ValueError("as_of must be an instant with its zone")
    selects = [_scan_select(scan, len(definitions), as_of, since) for scan in _scans(definitions)]
    statement: exp.Query = selects[0]
    for select in selects[1:]:
        statement = exp.union(statement, select, distinct=False)
    return statement.sql(dialect=dialect)


def _scan_select(scan: _Scan, width: int, as_of: datetime, since: date) -> exp.Select:
    event = exp.column(scan.event)
    counts: dict[int, tuple[exp.Expr, exp.Expr]] = {}
    for index, definition in scan.members:
        population = _population(definition, as_of, since)
        numerator = bind(definition.numerator, _values(as_of))
        counts[index] = _count(exp.and_(population, numerator)), _count(population)
    zero: exp.Expr = exp.Literal.number(0)
    columns: list[exp.Expr] = [exp.column(name) for name in _GRAIN]
    columns.append(exp.alias_(exp.cast(exp.TimestampTrunc(this=event.copy(), unit=exp.var("MONTH")), "DATE"), "month"))
    for index in range(width):
        numerator, denominator = counts.get(index, (zero, zero))
        columns += [exp.alias_(numerator.copy(), f"n_{index}"), exp.alias_(denominator.copy(), f"d_{index}")]
    table = scan.members[0][1].table.name
    return (
        exp.select(*columns)
        .from_(table)
        .where(exp.GTE(this=event.copy(), expression=_day(since)))
        .group_by(*(str(i) for i in (1, 2, 3)))
    )


def _values(as_of: datetime) -> dict[str, exp.Expr]:
    return {"as_of": exp.cast(exp.Literal.string(as_of.isoformat()), "TIMESTAMPTZ")}


def _population(definition: Definition, as_of: datetime, since: date) -> exp.Expr:
    """The population within the days for which this version is the rule, as far as `since` leaves that open."""
    within = [bind(definition.population, _values(as_of))]
    event = exp.column(definition.event)
    if definition.valid_from > since:
        within.append(exp.GTE(this=event.copy(), expression=_day(definition.valid_from)))
    if definition.valid_to is not None:
        within.append(exp.LTE(this=event.copy(), expression=_day(definition.valid_to)))
    return exp.and_(*within)


def _day(day: date) -> exp.Expr:
    return exp.cast(exp.Literal.string(day.isoformat()), "DATE")


def _count(condition: exp.Expr) -> exp.Expr:
    return exp.Filter(this=exp.Count(this=exp.Star()), expression=exp.Where(this=condition))


def evaluate(
    lake: Lake,
    definitions: Sequence[Definition],
    *,
    province_code: str,
    as_of: datetime,
    start_on: date,
) -> pa.Table:
    """Compute every definition as `out_indicator` rows.

    Periods run from the month of `start_on` to the month of `as_of` in Asia/Ho_Chi_Minh, together
    with the quarters and years they fall in; events outside them are not extracted whole and so not
    shown. Every unit gets a row in every period in which it exists, with or without dossiers.
    """
    facts = {definition.table.name: definition.table for definition in definitions}
    connection = lake.connect(*facts.values(), CORE_UNIT)
    counts = connection.sql(
        counting_statement(definitions, as_of=as_of, since=start_on.replace(day=1))
    ).to_arrow_table()
    units = connection.sql("SELECT * FROM core_unit").to_arrow_table()
    return roll_up(counts, definitions, units=units, province_code=province_code, as_of=as_of, start_on=start_on)


def roll_up(
    counts: pa.Table,
    definitions: Sequence[Definition],
    *,
    units: pa.Table,
    province_code: str,
    as_of: datetime,
    start_on: date,
) -> pa.Table:
    """Sum the counts of `counting_statement` to units, levels and the province, by month, quarter, year."""
    connection = connect()
    connection.register("unit", units)
    connection.register("long_count", _long(counts, len(definitions)))
    connection.register("definition", _definition_rows(definitions))
    query = resources.files("assets.indicators").joinpath("roll_up.sql").read_text(encoding="utf-8")
    rows = connection.sql(
        query, params={"province_code": province_code, "as_of": as_of, "start_on": start_on}
    ).to_arrow_table()
    return rows.select(list(OUT_INDICATOR.column_names)).cast(OUT_INDICATOR.arrow_schema())


def _long(counts: pa.Table, width: int) -> pa.Table:
    """One row per grain and definition instead of two columns per definition; nothing counted, no row."""
    connection: duckdb.DuckDBPyConnection = connect()
    connection.register("counts", counts)
    parts = " UNION ALL ".join(
        f"SELECT unit_code, unit_level, month, {i} AS definition, sum(n_{i}) AS numerator, sum(d_{i}) AS denominator "
        f"FROM counts WHERE d_{i} > 0 GROUP BY 1, 2, 3"
        for i in range(width)
    )
    return connection.sql(parts).to_arrow_table()


def _definition_rows(definitions: Iterable[Definition]) -> pa.Table:
    rows = [
        {"definition": i, "indicator": d.id, "version": d.version, "valid_from": d.valid_from, "valid_to": d.valid_to}
        for i, d in enumerate(definitions)
    ]
    kinds = {"definition": pa.int32(), "indicator": pa.string(), "version": pa.string()}
    return pa.Table.from_pylist(
        rows, schema=pa.schema([*kinds.items(), ("valid_from", pa.date32()), ("valid_to", pa.date32())])
    )
