"""No person on disk, whatever a source sends and wherever it puts it.

Canaries stand in every field of every source's records: outside the contract, where nothing may be built of
them, and inside it, where a name has no business. Then every byte and cell that was kept is searched. Sources that
make no dossier: `test_no_person_beside_dossiers.py`.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.npsp_receiver_records import Refused, kept
from connectors.person_fields import AMOUNTS, DATES, IDENTIFIERS, NAMES, UNITS, is_personal, without_persons
from connectors.profiled import SCHEMA
from connectors.shape import shape_of
from orchestration.settings import Home as Root
from orchestration.settings import load_province
from tests.connectors.database import conftest as replica
from tests.connectors.database import small
from tests.connectors.files.drops import COLUMNS, ROWS, Drops, csv_text, row
from tests.connectors.rest import test_new_system
from tests.connectors.rest.homes import PROVINCES, OneSource, vietnam
from tests.connectors.rest.servers import serving
from tests.faults.canaries import CANARIES, CITIZEN, MARKS, NAME, OUTSIDE, found_in, persons, planted, spoilt
from tests.golden import server as golden
from tests.golden.test_golden import SECRETS, WINDOW, _night, _province
from tests.receiver.conftest import dossier
from warehouse.database import Database
from warehouse.lake import Lake
from warehouse.tables import RAW_QUARANTINE

# ---- the search itself


@pytest.mark.parametrize("canary", OUTSIDE)
def test_the_search_finds_a_canary_wherever_it_hides(canary: str, tmp_path: Path) -> None:
    text = f'{{"a": "{canary}"}}'
    (tmp_path / "plain.json").write_text(text, encoding="utf-8")
    (tmp_path / "escaped.json").write_text(json.dumps({"a": canary}))
    (tmp_path / "wide.txt").write_bytes(text.encode("utf-16"))
    (tmp_path / "packed.gz").write_bytes(gzip.compress(text.encode()))
    with zipfile.ZipFile(tmp_path / "packed.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.json", text)
    nested = pa.table({"a": [[{"b": canary}]]})
    pq.write_table(nested, tmp_path / "lake.parquet", compression="zstd")
    (tmp_path / f"{canary.replace('/', ' ')}.csv").touch()
    with sqlite3.connect(tmp_path / "runs.db") as connection:
        connection.execute("CREATE TABLE events (body TEXT)")
        connection.execute("INSERT INTO events VALUES (?)", ["x" * 5000 + canary])
    connection.close()
    assert len(persons(tmp_path)) == 8
    assert persons(tmp_path, but=(tmp_path,)) == []


def test_the_search_finds_nothing_in_facts(tmp_path: Path) -> None:
    (tmp_path / "facts.csv").write_text(csv_text(ROWS), encoding="utf-8")
    assert persons(tmp_path) == []
    assert all(found_in(mark.encode()) for mark in MARKS)


# ---- what may stand in a field


@pytest.mark.parametrize("canary", CANARIES)
def test_no_field_of_a_contract_takes_a_canary(canary: str) -> None:
    for name in (*IDENTIFIERS, *NAMES, *UNITS, *DATES, *AMOUNTS, "status", "channel", "dossierStatus"):
        assert is_personal(name, canary), name


def test_the_provinces_own_words_are_no_persons() -> None:
    """Every unit and code that the province's tables give a meaning is taken as it is."""
    for file, fields in (("agencies", {"agency": "agency"}), ("codes", {"code": "status"})):
        lines = (PROVINCES / f"{file}.csv").read_text(encoding="utf-8").splitlines()
        heads = next(line for line in lines if not line.startswith("#")).split(",")
        for line in lines:
            for head, value in zip(heads, line.split(","), strict=False):
                assert head not in fields or not is_personal(fields[head], value), line


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("agency_name", "UBND Phường Buôn Ma Thuột"),
        ("agency", "Sở Nội vụ"),
        ("status", "Lưu hồ sơ"),
        ("status", "Đã trả kết quả"),
        ("procedure_code", "1.004228.000.00.00.H15"),
        ("record_id", "64f0a0912345678b00000001"),
        ("reference_uid", "5f0c8a52-0000-4000-8000-099066123456"),
        ("dossier_code", "000.00.24.H15-251031-0001"),
        ("record_id", "123456789"),
        ("received_at", "Oct 31 2026 10:00PM"),
        ("received_at", "1761900000000"),
        ("amount_vnd", "123456789"),
    ],
)
def test_what_systems_do_write_is_kept(field: str, value: str) -> None:
    assert not is_personal(field, value)


def test_lists_are_cleaned_in_place() -> None:
    payments = [None, [], [{"amount_vnd": "1", "method": NAME, "state": "done", "paid_at": None}], [{"method": "bank"}]]
    table = pa.table({"payments": pa.array(payments, SCHEMA.field("payments").type)})
    cleaned, spoilt_by = without_persons(table)
    assert spoilt_by.to_pylist() == [None, None, "payments", None]
    assert [len(each or ()) for each in cleaned["payments"].to_pylist()] == [0, 0, 1, 1]
    assert cleaned["payments"].to_pylist()[0] is None
    assert cleaned["payments"].to_pylist()[2][0] == payments[2][0] | {"method": f"«{len(NAME)} ký tự»"}  # type: ignore[index]


def test_a_field_named_after_somebody_is_told_by_its_length() -> None:
    told = shape_of([json.dumps(dict.fromkeys(OUTSIDE, 1) | {"nguyen_thi_Hu": 1, "trangThai": 1}).encode()])
    assert "trangThai" in told
    assert not found_in(str(told).encode())


# ---- source by source


@pytest.fixture
def plants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The golden case's wire files with canaries: planted in every record, and a spoilt copy for every scalar."""
    wire = tmp_path / "wire"
    shutil.copytree(golden.WIRE, wire)
    _plant_portal(wire / "portal")
    for page in (wire / "onestop" / "search").iterdir():
        said = json.loads(page.read_text(encoding="utf-8"))
        said["content"] = [planted(each) for each in said["content"]]
        if page.name == "page-0.json":
            for number, (path, each) in enumerate(spoilt(json.loads(page.read_text(encoding="utf-8"))["content"][0])):
                said["content"].append(each if path == ("id",) else each | {"id": f"65f{number:021d}"})
        page.write_text(json.dumps(said), encoding="utf-8")
    for number in range(100):
        (wire / "onestop" / "fees" / f"65f{number:021d}.json").write_text("[]")
    for fees in (wire / "onestop" / "fees").iterdir():
        lines = json.loads(fees.read_text(encoding="utf-8"))
        fees.write_text(json.dumps([planted(line) for line in lines]), encoding="utf-8")
    _plant_messages(wire / "messages")
    monkeypatch.setattr(golden, "WIRE", wire)
    for name in SECRETS:
        monkeypatch.setenv(f"THUOCDO_{name}", "golden")
    return wire


def _plant_portal(portal: Path) -> None:
    for site in portal.iterdir():
        file = site / "dossiers.json"
        said = json.loads(file.read_text(encoding="utf-8"))
        first = next(each for each in said["data"] if (site / str(each["dossierId"])).is_dir())
        said["data"] = [planted(each) for each in said["data"]]
        for number, (path, each) in enumerate(spoilt(first)):
            if path != ("dossierId",):
                each["dossierId"] = 900_000 + number
                shutil.copytree(site / str(first["dossierId"]), site / str(each["dossierId"]))
            said["data"].append(each)
        said["total"] = len(said["data"])
        file.write_text(json.dumps(said), encoding="utf-8")
        for detail in site.glob("*/*.json"):
            found = json.loads(detail.read_text(encoding="utf-8"))
            detail.write_text(json.dumps(planted(found) if isinstance(found, dict) else found), encoding="utf-8")


def _plant_messages(folder: Path) -> None:
    for file in sorted(folder.iterdir()):
        lines = []
        for line in file.read_text(encoding="utf-8").splitlines():
            try:
                call = json.loads(line)
            except ValueError:
                lines.append(line)
                continue
            if isinstance(call, dict) and isinstance(call.get("data"), list):
                spoils = [each for record in call["data"][:1] if isinstance(record, dict) for _, each in spoilt(record)]
                grown = [planted(each) if isinstance(each, dict) else each for each in call["data"]]
                call = {**call, "data": [*grown, *spoils]}
            lines.append(json.dumps(call, ensure_ascii=False))
        lines += [f'{{"service": "{NAME}", "data": []}}', f'{{"data": "{CITIZEN}', NAME, f'{{"{NAME}": 1}}']
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    shutil.copy(max(folder.iterdir()), folder / f"{NAME} {CITIZEN}.ndjson")


def test_portal_one_stop_and_message_log_keep_nobody(
    plants: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Extracted, conformed, measured and published; what was refused says so without saying whom."""
    with golden.serving() as address:
        home = Root.from_environment({"THUOCDO_HOME": str(tmp_path / "home")})
        (tmp_path / "province").mkdir()
        province = _province(tmp_path / "province", home, address)
        shutil.rmtree(home.root / "messages")
        shutil.copytree(plants / "messages", home.root / "messages")
        lake, database = Lake(home.lake), Database.open(home.database_url)
        _night("first", province, home, lake, database, now=WINDOW[1] + timedelta(hours=2))
    reasons = {(each["source"], each["reason"]) for each in lake.read(RAW_QUARANTINE).to_pylist()}
    assert {(source, "looks_like_a_person") for source in ("portal", "onestop", "messages", "progress")} <= reasons
    assert persons(home.root, but=(home.root / "messages",)) == []
    assert not found_in("".join(capfd.readouterr()).encode())


def test_a_profiled_rest_source_keeps_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THUOCDO_MOC_KEY", "khoa-thu")
    moc = test_new_system.Moc()
    spoils = [
        {**each, "times": {**each["times"], "changed": moc.cases[0]["times"]["changed"] + number}}
        if path != ("times", "changed") else each
        for number, (path, each) in enumerate(spoilt(test_new_system.case(3)))
    ]  # fmt: skip
    for number, each in enumerate(spoils):
        if each["case"]["uid"] == "m-3":
            each["case"] = {**each["case"], "uid": f"s-{number}"}
    whole = [each for each in spoils if isinstance(each["times"]["changed"], int)]
    moc.cases = [planted(each) for each in moc.cases] + whole
    with serving({"/api/v3/cases": moc.answer}) as address:
        (tmp_path / "moc.yaml").write_text(test_new_system.PROFILE, encoding="utf-8")
        (tmp_path / "agencies.csv").write_text("source,agency,unit_code\nmoc,B-01,H15.STP\n", encoding="utf-8")
        (tmp_path / "province.yaml").write_text(test_new_system.PROVINCE.replace("ADDRESS", address), encoding="utf-8")
        settings = load_province(tmp_path / "province.yaml").sources["moc"]
        home = OneSource(tmp_path / "home", "moc", settings, ["moc,B-01,H15.STP"])
        count = home.read("n1", vietnam(2026, 9, 1), vietnam(2026, 10, 1))
    assert count.rows_read == 14 + len(whole)
    home.conform("n1")
    assert {"looks_like_a_person"} <= {each["reason"] for each in home.quarantined()}
    assert persons(tmp_path / "home") == []


def test_dropped_files_keep_nobody(tmp_path: Path) -> None:
    drops = Drops(tmp_path)
    columns = (*COLUMNS, "Ghi chú", NAME)
    rows: list[tuple[str, ...]] = [(*each, NAME, CITIZEN) for each in ROWS]
    for number, canary in enumerate(CANARIES):
        for place in range(len(COLUMNS)):
            cells = list(row(number * 10 + place))
            cells[place] = canary
            rows.append((*cells, canary, canary))
    drops.put(f"{NAME}.csv", csv_text(rows, columns))
    drops.put(f"hs-{CITIZEN}.csv", csv_text([(*row(900), "", "")], columns))
    count = drops.night()
    assert count.rows_stored >= len(ROWS)
    assert count.rows_quarantined > len(CANARIES)
    drops.home.conform("n1")
    assert persons(tmp_path / "home") == []
    assert not found_in(str(count.notes).encode())


def test_the_receiver_journals_nobody() -> None:
    """A dossier's code is refused to the sender; any other field goes into the journal as its length."""
    lists: dict[str, Any] = {
        "DanhSachGiayToKetQua": [{"MaGiayToKetQua": "KQ", "DuongDanTepTinKetQua": "/a"}],
        "DanhSachLePhi": [{"MaPhiLePhi": "P1", "HinhThucThu": "1", "Gia": "1000"}],
        "DanhSachHoSoBoSung": [{"NgayBoSung": "20261002080000", "TrangThaiBoSung": "1"}],
        "DSKetNoiCSDL": [{"MaCSDL": "CSDL-DC"}],
    }
    for path, record in spoilt(planted(dossier("H15.1-261001-0001", **lists))):
        outcome = kept("DongBoHoSoMC", json.dumps(record).encode())
        if isinstance(outcome, Refused):
            assert path == ("MaHoSo",), (path, outcome)
            assert not found_in(outcome.reason.encode())
        else:
            assert not found_in(outcome.body), path


def test_a_replica_keeps_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns that no profile names are not asked for; in those it names a person is refused or hidden."""
    for server in replica._served("postgresql", monkeypatch):
        settings = small.small(server, tmp_path)
        rows = [small.dossier(1, small.at(90), Owner=NAME)]
        for number, canary in enumerate(CANARIES):
            spoils = ({"Status": canary[:20]}, {"Code": canary}, {"Papers": canary})
            rows += [
                small.dossier(10 + number * 10 + place, small.at(80), **{"Owner": canary, **spoil})
                for place, spoil in enumerate(spoils)
            ]
        small.put(server, *rows)
        home = OneSource(tmp_path / "home", replica.SOURCE, settings)
        count = home.read("n1", small.NIGHT - timedelta(days=30), small.NIGHT)
        assert count.rows_read == len(rows)
        assert count.rows_stored == 1 + len(CANARIES), "the clean one, and those of which only a path was spoilt"
        home.conform("n1")
        assert persons(tmp_path / "home") == []
