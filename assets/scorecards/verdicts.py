"""Verdicts: indicators held against dated targets.

Belongs here: the rules by which a rate, a target and a date become a verdict and a gap, as one pure
function over Arrow tables. Does not belong here: the targets (data, `expectations/targets/`), their
wording for people (`expectations/wording.py`), nor reading or writing anything.

A verdict speaks of one day: the last day of its period, or today (`as_of`) while the period runs.
The rules, the first that fits decides:

1. not_applicable: the unit or level does not exist on that day. The district level ended on
   2025-06-30, so a district is never judged on the year 2025, whose target was due in December.
   The rate stays visible, the gap does not: nobody is left to close it.
2. no_source: no indicator can answer the target. No rate, least of all 0 %.
3. not_yet_due: the day comes before the target is due. Rate and gap are shown as the distance that
   is left; it says nothing of what the months before "should" have reached. It comes before the
   counts below so that no reader takes a quiet month for a judgement that was never possible.
4. not_applicable: the denominator is 0. There was nothing to do well or badly; no rate and no gap.
5. too_few: the denominator is below the province's minimum. Rate and gap are shown, but one dossier
   more or less would turn the verdict.
6. met or missed, by whole numbers: numerator / denominator >= threshold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from zoneinfo import ZoneInfo

import pyarrow as pa

from expectations.targets import ALL_LEVELS, Target
from warehouse.lake import connect
from warehouse.tables import LEVELS, OUT_VERDICT

_ZONE = ZoneInfo("Asia/Ho_Chi_Minh")

_TARGETS = pa.schema(
    [
        pa.field("target", pa.string()),
        pa.field("indicator", pa.string()),
        pa.field("version", pa.string()),
        pa.field("target_level", pa.string()),
        pa.field("threshold", pa.float64()),
        # The threshold as p / q in whole numbers: in floats 0.07 * 100 is more than 7.
        pa.field("p", pa.int64()),
        pa.field("q", pa.int64()),
        pa.field("valid_from", pa.date32()),
        pa.field("valid_to", pa.date32()),
        pa.field("due_on", pa.date32()),
        pa.field("document", pa.string()),
        pa.field("clause", pa.string()),
    ]
)
_SUBJECTS = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("level", "scope", "unit_code", "period")),
        pa.field("period_start", pa.date32()),
    ]
)

_JUDGE = """
WITH span AS (
    SELECT *, least(
        CAST(period_start + CASE period WHEN 'month' THEN INTERVAL 1 MONTH
                                        WHEN 'quarter' THEN INTERVAL 3 MONTH
                                        ELSE INTERVAL 1 YEAR END - INTERVAL 1 DAY AS DATE),
        -- A period that lies ahead (a source's clock runs fast) is judged on its first day.
        greatest($today, period_start)) AS day
    FROM measured
), held AS (
    SELECT t.target, t.threshold, t.p, t.q, t.due_on, t.document, t.clause, m.*
    FROM span m JOIN target t ON {answers}
        AND (t.target_level = 'all' OR t.target_level = m.level)
        AND t.valid_from <= m.day AND (t.valid_to IS NULL OR m.day <= t.valid_to)
), judged AS (
    SELECT h.*,
        greatest(0, (h.p::HUGEINT * h.denominator + h.q - 1) // h.q - h.numerator)::BIGINT AS gap,
        CASE h.scope
            WHEN 'unit' THEN EXISTS (SELECT 1 FROM unit u WHERE u.unit_code = h.unit_code AND
                u.valid_from <= h.day AND (u.valid_to IS NULL OR h.day <= u.valid_to))
            WHEN 'level' THEN EXISTS (SELECT 1 FROM unit u WHERE u.level = h.level AND
                u.valid_from <= h.day AND (u.valid_to IS NULL OR h.day <= u.valid_to))
            ELSE true END AS exists_then
    FROM held h
), verdict AS (
    SELECT *, CASE
        WHEN NOT exists_then THEN 'not_applicable'
        WHEN indicator IS NULL THEN 'no_source'
        WHEN day < due_on THEN 'not_yet_due'
        WHEN denominator = 0 THEN 'not_applicable'
        WHEN denominator < $minimum THEN 'too_few'
        WHEN gap = 0 THEN 'met'
        ELSE 'missed' END AS verdict
    FROM judged
)
SELECT target, indicator, version, level, scope, unit_code, period, period_start, threshold,
    rate, numerator, denominator,
    CASE WHEN verdict <> 'not_applicable' AND denominator > 0 THEN gap END AS gap_dossiers,
    verdict, document, clause
FROM verdict
ORDER BY {key}
"""


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
    A target applies to the rows of its indicator version, at its level, in every month, quarter and
    year that it holds for; a target without a source gives one row per level and year. Rows come
    in the order of the table's key. Raises `UnknownUnitError` and, for an instant without a zone,
    `ValueError`.
    """
    today = _local_day(as_of)
    _refuse_unknown_units(indicators, units)
    sourced = [target for target in targets if target.indicator]
    without = [target for target in targets if not target.indicator]
    answered = _judged(indicators, sourced, units, today, minimum_denominator, answers=_SAME_VERSION)
    subjects = _subjects_without_source(without, units, today)
    unanswered = _judged(subjects, without, units, today, minimum_denominator, answers="t.target = m.for_target")
    return pa.concat_tables([answered, unanswered]).sort_by([(name, "ascending") for name in OUT_VERDICT.key])


_SAME_VERSION = "t.indicator = m.indicator AND t.version = m.version"


def _judged(
    measured: pa.Table, targets: Sequence[Target], units: pa.Table, today: date, minimum: int, *, answers: str
) -> pa.Table:
    connection = connect()
    connection.register("measured", measured)
    connection.register("target", _target_table(targets))
    connection.register("unit", units)
    query = _JUDGE.format(answers=answers, key=", ".join(OUT_VERDICT.key))
    rows = connection.sql(query, params={"today": today, "minimum": minimum}).to_arrow_table()
    return rows.cast(OUT_VERDICT.arrow_schema())


def _target_table(targets: Iterable[Target]) -> pa.Table:
    rows = []
    for target in targets:
        p, q = target.threshold.as_integer_ratio()
        rows.append(
            {
                "target": target.target,
                "indicator": target.indicator,
                "version": target.version,
                "target_level": target.level,
                "threshold": float(target.threshold),
                "p": p,
                "q": q,
                "valid_from": target.valid_from,
                "valid_to": target.valid_to,
                "due_on": target.due_on,
                "document": target.document,
                "clause": target.clause,
            }
        )
    return pa.Table.from_pylist(rows, schema=_TARGETS)


def _local_day(instant: datetime) -> date:
    if instant.tzinfo is None:
        raise ValueError(f"as_of {instant!r} has no zone; give an instant with its zone")
    return instant.astimezone(_ZONE).date()


def _refuse_unknown_units(indicators: pa.Table, units: pa.Table) -> None:
    """A unit outside the table of units would be called "does not exist" and its dossiers not judged."""
    connection = connect()
    connection.register("measured", indicators)
    connection.register("unit", units)
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


def _subjects_without_source(targets: Iterable[Target], units: pa.Table, today: date) -> pa.Table:
    """One row per level and year in which a target without a source holds, up to this year."""
    schema = pa.schema(
        [
            pa.field("for_target", pa.string()),
            pa.field("indicator", pa.string()),
            pa.field("version", pa.string()),
            *_SUBJECTS,
            pa.field("numerator", pa.int64()),
            pa.field("denominator", pa.int64()),
            pa.field("rate", pa.float64()),
        ]
    )
    # Several rows of one target (its yearly steps) name the same year at most once.
    subjects = dict.fromkeys(subject for target in targets for subject in _years(target, today))
    if not subjects:
        return schema.empty_table()
    province = _province_code(units)
    names = ("for_target", "scope", "level", "period_start")
    fixed = {"version": "", "unit_code": province, "period": "year"}
    return pa.Table.from_pylist([fixed | dict(zip(names, subject, strict=True)) for subject in subjects], schema=schema)


def _years(target: Target, today: date) -> Iterator[tuple[str, str, str, date]]:
    scopes = [("level", target.level)]
    if target.level == ALL_LEVELS:
        scopes = [("province", ALL_LEVELS), *(("level", level) for level in LEVELS)]
    last = today.year if target.valid_to is None else min(today.year, target.valid_to.year)
    for year in range(target.valid_from.year, last + 1):
        for scope, level in scopes:
            yield target.target, scope, level, date(year, 1, 1)


def _province_code(units: pa.Table) -> str:
    codes = sorted({row["unit_code"] for row in units.to_pylist() if row["unit_code"] == row["province_code"]})
    if len(codes) != 1:
        raise ValueError(f"core_unit must hold the row of one province, it holds {', '.join(codes) or 'none'}")
    return str(codes[0])
