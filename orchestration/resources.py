"""What assets and checks are given when they run.

Belongs here: the resource `stores`, which opens one province's home for one run. Does not belong
here: the value that assets see (`assets.stores.Stores`), nor settings.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from assets.raw.hashes import open_keys, use
from assets.stores import Stores, Watcher
from orchestration.lock import night_lock
from orchestration.settings import Home, Province

#: How often a long extraction says in the run's log how far it is.
LOG_SECONDS = 10.0


class LogWatcher:
    """Watches a night for the run's log, where the Dagster UI shows it."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._next = time.monotonic() + LOG_SECONDS

    def say(self, text: str) -> None:
        """Write the line."""
        self._log.info(text)

    def read(self, source: str, rows: int) -> None:
        """Write how far a source is, every few seconds only."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + LOG_SECONDS
            self._log.info("%s: đã đọc %s dòng", source, rows)


def open_stores(home: Home, province: Province, *, night: str, watcher: Watcher) -> Stores:
    """The value that assets see, for the run `night`."""
    return Stores(
        night=night,
        province_code=province.province_code,
        start_on=province.start_on,
        sources=province.sources,
        departments=province.departments,
        agencies=province.agencies,
        codes=province.codes,
        working_calendar=province.working_calendar(),
        sectors=province.sectors,
        observations=province.observations,
        observation_sources=province.observation_sources,
        catalogues=province.catalogue,
        catalogue_every_days=province.catalogue_every_days,
        units=province.units,
        units_every_days=province.units_every_days,
        evaluation=province.evaluation,
        target_sets=tuple(province.targets),
        minimum_denominator=province.minimum_denominator,
        published=home.published,
        remote=home.remote,
        lake_root=home.lake,
        database_url=home.database_url,
        watcher=watcher,
    )


def stores_resource(home: Home, province: Province, *, watcher: Watcher | None = None) -> dg.ResourceDefinition:
    """The resource `stores`: holds the home's lock for the whole run and writes that the night began.

    Runs execute in one process, so the resource opens once per run. Without `watcher` what happens
    goes to the run's log.
    """

    @dg.resource(description=f"{province.name} ({province.province_code}), {home.root}")
    def stores(context: dg.InitResourceContext) -> Iterator[Stores]:
        """Open the stores under the lock; the lock is let go when the run ends."""
        night = context.run_id or "without-run"
        watching = watcher or LogWatcher(context.log or logging.getLogger(__name__))
        with night_lock(home, night=night):
            use(open_keys(home.hash_key, now=datetime.now(UTC)))
            opened = open_stores(home, province, night=night, watcher=watching)
            opened.database().begin_night(night, province_code=province.province_code)
            yield opened

    return stores
