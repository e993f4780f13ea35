"""Verdicts: indicators held against dated targets.

Belongs here: the rules by which a rate, a target and a date become a verdict, a gap and a reason, as
one pure function over Arrow tables (the statement is `verdicts.sql`). Does not belong here: the
targets (data, `expectations/targets/`), their wording for people (`expectations/wording.py`), nor
reading or writing anything of a night.

A verdict speaks of one day: the last day of its period, or today (`as_of`) while the period runs. It
is made from figures on the boundaries of their time (`boundaries` then). The rules, the first that
fits decides:

1. not_applicable: the unit or level does not exist on that day. The district level ended on
   2025-06-30, so a district is never judged on the year 2025, whose target was due in December.
   The rate stays visible, the gap does not: nobody is left to close it. Or the unit lies outside the
   territory that the decision was made for: since the mergers of 2025-07-01 a commune of a former
   neighbour is not bound by this province's old decision (law-units 4.2). The new province's own
   departments and sums are held by the set of the province that carries the name on; the reason of
   such a sum says that it takes in more than the decision's territory.
2. no_source: no indicator can answer the target, or the one that can has no figure at all for it,
   or none in a year that is over (nothing was handed in). No rate, least of all 0 %.
3. not_yet_due: the day comes before the target is due. Rate and gap are shown as the distance that
   is left; it says nothing of what the months before "should" have reached. It comes before the
   counts below so that no reader takes a quiet month for a judgement that was never possible.
4. not_applicable: the denominator is 0. There was nothing to do well or badly; no rate and no gap.
5. too_few: the denominator is below the province's minimum. Rate and gap are shown, but one dossier
   more or less would turn the verdict.
6. met or missed: by whole numbers (numerator / denominator against the threshold), or by the value's
   own decimals where another system gave only a value, an index or a rank: then there is no gap.

Every verdict but met and missed carries its reason in a sentence.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import cache
from importlib import resources
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from expectations.targets import ALL_LEVELS, WHOLE, Target
from expectations.wording import REASON_VI
from warehouse.lake import session
from warehouse.reference import FIRST_TWO_TIER_DAY, LAST_DISTRICT_DAY
from warehouse.tables import LEVELS, OUT_INDICATOR, OUT_VERDICT

_ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
_JUDGE = resources.files("assets.scorecards").joinpath("verdicts.sql").read_text(encoding="utf-8")
_SAME_VERSION = "t.indicator = m.indicator AND t.version = m.version"
_SAME_TARGET = "t.target = m.target"

_TARGETS = pa.schema(
    [
        pa.field("target", pa.string()),
        pa.field("indicator", pa.string()),
        pa.field("version", pa.string()),
        pa.field("target_level", pa.string()),
        pa.field("operator", pa.string()),
        pa.field("measure", pa.string()),
        pa.field("threshold", pa.float64()),
        pa.field("exact", pa.decimal128(18, 4)),
        # The threshold as p / q in whole numbers: in floats 0.07 * 100 is more than 7.
        pa.field("p", pa.int64()),
        pa.field("q", pa.int64()),
        pa.field("valid_from", pa.date32()),
        pa.field("valid_to", pa.date32()),
        pa.field("due_on", pa.date32()),
        pa.field("territory", pa.string()),
        pa.field("territory_vi", pa.string()),
        pa.field("sources_vi", pa.string()),
        pa.field("counted", pa.string()),
        pa.field("document", pa.string()),
        pa.field("clause", pa.string()),
    ]
)
#: A subject of a target that has no figure: columns of out_indicator, the target in front.
_SUBJECT_COLUMNS = ("indicator", "version", "level", "scope", "unit_code", "period", "period_start")
_COUNTED_COLUMNS = ("numerator", "denominator", "rate")
_SUBJECTS = pa.schema(
    [
        pa.field("target", pa.string()),
        *(pa.field(name, OUT_INDICATOR.column(name).type) for name in (*_SUBJECT_COLUMNS, *_COUNTED_COLUMNS)),
    ]
)
_ORIGINS = pa.schema([pa.field("unit_code", pa.string()), pa.field("former", pa.string())])

#: Scope, level and year of the figures of each indicator version.
_Figures = dict[tuple[str, str], set[tuple[str, str, int]]]


class UnknownUnitError(LookupError):
    """An indicator counts dossiers of a unit that the table of units never had."""


def judge(
    indicators: pa.Table,
    targets: Sequence[Target],
    *,
    units: pa.Table,
    as_of: datetime,
    minimum_denominator: int,
) -> pa.Table:
    """Hold `indicators` (rows of out_indicator) against `targets`; returns rows of out_verdict.

    `units` are rows of core_unit, `as_of` the instant up to which facts are known (with a zone).
    A target applies to the rows of its indicator version, at its level, in every period that it holds
    for; where it has no figure it gives one row per level and year. Rows come in the order of the
    table's key. Raises `UnknownUnitError` and, for an instant without a zone, `ValueError`.
    """
    today = _local_day(as_of)
    measured = indicators.filter(pc.field("boundaries") == "then")
    connection = session()
    connection.register("measured", measured)
    connection.register("target", _target_table(targets))
    connection.register("unit", units)
    connection.register("origin", _origins(units))
    _refuse_unknown_units(connection)
    given = _given(units, today, minimum_denominator)
    subjects = _subjects_without_figure(_figures(connection), targets, units, today)
    found = [
        _judged(connection, measured, given, answers=_SAME_VERSION),
        _judged(connection, subjects, given, answers=_SAME_TARGET),
    ]
    return pa.concat_tables(found).sort_by([(name, "ascending") for name in OUT_VERDICT.key])


def _given(units: pa.Table, today: date, minimum: int) -> dict[str, Any]:
    """What the statement is told besides tables: days, the minimum, the territory, the words."""
    days = {"today": today, "merged_on": FIRST_TWO_TIER_DAY}
    return days | {"minimum": minimum, "own": _own_territory(units)} | REASON_VI


def _judged(
    connection: duckdb.DuckDBPyConnection, measured: pa.Table, given: Mapping[str, Any], *, answers: str
) -> pa.Table:
    if not measured.num_rows:
        return OUT_VERDICT.arrow_schema().empty_table()
    connection.register("measured", measured)
    rows = connection.sql(_JUDGE.format(answers=answers), params=given).to_arrow_table()
    return rows.cast(OUT_VERDICT.arrow_schema())


def _target_table(targets: Iterable[Target]) -> pa.Table:
    return pa.Table.from_pylist([_target_row(target) for target in targets], schema=_TARGETS)


def _target_row(target: Target) -> dict[str, Any]:
    p, q = target.threshold.as_integer_ratio()
    worked_out: dict[str, Any] = {
        "target_level": target.level,
        "threshold": float(target.threshold),
        "exact": target.threshold,
        "p": p,
        "q": q,
    }
    as_it_is = (name for name in _TARGETS.names if name not in worked_out)
    return worked_out | {name: getattr(target, name) for name in as_it_is}


def _local_day(instant: datetime) -> date:
    if instant.tzinfo is None:
        raise ValueError(f"as_of {instant!r} has no zone; give an instant with its zone")
    return instant.astimezone(_ZONE).date()


def _refuse_unknown_units(connection: duckdb.DuckDBPyConnection) -> None:
    """A unit outside the table of units would be called "does not exist" and its dossiers not judged."""
    rows = connection.sql(
        "SELECT DISTINCT unit_code FROM measured WHERE scope = 'unit' "
        "AND unit_code NOT IN (SELECT unit_code FROM unit) ORDER BY 1"
    ).fetchall()
    if rows:
        shown = ", ".join(code for (code,) in rows[:10])
        raise UnknownUnitError(
            f"{len(rows)} unit codes have indicators but no row in core_unit: {shown}. Correct the unit_code in the "
            "province's agencies.csv, or add the unit to its departments or to the reference data"
        )


def _own_territory(units: pa.Table) -> str | None:
    """GSO code until 2025-06-30 of the province that carries the name on, None when the units do not say."""
    for row in units.to_pylist():
        if row["unit_code"] == row["province_code"] and row["valid_to"] == LAST_DISTRICT_DAY:
            return str(row["gso_code"]) if row["gso_code"] else None
    return None


def _origins(units: pa.Table) -> pa.Table:
    """The former province of each commune of today whose whole territory comes from one."""
    former = _former_provinces()
    rows = [
        {"unit_code": unit["unit_code"], "former": former[unit["gso_code"]]}
        for unit in units.to_pylist()
        if unit["level"] == "commune" and unit["valid_from"] == FIRST_TWO_TIER_DAY and unit["gso_code"] in former
    ]
    return pa.Table.from_pylist(rows, schema=_ORIGINS)


@cache
def _former_provinces() -> dict[str, str]:
    """By a commune's GSO code since 2025-07-01: its province until then, where there was only one."""
    found: dict[str, set[str]] = {}
    crosswalk = resources.files("warehouse").joinpath("reference/communes_crosswalk_2025-07-01.csv")
    with crosswalk.open(encoding="utf-8-sig") as stream:
        for row in csv.DictReader(stream):
            found.setdefault(row["new_code"], set()).add(row["old_province_code"])
    return {code: min(provinces) for code, provinces in found.items() if len(provinces) == 1}


def _subjects_without_figure(figures: _Figures, targets: Iterable[Target], units: pa.Table, today: date) -> pa.Table:
    """One row per level and year for which a target has no figure, up to this year.

    Once a target has some figure, the running year is waited for: only years that are over are said
    to be without one.
    """
    names = ("target", "scope", "level", "period_start")
    # Several rows of one target (its yearly steps) name the same year at most once.
    subjects = dict.fromkeys(
        (target.target, scope, level, date(year, 1, 1))
        for target in targets
        for year in _years_without_figure(target, figures, today)
        for scope, level in _scopes(target)
    )
    if not subjects:
        return _SUBJECTS.empty_table()
    fixed = {"version": "", "unit_code": _province_code(units), "period": "year"}
    return pa.Table.from_pylist([fixed | dict(zip(names, each, strict=True)) for each in subjects], schema=_SUBJECTS)


def _figures(connection: duckdb.DuckDBPyConnection) -> _Figures:
    found: _Figures = {}
    query = "SELECT DISTINCT indicator, version, scope, level, year(period_start) FROM measured"
    for indicator, version, *place in connection.sql(query).fetchall():
        found.setdefault((indicator, version), set()).add(tuple(place))
    return found


def _years_without_figure(target: Target, figures: _Figures, today: date) -> Iterator[int]:
    mine = figures.get((target.indicator or "", target.version), set())
    years = {year for scope, level, year in mine if _covers(target, scope, level)}
    for year in range(target.valid_from.year, today.year + 1):
        is_waited_for = bool(years) and year == today.year
        if year not in years and not is_waited_for and target.holds_on(min(date(year, 12, 31), today)):
            yield year


def _covers(target: Target, scope: str, level: str) -> bool:
    if target.level == WHOLE:
        return scope == "province"
    return target.level in (ALL_LEVELS, level)


def _scopes(target: Target) -> list[tuple[str, str]]:
    """Scope and level of the sums that a target speaks of."""
    whole = [("province", ALL_LEVELS)]
    if target.level == WHOLE:
        return whole
    if target.level == ALL_LEVELS:
        return [*whole, *(("level", level) for level in LEVELS)]
    return [("level", target.level)]


def _province_code(units: pa.Table) -> str:
    codes = sorted({row["unit_code"] for row in units.to_pylist() if row["unit_code"] == row["province_code"]})
    if len(codes) != 1:
        raise ValueError(f"core_unit must hold the row of one province, it holds {', '.join(codes) or 'none'}")
    return str(codes[0])
