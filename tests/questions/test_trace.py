"""One dossier traced: by hand over records that a clerk could have typed, and every dossier of a small province."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from assets.indicators.definitions import load_definition, load_definitions
from assets.questions.decisions import Question, said
from assets.questions.memberships import memberships
from assets.questions.trace import (
    FACTS,
    AmbiguousCodeError,
    Counted,
    Trace,
    UnknownDossierError,
    believed,
    claim_column,
    speaking,
    trace,
)
from assets.raw.quarantine import quarantine
from orchestration.commands.trace import rendered
from tests.dossiers.platform import SOURCE, Platform, transaction
from tests.dossiers.records import World, message, onestop, portal, progress
from tests.questions.conftest import TwoNights
from tests.rows import table_rows
from warehouse.lake import Lake
from warehouse.tables import CORE_AGENCY, CORE_CLAIM, CORE_DOSSIER, RAW_QUARANTINE

CODE, OTHER = "H15.07-261001-0001", "000.00.07.H15-261001-0777"
ANOTHER = "H15.07-261001-0009"
AS_OF = datetime(2026, 10, 31, 17, tzinfo=UTC)
DEFINITIONS = load_definitions()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Only read; see `_world`."""
    return _world(tmp_path_factory.mktemp("world"))


def _world(folder: Path) -> World:
    """A dossier that three systems know; on the second night the one-stop system finishes it."""
    world = World(folder)
    received = onestop("a1", code=CODE, applyMethodId=1)
    world.night(
        portal=[
            portal(1, dossierNo=CODE, online="true", submitDate="30/09/2026 23:30:00", dueDate="08/10/2026 17:00:00")
        ],
        onestop=[received],
        messages=[
            message(
                CODE,
                MaHoSoKhac=OTHER,
                DanhSachHoSoBoSung=[{"NgayBoSung": "20261005080000", "NgayTiepNhanBoSung": "20261006100000"}],
            )
        ],
        progress=[progress(CODE, "20261002080000")],
    )
    finished = {"completedDate": "2026-10-09T09:00:00.000+0700", "updatedDate": "2026-10-09T09:05:00.000+0700"}
    world.night(onestop=[received | {"dossierStatusId": 9} | finished])
    return world


def _trace(world: World, code: str = CODE) -> Trace:
    return trace(world.lake, code, definitions=DEFINITIONS, as_of=AS_OF)


def _version(found: Trace, indicator: str, version: str) -> Counted:
    (one,) = [one for one in found.indicators if (one.indicator, one.version) == (indicator, version)]
    return one


def test_a_payment_that_waits_is_shown_with_its_dossier(tmp_path: Path) -> None:
    """T1 is counted; T2 has a state without a meaning, T3 no amount that can be read; T4 was booked to another dossier
    since, T5 is another dossier's.
    """
    world = Platform(tmp_path)
    moved = transaction("T4", CODE, TrangThai="Đang đối soát")
    unknown, unreadable = {"TrangThai": "Đang đối soát"}, {"SoTien": "năm mươi nghìn"}
    rows = [transaction("T1", CODE), transaction("T2", CODE, **unknown), transaction("T3", CODE, **unreadable), moved]
    world.drop("1.csv", [*rows, transaction("T5", ANOTHER, **unknown), transaction("T6", ANOTHER, **unreadable)])
    world.night(onestop=[onestop("o1", code=CODE)])
    world.drop("2.csv", [moved | {"MaHoSo": ANOTHER}])
    world.night()
    found = _trace(world)
    rules = {one.record_key: one.rule for one in found.records if one.source == "payments"}
    assert rules == {f"{SOURCE}:T1": "code", f"{SOURCE}:T2": None}
    assert [(one.record_key, one.reason) for one in found.quarantine] == [
        (f"{SOURCE}:T3", "not_amount"),
        (f"{SOURCE}:T2", "unmapped_payment_state"),
    ]
    assert [one.amount_vnd for one in found.payments] == [50_000]
    printed = "\n".join(map(str, rendered(found)))
    assert f"payments {SOURCE}:T2 (không tham gia hợp nhất)" in printed


def test_each_agency_is_told_as_its_sources_directory_calls_it(tmp_path: Path) -> None:
    """The one-stop names it by code, the message by name; the portal's directory lacks it; progress names none."""
    world = _world(tmp_path)
    agencies = {one.source: one.agency for one in _trace(world).records}
    assert agencies["progress"] is None
    assert {one.listed for one in _trace(world).records} == {None}, "nobody keeps a directory"
    rows = [
        ("onestop", agencies["onestop"], "Sở Nội vụ cũ", date(2026, 9, 1), date(2026, 9, 30), None),
        ("onestop", agencies["onestop"], "Sở Nội vụ", date(2026, 10, 1), None, "H15.SNV"),
        ("messages", "K07", agencies["messages"], date(2026, 9, 1), None, None),
        ("portal", "KHAC", "Sở Y tế", date(2026, 9, 1), None, None),
    ]
    names = ("source", "agency", "name", "first_listed_on", "last_listed_on", "unit_code")
    world.lake.replace(CORE_AGENCY, table_rows(CORE_AGENCY, *(dict(zip(names, row, strict=True)) for row in rows)))
    found = _trace(world)
    listed = {one.source: one.listed for one in found.records}
    (onestop_says,) = listed["onestop"] or ()
    assert (onestop_says.name, onestop_says.unit_code) == ("Sở Nội vụ", "H15.SNV")
    assert onestop_says.note == "đổi tên từ 01/10/2026, trước là “Sở Nội vụ cũ”"
    (message_says,) = listed["messages"] or ()
    assert (message_says.agency, message_says.unit_code) == ("K07", None)
    assert (listed["portal"], listed["progress"]) == ((), None)
    printed = "\n".join(map(str, rendered(found)))
    assert "“Sở Nội vụ”, đổi tên từ 01/10/2026, trước là “Sở Nội vụ cũ” → H15.SNV" in printed
    assert f"đơn vị {agencies['portal']}: danh bạ của nguồn không có" in printed
    assert "chưa gắn đơn vị" in printed


@pytest.mark.parametrize("code", [CODE, " h15.07–261001–0001 ", "H15.07 - 261001 - 0001", OTHER, OTHER.lower()])
def test_any_of_its_codes_names_a_dossier(world: World, code: str) -> None:
    assert _trace(world, code).dossier_key == CODE


def test_every_version_of_every_record_with_what_changed(world: World) -> None:
    records = {one.source: one for one in _trace(world).records}
    assert list(records) == ["portal", "onestop", "messages", "progress"]
    assert {(one.rule, one.evidence) for one in records.values()} == {("code", CODE)}
    first, second = records["onestop"].versions
    assert (first.night, second.night) == ("1", "2")
    assert (first.stored_at, second.stored_at) == (datetime(2026, 11, 2, tzinfo=UTC), datetime(2026, 11, 3, tzinfo=UTC))
    assert second.source_time == "2026-10-09T09:05:00.000+0700"
    assert first.changes == ()
    assert {(one.field, one.before, one.after) for one in second.changes} == {
        ("dossierStatusId", "2", "9"),
        ("completedDate", "trống", "2026-10-09T09:00:00.000+0700"),
        ("updatedDate", "2026-10-01T08:00:00.000+0700", "2026-10-09T09:05:00.000+0700"),
    }


def test_which_source_won_each_field_and_what_the_others_said(world: World) -> None:
    fields = {one.name: one for one in _trace(world).fields}
    assert set(fields) == set(CORE_DOSSIER.column_names) - {"lake_month"}
    channel = fields["channel"]
    assert (channel.value, channel.source) == ("online", "onestop")
    assert {one.source: one.value for one in channel.said} == {
        "portal": "online",
        "onestop": "online",
        "messages": "direct",
    }
    # The portal alone knows the submission and the promise; the one-stop system's word on the end is taken
    # even where it is blank.
    assert (fields["submitted_at"].value, fields["submitted_at"].source) == ("30/09/2026 23:30:00", "portal")
    assert (fields["due_at"].value, fields["due_at"].source) == ("08/10/2026 17:00:00", "portal")
    assert (fields["returned_at"].value, fields["returned_at"].source) == ("trống", "onestop")
    assert (fields["supplement_count"].value, fields["supplement_count"].source) == ("1", "messages")


def test_the_deadline_is_told_step_by_step(world: World) -> None:
    """Promised for 8 October 17:00; 26 hours waited for the citizen; so due 9 October 19:00, ended 9:00: in time."""
    deadline = _trace(world).deadline
    assert deadline is not None
    assert (deadline.basis, deadline.end_kind, deadline.is_late) == ("promise", "processed", False)
    assert deadline.sentences[:4] == (
        "Hạn dựa trên hẹn trả: 08/10/2026 17:00:00.",
        "Hạn được lùi theo thời gian chờ bổ sung: 1 ngày 2 giờ.",
        "Kết thúc bằng kết thúc xử lý lúc 09/10/2026 09:00:00 (thứ tự ưu tiên của 2.2).",
        "Hạn 09/10/2026 19:00:00: không sau hạn.",
    )


_ASKED = {"NgayBoSung": "20261005080000"}
_ANSWERED = _ASKED | {"NgayTiepNhanBoSung": "20261006100000"}
_PROMISES = {"NgayHenTraTruoc": "20261008170000", "NgayHenTraMoi": "20261012170000"}


@pytest.mark.parametrize(
    ("supplement", "told", "due"),
    [
        # Nobody wrote down when the citizen answered, and the office works on: the promise in force is all there is.
        (_ASKED | _PROMISES, ["Hạn dựa trên hẹn trả: 12/10/2026 17:00:00."], "12/10/2026 17:00:00"),
        # The only promise known was made after the 26 hours of waiting, and holds them already.
        (
            _ANSWERED | {"NgayHenTraMoi": "20261012170000"},
            [
                "Hạn dựa trên hẹn trả: 12/10/2026 17:00:00.",
                "Hẹn trả này được đặt sau khi nhận bổ sung nên đã gồm thời gian chờ; hạn không lùi thêm.",
            ],
            "12/10/2026 17:00:00",
        ),
        # The promise before the request, and the 26 hours.
        (
            _ANSWERED | _PROMISES,
            [
                "Hạn dựa trên hẹn trả trước khi yêu cầu bổ sung: 08/10/2026 17:00:00.",
                "Hạn được lùi theo thời gian chờ bổ sung: 1 ngày 2 giờ.",
            ],
            "09/10/2026 19:00:00",
        ),
    ],
)
def test_the_promise_that_is_told_is_the_one_that_was_reckoned_with(
    tmp_path: Path, supplement: dict[str, str], told: list[str], due: str
) -> None:
    world = World(tmp_path)
    world.night(messages=[message(CODE, NgayHenTra="20261012170000", DanhSachHoSoBoSung=[supplement])])
    deadline = _trace(world).deadline
    assert deadline is not None
    assert list(deadline.sentences[: len(told)]) == told
    assert f"Hạn {due}: sau hạn." in deadline.sentences


def test_more_than_one_supplement_is_late_however_early_it_ended(tmp_path: Path) -> None:
    world = World(tmp_path)
    ended = {"TrangThaiHoSo": "9", "NgayKetThucXuLy": "20261007080000", "NgayHenTra": "20261012170000"}
    again = {"NgayBoSung": "20261006110000", "NgayTiepNhanBoSung": "20261006150000"}
    world.night(
        messages=[
            message(CODE, DanhSachHoSoBoSung=[_ANSWERED], **ended),
            message(CODE[:-1] + "2", DanhSachHoSoBoSung=[_ANSWERED, again], **ended),
        ]
    )
    once, twice = _trace(world).deadline, _trace(world, CODE[:-1] + "2").deadline
    assert once is not None
    assert twice is not None
    assert (once.is_late, twice.is_late) == (False, True)
    assert "Yêu cầu bổ sung 2 lần, hơn một lần là trễ (2.2)." in twice.sentences


def test_of_two_records_of_one_source_the_newest_speaks(tmp_path: Path) -> None:
    world = World(tmp_path)
    older, newer = "01/10/2026 08:00:00", "05/10/2026 08:00:00"
    world.night(
        portal=[
            portal(1, dossierNo=CODE, online="false", modifiedDate=newer),
            portal(2, dossierNo=CODE, online="true", modifiedDate=older),
        ]
    )
    (channel,) = [one for one in _trace(world).fields if one.name == "channel"]
    assert channel.value == "direct"
    assert {one.record_key: (one.value, one.speaks) for one in channel.said} == {
        "10101:1": ("direct", True),
        "10101:2": ("online", False),
    }


_RULE = """id: either
version: v1
name_vi: Một trong hai
name_en: Either
document: d
clause: c
valid_from: 2026-01-01
fact: dossier
event: received_on
population: is_received OR in_portal
numerator: NOT (is_reused AND has_fee)
note_vi: n
"""


@pytest.mark.parametrize(
    ("flags", "population", "numerator"),
    [
        # One part that holds is enough for OR; of AND that fails under NOT, one failing part is enough as well.
        ({"is_received": True, "in_portal": True}, ["is_received"], ["NOT is_reused"]),
        ({"is_received": False, "in_portal": True}, ["in_portal"], ["NOT is_reused"]),
        # Every part that fails is a reason.
        ({"is_received": False, "in_portal": False}, ["is_received", "in_portal"], None),
        ({"is_received": True, "is_reused": True, "has_fee": True}, ["is_received"], ["NOT is_reused", "NOT has_fee"]),
    ],
)
def test_the_parts_that_decide_are_the_fewest_that_do(
    tmp_path: Path, flags: dict[str, bool], population: list[str], numerator: list[str] | None
) -> None:
    file = tmp_path / "either.v1.yaml"
    file.write_text(_RULE, encoding="utf-8")
    row = {"dossier_key": "1", "lake_month": "2026-10", "unit_code": "H15.SNV", "unit_level": "province"}
    told = {"is_reused": False, "has_fee": False} | flags
    lake = Lake(str(tmp_path / "lake"))
    lake.replace(CORE_DOSSIER, table_rows(CORE_DOSSIER, row | {"received_on": date(2026, 10, 1)} | told))
    (judged,) = Question(load_definition(file), AS_OF, None).judgements(lake.connect(CORE_DOSSIER))
    parts = [part.text for part in judged.population.parts if part.text in {"is_received", "in_portal"}]
    assert parts == population
    assert (judged.numerator and [part.text for part in judged.numerator.parts]) == numerator


def test_which_part_of_which_rule_decided(world: World) -> None:
    """Online, but the procedure returns a paper and no electronic one is known: 3.3 no, the vendor's rule yes."""
    found = _trace(world)
    assert [(one.indicator, one.version) for one in found.indicators] == [one.key for one in DEFINITIONS]
    (national,) = _version(found, "online-processing", "766-3.3").judgements
    assert (national.in_denominator, national.in_numerator) == (True, False)
    assert (national.event_on, national.unit_code) == (date(2026, 10, 1), "H15.SNV")
    assert [part.vi for part in national.against] == [
        "NOT is_result_required → sai (is_result_required = true)",
        "has_electronic_result → sai (has_electronic_result = false)",
    ]
    (vendor,) = _version(found, "online-processing", "vendor-td").judgements
    assert (vendor.in_denominator, vendor.in_numerator, vendor.against) == (True, True, ())
    (due,) = _version(found, "on-time", "provincial").judgements
    # The provincial rule compares days with the promise itself, so 9 October is after 8 October.
    assert (due.in_denominator, due.in_numerator) == (True, False)
    by_kind = {one.counted_for: one.in_numerator for one in _version(found, "on-time", "766-2.1").judgements}
    assert by_kind == dict.fromkeys(("month", "quarter", "half", "year"), True)
    assert _version(found, "payment-transactions", "3478-ii2a").judgements == ()


def test_an_unknown_code_says_what_is_near(world: World) -> None:
    with pytest.raises(UnknownDossierError, match=r"Gần giống: H15\.07-261001-0001") as caught:
        _trace(world, "H15.07-261001-0999")
    assert caught.value.near == (CODE,)
    with pytest.raises(UnknownDossierError) as caught:
        _trace(world, "H15.07-261101-0001")
    assert caught.value.near == (CODE,)
    with pytest.raises(UnknownDossierError) as caught:
        _trace(world, "G22-1")
    assert caught.value.near == ()


def test_a_record_in_quarantine_is_found_and_says_why(tmp_path: Path) -> None:
    """A status that nobody has mapped keeps the only record of the dossier out."""
    world = World(tmp_path)
    world.night(onestop=[onestop("a2", code="H15.07-261002-0002", dossierStatusId=77)])
    found = _trace(world, "H15.07-261002-0002")
    assert (found.dossier_key, found.fields, found.indicators) == (None, (), ())
    ((record,), (held,)) = found.records, found.quarantine
    assert (record.source, record.record_key, record.rule) == ("onestop", "a2", None)
    assert (held.stage, held.reason) == ("conform", "unmapped_status")
    assert "77" in held.detail


def test_a_dossier_whose_only_record_was_refused_says_what_is_set_aside(tmp_path: Path) -> None:
    """T1's amount cannot be read, so that nothing carries its dossier's code; then the platform mends it."""
    world, code = Platform(tmp_path), "H15.07-261003-0003"
    world.drop("1.csv", [transaction("T1", code, SoTien="năm mươi nghìn")])
    world.night(onestop=[onestop("o1", code=CODE)])
    for asked in (code, f" {code.lower()} ".replace("-", "–")):
        found = _trace(world, asked)
        assert (found.dossier_key, found.records, found.fields, found.indicators) == (None, (), (), ())
        (held,) = found.quarantine
        assert (held.stage, held.source, held.record_key) == ("extract", SOURCE, f"{SOURCE}:T1")
        assert (held.reason, held.clause, held.settled_at) == ("not_amount", "payments.amount_vnd", None)
        entry = world.lake.read(RAW_QUARANTINE).to_pylist()[0]
        assert (held.window_start, held.window_end) == (entry["window_start"], entry["window_end"])
        assert held.quarantined_at == entry["quarantined_at"]
    printed = "\n".join(map(str, rendered(_trace(world, code))))
    since, start, end = map(said, (held.quarantined_at, held.window_start, held.window_end))
    assert f"mang mã {code}: chưa bản ghi nào dùng được" in printed
    assert f"{since} extract {SOURCE} {SOURCE}:T1: {held.detail}" in printed
    assert f"lý do not_amount (payments.amount_vnd); khi đọc khoảng {start} đến {end}; chưa xử lý" in printed
    with pytest.raises(UnknownDossierError):
        _trace(world, "H15.07-261003-0004")

    world.drop("2.csv", [transaction("T1", code)])
    world.night()
    mended = _trace(world, code)
    assert [one.record_key for one in mended.records] == [f"{SOURCE}:T1"]
    told = {one.reason: one.settled_at is None for one in mended.quarantine}
    assert told == {"not_amount": False, "payment_before_dossier": True}
    assert "đã xử lý" in "\n".join(map(str, rendered(mended)))


def test_what_a_catalogue_was_refused_for_is_no_dossier(tmp_path: Path) -> None:
    """A procedure's code is what its refusal is kept by; asked for as a dossier it is unknown."""
    world = _world(tmp_path)
    entry = {"reason": "unplaced_procedure", "clause": "name", "detail": "Thủ tục chưa có", "content_hash": "h"}
    quarantine([entry | {"record_key": "9.999999", "excerpt": None}], "catalogue", world.lake, now=AS_OF)
    with pytest.raises(UnknownDossierError):
        _trace(world, "9.999999")


def test_a_code_of_two_dossiers_is_not_guessed(tmp_path: Path) -> None:
    """The log's other code may be a substitute that two records share only after they were told apart."""
    world = _world(tmp_path)
    rows = world.lake.read(CORE_CLAIM).to_pylist()
    twin = rows[0] | {"record_key": "10101:9", "dossier_key": "H15.07-261001-0009", "other_code": OTHER}
    world.lake.append(CORE_CLAIM, world.lake.read(CORE_CLAIM).from_pylist([twin], schema=CORE_CLAIM.arrow_schema()))
    with pytest.raises(AmbiguousCodeError, match="có ở 2 hồ sơ"):
        _trace(world, OTHER)
    assert _trace(world, CODE).dossier_key == CODE


def test_belief_told_is_belief_held_for_every_dossier(two_nights: TwoNights) -> None:
    """The order of belief read from the claims gives the conformed row, fact by fact."""
    lake = two_nights.here.lake
    claims: dict[str, list[dict[str, object]]] = {}
    for claim in lake.read(CORE_CLAIM).to_pylist():
        claims.setdefault(str(claim["dossier_key"]), []).append(claim)
    kept = {name: fact for name, fact in FACTS.items() if claim_column(fact) in CORE_CLAIM.column_names}
    assert len(kept) >= 13
    differing: Counter[str] = Counter()
    for row in lake.read(CORE_DOSSIER).to_pylist():
        speakers = speaking(claims[row["dossier_key"]])
        for name, fact in kept.items():
            _, value = believed(fact, speakers)
            held = row[name]
            by_step = name == "denied_at" and value is None
            carried = name == "unit_code" and row["previous_unit_code"] == value
            differing[name] += not (by_step or carried or held == value or (held is False and value is None))
    assert sum(differing.values()) == 0, differing


def test_a_trace_says_what_the_memberships_say(two_nights: TwoNights) -> None:
    here, as_of = two_nights.here, two_nights.second.as_of
    keys = sorted(two_nights.second.dossier.dossier_key)[::60]
    for key in keys:
        found = trace(here.lake, key, definitions=DEFINITIONS, as_of=as_of)
        told = {
            (one.indicator, one.version, j.payment_no, j.counted_for, j.unit_code, j.event_on, j.in_numerator)
            for one in found.indicators
            for j in one.judgements
            if j.in_denominator
        }
        names = ("indicator", "version", "payment_no", "counted_for", "unit_code", "event_on", "in_numerator")
        rows = memberships(here.lake, DEFINITIONS, as_of=as_of, dossier_keys=[key]).to_pylist()
        assert told == {tuple(row[name] for name in names) for row in rows}
