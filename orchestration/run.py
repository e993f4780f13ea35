"""Running one night in this process, on the home's own Dagster instance, so that the UI shows it.

Belongs here: preparing DAGSTER_HOME, executing the job, saying why it failed. Does not belong here:
printing (`cli.py`), or what a night does.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from assets.stores import Watcher
from orchestration.build import build
from orchestration.jobs import NIGHTLY, QUIET
from orchestration.lock import night_lock
from orchestration.partitions import days_to_extract, yesterday
from orchestration.schedules import range_tags
from orchestration.sensors import fail_dead_runs, free_slots
from orchestration.settings import Home, Province
from warehouse.database import Database

#: The instance configuration that a new home starts with.
TEMPLATE = Path(__file__).parents[1] / "dagster.yaml"


@dataclass(frozen=True, kw_only=True)
class Night:
    """What came of a night: the days it covered, and one sentence per failed step."""

    run_id: str
    first: date
    last: date
    failures: Sequence[str]
    counts: Sequence[dict[str, Any]]


def prepare_dagster(home: Home) -> dg.DagsterInstance:
    """The home's Dagster instance; its folder and configuration are made when missing."""
    home.dagster.mkdir(parents=True, exist_ok=True)
    if not (home.dagster / TEMPLATE.name).exists():
        shutil.copyfile(TEMPLATE, home.dagster / TEMPLATE.name)
    os.environ["DAGSTER_HOME"] = str(home.dagster)
    return dg.DagsterInstance.get()


def run_night(
    home: Home,
    province: Province,
    *,
    first: date | None = None,
    last: date | None = None,
    watcher: Watcher,
) -> Night:
    """Run the job `nightly` for the days `first` to `last`, by default all that are due.

    Raises `NightRunningError` when another night holds the home, before anything is written.
    """
    with night_lock(home, night="…"):
        pass
    with prepare_dagster(home) as instance:
        with night_lock(home, night="…"):
            free_slots(instance)
        fail_dead_runs(instance, home, now=datetime.now(UTC))
        database = Database.open(home.database_url)
        until = database.extracted_until(province.sources)
        due = days_to_extract(until, start_on=province.start_on, last=last or yesterday(datetime.now(UTC)))
        days = (first or due[0], due[1])
        result = _execute(instance, home, province, days, watcher)
        return Night(
            run_id=result.run_id,
            first=days[0],
            last=days[1],
            failures=tuple(_failures(result)),
            counts=database.counts(result.run_id),
        )


def _execute(
    instance: dg.DagsterInstance, home: Home, province: Province, days: tuple[date, date], watcher: Watcher
) -> dg.ExecuteInProcessResult:
    job = build(home=home, province=province, watcher=watcher).resolve_job_def(NIGHTLY)
    first, last = (day.isoformat() for day in days)
    return job.execute_in_process(
        instance=instance,
        raise_on_error=False,
        partition_key=last if first == last else None,
        tags={} if first == last else range_tags(first, last),
        run_config=QUIET,
    )


def _failures(result: dg.ExecuteInProcessResult) -> Iterator[str]:
    """Why steps failed: the innermost cause, which is the one written for operators."""
    for event in result.all_events:
        if event.is_step_failure or event.is_failure:
            data: Any = event.event_specific_data
            error = getattr(data, "error", None)
            if error is not None:
                yield f"{event.step_key or 'đêm'}: {_innermost(error)}"


def _innermost(error: Any) -> str:
    while error.cause is not None:
        error = error.cause
    return str(error.message).strip().removeprefix(f"{error.cls_name}: ")
