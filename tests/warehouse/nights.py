"""A lake and a database after some nights, for tests of upkeep and of inspection.

Belongs here: writing one night after another, each with rows that tell which night it was. Does not belong here:
assertions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from tests.rows import table_rows
from warehouse.database import Database, night_table
from warehouse.lake import Lake
from warehouse.tables import CORE_PAYMENT, RAW_QUARANTINE

MONTHS = ("2026-01", "2026-02", "2026-03")


@dataclass(frozen=True)
class Past:
    """A lake of two tables, one appended to and one rewritten month by month, and the nights that did it."""

    lake: Lake
    database: Database

    @classmethod
    def at(cls, folder: Path, *, lake: str | None = None) -> Past:
        """An empty one below `folder`, or with its lake elsewhere."""
        return cls(Lake(lake or str(folder / "lake")), Database.open(f"sqlite:///{folder / 'thuocdo.db'}"))

    def night(self, number: int, *, known: datetime) -> str:
        """One night: payment `number` in each month of turn, one more row of quarantine; it knew all up to `known`."""
        name, month = f"night-{number}", MONTHS[number % len(MONTHS)]
        self.database.begin_night(name, province_code="H15")
        row = {"dossier_key": f"H15-{number}", "payment_no": number, "lake_month": month}
        self.lake.replace_partitions(CORE_PAYMENT, table_rows(CORE_PAYMENT, row), [month])
        self.lake.append(RAW_QUARANTINE, table_rows(RAW_QUARANTINE, {"record_key": name}))
        versions = {table.name: self.lake.version(table) for table in (CORE_PAYMENT, RAW_QUARANTINE)}
        self.database.end_night(name, as_of=known, publication=f"x-{name}", lake_versions=versions)
        ended = night_table.update().where(night_table.c.night == name).values(ended_at=known + timedelta(hours=1))
        with self.database.engine.begin() as connection:
            connection.execute(ended)
        return name

    def daily(self, first: datetime, count: int) -> Iterator[str]:
        """`count` nights, a day apart."""
        for number in range(count):
            yield self.night(number, known=first + timedelta(days=number))

    def versions_noted(self) -> int:
        """How many table versions the database remembers of all nights."""
        with self.database.engine.connect() as connection:
            return int(connection.execute(sa.text("SELECT count(*) FROM night_version")).scalar_one())
