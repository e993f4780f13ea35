"""Nights of the product over a practice province, step by step through its public functions.

Belongs here: running one night (extract, reference, conform, evaluate, publish) and reading back what
it published beside what is true at that moment. Does not belong here: any expectation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from assets.dossiers.conform import ConformResult, conform
from assets.indicators.definitions import load_definitions
from assets.indicators.evaluate import evaluate
from assets.publications.publish import publish
from assets.raw.extraction import SourceCount, extract
from assets.raw.tables import RAW_TABLES
from orchestration.settings import Home, Province, load_province
from sandbox.faults import FaultPlan
from sandbox.population import DEFAULT_CLOCK, VIETNAM, build_population
from sandbox.server import RunningSandbox, running_sandbox
from sandbox.traits import DEFAULT, Traits
from tests.truth.independent import Truth, read_truth
from warehouse.database import Database
from warehouse.lake import Lake
from warehouse.reference import reference_tables
from warehouse.tables import OUT_INDICATOR, RAW_QUARANTINE


@dataclass(frozen=True, kw_only=True)
class Night:
    """What one night published, what was true at its end, and what came of every row."""

    name: str
    as_of: datetime
    truth: Truth
    indicator: pd.DataFrame
    dossier: pd.DataFrame
    payment: pd.DataFrame
    extracted: list[SourceCount]
    conformed: ConformResult
    #: Rows in each raw table after the night.
    raw_rows: dict[str, int]
    #: What stands in quarantine after the night, and the records that were made to end there.
    quarantine: pd.DataFrame
    broken: list[dict[str, Any]]


@dataclass
class House:
    """The product in a home of its own, beside a running sandbox."""

    sandbox: RunningSandbox
    home: Home
    province: Province
    lake: Lake
    database: Database

    def compare_everything_each_night(self) -> None:
        """Let the portal and the one-stop be compared with their whole history every night."""
        for name in ("portal", "onestop"):
            whole = self.province.sources[name].model_copy(update={"full_comparison_days": 1})
            sources = {**self.province.sources, name: whole}
            self.province = self.province.model_copy(update={"sources": sources})

    def first_night(self) -> Night:
        """Everything since the province's first day."""
        return self._night(datetime.combine(self.province.start_on, time(), VIETNAM), DEFAULT_CLOCK)

    def next_night(self, before: Night) -> Night:
        """Let a day pass in the province and read just that day."""
        until = before.as_of + timedelta(days=1)
        self.sandbox.advance(until)
        return self._night(before.as_of, until)

    def _night(self, start: datetime, until: datetime) -> Night:
        name = f"night-{until:%Y%m%d}"
        self.database.begin_night(name, province_code=self.province.province_code)
        extracted = self._extract(name, start, until)
        conformed = self._conform(name)
        rows = evaluate(
            self.lake,
            load_definitions(),
            province_code=self.province.province_code,
            as_of=until,
            start_on=self.province.start_on,
        )
        self.lake.replace(OUT_INDICATOR, rows)
        folder = self._publish(name, until)
        return Night(
            name=name,
            as_of=until,
            truth=read_truth(self.home.root, until),
            indicator=pd.read_parquet(folder / "indicator.parquet"),
            dossier=pd.read_parquet(folder / "dossier.parquet"),
            payment=pd.read_parquet(folder / "payment.parquet"),
            extracted=extracted,
            conformed=conformed,
            raw_rows={kind: self.lake.read(table).num_rows for kind, table in RAW_TABLES.items()},
            quarantine=self.lake.read(RAW_QUARANTINE).to_pandas(),
            broken=self.sandbox.broken(),
        )

    def _extract(self, name: str, start: datetime, until: datetime) -> list[SourceCount]:
        counts: list[SourceCount] = []
        for source, settings in self.province.sources.items():
            counts += extract(
                source,
                settings,
                window=(start, until),
                lake=self.lake,
                database=self.database,
                night=name,
                # The small hours of the day after: the lag takes nothing off the window.
                now=until + timedelta(hours=1),
            )
        return counts

    def _conform(self, name: str) -> ConformResult:
        calendar = self.province.working_calendar()
        for table, rows in reference_tables(self.province.province_code, self.province.departments, calendar):
            self.lake.replace(table, rows)
        return conform(self.lake, self.database, agencies=self.province.agencies, codes=self.province.codes, night=name)

    def _publish(self, name: str, until: datetime) -> Path:
        publication = publish(
            self.lake,
            folder=self.home.published,
            as_of=until,
            night=name,
            definitions={f"{one.id}/{one.version}": one.fingerprint for one in load_definitions()},
            cursors=self.database.cursors(),
        )
        return publication.folder


@contextmanager
def house(
    root: Path,
    *,
    dossiers: int,
    seed: int,
    faults: FaultPlan | None = None,
    traits: Traits = DEFAULT,
    deleted_one_in: int = 0,
) -> Iterator[House]:
    """An empty home below `root` beside a sandbox of so many dossiers at its default clock."""
    home = Home.from_environment({"THUOCDO_HOME": str(root)})
    population = build_population(dossiers, seed, deleted_one_in=deleted_one_in)
    with (
        running_sandbox(population, home=home.root, faults=faults, traits=traits) as sandbox,
        pytest.MonkeyPatch.context() as environment,
    ):
        for name, value in sandbox.environment.items():
            environment.setenv(name, value)
        province = load_province(sandbox.province_file, home=home)
        yield House(sandbox, home, province, Lake(home.lake), Database.open(home.database_url))
