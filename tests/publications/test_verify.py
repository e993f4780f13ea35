"""Damage in a publication is found and named, whatever part of it is hurt.

Real damage to real files, one kind per case.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.publications.manifest import ManifestError, read_manifest, verify
from tests.publications.lakes import publish_small, small_lake


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole publication of twenty dossiers."""
    return publish_small(small_lake(tmp_path / "lake", dossiers=20), tmp_path).folder


def _flip(file: Path, position: int) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 0x01
    file.write_bytes(content)


@pytest.mark.parametrize("name", ["indicator", "verdict", "dossier", "payment", "unit", "procedure"])
@pytest.mark.parametrize("place", [0, 0.3, 0.99])
def test_one_flipped_bit_names_the_file_and_both_hashes(folder: Path, name: str, place: float) -> None:
    assert verify(folder) == []
    file = folder / f"{name}.parquet"
    _flip(file, int(file.stat().st_size * place))
    found = verify(folder)
    assert found
    assert all(problem.startswith(f"{file}: ") for problem in found)
    assert "datapackage.json says sha256:" in found[0]


def _truncate(folder: Path) -> None:
    file = folder / "dossier.parquet"
    file.write_bytes(file.read_bytes()[:-100])


def _remove(folder: Path) -> None:
    (folder / "dossier.parquet").unlink()


def _other_columns(folder: Path) -> None:
    pq.write_table(pa.table({"dossier_key": pa.array(["a"], pa.large_string())}), folder / "dossier.parquet")


def _fewer_rows(folder: Path) -> None:
    rows = pq.read_table(folder / "dossier.parquet")
    pq.write_table(rows.slice(1), folder / "dossier.parquet")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_truncate, ["bytes, datapackage.json says", "sha256:", "not readable as Parquet"]),
        (_remove, ["missing"]),
        (
            _other_columns,
            ["dossier_key large_string", "dossier_key string not null", "1 rows, datapackage.json says 20"],
        ),
        (_fewer_rows, ["19 rows, datapackage.json says 20"]),
    ],
)
def test_what_differs_is_said(folder: Path, damage: Callable[[Path], None], said: list[str]) -> None:
    damage(folder)
    found = "\n".join(verify(folder))
    assert [text for text in said if text not in found] == []
    assert "indicator.parquet" not in found


def test_a_stranger_in_the_folder_is_named(folder: Path) -> None:
    (folder / "extra.parquet").write_bytes(b"")
    assert verify(folder) == [f"{folder / 'extra.parquet'}: not listed in datapackage.json"]


def test_a_folder_without_manifest_is_no_publication(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"no such file.*not a finished publication"):
        read_manifest(tmp_path)
    assert len(verify(tmp_path)) == 1


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"resources": 1}', b"\xff\xfe", b'{"resources": [{"name": "x"}]}'])
def test_a_broken_manifest_is_named(folder: Path, content: bytes) -> None:
    (folder / "datapackage.json").write_bytes(content)
    (problem, *_) = verify(folder)
    assert problem.startswith(str(folder / "datapackage.json"))


def test_a_changed_hash_in_the_manifest_is_found(folder: Path) -> None:
    manifest = read_manifest(folder)
    (dossier,) = (resource for resource in manifest["resources"] if resource["name"] == "dossier")
    dossier["hash"] = "sha256:" + "0" * 64
    (folder / "datapackage.json").write_text(json.dumps(manifest))
    (problem,) = verify(folder)
    assert problem.startswith(f"{folder / 'dossier.parquet'}: sha256:")
