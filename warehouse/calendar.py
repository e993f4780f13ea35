"""The working calendar of Vietnam: which days and hours offices work, and where a time limit ends.

Belongs here: the days (public holidays, make-up days, a province's own), office hours, and the arithmetic of limits,
in Python for one instant and as DuckDB macros for a table. Does not belong here: which limit a dossier has, the
time that a citizen was waited for, or any verdict on being on time.

Rules: Civil Code 2015 (91/2015/QH13), Articles 146-148, and Labour Code 2019, Article 112. A limit in

- working days ("Ngày làm việc") does not count the day of reception (147.2); reception on a day off, or after the
  cut-off hour where a province has one, counts as the next working day's. It ends when the office closes on the n-th
  working day. A part of a day is that part of the office time of the last one.
- calendar days ("Ngày") does not count the day of reception either and ends with the last day, at 24 hours
  (148.1, 148.6), or with the next working day when the last one is off (148.5). Parts are rounded up to a day.
- months ("Tháng") ends on the day of the same number, else on the month's last (148.3), then as days do. A part of a
  month is that part of thirty days (146.1).
- hours ("Giờ") counts office hours from the moment of reception (147.1), eight of them being a day.

See docs/decisions/0012-working-calendar.md for what was decided and why.
"""

from __future__ import annotations

import calendar as month_lengths
import csv
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from importlib import resources
from pathlib import Path
from string import Template
from typing import Self

import duckdb
import holidays
import pyarrow as pa

from warehouse.tables import CORE_CALENDAR

#: Years that a calendar covers unless told. Days to come follow the law and `holidays`: a swap of working days is
#: known only when the government has decided it.
YEARS = range(2015, 2036)
#: Eight office hours, within which an online dossier is to be received or refused (08 giờ làm việc).
RECEPTION_SECONDS = 8 * 3600

WORKING_DAYS = "Ngày làm việc"
DAYS = "Ngày"
MONTHS = "Tháng"
HOURS = "Giờ"
#: Every unit that core_procedure.limit_unit uses.
LIMIT_UNITS = (WORKING_DAYS, DAYS, MONTHS, HOURS)

#: The greatest limit that is computed, in any unit; far beyond the calendar and well within whole numbers.
_LARGEST = 100_000
_SECOND = 1_000_000
_HOUR = 3600 * _SECOND
_DAY = 24 * _HOUR
_VIETNAM = timedelta(hours=7)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH = _LONG_AGO.date()
_SATURDAY = 5
_NATIONAL = Path(__file__).parent / "reference" / "working_days.csv"
_COLUMNS = ("day", "is_working", "reason", "source")
_FLAGS = {"true": True, "false": False}


class CalendarFileError(ValueError):
    """A line of a table of days cannot be used; the text names file, line and column."""


class OutsideCalendarError(LookupError):
    """A day that the calendar does not cover was asked for; the text names it and the span."""


@dataclass(frozen=True, kw_only=True)
class OfficeHours:
    """When offices are open on a working day: morning and afternoon, in microseconds of the day.

    Example:
        >>> OfficeHours.of("07:30-11:30", "13:30-17:30").day_seconds
        28800
    """

    morning_start: int = 7 * _HOUR + _HOUR // 2
    morning_end: int = 11 * _HOUR + _HOUR // 2
    afternoon_start: int = 13 * _HOUR
    afternoon_end: int = 17 * _HOUR

    def __post_init__(self) -> None:
        if not 0 <= self.morning_start < self.morning_end <= self.afternoon_start <= self.afternoon_end <= _DAY:
            raise ValueError(
                "office hours must follow each other within one day, e.g. 07:30-11:30 and 13:00-17:00; "
                f"given: {self.text}"
            )

    @classmethod
    def of(cls, morning: str, afternoon: str | None = None) -> Self:
        """From texts like "07:30-11:30"; without an afternoon there is one sitting. `ValueError` says what is wrong."""
        start, end = _sitting(morning)
        after, close = (end, end) if afternoon is None else _sitting(afternoon)
        return cls(morning_start=start, morning_end=end, afternoon_start=after, afternoon_end=close)

    @property
    def text(self) -> str:
        """As an operator writes it, e.g. 07:30-11:30, 13:00-17:00."""
        sittings = ((self.morning_start, self.morning_end), (self.afternoon_start, self.afternoon_end))
        return ", ".join(f"{_clock_text(start)}-{_clock_text(end)}" for start, end in sittings if start != end)

    @property
    def morning(self) -> int:
        """Microseconds of the first sitting."""
        return self.morning_end - self.morning_start

    @property
    def day(self) -> int:
        """Microseconds of a whole working day."""
        return self.morning + self.afternoon_end - self.afternoon_start

    @property
    def day_seconds(self) -> int:
        """Seconds of a whole working day."""
        return self.day // _SECOND

    def worked(self, clock: int) -> int:
        """Microseconds of office time of a working day that are over at `clock`, a microsecond of the day."""
        morning = max(min(clock, self.morning_end) - self.morning_start, 0)
        return morning + max(min(clock, self.afternoon_end) - self.afternoon_start, 0)

    def clock_after(self, worked: int) -> int:
        """First microsecond of the day at which so much is over, 0 < worked <= a day."""
        if worked <= self.morning:
            return self.morning_start + worked
        return self.afternoon_start + worked - self.morning


@dataclass(frozen=True, kw_only=True)
class CalendarDay:
    """One day: whether offices work, why it is not as its weekday would have it, and who says so."""

    day: date
    is_working: bool
    reason: str | None
    source: str


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """Working days and hours from the first to the last of `days`, which follow each other without a gap.

    Every method that is given an instant wants one with its zone (`ValueError` otherwise), gives instants in UTC, and
    raises `OutsideCalendarError` where the answer would need a day beyond the calendar.
    """

    days: tuple[CalendarDay, ...]
    office_hours: OfficeHours = field(default_factory=OfficeHours)
    #: What is received later in the day counts as received on the next working day; None: there is no such hour.
    cut_off: time | None = None

    def __post_init__(self) -> None:
        if not any(entry.is_working for entry in self.days):
            raise ValueError("a calendar needs a working day")
        first = self.days[0].day
        if any(entry.day != first + timedelta(days=place) for place, entry in enumerate(self.days)):
            raise ValueError("the days of a calendar must follow each other")

    @classmethod
    def load(
        cls,
        local: Path | None = None,
        *,
        office_hours: OfficeHours | None = None,
        cut_off: time | None = None,
        years: range = YEARS,
    ) -> Self:
        """The national calendar of `years` with the days of a province's own file put over it.

        `local` has the columns day, is_working (true or false), reason, source; it is stronger than the national
        table, which is stronger than the `holidays` package. Raises `CalendarFileError` naming file and line.
        """
        days = {entry.day: entry for entry in _national_days(years)}
        for path in (_NATIONAL, local):
            if path is not None:
                days |= _own_days(path, days, years if path is local else None)
        return cls(days=tuple(days.values()), office_hours=office_hours or OfficeHours(), cut_off=cut_off)

    def table(self) -> pa.Table:
        """The days as core_calendar rows."""
        rows = [
            {
                "day": entry.day,
                "is_working": entry.is_working,
                "working_ordinal": ordinal,
                "office_seconds_before": (ordinal - entry.is_working) * self.office_hours.day_seconds,
                "reason": entry.reason,
                "source": entry.source,
            }
            for entry, ordinal in zip(self.days, self._ordinals, strict=True)
        ]
        return pa.Table.from_pylist(rows, schema=CORE_CALENDAR.arrow_schema())

    def is_working(self, day: date) -> bool:
        """Whether offices work on `day`."""
        return self._entry(_number(day)).is_working

    def deadline(self, received_at: datetime, value: float, unit: str) -> datetime:
        """The latest instant on time for a limit of `value` in `unit` (one of `LIMIT_UNITS`); see the module.

        `ValueError` for a limit that is not above 0 and for an unknown unit: no limit can be made up.
        """
        if not value > 0:
            raise ValueError(f"a limit of {value} {unit} is not a time")
        if unit not in LIMIT_UNITS:
            raise ValueError(f"unit {unit!r} is not one of {', '.join(LIMIT_UNITS)}")
        number, clock = _local(received_at)
        entry = self._entry(number)
        if value > _LARGEST:
            raise OutsideCalendarError(f"{value} {unit} from {entry.day} is {self._beyond}")
        ends: Mapping[str, Callable[[int, int, float], datetime]] = {
            WORKING_DAYS: self._after_working_days,
            DAYS: lambda number, _clock, value: self._end_of(number + math.ceil(value)),
            MONTHS: lambda number, _clock, value: self._end_of(_months_later(number, value)),
            HOURS: lambda number, clock, value: self._at(self._position(number, clock) + _span(value, _HOUR)),
        }
        return ends[unit](number, clock, value)

    def add_office_seconds(self, instant: datetime, seconds: int) -> datetime:
        """The first instant, not before `instant`, by which offices have worked `seconds` more (0 or above)."""
        if seconds < 0:
            raise ValueError(f"{seconds} office seconds cannot be added")
        position = self._position(*_local(instant))
        return self._at(position + seconds * _SECOND) if seconds else instant.astimezone(UTC)

    def office_seconds_between(self, a: datetime, b: datetime) -> int:
        """Whole seconds that offices worked from `a` to `b`; negative when `b` comes first."""
        between = self._position(*_local(b)) - self._position(*_local(a))
        return between // _SECOND if between >= 0 else -(-between // _SECOND)

    def define_macros(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Register core_calendar in `connection` and define this calendar's arithmetic there (see `define_macros`)."""
        connection.register("core_calendar", self.table())
        define_macros(connection, office_hours=self.office_hours, cut_off=self.cut_off)

    @cached_property
    def _ordinals(self) -> tuple[int, ...]:
        """Working days up to and including each day."""
        found: list[int] = []
        for entry in self.days:
            found.append((found[-1] if found else 0) + entry.is_working)
        return tuple(found)

    @cached_property
    def _working_days(self) -> tuple[int, ...]:
        """Numbers of the working days, the n-th at place n - 1."""
        return tuple(_number(entry.day) for entry in self.days if entry.is_working)

    @cached_property
    def _first(self) -> int:
        return _number(self.days[0].day)

    @property
    def _beyond(self) -> str:
        return f"beyond the working calendar, which covers {self.days[0].day} to {self.days[-1].day}"

    def _place(self, number: int) -> int:
        place = number - self._first
        if not 0 <= place < len(self.days):
            raise OutsideCalendarError(f"day {_day_text(number)} is {self._beyond}")
        return place

    def _entry(self, number: int) -> CalendarDay:
        return self.days[self._place(number)]

    def _working_day(self, ordinal: int) -> int:
        if ordinal > len(self._working_days):
            raise OutsideCalendarError(f"working day no. {ordinal} since {self.days[0].day} is {self._beyond}")
        return self._working_days[ordinal - 1]

    def _position(self, number: int, clock: int) -> int:
        """Office time from the calendar's first day, in microseconds."""
        whole = self._ordinals[self._place(number)] * self.office_hours.day
        left = self.office_hours.day - self.office_hours.worked(clock) if self._entry(number).is_working else 0
        return whole - left

    def _at(self, position: int) -> datetime:
        """First instant at a position above 0: the end of a day rather than the beginning of the next."""
        before, rest = divmod(position - 1, self.office_hours.day)
        return _instant(self._working_day(before + 1), self.office_hours.clock_after(rest + 1))

    def _after_working_days(self, number: int, clock: int, value: float) -> datetime:
        late = self.cut_off is not None and clock > _clock(self.cut_off)
        counted = self._ordinals[self._place(number)] + (late or not self._entry(number).is_working)
        return self._at(counted * self.office_hours.day + _span(value, self.office_hours.day))

    def _end_of(self, number: int) -> datetime:
        """The last microsecond of a day, or of the next working day when it is off (Article 148.5, 148.6)."""
        ordinal = self._ordinals[self._place(number)] + (not self._entry(number).is_working)
        return _instant(self._working_day(ordinal), _DAY - 1)


def define_macros(
    connection: duckdb.DuckDBPyConnection, *, office_hours: OfficeHours, cut_off: time | None = None
) -> None:
    """Define the arithmetic over the core_calendar that `connection` holds, as temporary macros.

    `working_deadline(received_at, value, unit)`, `add_office_seconds(instant, seconds)` and
    `office_seconds_between(a, b)` are what `Calendar` computes, with null where it raises an error. The days are read
    now: define the macros again when core_calendar has changed. Raises `ValueError` when the table was made for other
    office hours, or has a gap.
    """
    first, gaps, seconds = connection.sql(
        "SELECT min(day), max(day) - min(day) + 1 - count(*), "
        "max(office_seconds_before + CASE WHEN is_working THEN $day ELSE 0 END) - max(working_ordinal) * $day "
        "FROM core_calendar",
        params={"day": office_hours.day_seconds},
    ).fetchall()[0]
    if gaps != 0 or seconds != 0:
        raise ValueError(
            f"core_calendar is empty, has a gap, or was made for other office hours than {office_hours.text}; "
            "build it again"
        )
    connection.execute(_macros_sql(_number(first), office_hours, cut_off))


def _macros_sql(first_day: int, office_hours: OfficeHours, cut_off: time | None) -> str:
    text = resources.files("warehouse").joinpath("calendar.sql").read_text(encoding="utf-8")
    return Template(text).substitute(
        first_day=first_day,
        morning_start=office_hours.morning_start,
        morning_end=office_hours.morning_end,
        afternoon_start=office_hours.afternoon_start,
        afternoon_end=office_hours.afternoon_end,
        day=office_hours.day,
        cut_off=_DAY if cut_off is None else _clock(cut_off),
        largest=_LARGEST,
    )


def _national_days(years: range) -> Iterator[CalendarDay]:
    """Every day of `years` by weekday and the `holidays` package, its make-up days included."""
    vietnam = holidays.country_holidays("VN", years=years, language="vi")
    day = date(years[0], 1, 1)
    while day.year <= years[-1]:
        is_working = bool(vietnam.is_working_day(day))
        is_made_up = is_working and day.weekday() >= _SATURDAY
        reason = vietnam.get(day) or ("Làm bù ngày nghỉ hoán đổi" if is_made_up else None)
        yield CalendarDay(day=day, is_working=is_working, reason=reason, source="holidays" if reason else "weekday")
        day += timedelta(days=1)


def _own_days(path: Path, covered: Mapping[date, CalendarDay], years: range | None) -> dict[date, CalendarDay]:
    """The days of one file; with `years`, a day outside them is refused, else left out."""
    found: dict[date, CalendarDay] = {}
    for line, row in _rows(path):
        entry = _own_day(row, f"{path}, line {line}", path.name)
        if entry.day in found:
            raise CalendarFileError(f"{path}, line {line}: day {entry.day} stands twice")
        if entry.day not in covered and years is not None:
            raise CalendarFileError(f"{path}, line {line}: day {entry.day} is not in {years[0]}-{years[-1]}")
        found[entry.day] = entry
    return {day: entry for day, entry in found.items() if day in covered}


def _rows(path: Path) -> Iterable[tuple[int, dict[str, str]]]:
    try:
        file = path.open(encoding="utf-8-sig", newline="")
    except FileNotFoundError:
        raise CalendarFileError(f"{path}: no such file") from None
    with file:
        reader = csv.DictReader(file)
        if missing := set(_COLUMNS) - set(reader.fieldnames or ()):
            raise CalendarFileError(f"{path}: column {', '.join(sorted(missing))} is missing")
        for row in reader:
            yield reader.line_num, {name: (row[name] or "").strip() for name in _COLUMNS}


def _own_day(row: Mapping[str, str], where: str, name: str) -> CalendarDay:
    try:
        day = date.fromisoformat(row["day"])
    except ValueError:
        raise CalendarFileError(f"{where}: day {row['day']!r} is not a date like 2026-01-10") from None
    if row["is_working"].lower() not in _FLAGS:
        raise CalendarFileError(f"{where}: is_working {row['is_working']!r} is neither true nor false")
    if not row["reason"] or not row["source"]:
        raise CalendarFileError(f"{where}: reason and source must both be given, the source being a decision")
    is_working = _FLAGS[row["is_working"].lower()]
    return CalendarDay(day=day, is_working=is_working, reason=row["reason"], source=f"{name}: {row['source']}")


def _sitting(text: str) -> tuple[int, int]:
    parts = [part.strip() for part in text.split("-")]
    try:
        start, end = (_clock(time.fromisoformat(part)) for part in parts)
    except ValueError:
        raise ValueError(f"office hours {text!r} are not like 07:30-11:30") from None
    return start, end


def _clock(moment: time) -> int:
    """Microsecond of the day."""
    return ((moment.hour * 60 + moment.minute) * 60 + moment.second) * _SECOND + moment.microsecond


def _clock_text(clock: int) -> str:
    minutes = clock // (60 * _SECOND)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _number(day: date) -> int:
    return (day - _EPOCH).days


def _day_text(number: int) -> str:
    try:
        return str(_EPOCH + timedelta(days=number))
    except OverflowError:
        return f"no. {number} since {_EPOCH}"


def _local(instant: datetime) -> tuple[int, int]:
    """Day number and microsecond of the day in Vietnam."""
    if instant.tzinfo is None:
        raise ValueError(f"instant {instant!r} has no zone; give an instant with its zone")
    passed = instant - _LONG_AGO + _VIETNAM
    return passed.days, passed.seconds * _SECOND + passed.microseconds


def _instant(number: int, clock: int) -> datetime:
    return _LONG_AGO + timedelta(days=number, microseconds=clock) - _VIETNAM


def _span(value: float, per: int) -> int:
    """Whole microseconds of `value` times `per`, at least one."""
    return max(math.floor(value * per + 0.5), 1)


def _months_later(number: int, value: float) -> int:
    """The day so many months on, clipped to the month's end, plus the thirtieths of a part of a month."""
    day = _EPOCH + timedelta(days=number)
    whole = math.floor(value)
    years, month = divmod(day.month - 1 + whole, 12)
    year, month = day.year + years, month + 1
    if year > date.max.year:
        return _number(date.max)
    clipped = min(day.day, month_lengths.monthrange(year, month)[1])
    # The millionth keeps 0.1 of a month at three days: 0.1 is a little more than a tenth.
    return _number(date(year, month, clipped)) + math.ceil((value - whole) * 30 - 1e-6)
