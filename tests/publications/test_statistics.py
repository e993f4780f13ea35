"""The statistics table against a clerk's table worked by hand, and against day-by-day counting in plain Python.

The program counts with running sums of months; the second count here asks, for every dossier and period on its own,
where the dossier stood on the last day. Both read the same dates and share nothing else.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.publications.statistics import statistics, tabulate
from tests.rows import table_rows
from warehouse.lake import Lake, connect
from warehouse.tables import CORE_DOSSIER, CORE_PROCEDURE, CORE_SUPPLEMENT, CORE_UNIT
from warehouse.tables.statistic import OUT_STATISTIC, STATISTIC_COUNTS, UNKNOWN_SECTOR

CASES = Path(__file__).parent / "statistic_cases"
ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
OLD, NEW, OFFICE, PROVINCE = "H15.643.24118", "H15.24133", "H15.SNV", "H15"
REORGANISED = date(2025, 7, 1)
UNITS = {
    OLD: (None, date(2025, 6, 30), "commune"),
    NEW: (REORGANISED, None, "commune"),
    OFFICE: (None, None, "province"),
}
SECTORS = {"1.000001": "Nội vụ", "1.000002": "Hộ tịch"}
START, AS_OF = date(2025, 6, 1), datetime(2025, 8, 31, 17, tzinfo=UTC)


def at(text: str) -> datetime | None:
    """A moment that a clerk wrote in Vietnamese time."""
    return datetime.fromisoformat(text).replace(tzinfo=ZONE).astimezone(UTC) if text else None


def local_day(instant: datetime | None) -> date | None:
    return instant.astimezone(ZONE).date() if instant else None


def connection_with(dossiers: Iterable[Mapping[str, Any]], supplements: Iterable[Mapping[str, Any]]) -> Any:
    connection = connect()
    connection.register("core_dossier", table_rows(CORE_DOSSIER, *dossiers))
    connection.register("core_supplement", table_rows(CORE_SUPPLEMENT, *supplements))
    connection.register("core_unit", unit_rows())
    connection.register("core_procedure", procedure_rows())
    return connection


def unit_rows() -> pa.Table:
    rows = [
        {
            "unit_code": code,
            "valid_from": begins or date(1900, 1, 1),
            "valid_to": ends,
            "level": level,
            "parent_code": PROVINCE,
        }
        for code, (begins, ends, level) in UNITS.items()
    ]
    return table_rows(CORE_UNIT, *rows, {"unit_code": PROVINCE, "valid_from": date(1900, 1, 1), "level": "province"})


def procedure_rows() -> pa.Table:
    return table_rows(
        CORE_PROCEDURE,
        *({"procedure_code": code, "valid_from": date(1900, 1, 1), "sector": name} for code, name in SECTORS.items()),
    )


def clerk_dossiers() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The dossiers of ho-so.csv as rows of core_dossier and core_supplement."""
    dossiers, supplements = [], []
    for line in csv.DictReader((CASES / "ho-so.csv").open(encoding="utf-8")):
        asked = [request.split(">") for request in line["bổ sung"].split(";") if request]
        ended = at(line["kết thúc"])
        dossiers.append(
            {
                "dossier_key": line["hồ sơ"],
                "unit_code": line["đơn vị"],
                "unit_level": UNITS[line["đơn vị"]][2],
                "previous_unit_code": line["đơn vị cũ"] or None,
                "procedure_code": line["thủ tục"],
                "channel": line["kênh"],
                "status_code": int(line["trạng thái"]),
                "received_on": date.fromisoformat(line["tiếp nhận"]) if line["tiếp nhận"] else None,
                "deadline_at": at(line["hạn"]),
                "ended_at": ended,
                "ended_on": local_day(ended),
                "end_kind": line["kết thúc bằng"] or None,
                "supplement_count": len(asked),
            }
        )
        supplements += [
            {
                "dossier_key": line["hồ sơ"],
                "supplement_no": number,
                "requested_at": at(requested),
                "answered_at": at(answered),
            }
            for number, (requested, answered) in enumerate(asked, start=1)
        ]
    return dossiers, supplements


def period_name(period: str, start: date) -> str:
    """As the clerk writes it: 2025-06, 2025-Q2, 2025-H1, 2025."""
    return {
        "month": f"{start:%Y-%m}",
        "quarter": f"{start.year}-Q{(start.month + 2) // 3}",
        "half": f"{start.year}-H{(start.month + 5) // 6}",
        "year": f"{start.year}",
    }[period]


@pytest.fixture(scope="module")
def clerk_table() -> list[dict[str, Any]]:
    connection = connection_with(*clerk_dossiers())
    rows: list[dict[str, Any]] = tabulate(connection, province_code=PROVINCE, as_of=AS_OF, start_on=START).to_pylist()
    return rows


def expected_lines() -> list[dict[str, str]]:
    return list(csv.DictReader((CASES / "bieu.csv").open(encoding="utf-8")))


@pytest.mark.parametrize("line", expected_lines(), ids=lambda line: f"{line['kỳ']} {line['đơn vị']} {line['lĩnh vực']}")
def test_the_table_is_the_one_a_clerk_works_out_by_hand(
    clerk_table: list[dict[str, Any]], line: dict[str, str]
) -> None:
    scope = "province" if line["đơn vị"] == PROVINCE else "unit"
    found = [
        row
        for row in clerk_table
        if (row["scope"], row["unit_code"], row["sector"]) == (scope, line["đơn vị"], line["lĩnh vực"])
        and period_name(row["period"], row["period_start"]) == line["kỳ"]
    ]
    assert len(found) == 1
    expected = [int(value) for value in list(line.values())[3:]]
    assert {name: found[0][name] for name in STATISTIC_COUNTS} == dict(zip(STATISTIC_COUNTS, expected, strict=True))


def test_units_have_rows_only_while_they_exist_and_then_even_without_a_dossier(
    clerk_table: list[dict[str, Any]],
) -> None:
    rows = {
        (row["unit_code"], period_name(row["period"], row["period_start"]))
        for row in clerk_table
        if row["scope"] == "unit"
    }
    assert {period for unit, period in rows if unit == OLD} == {"2025-06", "2025-Q2", "2025-H1", "2025"}
    assert {period for unit, period in rows if unit == NEW} == {"2025-07", "2025-08", "2025-Q3", "2025-H2", "2025"}
    empty = tabulate(connection_with([], []), province_code=PROVINCE, as_of=AS_OF, start_on=START)
    assert {(row["scope"], row["received_total"]) for row in empty.to_pylist()} == {
        ("unit", 0),
        ("level", 0),
        ("province", 0),
    }


def test_an_instant_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no zone"):
        tabulate(connection_with([], []), province_code=PROVINCE, as_of=datetime(2025, 9, 1), start_on=START)  # noqa: DTZ001


def test_the_lake_gives_the_same_table(tmp_path: Path) -> None:
    dossiers, supplements = clerk_dossiers()
    lake = Lake(str(tmp_path))
    lake.replace(CORE_DOSSIER, table_rows(CORE_DOSSIER, *dossiers))
    lake.replace(CORE_SUPPLEMENT, table_rows(CORE_SUPPLEMENT, *supplements))
    lake.replace(CORE_UNIT, unit_rows())
    lake.replace(CORE_PROCEDURE, procedure_rows())
    whole = statistics(lake, province_code=PROVINCE, as_of=AS_OF, start_on=START)
    connection = connection_with(dossiers, supplements)
    assert whole.equals(tabulate(connection, province_code=PROVINCE, as_of=AS_OF, start_on=START))
    assert whole.schema.equals(OUT_STATISTIC.arrow_schema())


# ---- the second count -------------------------------------------------------------------------------------------

FIRST, LAST = date(2025, 3, 1), date(2025, 12, 31)
CLOSED = datetime(2025, 11, 20, 17, tzinfo=UTC)  # 21 November, midnight in Vietnam
ENDS = {9: "processed", 10: "returned", 8: "stopped", 3: "denied", 7: "withdrawn"}


@dataclass(frozen=True)
class Case:
    """One dossier as a test draws it, all times at noon in Vietnam but the deadline's."""

    number: int
    office: bool
    sector: str
    channel: str
    status: int
    received: date
    deadline: datetime | None
    ended: date | None
    waits: tuple[tuple[date, date | None], ...]

    @property
    def ended_at(self) -> datetime | None:
        return datetime.combine(self.ended, time(12), ZONE).astimezone(UTC) if self.ended else None

    def unit_on(self, day: date) -> str:
        """Who had it on a day."""
        if self.office:
            return OFFICE
        return OLD if day < REORGANISED else NEW

    @property
    def rows(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        until = self.ended or LAST
        unit = self.unit_on(max(until, self.received))
        before = self.unit_on(self.received)
        open_request = self.status == 5 and self.waits and self.waits[-1][1] is None
        ended_at = self.ended_at if self.status != 5 else None
        if open_request:
            ended_at = datetime.combine(self.waits[-1][0], time(12), ZONE).astimezone(UTC)
        return {
            "dossier_key": f"d{self.number}",
            "unit_code": unit,
            "unit_level": UNITS[unit][2],
            "previous_unit_code": before if before != unit else None,
            "procedure_code": self.sector,
            "channel": self.channel,
            "status_code": self.status,
            "received_on": self.received,
            "deadline_at": self.deadline,
            "ended_at": ended_at,
            "ended_on": local_day(ended_at),
            "end_kind": "waiting" if open_request else ENDS[self.status] if self.ended else None,
            "supplement_count": len(self.waits),
        }, [
            {
                "dossier_key": f"d{self.number}",
                "supplement_no": number,
                "requested_at": datetime.combine(asked, time(12), ZONE).astimezone(UTC),
                "answered_at": datetime.combine(answered, time(12), ZONE).astimezone(UTC) if answered else None,
            }
            for number, (asked, answered) in enumerate(self.waits, start=1)
        ]


@st.composite
def cases(draw: st.DrawFn) -> list[Case]:
    count = draw(st.integers(1, 25))
    return [_case(draw, number) for number in range(count)]


def _case(draw: st.DrawFn, number: int) -> Case:
    received = draw(st.dates(date(2025, 1, 15), date(2025, 11, 20)))
    status = draw(st.sampled_from([2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10]))
    ended = None
    if status in ENDS and draw(st.integers(0, 5)):
        ended = min(received + timedelta(draw(st.integers(0, 120))), date(2025, 11, 20))
    deadline = draw(st.none() | st.integers(0, 90))
    when = None
    if deadline is not None:
        hour = draw(st.sampled_from([0, 11, 17, 23]))
        when = datetime.combine(received + timedelta(deadline), time(hour), ZONE).astimezone(UTC)
    asked = received + timedelta(draw(st.integers(0, 40)))
    waits: list[tuple[date, date | None]] = [
        (asked, asked + timedelta(draw(st.integers(0, 60)))) for _ in range(draw(st.integers(0, 2)))
    ]
    if draw(st.booleans()) and asked <= date(2025, 11, 20):
        waits.append((asked, None))
    return Case(
        number=number,
        office=draw(st.booleans()),
        sector=draw(st.sampled_from(["1.000001", "1.000002", "9.999999"])),
        channel=draw(st.sampled_from(["online", "direct", "post"])),
        status=status,
        received=received,
        deadline=when,
        ended=ended,
        waits=tuple(waits),
    )


def periods() -> Iterator[tuple[str, date, date]]:
    """Kind, first and last day; the first ones begin and the last ones end within the year."""
    for kind, months in (("month", 1), ("quarter", 3), ("half", 6), ("year", 12)):
        for first in range(1, 13, months):
            start = date(2025, first, 1)
            following = date(2026, 1, 1) if first + months > 12 else date(2025, first + months, 1)
            if following > FIRST and start <= date(2025, 11, 20):
                yield kind, start, following - timedelta(1)


def stands(case: Case, day: date, closing: datetime, *, is_now: bool) -> str | None:
    """Where an open dossier stands at the end of `day`."""
    if is_now:
        waits = {5: "waiting_supplement", 6: "waiting_payment"}.get(case.status)
    else:
        held = [
            asked <= day and (answered > day if answered else case.status == 5 and (asked, answered) == case.waits[-1])
            for asked, answered in case.waits
        ]
        waits = "waiting_supplement" if any(held) else None
    if waits:
        return waits
    return "in_process_overdue" if case.deadline and case.deadline < closing else "in_process_in_time"


def outcome(case: Case) -> str:
    kind = ENDS[case.status]
    if kind not in ("processed", "returned"):
        return kind
    ended_at, deadline_day = case.ended_at, local_day(case.deadline)
    assert ended_at
    assert case.ended
    if case.deadline is None or deadline_day is None:
        return "resolved_on_time"
    if case.ended < deadline_day:
        return "resolved_early"
    return "resolved_on_time" if ended_at <= case.deadline else "resolved_late"


def counted_by_day(case: Case, unit: str | None, first: date, last: date) -> Counter[str]:
    """What one dossier adds to the row of `unit` (None: the whole province) in a period."""
    found: Counter[str] = Counter()
    running = last >= date(2025, 11, 20)
    closing_day = min(last, date(2025, 11, 20))
    closing = CLOSED if running else datetime.combine(last + timedelta(1), time(0), ZONE)
    first = max(first, FIRST)
    ended = case.ended
    has_moved = not case.office and case.received < REORGANISED and (ended is None or ended >= REORGANISED)

    def mine(day: date) -> bool:
        return unit is None or case.unit_on(day) == unit

    if first <= case.received <= last and mine(case.received):
        found[f"received_{case.channel}"] += 1
    if case.received < first and (ended is None or ended >= first) and mine(first):
        found["carried_over"] += 1
    if has_moved and first < REORGANISED <= last:
        found["transferred_out"] += mine(REORGANISED - timedelta(1))
        found["transferred_in"] += mine(REORGANISED)
    if ended and first <= ended <= last and mine(ended):
        found[outcome(case)] += 1
        if outcome(case) in ("resolved_early", "resolved_on_time") and len(case.waits) > 1:
            found["resolved_supplemented_again"] += 1
    if case.received <= closing_day and (ended is None or ended > closing_day) and mine(closing_day):
        stand = stands(case, closing_day, closing, is_now=running)
        assert stand
        found[stand] += 1
        if case.status in ENDS and ended is None and stand.startswith("in_process"):
            found["in_process_undated_end"] += 1
    found["received_total"] = (
        sum(found[f"received_{kind}"] for kind in ("online", "direct", "post")) + found["carried_over"]
    )
    found["resolved_total"] = sum(found[f"resolved_{kind}"] for kind in ("early", "on_time", "late"))
    found["in_process_total"] = found["in_process_in_time"] + found["in_process_overdue"]
    return found


@settings(max_examples=8, deadline=None)
@given(cases())
def test_running_sums_agree_with_counting_day_by_day(drawn: list[Case]) -> None:
    rows = counted(drawn)
    for kind, first, last in periods():
        for unit in (None, OFFICE, NEW, OLD):
            for sector in ("", "1.000001", "9.999999"):
                mine = [case for case in drawn if sector in ("", case.sector)]
                expected: Counter[str] = sum((counted_by_day(case, unit, first, last) for case in mine), Counter())
                name = SECTORS.get(sector, UNKNOWN_SECTOR) if sector else ""
                row = rows.get(("unit" if unit else "province", unit or PROVINCE, name, kind, first), {})
                found = {name: row.get(name, 0) for name in STATISTIC_COUNTS}
                assert found == {name: expected[name] for name in STATISTIC_COUNTS}, (kind, first, unit, sector)


def counted(drawn: list[Case]) -> dict[tuple[str, str, str, str, date], dict[str, Any]]:
    dossiers = [case.rows[0] for case in drawn]
    supplements = [row for case in drawn for row in case.rows[1]]
    table = tabulate(connection_with(dossiers, supplements), province_code=PROVINCE, as_of=CLOSED, start_on=FIRST)
    key = ("scope", "unit_code", "sector", "period", "period_start")
    rows = [row for row in table.to_pylist() if row["scope"] != "level"]
    assert len(rows) == len({tuple(row[name] for name in key) for row in rows})
    return {tuple(row[name] for name in key): row for row in rows}


@settings(max_examples=8, deadline=None)
@given(cases())
def test_every_identity_closes(drawn: list[Case]) -> None:
    dossiers = [case.rows[0] for case in drawn]
    supplements = [row for case in drawn for row in case.rows[1]]
    table = tabulate(connection_with(dossiers, supplements), province_code=PROVINCE, as_of=CLOSED, start_on=FIRST)
    rows = table.to_pylist()
    for row in rows:
        assert min(row[name] for name in STATISTIC_COUNTS) >= 0
        assert row["received_total"] + row["transferred_in"] == sum(
            row[name]
            for name in (
                "resolved_total",
                "in_process_total",
                "waiting_supplement",
                "waiting_payment",
                "stopped",
                "denied",
                "withdrawn",
                "transferred_out",
            )
        )
    assert_adds_up(rows)
    assert_stock_is_handed_on(rows)


def assert_adds_up(rows: list[dict[str, Any]]) -> None:
    """Units make levels, levels the province, sectors the unit, months the flows of every longer period."""
    sums: dict[tuple[Any, ...], Counter[str]] = {}

    def add(to: tuple[Any, ...], row: Mapping[str, Any]) -> None:
        sums.setdefault(to, Counter()).update({name: row[name] for name in STATISTIC_COUNTS})

    for row in rows:
        when = (row["period"], row["period_start"])
        if row["scope"] == "unit":
            add(("level", row["level"], PROVINCE, row["breakdown"], row["sector"], *when), row)
        if row["scope"] == "level":
            add(("province", "all", PROVINCE, row["breakdown"], row["sector"], *when), row)
        if row["breakdown"] == "sector":
            add((row["scope"], row["level"], row["unit_code"], "all", "", *when, "by sector"), row)
    by_key = {tuple(row[name] for name in OUT_STATISTIC.key): row for row in rows}
    for key, total in sums.items():
        row = by_key[key[:7]]
        assert {name: row[name] for name in STATISTIC_COUNTS} == {name: total[name] for name in STATISTIC_COUNTS}, key


def assert_stock_is_handed_on(rows: list[dict[str, Any]]) -> None:
    """What is carried over into a month is what the month before left open; across the reorganisation, in sum."""
    months = {
        (row["scope"], row["unit_code"], row["sector"], row["period_start"]): row
        for row in rows
        if row["period"] == "month" and row["scope"] != "level"
    }
    for (scope, unit, sector, start), row in months.items():
        before = months.get((scope, unit, sector, (start - timedelta(1)).replace(day=1)))
        if start == FIRST or (start == REORGANISED and scope == "unit" and unit != OFFICE):
            continue
        left = (
            sum(before[name] for name in ("in_process_total", "waiting_supplement", "waiting_payment")) if before else 0
        )
        assert row["carried_over"] == left, (scope, unit, sector, start)
