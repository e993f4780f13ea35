"""Everything that a night makes after the conformed tables, over a practice province: the whole catalogue.

Belongs here: running the chain from `measured` to the worklist through its public functions, over the lake of
a `House`, and reading back what came out. Does not belong here: any expectation (`independent_*.py`), nor the
night up to the dossiers' indicators (`nights.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from assets.dossiers.catalogue import amend, hear
from assets.dossiers.reconciliation import READS as RECONCILED
from assets.dossiers.reconciliation import reconcile
from assets.indicators.assets import measured
from assets.indicators.definitions import load_definitions
from assets.publications.statistics import statistics
from assets.questions.past import PastLake
from assets.raw.tables import RAW_TABLES
from assets.scorecards.score import score
from assets.scorecards.sets import load_sets
from assets.scorecards.verdicts import judge
from assets.scorecards.worklist import READS as LISTED
from assets.scorecards.worklist import load_rules, worklist
from assets.scorecards.worklist_assets import counted_versions
from expectations.targets import Target, load_targets
from sandbox.population import VIETNAM, Population, build_population
from tests.truth.nights import House, Night, house
from warehouse.database import PastNight
from warehouse.tables import CORE_PROCEDURE, CORE_UNIT, OUT_INDICATOR, OUT_RECONCILIATION, TABLES

#: Conformed tables that expectations need beside the truth.
_READ_BACK = ("core_procedure", "core_unit", "core_dossier", "core_crosswalk")


@dataclass(frozen=True, kw_only=True)
class Made:
    """What the chain made of one night; every table as pandas, by name."""

    night: Night
    tables: dict[str, pd.DataFrame]
    #: The lake as the night left it.
    past: PastLake
    #: Conformed tables of that night, by name.
    core: dict[str, pd.DataFrame]
    targets: tuple[Target, ...] = field(repr=False)

    def __getitem__(self, name: str) -> pd.DataFrame:
        return self.tables[name]


@dataclass(frozen=True)
class Whole:
    """A province, its population, and what the chain made of its nights, one after the other."""

    here: House
    population: Population
    made: tuple[Made, ...]

    @property
    def first(self) -> Made:
        """The night over everything."""
        return self.made[0]

    @property
    def last(self) -> Made:
        """The newest night, the one whose tables stand in the lake."""
        return self.made[-1]


@contextmanager
def whole(root: Path, *, dossiers: int, seed: int) -> Iterator[Whole]:
    """The first night, and the one over Monday, 2 November 2026, each carried through the chain.

    In between lies a Sunday, on which hardly anything happens.
    """
    with house(root, dossiers=dossiers, seed=seed) as here:
        night = here.first_night()
        first = _made(here, night, is_last=False)
        monday = here.next_night(here.next_night(night))
        yield Whole(here, build_population(dossiers, seed), (first, _made(here, monday, is_last=True)))


def _made(here: House, night: Night, *, is_last: bool) -> Made:
    """The chain of one night; what is held against targets and scored only of the last one, to spare time."""
    lake, province = here.lake, here.province
    place: dict[str, Any] = {
        "province_code": province.province_code,
        "as_of": night.as_of,
        "start_on": province.start_on,
    }
    _learn(here, night)
    indicators = measured(lake, **place, sectors=province.sectors)
    lake.replace(OUT_INDICATOR, indicators)
    targets = load_targets(province.targets)
    tables = {
        "out_indicator": indicators,
        "out_statistic": statistics(lake, **place),
        "out_reconciliation": _reconciled(here, night),
        "out_worklist": worklist(
            lake.connect(*LISTED),
            load_definitions(),
            load_rules(),
            counted=counted_versions(targets, load_sets()),
            as_of=night.as_of,
        ),
    }
    if is_last:
        tables["out_verdict"] = judge(
            indicators,
            targets,
            units=lake.read(CORE_UNIT),
            as_of=night.as_of,
            minimum_denominator=province.minimum_denominator,
        )
        scored = score(indicators.filter(_scored_periods(night)), load_sets()[0], as_of=night.as_of)
        tables |= {"out_score": scored.components, "out_score_total": scored.totals}
    every = (*TABLES.values(), *RAW_TABLES.values())
    versions = {table.name: lake.version(table) for table in every}
    ended = PastNight(night=night.name, as_of=night.as_of, ended_at=night.as_of, lake_versions=versions)
    return Made(
        night=night,
        past=PastLake.of(lake, ended),
        tables={name: table.to_pandas() for name, table in tables.items()},
        core={name: lake.read(TABLES[name]).to_pandas() for name in _READ_BACK},
        targets=targets,
    )


def _learn(here: House, night: Night) -> None:
    """Procedures as the province's own export tells them: levels of service, online payment, integration."""
    heard = [hear(each) for each in here.province.catalogue if each.kind == "catalogue-file"]
    found = [each.catalogue for each in heard if each.catalogue is not None]
    assert found, "the practice province has an export of its procedures"
    last = (night.as_of - timedelta(microseconds=1)).astimezone(VIETNAM).date()
    here.lake.replace(CORE_PROCEDURE, amend(here.lake.read(CORE_PROCEDURE), found, on=last).procedures)


def _reconciled(here: House, night: Night) -> pa.Table:
    """The findings, put where the worklist reads them."""
    findings = reconcile(here.lake.connect(*RECONCILED), as_of=night.as_of)
    here.lake.replace(OUT_RECONCILIATION, findings)
    return findings


def _scored_periods(night: Night) -> pc.Expression:
    """Every year (the rule of 1.4 looks back), and the months and quarters of the running one."""
    start = date(night.as_of.year, 1, 1)
    return (pc.field("period") == "year") | (
        (pc.field("period_start") >= start) & pc.field("period").isin(["month", "quarter"])
    )
