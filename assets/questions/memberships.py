"""Which dossier counts in which indicator version, for whom and when.

Belongs here: the rows behind the counts, made from the same predicates and parameters as the counts.
Does not belong here: sums of them (`assets/indicators/evaluate.py`), nor which part of a predicate decided
(`decisions.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime

import pyarrow as pa
from sqlglot import exp

from assets.indicators.definitions import Definition, bind
from assets.indicators.evaluate import parameter_values
from assets.periods import Period
from warehouse.lake import Lake
from warehouse.schema import COUNT, DAY, FLAG, TEXT
from warehouse.tables import PERIODS

#: One row says: this dossier (or payment of it) is in the denominator of this version, on this day, for this
#: unit. `counted_for` names the kind of period for which that was judged, null where every period is a sum of
#: months; `payment_no` is null where dossiers are counted.
MEMBERSHIP = pa.schema(
    [
        pa.field("indicator", TEXT, nullable=False),
        pa.field("version", TEXT, nullable=False),
        pa.field("dossier_key", TEXT, nullable=False),
        pa.field("payment_no", COUNT),
        pa.field("unit_code", TEXT, nullable=False),
        pa.field("unit_level", TEXT, nullable=False),
        pa.field("event_on", DAY, nullable=False),
        pa.field("month", DAY, nullable=False),
        pa.field("counted_for", TEXT),
        pa.field("in_numerator", FLAG, nullable=False),
    ]
)


def memberships(
    lake: Lake,
    definitions: Sequence[Definition],
    *,
    as_of: datetime,
    dossier_keys: Iterable[str] | None = None,
    period: Period | None = None,
) -> pa.Table:
    """Every membership (`MEMBERSHIP`) as known up to `as_of`, by dossier and definition.

    With `dossier_keys` only of those dossiers; with `period` only those counted in that period, each once.
    Counted by unit and month (within `counted_for`), they are what `evaluate` publishes.
    """
    connection = lake.connect(*{one.table.name: one.table for one in definitions}.values())
    query = membership_sql(definitions, as_of=as_of, kinds=PERIODS if period is None else (period.kind,))
    conditions, values = ["true"], list[object]()
    if dossier_keys is not None:
        conditions.append("list_contains(?, dossier_key)")
        values.append(sorted(dossier_keys))
    if period is not None:
        conditions.append("event_on >= ? AND event_on < ?")
        values += [period.start, period.end]
    where = " AND ".join(conditions)
    rows = connection.sql(f"SELECT * FROM ({query}) WHERE {where} ORDER BY ALL", params=values)
    return rows.to_arrow_table().cast(MEMBERSHIP)


def membership_sql(
    definitions: Sequence[Definition],
    *,
    as_of: datetime,
    kinds: Sequence[str] = PERIODS,
    schema: str | None = None,
) -> str:
    """The DuckDB query for `MEMBERSHIP` rows over the tables of the definitions' facts in `schema`.

    What is judged at a period's end gives one row for each of `kinds`.
    """
    if as_of.tzinfo is None:
        raise ValueError("as_of must be an instant with its zone")
    selects = [
        _select(definition, counted_for, as_of, schema)
        for definition in definitions
        for counted_for in (kinds if definition.is_judged_at_period_end else (None,))
    ]
    return "\nUNION ALL ".join(select.sql(dialect="duckdb") for select in selects)


def within_rule(definition: Definition) -> tuple[exp.Expr, ...]:
    """What must hold of the event day before the population is asked: there is one, and the version is the rule."""
    event = exp.column(definition.event)
    found: list[exp.Expr] = [
        exp.Not(this=exp.Is(this=event.copy(), expression=exp.Null())),
        exp.GTE(this=event.copy(), expression=_day(definition.valid_from)),
    ]
    if definition.valid_to is not None:
        found.append(exp.LTE(this=event.copy(), expression=_day(definition.valid_to)))
    return tuple(found)


def _select(definition: Definition, counted_for: str | None, as_of: datetime, schema: str | None) -> exp.Select:
    values = parameter_values(as_of, definition.event, counted_for)
    event = exp.column(definition.event)
    month = exp.cast(exp.TimestampTrunc(this=event.copy(), unit=exp.var("MONTH")), "DATE")
    number = exp.column("payment_no") if "payment_no" in definition.table.key else exp.cast(exp.null(), "BIGINT")
    kind = exp.cast(exp.null() if counted_for is None else exp.Literal.string(counted_for), "TEXT")
    holds = exp.Coalesce(this=bind(definition.numerator, values), expressions=[exp.false()])
    return (
        exp.select(
            exp.alias_(exp.Literal.string(definition.id), "indicator"),
            exp.alias_(exp.Literal.string(definition.version), "version"),
            exp.column("dossier_key"),
            exp.alias_(number, "payment_no"),
            exp.column("unit_code"),
            exp.column("unit_level"),
            exp.alias_(event, "event_on"),
            exp.alias_(month, "month"),
            exp.alias_(kind, "counted_for"),
            exp.alias_(holds, "in_numerator"),
        )
        .from_(exp.table_(definition.table.name, db=schema))
        .where(*within_rule(definition), bind(definition.population, values))
    )


def _day(day: date) -> exp.Expr:
    return exp.cast(exp.Literal.string(day.isoformat()), "DATE")
