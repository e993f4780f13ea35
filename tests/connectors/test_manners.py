"""When a source may be called and how many calls it is given: worked by hand, and for any answers at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from connectors.manners import ZONE, CallingHours, Concurrency
from connectors.settings import HttpManners


def at(clock: str, *, day: int = 2) -> datetime:
    hour, minute, second = (int(part) for part in (clock + ":00").split(":")[:3])
    return datetime(2026, 11, day, hour, minute, second, tzinfo=ZONE)


@pytest.mark.parametrize(
    ("spans", "clock", "wait"),
    [
        ((), "12:00", "0:00"),
        (("19:00-06:00",), "18:59:59", "0:00:01"),
        (("19:00-06:00",), "19:00", "0:00"),
        (("19:00-06:00",), "23:59:59", "0:00"),
        (("19:00-06:00",), "00:00", "0:00"),
        (("19:00-06:00",), "05:59:59", "0:00"),
        (("19:00-06:00",), "06:00", "13:00"),
        (("08:00-09:30",), "09:29:59", "0:00"),
        (("08:00-09:30",), "09:30", "22:30"),
        (("11:30-13:00", "17:00-24:00"), "12:00", "0:00"),
        (("11:30-13:00", "17:00-24:00"), "13:00", "4:00"),
        (("11:30-13:00", "17:00-24:00"), "23:59:59", "0:00"),
        (("11:30-13:00", "17:00-24:00"), "00:00", "11:30"),
        (("00:00-24:00",), "00:00", "0:00"),
        (("22:00-00:00",), "00:00", "22:00"),
    ],
)
def test_the_wait_until_a_source_may_be_called(spans: tuple[str, ...], clock: str, wait: str) -> None:
    hours, minutes, seconds = (int(part) for part in (wait + ":00").split(":")[:3])
    assert CallingHours.of(spans).wait(at(clock)) == timedelta(hours=hours, minutes=minutes, seconds=seconds)


def test_hours_are_vietnams_whatever_zone_the_clock_is_in() -> None:
    # 12:30 UTC is 19:30 in Vietnam.
    assert CallingHours.of(["19:00-06:00"]).wait(datetime(2026, 11, 2, 12, 30, tzinfo=UTC)) == timedelta()
    assert CallingHours.of(["19:00-06:00"]).wait(datetime(2026, 11, 2, 11, 0, tzinfo=UTC)) == timedelta(hours=1)


@given(
    st.integers(0, 1439),
    st.integers(0, 1439),
    st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)),  # noqa: DTZ001  given its zone below
)
def test_after_the_wait_a_source_may_be_called(begin: int, end: int, now: datetime) -> None:
    if begin == end:
        return
    hours = CallingHours.of([f"{begin // 60:02d}:{begin % 60:02d}-{end // 60:02d}:{end % 60:02d}"])
    here = now.replace(tzinfo=ZONE)
    wait = hours.wait(here)
    assert timedelta() <= wait < timedelta(days=1)
    assert hours.wait(here + wait) == timedelta()
    minute = here.hour * 60 + here.minute
    inside = begin <= minute < end if begin < end else minute >= begin or minute < end
    assert (wait == timedelta()) == inside


@pytest.mark.parametrize("text", ["19-06", "7:00-8:00", "24:00-06:00", "19:60-20:00", "05:00-05:00", "", "19:00–06:00"])
def test_hours_that_cannot_be_read_are_refused_by_key(text: str) -> None:
    with pytest.raises(ValidationError, match="calling_hours"):
        HttpManners.model_validate({"calling_hours": [text]})


def test_hours_are_shown_as_they_are_written() -> None:
    assert (
        str(CallingHours.of(["19:00-06:00", "11:30-12:00", "22:00-24:00"])) == "19:00-06:00, 11:30-12:00, 22:00-24:00"
    )


class Server:
    """Answers as a queue does: as many at once as it has workers, the rest wait; no clock."""

    def __init__(self, *, workers: int, seconds: float) -> None:
        self.workers, self.seconds = workers, seconds

    def latency(self, under_way: int) -> float:
        return self.seconds * max(1.0, under_way / self.workers)


def limits(server: Server, concurrency: Concurrency, answers: int) -> list[int]:
    return [
        concurrency.observe(server.latency(concurrency.limit), ok=True, under_way=concurrency.limit)
        for _ in range(answers)
    ]


def test_a_server_that_bears_it_gets_the_ceiling_within_a_few_answers() -> None:
    concurrency = Concurrency(8)
    seen = limits(Server(workers=8, seconds=1.0), concurrency, 200)
    # Three answers at each of 1 and 2, four at 4.
    assert seen.index(8) == 9
    assert set(seen[9:]) == {8}


def test_a_server_with_two_workers_is_kept_busy_without_a_long_queue() -> None:
    seen = limits(Server(workers=2, seconds=1.0), Concurrency(32), 2000)[200:]
    # Twice the baseline is reached with four under way; fewer than two would leave a worker idle.
    assert min(seen) >= 2
    assert max(seen) <= 5


def test_a_quick_server_is_not_slowed_down_for_milliseconds() -> None:
    assert limits(Server(workers=1, seconds=0.002), Concurrency(16), 500)[-1] == 16


def test_a_refusal_halves_once_for_all_calls_of_one_volley() -> None:
    concurrency = Concurrency(8)
    limits(Server(workers=8, seconds=1.0), concurrency, 100)
    volley = [concurrency.observe(0.01, ok=False, under_way=8) for _ in range(8)]
    assert volley == [4] * 8
    assert concurrency.observe(0.01, ok=False, under_way=4) == 2


def test_long_answers_are_not_held_against_short_ones() -> None:
    concurrency = Concurrency(8)
    for _ in range(300):
        concurrency.observe(0.01, ok=True, kind="list", size=30, under_way=8)
        concurrency.observe(2.0, ok=True, kind="list", size=900_000, under_way=8)
    assert concurrency.limit == 8


def test_a_source_that_has_become_slow_by_itself_is_believed_after_a_while() -> None:
    concurrency = Concurrency(8)
    limits(Server(workers=8, seconds=0.2), concurrency, 100)
    seen = limits(Server(workers=8, seconds=2.0), concurrency, 300)
    assert min(seen) == 1
    assert seen[-1] == 8


def test_a_limit_that_is_not_used_is_not_raised() -> None:
    concurrency = Concurrency(8)
    assert {concurrency.observe(0.2, ok=True, under_way=1) for _ in range(100)} == {1, 2}


ANSWERS = st.lists(
    st.tuples(
        st.floats(0, 1e4, allow_nan=False), st.booleans(), st.sampled_from(["a", "b", "c"]), st.integers(0, 10**7)
    ),
    max_size=200,
)


@given(st.integers(1, 64), ANSWERS)
def test_never_fewer_than_one_nor_more_than_agreed_and_it_recovers(
    ceiling: int, answers: list[tuple[float, bool, str, int]]
) -> None:
    concurrency, same = Concurrency(ceiling), Concurrency(ceiling)
    for latency, ok, kind, size in answers:
        limit = concurrency.observe(latency, ok, kind=kind, size=size)
        assert 1 <= limit <= ceiling
        assert limit == same.observe(latency, ok, kind=kind, size=size)
    # From here on all is well: what the source takes does not depend on us.
    for _ in range(ceiling * (ceiling + 10) + 500):
        concurrency.observe(1.0, ok=True, kind="a", size=100)
    assert concurrency.limit == ceiling
