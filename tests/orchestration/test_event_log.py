"""The batching event log tells the same story as Dagster's own, for a real run over many days."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

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


def _story(folder: Path, configuration: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    folder.mkdir()
    (folder / "dagster.yaml").write_text(configuration, encoding="utf-8")
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    job = dg.define_asset_job("job", [daily], partitions_def=DAYS, executor_def=dg.in_process_executor)
    definitions = dg.Definitions(assets=[daily], jobs=[job])
    with dg.DagsterInstance.get() as instance:
        result = definitions.resolve_job_def("job").execute_in_process(instance=instance, tags=RANGE)
        key = daily.key
        records = instance.fetch_materializations(key, limit=1000, ascending=True).records
        written = [record.asset_materialization for record in records if record.asset_materialization]
        return {
            "success": result.success,
            "materialised": sorted(instance.get_materialized_partitions(key)),
            "events": [(each.partition, dict(each.metadata), _version(each)) for each in written],
            "logged": [log.dagster_event_type for log in instance.all_logs(result.run_id) if log.is_dagster_event],
        }


def _version(materialisation: dg.AssetMaterialization) -> str:
    return (materialisation.tags or {})["dagster/data_version"]


def test_batched_events_equal_single_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "0")
    own = _story(tmp_path / "own", OWN, monkeypatch)
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "7")  # forty events: five full batches and a rest
    ours = _story(tmp_path / "ours", CUSTOM, monkeypatch)
    assert len(ours["materialised"]) == 40
    assert ours == own
