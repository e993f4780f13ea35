"""Upkeep of a home: when it runs, and what of Dagster's own history it lets go.

Belongs here: the settings, the run of it under the home's lock, the purge of old runs, the weekly job. Does not
belong here: the rules of the lake (`warehouse/upkeep.py`), printing (`commands/upkeep.py`).
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import dagster as dg

from assets.publications.publish import alone, remove_leftovers
from orchestration.jobs import QUIET
from orchestration.lock import night_lock
from orchestration.partitions import ZONE
from orchestration.settings import ConfigurationError, Home
from warehouse.database import Database
from warehouse.lake import Lake
from warehouse.upkeep import Policy, TableUpkeep, UpkeepReport, upkeep

NAME = "upkeep"
#: Sunday 04:00: nights begin at 01:00, and no office waits for figures.
CRON = "0 4 * * 0"
_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
#: Runs deleted between two looks at the list of them.
_AT_ONCE = 100
#: Link of what is published, and the folder that it leads into.
_PUBLISHED = (("published", "publications"), ("public", "public-copies"))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How much of the past a home keeps; `run_days`: of Dagster's runs, which also show which days were extracted."""

    policy: Policy
    run_days: int = 400

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """THUOCDO_KEEP_DAYS (90), THUOCDO_KEEP_HOURS for files just replaced (48), THUOCDO_KEEP_RUN_DAYS (400).

        Raises `ConfigurationError` that names the variable.
        """
        days = _number(environment, "THUOCDO_KEEP_DAYS", 90, least=1)
        hours = _number(environment, "THUOCDO_KEEP_HOURS", 48, least=1)
        run_days = _number(environment, "THUOCDO_KEEP_RUN_DAYS", 400, least=1)
        return cls(policy=Policy(days=days, grace=timedelta(hours=hours)), run_days=run_days)


def _number(environment: Mapping[str, str], name: str, default: int, *, least: int) -> int:
    said = environment.get(name) or str(default)
    if not said.isdecimal() or int(said) < least:
        raise ConfigurationError(f"{name}: {said!r} phải là số nguyên từ {least} (a whole number from {least})")
    return int(said)


def run_upkeep(
    home: Home,
    settings: Settings,
    *,
    now: datetime,
    is_dry: bool = False,
    on_table: Callable[[TableUpkeep], None] | None = None,
) -> UpkeepReport:
    """Upkeep of the lake and of what killed publications left, with the right that a night holds.

    Raises `NightRunningError` when a night is at work. A dry run needs no right, and changes nothing.
    """
    with nullcontext() if is_dry else night_lock(home, night="upkeep"):
        report = upkeep(
            Lake(home.lake),
            Database.open(home.database_url),
            settings.policy,
            now=now,
            published=published_nights(home),
            is_dry=is_dry,
            on_table=on_table,
        )
        if not is_dry:
            for link, store in _stores(home):
                with alone(store):
                    remove_leftovers(store, link)
    return report


def published_nights(home: Home) -> frozenset[str]:
    """Nights whose publication stands in the home."""
    return frozenset(
        path.name.split("-", 1)[1]
        for _, store in _stores(home)
        for path in store.iterdir()
        if path.is_dir() and "-" in path.name and not path.name.startswith(".")
    )


def _stores(home: Home) -> Iterator[tuple[Path, Path]]:
    for link, store in _PUBLISHED:
        if (home.storage / store).is_dir():
            yield home.storage / link, home.storage / store


def purge_runs(instance: dg.DagsterInstance, *, now: datetime, days: int, is_dry: bool = False) -> Sequence[str]:
    """Delete finished runs older than `days` with their events and logs; returns their ids.

    Cursors and the trail of nights are in our own database: nothing is extracted again because of it.
    """
    old = dg.RunsFilter(statuses=_FINISHED, created_before=now - timedelta(days=days))
    if is_dry:
        return [record.dagster_run.run_id for record in instance.get_run_records(old)]
    purged: list[str] = []
    while records := instance.get_run_records(old, limit=_AT_ONCE):
        for record in records:
            run_id = record.dagster_run.run_id
            instance.delete_run(run_id)
            instance.compute_log_manager.delete_logs(prefix=[run_id])
            purged.append(run_id)
    return purged


def upkeep_job(home: Home) -> dg.JobDefinition:
    """The job: the lake first, then Dagster's history."""

    @dg.op(name="don_kho", description="Dọn kho và lịch sử chạy theo thời hạn lưu.\n\nUpkeep of lake and run history.")
    def tend(context: dg.OpExecutionContext) -> None:
        """Tend the lake under the home's lock, then purge old runs; what was freed (bytes) is the metadata."""
        now, settings = datetime.now(UTC), Settings.from_environment()
        report = run_upkeep(home, settings, now=now, on_table=lambda table: context.log.info(line(table)))
        purged = purge_runs(context.instance, now=now, days=settings.run_days)
        freed = sum(table.removed_bytes for table in report.tables)
        context.add_output_metadata(
            {
                "kept_nights": report.kept_nights,
                "cleared_nights": len(report.cleared_nights),
                "freed_bytes": freed,
                "purged_runs": len(purged),
            }
        )

    @dg.job(
        name=NAME,
        executor_def=dg.in_process_executor,
        config=QUIET,
        description="Gộp tệp nhỏ, dọn phiên bản quá hạn, giữ những đêm cần để tính lại.\n\n"
        "Compact, clear versions past their time, keep the nights that restatement needs.",
    )
    def job() -> None:
        """One op, so that the lake and the history are tended by the same run."""
        tend()

    return job


def line(table: TableUpkeep) -> str:
    """What was done to a table, for a log or a terminal."""
    return (
        f"{table.name}: giữ {table.kept_versions} phiên bản, gộp {table.compacted_files} tệp nhỏ, "
        f"xoá {table.removed_files} tệp ({table.removed_bytes / 2**20:.1f} MiB), "
        f"{table.removed_log_entries} mục nhật ký"
    )


def upkeep_schedule(job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Every Sunday at 04:00 in Vietnam."""
    return dg.ScheduleDefinition(
        name=NAME,
        job=job,
        cron_schedule=CRON,
        execution_timezone=ZONE.key,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="04:00 Chủ nhật, giờ Việt Nam.\n\nSundays at 04:00 in Vietnam.",
    )
