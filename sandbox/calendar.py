"""Vietnam's working days and office hours, for due dates.

Belongs here: counting working days with public holidays and make-up Saturdays, and office hours. Does
not belong here: any rule about being on time.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import holidays
import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

#: Vietnam has had one offset and no summer time since 1975.
VIETNAM_SECONDS = 7 * 3600
DAY_SECONDS = 86_400
#: Office hours of a working day: two halves of four hours, seconds of the day.
MORNING_SECOND, AFTERNOON_SECOND, CLOSING_SECOND = 27_000, 46_800, 61_200
HALF_SECONDS = 4 * 3600
OFFICE_SECONDS = 2 * HALF_SECONDS
_EPOCH = date(1970, 1, 1)
_FIRST, _LAST = date(2023, 1, 1), date(2028, 12, 31)
#: Swaps of working days that the government decided and no package knows.
_DECIDED = Path(__file__).resolve().parents[1] / "warehouse" / "reference" / "working_days.csv"


@dataclass(frozen=True)
class WorkingCalendar:
    """Working days as days since 1970; good for 2023 to 2028."""

    #: Every working day, ascending.
    days: Integers

    def is_working(self, day: Integers) -> NDArray[np.bool_]:
        """Whether each day is a working day."""
        matches: NDArray[np.bool_] = self.on_or_after(day) == day
        return matches

    def on_or_after(self, day: Integers) -> Integers:
        """Each day, moved to the next working day when it is not one."""
        return self.days[np.searchsorted(self.days, day)]

    def after(self, day: Integers, count: Integers) -> Integers:
        """The `count`-th working day after each day; the day itself is not counted."""
        reached: Integers = self.days[np.searchsorted(self.days, day, side="right") + count - 1]
        return reached

    def ordinal(self, day: Integers) -> Integers:
        """Working days up to and including each day; differences count working days."""
        return np.searchsorted(self.days, day, side="right").astype(np.int64)

    def at_ordinal(self, ordinal: Integers) -> Integers:
        """The working day of each ordinal."""
        reached: Integers = self.days[ordinal - 1]
        return reached

    def after_office_seconds(self, when: Integers, count: Integers) -> Integers:
        """The first instant at which the office has worked `count` seconds (at least 1) since each instant."""
        day = local_day(when)
        second = when - instant(day, 0)
        worked = sum(np.clip(second - start, 0, HALF_SECONDS) for start in (MORNING_SECOND, AFTERNOON_SECOND))
        whole_days = self.ordinal(day) - self.is_working(day)
        until = whole_days * OFFICE_SECONDS + np.where(self.is_working(day), worked, 0) + count
        # A full last day ends at its closing, not at the next one's opening.
        full = (until - 1) // OFFICE_SECONDS
        rest = until - full * OFFICE_SECONDS
        start = np.where(rest <= HALF_SECONDS, MORNING_SECOND, AFTERNOON_SECOND - HALF_SECONDS)
        return instant(self.at_ordinal(full + 1), start + rest)


@cache
def working_calendar() -> WorkingCalendar:
    """The calendar of Vietnam: weekends and public holidays off, make-up Saturdays on, and what was decided besides."""
    vietnam = holidays.country_holidays("VN", years=range(_FIRST.year, _LAST.year + 1))
    with _DECIDED.open(encoding="utf-8-sig", newline="") as file:
        decided = {date.fromisoformat(row["day"]): row["is_working"] == "true" for row in csv.DictReader(file)}
    span = (_FIRST + timedelta(days=offset) for offset in range((_LAST - _FIRST).days + 1))
    days = [(day - _EPOCH).days for day in span if decided.get(day, vietnam.is_working_day(day))]
    return WorkingCalendar(np.array(days, dtype=np.int64))


def local_day(seconds: Integers) -> Integers:
    """Day (since 1970) in Vietnam of instants given as seconds since 1970, UTC."""
    days: Integers = (seconds + VIETNAM_SECONDS) // DAY_SECONDS
    return days


def months_later(day: Integers, months: Integers) -> Integers:
    """Each day so many months later; the last day of a month that has no such day."""
    dates = day.astype("datetime64[D]")
    first = dates.astype("datetime64[M]")
    reached = (first + months.astype("timedelta64[M]")).astype("datetime64[D]")
    following = (first + (months + 1).astype("timedelta64[M]")).astype("datetime64[D]")
    moved = reached + (dates - first.astype("datetime64[D]"))
    days: Integers = np.minimum(moved, following - np.timedelta64(1, "D")).astype(np.int64)
    return days


def instant(day: Integers, second_of_day: Integers | int) -> Integers:
    """Seconds since 1970, UTC, of a second of a Vietnamese day."""
    return day * DAY_SECONDS + second_of_day - VIETNAM_SECONDS
