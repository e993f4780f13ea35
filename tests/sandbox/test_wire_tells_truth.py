"""What the three sources say together is the truth, nothing more and nothing less.

At this level, through HTTP and files only, because every number that the product is tested against
rests on it: an independent, plain merge of the three formats, by the rule of precedence, must give
the truth table column by column.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from sandbox.territory import GSO_PROVINCE, PROVINCE_FOLDER, REFERENCE
from tests.sandbox.conftest import SITES, Reader

VIETNAM = timezone(timedelta(hours=7))
Facts = dict[str, Any]


def _codes(name: str, *keys: str) -> dict[tuple[str, ...], str]:
    rows = _rows(PROVINCE_FOLDER / name)
    return {tuple(row[key] for key in keys): row["unit_code" if name == "agencies.csv" else "value"] for row in rows}


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


AGENCIES = _codes("agencies.csv", "source", "agency")
CODES = _codes("codes.csv", "source", "kind", "code")
REORGANISED_AT = datetime(2025, 7, 1, tzinfo=VIETNAM)


def _successors() -> dict[str, str]:
    """The one commune of today of each old commune that went there whole."""
    rows = _rows(REFERENCE / "communes_until_2025-06-30.csv")
    district = {row["commune_code"]: row["district_code"] for row in rows}
    return {
        f"H15.{district[row['old_code']]}.{row['old_code']}": f"H15.{row['new_code']}"
        for row in _rows(REFERENCE / "communes_crosswalk_2025-07-01.csv")
        if row["old_province_code"] == GSO_PROVINCE and row["type"] == "full" and row["n_new"] == "1"
    }


SUCCESSORS = _successors()


def _day_first(text: str) -> datetime | None:
    return datetime.strptime(text, "%d/%m/%Y %H:%M:%S").replace(tzinfo=VIETNAM) if text else None


def _packed(text: str) -> datetime | None:
    return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=VIETNAM) if text else None


def _iso(text: str | None) -> datetime | None:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z") if text else None


def _plain(code: str) -> str:
    return code.strip().upper()


def _from_portal(row: Facts, files: list[Facts], payment: Facts) -> Facts:
    papers = {file["dossierPartNo"] for file in files if file["dossierPartType"] == 1 and not file["removed"]}
    amount = payment.get("feeAmount", 0)
    settled = payment.get("paymentStatus") in (3, 5) and amount > 0
    channel = "online" if row["online"] == "true" else "post" if int(row["fromViaPostal"]) > 0 else "direct"
    return {
        "code": _plain(row["dossierNo"]),
        "national": row["referenceUid"],
        "unit_code": AGENCIES["portal", row["govAgencyCode"]],
        "procedure_code": row["serviceCode"][:8],
        "service_level": CODES["portal", "service_level", str(row["serviceLevel"])],
        "channel": channel,
        "status_code": int(CODES["portal", "status", row["dossierStatus"]]),
        "submitted_at": _day_first(row["submitDate"]),
        "received_at": _day_first(row["receiveDate"]),
        "due_at": _day_first(row["dueDate"]),
        "completed_at": _day_first(row["releaseDate"]),
        "returned_at": _day_first(row["finishDate"]),
        "component_count": len(papers),
        "component_attached": len(papers),
        "electronic_result": any(file["dossierPartType"] == 2 and not file["removed"] for file in files),
        "lines": [amount] if payment else [],
        "payments": [(amount, CODES["portal", "payment_method", payment["paymentMethod"]])] if settled else [],
        "paid_at": _day_first(payment.get("confirmDatetime", "")) if settled else None,
    }


def _from_onestop(item: Facts, fees: list[Facts]) -> Facts:
    status = item["dossierStatus"]
    forms = item["dossierFormFile"]
    paid = [fee["amount"] for fee in fees if fee["amount"] > 0 and fee["paid"] == fee["amount"]]
    method = (item["paymentMethod"] or {}).get("name", "")
    return {
        "code": item["code"],
        "national": item["nationCode"],
        "unit_code": AGENCIES["onestop", item["agency"]["code"]],
        "procedure_code": item["procedure"]["code"][:8],
        "service_level": CODES["onestop", "service_level", item["procedureLevel"]],
        "channel": CODES["onestop", "channel", str(item["applyMethod"]["id"])],
        "status_code": int(CODES["onestop", "status", str(status["id"] if isinstance(status, dict) else status)]),
        "submitted_at": _iso(item["appliedDate"]),
        "received_at": _iso(item["acceptedDate"]),
        "due_at": _iso(item["appointmentDate"]),
        "completed_at": _iso(item["completedDate"]),
        "returned_at": _iso(item["returnedDate"]),
        "component_count": len(forms),
        "component_attached": sum(bool(form["file"]) for form in forms),
        "electronic_result": False,
        "lines": [fee["amount"] for fee in fees],
        "payments": [(amount, CODES["onestop", "payment_method", method]) for amount in paid],
        "paid_at": _iso(item["paymentRequestData"]["paidDate"]) if paid else None,
    }


def _waited(supplement: Facts) -> float:
    asked, answered = (_packed(supplement[name]) for name in ("NgayBoSung", "NgayTiepNhanBoSung"))
    return (answered - asked).total_seconds() if asked and answered else 0


def _from_message(record: Facts, steps: int) -> Facts:
    papers = [paper for paper in record["TaiLieuNop"] if paper["IsDeleted"] == "0"]
    results = record["DanhSachGiayToKetQua"] or []
    return {
        "code": _plain(record["MaHoSo"]),
        "national": record["MaHoSoKhac"],
        "unit_code": AGENCIES["messages", record["DonViXuLy"]],
        "procedure_code": record["MaTTHC"],
        "channel": CODES["messages", "channel", record["KenhThucHien"]],
        "status_code": int(record["TrangThaiHoSo"]),
        "submitted_at": _packed(record["NgayNopHoSo"]),
        "received_at": _packed(record["NgayTiepNhan"]),
        "due_at": _packed(record["NgayHenTra"]),
        "completed_at": _packed(record["NgayKetThucXuLy"]),
        "returned_at": _packed(record["NgayTra"]),
        "component_count": len(papers),
        "component_attached": sum(bool(paper["DuongDanTaiTepTin"]) for paper in papers),
        "component_digitised": sum(paper["DuocSoHoa"] == "1" for paper in papers),
        "component_reused": sum(paper["DuocTaiSuDung"] in "12" for paper in papers),
        "electronic_result": any(result["DuongDanTepTinKetQua"] for result in results),
        "vneid_verified": record["TaiKhoanDuocXacThucVoiVNeID"] == "1",
        "denied_at": _packed(record["NgayTuChoi"]),
        "is_from_personal_store": any(paper["DuocLayTuKhoDMQG"] == "1" for paper in papers),
        "is_population_data_used": any(
            CODES.get(("messages", "database", asked["MaCSDL"])) for asked in record["DSKetNoiCSDL"] or []
        ),
        "supplement_wait_seconds": sum(_waited(supplement) for supplement in record["DanhSachHoSoBoSung"] or []),
        "paid_online": record["DuocThanhToanTrucTuyen"] in ("1", "2"),
        "lines": [int(line["Gia"]) for line in record["DanhSachLePhi"] or []],
        "supplement_count": len(record["DanhSachHoSoBoSung"] or []),
        "step_count": steps,
    }


def _read_all(reader: Reader) -> dict[str, list[Facts]]:
    portal = []
    for site in SITES:
        for row in reader.dossiers(site):
            files = reader.portal(f"/dossiers/{row['dossierId']}/files").json()["data"]
            portal.append(_from_portal(row, files, reader.portal(f"/dossiers/{row['dossierId']}/payment").json()))
    items = reader.items()
    fees = defaultdict(list)
    for first in range(0, len(items), 100):
        ids = ",".join(item["id"] for item in items[first : first + 100])
        for fee in reader.onestop("/pa/dossier-fee/--by-dossiers", reader.token(), **{"dossier-ids": ids}).json():
            fees[fee["dossier"]["id"]].append(fee)
    newest: dict[str, Facts] = {}
    steps = defaultdict(set)
    for call in reader.calls():
        for record in call["data"]:
            if call["service"] == "DongBoHoSoMC":
                newest[record["MaHoSo"]] = record
            else:
                steps[record["MaHoSo"]].add((record["ThoiDiemXuLy"], record["TrangThai"]))
    return {
        "onestop": [_from_onestop(item, fees[item["id"]]) for item in items],
        "portal": portal,
        "messages": [_from_message(record, len(steps[code])) for code, record in newest.items()],
        # Progress that was sent before its dossier.
        "progress": [
            {"code": _plain(code), "national": None, "step_count": len(told)}
            for code, told in steps.items()
            if code not in newest
        ],
    }


def _matched(sources: dict[str, list[Facts]]) -> dict[str, dict[str, Facts]]:
    """Dossiers by the truth's code (drafts by referenceUid): source → facts."""
    own = {facts["national"]: facts["code"] for facts in sources["onestop"] if facts["national"]}
    for facts in sources["messages"]:
        if facts["national"]:
            own[facts["code"]] = facts["national"]
    dossiers: dict[str, dict[str, Facts]] = defaultdict(dict)
    for source, rows in sources.items():
        for facts in rows:
            key = own.get(facts["code"], facts["code"]) or facts["national"]
            assert source not in dossiers[key], f"{key} twice in {source}"
            dossiers[key][source] = facts
    return dossiers


def _merged(parts: dict[str, Facts]) -> Facts:
    def first(name: str, *order: str) -> Any:
        said = (parts[source].get(name) for source in order if source in parts)
        return next((value for value in said if value is not None), None)

    usual = ("onestop", "portal", "messages")
    dates = ("received_at", "due_at", "completed_at", "returned_at")
    merged = {name: first(name, *usual) for name in (*dates, "status_code", "unit_code", "procedure_code", "channel")}
    merged["reception_unit_code"] = AGENCIES.get(("onestop", (first("code", *usual) or "").rsplit("-", 2)[0]), "")
    merged |= _carried(merged)
    merged["service_level"] = first("service_level", *usual)
    merged["submitted_at"] = first("submitted_at", "portal", "onestop", "messages")
    for name in ("component_attached", "electronic_result"):
        merged[name] = first(name, "messages", "portal", "onestop")
    # A list that is empty leaves the word to the next source.
    lists = (parts[source]["component_count"] for source in ("messages", "portal", "onestop") if source in parts)
    merged["component_count"] = next((count for count in lists if count), 0)
    message = parts.get("messages", {})
    for name in (
        "component_digitised",
        "component_reused",
        "vneid_verified",
        "supplement_count",
        "is_from_personal_store",
        "is_population_data_used",
        "supplement_wait_seconds",
    ):
        merged[name] = message.get(name, 0)
    merged["denied_at"] = message.get("denied_at")
    merged["step_count"] = first("step_count", "messages", "progress") or 0
    lines = first("lines", "onestop", "messages", "portal")
    payments = first("payments", "onestop", "portal") or []
    online = [payment for payment in payments if payment[1] == "online"]
    return (
        merged
        | {
            "fee_line_count": len(lines),
            "fee_waived": bool(lines) and not any(lines),
            "paid_online": message.get("paid_online", bool(online)),
            "transaction_count": len(payments),
            "online_transaction_count": len(online),
            "paid_at": first("paid_at", "onestop", "portal"),
        }
        | {f"in_{source}": source in parts for source in usual}
    )


def _carried(merged: Facts) -> Facts:
    """Handling and previous unit: what is still open in a commune that is no more went to its one successor."""
    unit, reception = merged["unit_code"], merged["reception_unit_code"]
    ended = merged["completed_at"] or merged["returned_at"]
    is_over = merged["status_code"] in (3, 7, 8, 9, 10) and (ended is None or ended < REORGANISED_AT)
    unit = unit if is_over else SUCCESSORS.get(unit, unit)
    was_there = reception in SUCCESSORS or reception.count(".") == 2 or "H15.643" <= reception < "H15.700"
    return {"unit_code": unit, "previous_unit_code": reception if was_there and reception != unit else None}


@pytest.fixture(scope="module")
def sources(reader: Reader) -> dict[str, list[Facts]]:
    """Everything the three sources say, each in its own words turned into ours."""
    return _read_all(reader)


def _compare(merged: dict[str, Facts], truth: list[Facts]) -> None:
    drafts = [row for row in truth if row["dossier_code"] is None]
    known = {row["dossier_code"]: row for row in truth if row["dossier_code"]}
    assert len(merged) == len(truth)
    assert {key for key in merged if "H15" in key} == set(known)
    assert drafts
    checked = 0
    for code, row in known.items():
        if row["previous_unit_code"] and row["previous_unit_code"] in SUCCESSORS:
            assert SUCCESSORS[row["previous_unit_code"]] == row["unit_code"], code
        for name, said in merged[code].items():
            value = said.astimezone(UTC) if isinstance(said, datetime) else said
            assert value == row[name], f"{code}: {name}"
            checked += 1
    assert checked > 25 * len(known)


def test_the_three_sources_together_are_the_truth(reader: Reader, sources: dict[str, list[Facts]]) -> None:
    merged = {key: _merged(parts) for key, parts in _matched(sources).items()}
    _compare(merged, reader.sandbox.truth()["dossier"].to_pylist())


def test_sources_disagree_where_one_lags_behind(sources: dict[str, list[Facts]]) -> None:
    """Stale copies exist, and only beside a source that goes on: without them precedence would not be tested."""
    behind = {"portal": 0, "messages": 0}
    blank = 0
    for parts in _matched(sources).values():
        for source, facts in parts.items():
            best = parts.get("onestop") or parts.get("portal")
            if best is None or facts is best or source == "progress":
                continue
            behind[source] += facts["status_code"] != best["status_code"]
            blank += (facts["due_at"] is None) != (best["due_at"] is None)
    assert behind["portal"] > 5
    assert behind["messages"] > 20
    assert blank > 20


def test_payments_are_those_of_the_truth(reader: Reader, sources: dict[str, list[Facts]]) -> None:
    said = []
    for code, parts in _matched(sources).items():
        best = parts.get("onestop") or parts.get("portal") or {}
        said += [(code, amount, method, best["paid_at"].astimezone(UTC)) for amount, method in best.get("payments", [])]
    truth = reader.sandbox.truth()["payment"].to_pylist()
    assert sorted(said) == sorted(
        (row["dossier_code"], row["amount_vnd"], row["method"], row["paid_at"]) for row in truth
    )
    assert truth
