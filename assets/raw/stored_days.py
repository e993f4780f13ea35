"""What the portal's walk may ask about stored dossiers.

Belongs here: counting the newest versions by site and day; a tombstone is no dossier. Does not belong here:
the walk itself (`connectors/opencps_list.py`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import duckdb

from assets.raw.tables import RAW_PORTAL
from warehouse.lake import Lake


@dataclass(frozen=True)
class StoredDays:
    """What the portal's walk may ask about stored dossiers: counted once, by site and day."""

    #: (site, axis) → sorted days, running counts, and a dossierId of each day.
    days: Mapping[tuple[int, str], tuple[list[date], list[int], list[int]]]
    waiting: Mapping[int, Sequence[date]]
    #: Site → sorted reception days of dossiers without a submission day.
    only_received: Mapping[int, Sequence[date]]

    @classmethod
    def of(cls, lake: Lake) -> StoredDays:
        """Count the newest version of every stored dossier of the portal."""
        connection = lake.connect(RAW_PORTAL)
        connection.execute(_NEWEST_SQL)
        days: dict[tuple[int, str], tuple[list[date], list[int], list[int]]] = {}
        for axis in ("submit", "receive"):
            for site, day, count, example in _rows_of(connection, axis):
                listed, running, examples = days.setdefault((int(site), axis), ([], [], []))
                listed.append(day)
                running.append(count + (running[-1] if running else 0))
                examples.append(example)
        return cls(days, _by_site(connection, _WAITING_SQL), _by_site(connection, _ONLY_RECEIVED_SQL))

    def known(self, site: int, axis: str, first: date, last: date) -> int:
        """How many stored dossiers have their day in [first, last]."""
        days, running, _ = self.days.get((site, axis), ([], [], []))
        upper, lower = bisect_right(days, last), bisect_left(days, first)
        return (running[upper - 1] if upper else 0) - (running[lower - 1] if lower else 0)

    def some(self, site: int, axis: str, first: date, last: date) -> Sequence[int]:
        """Up to three of the dossiers that `known` counts: of the first, a middle and the last of those days."""
        days, _, examples = self.days.get((site, axis), ([], [], []))
        lower, upper = bisect_left(days, first), bisect_right(days, last)
        return [examples[place] for place in sorted({lower, (lower + upper) // 2, upper - 1}) if lower <= place < upper]

    def first_day(self) -> date | None:
        """The first submission day of any stored dossier."""
        return min((days[0] for (_, axis), (days, _, _) in self.days.items() if axis == "submit"), default=None)

    def unsubmitted(self, site: int, first: date, last: date) -> bool:
        """Whether a dossier without a submission day was received in [first, last]."""
        days = self.only_received.get(site, ())
        return bisect_right(days, last) > bisect_left(days, first)

    def unreceived(self, site: int, before: date) -> Sequence[date]:
        """Submission days before `before` of dossiers neither received nor closed."""
        return [day for day in self.waiting.get(site, ()) if day < before]


_NEWEST_SQL = """
    CREATE TEMP TABLE newest AS
    SELECT "groupId" AS site, "dossierId" AS dossier, "dossierStatus" AS status, "releaseDate" AS released,
        CAST(try_strptime("submitDate", '%d/%m/%Y %H:%M:%S') AS DATE) AS submit,
        CAST(try_strptime("receiveDate", '%d/%m/%Y %H:%M:%S') AS DATE) AS receive
    FROM (
        SELECT "groupId", "dossierId", "dossierStatus", "releaseDate", "submitDate", "receiveDate", is_gone
        FROM raw_portal QUALIFY row_number() OVER (PARTITION BY record_key ORDER BY extracted_at DESC) = 1
    ) WHERE NOT coalesce(is_gone, false)
"""
_WAITING_SQL = """
    SELECT DISTINCT site, submit FROM newest
    WHERE receive IS NULL AND submit IS NOT NULL AND coalesce(released, '') = ''
        AND status NOT IN ('denied', 'cancelled', 'unresolved', 'done') ORDER BY site, submit
"""


_ONLY_RECEIVED_SQL = (
    "SELECT DISTINCT site, receive FROM newest WHERE submit IS NULL AND receive IS NOT NULL ORDER BY site, receive"
)


def _by_site(connection: duckdb.DuckDBPyConnection, query: str) -> dict[int, list[date]]:
    days: dict[int, list[date]] = defaultdict(list)
    for site, day in connection.sql(query).fetchall():
        days[int(site)].append(day)
    return days


def _rows_of(connection: duckdb.DuckDBPyConnection, axis: str) -> list[tuple[str, date, int, int]]:
    return connection.sql(
        f"SELECT site, {axis}, count(*), max(dossier) FROM newest WHERE {axis} IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2"
    ).fetchall()
