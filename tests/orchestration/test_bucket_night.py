"""A whole night with its lake and its publications in a bucket, as an operator runs it, on a local S3 server."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sandbox.server import RunningSandbox
from tests.buckets import bucket, s3_server
from tests.orchestration.conftest import Command
from warehouse.objects import Store

__all__ = ["bucket", "s3_server"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_night_in_a_bucket(
    served: RunningSandbox,
    thuocdo: Command,
    tmp_path: Path,
    bucket: str,
) -> None:
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL", "AWS_ALLOW_HTTP")
    place = {"THUOCDO_STORAGE_URL": bucket, **{name: os.environ[name] for name in names}}
    home = tmp_path / "home"
    folder = tmp_path / "in-folder"

    def run(*arguments: str) -> str:
        done = thuocdo(*arguments, THUOCDO_HOME=str(home), **place)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("night", str(served.province_file), "--to", "2026-09-11")
    run("upkeep")
    assert "đêm đọc lại được" in run("verify")
    assert not (home / "lake").exists()
    done = thuocdo("night", str(served.province_file), "--to", "2026-09-11", THUOCDO_HOME=str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    store = Store.at(bucket)
    pointer = store.read("publications/latest.json") or ""
    place_of_it = pointer.split('"folder": "')[1].split('"')[0]
    sent = pq.read_table(store.path(f"{place_of_it}/indicator.parquet"), filesystem=store.filesystem)
    counted = pq.read_table((folder / "published").resolve() / "indicator.parquet")
    assert sent.num_rows > 0
    assert sent.equals(counted)
