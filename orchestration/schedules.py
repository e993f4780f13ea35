"""When the nights run.

Belongs here: schedules. Does not belong here: which days a night covers (`partitions.py`).
"""

from __future__ import annotations

import dagster as dg

from orchestration.jobs import NIGHTLY
from orchestration.partitions import ZONE, days_to_extract, yesterday
from orchestration.settings import Home, Province
from warehouse.database import Database

#: 01:00, when the one-stop systems have finished their own nightly synchronisation of the day before.
CRON = "0 1 * * *"
_RANGE_START = "dagster/asset_partition_range_start"
_RANGE_END = "dagster/asset_partition_range_end"


def nightly_schedule(home: Home, province: Province, job: dg.UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Every night at 01:00 in Vietnam: the day before, and every day that earlier nights left out."""

    @dg.schedule(
        name=NIGHTLY,
        job=job,
        cron_schedule=CRON,
        execution_timezone=ZONE.key,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="01:00 giờ Việt Nam mỗi đêm, cho ngày hôm trước và những ngày chưa trích xuất.\n\n"
        "01:00 in Vietnam, for the day before and every day not extracted yet.",
    )
    def tick(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        """One run for every day that is not extracted yet, up to yesterday."""
        until = Database.open(home.database_url).extracted_until(province.sources)
        now = context.scheduled_execution_time
        first, last = days_to_extract(until, start_on=province.start_on, last=yesterday(now))
        return run_request(first.isoformat(), last.isoformat())

    return tick


def run_request(first: str, last: str) -> dg.RunRequest:
    """One run for the days `first` to `last`, of one partition or of a range of them."""
    if first == last:
        return dg.RunRequest(run_key=last, partition_key=last)
    return dg.RunRequest(run_key=last, tags=range_tags(first, last))


def range_tags(first: str, last: str) -> dict[str, str]:
    """Tags that make one run cover every partition from `first` to `last`."""
    return {_RANGE_START: first, _RANGE_END: last}
