"""A small province to extract from, served by the sandbox, and a home to extract into."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest

from assets.raw.extraction import SourceCount, extract
from connectors.sources import SourceSettings
from orchestration.settings import load_province
from sandbox.faults import FaultPlan
from sandbox.population import DEFAULT_CLOCK, VIETNAM, Population, build_population
from sandbox.server import ENVIRONMENT, RunningSandbox, running_sandbox
from warehouse.database import Database
from warehouse.lake import Lake

NOW = DEFAULT_CLOCK
SEPTEMBER = datetime(2026, 9, 1, tzinfo=VIETNAM)


@dataclass
class Home:
    """A lake and a database, and the sources that fill them."""

    root: Path
    sources: dict[str, SourceSettings]
    lake: Lake = field(init=False)
    database: Database = field(init=False)

    def __post_init__(self) -> None:
        self.lake = Lake(str(self.root / "lake"))
        self.database = Database.open(f"sqlite:///{self.root / 'thuocdo.db'}")

    def night(
        self, name: str, *, start: datetime = SEPTEMBER, end: datetime = NOW, source: str | None = None
    ) -> dict[str, SourceCount]:
        """Extract one source, or all; counts by source."""
        counts = [
            count
            for key, settings in self.sources.items()
            if source in (None, key)
            for count in extract(
                key, settings, window=(start, end), lake=self.lake, database=self.database, night=name, now=end
            )
        ]
        return {count.source: count for count in counts}


@pytest.fixture(scope="session")
def population() -> Population:
    """About 1,500 dossiers; a few dozen of them in September and October 2026."""
    return build_population(1500, seed=11)


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def sources_of(sandbox: RunningSandbox) -> dict[str, SourceSettings]:
    """The sources of the sandbox's own province file."""
    return dict(load_province(sandbox.province_file).sources)


@pytest.fixture(scope="session")
def sandbox(population: Population, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    """The province on a good day, its clock standing still."""
    with running_sandbox(population, home=tmp_path_factory.mktemp("good")) as running:
        yield running


@pytest.fixture(scope="session")
def bad_day(population: Population, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    """The same province on a bad day."""
    faults = FaultPlan(slow_seconds=0.2, retry_after_seconds=0)
    with running_sandbox(population, home=tmp_path_factory.mktemp("bad"), faults=faults) as running:
        yield running


@pytest.fixture
def home(sandbox: RunningSandbox, tmp_path: Path) -> Home:
    """An empty home that reads the province on a good day."""
    return Home(tmp_path, sources_of(sandbox))
