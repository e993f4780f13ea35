"""The audit of a public copy before it is published: does it show, or give away by subtraction, a small count?

Belongs here: the blocking check. Does not belong here: choosing what is withheld (`suppression.py`); the two share no
code, so that a fault in one is seen by the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from importlib import resources

import duckdb
import pyarrow as pa

from assets.publications.suppression import EXEMPT_VERSIONS, STOCKS
from warehouse.lake import session
from warehouse.tables.statistic import PUBLIC_FAMILIES

_PLACE_AND_PERIOD = "scope, level, unit_code, {sector} AS sector, period, period_start"
_IDENTITY = "subject, measure, scope, level, unit_code, sector, period, period_start"


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One count that a public copy must not give away; `why` is how it does.

    `shown_small`: shown although it is small; `not_rounded`: shown exactly; `rate_not_of_counts`: the rate says
    more than the counts beside it; `not_true`: a row that the true table does not have; `recoverable`: the only
    unknown of a sum (named in `by`), perhaps after others were found the same way.
    """

    why: str
    subject: str
    measure: str
    scope: str
    level: str
    unit_code: str
    sector: str
    period: str
    period_start: str
    by: str = ""

    def __str__(self) -> str:
        """For an operator, without any count."""
        place = " ".join(part for part in (self.scope, self.level, self.unit_code, self.sector) if part)
        how = f" ({self.by})" if self.by else ""
        return f"{self.why}{how}: {self.subject} {self.measure}, {place}, {self.period} {self.period_start}"


def disclosed(
    rows_public: pa.Table,
    rows_true: pa.Table,
    *,
    threshold: int,
    rounding: int = 1,
    exempt: Collection[str] = EXEMPT_VERSIONS,
) -> list[Violation]:
    """What `rows_public` gives away of `rows_true` (out_indicator or out_statistic); [] when nothing.

    Every sum over places, periods and parts that truly holds is tried: where a single member is not shown, it is
    taken as found, and the sums are tried again until none finds more. A member may be missing by being withheld or
    by being left out. Found ones count when they are small, or were withheld.
    """
    connection = session()
    connection.register("rows_public", rows_public)
    connection.register("rows_true", rows_true)
    kept = sorted(set(exempt))
    is_indicator = "indicator" in rows_true.column_names
    _prepare(connection, is_indicator=is_indicator, exempt=kept, threshold=threshold)
    found = [*_shown(connection, threshold, rounding), *_recoverable(connection)]
    if is_indicator:
        found += _violations(connection, "rate_not_of_counts", _WRONG_RATE, {"exempt": kept})
    return found


def _prepare(connection: duckdb.DuckDBPyConnection, *, is_indicator: bool, exempt: list[str], threshold: int) -> None:
    make = _indicator_cells if is_indicator else _statistic_cells
    values = {"exempt": exempt} if is_indicator else None
    connection.execute(f"CREATE TEMP TABLE truth AS {make('rows_true', 'true_count')}", values)
    connection.execute(f"CREATE TEMP TABLE public AS {make('rows_public', 'shown')}", values)
    script = resources.files("assets.publications").joinpath("disclosure.sql").read_text(encoding="utf-8")
    for statement in duckdb.extract_statements(script):
        connection.execute(statement, {"threshold": threshold} if statement.named_parameters else None)


def _indicator_cells(relation: str, count: str) -> str:
    only = "boundaries = 'then' AND " if relation == "rows_true" else ""
    return " UNION ALL ".join(
        f"SELECT indicator || '/' || version AS subject, '{measure}' AS measure, '' AS part_of, false AS is_stock, "
        f"{_PLACE_AND_PERIOD.format(sector=_EMPTY)}, {measure} AS {count} FROM {relation} "
        f"WHERE {only}NOT list_contains($exempt, version)"
        + (f" AND {measure} IS NOT NULL" if relation == "rows_true" else "")
        for measure in ("numerator", "denominator")
    )


_EMPTY = "''"


def _statistic_cells(relation: str, count: str) -> str:
    new = "received_online + received_direct + received_post"
    return " UNION ALL ".join(
        f"SELECT 'statistic' AS subject, '{measure}' AS measure, '{part_of}' AS part_of, "
        f"{str(family in STOCKS).lower()} AS is_stock, {_PLACE_AND_PERIOD.format(sector='sector')}, "
        f"{new if measure == 'received_new' and relation == 'rows_true' else measure} AS {count} FROM {relation} "
        "WHERE breakdown = 'all' OR scope = 'province'"
        for family, parts in PUBLIC_FAMILIES.items()
        for measure, part_of in ((family, ""), *((part, family) for part in parts))
    )


_WRONG_RATE = """
    SELECT indicator || '/' || version, 'rate', scope, level, unit_code, '', period, period_start::VARCHAR, ''
    FROM rows_public WHERE NOT list_contains($exempt, version) AND CASE
        WHEN state = 'suppressed' THEN rate IS NOT NULL
        WHEN denominator > 0 THEN rate IS DISTINCT FROM numerator / denominator
        ELSE false END
"""


def _shown(connection: duckdb.DuckDBPyConnection, threshold: int, rounding: int) -> Iterator[Violation]:
    said = f"{_IDENTITY.replace('period_start', 'period_start::VARCHAR')}, ''"
    small = f"SELECT {said} FROM cell WHERE shown IS NOT NULL AND (is_small OR shown BETWEEN 1 AND $threshold)"
    yield from _violations(connection, "shown_small", small, {"threshold": threshold})
    exact = f"SELECT {said} FROM cell WHERE shown % $rounding <> 0"
    yield from _violations(connection, "not_rounded", exact, {"rounding": rounding})
    strange = f"SELECT {said} FROM public ANTI JOIN truth USING ({_IDENTITY}) WHERE shown IS NOT NULL"
    yield from _violations(connection, "not_true", strange, None)


def _recoverable(connection: duckdb.DuckDBPyConnection) -> Iterator[Violation]:
    """Take what is the only unknown of a sum as known, until nothing more is found."""
    connection.execute("CREATE TEMP TABLE found (cell BIGINT, kind VARCHAR)")
    while True:
        connection.execute("""
            CREATE OR REPLACE TEMP TABLE fresh AS
            SELECT cell, min(kind) AS kind FROM (
                SELECT any_value(cell) AS cell, kind FROM missing GROUP BY parent, kind HAVING count(*) = 1
            ) GROUP BY cell
        """)
        if not connection.sql("SELECT count(*) FROM fresh").fetchall()[0][0]:
            break
        connection.execute("INSERT INTO found FROM fresh")
        connection.execute("CREATE OR REPLACE TEMP TABLE missing AS SELECT * FROM missing ANTI JOIN fresh USING (cell)")
    said = _IDENTITY.replace("period_start", "period_start::VARCHAR")
    query = f"SELECT {said}, kind FROM found JOIN cell USING (cell) WHERE is_small OR is_listed ORDER BY ALL"
    yield from _violations(connection, "recoverable", query, None)


def _violations(
    connection: duckdb.DuckDBPyConnection, why: str, query: str, values: dict[str, object] | None
) -> Iterator[Violation]:
    names = ("subject", "measure", "scope", "level", "unit_code", "sector", "period", "period_start", "by")
    for row in connection.execute(query, values).fetchall():
        yield Violation(why=why, **dict(zip(names, row, strict=True)))
