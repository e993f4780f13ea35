"""The worklist: its rows against counts made again from the definitions, the advice for each kind of loss by
dossiers worked out by hand (`worklist_cases.csv`), the order of a unit's list, and the rules as data.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.indicators.definitions import Definition, load_definitions
from assets.scorecards.sets import load_sets
from assets.scorecards.worklist import RULES, Rule, WorklistRuleError, load_rules, rule_for, worklist
from assets.scorecards.worklist_assets import counted_versions, worklist_counts
from expectations.targets import load_targets
from tests.rows import table_rows
from warehouse.lake import connect
from warehouse.tables.core import CORE_DOSSIER
from warehouse.tables.reconciliation import OUT_RECONCILIATION, OUT_WORKLIST

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
#: October 2026 is over in Vietnam.
AS_OF = datetime(2026, 11, 1, tzinfo=ZONE).astimezone(UTC)
#: Versions that show something to operators and are no measure of good or bad.
SHOWN_ONLY = {"waiting", "stopped"}


@cache
def _definitions() -> tuple[Definition, ...]:
    return tuple(d for d in load_definitions() if d.fact == "dossier" and d.id not in SHOWN_ONLY)


@cache
def _rules() -> tuple[Rule, ...]:
    return load_rules()


def _all() -> set[tuple[str, str]]:
    return {definition.key for definition in _definitions()}


def _day(month: int, day: int, hour: int = 8) -> datetime:
    return datetime(2026, month, day, hour, tzinfo=ZONE).astimezone(UTC)


def _dossier(key: str, **facts: Any) -> dict[str, Any]:
    """Received on 1 October, due on 30 November, in process; what a test does not name is no."""
    return {
        "dossier_key": key,
        "unit_code": "H15.SNV",
        "unit_level": "province",
        "channel": "direct",
        "status_code": 4,
        "is_received": True,
        "received_at": _day(10, 1),
        "received_on": date(2026, 10, 1),
        "due_at": _day(11, 30),
        "due_on": date(2026, 11, 30),
        "deadline_at": _day(11, 30),
        "deadline_basis": "promise",
    } | facts


def _list(
    dossiers: Sequence[Mapping[str, Any]],
    *,
    late: Mapping[str, str] | None = None,
    counted: set[tuple[str, str]] | None = None,
    as_of: datetime = AS_OF,
    since: date | None = None,
) -> list[dict[str, Any]]:
    connection = connect()
    connection.register("core_dossier", table_rows(CORE_DOSSIER, *dossiers))
    reconciled = [{"dossier_key": key, "kind": "late", "lateness": why} for key, why in (late or {}).items()]
    empty = OUT_RECONCILIATION.arrow_schema().empty_table()
    connection.register("out_reconciliation", table_rows(OUT_RECONCILIATION, *reconciled) if reconciled else empty)
    rows = worklist(
        connection,
        _definitions(),
        load_rules(),
        counted=_all() if counted is None else counted,
        as_of=as_of,
        since=since,
    )
    assert rows.schema.equals(OUT_WORKLIST.arrow_schema(), check_metadata=True)
    listed: list[dict[str, Any]] = rows.to_pylist()
    return listed


ENDED = {"status_code": 10, "is_resolved": True, "ended_at": _day(10, 9), "ended_on": date(2026, 10, 9)} | {
    "resolved_on": date(2026, 10, 9),
    "end_kind": "processed",
}
_UNHEARD = {"submitted_on": date(2026, 9, 29), "reception_due_at": _day(9, 30)}
#: What the words of `worklist_cases.csv` say of a dossier; what is not said is as in `_dossier`.
WORDS: Mapping[str, Mapping[str, Any]] = {
    "trực tuyến": {"channel": "online"},
    "bưu chính": {"channel": "post"},
    "phải trả kết quả": {"is_result_required": True},
    "có kết quả điện tử": {"has_electronic_result": True},
    "có tệp thành phần": {"has_component_attachment": True},
    "có bước xử lý": {"is_processed_online": True},
    "có phí": {"has_fee": True},
    "được miễn phí": {"is_fee_waived": True},
    "đã thu tiền mặt": {"transaction_count": 1, "paid_on": date(2026, 10, 2)},
    "đã thu trực tuyến": {"transaction_count": 1, "online_transaction_count": 1, "paid_on": date(2026, 10, 2)},
    "cờ đã thanh toán trực tuyến": {"is_paid_online": True},
    "đã xong": ENDED,
    "đã rút": {"status_code": 7, "ended_at": _day(10, 9), "ended_on": date(2026, 10, 9), "end_kind": "withdrawn"},
    "chờ bổ sung từ 9/10": {"status_code": 5, "ended_at": _day(10, 9), "end_kind": "waiting"},
    "hai lần bổ sung": {"supplement_count": 2},
    "hạn 8/10": {"deadline_at": _day(10, 8)},
    "hạn 9/10": {"deadline_at": _day(10, 9)},
    "hạn 20/10": {"deadline_at": _day(10, 20)},
    "hẹn trả 8/10": {"due_at": _day(10, 8), "due_on": date(2026, 10, 8)},
    "nộp 29/9 tiếp nhận muộn": _UNHEARD,
    "nộp 29/9 chưa ai trả lời": _UNHEARD
    | {"received_at": None, "is_received": False, "received_on": None, "status_code": 1, "deadline_at": None},
    "đối soát: trễ thật": {},
    "đối soát: trễ do đồng bộ": {},
}
_LATENESS = {"đối soát: trễ thật": "real", "đối soát: trễ do đồng bộ": "sync"}
with (Path(__file__).parent / "worklist_cases.csv").open(encoding="utf-8", newline="") as stream:
    CASES = list(csv.DictReader(stream))


def _words(case: Mapping[str, str]) -> list[str]:
    return case["hồ sơ"].split("; ") if case["hồ sơ"] else []


@cache
def _by_hand() -> Mapping[str, list[dict[str, Any]]]:
    """The rows of each case's dossier, whose key is the number of the case."""
    dossiers, late = [], {}
    for number, case in enumerate(CASES):
        facts: dict[str, Any] = {}
        for word in _words(case):
            facts |= WORDS[word]
            if word in _LATENESS:
                late[str(number)] = _LATENESS[word]
        dossiers.append(_dossier(str(number), **facts))
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in _list(dossiers, late=late):
        rows.setdefault(row["dossier_key"], []).append(row)
    return rows


@pytest.mark.parametrize(
    "number", range(len(CASES)), ids=[f"{case['chỉ số']} {case['phiên bản']}: {case['hồ sơ']}" for case in CASES]
)
def test_what_mends_each_loss(number: int) -> None:
    case = CASES[number]
    found = [
        (row["rule"].partition("/")[2], row["is_mendable"])
        for row in _by_hand().get(str(number), [])
        if (row["indicator"], row["version"], row["loss"]) == (case["chỉ số"], case["phiên bản"], "lost")
    ]
    assert found == ([(case["hướng dẫn"], case["còn sửa được"] == "có")] if case["hướng dẫn"] else [])


def test_every_case_of_the_rules_is_worked_out_by_hand() -> None:
    shown = {(case["chỉ số"], case["hướng dẫn"]) for case in CASES if case["hướng dẫn"]}
    assert shown == {(rule.indicator, each.case) for rule in _rules() for each in rule.cases}


def test_what_is_nearly_due_is_listed_before_it_is_lost() -> None:
    """At 00:00 on 1 November: three days are up to 00:00 on 4 November; what waits for papers is not ours to hurry."""
    dossiers = [
        _dossier("in an hour", deadline_at=AS_OF + timedelta(hours=1)),
        _dossier("in three days", deadline_at=AS_OF + timedelta(days=3)),
        _dossier("later", deadline_at=AS_OF + timedelta(days=3, seconds=1)),
        _dossier("ended", **ENDED | {"deadline_at": AS_OF + timedelta(hours=1)}),
        _dossier("waiting", status_code=5, deadline_at=AS_OF + timedelta(hours=1), ended_at=_day(10, 5)),
        _dossier("gone", deadline_at=AS_OF - timedelta(seconds=1)),
    ]
    rows = _list(dossiers, counted={("on-time", "766-2.1")})
    told = {row["dossier_key"]: (row["loss"], row["days_left"], row["deadline_on"], row["priority"]) for row in rows}
    assert told == {
        "in an hour": ("at_risk", 0, date(2026, 11, 1), 1),
        "in three days": ("at_risk", 3, date(2026, 11, 4), 2),
        "gone": ("lost", -1, date(2026, 10, 31), 3),
    }
    assert {row["loss_count"] for row in rows if row["loss"] == "at_risk"} == {0}


def test_what_has_ended_on_no_known_day_has_no_deadline_left() -> None:
    """Trạng thái 10 mà không nguồn nào ghi ngày kết thúc: không còn hạn nào để giục."""
    dossiers = [_dossier("open", deadline_at=_day(11, 5)), _dossier("ended", status_code=10, deadline_at=_day(11, 5))]
    rows = _list(dossiers, counted={("reuse", "766-4.3")})
    assert {row["dossier_key"]: row["deadline_on"] for row in rows} == {"open": date(2026, 11, 5), "ended": None}


def test_of_equal_urgency_the_nearer_deadline_comes_before_the_greater_loss() -> None:
    dossiers = [
        _dossier("loses two", deadline_at=_day(11, 20)),
        _dossier("loses one", deadline_at=_day(11, 5), channel="online"),
    ]
    rows = _list(dossiers, counted={("reuse", "766-4.3"), ("online-processing", "vendor-td")})
    assert {row["dossier_key"]: row["loss_count"] for row in rows} == {"loses two": 2, "loses one": 1}
    reuse = {row["dossier_key"]: row["priority"] for row in rows if row["indicator"] == "reuse"}
    assert reuse["loses one"] < reuse["loses two"]


def test_a_units_list_begins_with_what_can_still_be_won() -> None:
    counted = {("on-time", "766-2.1"), ("electronic-result", "766-4.1"), ("digitisation", "766-4.2")}
    rows = _list(
        [
            _dossier("past", **ENDED | {"deadline_at": _day(10, 8), "has_component_attachment": True}),
            _dossier("two points", **ENDED | {"is_result_required": True} | {"has_component_attachment": True}),
            _dossier("one point", received_on=date(2026, 1, 2), **ENDED),
            _dossier("soon", deadline_at=_day(11, 2), has_component_attachment=True),
            _dossier("elsewhere", unit_code="H15.24133", **ENDED),
        ],
        counted=counted,
    )
    here = sorted((row["priority"], row["dossier_key"]) for row in rows if row["unit_code"] == "H15.SNV")
    assert here == [(1, "soon"), (2, "two points"), (3, "two points"), (4, "one point"), (5, "past")]
    assert [row["priority"] for row in rows if row["unit_code"] == "H15.24133"] == [1]
    assert {row["dossier_key"]: row["loss_count"] for row in rows} == {
        "past": 1,
        "two points": 2,
        "one point": 1,
        "soon": 0,
        "elsewhere": 1,
    }


def test_only_the_year_and_only_what_is_counted() -> None:
    dossiers = [
        _dossier("last year", received_on=date(2025, 12, 31)),
        _dossier("this year", received_on=date(2026, 1, 1)),
    ]
    counted = {("reuse", "766-4.3")}
    assert [row["dossier_key"] for row in _list(dossiers, counted=counted)] == ["this year"]
    assert len(_list(dossiers, counted=counted, since=date(2025, 1, 1))) == 2
    assert _list(dossiers, counted=set()) == []
    # A night that ends with the year still speaks of it.
    new_year = datetime(2027, 1, 1, tzinfo=ZONE)
    assert [row["dossier_key"] for row in _list(dossiers, counted=counted, as_of=new_year)] == ["this year"]


_DAYS = st.dates(min_value=date(2025, 12, 15), max_value=date(2026, 11, 15))
_FLAGS = [column.name for column in CORE_DOSSIER.columns if str(column.type) == "bool" and column.name != "is_received"]
_INSTANTS = ("received_at", "deadline_at", "ended_at", "due_at", "reception_due_at", "denied_at")
_EVENTS = ("submitted_on", "received_on", "due_on", "resolved_on", "ended_on", "paid_on")
_RANDOM = st.fixed_dictionaries(
    {
        "status_code": st.integers(1, 10),
        "channel": st.sampled_from(("direct", "online", "post")),
        "end_kind": st.sampled_from((None, "processed", "returned", "stopped", "denied", "withdrawn", "waiting")),
        "supplement_count": st.integers(0, 2),
        "transaction_count": st.integers(0, 1),
        "online_transaction_count": st.integers(0, 1),
        "is_received": st.booleans(),
        **dict.fromkeys(_FLAGS, st.booleans()),
        **dict.fromkeys(_EVENTS, st.none() | _DAYS),
        **dict.fromkeys(
            _INSTANTS,
            st.none()
            | st.datetimes(datetime(2026, 1, 1), datetime(2026, 11, 5)).map(lambda at: at.replace(tzinfo=UTC)),  # noqa: DTZ001
        ),
    }
)


@settings(max_examples=3, deadline=None)
@given(facts=st.lists(_RANDOM, min_size=20, max_size=60))
def test_the_list_of_an_indicator_is_its_denominator_less_its_numerator(facts: list[dict[str, Any]]) -> None:
    """Counted again by SQL that a reader types from the definition file, each predicate on its own."""
    dossiers = [_dossier(str(number)) | each for number, each in enumerate(facts)]
    rows = _list(dossiers)
    listed = Counter((row["indicator"], row["version"]) for row in rows if row["loss"] == "lost")
    assert {key: listed.get(key, 0) for key in _all()} == {d.key: _missing(d, dossiers) for d in _definitions()}
    assert {row["dossier_key"] for row in rows} <= {each["dossier_key"] for each in dossiers}
    assert len({(row["dossier_key"], row["indicator"], row["version"]) for row in rows}) == len(rows)
    assert sorted(row["priority"] for row in rows) == list(range(1, len(rows) + 1))


def _missing(definition: Definition, dossiers: Sequence[Mapping[str, Any]]) -> int:
    connection = connect()
    connection.register("core_dossier", table_rows(CORE_DOSSIER, *dossiers))
    population, numerator = (
        predicate.sql("duckdb").replace("$as_of", _INSTANT).replace("$period_end", _INSTANT)
        for predicate in (definition.population, definition.numerator)
    )
    return sum(
        place == (True, False)
        for place in connection.execute(
            f"SELECT coalesce({population}, false), coalesce({numerator}, false) FROM core_dossier "
            f"WHERE {definition.event} >= greatest(DATE '2026-01-01', DATE '{definition.valid_from}') "
            f"AND {definition.event} <= DATE '2026-10-31'"
        ).fetchall()
    )


_INSTANT = f"TIMESTAMPTZ '{AS_OF.isoformat()}'"


def test_every_version_that_counts_has_advice() -> None:
    sets = ("dak-lak-3478", "tay-ninh-490", "national-2025")
    counted = counted_versions(load_targets(sets), load_sets())
    assert {("online-processing", "766-3.3"), ("reuse", "766-4.3"), ("on-time", "766-2.1")} <= counted
    assert ("online-processing", "vendor-td") not in counted
    silent = [definition.key for definition in _definitions() if rule_for(_rules(), definition) is None]
    assert silent == []


def test_a_counted_version_without_advice_is_refused_by_name() -> None:
    rules = [rule for rule in _rules() if rule.indicator != "reuse"]
    with pytest.raises(WorklistRuleError, match=r"reuse 766-4\.3"):
        worklist(connect(), _definitions(), rules, counted=_all(), as_of=AS_OF)


def test_a_rule_for_a_version_goes_before_the_one_for_all(tmp_path: Path) -> None:
    other = RULES.read_text(encoding="utf-8") + (
        "\n- indicator: reuse\n  versions: [766-4.3]\n  cases:\n"
        "    - {case: other, reason: lý do, remedy: cách sửa, mendable: true}\n"
    )
    path = tmp_path / "rules.yaml"
    path.write_text(other, encoding="utf-8")
    (reuse,) = (definition for definition in _definitions() if definition.id == "reuse")
    rule = rule_for(load_rules(path), reuse)
    assert rule is not None
    assert [case.case for case in rule.cases] == ["other"]


_SAID = "reason: x, remedy: y, mendable: true}"
_GOOD, _LAST = "{case: a, " + _SAID, "{case: b, " + _SAID


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nothing: here", "expected a list"),
        (f"- indicator: reuse\n  cases: [{_GOOD}, {_GOOD}]", "only the last case has no `when`"),
        (
            f"- indicator: reuse\n  cases: [{{case: a, when: chanel = 'x', {_SAID}, {_LAST}]",
            "rule 1 (reuse): case a: when: unknown column 'chanel'",
        ),
        (
            "- indicator: reuse\n  cases: [{case: a, when: is_received, reason: x, remedy: y, mendable: true}]",
            "only the last case has no `when`",
        ),
        (f"- indicator: reuse\n  cases: [{_GOOD}]\n- indicator: reuse\n  cases: [{_GOOD}]", "has two rules"),
        ("- indicator: reuse\n  cases: [{case: a, reason: x, mendable: true}]", "rule 1 (reuse): cases.0.remedy"),
        (
            f"- indicator: on-time\n  cases: [{{case: a, when: lateness = 'sink', {_SAID}, {_LAST}]",
            "'sink' is not one of one_source, real, sync",
        ),
    ],
)
def test_a_mistake_in_the_rules_is_told_by_place(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text + "\n", encoding="utf-8")
    with pytest.raises(WorklistRuleError) as caught:
        load_rules(path)
    assert says in str(caught.value)
    assert "rules.yaml" in str(caught.value)


def test_counts_for_the_operator() -> None:
    rows = _list(
        [_dossier("soon", deadline_at=_day(11, 2)), _dossier("late", deadline_at=_day(10, 8), is_reused=True)],
        counted={("on-time", "766-2.1"), ("reuse", "766-4.3")},
    )
    table = pa.Table.from_pylist(rows, schema=OUT_WORKLIST.arrow_schema())
    assert worklist_counts(table) == {"rows_lost": 2, "rows_mendable": 1, "rows_at_risk": 1, "dossiers": 2}


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        _list([_dossier("A")], as_of=AS_OF.replace(tzinfo=None))
