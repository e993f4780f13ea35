"""Reconciliation: every kind of finding by a case that a clerk can read and has worked out by hand
(`reconciliation_cases/`), and what must hold whatever the sources say. Small core tables are made here:
what is tested is the comparison, not where the claims come from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.dossiers.reconciliation import COMPARED, DATE_TOLERANCE, GRACE, READS, explanations, reconcile
from assets.dossiers.reconciliation_assets import finding_counts
from tests.rows import table_rows
from warehouse.lake import connect
from warehouse.schema import Table
from warehouse.tables.core import CORE_CLAIM, CORE_UNIT
from warehouse.tables.reconciliation import FINDINGS, LATENESS, OUT_RECONCILIATION, PATTERNS

CASES = Path(__file__).parent / "reconciliation_cases"
ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
AS_OF = datetime(2026, 11, 1, tzinfo=ZONE).astimezone(UTC)
UNITS = table_rows(
    CORE_UNIT,
    {"unit_code": "H15.SNV", "valid_from": date(1900, 1, 1)},
    {"unit_code": "H15.24133", "valid_from": date(2025, 7, 1)},
    {"unit_code": "H15.643.24118", "valid_from": date(1900, 1, 1), "valid_to": date(2025, 6, 30)},
)

_SOURCES = {"cổng": "portal", "một cửa": "onestop", "nhật ký": "messages"}
_CHANNELS = {"trực tiếp": "direct", "trực tuyến": "online", "bưu chính": "post"}
_YES = {"có": True, "không": False}


def _at(text: str) -> datetime | None:
    """Of 2026 in Vietnam: 01/10 08:00, or with seconds; blank is null."""
    if not text:
        return None
    layout = "%Y/%d/%m %H:%M:%S" if text.count(":") == 2 else "%Y/%d/%m %H:%M"
    return datetime.strptime(f"2026/{text}", layout).replace(tzinfo=ZONE).astimezone(UTC)


def _same(text: str) -> str | None:
    return text or None


_CLAIM = {
    "hồ sơ": ("dossier_key", _same),
    "nguồn": ("source", _SOURCES.__getitem__),
    "bản ghi": ("record_key", _same),
    "mã": ("code", _same),
    "mã khác": ("other_code", _same),
    "đơn vị": ("unit_code", _same),
    "thủ tục": ("procedure_code", _same),
    "kênh": ("channel", _CHANNELS.__getitem__),
    "trạng thái": ("status_code", int),
    "tiếp nhận": ("received_at", _at),
    "hẹn trả": ("due_at", _at),
    "xong": ("completed_at", _at),
    "trả": ("returned_at", _at),
    "thanh toán": ("is_paid_online", _YES.get),
    "kết quả": ("has_result", _YES.get),
    "sửa lúc": ("modified_at", _at),
}
_DOSSIER = {
    "hồ sơ": ("dossier_key", _same),
    "đơn vị": ("unit_code", _same),
    "trạng thái": ("status_code", int),
    "tiếp nhận": ("received_at", _at),
    "đã tiếp nhận": ("is_received", _YES.get),
    "đã giải quyết": ("is_resolved", _YES.get),
    "hẹn trả": ("due_at", _at),
    "hạn": ("deadline_at", _at),
    "kết thúc": ("ended_at", _at),
    "bổ sung": ("supplement_count", int),
    "số khoản thu": ("transaction_count", int),
    "thu trực tuyến": ("online_transaction_count", int),
    "tệp thành phần": ("has_component_attachment", _YES.get),
}
_EXPECTED = {
    "loại": ("kind", _same),
    "cổng": ("portal_value", _same),
    "một cửa": ("onestop_value", _same),
    "nhật ký": ("messages_value", _same),
    "tin": ("believed_source", _SOURCES.get),
    "hồ sơ kia": ("other_key", _same),
    "lệch (giây)": ("difference_seconds", lambda text: int(text) if text else None),
    "lệch (ngày)": ("difference_days", lambda text: int(text) if text else None),
    "tồn (ngày)": ("age_days", int),
    "dấu hiệu": ("pattern", _same),
    "trễ do": ("lateness", _same),
}
_STEP = {"hồ sơ": ("dossier_key", _same), "lúc": ("acted_at", _at), "trạng thái": ("status_code", int)}
_SUPPLEMENT = {
    "hồ sơ": ("dossier_key", _same),
    "yêu cầu": ("requested_at", _at),
    "trả lời": ("answered_at", _at),
}

_COMMON: dict[str, Any] = {
    "dossier_key": "A",
    "unit_code": "H15.SNV",
    "procedure_code": "1.001193",
    "channel": "direct",
    "status_code": 4,
    "received_at": _at("01/10 08:00"),
    "due_at": _at("12/11 17:00"),
    "lake_month": "2026-10",
}
A_DOSSIER = _COMMON | {"deadline_at": _at("12/11 17:00"), "deadline_basis": "promise", "is_received": True}
A_CLAIM = _COMMON | {"modified_at": _at("05/10 08:00"), "extracted_at": _at("31/10 23:00")}


@dataclass
class World:
    """Core tables as views in one connection; what is not given is empty."""

    dossiers: Sequence[Mapping[str, Any]] = ()
    claims: Sequence[Mapping[str, Any]] = ()
    steps: Sequence[Mapping[str, Any]] = ()
    supplements: Sequence[Mapping[str, Any]] = ()
    connection: duckdb.DuckDBPyConnection = field(default_factory=connect)

    def findings(self, as_of: datetime = AS_OF) -> list[dict[str, Any]]:
        given: dict[str, Sequence[Mapping[str, Any]]] = {
            "core_dossier": [A_DOSSIER | dict(each) for each in self.dossiers or ({},)],
            "core_claim": [A_CLAIM | {"record_key": str(n)} | dict(each) for n, each in enumerate(self.claims)],
            "core_step": [{"dossier_key": "A", "step_no": n} | dict(each) for n, each in enumerate(self.steps, 1)],
            "core_supplement": [
                {"dossier_key": "A", "supplement_no": n} | dict(each) for n, each in enumerate(self.supplements, 1)
            ],
        }
        for table in READS:
            rows = UNITS if table is CORE_UNIT else _rows(table, given.get(table.name, ()))
            self.connection.register(table.name, rows)
        found = reconcile(self.connection, as_of=as_of)
        assert found.schema.equals(OUT_RECONCILIATION.arrow_schema(), check_metadata=True)
        listed: list[dict[str, Any]] = found.to_pylist()
        return listed


def _rows(table: Table, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    return table_rows(table, *rows) if rows else table.arrow_schema().empty_table()


@dataclass
class Case:
    """One hand-worked case: what the tables hold, and all that must be found."""

    place: str
    world: World
    expected: list[dict[str, Any]]

    @cached_property
    def found(self) -> list[dict[str, Any]]:
        return self.world.findings()


def _cases() -> Iterator[tuple[str, Case]]:
    for path in sorted(CASES.glob("[0-9]*.md")):
        for section in path.read_text(encoding="utf-8").split("\n## ")[1:]:
            title = section.partition("\n")[0]
            yield title, _case(f"{path.name}: {title}", section)


def _case(place: str, section: str) -> Case:
    blocks = {name: list(_table(place, section, name)) for name in _BLOCKS if f"\n{name}\n\n|" in section}
    read = {name: [_read(place, _BLOCKS[name], row) for row in rows] for name, rows in blocks.items()}
    world = World(
        dossiers=read.get("Hồ sơ", ()),
        claims=read["Nguồn nói"],
        steps=read.get("Bước xử lý", ()),
        supplements=read.get("Bổ sung", ()),
    )
    return Case(place, world, read["Phải ghi"])


_BLOCKS: Mapping[str, Mapping[str, Any]] = {
    "Hồ sơ": _DOSSIER,
    "Nguồn nói": _CLAIM,
    "Bước xử lý": _STEP,
    "Bổ sung": _SUPPLEMENT,
    "Phải ghi": {"hồ sơ": ("dossier_key", _same)} | _EXPECTED,
}


def _table(place: str, section: str, name: str) -> Iterator[dict[str, str]]:
    lines = section.split(f"\n{name}\n\n", 1)[1].split("\n\n", maxsplit=1)[0].strip().splitlines()
    header, _, *rows = ([cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines)
    for row in rows:
        assert len(row) == len(header), f"{place}: {name}: {row}"
        yield dict(zip(header, row, strict=True))


def _read(place: str, columns: Mapping[str, Any], row: Mapping[str, str]) -> dict[str, Any]:
    unknown = set(row) - set(columns)
    assert not unknown, f"{place}: {unknown}"
    return {columns[name][0]: columns[name][1](cell) for name, cell in row.items()}


BY_HAND = dict(_cases())


@pytest.mark.parametrize("case", BY_HAND.values(), ids=BY_HAND.keys())
def test_a_case_worked_by_hand(case: Case) -> None:
    found = case.found
    wanted = {(row.get("dossier_key", "A"), row["kind"]): row for row in case.expected}
    assert {(row["dossier_key"], row["kind"]) for row in found} == set(wanted), case.place
    for row in found:
        expected = wanted[row["dossier_key"], row["kind"]]
        assert {name: row[name] for name in expected} == expected, case.place


def test_every_kind_pattern_and_lateness_is_in_a_case_and_has_a_sentence() -> None:
    found = [row for case in BY_HAND.values() for row in case.found]
    assert {row["kind"] for row in found} == set(FINDINGS)
    assert {row["pattern"] for row in found} - {None} == set(PATTERNS)
    assert {row["lateness"] for row in found} - {None} == set(LATENESS)
    told = {(row["kind"], row["detail"]) for row in explanations().to_pylist()}
    assert {(row["kind"], row["pattern"] or row["lateness"] or "") for row in found} <= told
    assert {kind for kind, _ in told} == set(FINDINGS)
    assert {detail for _, detail in told} <= {"", *PATTERNS, *LATENESS}


def test_a_finding_carries_its_dossier_and_its_sentence() -> None:
    (row,) = World(
        dossiers=[{"dossier_code": "H15.07-261001-0001", "unit_level": "province", "received_on": date(2026, 10, 1)}],
        claims=[{"source": "onestop", "channel": "online"}, {"source": "messages"}],
    ).findings()
    assert row == {
        "dossier_key": "A",
        "kind": "channel",
        "dossier_code": "H15.07-261001-0001",
        "unit_code": "H15.SNV",
        "unit_level": "province",
        "procedure_code": "1.001193",
        "received_on": date(2026, 10, 1),
        "status_code": 4,
        "sources": "onestop, messages",
        "portal_value": None,
        "onestop_value": "trực tuyến",
        "messages_value": "trực tiếp",
        "believed_source": "onestop",
        "other_key": None,
        "difference_seconds": None,
        "difference_days": None,
        "since_at": _at("05/10 08:00"),
        "age_days": 26,  # 5 October 08:00 to 1 November 00:00 is 26 days and 16 hours
        "pattern": None,
        "lateness": None,
        "explanation": "Các nguồn ghi kênh nộp khác nhau; tỷ lệ trực tuyến tính theo nguồn được tin.",
        "as_of": AS_OF,
    }


def test_the_message_log_is_dated_by_its_storing_and_a_fast_clock_by_now() -> None:
    """A log never says when it was changed; a source whose clock runs ahead changed it now at the latest."""
    (stored,) = World(
        claims=[{"source": "onestop", "channel": "online"}, {"source": "messages", "modified_at": None}]
    ).findings()
    assert (stored["since_at"], stored["age_days"]) == (_at("31/10 23:00"), 0)
    (ahead,) = World(
        claims=[{"source": "onestop", "channel": "online", "modified_at": _at("02/11 09:00")}, {"source": "messages"}]
    ).findings()
    assert (ahead["since_at"], ahead["age_days"]) == (AS_OF, 0)


def test_no_person_can_be_in_a_finding() -> None:
    """Only codes, statuses, days, flags and our own sentences: the compared columns are all that is shown."""
    shown = {each.column for each in COMPARED}
    assert shown <= set(CORE_CLAIM.column_names) | {"ended_at"}
    assert not [name for name in OUT_RECONCILIATION.column_names if re.search("name|person|phone|address", name)]


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        World().findings(as_of=AS_OF.replace(tzinfo=None))


def test_counts_for_the_operator() -> None:
    late = {"status_code": 9, "due_at": _at("12/10 17:00")}
    world = World(
        dossiers=[late | {"deadline_at": _at("12/10 17:00"), "ended_at": _at("14/10 10:00")}],
        claims=[
            late | {"source": "onestop", "completed_at": _at("14/10 10:00")},
            late | {"source": "portal", "completed_at": _at("12/10 16:00")},
        ],
    )
    rows = pa.Table.from_pylist(world.findings(), schema=OUT_RECONCILIATION.arrow_schema())
    assert finding_counts(rows) == {"findings_end_date": 1, "findings_late": 1, "late_sync": 1}


_INSTANTS = st.datetimes(min_value=datetime(2026, 9, 1), max_value=datetime(2026, 11, 30)).map(  # noqa: DTZ001
    lambda naive: naive.replace(microsecond=0, tzinfo=UTC)
)
_CLAIMS = st.lists(
    st.fixed_dictionaries(
        {
            "dossier_key": st.sampled_from("ABCDEFGHIJKL"),
            "source": st.sampled_from(("portal", "onestop", "messages")),
            "code": st.sampled_from((None, "A-1", "B-1", "C-1")),
            "other_code": st.sampled_from((None, "A-1", "N-1")),
            "status_code": st.integers(1, 10),
            "received_at": st.none() | _INSTANTS,
            "due_at": st.none() | _INSTANTS,
            "completed_at": st.none() | _INSTANTS,
            "is_paid_online": st.sampled_from((None, True, False)),
            "modified_at": st.none() | _INSTANTS,
        }
    ),
    max_size=40,
)
_DOSSIERS = st.lists(
    st.fixed_dictionaries(
        {
            "dossier_key": st.sampled_from("ABCDEFGHIJKL"),
            "status_code": st.integers(1, 10),
            "received_at": st.none() | _INSTANTS,
            "due_at": st.none() | _INSTANTS,
            "deadline_at": st.none() | _INSTANTS,
            "ended_at": st.none() | _INSTANTS,
            "supplement_count": st.integers(0, 3),
            "is_received": st.booleans(),
        }
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda row: row["dossier_key"],
)


@settings(max_examples=8, deadline=None)
@given(dossiers=_DOSSIERS, claims=_CLAIMS)
def test_whatever_the_sources_say(dossiers: list[dict[str, Any]], claims: list[dict[str, Any]]) -> None:
    """Findings are of dossiers that exist, one per kind; exactly the late ones are late; and two sources that
    say the same thing word for word are never told to disagree.
    """
    found = World(dossiers=dossiers, claims=claims).findings()
    keys = {row["dossier_key"]: row for row in dossiers}
    assert {row["dossier_key"] for row in found} <= set(keys)
    assert len({(row["dossier_key"], row["kind"]) for row in found}) == len(found)
    late = {key for key, row in keys.items() if _is_late(row)}
    assert {row["dossier_key"] for row in found if row["kind"] == "late"} == late
    for row in found:
        assert (row["lateness"] is not None) == (row["kind"] == "late")
        assert row["explanation"]
        assert row["since_at"] <= AS_OF
        assert row["age_days"] == (AS_OF - row["since_at"]) // timedelta(days=1)
        if row["kind"] in {each.kind for each in COMPARED}:
            said = {row[f"{source}_value"] for source in ("portal", "onestop", "messages")}
            assert len(said) > 1
        if row["pattern"] == "missing_value":
            assert row["difference_seconds"] <= DATE_TOLERANCE.total_seconds() or row["difference_days"] == 0


def _is_late(row: Mapping[str, Any]) -> bool:
    """The national rule, 2.2, in plain Python: read from the text, not from the query."""
    if row["received_at"] is None or row["status_code"] == 1:
        return False
    end = row["ended_at"] or AS_OF
    return row["supplement_count"] > 1 or (row["deadline_at"] is not None and end > row["deadline_at"])


@settings(max_examples=4, deadline=None)
@given(
    seen=st.lists(
        st.tuples(
            st.sampled_from(("portal", "onestop", "messages")),
            st.integers(0, 10 * 86_400) | st.integers(-1, 1).map(lambda second: 3 * 86_400 + second),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_absence_waits_for_the_grace_and_counts_from_reception(seen: list[tuple[str, int]]) -> None:
    young = {"dossier_key": "young", "received_at": AS_OF}
    dossiers: list[Mapping[str, Any]] = [young]
    claims: list[Mapping[str, Any]] = [young | {"source": source} for source in _SOURCES.values()]
    expected = {}
    for number, (source, age) in enumerate(seen):
        # Another procedure each, so that no two can be taken for one.
        said = {"received_at": AS_OF - timedelta(seconds=age), "procedure_code": f"1.{number:06}"}
        dossiers.append(said | {"dossier_key": str(number)})
        claims.append(said | {"dossier_key": str(number), "source": source})
        if timedelta(seconds=age) >= GRACE:
            for kind in (f"only_in_{source}", *(["missing_in_messages"] if source != "messages" else [])):
                expected[str(number), kind] = age // 86_400
    found = World(dossiers=dossiers, claims=claims).findings()
    assert {(row["dossier_key"], row["kind"]): row["age_days"] for row in found} == expected
