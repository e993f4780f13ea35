"""The evaluator through its public door: a real lake, hand-made dossiers, counts worked out by hand;
and the identities that must hold whatever the dossiers are.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.indicators.definitions import FOLDER, Definition, load_definition, load_definitions
from assets.indicators.evaluate import counting_statement, evaluate, roll_up
from tests.rows import table_rows
from warehouse.lake import Lake, connect
from warehouse.tables import CORE_DOSSIER, CORE_PAYMENT, CORE_SUCCESSION, CORE_UNIT, OUT_INDICATOR, PERIODS

OLD, NEW = {"valid_to": date(2025, 6, 30)}, {"valid_from": date(2025, 7, 1)}


def _unit(code: str, level: str, **facts: Any) -> dict[str, Any]:
    return {"unit_code": code, "valid_from": date(1900, 1, 1), "level": level, "parent_code": "H15"} | facts


UNITS = table_rows(
    CORE_UNIT,
    _unit("H15", "province", parent_code=None, province_code="H15"),
    _unit("H15.SNV", "province"),
    _unit("H15.643", "district", **OLD),
    *(_unit(f"H15.643.{code}", "commune", **OLD) for code in ("24118", "24121", "24292")),
    *(_unit(f"H15.{code}", "commune", **NEW) for code in ("24121", "24133", "24301", "24328")),
)
#: Phường Tân Lập and phường Tân Hòa became one; the code 24121 meant Tân Hòa before and means all of it now. Nobody
#: says how much of Ea D'Rơng went where.
SUCCESSION = table_rows(
    CORE_SUCCESSION,
    {"unit_code": "H15.643.24118", "successor_code": "H15.24121"},
    {"unit_code": "H15.643.24121", "successor_code": "H15.24121"},
    {"unit_code": "H15.643.24292", "successor_code": "H15.24301", "is_split": True},
    {"unit_code": "H15.643.24292", "successor_code": "H15.24328", "is_split": True},
)
#: The whole of November 2025 in Vietnam is over.
AS_OF = datetime(2025, 11, 30, 17, tzinfo=UTC)
Key = tuple[str, str, str, str, str]


@cache
def _definitions() -> tuple[Definition, ...]:
    return load_definitions()


def _dossier(key: str, unit: str, level: str, received_on: date, **facts: Any) -> dict[str, Any]:
    return {
        "dossier_key": key,
        "lake_month": f"{received_on:%Y-%m}",
        "unit_code": unit,
        "unit_level": level,
        "received_on": received_on,
        "is_received": True,
        "status_code": 4,
    } | facts


def _lake(folder: Path, dossiers: list[dict[str, Any]], payments: list[dict[str, Any]] | None = None) -> Lake:
    lake = Lake(str(folder))
    lake.replace(CORE_UNIT, UNITS)
    lake.replace(CORE_SUCCESSION, SUCCESSION)
    lake.replace(CORE_DOSSIER, table_rows(CORE_DOSSIER, *dossiers))
    lake.replace(CORE_PAYMENT, table_rows(CORE_PAYMENT, *(payments or [])))
    return lake


def _counts(
    rows: Sequence[dict[str, Any]], indicator: str, version: str, boundaries: str = "then"
) -> dict[Key, tuple[int, int]]:
    return {
        (row["scope"], row["level"], row["unit_code"], row["period"], str(row["period_start"])): (
            row["numerator"],
            row["denominator"],
        )
        for row in rows
        if (row["indicator"], row["version"], row["boundaries"]) == (indicator, version, boundaries)
    }


def _evaluated(lake: Lake, start_on: date = date(2025, 5, 1), as_of: datetime = AS_OF) -> list[dict[str, Any]]:
    rows = evaluate(lake, _definitions(), province_code="H15", as_of=as_of, start_on=start_on)
    content: list[dict[str, Any]] = rows.to_pylist()
    return content


def test_online_processing_by_both_rules_over_the_reorganisation(tmp_path: Path) -> None:
    """Six dossiers of 2025. National rule 3.3: online and, where a document is due, an electronic
    result; over all received. Vendor's: online over direct + online.
    """
    needs = {"is_result_required": True}
    lake = _lake(
        tmp_path,
        [
            # district, May: online with e-result (counts in both), online without (vendor only)
            _dossier(
                "a", "H15.643", "district", date(2025, 5, 31), channel="online", has_electronic_result=True, **needs
            ),
            _dossier("b", "H15.643", "district", date(2025, 5, 2), channel="online", **needs),
            # commune, July: online, no document due (both); by post (never online, not in vendor's denominator)
            _dossier("c", "H15.24133", "commune", date(2025, 7, 1), channel="online"),
            _dossier("d", "H15.24133", "commune", date(2025, 7, 31), channel="post"),
            # department, July: direct; and one not received at all (denied)
            _dossier("e", "H15.SNV", "province", date(2025, 7, 15), channel="direct"),
            _dossier("f", "H15.SNV", "province", date(2025, 7, 15), channel="online", is_received=False, status_code=3),
        ],
    )
    rows = _evaluated(lake)
    national = _counts(rows, "online-processing", "766-3.3")
    vendor = _counts(rows, "online-processing", "vendor-td")
    assert national["unit", "district", "H15.643", "month", "2025-05-01"] == (1, 2)
    assert vendor["unit", "district", "H15.643", "month", "2025-05-01"] == (2, 2)
    assert national["unit", "commune", "H15.24133", "month", "2025-07-01"] == (1, 2)
    assert vendor["unit", "commune", "H15.24133", "month", "2025-07-01"] == (1, 1)
    assert national["level", "province", "H15", "quarter", "2025-07-01"] == (0, 1)
    # 2025 mixes two structures: counts are summed, never rates averaged.
    assert national["province", "all", "H15", "year", "2025-01-01"] == (2, 5)
    assert vendor["province", "all", "H15", "year", "2025-01-01"] == (3, 4)


def test_no_denominator_is_a_state_and_not_zero_percent(tmp_path: Path) -> None:
    rows = _evaluated(_lake(tmp_path, []))
    assert rows
    assert {(row["rate"], row["state"], row["denominator"]) for row in rows} == {(None, "no_denominator", 0)}


def test_units_and_levels_have_numbers_while_they_exist(tmp_path: Path) -> None:
    """The district level and the old communes end on 30 June, the new communes begin on 1 July 2025."""
    months: dict[str, set[int]] = defaultdict(set)
    for row in _evaluated(_lake(tmp_path, [])):
        if row["period"] == "month" and row["boundaries"] == "then":
            months[row["unit_code"] if row["scope"] == "unit" else row["level"]].add(row["period_start"].month)
    assert months["district"] == months["H15.643"] == months["H15.643.24118"] == {5, 6}
    assert months["H15.24121"] == {7, 8, 9, 10, 11}
    assert months["commune"] == months["province"] == months["H15.SNV"] == {5, 6, 7, 8, 9, 10, 11}


def test_half_years_are_periods_of_their_own(tmp_path: Path) -> None:
    """2025 is two half-years summed by counts: 1 of 2 under the old structure, 1 of 1 under the new one."""
    lake = _lake(
        tmp_path,
        [
            _dossier("a", "H15.643", "district", date(2025, 5, 1), is_reused=True),
            _dossier("b", "H15.643", "district", date(2025, 6, 30)),
            _dossier("c", "H15.24133", "commune", date(2025, 7, 1), is_reused=True),
        ],
    )
    counts = _counts(_evaluated(lake), "reuse", "766-4.3")
    assert counts["province", "all", "H15", "half", "2025-01-01"] == (1, 2)
    assert counts["province", "all", "H15", "half", "2025-07-01"] == (1, 1)
    assert counts["province", "all", "H15", "year", "2025-01-01"] == (2, 3)
    assert ("level", "district", "H15", "half", "2025-07-01") not in counts


def test_months_are_vietnams_up_to_the_instant_of_counting(tmp_path: Path) -> None:
    """17:00 UTC on 30 November is 1 December in Vietnam: a night that knows everything before that
    instant speaks of November, one microsecond more and December has begun.
    """
    lake = _lake(tmp_path, [])
    last = max(row["period_start"] for row in _evaluated(lake, as_of=AS_OF))
    later = max(row["period_start"] for row in _evaluated(lake, as_of=AS_OF + timedelta(microseconds=1)))
    assert (str(last), str(later)) == ("2025-11-01", "2025-12-01")


def _at(text: str) -> datetime:
    """An instant of 2025 as a clerk writes it in Vietnam: "10/11 17:00" or "10/11 17:00:01"."""
    seconds = "" if text.count(":") > 1 else ":00"
    return datetime.strptime(f"2025 {text}{seconds} +0700", "%Y %d/%m %H:%M:%S %z").astimezone(UTC)


def _day(instant: datetime | None) -> date | None:
    return None if instant is None else (instant + timedelta(hours=7)).date()


def _timed(key: str, received: str, deadline: str | None, ended: str | None, kind: str | None, **facts: Any) -> Any:
    """A dossier of the department: when it was received, due and ended, and by which end of 2.2."""
    received_at, deadline_at, ended_at = _at(received), deadline and _at(deadline), ended and _at(ended)
    times = {
        "received_at": received_at,
        "due_at": deadline_at or None,
        "due_on": _day(deadline_at or None),
        "deadline_at": deadline_at or None,
        "ended_at": ended_at or None,
        "ended_on": _day(ended_at or None),
        "end_kind": kind,
    }
    received_on = _day(received_at)
    assert received_on is not None
    return _dossier(key, "H15.SNV", "province", received_on, **(times | facts))


def test_on_time_by_reception_is_judged_at_the_end_of_each_period(tmp_path: Path) -> None:
    """Rule 2.2, counted at the end of 30 November 2025; what has not ended is judged at the end of the period.

    dossier received  deadline      ended                     month     quarter   half      year
    a       3 Nov     10/11 12:00   10/11 12:00               on time   on time   on time   on time
    b       3 Nov     10/11 12:00   10/11 12:00:01            late      late      late      late
    c       3 Nov     10/11 12:00   open                      late      late      late      late
    d       28 Nov    05/12 12:00   open                      on time   on time   on time   on time (not due yet)
    e       20 Oct    15/11 12:00   open                      on time   late      late      late
    f       20 Oct    25/10 12:00   open                      late      late      late      late
    g       3 Nov     none          open                      on time   on time   on time   on time (cannot be late)
    h       3 Nov     30/11 12:00   6 Nov, two requests       late      late      late      late
    i       3 Nov     10/11 12:00   5 Nov, waiting since      on time   on time   on time   on time
    j       3 Nov     10/11 12:00   4 Nov, refused            on time   on time   on time   on time
    k       3 Nov     10/11 12:00   new (state 1)             not counted
    l       30 Jun    10/07 12:00   8 Jul                     on time   on time   on time   on time
    m       30 Jun    01/07 00:00   open                      on time   on time   on time   late
    """
    rows = [
        _timed("a", "03/11 08:00", "10/11 12:00", "10/11 12:00", "processed"),
        _timed("b", "03/11 08:00", "10/11 12:00", "10/11 12:00:01", "processed"),
        _timed("c", "03/11 08:00", "10/11 12:00", None, None),
        _timed("d", "28/11 08:00", "05/12 12:00", None, None),
        _timed("e", "20/10 08:00", "15/11 12:00", None, None),
        _timed("f", "20/10 08:00", "25/10 12:00", None, None),
        _timed("g", "03/11 08:00", None, None, None),
        _timed("h", "03/11 08:00", "30/11 12:00", "06/11 12:00", "processed", supplement_count=2),
        _timed("i", "03/11 08:00", "10/11 12:00", "05/11 12:00", "waiting", supplement_count=1, status_code=5),
        _timed("j", "03/11 08:00", "10/11 12:00", "04/11 12:00", "denied", is_received=False, status_code=3),
        _timed("k", "03/11 08:00", "10/11 12:00", None, None, is_received=False, status_code=1),
        _timed("l", "30/06 08:00", "10/07 12:00", "08/07 12:00", "processed"),
        _timed("m", "30/06 08:00", "01/07 00:00", None, None),
    ]
    counts = _counts(_evaluated(_lake(tmp_path, rows)), "on-time", "766-2.1")
    found = {key[3:]: count for key, count in counts.items() if key[0] == "unit" and key[2] == "H15.SNV" and count[1]}
    assert found == {
        ("month", "2025-06-01"): (2, 2),
        ("month", "2025-10-01"): (1, 2),
        ("month", "2025-11-01"): (5, 8),
        ("quarter", "2025-04-01"): (2, 2),
        ("quarter", "2025-10-01"): (5, 10),
        ("half", "2025-01-01"): (2, 2),
        ("half", "2025-07-01"): (5, 10),
        # Not the sum of the halves: m became late after the first one.
        ("year", "2025-01-01"): (6, 12),
    }


def test_on_time_among_what_ended(tmp_path: Path) -> None:
    """Counted by the day of the end: a, b, c, d in November; e in October though received in September.

    dossier deadline      ended                       national       provincial (dates only, by its own promise)
    a       10/11 12:00   10/11 12:00 processed       on time        on time
    b       10/11 12:00   10/11 17:00 processed       late           on time: the same day
    c       10/11 12:00   11/11 09:00 returned        late           late
    d       none          12/11 09:00 processed       on time        on time: no promise
    e       20/10 12:00   21/10 09:00 withdrawn       late           on time: withdrawn is added
    f       10/11 12:00   07/11 09:00 stopped         on time        not counted
    g       10/11 12:00   11/11 09:00 refused         late           not counted
    h       10/11 12:00   06/11 09:00, two requests   late           on time: requests are not looked at
    i       10/11 12:00   05/11 waiting               not an end     not counted
    j       10/11 12:00   open                        not counted    not counted
    """
    rows = [
        _timed("a", "03/11 08:00", "10/11 12:00", "10/11 12:00", "processed"),
        _timed("b", "03/11 08:00", "10/11 12:00", "10/11 17:00", "processed"),
        _timed("c", "03/11 08:00", "10/11 12:00", "11/11 09:00", "returned"),
        _timed("d", "03/11 08:00", None, "12/11 09:00", "processed"),
        _timed("e", "29/09 08:00", "20/10 12:00", "21/10 09:00", "withdrawn", status_code=7),
        _timed("f", "03/11 08:00", "10/11 12:00", "07/11 09:00", "stopped", status_code=8),
        _timed("g", "03/11 08:00", "10/11 12:00", "11/11 09:00", "denied", is_received=False, status_code=3),
        _timed("h", "03/11 08:00", "10/11 12:00", "06/11 09:00", "processed", supplement_count=2),
        _timed("i", "03/11 08:00", "10/11 12:00", "05/11 09:00", "waiting", supplement_count=1, status_code=5),
        _timed("j", "03/11 08:00", "10/11 12:00", None, None),
    ]
    result = _evaluated(_lake(tmp_path, rows))
    unit = ("unit", "province", "H15.SNV")
    national, provincial = (_counts(result, "on-time", version) for version in ("766-2.1-resolved", "provincial"))
    assert national[(*unit, "month", "2025-11-01")] == (3, 7)
    assert national[(*unit, "month", "2025-10-01")] == (0, 1)
    assert provincial[(*unit, "month", "2025-11-01")] == (4, 5)
    assert provincial[(*unit, "month", "2025-10-01")] == (1, 1)
    assert (national[(*unit, "half", "2025-07-01")], provincial[(*unit, "half", "2025-07-01")]) == ((3, 8), (5, 6))


def test_on_time_among_what_was_due_speaks_of_what_was_due_by_now(tmp_path: Path) -> None:
    """Counted at 12:00 on 20 November. A wait for the citizen has moved the deadline of e and f past the promise.

    dossier promised      deadline      ended
    a       20/11 12:00   20/11 12:00   open              due at this very instant, and still in time
    b       20/11 12:01   20/11 12:01   open              not due yet: not counted
    c       18/11 12:00   18/11 12:00   open              late
    d       18/11 12:00   18/11 12:00   18/11 12:00       on time
    e       18/11 12:00   25/11 12:00   open              in time by the moved deadline
    f       10/11 12:00   15/11 12:00   16/11 09:00       late by the moved deadline too
    g       18/11 12:00   18/11 12:00   17/11, two requests: late
    h       none          none          17/11 09:00       no promise: not counted
    """

    def promised(text: str, deadline: str) -> dict[str, Any]:
        return {"due_at": _at(text), "due_on": _day(_at(text)), "deadline_at": _at(deadline)}

    rows = [
        _timed("a", "03/11 08:00", "20/11 12:00", None, None),
        _timed("b", "03/11 08:00", "20/11 12:01", None, None),
        _timed("c", "03/11 08:00", "18/11 12:00", None, None),
        _timed("d", "03/11 08:00", "18/11 12:00", "18/11 12:00", "processed"),
        _timed("e", "03/11 08:00", None, None, None, supplement_count=1, **promised("18/11 12:00", "25/11 12:00")),
        _timed(
            "f", "03/11 08:00", None, "16/11 09:00", "processed", supplement_count=1,
            **promised("10/11 12:00", "15/11 12:00"),
        ),
        _timed("g", "03/11 08:00", "18/11 12:00", "17/11 09:00", "processed", supplement_count=2),
        _timed("h", "03/11 08:00", None, "17/11 09:00", "processed"),
    ]  # fmt: skip
    result = _evaluated(_lake(tmp_path, rows), as_of=_at("20/11 12:00"))
    counts = _counts(result, "on-time", "766-2.1-due")
    assert counts["unit", "province", "H15.SNV", "month", "2025-11-01"] == (3, 6)


def test_reception_within_eight_working_hours(tmp_path: Path) -> None:
    """Counted at 12:00 on 20 November, by the day of submission; online dossiers only.

    a received at the last moment, b a second later, c refused in time, d unanswered past its time,
    e unanswered and still in time (not counted), f filed at the desk (not counted).
    """
    due = _at("11/11 08:00")

    def filed(key: str, channel: str = "online", **facts: Any) -> dict[str, Any]:
        day = date(2025, 11, 10)
        basic = {"submitted_on": day, "reception_due_at": due, "channel": channel, "status_code": 1}
        return _dossier(key, "H15.SNV", "province", day, **(basic | facts))

    rows = [
        filed("a", received_at=due, status_code=4),
        filed("b", received_at=due + timedelta(seconds=1), status_code=4),
        filed("c", denied_at=due - timedelta(hours=1), status_code=3),
        filed("d"),
        filed("e", reception_due_at=_at("20/11 12:01")),
        filed("f", channel="direct", received_at=due, status_code=4),
    ]
    result = _evaluated(_lake(tmp_path, rows), as_of=_at("20/11 12:00"))
    counts = _counts(result, "reception-in-8-hours", "operators")
    assert counts["unit", "province", "H15.SNV", "month", "2025-11-01"] == (2, 4)


#: What a received dossier must be to count in the numerator of a version that asks one thing of it.
_ONE_THING: list[tuple[str, str, dict[str, Any]]] = [
    ("synchronised", "766-1.4", {"in_messages": True}),
    ("reuse", "766-4.3", {"is_reused": True}),
    ("personal-store", "766-4.4", {"is_from_personal_store": True}),
    ("population-data", "766-4.5b", {"is_vneid_verified": True}),
    ("population-data", "766-4.5b", {"is_from_personal_store": True}),
    ("population-data", "766-4.5b", {"is_population_data_used": True}),
    ("digitisation", "766-4.2", {"has_component_attachment": True}),
    ("accounts-verified", "3478-ii6a", {"is_vneid_verified": True}),
    ("waiting", "operators", {"status_code": 5}),
    ("waiting", "operators", {"status_code": 6}),
    ("stopped", "operators", {"status_code": 8}),
    ("internal-circulation", "3478-ii2a", {"is_processed_online": True}),
    ("online-payment", "766-3.6", {"is_paid_online": True}),
]


@pytest.mark.parametrize(("indicator", "version", "fact"), _ONE_THING)
def test_one_fact_makes_the_difference(indicator: str, version: str, fact: dict[str, Any]) -> None:
    """Of three dossiers, one has the fact, one has not, and one has it but was never received."""
    day = date(2025, 11, 3)
    plain = {"channel": "online", "has_fee": True, "is_resolved": True, "resolved_on": day}
    rows = [
        _dossier("with", "H15.SNV", "province", day, **(plain | fact)),
        _dossier("without", "H15.SNV", "province", day, **plain),
        _dossier("never received", "H15.SNV", "province", day, **(plain | fact | {"is_received": False})),
    ]
    counts = _counts(_measured(rows, []), indicator, version)
    assert counts["unit", "province", "H15.SNV", "month", "2025-11-01"] == (1, 2)


def test_an_electronic_result_is_asked_where_the_procedure_returns_a_paper(tmp_path: Path) -> None:
    """4.1 leaves procedures without a paper result out; 4.2 counts them without asking for one.

    a paper due, result and scan; b paper due, scan only; c paper due, result only; d no paper due, scan.
    """
    day, due, scan, result = (
        date(2025, 11, 3),
        {"is_result_required": True},
        {"has_component_attachment": True},
        {"has_electronic_result": True},
    )
    rows = [
        _dossier("a", "H15.SNV", "province", day, **(due | scan | result)),
        _dossier("b", "H15.SNV", "province", day, **(due | scan)),
        _dossier("c", "H15.SNV", "province", day, **(due | result)),
        _dossier("d", "H15.SNV", "province", day, **scan),
    ]
    rows_out = _evaluated(_lake(tmp_path, rows))
    month = ("unit", "province", "H15.SNV", "month", "2025-11-01")
    assert _counts(rows_out, "electronic-result", "766-4.1")[month] == (2, 3)
    assert _counts(rows_out, "digitisation", "766-4.2")[month] == (2, 4)


def test_old_communes_are_shown_on_the_boundaries_of_today_where_nothing_is_guessed(tmp_path: Path) -> None:
    """2025 in reuse: numerator reused, denominator received.

    Tân Lập (old) 1/2 in May and Tân Hòa (old, code 24121) 0/1 in June became today's Tân Lập (code 24121),
    which has 1/1 in July. Ea D'Rơng (old) was split: its 1/1 stays its own. The district's 0/1 belongs to
    no commune of today.
    """
    may, june, july = date(2025, 5, 5), date(2025, 6, 30), date(2025, 7, 1)
    lake = _lake(
        tmp_path,
        [
            _dossier("a", "H15.643.24118", "commune", may, is_reused=True),
            _dossier("b", "H15.643.24118", "commune", may),
            _dossier("c", "H15.643.24121", "commune", june),
            _dossier("d", "H15.24121", "commune", july, is_reused=True),
            _dossier("e", "H15.643.24292", "commune", may, is_reused=True),
            _dossier("f", "H15.643", "district", june),
        ],
    )
    rows = _evaluated(lake)
    now = _counts(rows, "reuse", "766-4.3", "now")
    assert now["unit", "commune", "H15.24121", "month", "2025-05-01"] == (1, 2)
    assert now["unit", "commune", "H15.24121", "month", "2025-06-01"] == (0, 1)
    assert now["unit", "commune", "H15.24121", "half", "2025-01-01"] == (1, 3)
    assert now["unit", "commune", "H15.24121", "half", "2025-07-01"] == (1, 1)
    assert now["unit", "commune", "H15.24121", "year", "2025-01-01"] == (2, 4)
    # Communes of today only, and whoever was split or never there has nothing before its time.
    assert {(key[0], key[1], key[2]) for key in now} == {
        ("unit", "commune", f"H15.{code}") for code in ("24121", "24133", "24301", "24328")
    }
    assert now["unit", "commune", "H15.24301", "year", "2025-01-01"] == (0, 0)
    then = _counts(rows, "reuse", "766-4.3")
    assert then["unit", "commune", "H15.24121", "year", "2025-01-01"] == (1, 1)
    assert then["unit", "commune", "H15.643.24292", "year", "2025-01-01"] == (1, 1)
    assert then["level", "commune", "H15", "year", "2025-01-01"] == (3, 5)
    assert then["province", "all", "H15", "year", "2025-01-01"] == (3, 6)


def test_a_split_commune_is_not_guessed_though_one_successor_alone_is_known(tmp_path: Path) -> None:
    """Phần kia của xã bị chia chưa rõ về đâu: một xã kế thừa đã biết không nhận cả xã cũ."""
    lake = _lake(tmp_path, [_dossier("a", "H15.643.24292", "commune", date(2025, 5, 5), is_reused=True)])
    known = {"unit_code": "H15.643.24292", "successor_code": "H15.24301", "is_split": True}
    lake.replace(CORE_SUCCESSION, table_rows(CORE_SUCCESSION, known))
    now = _counts(_evaluated(lake), "reuse", "766-4.3", "now")
    assert now["unit", "commune", "H15.24301", "year", "2025-01-01"] == (0, 0)


def test_a_successor_that_is_itself_no_unit_of_today_gets_nothing(tmp_path: Path) -> None:
    """Counted on 30 June, the new communes are not there yet: only what stands now has boundaries of now."""
    lake = _lake(tmp_path, [_dossier("a", "H15.643.24118", "commune", date(2025, 5, 5), is_reused=True)])
    now = _counts(_evaluated(lake, as_of=_at("30/06 17:00")), "reuse", "766-4.3", "now")
    assert {key[2] for key in now} == {"H15.643.24118", "H15.643.24121", "H15.643.24292"}
    assert now["unit", "commune", "H15.643.24118", "month", "2025-05-01"] == (1, 1)


def test_transactions_are_counted_by_the_day_of_collection_not_by_dossier(tmp_path: Path) -> None:
    """One dossier with two collections (October online, November cash), one refund (not settled), one
    payment of a procedure without fee information (out of the population).
    """
    base = {"unit_code": "H15.SNV", "unit_level": "province", "lake_month": "2025-10", "has_fee": True}
    payments = [
        base
        | {"dossier_key": "a", "payment_no": 1, "is_settled": True, "is_online": True, "paid_on": date(2025, 10, 31)},
        base | {"dossier_key": "a", "payment_no": 2, "is_settled": True, "paid_on": date(2025, 11, 1)},
        base | {"dossier_key": "b", "payment_no": 1, "is_settled": False, "paid_on": None},
        base
        | {"dossier_key": "c", "payment_no": 1, "is_settled": True, "has_fee": False, "paid_on": date(2025, 11, 1)},
    ]
    counts = _counts(_evaluated(_lake(tmp_path, [], payments)), "payment-transactions", "3478-ii2a")
    assert counts["province", "all", "H15", "month", "2025-10-01"] == (1, 1)
    assert counts["province", "all", "H15", "month", "2025-11-01"] == (0, 1)
    assert counts["province", "all", "H15", "quarter", "2025-10-01"] == (1, 2)


def test_a_version_counts_only_the_days_for_which_it_is_the_rule(tmp_path: Path) -> None:
    text = next(FOLDER.glob("reuse.*.yaml")).read_text(encoding="utf-8")
    path = tmp_path / "reuse.yaml"
    path.write_text(text.replace("2022-06-23", "2025-07-02\nvalid_to: 2025-08-14"), encoding="utf-8")
    lake = _lake(
        tmp_path / "lake",
        [
            _dossier(str(day), "H15.SNV", "province", day)
            for day in (date(2025, 7, 1), date(2025, 7, 2), date(2025, 8, 14), date(2025, 8, 15))
        ],
    )
    rows = evaluate(lake, [load_definition(path)], province_code="H15", as_of=AS_OF, start_on=date(2025, 5, 1))
    counts = _counts(rows.to_pylist(), "reuse", "766-4.3")
    province = {key[4]: value[1] for key, value in counts.items() if key[0] == "province" and key[3] == "month"}
    assert province == {"2025-07-01": 1, "2025-08-01": 1}


def test_a_version_whose_last_day_begins_a_month_speaks_of_that_month_everywhere(tmp_path: Path) -> None:
    """Hết hiệu lực sau ngày 01/8: tháng 8 vẫn có dòng, kể cả của đơn vị không có hồ sơ ngày đó; tháng 9 không có."""
    text = next(FOLDER.glob("reuse.*.yaml")).read_text(encoding="utf-8")
    path = tmp_path / "reuse.yaml"
    path.write_text(text.replace("2022-06-23", "2025-07-02\nvalid_to: 2025-08-01"), encoding="utf-8")
    days = (date(2025, 8, 1), date(2025, 8, 2))
    lake = _lake(tmp_path / "lake", [_dossier(str(day), "H15.SNV", "province", day) for day in days])
    rows = evaluate(lake, [load_definition(path)], province_code="H15", as_of=AS_OF, start_on=date(2025, 5, 1))
    counts = _counts(rows.to_pylist(), "reuse", "766-4.3")
    assert counts["unit", "province", "H15.SNV", "month", "2025-08-01"] == (0, 1)
    assert counts["unit", "commune", "H15.24133", "month", "2025-08-01"] == (0, 0)
    assert not [key for key in counts if key[3:] == ("month", "2025-09-01")]


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="with its zone"):
        counting_statement(load_definitions(), as_of=datetime(2025, 11, 30))  # noqa: DTZ001 - the point of the test


_PLACES = st.sampled_from(
    [
        ("H15.SNV", "province"),
        ("H15.643", "district"),
        *((f"H15.643.{code}", "commune") for code in ("24118", "24121", "24292")),
        *((f"H15.{code}", "commune") for code in ("24121", "24133", "24301", "24328")),
    ]
)
_START = datetime(2025, 5, 1, tzinfo=UTC) - timedelta(hours=7)
_INSTANTS = st.none() | st.integers(0, 240).map(lambda days: _START + timedelta(days=days, hours=days % 24))
_FLAGS = [column.name for column in CORE_DOSSIER.columns if column.type == pa.bool_() and not column.nullable]


@st.composite
def _dossiers(draw: st.DrawFn) -> dict[str, Any]:
    """A dossier with any facts, sensible or not: sums must close whatever the sources said."""
    unit, level = draw(_PLACES)
    instants = {
        name: draw(_INSTANTS) for name in ("submitted_at", "received_at", "due_at", "deadline_at", "ended_at")
    } | {"reception_due_at": draw(_INSTANTS)}
    days = {f"{name}_on": _day(instants[f"{name}_at"]) for name in ("submitted", "received", "due", "ended")}
    said = {
        "unit_code": unit,
        "unit_level": level,
        "channel": draw(st.sampled_from(["direct", "online", "post"])),
        "status_code": draw(st.integers(1, 10)),
        "end_kind": draw(st.sampled_from([None, "processed", "waiting", "withdrawn", "denied"])),
        "supplement_count": draw(st.integers(0, 2)),
        "transaction_count": draw(st.integers(0, 2)),
        "online_transaction_count": draw(st.integers(0, 1)),
        "resolved_on": days["ended_on"],
        "paid_on": days["submitted_on"],
    }
    return instants | days | said | {name: draw(st.booleans()) for name in _FLAGS}


_PAYMENTS = st.tuples(_PLACES, st.integers(0, 200), st.booleans()).map(
    lambda drawn: {
        "unit_code": drawn[0][0],
        "unit_level": drawn[0][1],
        "paid_on": date(2025, 5, 1) + timedelta(days=drawn[1]),
        "is_settled": True,
        "has_fee": True,
        "is_online": drawn[2],
    }
)


def _measured(dossiers: Sequence[dict[str, Any]], payments: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of out_indicator for dossiers and payments that never saw a disk."""
    connection = connect()
    connection.register("core_dossier", table_rows(CORE_DOSSIER, *dossiers))
    connection.register("core_payment", table_rows(CORE_PAYMENT, *payments))
    since = date(2025, 5, 1)
    counts = connection.sql(counting_statement(_definitions(), as_of=AS_OF, since=since)).to_arrow_table()
    place: dict[str, Any] = {"province_code": "H15", "as_of": AS_OF, "start_on": since}
    rows = roll_up(counts, _definitions(), units=UNITS, succession=SUCCESSION, **place)
    assert rows.schema.equals(OUT_INDICATOR.arrow_schema())
    content: list[dict[str, Any]] = rows.to_pylist()
    keys = Counter(tuple(row[name] for name in OUT_INDICATOR.key) for row in content)
    assert max(keys.values()) == 1
    return content


_SERIES = ("indicator", "version", "scope", "level", "unit_code", "boundaries")


def _sums(rows: Iterable[dict[str, Any]], *by: str) -> dict[tuple[Any, ...], tuple[int, int]]:
    """Numerators and denominators added up by columns; nothing counted, no entry."""
    found: dict[tuple[Any, ...], tuple[int, int]] = {}
    for row in rows:
        key = tuple(row[name] for name in by)
        numerator, denominator = found.get(key, (0, 0))
        found[key] = (numerator + row["numerator"], denominator + row["denominator"])
    return {key: count for key, count in found.items() if count[1]}


def _longer(period: str, month: date) -> date:
    """First day of the quarter, half-year or year around a month."""
    months = {"month": 1, "quarter": 3, "half": 6, "year": 12}[period]
    return month.replace(month=(month.month - 1) // months * months + 1)


def _units_close(content: list[dict[str, Any]]) -> None:
    """Units make the level, levels make the province: every version, every kind of period."""
    then = [row for row in content if row["boundaries"] == "then"]
    period = ("indicator", "version", "period", "period_start")
    units, levels, province = ([row for row in then if row["scope"] == s] for s in ("unit", "level", "province"))
    assert _sums(units, *period, "level") == _sums(levels, *period, "level")
    assert _sums(units, *period) == _sums(province, *period)


def _months_close(content: list[dict[str, Any]]) -> None:
    """Months make quarters, half-years and years where an indicator always adds up; else only denominators do."""
    months = [row for row in content if row["period"] == "month"]
    for period in PERIODS[1:]:
        longer = _sums((row for row in content if row["period"] == period), *_SERIES, "adds_up", "period_start")
        added = _sums(
            (row | {"period_start": _longer(period, row["period_start"])} for row in months),
            *_SERIES, "adds_up", "period_start",
        )  # fmt: skip
        assert longer.keys() == added.keys()
        for key, (numerator, denominator) in longer.items():
            assert denominator == added[key][1]
            if key[len(_SERIES)] == "always":
                assert numerator == added[key][0]
            else:
                # What was still in time at the end of its month may be late at the end of the year, not the reverse.
                assert numerator <= added[key][0]


def _halves_make_the_year(content: list[dict[str, Any]]) -> None:
    halves = _sums((r for r in content if r["period"] == "half" and r["adds_up"] == "always"), *_SERIES)
    years = _sums((r for r in content if r["period"] == "year" and r["adds_up"] == "always"), *_SERIES)
    assert halves == years


def _today_is_then_and_the_single_predecessors(content: list[dict[str, Any]]) -> None:
    """On today's boundaries a commune has its own and what its whole predecessors had, nothing else."""
    today = {"H15.643.24118": "H15.24121", "H15.643.24121": "H15.24121"}
    today |= {f"H15.{code}": f"H15.{code}" for code in ("24121", "24133", "24301", "24328")}
    series = ("indicator", "version", "level", "unit_code", "period", "period_start")
    then = [
        row | {"unit_code": today[row["unit_code"]]}
        for row in content
        if row["boundaries"] == "then" and row["scope"] == "unit" and row["unit_code"] in today
    ]
    assert _sums((row for row in content if row["boundaries"] == "now"), *series) == _sums(then, *series)


@settings(max_examples=15, deadline=None)
@given(st.lists(_dossiers(), max_size=12), st.lists(_PAYMENTS, max_size=5))
def test_sums_close_in_every_direction(dossiers: list[dict[str, Any]], payments: list[dict[str, Any]]) -> None:
    """The accounting identities of every version at once; nothing is lost, whatever the dossiers say."""
    content = _measured(dossiers, payments)
    assert {(row["indicator"], row["version"]) for row in content} == {one.key for one in _definitions()}
    _units_close(content)
    _months_close(content)
    _halves_make_the_year(content)
    _today_is_then_and_the_single_predecessors(content)
    for row in content:
        assert 0 <= row["numerator"] <= row["denominator"]
        assert (row["rate"] is None) == (row["denominator"] == 0) == (row["state"] == "no_denominator")
        assert row["rate"] is None or row["rate"] == row["numerator"] / row["denominator"]


def test_only_what_is_judged_at_the_end_of_a_period_does_not_add_up() -> None:
    kinds = {(row["indicator"], row["version"]): row["adds_up"] for row in _measured([], [])}
    assert {key for key, kind in kinds.items() if kind != "always"} == {("on-time", "766-2.1")}
    assert kinds["on-time", "766-2.1"] == "units"
