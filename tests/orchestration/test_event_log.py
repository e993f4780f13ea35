"""The batching event log tells the same story as Dagster's own, for a real run over many days."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from orchestration.event_log import BatchingSqliteEventLogStorage

DAYS = dg.DailyPartitionsDefinition("2026-01-01", timezone="Asia/Ho_Chi_Minh")
RANGE = {"dagster/asset_partition_range_start": "2026-01-01", "dagster/asset_partition_range_end": "2026-02-09"}
CUSTOM = """
telemetry: {enabled: false}
storage:
  custom:
    module: orchestration.event_log
    class: EmbeddedStorage
    config: {}
"""
OWN = "telemetry: {enabled: false}\n"


@dg.asset(partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
def daily() -> dg.MaterializeResult[Any]:
    """Forty days in one run."""
    return dg.MaterializeResult(metadata={"rows": 3}, data_version=dg.DataVersion("v1"))


@dg.multi_asset_check(specs=[dg.AssetCheckSpec(name, asset="daily") for name in ("first", "second")])
def checked() -> Iterator[dg.AssetCheckResult]:
    """One that holds, one that does not."""
    yield dg.AssetCheckResult(check_name="first", passed=True)
    yield dg.AssetCheckResult(check_name="second", passed=False, severity=dg.AssetCheckSeverity.WARN)


def _story(folder: Path, configuration: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    folder.mkdir()
    (folder / "dagster.yaml").write_text(configuration, encoding="utf-8")
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    selection = dg.AssetSelection.all()
    job = dg.define_asset_job("job", selection, partitions_def=DAYS, executor_def=dg.in_process_executor)
    definitions = dg.Definitions(assets=[daily], asset_checks=[checked], jobs=[job])
    with dg.DagsterInstance.get() as instance:
        result = definitions.resolve_job_def("job").execute_in_process(instance=instance, tags=RANGE)
        key = daily.key
        records = instance.fetch_materializations(key, limit=1000, ascending=True).records
        checks = [check.key for check in checked.check_specs]
        (asset,) = instance.get_asset_records([key])
        newest = asset.asset_entry.last_materialization
        written = [record.asset_materialization for record in records if record.asset_materialization]
        return {
            "success": result.success,
            "materialised": sorted(instance.get_materialized_partitions(key)),
            "events": [(each.partition, dict(each.metadata), _version(each)) for each in written],
            "newest": newest and newest.asset_materialization and newest.asset_materialization.partition,
            "checks": [_executions(instance, check) for check in checks],
            "shared": _shared(folder / "history" / "runs" / "index.db"),
            "logged": [log.dagster_event_type for log in instance.all_logs(result.run_id) if log.is_dagster_event],
        }


def _executions(instance: dg.DagsterInstance, check: dg.AssetCheckKey) -> list[str]:
    found = instance.event_log_storage.get_asset_check_execution_history(check, limit=10)
    return [each.status.value for each in found]


def _shared(file: Path) -> list[tuple[Any, ...]]:
    """Everything in the file of all runs that does not name the run or the time."""
    with closing(sqlite3.connect(file)) as connection:
        events = "SELECT id, dagster_event_type, step_key, asset_key, partition FROM event_logs ORDER BY id"
        tags = "SELECT event_id, asset_key, key, value FROM asset_event_tags ORDER BY event_id, key"
        return [*connection.execute(events), *connection.execute(tags)]


def _version(materialisation: dg.AssetMaterialization) -> str:
    return (materialisation.tags or {})["dagster/data_version"]


def test_batched_events_equal_single_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "0")
    own = _story(tmp_path / "own", OWN, monkeypatch)
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "7")  # forty events: five full batches and a rest
    ours = _story(tmp_path / "ours", CUSTOM, monkeypatch)
    assert len(ours["materialised"]) == 40
    assert [newest for newest, *_ in ours["checks"]] == ["SUCCEEDED", "FAILED"]
    assert ours == own


def test_who_watches_a_run_sees_its_events_while_it_goes_on(tmp_path: Path) -> None:
    """Dagster's web server watches the run's file: it must see a change although the file stays open."""
    writer, reader = (BatchingSqliteEventLogStorage(str(tmp_path)) for _ in range(2))
    seen = threading.Event()
    try:
        writer.store_event(_event("first"))
        cursor = reader.get_records_for_run("run").cursor
        reader.watch("run", cursor, lambda event, _: seen.set() if event.user_message == "second" else None)
        writer.store_event(_event("second"))
        assert seen.wait(20), "nobody told the watcher"
    finally:
        reader.dispose()
        writer.dispose()


def _event(message: str) -> dg.EventLogEntry:
    return dg.EventLogEntry(  # type: ignore[no-untyped-call]
        error_info=None, level=20, user_message=message, run_id="run", timestamp=0.0, step_key=None, job_name="job"
    )
