"""Homes that extract and conform one source each, for whatever server stands behind it.

Belongs here: a home's nights and reading back what the core holds. Does not belong here: any expectation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from assets.dossiers.conform import ConformResult, conform
from assets.dossiers.profiled import profiled_systems
from assets.raw.extraction import SourceCount, extract
from connectors.sources import SourceSettings
from sandbox.population import VIETNAM
from warehouse.calendar import Calendar
from warehouse.database import Database
from warehouse.lake import Lake
from warehouse.reference import reference_tables
from warehouse.schema import Table
from warehouse.tables import RAW_QUARANTINE

PROVINCES = Path(__file__).parents[3] / "provinces" / "dak-lak"


@dataclass
class OneSource:
    """A lake and a database that one source fills; `agencies` and `codes` are lines added to the province's."""

    root: Path
    name: str
    settings: SourceSettings
    agencies: Sequence[str] = ()
    codes: Sequence[str] = ()
    lake: Lake = field(init=False)
    database: Database = field(init=False)

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.lake = Lake(str(self.root / "lake"))
        self.database = Database.open(f"sqlite:///{self.root / 'thuocdo.db'}")
        for name, lines in (("agencies", self.agencies), ("codes", self.codes)):
            known = (PROVINCES / f"{name}.csv").read_text(encoding="utf-8").rstrip("\n")
            (self.root / f"{name}.csv").write_text("\n".join([known, *lines]) + "\n", encoding="utf-8")

    def read(self, night: str, start: datetime, end: datetime) -> SourceCount:
        """Extract [start, end), an hour after its end."""
        (count,) = extract(
            self.name,
            self.settings,
            window=(start, end),
            lake=self.lake,
            database=self.database,
            night=night,
            now=end + timedelta(hours=1),
        )
        return count

    def conform(self, night: str) -> ConformResult:
        """Conform what was extracted."""
        for table, rows in reference_tables("H15", PROVINCES / "departments.csv", Calendar.load(None)):
            self.lake.replace(table, rows)
        return conform(
            self.lake,
            self.database,
            agencies=self.root / "agencies.csv",
            codes=self.root / "codes.csv",
            night=night,
            profiled=profiled_systems({self.name: self.settings}),
        )

    def rows(self, table: Table) -> list[dict[str, Any]]:
        """The rows of a core table, in the order of its key."""
        order = [(name, "ascending") for name in table.key]
        rows: list[dict[str, Any]] = self.lake.read(table).sort_by(order).to_pylist()
        return rows

    def quarantined(self) -> list[dict[str, Any]]:
        """What stands in quarantine."""
        rows: list[dict[str, Any]] = self.lake.read(RAW_QUARANTINE).to_pylist()
        return rows


def renamed(file: str, old: str, new: str) -> list[str]:
    """The lines of a province's table that speak of source `old`, as those of `new`."""
    lines = (PROVINCES / f"{file}.csv").read_text(encoding="utf-8").splitlines()
    return [f"{new},{line.removeprefix(old + ',')}" for line in lines if line.startswith(f"{old},")]


def vietnam(year: int, month: int, day: int) -> datetime:
    """Midnight in Vietnam."""
    return datetime(year, month, day, tzinfo=VIETNAM)
