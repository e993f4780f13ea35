"""The working calendar: its days, and where a limit ends.

What is held here: cases that a clerk worked out by hand (calendar_cases.csv), days against the decisions that made
them, and that Python, SQL and a loop which walks day by day and sitting by sitting say the same, for any calendar.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expectations.suites import load_suite
from warehouse.calendar import (
    DAYS,
    HOURS,
    LIMIT_UNITS,
    MONTHS,
    RECEPTION_SECONDS,
    WORKING_DAYS,
    Calendar,
    CalendarDay,
    CalendarFileError,
    OfficeHours,
    OutsideCalendarError,
    define_macros,
)
from warehouse.lake import Lake, connect
from warehouse.tables import CORE_CALENDAR

VIETNAM = ZoneInfo("Asia/Ho_Chi_Minh")
MICROSECOND = timedelta(microseconds=1)
CASES = Path(__file__).with_name("calendar_cases.csv")
HEADER = "day,is_working,reason,source\n"
#: Hours of Vietnamese provinces, and of an office that does not close at noon.
OFFICES = (
    (OfficeHours(), None),
    (OfficeHours.of("07:30-11:30", "13:30-17:30"), time(15)),
    (OfficeHours.of("07:00-11:30", "13:30-17:00"), time(16, 30)),
    (OfficeHours.of("08:00-15:30"), time(11, 45, 30)),
)


@cache
def national(office: int = 0) -> Calendar:
    hours, cut_off = OFFICES[office]
    return Calendar.load(office_hours=hours, cut_off=cut_off, years=range(2023, 2029))


@cache
def macros(office: int) -> duckdb.DuckDBPyConnection:
    connection = connect()
    national(office).define_macros(connection)
    return connection


def local(text: str) -> datetime:
    """A clerk's dd/mm/yyyy hh:mm; 24:00 is the last moment of the day."""
    day, clock = text.split()
    if clock == "24:00":
        return datetime.strptime(f"{day} +0700", "%d/%m/%Y %z") + timedelta(days=1) - MICROSECOND
    return datetime.strptime(f"{text} +0700", "%d/%m/%Y %H:%M %z")


def cases() -> Iterator[tuple[str, ...]]:
    with CASES.open(encoding="utf-8", newline="") as file:
        for row in csv.reader(file):
            yield tuple(row)


@pytest.mark.parametrize("case", [row for row in cases() if row[0] != "tiếp nhận"], ids=lambda case: " ".join(case[:4]))
def test_cases_worked_out_by_hand(case: tuple[str, ...]) -> None:
    received, value, unit, cut_off, expected, reckoning = case
    calendar = replace(national(), cut_off=time.fromisoformat(cut_off) if cut_off else None)
    found = calendar.deadline(local(received), float(value.replace(",", ".")), unit)
    assert found == local(expected), f"{reckoning}: {found.astimezone(VIETNAM)}"


def test_every_published_unit_is_known_and_has_a_case() -> None:
    with (Path(__file__).parents[2] / "warehouse/reference/procedures.csv").open(encoding="utf-8-sig") as file:
        published = {row["limit_unit"] for row in csv.DictReader(file)} - {""}
    assert published == set(LIMIT_UNITS)
    assert published <= {row[2] for row in cases()}


@pytest.mark.parametrize(
    ("year", "off", "made_up"),
    [
        # Văn bản 2450/VPCP-KGVX (2024); Thông báo 6150/TB-BLĐTBXH (2025); Thông báo 9441/TB-BNV and 12729/VPCP-KGVX
        # (2026); Nghị quyết 28/2026/QH16 (24/11); 10065/VPCP-KGVX (Tết and National Day of 2027).
        (2024, "1/1 8/2 9/2 12/2 13/2 14/2 18/4 29/4 30/4 1/5 2/9 3/9", "4/5"),
        (2025, "1/1 27/1 28/1 29/1 30/1 31/1 7/4 30/4 1/5 2/5 1/9 2/9", "26/4"),
        (2026, "1/1 2/1 16/2 17/2 18/2 19/2 20/2 27/4 30/4 1/5 31/8 1/9 2/9 24/11", "10/1 22/8"),
        (2027, "1/1 4/2 5/2 8/2 9/2 10/2 16/4 30/4 3/5 2/9 3/9 24/11", ""),
    ],
)
def test_days_off_and_made_up_are_those_of_the_decisions(year: int, off: str, made_up: str) -> None:
    entries = [entry for entry in national().days if entry.day.year == year]

    def named(days: list[CalendarDay]) -> str:
        return " ".join(f"{entry.day.day}/{entry.day.month}" for entry in days)

    assert named([entry for entry in entries if entry.day.weekday() < 5 and not entry.is_working]) == off
    assert named([entry for entry in entries if entry.day.weekday() >= 5 and entry.is_working]) == made_up


def test_a_day_says_why_and_who_says_so() -> None:
    by_day = {entry.day: entry for entry in national().days}
    assert (by_day[date(2026, 10, 5)].reason, by_day[date(2026, 10, 5)].source) == (None, "weekday")
    assert (by_day[date(2026, 9, 2)].reason, by_day[date(2026, 9, 2)].source) == ("Quốc khánh", "holidays")
    assert "12729/VPCP-KGVX" in by_day[date(2026, 1, 2)].source


def test_the_table_counts_days_and_office_seconds() -> None:
    rows = national(2).table().to_pandas()
    assert len(rows) == (date(2028, 12, 31) - date(2023, 1, 1)).days + 1
    assert (rows.working_ordinal == rows.is_working.cumsum()).all()
    # 4 and a half hours in the morning, 3 and a half in the afternoon.
    assert (rows.office_seconds_before == (rows.is_working.cumsum() - rows.is_working) * 8 * 3600).all()
    # 2026 has 261 days from Monday to Friday; 14 of them are off, and two Saturdays are made up (see above).
    assert rows.is_working[[day.year == 2026 for day in rows.day]].sum() == 261 - 14 + 2


def test_the_table_is_stored_as_declared_and_meets_its_suite(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    lake.replace(CORE_CALENDAR, national().table())
    connection = lake.connect(CORE_CALENDAR)
    assert offences(connection) == set()
    define_macros(connection, office_hours=OfficeHours())
    assert sql_deadline(connection, local("08/01/2026 10:00"), 2, WORKING_DAYS) == local("10/01/2026 17:00")


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ("DELETE FROM core_calendar WHERE day = '2026-10-10'", {"days_without_gap"}),
        ("UPDATE core_calendar SET working_ordinal = working_ordinal + 1 WHERE day = '2026-10-05'",
         {"working_ordinal_counts"}),
        ("UPDATE core_calendar SET office_seconds_before = office_seconds_before + 60 WHERE day >= '2026-10-05'",
         {"office_seconds_add_up"}),
        ("UPDATE core_calendar SET reason = NULL WHERE day = '2026-09-02'", {"difference_from_weekday_explained"}),
        ("UPDATE core_calendar SET is_working = isodow(day) <= 5",
         {"working_ordinal_counts", "office_seconds_add_up", "working_days_of_a_year"}),
    ],
)  # fmt: skip
def test_the_suite_notices(change: str, broken: set[str]) -> None:
    connection = connect()
    connection.register("good", national().table())
    connection.execute("CREATE TABLE core_calendar AS SELECT * FROM good")
    connection.execute(change)
    assert offences(connection) == broken


def offences(connection: duckdb.DuckDBPyConnection) -> set[str]:
    written = [each for each in load_suite(CORE_CALENDAR).expectations if each.query]
    return {each.id for each in written if connection.sql(str(each.query)).fetchall()}


# A province's own days.


def test_a_provinces_days_are_stronger_than_the_countrys(tmp_path: Path) -> None:
    own = tmp_path / "calendar.csv"
    own.write_text(
        HEADER
        + "2026-10-06,false,Nghỉ theo tỉnh,QĐ 1\n2026-10-10,true,Làm bù,QĐ 1\n2026-01-02,true,Tỉnh vẫn làm,QĐ 2\n",
        encoding="utf-8",
    )
    calendar = Calendar.load(own, years=range(2026, 2027))
    assert not calendar.is_working(date(2026, 10, 6))
    assert calendar.is_working(date(2026, 10, 10))
    assert calendar.is_working(date(2026, 1, 2))
    # Tuesday is off, so Wednesday is the first of four, and Saturday, made up, the last.
    assert calendar.deadline(local("05/10/2026 09:00"), 4, WORKING_DAYS) == local("10/10/2026 17:00")
    row = calendar.table().filter(pa.compute.field("day") == date(2026, 10, 6)).to_pylist()[0]
    assert (row["reason"], row["source"]) == ("Nghỉ theo tỉnh", "calendar.csv: QĐ 1")


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("2026-10-06,false,a,b\n2026-10-06,true,a,b\n", ("line 3", "2026-10-06", "twice")),
        ("06/10/2026,false,a,b\n", ("line 2", "06/10/2026")),
        ("2026-10-06,maybe,a,b\n", ("line 2", "maybe")),
        ("2026-10-06,false,a,\n", ("line 2", "source")),
        ("2026-10-06,false\n", ("line 2", "reason")),
        ("2036-10-06,false,a,b\n", ("line 2", "2036-10-06", "2015-2035")),
    ],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, lines: str, told: tuple[str, ...]) -> None:
    own = tmp_path / "own-days.csv"
    own.write_text(HEADER + lines, encoding="utf-8")
    with pytest.raises(CalendarFileError) as caught:
        Calendar.load(own)
    assert all(part in str(caught.value) for part in (str(own), *told))


def test_a_file_without_its_columns_or_missing_is_named(tmp_path: Path) -> None:
    own = tmp_path / "own-days.csv"
    with pytest.raises(CalendarFileError, match=r"own-days\.csv: no such file"):
        Calendar.load(own)
    own.write_text("day,reason,source\n", encoding="utf-8")
    with pytest.raises(CalendarFileError, match=r"own-days\.csv: column is_working"):
        Calendar.load(own)


def test_the_examples_province_has_a_file_that_loads() -> None:
    assert Calendar.load(Path(__file__).parents[2] / "provinces/dak-lak/calendar.csv", years=range(2026, 2027))


@pytest.mark.parametrize(
    "sittings",
    [("07:30",), ("7h30-11h30",), ("11:30-07:30",), ("07:30-11:30", "11:00-17:00"), ("07:30-11:30-12:00",)],
)
def test_office_hours_that_cannot_be_are_refused(sittings: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="07:30-11:30"):
        OfficeHours.of(*sittings)


def test_office_hours_read_as_written() -> None:
    assert OfficeHours.of("07:30-11:30", "13:00-17:00") == OfficeHours()
    assert OfficeHours().day_seconds == RECEPTION_SECONDS
    assert OfficeHours.of("08:00-15:30").text == "08:00-15:30"


# What is not a time, and what is not in the calendar.


@pytest.mark.parametrize("value", [0, -1, float("nan")])
@pytest.mark.parametrize("unit", LIMIT_UNITS)
def test_a_limit_of_nothing_is_refused(value: float, unit: str) -> None:
    with pytest.raises(ValueError, match=unit):
        national().deadline(local("05/10/2026 09:00"), value, unit)
    assert sql_deadline(macros(0), local("05/10/2026 09:00"), value, unit) is None


def test_an_unknown_unit_is_refused() -> None:
    with pytest.raises(ValueError, match="'Tuần'"):
        national().deadline(local("05/10/2026 09:00"), 1, "Tuần")
    assert sql_deadline(macros(0), local("05/10/2026 09:00"), 1, "Tuần") is None


@pytest.mark.parametrize("unit", LIMIT_UNITS)
def test_a_deadline_of_what_is_not_known_is_not_known(unit: str) -> None:
    rows = f"(now(), 1, NULL), (now(), NULL, '{unit}'), (NULL, 1, '{unit}')"
    query = f"SELECT count(*), count(working_deadline(a, b, c)) FROM (VALUES {rows}) AS t(a, b, c)"
    assert macros(0).sql(query).fetchall() == [(3, 0)]


def test_office_time_of_what_is_not_known_is_not_known() -> None:
    outside = "TIMESTAMPTZ '2022-12-31 10:00:00+07'"
    query = (
        "SELECT add_office_seconds(NULL, 1), add_office_seconds(now(), NULL), add_office_seconds(now(), -1), "
        f"add_office_seconds({outside}, 0), office_seconds_between(NULL, now()), "
        f"office_seconds_between(now(), {outside})"
    )
    assert macros(0).sql(query).fetchall() == [(None,) * 6]
    with pytest.raises(ValueError, match="-1"):
        national().add_office_seconds(local("05/10/2026 09:00"), -1)
    with pytest.raises(OutsideCalendarError):
        national().add_office_seconds(local("31/12/2022 10:00"), 0)


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        national().deadline(datetime(2026, 10, 5, 9), 1, DAYS)  # noqa: DTZ001


@pytest.mark.parametrize("unit", LIMIT_UNITS)
@pytest.mark.parametrize(
    ("received", "value"),
    [
        ("31/12/2022 23:59", 1),
        ("01/01/2029 00:00", 1),
        ("29/12/2028 16:59", 3),
        ("05/10/2026 09:00", 1e5),
        ("05/10/2026 09:00", 1e300),
    ],
)
def test_what_ends_beyond_the_calendar_is_no_guess(received: str, value: float, unit: str) -> None:
    with pytest.raises(OutsideCalendarError, match="2023-01-01 to 2028-12-31"):
        national().deadline(local(received), value, unit)
    assert sql_deadline(macros(0), local(received), value, unit) is None


def test_macros_refuse_a_table_of_other_hours_or_with_a_gap() -> None:
    connection = connect()
    connection.register("core_calendar", national().table())
    with pytest.raises(ValueError, match="08:00-15:30"):
        define_macros(connection, office_hours=OfficeHours.of("08:00-15:30"))
    connection.register("core_calendar", national().table().slice(0, 0))
    with pytest.raises(ValueError, match="empty"):
        define_macros(connection, office_hours=OfficeHours())
    rows = national().table()
    connection.register("core_calendar", pa.concat_tables([rows.slice(0, 100), rows.slice(101)]))
    with pytest.raises(ValueError, match="gap"):
        define_macros(connection, office_hours=OfficeHours())


# Reception within eight working hours.


@pytest.mark.parametrize(
    ("submitted", "due"),
    [
        ("05/10/2026 07:30", "05/10/2026 17:00"),
        ("05/10/2026 09:30", "06/10/2026 09:30"),
        ("05/10/2026 22:00", "06/10/2026 17:00"),
        ("09/10/2026 16:00", "12/10/2026 16:00"),
        ("29/08/2026 08:00", "03/09/2026 17:00"),
    ],
)
def test_eight_working_hours_of_reception(submitted: str, due: str) -> None:
    assert national().add_office_seconds(local(submitted), RECEPTION_SECONDS) == local(due)
    assert national().office_seconds_between(local(submitted), local(due)) == RECEPTION_SECONDS


# Python == SQL == a walk by days and sittings.


def walk_on_or_after(works: dict[date, bool], day: date) -> date:
    while not works[day]:
        day += timedelta(days=1)
    return day


def walk_sittings(calendar: Calendar, start: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Every sitting from `start` on, the first cut short; in Vietnam's time."""
    hours = calendar.office_hours
    sittings = ((hours.morning_start, hours.morning_end), (hours.afternoon_start, hours.afternoon_end))
    for entry in calendar.days:
        midnight = datetime.combine(entry.day, time(), VIETNAM)
        for opens, closes in sittings if entry.is_working and entry.day >= start.date() else ():
            begin, end = midnight + opens * MICROSECOND, midnight + closes * MICROSECOND
            if end > max(begin, start):
                yield max(begin, start), end


def walk_time(calendar: Calendar, start: datetime, span: timedelta) -> datetime:
    for begin, end in walk_sittings(calendar, start):
        if span <= end - begin:
            return begin + span
        span -= end - begin
    raise KeyError(start)


def walk_worked(calendar: Calendar, a: datetime, b: datetime) -> timedelta:
    return sum((max(min(end, b) - begin, timedelta()) for begin, end in walk_sittings(calendar, a)), timedelta())


def walk_months(day: date, months: int) -> date:
    first = day.replace(day=1)
    for _ in range(months):
        first = (first + timedelta(days=31)).replace(day=1)
    while True:
        try:
            return first.replace(day=day.day)
        except ValueError:
            day -= timedelta(days=1)


def walk(calendar: Calendar, received: datetime, quarters: int, unit: str) -> datetime:
    """The deadline of `quarters` / 4; `KeyError` where the calendar ends."""
    works = {entry.day: entry.is_working for entry in calendar.days}
    now = received.astimezone(VIETNAM)
    day = now.date()
    assert isinstance(works[day], bool)
    if unit == HOURS:
        return walk_time(calendar, now, timedelta(minutes=15) * quarters)
    if unit == WORKING_DAYS:
        if not works[day] or (calendar.cut_off is not None and now.time() > calendar.cut_off):
            day = walk_on_or_after(works, day + timedelta(days=1))
        for _ in range(-(-quarters // 4)):
            day = walk_on_or_after(works, day + timedelta(days=1))
        part = quarters % 4 or 4
        office_day = timedelta(seconds=calendar.office_hours.day_seconds)
        return walk_time(calendar, datetime.combine(day, time(), VIETNAM), office_day * part / 4)
    whole, part = divmod(quarters, 4)
    if unit == DAYS:
        last = day + timedelta(days=whole + (part > 0))
    else:
        last = walk_months(day, whole) + timedelta(days=(0, 8, 15, 23)[part])
    return datetime.combine(walk_on_or_after(works, last) + timedelta(days=1), time(), VIETNAM) - MICROSECOND


def sql_deadline(
    connection: duckdb.DuckDBPyConnection, received: datetime | None, value: float | None, unit: str | None
) -> datetime | None:
    query = "SELECT working_deadline($received::TIMESTAMPTZ, $value::DOUBLE, $unit::VARCHAR)"
    found = connection.sql(query, params={"received": received, "value": value, "unit": unit}).fetchall()[0][0]
    return None if found is None else found.astimezone(UTC)


def python_or_none(calendar: Calendar, received: datetime, value: float, unit: str) -> datetime | None:
    try:
        return calendar.deadline(received, value, unit)
    except OutsideCalendarError:
        return None


def walk_or_none(calendar: Calendar, received: datetime, quarters: int, unit: str) -> datetime | None:
    try:
        return walk(calendar, received, quarters, unit)
    except KeyError:
        return None


def instants(first: datetime, last: datetime) -> st.SearchStrategy[datetime]:
    """Any instant, and often one at the turn of a sitting or a day."""
    any_instant = st.datetimes(first, last)
    turns = st.sampled_from((time(), time(7, 30), time(11, 30), time(13), time(15), time(17), time(23, 59, 59, 999999)))
    at_turn = st.builds(lambda moment, clock: datetime.combine(moment.date(), clock), any_instant, turns)
    return (any_instant | at_turn).map(lambda moment: moment.replace(tzinfo=VIETNAM))


def sql_deadlines(
    connection: duckdb.DuckDBPyConnection, dossiers: list[tuple[datetime, int, str]]
) -> list[datetime | None]:
    columns = {
        "received": pa.array([received.astimezone(UTC) for received, _, _ in dossiers], pa.timestamp("us", "UTC")),
        "value": pa.array([quarters / 4 for _, quarters, _ in dossiers], pa.float64()),
        "unit": pa.array([unit for _, _, unit in dossiers]),
    }
    connection.register("dossier", pa.table(columns))
    rows = connection.sql("SELECT working_deadline(received, value, unit) FROM dossier").fetchall()
    return [found for (found,) in rows]


def dossiers(received: st.SearchStrategy[datetime]) -> st.SearchStrategy[list[tuple[datetime, int, str]]]:
    return st.lists(st.tuples(received, QUARTERS, UNITS), min_size=5, max_size=30)


def agree(calendar: Calendar, connection: duckdb.DuckDBPyConnection, rows: list[tuple[datetime, int, str]]) -> None:
    by_walk = [walk_or_none(calendar, *row) for row in rows]
    assert [python_or_none(calendar, received, quarters / 4, unit) for received, quarters, unit in rows] == by_walk
    assert sql_deadlines(connection, rows) == by_walk


QUARTERS = st.integers(1, 260)
UNITS = st.sampled_from(LIMIT_UNITS)


@settings(max_examples=12)
@given(
    office=st.sampled_from(range(len(OFFICES))),
    rows=dossiers(instants(datetime(2023, 1, 1), datetime(2028, 12, 31))),  # noqa: DTZ001
)
def test_sql_python_and_a_walk_agree(office: int, rows: list[tuple[datetime, int, str]]) -> None:
    agree(national(office), macros(office), rows)


@settings(max_examples=12)
@given(
    pattern=st.lists(st.booleans(), min_size=2, max_size=70).filter(any),
    office=st.sampled_from(OFFICES),
    rows=dossiers(instants(datetime(2026, 1, 28), datetime(2026, 4, 12))),  # noqa: DTZ001
)
def test_any_pattern_of_days_off(
    pattern: list[bool], office: tuple[OfficeHours, time | None], rows: list[tuple[datetime, int, str]]
) -> None:
    first = date(2026, 1, 30)
    days = tuple(
        CalendarDay(day=first + timedelta(days=place), is_working=works, reason="x", source="x")
        for place, works in enumerate(pattern)
    )
    calendar = Calendar(days=days, office_hours=office[0], cut_off=office[1])
    connection = connect()
    calendar.define_macros(connection)
    agree(calendar, connection, rows)


@settings(max_examples=20)
@given(
    office=st.sampled_from(range(len(OFFICES))),
    a=instants(datetime(2025, 12, 20), datetime(2026, 3, 10)),  # noqa: DTZ001
    b=instants(datetime(2025, 12, 20), datetime(2026, 3, 10)),  # noqa: DTZ001
    seconds=st.integers(0, 100 * 3600),
)
def test_office_time_agrees_and_adds_up(office: int, a: datetime, b: datetime, seconds: int) -> None:
    calendar = national(office)
    between = calendar.office_seconds_between(a, b)
    assert between == walk_worked(calendar, a, b) // timedelta(seconds=1) - walk_worked(calendar, b, a) // timedelta(
        seconds=1
    )
    assert between == -calendar.office_seconds_between(b, a)
    later = calendar.add_office_seconds(a, seconds)
    assert later >= a
    assert calendar.office_seconds_between(a, later) == seconds
    assert seconds == 0 or calendar.office_seconds_between(a, later - MICROSECOND) == seconds - 1
    query = "SELECT office_seconds_between($a, $b), add_office_seconds($a, $seconds)"
    assert macros(office).sql(query, params={"a": a, "b": b, "seconds": seconds}).fetchall() == [(between, later)]


@given(received=instants(datetime(2024, 1, 1), datetime(2026, 12, 31)), quarters=QUARTERS, unit=UNITS)  # noqa: DTZ001
def test_a_longer_limit_never_ends_earlier(received: datetime, quarters: int, unit: str) -> None:
    value = quarters / 4 if unit != MONTHS else quarters / 16
    assert received < national().deadline(received, value, unit) <= national().deadline(received, value + 0.25, unit)
