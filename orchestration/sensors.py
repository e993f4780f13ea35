"""What reacts to the state of runs.

Belongs here: the sensor that fails runs nobody works on any more, the rule it follows, and what such runs
hold. Does not belong here: alerts about data.

Why: after a power cut Dagster leaves a run STARTED for ever (its launcher cannot ask a worker that
died with the machine), and with one run at a time no later night would start. A night holds the
home's lock for as long as its process lives, so a run that is STARTED while the lock is free is dead.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from orchestration.lock import is_night_running
from orchestration.settings import Home

#: A run takes its lock some seconds after it was created: its process has to start first.
STARTING_TIME = timedelta(minutes=5)
_UNDER_WAY = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_WHY = (
    "Tiến trình của lần chạy này không còn (máy khởi động lại, hoặc bị tắt). Đêm kế tiếp sẽ đọc bù; "
    "cũng có thể chạy lại ngay. · The process of this run is gone; the next night catches up."
)


def fail_dead_runs(
    instance: dg.DagsterInstance, home: Home, *, now: datetime, starting_time: timedelta = STARTING_TIME
) -> Sequence[str]:
    """Fail runs that are under way for Dagster although no process works on `home`; returns their ids."""
    if is_night_running(home):
        return []
    under_way = instance.get_run_records(dg.RunsFilter(statuses=_UNDER_WAY, created_before=now - starting_time))
    for record in under_way:
        instance.report_run_failed(record.dagster_run, _WHY)
        instance.event_log_storage.free_concurrency_slots_for_run(record.dagster_run.run_id)
    return [record.dagster_run.run_id for record in under_way]


def free_slots(instance: dg.DagsterInstance) -> Sequence[str]:
    """Free every pool slot; returns the ids of the runs that held or awaited one. For who holds the home's lock.

    Whoever works on the home holds its lock, so that with the lock in hand every such run is dead, however young. A
    run in this process asks again for a slot that nobody gives back as often as it can, and never stops.
    """
    storage = instance.event_log_storage
    pools = [storage.get_concurrency_info(key) for key in storage.get_concurrency_keys()]
    dead = {slot.run_id for pool in pools for slot in pool.claimed_slots}
    dead |= {step.run_id for pool in pools for step in pool.pending_steps}
    for run_id in dead:
        storage.free_concurrency_slots_for_run(run_id)
    return sorted(dead)


def dead_runs_sensor(home: Home) -> dg.SensorDefinition:
    """Looks for dead runs every five minutes, and so soon after the daemon starts."""

    @dg.sensor(
        name="don_lan_chay_treo",
        minimum_interval_seconds=300,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Đánh dấu thất bại những lần chạy mà tiến trình không còn, để đêm sau chạy được.\n\n"
        "Fails runs whose process is gone, so that the next night can start.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        """Fail the runs whose process is gone, and say which."""
        dead = fail_dead_runs(context.instance, home, now=datetime.now(UTC))
        return dg.SkipReason(f"{len(dead)} lần chạy treo" + (f": {', '.join(dead)}" if dead else ""))

    return sensor
