"""Vietnam's working days, for due dates.

Belongs here: counting working days with public holidays and make-up Saturdays. Does not belong
here: any rule about being on time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache

import holidays
import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

#: Vietnam has had one offset and no summer time since 1975.
VIETNAM_SECONDS = 7 * 3600
DAY_SECONDS = 86_400
_EPOCH = date(1970, 1, 1)
_FIRST, _LAST = date(2023, 1, 1), date(2028, 12, 31)


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


@cache
def working_calendar() -> WorkingCalendar:
    """The calendar of Vietnam: weekends and public holidays off, make-up Saturdays on."""
    vietnam = holidays.country_holidays("VN", years=range(_FIRST.year, _LAST.year + 1))
    span = (_FIRST + timedelta(days=offset) for offset in range((_LAST - _FIRST).days + 1))
    days = [(day - _EPOCH).days for day in span if vietnam.is_working_day(day)]
    return WorkingCalendar(np.array(days, dtype=np.int64))


def local_day(seconds: Integers) -> Integers:
    """Day (since 1970) in Vietnam of instants given as seconds since 1970, UTC."""
    days: Integers = (seconds + VIETNAM_SECONDS) // DAY_SECONDS
    return days


def instant(day: Integers, second_of_day: Integers | int) -> Integers:
    """Seconds since 1970, UTC, of a second of a Vietnamese day."""
    return day * DAY_SECONDS + second_of_day - VIETNAM_SECONDS
