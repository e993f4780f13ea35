"""Transactions of a payment platform: read from files, joined to their dossiers, believed line by line.

The cases of `payment_cases.csv` are worked by hand from the rule of docs/decisions/0029-payment-platform.md; the files
go through the real extraction by the shipped profile.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from assets.dossiers.conform import ConformCount
from assets.dossiers.reconciliation import READS, reconcile
from assets.indicators.definitions import load_definitions
from assets.indicators.evaluate import evaluate
from assets.questions.trace import trace
from connectors.files import FilesSettings
from expectations.suites import load_suite
from tests.dossiers.platform import SOURCE, Platform, transaction
from tests.dossiers.records import message, onestop, portal, progress
from warehouse.tables import CORE_CLAIM, CORE_CROSSWALK, CORE_DOSSIER, CORE_PAYMENT, RAW_QUARANTINE

CASES = Path(__file__).with_name("payment_cases.csv")
CODE, OTHER = "H15.07-261001-0001", "H15.07-261001-0002"
KEY = f"{SOURCE}:T1"
#: A procedure whose catalogue entry names an amount.
WITH_FEE = "1.000688"


def _cases() -> list[dict[str, str]]:
    lines = [line for line in CASES.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return list(csv.DictReader(lines))


def _parts(text: str) -> Iterator[list[str]]:
    if text != "-":
        yield from ([word.strip() for word in part.split(",")] for part in text.split("|"))


def _case_code(case: dict[str, str]) -> str:
    return f"H15.07-261001-{int(case['so']):04d}"


def _onestop(case: dict[str, str]) -> dict[str, Any]:
    said: dict[str, Any] = {"code": _case_code(case)}
    for amount, method, day in _parts(case["mot_cua"]):
        vnd = float(amount) * 1000
        said |= {"fees": [{"id": "f", "amount": vnd, "paid": vnd if method else 0.0}]}
        if method:
            at = datetime.strptime(day, "%d/%m/%Y")  # noqa: DTZ007  the clerk's day
            said |= {"paymentMethodName": method, "paidDate": f"{at:%Y-%m-%d}T08:00:00.000+0700"}
    return onestop(f"o{case['so']}", **said)


def _portal(case: dict[str, str]) -> Iterator[dict[str, Any]]:
    for amount, method, day in _parts(case["cong"]):
        vnd = int(amount) * 1000
        payment = {
            "paymentAmount": vnd,
            "feeAmount": vnd,
            "paymentMethod": method,
            "paymentStatus": 3,
            "confirmDatetime": f"{day} 08:00:00",
        }
        yield portal(int(case["so"]), dossierNo=_case_code(case), payment=payment)


def _rows(cases: list[dict[str, str]], column: str) -> list[dict[str, str]]:
    return [
        transaction(
            reference,
            _case_code(case),
            SoTien=str(int(amount) * 1000),
            ThoiGianGD=at,
            TrangThai=state,
            MaLoi="00" if state in ("Đã thanh toán", "Đã hoàn phí") else "",
        )
        for case in cases
        for reference, amount, state, at in _parts(case[column])
    ]


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """Every case in one province, after two nights; only read."""
    world, cases = Platform(tmp_path_factory.mktemp("platform")), _cases()
    world.drop("dem-1.csv", _rows(cases, "nen_tang_dem_1"))
    world.night(
        onestop=[_onestop(case) for case in cases],
        portal=[record for case in cases for record in _portal(case)],
        messages=[
            message(_case_code(case), DuocThanhToanTrucTuyen=case["ban_tin"])
            for case in cases
            if case["ban_tin"] != "-"
        ],
    )
    world.drop("dem-2.csv", _rows(cases, "nen_tang_dem_2"))
    world.night()
    return world


@pytest.mark.parametrize("case", _cases(), ids=lambda case: f"{case['so']} {case['tinh_huong']}")
def test_each_case_that_a_clerk_worked_by_hand(settled: Platform, case: dict[str, str]) -> None:
    code = _case_code(case)
    told = [
        ", ".join((str(row["amount_vnd"] // 1000), row["method"], f"{row['paid_on']:%d/%m/%Y}", row["source"]))
        for row in settled.payments(code)
        if row["is_settled"]
    ]
    assert ("|".join(told) or "-") == case["da_thu"]
    row = settled.dossiers()[code]
    assert row["is_paid_online"] == (case["truc_tuyen"] == "có")
    assert row["transaction_count"] == len(told)
    assert row["online_transaction_count"] == sum(", online, " in line for line in told)


def test_the_tables_keep_every_rule_that_blocks_a_night(settled: Platform) -> None:
    tables = (CORE_DOSSIER, CORE_PAYMENT, CORE_CROSSWALK, CORE_CLAIM, settled.systems()[0].table)
    for suite in map(load_suite, tables):
        connection = settled.lake.connect(suite.table, *suite.reads)
        queries = {one.id: one.query for one in suite.expectations if one.query}
        assert queries
        assert {name: connection.sql(query).fetchall() for name, query in queries.items()} == {
            name: [] for name in queries
        }


def test_a_refund_leaves_the_rates_and_the_questions_tell_why(tmp_path: Path) -> None:
    """Two nights over one dossier with cash at the counter and an online payment that is refunded.

    3.6 counts dossiers: 1 of 1, then 0 of 1. II.2.a counts collections: 1 of 2, then 0 of 1.
    """
    world = Platform(tmp_path)
    national = "G09.20-20261001-0092637"
    cash = {"fees": [{"id": "f", "amount": 30000.0, "paid": 30000.0}], "paymentMethodName": "Tiền mặt"}
    said = {"procedureCode": WITH_FEE, "nationCode": national, "paidDate": "2026-10-03T08:00:00.000+0700"}
    world.drop("1.csv", [transaction("T1", CODE), transaction("T2", national, TrangThai="Chờ thanh toán", MaLoi="")])
    world.night(
        onestop=[onestop("o1", code=CODE, **cash, **said)],
        messages=[message(CODE, MaTTHC=WITH_FEE, DuocThanhToanTrucTuyen="1")],
    )
    assert _rates(world) == {"online-payment": (1, 1), "payment-transactions": (1, 2)}
    world.drop("2.csv", [transaction("T1", CODE, TrangThai="Đã hoàn phí"), transaction("T9", OTHER)])
    world.night()
    assert _rates(world) == {"online-payment": (0, 1), "payment-transactions": (0, 1)}
    _is_traced(world, national)
    # A platform is no system that a dossier could be missing in, and payments under two codes make no duplicate.
    found = reconcile(world.lake.connect(*READS), as_of=datetime(2026, 10, 2, tzinfo=UTC)).to_pylist()
    # That the message says online and the one-stop cash is between them, whatever the platform says.
    assert [(row["kind"], row["sources"]) for row in found] == [("payment", "onestop, messages")]


def _rates(world: Platform) -> dict[str, tuple[int, int]]:
    """Numerator and denominator of October 2026 in the whole province."""
    wanted = {"online-payment": "766-3.6", "payment-transactions": "3478-ii2a"}
    definitions = [each for each in load_definitions() if wanted.get(each.id) == each.version]
    as_of = datetime(2026, 11, 10, tzinfo=UTC)
    rows = evaluate(world.lake, definitions, province_code="H15", as_of=as_of, start_on=date(2026, 10, 1))
    return {
        row["indicator"]: (row["numerator"], row["denominator"])
        for row in rows.to_pylist()
        if (row["scope"], row["period"], row["boundaries"]) == ("province", "month", "then")
        and row["period_start"] == date(2026, 10, 1)
    }


def _is_traced(world: Platform, national: str) -> None:
    as_of = datetime(2026, 11, 20, tzinfo=UTC)
    found = trace(world.lake, CODE, definitions=(), as_of=as_of)
    assert [
        (one.source, one.record_key, one.rule, one.evidence) for one in found.records if one.source == "payments"
    ] == [
        ("payments", KEY, "code", CODE),
        ("payments", f"{SOURCE}:T2", "code", national),
    ]
    refunded = next(record for record in found.records if record.record_key == KEY)
    (change,) = (each for each in refunded.versions[1].changes if each.field.startswith("payments"))
    assert (change.before, change.after) == ("Đã thanh toán/00", "Đã hoàn phí/00")
    fields = {field.name: field for field in found.fields}
    for name in ("is_paid_online", "transaction_count", "online_transaction_count"):
        assert (fields[name].source or "").startswith("payments")
        assert "nền tảng thanh toán" in fields[name].why
    assert {(one.source, one.value) for one in fields["is_paid_online"].said} >= {("messages", "true")}
    assert [(one.source, one.is_settled) for one in found.payments] == [
        ("payments", False),
        ("payments", False),
        ("onestop", True),
    ]
    # Of a dossier that nobody has shown yet there is the transaction that waits.
    waiting = trace(world.lake, OTHER, definitions=(), as_of=as_of)
    assert waiting.dossier_key is None
    assert [(one.source, one.record_key) for one in waiting.records] == [(SOURCE, f"{SOURCE}:T9")]
    assert [one.reason for one in waiting.quarantine] == ["payment_before_dossier"]


def test_a_payment_waits_for_its_dossier_and_joins_by_itself(tmp_path: Path) -> None:
    """Before the dossier is shown, while it cannot be used, and after it is gone; steps wait for themselves."""
    world = Platform(tmp_path)
    world.drop("1.csv", [transaction("T1", CODE)])
    first = world.night(onestop=[onestop("o2", code=OTHER)], progress=[progress(CODE, "20261002080000")])
    assert set(world.dossiers()) == {OTHER}, "a payment never makes a dossier"
    detail = f"Giao dịch của hồ sơ {CODE} đến trước hồ sơ; sẽ tự ghép khi có hồ sơ"
    waits = ("payments", KEY, "payment_before_dossier", detail)
    assert world.quarantine()[0] == waits
    assert [reason for _, _, reason, _ in world.quarantine()] == ["payment_before_dossier", "progress_before_dossier"]
    assert first.new_codes == (), "waiting is no code without a meaning"
    count = ConformCount(source=SOURCE, rows_read=1, rows_stored=0, rows_unchanged=0, rows_quarantined=1)
    assert count in first.counts
    world.night(onestop=[onestop("o1", code=CODE.replace("-", "–"))])
    assert world.quarantine() == []
    assert [row["is_online"] for row in world.payments(CODE)] == [True]
    assert world.dossiers()[CODE]["online_transaction_count"] == 1
    world.night(onestop=[onestop("o1", code=CODE, dossierStatusId=77)])
    assert {(source, reason) for source, _, reason, _ in world.quarantine()} == {
        ("onestop", "unmapped_status"),
        ("payments", "payment_before_dossier"),
    }
    assert (set(world.dossiers()), world.payments(CODE)) == ({OTHER}, [])
    world.night(onestop=[onestop("o1", code=CODE) | {"is_gone": True}])
    assert waits in world.quarantine()


@pytest.mark.slow
def test_what_files_say_later_and_twice(tmp_path: Path) -> None:
    """Over two nights: a payment booked to another dossier (T1), a refund before the older file that it refunds (T2),
    the same reference in a daily and a monthly file (T3), and one reference for two dossiers (T4).
    """
    world = Platform(tmp_path)
    monthly = tmp_path / "monthly"
    monthly.mkdir()
    said = {"kind": "files", "role": "payments", "profile": world.profile, "folder": str(monthly), "settle_seconds": 0}
    world.others["doi_soat"] = FilesSettings.model_validate(said)
    world.drop("0.csv", [transaction("T2", OTHER)])
    late = (world.inbox / "0.csv").rename(tmp_path / "late.csv")
    world.drop("1.csv", [transaction("T3", OTHER), transaction("T4", CODE)])
    (world.inbox / "1.csv").rename(monthly / "thang-10.csv")
    rows = [transaction("T1", CODE), transaction("T2", OTHER, TrangThai="Đã hoàn phí")]
    world.drop("1.csv", [*rows, transaction("T3", OTHER), transaction("T4", OTHER)])
    os.utime(world.inbox / "1.csv", (late.stat().st_mtime + 60,) * 2)
    world.night(onestop=[onestop("o1", code=CODE), onestop("o2", code=OTHER)])
    settled = {code: [row["is_settled"] for row in world.payments(code)] for code in (CODE, OTHER)}
    assert settled == {CODE: [True, True], OTHER: [False, True, True]}, "T1, T4; T2 refunded, T3 once, T4"
    late.rename(world.inbox / "0.csv")
    world.drop("2.csv", [transaction("T1", OTHER)])
    os.utime(world.inbox / "2.csv", (late.with_name("in").stat().st_mtime,) * 2)
    count = next(each for each in world.night().counts if each.source == SOURCE)
    assert (count.rows_read, count.rows_stored) == (1, 1)
    settled = {code: sorted(row["is_settled"] for row in world.payments(code)) for code in (CODE, OTHER)}
    assert settled == {CODE: [True], OTHER: [False, True, True, True]}
    assert world.dossiers()[CODE]["transaction_count"] == 1
    again = world.night()
    assert (again.changed, again.months) == (0, ())


def test_codes_without_a_meaning_stop_their_own_transaction_and_nothing_else(tmp_path: Path) -> None:
    profile = tmp_path / "rieng.yaml"
    shipped = Path("connectors/profiles/payment-platform-file.yaml").read_text(encoding="utf-8")
    profile.write_text(
        shipped.replace("      paid_at: ThoiGianGD", "      paid_at: ThoiGianGD\n      method: MaGiaoDich").replace(
            'payment_method: {"": online}', "payment_method: {NH: online}"
        ),
        encoding="utf-8",
    )
    world = Platform(tmp_path, profile=str(profile))
    rows = [
        transaction("T1", CODE, MaGiaoDich="NH"),
        transaction("T2", CODE, MaGiaoDich="VI-LA"),
        transaction("T3", CODE, MaGiaoDich="VI-LA", TrangThai="Chờ thanh toán", MaLoi=""),
        transaction("T4", CODE, MaGiaoDich="NH", MaLoi="05"),
        transaction("T5", OTHER, MaGiaoDich="VI-LA", TrangThai="Hủy thanh toán", MaLoi=""),
    ]
    world.drop("1.csv", rows)
    paid = {"fees": [{"id": "f", "amount": 50000.0, "paid": 50000.0}], "paymentMethodName": "VNPT Pay"}
    result = world.night(onestop=[onestop("o1", code=CODE), onestop("o2", code=OTHER, **paid)])
    # By whatever means the platform's request was to be paid: what is online is for the platform to say.
    assert [(row["source"], row["is_online"]) for row in world.payments(OTHER)] == [("payments", False)]
    assert [row["is_settled"] for row in world.payments(CODE)] == [True, False]
    assert [(key, reason) for _, key, reason, _ in world.quarantine()] == [
        (f"{SOURCE}:T2", "unmapped_payment_method"),
        (f"{SOURCE}:T4", "unmapped_payment_state"),
    ]
    told = "\n".join(result.new_codes)
    assert f'"{SOURCE}:VI-LA"' in told
    assert f'"{SOURCE}:Đã thanh toán/05"' in told, "paid under a code of failure is never counted"
    # The province's own table gives the code its meaning; the record comes back by itself.
    world.codes += f"{SOURCE},payment_method,VI-LA,transfer\n"
    world.night()
    assert [row["method"] for row in world.payments(CODE) if row["is_settled"]] == ["online", "transfer"]


def test_a_row_that_cannot_be_used_is_told_by_its_cell(tmp_path: Path) -> None:
    world = Platform(tmp_path)
    rows = [
        transaction("T1", CODE, SoTien="năm mươi nghìn"),
        transaction("T2", CODE, SoTien="50.5"),
        transaction("T3", CODE, SoTien=""),
        transaction("T4", "", SoTien="50.000 đồng"),
        transaction("T5", CODE, ThoiGianGD="hôm qua"),
        transaction("T6", CODE, TrangThai="", MaLoi=""),
        transaction("T7", CODE, SoTien="50.000 đồng"),
        transaction("", CODE),
    ]
    world.drop("1.csv", rows)
    world.night(onestop=[onestop("o1", code=CODE)])
    told = {key: (reason, detail) for _, key, reason, detail in world.quarantine()}
    assert {key: reason for key, (reason, _) in told.items()} == {
        f"{SOURCE}:T1": "not_amount",
        f"{SOURCE}:T2": "not_amount",
        f"{SOURCE}:T3": "amount_vnd_readable",
        f"{SOURCE}:T4": "dossier_code_present",
        f"{SOURCE}:T5": "unreadable_date",
        f"{SOURCE}:T6": "state_present",
        "tệp 1.csv, dòng 9, cột A": "missing_key",
    }
    # Column D is SoTien, C is MaHoSo, E is ThoiGianGD, F and G are MaLoi and TrangThai; the heading is line 1.
    for key, cell in (
        (1, "2, cột D"),
        (2, "3, cột D"),
        (3, "4, cột D"),
        (4, "5, cột C"),
        (5, "6, cột E"),
        (6, "7, cột G"),
    ):
        assert cell in told[f"{SOURCE}:T{key}"][1], told[f"{SOURCE}:T{key}"][1]
    assert "năm mươi" not in str(world.lake.read(RAW_QUARANTINE).to_pylist())
    assert [row["amount_vnd"] for row in world.payments(CODE)] == [50000]
