"""One night at a time, also after a kill: real processes, because the promise is about processes."""

from __future__ import annotations

import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from orchestration.lock import NightRunningError, is_night_running, night_lock
from orchestration.run import prepare_dagster
from orchestration.sensors import fail_dead_runs, free_slots
from orchestration.settings import Home

_HOLD = """
import sys, time
from orchestration.lock import night_lock
from orchestration.settings import Home
with night_lock(Home.from_environment({"THUOCDO_HOME": sys.argv[1]}), night="n1"):
    print("held", flush=True)
    time.sleep(120)
"""


def _holder(home: Home) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", "-c", _HOLD, str(home.root)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_night_declines_and_says_who_is_at_work(home: Home) -> None:
    wanted = pytest.raises(NightRunningError, match=r"lần chạy n1, tiến trình \d+")
    with night_lock(home, night="n1"), wanted, night_lock(home, night="n2"):
        pass


def test_a_killed_night_holds_nothing(home: Home) -> None:
    process = _holder(home)
    assert is_night_running(home)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not is_night_running(home)
    with night_lock(home, night="n2"):
        pass


def test_looking_does_not_keep_a_night_from_starting(home: Home) -> None:
    assert not is_night_running(home)
    with night_lock(home, night="n1"):
        assert is_night_running(home)
    assert not is_night_running(home)


@dg.op
def _nothing() -> None:
    pass


@dg.job
def some_job() -> None:
    """A job of which a run can be left behind."""
    _nothing()


def _left_behind(instance: dg.DagsterInstance) -> str:
    """A run that Dagster believes is under way, as a power cut leaves it."""
    run = instance.create_run_for_job(some_job)
    event = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, job_name=some_job.name)
    instance.report_dagster_event(event, run_id=run.run_id)
    assert _status(instance, run.run_id) == dg.DagsterRunStatus.STARTED
    return str(run.run_id)


def _status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_a_run_that_nobody_works_on_is_failed(home: Home) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run_id = _left_behind(instance)
        later = datetime.now(UTC) + timedelta(minutes=6)
        assert fail_dead_runs(instance, home, now=later) == [run_id]
        assert _status(instance, run_id) == dg.DagsterRunStatus.FAILURE


def test_a_run_whose_process_is_still_starting_is_left_alone(home: Home) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run_id = _left_behind(instance)
        assert fail_dead_runs(instance, home, now=datetime.now(UTC)) == []
        assert _status(instance, run_id) == dg.DagsterRunStatus.STARTED


def test_a_run_at_work_is_left_alone(home: Home) -> None:
    process = _holder(home)
    try:
        with dg.DagsterInstance.ephemeral() as instance:
            run_id = _left_behind(instance)
            later = datetime.now(UTC) + timedelta(hours=5)
            assert fail_dead_runs(instance, home, now=later) == []
            assert _status(instance, run_id) == dg.DagsterRunStatus.STARTED
    finally:
        process.kill()
        process.wait()


def test_the_slots_of_dead_runs_are_free_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without this the next night asks for ever for a slot that nobody gives back."""
    monkeypatch.setenv("DAGSTER_HOME", str(home.dagster))
    with prepare_dagster(home) as instance:
        storage = instance.event_log_storage
        for key in ("portal_portal", "portal_onestop"):
            storage.initialize_concurrency_limit_to_default(key)
        storage.claim_concurrency_slot("portal_portal", "killed", "extract_portal")
        storage.claim_concurrency_slot("portal_portal", "waited", "extract_portal")
        storage.claim_concurrency_slot("portal_onestop", "killed", "extract_onestop")
        assert free_slots(instance) == ["killed", "waited"]
        for key in ("portal_portal", "portal_onestop"):
            info = storage.get_concurrency_info(key)
            assert (info.claimed_slots, info.pending_steps) == ([], [])
            assert storage.claim_concurrency_slot(key, "next", "extract").is_claimed
        assert free_slots(instance) == ["next"]


def test_a_run_that_is_failed_gives_its_slot_back(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(home.dagster))
    with prepare_dagster(home) as instance:
        run_id = _left_behind(instance)
        storage = instance.event_log_storage
        storage.initialize_concurrency_limit_to_default("portal_portal")
        assert storage.claim_concurrency_slot("portal_portal", run_id, "extract_portal").is_claimed
        fail_dead_runs(instance, home, now=datetime.now(UTC) + timedelta(minutes=6))
        assert storage.get_concurrency_info("portal_portal").claimed_slots == []
