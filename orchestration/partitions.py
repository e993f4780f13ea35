"""Into which days extraction is divided.

Belongs here: partition definitions and the days a night covers. Does not belong here: schedules.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

#: Days, months and partitions are Vietnam's; instants are UTC.
ZONE = ZoneInfo("Asia/Ho_Chi_Minh")


def daily(start_on: date) -> dg.DailyPartitionsDefinition:
    """One partition per day in Asia/Ho_Chi_Minh, from a province's first day on."""
    return dg.DailyPartitionsDefinition(start_date=start_on.isoformat(), timezone=ZONE.key)


def days_to_extract(extracted_until: datetime | None, *, start_on: date, last: date) -> tuple[date, date]:
    """First and last day of the next night, so that no day is left out.

    `extracted_until` is the end of the newest day that every source has given, None before the first
    night: then everything since `start_on` is due. Nights that failed or never ran are caught up
    with; when nothing is missing, `last` is read once more.

    Example:
        >>> days_to_extract(None, start_on=date(2024, 1, 1), last=date(2026, 10, 31))
        (datetime.date(2024, 1, 1), datetime.date(2026, 10, 31))
    """
    first = start_on if extracted_until is None else extracted_until.astimezone(ZONE).date()
    return max(start_on, min(first, last)), last


def yesterday(now: datetime) -> date:
    """The newest day that is over at `now`, in Asia/Ho_Chi_Minh."""
    return now.astimezone(ZONE).date() - timedelta(days=1)
