"""When each invented dossier ended and was due, worked out once more dossier by dossier, in plain Python.

At this level, because the product's deadlines are compared with these: a slow walk over days and half-days,
that a reader can follow with a calendar at hand, must reach what the truth's columns say.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any

import pytest

from sandbox.calendar import working_calendar
from sandbox.population import DEFAULT_CLOCK, NEVER, Population, build_population, seconds, split_communes
from sandbox.territory import territory

VIETNAM = timezone(timedelta(hours=7))
EPOCH = date(1970, 1, 1)
CLOCK = seconds(DEFAULT_CLOCK)
WORKING = frozenset(EPOCH + timedelta(days=int(day)) for day in working_calendar().days)
SITTINGS = ((time(7, 30), time(11, 30)), (time(13), time(17)))
Row = dict[str, Any]


@pytest.fixture(scope="module")
def population() -> Population:
    """Enough dossiers for every rare case."""
    return build_population(20_000)


@pytest.fixture(scope="module")
def rows(population: Population) -> list[Row]:
    """The truth at the default clock, each row with the requests for supplements that the log tells."""
    shown = [row for row, seen in enumerate(population.whole("submitted") <= CLOCK) if seen]
    truth: list[Row] = population.truth(DEFAULT_CLOCK)["dossier"].to_pylist()
    assert len(truth) == len(shown)
    for number, row in zip(shown, truth, strict=True):
        row["requests"] = list(_requests(population, number)) if row["in_messages"] else []
        row["promised"] = None if row["requests"] == [] else _when(population, "due0", number)
        row["number"] = number
    return truth


def _when(population: Population, name: str, number: int) -> datetime | None:
    at = int(population.whole(name)[number])
    return datetime.fromtimestamp(at, UTC) if at < NEVER else None


def _requests(population: Population, number: int) -> Iterator[tuple[datetime, datetime | None]]:
    for place in ("1", "2"):
        asked, answered = (_when(population, f"{name}{place}", number) for name in ("asked", "answered"))
        if asked and asked <= DEFAULT_CLOCK:
            yield asked, answered if answered and answered <= DEFAULT_CLOCK else None


def _end(row: Row) -> tuple[datetime | None, str | None]:
    """Indicators 2.2 as a clerk would apply it; only what was received can end."""
    if row["received_at"] is None:
        return None, None
    status, completed = row["status_code"], row["completed_at"]
    unanswered = [asked for asked, answered in row["requests"] if answered is None]
    found = {
        3: (row["denied_at"] or completed, "denied"),
        5: (unanswered[-1] if unanswered else None, "waiting"),
        7: (completed, "withdrawn"),
        8: (completed, "stopped"),
        9: (completed or row["returned_at"], "processed" if completed else "returned"),
        10: (completed or row["returned_at"], "processed" if completed else "returned"),
    }.get(status, (None, None))
    return found if found[0] else (None, None)


def test_processing_ended_as_the_status_says(rows: list[Row]) -> None:
    kinds = set()
    for row in rows:
        assert (row["ended_at"], row["end_kind"]) == _end(row), row
        kinds.add(row["end_kind"])
    assert kinds == {"processed", "returned", "stopped", "denied", "withdrawn", "waiting", None}
    assert any(row["status_code"] == 4 and row["completed_at"] for row in rows), "no reopened one keeps its end"
    assert any(row["end_kind"] == "denied" and not row["denied_at"] for row in rows), "no refusal without its message"
    assert any(row["status_code"] == 5 and not row["ended_at"] for row in rows), "no waiting without its message"


def _next_working(day: date) -> date:
    while day not in WORKING:
        day += timedelta(days=1)
    return day


def _after_working_days(day: date, count: int) -> date:
    day = _next_working(day)
    for _ in range(count):
        day = _next_working(day + timedelta(days=1))
    return day


def _after_office_time(start: datetime, worked: timedelta) -> datetime:
    day, local = start.astimezone(VIETNAM).date(), start.astimezone(VIETNAM)
    while True:
        for opening, closing in SITTINGS if day in WORKING else ():
            first = max(local, datetime.combine(day, opening, VIETNAM))
            last = datetime.combine(day, closing, VIETNAM)
            if last - first >= worked:
                return first + worked
            worked -= max(last - first, timedelta())
        day += timedelta(days=1)


def _months_later(day: date, months: int) -> date:
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    for number in range(day.day, 0, -1):
        try:
            return date(year, month + 1, number)
        except ValueError:
            continue
    raise AssertionError(day)


def _local(at: datetime) -> date:
    return at.astimezone(VIETNAM).date()


def _working_days_between(first: date, last: date) -> int:
    return sum(first + timedelta(days=number) in WORKING for number in range(1, (last - first).days + 1))


def _limit(row: Row, value: int, unit: str) -> datetime:
    """Civil Code 2015, Articles 147 and 148, then moved by the waiting."""
    answered = [(asked, back) for asked, back in row["requests"] if back]
    received = _local(row["received_at"])
    if unit == "Giờ":
        waited = sum((back - asked for asked, back in answered), timedelta())
        return _after_office_time(row["received_at"], timedelta(hours=value)) + waited
    if unit == "Ngày làm việc":
        waited_days = sum(_working_days_between(_local(asked), _local(back)) for asked, back in answered)
        return datetime.combine(_after_working_days(received, value + waited_days), time(17), VIETNAM)
    last = _next_working(received + timedelta(days=value) if unit == "Ngày" else _months_later(received, value))
    last += timedelta(days=sum((_local(back) - _local(asked)).days for asked, back in answered))
    return datetime.combine(last, time.max, VIETNAM)


def test_deadlines_are_promises_or_limits_moved_by_the_waiting(population: Population, rows: list[Row]) -> None:
    table = territory().procedures.set_index("procedure_code")
    limits = dict(zip(table.index, zip(table.limit_value, table.limit_unit, strict=True), strict=True))
    untold = population.flag("untold_due")
    seen = set()
    for row in rows:
        waited = sum((back - asked for asked, back in row["requests"] if back), timedelta())
        # The promise before the request stands while the waiting is known or goes on; else the one in force does.
        told = row["promised"] if not untold[row["number"]] and (waited or row["status_code"] == 5) else None
        promise = told or row["due_at"]
        value, unit = limits[row["procedure_code"]]
        if promise:
            # A promise made after the waiting holds it already.
            expected = "promise", promise + waited if told or not row["requests"] else promise
        elif value and row["received_at"]:
            expected = "limit", _limit(row, int(value), unit)
            seen.add((unit, any(back for _, back in row["requests"])))
        else:
            expected = "none", None
        assert (row["deadline_basis"], row["deadline_at"]) == expected, row
    assert seen >= {(unit, False) for unit in ("Giờ", "Ngày", "Ngày làm việc", "Tháng")}
    assert seen >= {(unit, True) for unit in ("Giờ", "Ngày", "Ngày làm việc")}
    assert any(row["deadline_basis"] == "none" and row["received_at"] for row in rows)


def test_reception_is_due_after_eight_office_hours(rows: list[Row]) -> None:
    for row in rows[::7]:
        assert row["reception_due_at"] == _after_office_time(row["submitted_at"], timedelta(hours=8)), row
    late = [row for row in rows if row["received_at"] and row["received_at"] > row["reception_due_at"]]
    assert 0 < len(late) < len(rows) / 10


def test_some_come_before_tet_and_on_make_up_saturdays(rows: list[Row]) -> None:
    local = [row["submitted_at"].astimezone(VIETNAM) for row in rows]
    eves = {date(2024, 2, 7), date(2025, 1, 24), date(2026, 2, 13)}
    assert sum(at.date() in eves and at.hour >= 14 for at in local) > 20
    saturdays = {at.date() for at in local if at.date().weekday() == 5 and at.date() in WORKING and at.hour < 17}
    assert saturdays == {date(2024, 5, 4), date(2025, 4, 26), date(2026, 1, 10), date(2026, 8, 22)}


def test_a_unit_that_is_no_more_is_carried_only_where_nothing_is_in_doubt(
    population: Population, rows: list[Row]
) -> None:
    """The code tells who received it; who took over is known for whole communes only."""
    place, named = territory(), population.flag("still_named")
    seen = set()
    for row in rows:
        if not named[row["number"]]:
            continue
        old = place.units[int(population.whole("unit0")[row["number"]])]
        kind = "split" if old.code in split_communes() else old.level
        seen.add(kind)
        assert row["reception_unit_code"] == old.code
        carried = kind == "commune"
        assert (row["unit_code"] != old.code) == carried
        assert row["previous_unit_code"] == (old.code if carried else None)
    assert seen == {"commune", "split", "district"}
    # Xã Ea D'Rơng of Cư M'gar and Xã Ea BHốk of Cư Kuin.
    assert split_communes() == {"H15.648.24292", "H15.657.24550"}
