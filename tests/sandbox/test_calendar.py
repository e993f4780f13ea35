"""Working days and office hours of the sandbox, against days counted by hand on a calendar of Vietnam."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import numpy as np
import pytest

from sandbox.calendar import months_later, working_calendar

VIETNAM = timezone(timedelta(hours=7))
EPOCH = date(1970, 1, 1)
HOUR = 3600


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=VIETNAM)


def _number(text: str) -> np.ndarray:
    return np.array([(date.fromisoformat(text) - EPOCH).days])


@pytest.mark.parametrize(
    ("start", "hours", "end"),
    [
        # A whole day of the office ends at its closing, not at the next opening.
        ("2026-11-02 07:30", 8, "2026-11-02 17:00"),
        ("2026-11-02 14:00", 8, "2026-11-03 14:00"),
        # Nobody works from 11:30 to 13:00.
        ("2026-11-02 12:15", 8, "2026-11-03 11:30"),
        ("2026-11-02 11:00", 1, "2026-11-02 13:30"),
        ("2026-11-02 20:00", 4, "2026-11-03 11:30"),
        # A Sunday counts from Monday morning on.
        ("2026-11-01 09:00", 4, "2026-11-02 11:30"),
        # One hour is left before Tết; the office opens again on 23 February.
        ("2026-02-13 16:00", 8, "2026-02-23 16:00"),
        # Saturday, 22 August 2026 is worked in place of Monday, 31 August.
        ("2026-08-22 10:00", 8, "2026-08-24 10:00"),
        ("2026-08-28 16:00", 2, "2026-09-03 08:30"),
        ("2026-11-02 07:30", 24, "2026-11-04 17:00"),
    ],
)
def test_office_hours_from_an_instant(start: str, hours: int, end: str) -> None:
    when = np.array([int(_at(start).timestamp())])
    reached = working_calendar().after_office_seconds(when, np.array([hours * HOUR]))
    assert datetime.fromtimestamp(int(reached[0]), VIETNAM) == _at(end)


@pytest.mark.parametrize(
    ("day", "months", "reached"),
    [
        ("2025-08-31", 6, "2026-02-28"),
        ("2024-01-31", 1, "2024-02-29"),
        ("2025-11-15", 12, "2026-11-15"),
        ("2024-02-29", 12, "2025-02-28"),
    ],
)
def test_months_end_on_the_same_day_or_the_last_one(day: str, months: int, reached: str) -> None:
    assert months_later(_number(day), np.array([months])) == _number(reached)


def test_a_swap_decided_by_the_government_is_known() -> None:
    """Friday, 2 January 2026 was off in place of Saturday, 10 January (12729/VPCP-KGVX)."""
    calendar = working_calendar()
    assert not calendar.is_working(_number("2026-01-02"))[0]
    assert calendar.is_working(_number("2026-01-10"))[0]
    # 31 December and 5 January, with nothing worked between.
    assert calendar.ordinal(_number("2026-01-05")) - calendar.ordinal(_number("2025-12-31")) == 1
    assert calendar.at_ordinal(calendar.ordinal(_number("2026-01-10"))) == _number("2026-01-10")
