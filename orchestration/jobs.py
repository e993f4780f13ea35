"""Which assets run together.

Belongs here: jobs. Does not belong here: when they run (`schedules.py`).
"""

from __future__ import annotations

import dagster as dg

NIGHTLY = "nightly"
#: Every event is in the event log, where the UI shows it. Dagster would also write each of thousands to
#: the process's own output, at DEBUG.
QUIET = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}


def nightly(partitions: dg.PartitionsDefinition[str]) -> dg.UnresolvedAssetJobDefinition:
    """Extract, conform, check, measure, judge, publish: everything, in one process.

    One process, because starting one per step costs three to four seconds each and the steps leave
    Python to DuckDB, Arrow and the network anyway.
    """
    return dg.define_asset_job(
        NIGHTLY,
        selection=dg.AssetSelection.all(),
        partitions_def=partitions,
        executor_def=dg.in_process_executor,
        config=QUIET,
        description="Một đêm: trích xuất, hợp nhất, kiểm tra, tính chỉ số, so chỉ tiêu, xuất bản.\n\n"
        "One night: extract, conform, check, measure, judge, publish.",
    )
