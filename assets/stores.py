"""What an asset is handed when it runs: where tables live, and what the province's file says.

Belongs here: that one value and its few derived facts. Does not belong here: reading the environment
or a YAML file (`orchestration.settings`), nor the Dagster resource that makes it
(`orchestration.resources`); assets know neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import Protocol

from connectors.catalogue import CatalogueServiceSettings
from connectors.catalogue_files import CatalogueFileSettings
from connectors.evaluation import EvaluationSettings
from connectors.observations import ObservationApiSettings
from connectors.sources import SourceSettings
from connectors.units import UnitSettings
from expectations.targets import Target, load_targets
from warehouse.calendar import Calendar
from warehouse.database import Database
from warehouse.lake import Lake


class NothingExtractedError(RuntimeError):
    """There is no day of which every source has been read yet."""


class Watcher(Protocol):
    """Whoever watches a night: the run's log, or someone at a terminal."""

    def say(self, text: str) -> None:
        """A step is done; one Vietnamese line."""
        ...

    def read(self, source: str, rows: int) -> None:
        """So many rows of a source were read so far; comes with every batch."""
        ...


@dataclass(frozen=True, kw_only=True)
class Stores:
    """One province's home during one night; `night` is the id of the run."""

    night: str
    province_code: str
    start_on: date
    sources: Mapping[str, SourceSettings]
    departments: Path
    agencies: Path
    codes: Path
    working_calendar: Calendar
    sectors: Path | None
    observations: Path | None
    observation_sources: Mapping[str, ObservationApiSettings]
    #: In order: what a later one says counts.
    catalogues: tuple[CatalogueServiceSettings | CatalogueFileSettings, ...]
    #: How often they are asked, all together.
    catalogue_every_days: int
    #: Directories of what sources call their units, one a source, and how often each is asked.
    units: tuple[UnitSettings, ...] = ()
    units_every_days: int = 7
    evaluation: EvaluationSettings | None
    target_sets: tuple[str, ...]
    minimum_denominator: int
    published: Path
    #: Bucket and prefix that publications are sent to as well.
    remote: str | None = None
    lake_root: str
    database_url: str
    watcher: Watcher

    def lake(self) -> Lake:
        """The Delta tables."""
        return Lake(self.lake_root)

    def database(self) -> Database:
        """The SQL database: cursors and the trail of nights."""
        return self._database

    @cached_property
    def _database(self) -> Database:
        return Database.open(self.database_url)

    @property
    def zones(self) -> dict[str, str]:
        """Time zone that each source writes local times in, for those that must be told."""
        return {name: zone for name, source in self.sources.items() if (zone := getattr(source, "zone", None))}

    def targets(self) -> tuple[Target, ...]:
        """The dated targets that apply to the province."""
        return load_targets(self.target_sets)

    def as_of(self) -> datetime:
        """The instant up to which facts are known: the end of the newest day that every source has given.

        It never moves backwards: reading an old day again does not make the newer ones unknown.
        Raises `NothingExtractedError` before the first night.
        """
        until = self.database().extracted_until(self.sources)
        if until is None:
            raise NothingExtractedError(
                f"no day has been extracted from all of {', '.join(self.sources)} yet; run the raw_ assets first"
            )
        return until
