"""A system that nobody has seen before is connected by one YAML file, and arrives in the core.

"Mộc" is invented: pages by cursor, a token in a header of its own, records two levels deep, instants in
milliseconds since 1970. No line of the product knows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import stamina
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from assets.questions.trace import trace
from assets.raw.extraction import UnreachableSource, probe
from assets.raw.tables import profiled_table
from expectations.suites import load_suite
from orchestration.build import assets, checks
from orchestration.partitions import daily
from orchestration.settings import load_province
from sandbox.people import people
from sandbox.population import VIETNAM
from tests.connectors.rest.homes import PROVINCES, OneSource, vietnam
from tests.connectors.rest.servers import serving, spoiled
from warehouse.tables import CORE_COMPONENT, CORE_DOSSIER, CORE_PAYMENT

PROFILE = """
system: Mộc
dates: [epoch_ms]
auth: {kind: header, name: X-Moc-Key}
list:
  path: /v3/cases
  params: {unit: "{province}"}
  records: payload.cases
  error: {path: status.code, ok: [0]}
  paging: {kind: cursor, cursor: after, next: payload.next, size: take}
  changes:
    kind: windows
    axes: [{from: changed_from, to: changed_to}]
    format: epoch_ms
    days: 30
    to_is_exclusive: true
fields:
  record_id: case.uid
  dossier_code: case.codes.public
  national_code: case.codes.national
  procedure_code: case.procedure
  agency: desk.code
  agency_name: desk.label
  status: state
  channel: case.way
  modified_at: times.changed
  submitted_at: [times.sent, times.changed]
  received_at: times.taken
  due_at: times.promised
  returned_at: times.handed
  has_result: outcome.file
  components:
    each: papers
    fields: {component_code: kind, has_file: scan, is_digitised: digital}
  payments:
    each: money.lines[?type == 'fee']
    fields: {amount_vnd: dong, method: $.money.how, state: $.money.state, paid_at: when}
  supplements:
    each: asks
    fields: {requested_at: at, answered_at: answered}
  is_deleted: gone
codes:
  status: {open: "4", over: "10"}
  channel: {web: online, desk: direct}
  payment_method: {bank: online}
  payment_state: {done: settled, none: open}
"""
PROVINCE = f"""
province_code: H15
name: Thử nghiệm
start_on: 2026-01-01
departments: {PROVINCES}/departments.csv
agencies: agencies.csv
codes: {PROVINCES}/codes.csv
targets: []
sources:
  moc:
    kind: rest
    role: onestop
    profile: moc.yaml
    base_url: ADDRESS/api
    token_env: THUOCDO_MOC_KEY
    values: {{province: H15}}
    page_rows: 4
"""
PERSON = people()[0]
TAKEN = datetime(2026, 9, 7, 8, 30, tzinfo=VIETNAM)


def epoch(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def case(number: int, **said: Any) -> dict[str, Any]:
    """One dossier in Mộc's words; the applicant is invented and must stay behind."""
    taken = TAKEN + timedelta(days=number)
    return {
        "case": {
            "uid": f"m-{number}",
            "codes": {"public": f"H15-MOC-{number:04d}", "national": None},
            "procedure": "1.001612.000.00.00.H15",
            "way": "web" if number % 2 else "desk",
            "owner": {"name": PERSON.name, "cccd": PERSON.identity_number, "phone": PERSON.phone},
        },
        "desk": {"code": "B-01", "label": "Bàn số một"},
        "state": "over" if number % 3 == 0 else "open",
        "times": {
            "changed": epoch(taken + timedelta(hours=5)),
            "sent": epoch(taken - timedelta(hours=1)),
            "taken": epoch(taken),
            "promised": epoch(taken + timedelta(days=5)),
            "handed": epoch(taken + timedelta(days=2)) if number % 3 == 0 else None,
        },
        "outcome": {"file": f"/kq/{PERSON.slug}.pdf"} if number % 3 == 0 else None,
        "papers": [
            {"kind": "G1", "scan": [f"{PERSON.slug}.pdf"], "digital": True},
            {"kind": "G2", "scan": [], "digital": False},
        ],
        "money": {
            "how": "bank",
            "state": "done",
            "lines": [
                {"type": "note", "dong": 1},
                {"type": "fee", "dong": 15000, "when": epoch(taken + timedelta(hours=2))},
            ],
        },
        "asks": [{"at": epoch(taken + timedelta(days=1)), "answered": None, "text": PERSON.name}],
        **said,
    }


@dataclass
class Moc:
    """The invented system."""

    cases: list[dict[str, Any]] = field(default_factory=lambda: [case(number) for number in range(1, 15)])
    asked: list[dict[str, str]] = field(default_factory=list)

    async def answer(self, request: Request) -> Response:
        if request.headers.get("x-moc-key") != "khoa-thu":
            return JSONResponse({"status": {"code": 9}}, status_code=401)
        said = dict(request.query_params)
        self.asked.append(said)
        if said.get("unit") != "H15":
            return JSONResponse({"status": {"code": 7}, "payload": None})
        low, high = int(said["changed_from"]), int(said["changed_to"])
        found = [one for one in self.cases if low <= one["times"]["changed"] < high]
        begin, take = int(said.get("after", "k0")[1:]), int(said["take"])
        token = f"k{begin + take}" if begin + take < len(found) else ""
        payload = {"cases": found[begin : begin + take], "next": token}
        return JSONResponse({"status": {"code": "0"}, "payload": payload})


@dataclass
class Connected:
    """Mộc, and a home that reads it."""

    moc: Moc
    home: OneSource
    folder: Path


@pytest.fixture
def faults() -> tuple[str, ...]:
    return ()


@pytest.fixture
def connected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: tuple[str, ...]) -> Iterator[Connected]:
    monkeypatch.setenv("THUOCDO_MOC_KEY", "khoa-thu")
    moc = Moc()
    with serving({"/api/v3/cases": spoiled(moc.answer, *faults)}) as address:
        (tmp_path / "moc.yaml").write_text(PROFILE, encoding="utf-8")
        (tmp_path / "agencies.csv").write_text("source,agency,unit_code\nmoc,B-01,H15.STP\n", encoding="utf-8")
        (tmp_path / "province.yaml").write_text(PROVINCE.replace("ADDRESS", address), encoding="utf-8")
        settings = load_province(tmp_path / "province.yaml").sources["moc"]
        home = OneSource(tmp_path / "home", "moc", settings, ["moc,B-01,H15.STP"])
        yield Connected(moc, home, tmp_path)


START, END = vietnam(2026, 9, 1), vietnam(2026, 10, 1)


def test_one_yaml_file_brings_every_fact_into_the_core(connected: Connected) -> None:
    home = connected.home
    count = home.read("n1", START, END)
    assert (count.rows_read, count.rows_stored, count.rows_quarantined) == (14, 14, 0)
    home.conform("n1")
    assert home.quarantined() == []
    rows = {row["dossier_code"]: row for row in home.rows(CORE_DOSSIER)}
    assert len(rows) == 14
    third = rows["H15-MOC-0003"]
    taken = TAKEN + timedelta(days=3)
    expected = {
        "unit_code": "H15.STP",
        "procedure_code": "1.001612",
        "status_code": 10,
        "channel": "online",
        "submitted_at": taken - timedelta(hours=1),
        "received_at": taken,
        "due_at": taken + timedelta(days=5),
        "returned_at": taken + timedelta(days=2),
        "component_count": 2,
        "has_digitised_component": True,
        "is_paid_online": True,
    }
    assert {name: third[name] for name in expected} == expected
    assert {row["has_file"] for row in home.rows(CORE_COMPONENT)} == {True, False}
    payments = home.rows(CORE_PAYMENT)
    assert {(row["amount_vnd"], row["is_settled"], row["is_online"]) for row in payments} == {(15000, True, True)}
    assert len(payments) == 14, "only lines of type fee are payments"
    raw = {row["record_id"]: row for row in home.rows(profiled_table("moc"))}
    assert {key for key, row in raw.items() if row["has_result"]} == {"m-3", "m-6", "m-9", "m-12"}
    asked = {"requested_at": str(epoch(taken + timedelta(days=1))), "answered_at": None}
    assert {name: raw["m-3"]["supplements"][0][name] for name in asked} == asked


def test_the_next_night_reads_what_changed_and_what_is_deleted_leaves_the_core(connected: Connected) -> None:
    home, moc = connected.home, connected.moc
    home.read("n1", START, END)
    home.conform("n1")
    later = END + timedelta(days=1)
    moc.cases[2] = case(3, state="open", times=case(3)["times"] | {"changed": epoch(END + timedelta(hours=3))})
    moc.cases[4] = case(5, gone="2026-10-01", times=case(5)["times"] | {"changed": epoch(END + timedelta(hours=4))})
    moc.asked.clear()
    count = home.read("n2", END, later)
    assert (count.rows_read, count.rows_stored) == (2, 2)
    # Three days before the cursor are read again, and nothing older.
    assert min(int(said["changed_from"]) for said in moc.asked) == epoch(vietnam(2026, 9, 28))
    home.conform("n2")
    rows = {row["dossier_code"]: row["status_code"] for row in home.rows(CORE_DOSSIER)}
    assert rows["H15-MOC-0003"] == 4
    assert "H15-MOC-0005" not in rows
    assert len(rows) == 13


def test_a_dossier_of_it_can_be_traced_to_every_version_of_its_record(connected: Connected) -> None:
    home, moc = connected.home, connected.moc
    home.read("n1", START, END)
    moc.cases[2] = case(3, state="open", times=case(3)["times"] | {"changed": epoch(END + timedelta(hours=3))})
    moc.cases[3] = case(4, state="paused")
    later = END + timedelta(days=1)
    home.read("n2", END, later)
    home.conform("n2")
    found = trace(home.lake, "H15-MOC-0003", definitions=(), as_of=later)
    (record,) = found.records
    assert (record.source, record.record_key, record.rule) == ("onestop", "moc:m-3", "alone")
    assert [version.night for version in record.versions] == ["n1", "n2"]
    changed = {change.field: (change.before, change.after) for change in record.versions[1].changes}
    assert changed["status"] == ("over", "open")
    assert record.versions[0].source_time == str(case(3)["times"]["changed"])


def test_a_record_that_waits_in_quarantine_can_be_traced_too(connected: Connected) -> None:
    connected.moc.cases[3] = case(4, state="paused")
    connected.home.read("n1", START, END)
    connected.home.conform("n1")
    found = trace(connected.home.lake, "h15-moc-0004", definitions=(), as_of=END)
    assert found.dossier_key is None
    assert [(record.source, record.record_key) for record in found.records] == [("moc", "moc:m-4")]
    assert [held.reason for held in found.quarantine] == ["unmapped_status"]


def test_a_member_that_the_profile_reads_and_that_is_gone_is_told_as_missed(connected: Connected) -> None:
    connected.home.read("n1", START, END)
    later = END + timedelta(days=1)
    for number in range(len(connected.moc.cases)):
        changed = case(number + 1)["times"] | {"changed": epoch(END + timedelta(hours=number / 10))}
        connected.moc.cases[number] = case(number + 1, times=changed, note="x")
        del connected.moc.cases[number]["outcome"]
    notes = connected.home.read("n2", END, later).notes
    assert "nguồn moc: trường mới «note» (ngoài hợp đồng, không lưu)" in notes
    assert "nguồn moc: không còn trường «outcome» (các chỉ số dùng trường này sẽ thiếu dữ liệu)" in notes


def test_an_amount_that_is_none_sets_its_dossier_aside_and_the_others_go_on(connected: Connected) -> None:
    for number, dong in ((3, "1e30"), (4, "NaN"), (5, "mười nghìn")):
        lines = [{"type": "fee", "dong": dong, "when": None}]
        connected.moc.cases[number] = case(number + 1, money={"how": "bank", "state": "done", "lines": lines})
    connected.home.read("n1", START, END)
    connected.home.conform("n1")
    told = {(row["record_key"], row["reason"]) for row in connected.home.quarantined()}
    assert told == {(f"moc:m-{number}", "payments_readable") for number in (4, 5, 6)}
    assert len(connected.home.rows(CORE_DOSSIER)) == 11


def test_its_table_has_the_suite_that_all_profiled_tables_share(connected: Connected) -> None:
    connected.home.read("n1", START, END)
    table = profiled_table("moc")
    suite = load_suite(table)
    queries = {one.id: one.query for one in suite.expectations if one.query}
    assert {"key_unique", "record_key_agrees", "status_said", "versions_differ"} <= set(queries)
    lake = connected.home.lake.connect(table)
    assert {name: lake.sql(query).fetchall() for name, query in queries.items()} == {name: [] for name in queries}
    wrong = connected.home.lake.read(table).to_pylist()[:1]
    wrong[0] |= {"record_key": "khac:m-1", "agency": " "}
    connected.home.lake.append(table, pa.Table.from_pylist(wrong, schema=table.arrow_schema()))
    lake = connected.home.lake.connect(table)
    offences = {name: len(lake.sql(query).fetchall()) for name, query in queries.items()}
    assert (offences["record_key_agrees"], offences["agency_said"]) == (1, 1)


def test_a_province_with_it_has_assets_and_checks_for_its_table(connected: Connected) -> None:
    province = load_province(connected.folder / "province.yaml")
    assert "raw_profiled_moc" in {key.asset_key.to_user_string() for one in checks(province) for key in one.check_keys}
    made = {key.to_user_string() for one in assets(province, daily(province.start_on)) for key in one.keys}
    assert {"raw_profiled_moc", "core_dossier", "published"} <= made


@pytest.mark.parametrize("faults", [("429", "500", "html", "cut", "", "html", "", "cut", "429")])
def test_a_bad_day_changes_nothing(connected: Connected) -> None:
    with stamina.set_testing(True, attempts=6):
        count = connected.home.read("n1", START, END)
    assert (count.rows_read, count.rows_stored) == (14, 14)
    keys = {row["record_key"] for row in connected.home.rows(profiled_table("moc"))}
    assert keys == {f"moc:m-{number}" for number in range(1, 15)}


def test_no_person_of_the_wire_is_stored(connected: Connected) -> None:
    connected.moc.cases[0]["times"]["taken"] = PERSON.name
    connected.moc.cases[1]["papers"] = PERSON.name
    connected.moc.cases[2]["money"] = {"lines": [{"type": "fee", "dong": {"paid by": PERSON.name}}]}
    connected.home.read("n1", START, END)
    connected.home.conform("n1")
    kept = b"".join(path.read_bytes() for path in connected.home.root.rglob("*") if path.is_file())
    tables = repr([connected.home.rows(profiled_table("moc")), connected.home.quarantined()])
    for word in (PERSON.name, PERSON.identity_number, PERSON.phone, PERSON.slug):
        assert word.encode() not in kept
        assert word not in tables


def test_a_profile_that_is_wrong_names_the_file_and_the_key(connected: Connected) -> None:
    for wrong, told in {
        "status: state": "status: st..ate",
        "kind: cursor": "kind: curser",
        "each: papers": "each: papers[",
        'unit: "{province}"': 'unit: "{provinz}"',
        "token_env: THUOCDO_MOC_KEY": "",
    }.items():
        text = PROFILE.replace(wrong, told)
        (connected.folder / "moc.yaml").write_text(text, encoding="utf-8")
        province = (connected.folder / "province.yaml").read_text(encoding="utf-8").replace(wrong, told)
        (connected.folder / "wrong.yaml").write_text(province, encoding="utf-8")
        with pytest.raises(ValueError, match=_KEYS[wrong]):
            load_province(connected.folder / "wrong.yaml")


_KEYS = {
    "status: state": r"moc\.yaml: fields\.status\.path: .*'st\.\.ate' cannot be read after 'st'",
    "kind: cursor": r"moc\.yaml: list\.paging: .*'curser'",
    "each: papers": r"moc\.yaml: fields\.components\.each\.each: .*'papers\['",
    'unit: "{province}"': r"values\.provinz",
    "token_env: THUOCDO_MOC_KEY": r"auth header needs token_env",
}


def test_a_wrong_place_of_the_records_is_told_with_what_is_there(connected: Connected) -> None:
    (connected.folder / "moc.yaml").write_text(PROFILE.replace("payload.cases", "payload.rows"), encoding="utf-8")
    with pytest.raises(UnreachableSource, match=r"sources\.moc\.profile: .*list\.records.*has status, payload"):
        probe("moc", connected.home.settings)


def test_a_refused_token_names_the_key(connected: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THUOCDO_MOC_KEY", "sai")
    with pytest.raises(UnreachableSource, match=r"sources\.moc\..*401"):
        probe("moc", connected.home.settings)
    monkeypatch.delenv("THUOCDO_MOC_KEY")
    with pytest.raises(UnreachableSource, match=r"sources\.moc\.token_env"):
        probe("moc", connected.home.settings)
