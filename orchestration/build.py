"""Putting the house together.

Belongs here: the assembly of one province's definitions, with overrides for tests and the command
line. Does not belong here: any definition itself.
"""

from __future__ import annotations

from itertools import chain

import dagster as dg

from assets.dossiers.assets import REFERENCE, conform_asset, reference
from assets.dossiers.conform import CONFORMED
from assets.indicators.assets import measure
from assets.publications.assets import published
from assets.raw.assets import raw_assets, raw_tables
from assets.scorecards.assets import verdicts
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
from warehouse.tables import OUT_INDICATOR, OUT_VERDICT


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
    job = nightly(days)
    return dg.Definitions(
        assets=assets(province, days),
        asset_checks=checks(province),
        jobs=[job],
        schedules=[nightly_schedule(home, province, job)],
        sensors=[dead_runs_sensor(home)],
        resources={"stores": stores or stores_resource(home, province, watcher=watcher)},
        executor=dg.in_process_executor,
    )


def assets(province: Province, days: dg.PartitionsDefinition[str]) -> list[dg.AssetsDefinition]:
    """Every asset, from the sources to the publication."""
    raw = raw_assets(province.sources, partitions=days)
    return [*raw, reference, conform_asset(raw_tables(province.sources)), measure, verdicts, published]


def checks(province: Province) -> list[dg.AssetChecksDefinition]:
    """Integrity checks of every table, which block, and one check per target, which warns."""
    tables = (*raw_tables(province.sources), *REFERENCE, *CONFORMED, OUT_INDICATOR, OUT_VERDICT)
    integrity = chain.from_iterable(checks_for(table.name, table, load_suite(table)) for table in tables)
    return [*integrity, *target_checks(OUT_VERDICT.name, load_targets(province.targets))]
