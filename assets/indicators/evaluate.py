"""The one evaluator: every definition, one statement, one pass per event day; then sums of counts.

Belongs here: compiling definitions into SQL, and rolling counts up to levels, the province, quarters
and years. Does not belong here: what an indicator means.

A rate is made last, from summed counts; rates are never averaged, and a rate without denominator is
null, not 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from importlib import resources

import duckdb
import pyarrow as pa
from sqlglot import exp

from assets.indicators.definitions import Definition, bind
from warehouse.lake import Lake, session
from warehouse.tables import CORE_SUCCESSION, CORE_UNIT, OUT_INDICATOR, PERIODS

#: What counts are kept apart by; everything above is a sum over these.
GRAIN = ("unit_code", "unit_level")


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
    definitions: Sequence[Definition],
    *,
    as_of: datetime,
    since: date = date.min,
    dialect: str = "duckdb",
    grain: Sequence[str] = GRAIN,
) -> str:
    """Compile `definitions` into one SQL statement over the tables of their facts.

    Its rows: the columns of `grain`, month (first day), then n_k and d_k, the numerator and
    denominator of column k of `columns_of` (0 in rows of another event day). Only events from `since`
    on are counted. `dialect` is any that sqlglot writes; DuckDB and Spark are the ones in use, both
    with their session in UTC.
    """
    if as_of.tzinfo is None:
        raise ValueError("as_of must be an instant with its zone")
    columns = columns_of(definitions)
    selects = [_scan_select(scan, columns, grain, as_of, since) for scan in _scans(definitions)]
    statement: exp.Query = selects[0]
    for select in selects[1:]:
        statement = exp.union(statement, select, distinct=False)
    return statement.sql(dialect=dialect)


@dataclass(frozen=True, kw_only=True)
class CountColumn:
    """One pair of counts of the statement: a definition, and the kind of period it is counted for.

    `counted_for` is None where every kind of period is a sum of months.
    """

    definition: int
    counted_for: str | None


def columns_of(definitions: Sequence[Definition]) -> tuple[CountColumn, ...]:
    """The pairs of counts that the statement makes, in order."""
    return tuple(
        CountColumn(definition=index, counted_for=kind)
        for index, definition in enumerate(definitions)
        for kind in (PERIODS if definition.is_judged_at_period_end else (None,))
    )


def _scan_select(
    scan: _Scan, columns: Sequence[CountColumn], grain: Sequence[str], as_of: datetime, since: date
) -> exp.Select:
    event = exp.column(scan.event)
    members = dict(scan.members)
    zero: exp.Expr = exp.Literal.number(0)
    selected: list[exp.Expr] = [exp.column(name) for name in grain]
    selected.append(exp.alias_(_start_of("MONTH", event), "month"))
    for index, column in enumerate(columns):
        numerator, denominator = zero, zero
        if column.definition in members:
            numerator, denominator = _counts(members[column.definition], column.counted_for, as_of, since)
        selected += [exp.alias_(numerator.copy(), f"n_{index}"), exp.alias_(denominator.copy(), f"d_{index}")]
    table = scan.members[0][1].table.name
    return (
        exp.select(*selected)
        .from_(table)
        .where(exp.GTE(this=event.copy(), expression=_day(since)))
        .group_by(*(str(place) for place in range(1, len(grain) + 2)))
    )


def _counts(definition: Definition, counted_for: str | None, as_of: datetime, since: date) -> tuple[exp.Expr, exp.Expr]:
    """Numerator and denominator of one definition as aggregates."""
    values = parameter_values(as_of, definition.event, counted_for)
    population = _population(definition, values, since)
    return _count(exp.and_(population, bind(definition.numerator, values))), _count(population)


def parameter_values(as_of: datetime, event: str, counted_for: str | None) -> dict[str, exp.Expr]:
    """What the parameters of a predicate stand for in rows whose event day is the column `event`.

    Without a kind of period, the period ends at `as_of`.
    """
    known: exp.Expr = exp.cast(exp.Literal.string(as_of.isoformat()), "TIMESTAMPTZ")
    end = known if counted_for is None else _period_end(counted_for, exp.column(event), known)
    return {"as_of": known, "period_end": end}


#: Vietnam has had one offset and no summer time since 1975; sessions run in UTC.
_VIETNAM_HOURS = 7


def _period_end(kind: str, event: exp.Expr, as_of: exp.Expr) -> exp.Expr:
    """The instant at which the period around a day ends in Vietnam, at most `as_of`."""
    year = _start_of("YEAR", event)
    if kind == "half":
        first = exp.LTE(this=exp.Month(this=event.copy()), expression=exp.Literal.number(6))
        following: exp.Expr = exp.case().when(first, _later(year, 6)).else_(_later(year, 12))
    else:
        months = {"month": 1, "quarter": 3, "year": 12}[kind]
        following = _later(_start_of(kind.upper(), event), months)
    midnight = exp.Sub(this=exp.cast(following, "TIMESTAMPTZ"), expression=_interval(_VIETNAM_HOURS, "HOUR"))
    earlier = exp.LT(this=midnight.copy(), expression=as_of.copy())
    return exp.case().when(earlier, midnight).else_(as_of.copy())


def _start_of(unit: str, day: exp.Expr) -> exp.Expr:
    return exp.cast(exp.TimestampTrunc(this=day.copy(), unit=exp.var(unit)), "DATE")


def _later(day: exp.Expr, months: int) -> exp.Expr:
    return exp.cast(exp.Add(this=day.copy(), expression=_interval(months, "MONTH")), "DATE")


def _interval(count: int, unit: str) -> exp.Expr:
    return exp.Interval(this=exp.Literal.string(str(count)), unit=exp.var(unit))


def _population(definition: Definition, values: Mapping[str, exp.Expr], since: date) -> exp.Expr:
    """The population within the days for which this version is the rule, as far as `since` leaves that open."""
    within = [bind(definition.population, values)]
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
    with the quarters, half-years and years they fall in; events outside them are not extracted whole and so not
    shown. Every unit gets a row in every period in which it exists, with or without dossiers.
    """
    facts = {definition.table.name: definition.table for definition in definitions}
    connection = lake.connect(*facts.values(), CORE_UNIT, CORE_SUCCESSION)
    counts = connection.sql(
        counting_statement(definitions, as_of=as_of, since=start_on.replace(day=1))
    ).to_arrow_table()
    units = connection.sql("SELECT * FROM core_unit").to_arrow_table()
    succession = connection.sql("SELECT * FROM core_succession").to_arrow_table()
    return roll_up(
        counts,
        definitions,
        units=units,
        succession=succession,
        province_code=province_code,
        as_of=as_of,
        start_on=start_on,
    )


def roll_up(
    counts: pa.Table,
    definitions: Sequence[Definition],
    *,
    units: pa.Table,
    succession: pa.Table,
    province_code: str,
    as_of: datetime,
    start_on: date,
) -> pa.Table:
    """Sum the counts of `counting_statement` to units, levels and the province, for every kind of period.

    With boundaries `now`, communes of today also have what the old communes on their territory did,
    where `succession` leaves no doubt.
    """
    connection = session()
    connection.register("unit", units)
    connection.register("succession", succession)
    connection.register("long_count", _long(counts, columns_of(definitions)))
    connection.register("definition", _definition_rows(definitions))
    query = resources.files("assets.indicators").joinpath("roll_up.sql").read_text(encoding="utf-8")
    rows = connection.sql(
        query, params={"province_code": province_code, "as_of": as_of, "start_on": start_on}
    ).to_arrow_table()
    return rows.select(list(OUT_INDICATOR.column_names)).cast(OUT_INDICATOR.arrow_schema())


def _long(counts: pa.Table, columns: Sequence[CountColumn]) -> pa.Table:
    """One row per grain and pair of counts instead of two columns per pair; nothing counted, no row."""
    connection: duckdb.DuckDBPyConnection = session()
    connection.register("counts", counts)
    parts = " UNION ALL ".join(
        f"SELECT unit_code, unit_level, month, {column.definition} AS definition, "
        f"{_text_or_null(column.counted_for)} AS counted_for, sum(n_{i}) AS numerator, sum(d_{i}) AS denominator "
        f"FROM counts WHERE d_{i} > 0 GROUP BY 1, 2, 3"
        for i, column in enumerate(columns)
    )
    return connection.sql(parts).to_arrow_table()


def _text_or_null(text: str | None) -> str:
    return "CAST(NULL AS VARCHAR)" if text is None else f"'{text}'"


def _definition_rows(definitions: Iterable[Definition]) -> pa.Table:
    rows = [
        {
            "definition": i,
            "indicator": d.id,
            "version": d.version,
            "valid_from": d.valid_from,
            "valid_to": d.valid_to,
            "is_judged_at_period_end": d.is_judged_at_period_end,
        }
        for i, d in enumerate(definitions)
    ]
    kinds = {"definition": pa.int32(), "indicator": pa.string(), "version": pa.string()}
    days = {"valid_from": pa.date32(), "valid_to": pa.date32(), "is_judged_at_period_end": pa.bool_()}
    return pa.Table.from_pylist(rows, schema=pa.schema([*kinds.items(), *days.items()]))
