"""Putting the house together.

Belongs here: the assembly of one province's definitions, with overrides for tests and the command
line. Does not belong here: any definition itself.
"""

from __future__ import annotations

from itertools import chain

import dagster as dg

from assets.dossiers.assets import conform_asset, reference_asset
from assets.dossiers.conform import CONFORMED, REFERENCE
from assets.dossiers.directory_assets import agency_asset
from assets.dossiers.reconciliation_assets import reconciliation
from assets.indicators.assets import measure
from assets.indicators.observed_assets import observation_asset
from assets.publications.assets import published_asset
from assets.publications.forms_assets import public_copy, statistics
from assets.raw.assets import raw_assets
from assets.raw.kinds import raw_tables
from assets.scorecards.assets import outlooks, verdicts
from assets.scorecards.score_assets import evaluation, published_evaluation, score_units
from assets.scorecards.worklist_assets import worklist_of_dossiers
from assets.stores import Watcher
from expectations.checks import checks_for, target_checks
from expectations.suites import load_suite
from expectations.targets import load_targets
from orchestration.jobs import nightly
from orchestration.partitions import daily
from orchestration.resources import stores_resource
from orchestration.schedules import nightly_schedule
from orchestration.sensors import dead_runs_sensor
from orchestration.settings import Home, Province, load_province, province_path
from orchestration.upkeep import upkeep_job, upkeep_schedule
from warehouse.tables import (
    CORE_AGENCY,
    CORE_OBSERVATION,
    OUT_EVALUATION,
    OUT_INDICATOR,
    OUT_OUTLOOK,
    OUT_RECONCILIATION,
    OUT_SCORE,
    OUT_SCORE_TOTAL,
    OUT_STATISTIC,
    OUT_VERDICT,
    OUT_WORKLIST,
    RAW_EVALUATION,
)


def build(
    *,
    home: Home | None = None,
    province: Province | None = None,
    stores: dg.ResourceDefinition | None = None,
    watcher: Watcher | None = None,
) -> dg.Definitions:
    """The definitions of one province.

    By default home and province are those that the environment names. Raises `ConfigurationError`.
    """
    home = home or Home.from_environment()
    province = province or load_province(province_path(), home=home)
    days = daily(province.start_on)
    job, tending = nightly(days), upkeep_job(home)
    return dg.Definitions(
        assets=assets(province, days),
        asset_checks=checks(province),
        jobs=[job, tending],
        schedules=[nightly_schedule(home, province, job), upkeep_schedule(tending)],
        sensors=[dead_runs_sensor(home)],
        resources={"stores": stores or stores_resource(home, province, watcher=watcher)},
        executor=dg.in_process_executor,
    )


def assets(province: Province, days: dg.PartitionsDefinition[str]) -> list[dg.AssetsDefinition]:
    """Every asset, from the sources to the publication."""
    said = raw_tables(province.sources)
    return [
        *raw_assets(province.sources, partitions=days),
        reference_asset(said),
        observation_asset(province.observations, province.observation_sources),
        conform_asset(said),
        *([agency_asset(said)] if province.units else []),
        reconciliation,
        measure,
        verdicts,
        outlooks,
        score_units,
        *_evaluation(province),
        worklist_of_dossiers,
        statistics,
        published_asset(without=() if province.evaluation else (OUT_EVALUATION.name,)),
        public_copy,
    ]


def _evaluation(province: Province) -> list[dg.AssetsDefinition]:
    """What the national portal publishes of us beside our own score, where the province reads it."""
    return [] if province.evaluation is None else [published_evaluation(province.evaluation), evaluation]


def checks(province: Province) -> list[dg.AssetChecksDefinition]:
    """Integrity checks of every table, which block, and one check per target, which warns."""
    compared = () if province.evaluation is None else (RAW_EVALUATION, OUT_EVALUATION)
    listed = (CORE_AGENCY,) if province.units else ()
    tables = (*raw_tables(province.sources), *REFERENCE, CORE_OBSERVATION, *CONFORMED, *listed, *_COMPUTED, *compared)
    integrity = chain.from_iterable(checks_for(table.name, table, load_suite(table)) for table in tables)
    return [
        *integrity,
        *target_checks(OUT_VERDICT.name, load_targets(province.targets, province_code=province.province_code)),
    ]


_COMPUTED = (
    OUT_INDICATOR,
    OUT_VERDICT,
    OUT_OUTLOOK,
    OUT_SCORE,
    OUT_SCORE_TOTAL,
    OUT_RECONCILIATION,
    OUT_WORKLIST,
    OUT_STATISTIC,
)
