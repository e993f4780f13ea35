"""Publications in a bucket: sent whole, pointed at last, verified by reading again."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from assets.publications import mirror
from assets.publications.mirror import NotSentError, pointed_at, verify_sent
from assets.publications.publish import Publication, publish
from tests.publications.lakes import AS_OF, small_lake
from warehouse.lake import Lake
from warehouse.objects import Store


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Twenty dossiers, in a folder."""
    return small_lake(tmp_path / "lake", dossiers=20)


def _publish(lake: Lake, folder: Path, remote: str, *, night: str = "one", keep: int = 8) -> Publication:
    return publish(
        lake,
        folder=folder / "published",
        as_of=AS_OF,
        night=night,
        definitions={},
        cursors={},
        keep=keep,
        remote=remote,
    )


def _folders(remote: str) -> set[str]:
    files = Store.at(remote).sizes("publications")
    return {name.split("/")[1] for name in files if name.count("/") > 1}


def test_the_pointer_leads_to_the_same_bytes(lake: Lake, tmp_path: Path, bucket: str) -> None:
    assert pointed_at(bucket) is None
    made = _publish(lake, tmp_path, bucket)
    pointer = pointed_at(bucket)
    assert pointer is not None
    assert pointer["folder"] == f"publications/{made.folder.name}"
    assert pointer["fingerprint"] == made.fingerprint
    store = Store.at(bucket)
    for file in made.folder.iterdir():
        with store.filesystem.open_input_file(store.path(f"{pointer['folder']}/{file.name}")) as stream:
            assert stream.read() == file.read_bytes()
    read = pq.read_table(store.path(f"{pointer['folder']}/dossier.parquet"), filesystem=store.filesystem)
    assert read.num_rows == 20
    assert list(verify_sent(bucket)) == []


@pytest.mark.slow
def test_only_the_newest_stay_and_what_a_killed_one_left_goes(lake: Lake, tmp_path: Path, bucket: str) -> None:
    Store.at(bucket).write("publications/20200101T000000.000000Z-killed/dossier.parquet", b"half")
    made = [_publish(lake, tmp_path, bucket, night=f"n{number}", keep=2).folder.name for number in range(4)]
    assert _folders(bucket) == set(made[-2:])
    assert list(verify_sent(bucket)) == []


def test_what_does_not_arrive_is_not_pointed_at(
    lake: Lake, tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _publish(lake, tmp_path, bucket)
    sent = mirror._upload

    def fails_half_way(store: Store, file: Path, name: str) -> None:
        if file.name == "payment.parquet":
            raise OSError("connection reset")
        sent(store, file, name)

    monkeypatch.setattr(mirror, "_upload", fails_half_way)
    with pytest.raises(NotSentError, match=r"bản cũ giữ nguyên.*connection reset"):
        _publish(lake, tmp_path, bucket, night="two")
    assert (pointed_at(bucket) or {})["night"] == "one"
    # The link here shows nothing that the bucket does not have, and nothing unfinished stays.
    assert (tmp_path / "published").resolve() == first.folder
    assert [path.name for path in (tmp_path / "publications").iterdir() if path.is_dir()] == [first.folder.name]
    monkeypatch.undo()


def test_damage_is_named(lake: Lake, tmp_path: Path, bucket: str) -> None:
    made = _publish(lake, tmp_path, bucket)
    place, store = f"publications/{made.folder.name}", Store.at(bucket)
    content = bytearray((made.folder / "dossier.parquet").read_bytes())
    content[len(content) // 2] ^= 0x01
    store.write(f"{place}/dossier.parquet", bytes(content))
    store.delete(f"{place}/unit.parquet")
    found = sorted(verify_sent(bucket))
    assert [line.split(": ")[0] for line in found] == [
        f"{bucket}/{place}/dossier.parquet",
        f"{bucket}/{place}/unit.parquet",
    ]
    store.delete(f"{place}/datapackage.json")
    (line,) = verify_sent(bucket)
    assert line.startswith(f"{bucket}/{place}/datapackage.json: không còn")
    store.write("publications/latest.json", json.dumps({"night": "x"}).encode())
    (line,) = verify_sent(bucket)
    assert line.startswith(f"{bucket}/publications/latest.json: không đọc được")
