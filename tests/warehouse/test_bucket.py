"""The lake in a bucket: the same promises as in a folder, against a real S3 server on this machine."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assets.questions.past import PastLake, VersionGoneError
from tests.rows import table_rows
from tests.warehouse.nights import Past
from warehouse.inspection import inspect_database, inspect_lake, inspect_nights
from warehouse.lake import Lake, connect
from warehouse.objects import StorageError, Store
from warehouse.tables import CORE_PAYMENT, RAW_QUARANTINE
from warehouse.upkeep import Policy, upkeep

FIRST = datetime(2025, 12, 31, 17, tzinfo=UTC) + timedelta(days=1)


def _keys(lake: Lake) -> list[str]:
    return sorted(lake.read(CORE_PAYMENT)["dossier_key"].to_pylist())


def test_rows_come_back_and_months_are_replaced(bucket: str) -> None:
    lake = Lake(f"{bucket}/lake")
    assert lake.read(CORE_PAYMENT).num_rows == 0
    assert lake.names() == []
    rows = [{"dossier_key": key, "lake_month": month} for key, month in (("a", "2026-01"), ("b", "2026-02"))]
    lake.append(CORE_PAYMENT, table_rows(CORE_PAYMENT, *rows))
    before = lake.fingerprint(CORE_PAYMENT)
    assert lake.fingerprint(CORE_PAYMENT) == before
    lake.replace_partitions(
        CORE_PAYMENT, table_rows(CORE_PAYMENT, {"dossier_key": "c", "lake_month": "2026-01"}), ["2026-01"]
    )
    assert _keys(lake) == ["b", "c"]
    assert lake.names() == ["core_payment"]
    assert lake.fingerprint(CORE_PAYMENT) != before
    assert not lake.replace_if_different(CORE_PAYMENT, lake.read(CORE_PAYMENT))
    old = connect().sql(f"SELECT dossier_key FROM {lake.relation_sql(CORE_PAYMENT, version=0)} ORDER BY 1").fetchall()
    assert old == [("a",), ("b",)]


def test_a_folder_and_a_bucket_have_equal_fingerprints(bucket: str, tmp_path: Path) -> None:
    rows = table_rows(CORE_PAYMENT, *({"dossier_key": str(n), "lake_month": f"2026-0{n}"} for n in range(1, 6)))
    lakes = [Lake(f"{bucket}/lake"), Lake(str(tmp_path / "lake"))]
    for lake in lakes:
        lake.append(CORE_PAYMENT, rows)
    assert lakes[0].fingerprint(CORE_PAYMENT) == lakes[1].fingerprint(CORE_PAYMENT)


def test_writers_at_the_same_moment_lose_nothing(bucket: str) -> None:
    """A commit is a conditional put: of two writers of one version, one is told to try the next."""
    lake = Lake(f"{bucket}/lake")
    lake.append(RAW_QUARANTINE, table_rows(RAW_QUARANTINE, {"record_key": "0"}))

    def write(writer: int) -> None:
        for number in range(4):
            lake.append(RAW_QUARANTINE, table_rows(RAW_QUARANTINE, {"record_key": f"{writer}-{number}"}))

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    stored = sorted(lake.read(RAW_QUARANTINE)["record_key"].to_pylist())
    assert stored == sorted(["0", *(f"{writer}-{number}" for writer in range(3) for number in range(4))])


@pytest.mark.slow
def test_upkeep_and_inspection_work_in_a_bucket(bucket: str, tmp_path: Path) -> None:
    past = Past.at(tmp_path, lake=f"{bucket}/lake")
    nights = list(past.daily(FIRST, 9))
    remembered = {night.night: night for night in past.database.past_nights()}
    fingerprint = past.lake.fingerprint(RAW_QUARANTINE)
    policy = Policy(days=2, grace=timedelta(0), small_files=3)
    report = upkeep(past.lake, past.database, policy, now=FIRST + timedelta(days=9))
    assert {table.name: table.compacted_files for table in report.tables} == {"core_payment": 0, "raw_quarantine": 9}
    assert past.lake.fingerprint(RAW_QUARANTINE) == fingerprint
    assert _keys(PastLake.of(past.lake, remembered[nights[7]])) == ["H15-5", "H15-6", "H15-7"]
    with pytest.raises(VersionGoneError):
        PastLake.of(past.lake, remembered[nights[3]]).read(CORE_PAYMENT)
    assert list(inspect_lake(past.lake)) == []
    assert list(inspect_nights(past.lake, past.database)) == []
    assert list(inspect_database(past.lake, past.database, {})) == []
    past.night(9, known=FIRST + timedelta(days=9))
    assert _keys(past.lake) == ["H15-7", "H15-8", "H15-9"]


def test_damage_in_a_bucket_is_named(bucket: str, tmp_path: Path) -> None:
    past = Past.at(tmp_path, lake=f"{bucket}/lake")
    for _ in past.daily(FIRST, 3):
        pass
    store = Store.at(f"{bucket}/lake")
    data = sorted(name for name in store.sizes() if name.startswith("core_payment/lake_month"))
    store.delete(data[0])
    store.write(data[1], b"PAR1 no longer")
    found = "\n".join(map(str, inspect_lake(past.lake)))
    assert f"{data[0].removeprefix('core_payment/')}: không còn" in found
    assert f"{data[1].removeprefix('core_payment/')}: không đọc được" in found
    assert len(list(inspect_nights(past.lake, past.database))) == 3


@pytest.mark.parametrize("root", ["gs://kho/lake", "s3:///lake", "abfss://kho/lake", "s3://kho/lake?x=1"])
def test_other_storage_is_refused_by_name(root: str) -> None:
    with pytest.raises(StorageError, match=root.split("?", maxsplit=1)[0]):
        Lake(root)


def test_http_must_be_allowed_by_name(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(StorageError, match="AWS_ALLOW_HTTP=true"):
        Lake(f"{bucket}/lake").read(CORE_PAYMENT)
