"""Two versions of one indicator, dossier by dossier.

Belongs here: who is counted by one version and not by the other, and the part of the rule that decided.
Does not belong here: changes over time (`restate.py`, `explain.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import duckdb

from assets.indicators.definitions import Definition
from assets.periods import Period
from assets.questions.decisions import Judgement, Part, Question, said
from assets.questions.memberships import membership_sql
from warehouse.lake import Lake

#: Which of the two versions a dossier is missing from.
Side = Literal["a", "b"]
What = Literal["denominator", "numerator"]


class IncomparableError(ValueError):
    """Two versions cannot be compared dossier by dossier; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How many are counted by both versions, by the first one only, by the second one only."""

    both: int
    only_a: int
    only_b: int

    @property
    def count(self) -> int:
        """How many are counted by either."""
        return self.both + self.only_a + self.only_b


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A dossier is missing from the denominator or numerator of version `side`, because of `parts`."""

    side: Side
    what: What
    parts: tuple[Part, ...]

    @property
    def rule(self) -> str:
        """The deciding parts without this dossier's values: the same for all that fail alike."""
        return "; ".join(part.text for part in self.parts)


@dataclass(frozen=True, kw_only=True)
class Differing:
    """A dossier (or payment) that the two versions count differently; flags say where it is counted."""

    dossier_key: str
    payment_no: int | None
    unit_code: str
    denominator_a: bool
    denominator_b: bool
    numerator_a: bool
    numerator_b: bool
    missing: tuple[Missing, ...]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What two versions count differently in one period, of one unit or (None) of the whole province."""

    a: Definition
    b: Definition
    period: Period
    unit_code: str | None
    as_of: datetime
    denominator: Agreement
    numerator: Agreement
    dossiers: tuple[Differing, ...]

    def reasons(self) -> list[tuple[Missing, int]]:
        """Each deciding rule with how many it decided, the most frequent first; one of them as an example."""
        examples: dict[tuple[str, str, str], Missing] = {}
        counts: Counter[tuple[str, str, str]] = Counter()
        for one in (missing for dossier in self.dossiers for missing in dossier.missing):
            key = (one.what, one.side, one.rule)
            examples.setdefault(key, one)
            counts[key] += 1
        return [(examples[key], count) for key, count in counts.most_common()]


def difference(
    lake: Lake, a: Definition, b: Definition, *, period: Period, unit_code: str | None = None, as_of: datetime
) -> Difference:
    """Compare two definitions over the events of `period`, as known up to `as_of`.

    Raises `IncomparableError` when one counts dossiers and the other payments.
    """
    if a.fact != b.fact:
        raise IncomparableError(
            f"{a.id} {a.version} đếm {a.fact}, {b.id} {b.version} đếm {b.fact}: không thể so từng hồ sơ · "
            "they count different things"
        )
    connection = lake.connect(a.table)
    for side, definition in (("a", a), ("b", b)):
        _count_side(connection, side, definition, period=period, unit_code=unit_code, as_of=as_of)
    connection.execute(_COMPARED)
    rows = connection.sql("SELECT * FROM differing ORDER BY dossier_key, payment_no").to_arrow_table().to_pylist()
    asked = {
        side: {(one.dossier_key, one.payment_no): one for one in _asked(connection, definition, period, as_of)}
        for side, definition in (("a", a), ("b", b))
        if rows
    }
    return Difference(
        a=a,
        b=b,
        period=period,
        unit_code=unit_code,
        as_of=as_of,
        denominator=_agreement(connection, "denominator"),
        numerator=_agreement(connection, "numerator"),
        dossiers=tuple(_differing(row, asked, period) for row in rows),
    )


def _count_side(
    connection: duckdb.DuckDBPyConnection,
    side: str,
    definition: Definition,
    *,
    period: Period,
    unit_code: str | None,
    as_of: datetime,
) -> None:
    query = membership_sql((definition,), as_of=as_of, kinds=(period.kind,))
    connection.execute(
        f"CREATE TEMP TABLE side_{side} AS SELECT dossier_key, payment_no, coalesce(payment_no, 0) AS item, unit_code, "
        f"in_numerator FROM ({query}) WHERE event_on >= $first AND event_on < $end "
        "AND ($unit::VARCHAR IS NULL OR unit_code = $unit)",
        {"first": period.start, "end": period.end, "unit": unit_code},
    )


_COMPARED = """
    CREATE TEMP TABLE compared AS
    SELECT dossier_key, coalesce(a.payment_no, b.payment_no) AS payment_no,
        coalesce(a.unit_code, b.unit_code) AS unit_code,
        a.dossier_key IS NOT NULL AS denominator_a, b.dossier_key IS NOT NULL AS denominator_b,
        coalesce(a.in_numerator, false) AS numerator_a, coalesce(b.in_numerator, false) AS numerator_b
    FROM side_a AS a FULL JOIN side_b AS b USING (dossier_key, item);
    CREATE TEMP TABLE differing AS
    SELECT * FROM compared WHERE denominator_a <> denominator_b OR numerator_a <> numerator_b;
"""


def _agreement(connection: duckdb.DuckDBPyConnection, what: What) -> Agreement:
    counts = connection.execute(
        f"SELECT count(*) FILTER ({what}_a AND {what}_b), count(*) FILTER ({what}_a AND NOT {what}_b), "
        f"count(*) FILTER (NOT {what}_a AND {what}_b) FROM compared"
    ).fetchall()[0]
    return Agreement(both=counts[0], only_a=counts[1], only_b=counts[2])


def _asked(
    connection: duckdb.DuckDBPyConnection, definition: Definition, period: Period, as_of: datetime
) -> Iterable[Judgement]:
    counted_for = period.kind if definition.is_judged_at_period_end else None
    return Question(definition, as_of, counted_for).judgements(connection, among="differing")


_Asked = Mapping[str, Mapping[tuple[str, int | None], Judgement]]


def _differing(row: Mapping[str, Any], asked: _Asked, period: Period) -> Differing:
    return Differing(**row, missing=tuple(_missing(row, asked, period)))


def _missing(row: Mapping[str, Any], asked: _Asked, period: Period) -> Iterator[Missing]:
    sides: Sequence[tuple[Side, Side]] = (("a", "b"), ("b", "a"))
    for side, other in sides:
        judged = asked[side][row["dossier_key"], row["payment_no"]]
        if row[f"denominator_{other}"] and not row[f"denominator_{side}"]:
            yield Missing(side=side, what="denominator", parts=_kept_out(judged, period))
        if row[f"numerator_{other}"] and not row[f"numerator_{side}"]:
            parts = judged.against if row[f"denominator_{side}"] else _kept_out(judged, period)
            yield Missing(side=side, what="numerator", parts=parts)


def _kept_out(judged: Judgement, period: Period) -> tuple[Part, ...]:
    """Why it is not in the denominator of this period: the rule, or its day lies in another one."""
    if not judged.population.holds:
        return judged.population.parts
    text = f"ngày tính từ {said(period.start)} đến {said(period.end - timedelta(days=1))}"
    return (Part(text=text, outcome=False, values=(("ngày tính", said(judged.event_on)),)),)
