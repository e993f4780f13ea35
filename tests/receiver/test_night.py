"""From a vendor's call to the raw tables: as if the same messages had been dropped as files, and no person anywhere."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from assets.raw.tables import RAW_MESSAGES, RAW_PROGRESS
from connectors.npsp_log import MESSAGES, PROGRESS
from connectors.settings import MessageLogSettings
from orchestration.receive import probe, tidier
from orchestration.settings import ConfigurationError, load_province
from orchestration.settings import Home as Root
from sandbox.broken import broken_records
from sandbox.messages import MessageLog
from sandbox.population import DEFAULT_CLOCK, STARTS_AT, build_population
from tests.persons import PERSON
from tests.raw.conftest import Home
from tests.receiver.conftest import ROOT, SECRETS, Running, Start, Vendor, dossier, province_file
from warehouse.schema import Table
from warehouse.tables import RAW_QUARANTINE

READ = ((RAW_MESSAGES, MESSAGES), (RAW_PROGRESS, PROGRESS))


def sent(vendor: Vendor, call: dict[str, Any]) -> None:
    """Send as a vendor does: what exists already goes again as update."""
    for updating in (call["isUpdating"], "True"):
        answer = vendor.send(call["service"], *call["data"], updating=updating)
        if answer["error_code"] == 0:
            return
        assert "đã tồn tại" in answer["message"]
    raise AssertionError(answer["message"])


def extracted(home: Path, folder: Path) -> Home:
    settings = MessageLogSettings(kind="npsp-log", folder=folder, settle_seconds=0)
    filled = Home(home, {"messages": settings})
    filled.night("n1", start=STARTS_AT, end=DEFAULT_CLOCK)
    return filled


def rows(home: Home, table: Table, fields: pa.Schema) -> list[dict[str, Any]]:
    """What the contract says of every version, in sending order; not where or when it was read."""
    names = [name for name in fields.names if name != "position"]
    found: list[dict[str, Any]] = home.lake.read(table).sort_by("position").select(names).to_pylist()
    return found


def test_received_messages_become_the_rows_that_dropped_files_become(
    start: Start, tmp_path_factory: pytest.TempPathFactory
) -> None:
    population = build_population(400, seed=5)
    log = MessageLog(population, tmp_path_factory.mktemp("dropped"), broken=broken_records(population, 8))
    files = log.write_history(DEFAULT_CLOCK)
    calls = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    running = start(rotate_bytes=100_000)
    vendor = running.vendor()
    for number, call in enumerate(calls):
        sent(vendor, call)
        if number % 5 == 0:
            sent(vendor, call)  # its answer was lost
    assert running.stop() == 0
    assert len(list(running.folder.glob("*.ndjson"))) > 3

    received = extracted(tmp_path_factory.mktemp("received"), running.folder)
    dropped = extracted(tmp_path_factory.mktemp("read"), log.folder)
    for table, contract in READ:
        expected = rows(dropped, table, contract.schema)
        assert len(expected) > 400
        assert rows(received, table, contract.schema) == expected
    reasons = [
        sorted((row["record_key"], row["reason"]) for row in home.lake.read(RAW_QUARANTINE).to_pylist())
        for home in (received, dropped)
    ]
    assert set(reasons[0]) == set(reasons[1])
    check_no_person(running)


def check_no_person(running: Running) -> None:
    files = [file for file in running.home.rglob("*") if file.is_file()]
    assert len(files) > 5
    for file in files:
        # Bytes, whatever the file: names are in UTF-8 everywhere, numbers in ASCII.
        assert not PERSON.search(file.read_bytes().decode("utf-8", errors="replace")), file
    assert "account=mot-cua" in running.output.read_text(encoding="utf-8")


def test_files_are_removed_once_read_and_old_and_never_before(tmp_path: Path) -> None:
    home = Root.from_environment({"THUOCDO_HOME": str(tmp_path)})
    province = load_province(province_file(tmp_path, keep_days=30), home=home)
    folder = tmp_path / "messages"
    folder.mkdir()
    line = json.dumps({"service": "DongBoHoSoMC", "data": [dossier("A")]})
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    old, unread, changed, young, theirs = (
        folder / f"{name}.ndjson"
        for name in (
            "2025-01-01_000000-000000",
            "2025-01-02_000000-000000",
            "2025-01-03_000000-000000",
            f"{today}_000000-000000",
            "2025-01-01_0001",
        )
    )
    for file in (old, changed, young, theirs):
        file.write_text(line + "\n", encoding="utf-8")
    tidy = tidier(home, province)
    assert tidy() == 0
    settings = province.sources["messages"]
    assert isinstance(settings, MessageLogSettings)
    extracted(tmp_path, settings.folder)
    unread.write_text(line + "\n", encoding="utf-8")
    changed.write_text(line + "\n" + line + "\n", encoding="utf-8")
    assert tidy() == 1
    assert not old.exists()
    assert all(file.exists() for file in (unread, changed, young, theirs))
    assert tidier(home, load_province(province_file(tmp_path), home=home))() == 0


def test_check_says_whether_the_receiver_can_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Root.from_environment({"THUOCDO_HOME": str(tmp_path)})
    file = province_file(tmp_path)
    for name in SECRETS:
        monkeypatch.setenv(name, "x")
    assert "2 tài khoản" in probe(load_province(file, home=home))
    assert list((tmp_path / "messages" / ".receiver").iterdir()) == []
    monkeypatch.delenv("THUOCDO_TEST_TOKEN")
    with pytest.raises(ConfigurationError, match=r"receiver\.accounts\.chu-so\.token_env"):
        probe(load_province(file, home=home))
    monkeypatch.setenv("THUOCDO_TEST_TOKEN", "x")
    with pytest.raises(ConfigurationError, match=r"receiver\.folder"):
        probe(load_province(province_file(tmp_path, folder="elsewhere"), home=home))
    with pytest.raises(ConfigurationError, match="receiver"):
        probe(load_province(ROOT / "provinces" / "dak-lak.yaml", home=home))
    (tmp_path / "messages").rename(tmp_path / "gone")
    (tmp_path / "messages").write_text("a file where the folder should be", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"receiver\.folder"):
        probe(load_province(province_file(tmp_path), home=home))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"accounts": {}}, "receiver.accounts"),
        ({"accounts": {"a": {"password_env": "mật khẩu", "madonvi": ["H15"]}}}, "receiver.accounts.a.password_env"),
        ({"accounts": {"a": {"password_env": "A", "madonvi": []}}}, "receiver.accounts.a.madonvi"),
        (
            {"accounts": {"a": {"password_env": "A", "madonvi": ["H15"], "duplicate_code": 0}}},
            "receiver.accounts.a.duplicate_code",
        ),
        ({"max_records": 10_000}, "receiver.max_records"),
        ({"gateway_endpoint": "gateway"}, "receiver.gateway_endpoint"),
        ({"cổng": 1}, "receiver.cổng"),
    ],
)
def test_a_wrong_key_of_the_receiver_is_named(tmp_path: Path, changes: dict[str, Any], key: str) -> None:
    file = province_file(tmp_path, **changes)
    with pytest.raises(ConfigurationError) as caught:
        load_province(file)
    assert str(caught.value).startswith(f"{file}: {key}")
