"""Which days a night covers, at the instant the daemon asks: the schedule itself is evaluated, on a real database."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest

from orchestration.build import build
from orchestration.partitions import days_to_extract, yesterday
from orchestration.settings import Home, Province, load_province
from warehouse.database import Database

PROVINCE = Path(__file__).parents[2] / "provinces" / "dak-lak.yaml"
START = date(2024, 1, 1)
RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def _day(text: str) -> date:
    return date.fromisoformat(text)


@pytest.mark.parametrize(
    ("now", "day"),
    [
        # 01:00 in Vietnam is 18:00 UTC of the day before: the UTC date would be a day behind.
        (datetime(2026, 10, 31, 18, 0, tzinfo=UTC), "2026-10-31"),
        (datetime(2026, 10, 31, 16, 59, tzinfo=UTC), "2026-10-30"),
        (datetime(2026, 10, 31, 17, 0, tzinfo=UTC), "2026-10-31"),
    ],
)
def test_yesterday_is_vietnams(now: datetime, day: str) -> None:
    assert yesterday(now) == _day(day)


@pytest.mark.parametrize(
    ("until", "days"),
    [
        (None, ("2024-01-01", "2026-10-31")),  # first night: everything
        ("2026-10-31T00:00+07:00", ("2026-10-31", "2026-10-31")),  # the usual night
        ("2026-10-28T00:00+07:00", ("2026-10-28", "2026-10-31")),  # three nights failed
        ("2026-10-30T23:50+07:00", ("2026-10-30", "2026-10-31")),  # a day read but for its last minutes
        ("2026-11-01T00:00+07:00", ("2026-10-31", "2026-10-31")),  # done already: once more
        ("2026-11-20T00:00+07:00", ("2026-10-31", "2026-10-31")),  # the clock was set back
    ],
)
def test_no_day_is_left_out(until: str | None, days: tuple[str, str]) -> None:
    instant = datetime.fromisoformat(until) if until else None
    found = days_to_extract(instant, start_on=START, last=_day("2026-10-31"))
    assert found == (_day(days[0]), _day(days[1]))


@pytest.fixture
def province(home: Home) -> Province:
    return load_province(PROVINCE, home=home)


def _tick(home: Home, province: Province, at: datetime) -> dg.RunRequest:
    repository = build(home=home, province=province).get_repository_def()
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(instance=instance, scheduled_execution_time=at, repository_def=repository)
        (request,) = repository.get_schedule_def("nightly").evaluate_tick(context).run_requests or ()
    return request


def _extracted(home: Home, sources: Iterable[str], until: str, *, night: str = "n1") -> None:
    """A night that read nothing, but read it to `until`."""
    window = (datetime(2024, 1, 1, tzinfo=UTC), datetime.fromisoformat(until))
    none = {"rows_read": 0, "rows_stored": 0, "rows_unchanged": 0, "rows_quarantined": 0}
    for source in sources:
        Database.open(home.database_url).record_counts(night, stage="extract", source=source, window=window, **none)


def test_the_tick_of_one_oclock_asks_for_the_day_before(home: Home, province: Province) -> None:
    _extracted(home, province.sources, "2026-11-01T00:00+07:00")
    request = _tick(home, province, datetime(2026, 11, 1, 18, 0, tzinfo=UTC))  # 01:00 on 2 November in Vietnam
    assert request.partition_key == "2026-11-01"


def test_a_tick_after_missed_nights_asks_for_all_their_days(home: Home, province: Province) -> None:
    _extracted(home, province.sources, "2026-10-28T00:00+07:00")
    request = _tick(home, province, datetime(2026, 11, 1, 18, 0, tzinfo=UTC))
    assert request.partition_key is None
    assert [request.tags[name] for name in RANGE] == ["2026-10-28", "2026-11-01"]


def test_the_first_tick_asks_for_everything(home: Home, province: Province) -> None:
    request = _tick(home, province, datetime(2026, 11, 1, 18, 0, tzinfo=UTC))
    assert [request.tags[name] for name in RANGE] == ["2024-01-01", "2026-11-01"]


def test_the_slowest_source_decides_how_far_the_night_before_came(home: Home, province: Province) -> None:
    _extracted(home, province.sources, "2026-11-01T00:00+07:00")
    _extracted(home, ["portal"], "2026-11-02T00:00+07:00", night="n2")
    request = _tick(home, province, datetime(2026, 11, 2, 18, 0, tzinfo=UTC))
    assert [request.tags[name] for name in RANGE] == ["2026-11-01", "2026-11-02"]
