"""Two nights over one small invented province, ended as a real night ends: for every question's tests.

Belongs here: the nights. Does not belong here: any expectation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from assets.raw.tables import RAW_TABLES
from tests.truth.nights import House, Night, house
from warehouse.tables import TABLES

DOSSIERS, SEED = 300, 3478


@dataclass(frozen=True)
class TwoNights:
    """A home after two nights, and what each of them published."""

    here: House
    first: Night
    second: Night


def _end(here: House, night: Night) -> Night:
    versions = {table.name: here.lake.version(table) for table in (*TABLES.values(), *RAW_TABLES.values())}
    here.database.end_night(night.name, as_of=night.as_of, publication=night.name, lake_versions=versions)
    return night


@pytest.fixture(scope="session")
def two_nights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoNights]:
    """Up to 31 October 2026, and then two working days more (Sunday and Monday) in one night."""
    with house(tmp_path_factory.mktemp("home"), dossiers=DOSSIERS, seed=SEED) as here:
        first = _end(here, here.first_night())
        sunday = _end(here, here.next_night(first))
        yield TwoNights(here, first, _end(here, here.next_night(sunday)))
