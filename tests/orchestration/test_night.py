"""A whole night as an operator runs it: the command, a served province, files read back with other tools.

At this level because only here do the parts meet: extraction, checks, indicators, verdicts and
publication in one Dagster run. The numbers themselves are tested where they are made.
"""

from __future__ import annotations

import fcntl
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from orchestration.settings import Home
from sandbox import directory
from sandbox.population import DEFAULT_CLOCK
from sandbox.server import RunningSandbox
from sandbox.territory import territory
from tests.orchestration.conftest import START_ON, Command
from tests.persons import PERSON, readable
from warehouse.database import Database
from warehouse.lake import Lake
from warehouse.tables import CORE_AGENCY

LAST = "2026-10-31"


@pytest.fixture(scope="module")
def first_night(served: RunningSandbox, thuocdo: Command) -> str:
    done = thuocdo("night", str(served.province_file), "--to", LAST)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _home(served: RunningSandbox) -> Home:
    return Home.from_environment({"THUOCDO_HOME": str(served.home)})


@pytest.mark.usefixtures("first_night")
def test_every_row_read_is_accounted_for(served: RunningSandbox) -> None:
    database = Database.open(_home(served).database_url)
    night = database.last_night()
    assert night is not None
    counts = database.counts(night)
    dossiers = {
        (stage, source) for stage in ("extract", "conform") for source in ("portal", "onestop", "messages", "progress")
    }
    assert {(row["stage"], row["source"]) for row in counts} == {
        *dossiers, ("extract", "catalogue"), ("extract", "units"), ("extract", "observations")
    }  # fmt: skip
    for row in counts:
        assert row["rows_read"] == row["rows_stored"] + row["rows_unchanged"] + row["rows_quarantined"]
        # Nobody has handed in an observation in the practice province.
        assert (row["rows_read"] > 0) == (row["source"] != "observations")


@pytest.mark.usefixtures("first_night")
def test_the_publication_is_as_of_the_end_of_the_last_day(served: RunningSandbox, thuocdo: Command) -> None:
    file = _home(served).published.resolve() / "indicator.parquet"
    as_of = pc.unique(pq.read_table(file, columns=["as_of"])["as_of"]).to_pylist()
    assert as_of == [datetime(2026, 10, 31, 17, tzinfo=UTC)]  # midnight in Vietnam
    assert thuocdo("verify").returncode == 0


@pytest.mark.usefixtures("first_night")
def test_the_one_stops_codes_have_their_names_and_units(served: RunningSandbox) -> None:
    """Mọi mã trong danh bạ, tên đúng như tỉnh mẫu; chỉ hai cơ quan không phải đơn vị của tỉnh là chưa gắn."""
    rows = Lake(_home(served).lake).read(CORE_AGENCY).to_pylist()
    assert {row["agency"]: row["name"] for row in rows} == directory.truth(DEFAULT_CLOCK.date())
    units = {unit.onestop: unit.code for unit in territory().units}
    assert {row["agency"]: row["unit_code"] for row in rows} == {
        row["agency"]: units.get(row["agency"]) for row in rows
    }
    assert sum(row["unit_code"] is None for row in rows) == 2
    assert {(row["source"], row["first_listed_on"], row["last_listed_on"]) for row in rows} == {
        ("onestop", date(2026, 10, 31), None)
    }


def test_nobody_is_written_anywhere(first_night: str, served: RunningSandbox) -> None:
    """Lake, publication, database, Dagster's runs and events, logs, terminal: the sandbox's persons are in none."""
    said = "".join(readable(file) for file in (served.home / "sandbox" / "messages").iterdir())
    assert PERSON.search(said)
    assert not PERSON.search(first_night)
    kept = [file for file in served.home.rglob("*") if file.is_file() and "sandbox" not in file.parts[-3:]]
    assert {".parquet", ".db", ".json"} <= {file.suffix for file in kept}
    for file in kept:
        assert not PERSON.search(readable(file)), file


@pytest.mark.usefixtures("first_night")
def test_the_ui_would_show_the_run_and_every_day(served: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(_home(served).dagster))
    with dg.DagsterInstance.get() as instance:
        assert not instance.telemetry_enabled
        (run,) = instance.get_runs(filters=dg.RunsFilter(job_name="nightly"), limit=1)
        assert run.status == dg.DagsterRunStatus.SUCCESS
        days = dg.DailyPartitionsDefinition(START_ON, end_date="2026-11-01", timezone="Asia/Ho_Chi_Minh")
        for name in ("raw_portal", "raw_onestop", "raw_messages", "raw_progress"):
            assert instance.get_materialized_partitions(dg.AssetKey(name)) == set(days.get_partition_keys())


@pytest.mark.slow
def test_a_second_night_says_that_nothing_changed(first_night: str, served: RunningSandbox, thuocdo: Command) -> None:
    assert "nothing changed" not in first_night
    before = _published(served)
    done = thuocdo("night", str(served.province_file), "--to", LAST)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing changed" in done.stdout
    assert _published(served).equals(before)


def _published(served: RunningSandbox) -> pa.Table:
    """Every published indicator with its counts."""
    return pq.read_table(_home(served).published.resolve() / "indicator.parquet")


@pytest.mark.usefixtures("first_night")
def test_the_scorecard_names_the_four_rates(thuocdo: Command) -> None:
    done = thuocdo("scorecard")
    assert done.returncode == 0, done.stderr
    for name in ("Nộp trực tuyến", "Thanh toán trực tuyến", "Số hóa hồ sơ", "Tái sử dụng dữ liệu"):
        assert name in done.stdout


def test_two_nights_at_once(served: RunningSandbox, thuocdo: Command) -> None:
    with (served.home / "night.lock").open("a+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = thuocdo("night", str(served.province_file), "--to", LAST)
    assert done.returncode == 1
    assert "Một đêm khác đang chạy" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.slow
def test_a_night_without_its_secret_fails_with_one_sentence(
    served: RunningSandbox, thuocdo: Command, tmp_path: Path
) -> None:
    changed = {"THUOCDO_HOME": str(tmp_path), "THUOCDO_PORTAL_PASSWORD": ""}
    done = thuocdo("night", str(served.province_file), "--from", LAST, "--to", LAST, **changed)
    assert done.returncode == 1
    assert "environment variable THUOCDO_PORTAL_PASSWORD is not set" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_check_reaches_every_source(served: RunningSandbox, thuocdo: Command) -> None:
    done = thuocdo("check", str(served.province_file))
    assert done.returncode == 0, done.stdout + done.stderr
    for subject in ("departments", "agencies", "codes", "definitions", "targets", "portal", "onestop", "messages"):
        assert subject in done.stdout


def test_check_names_the_key_of_a_wrong_secret(served: RunningSandbox, thuocdo: Command) -> None:
    wrong = {"THUOCDO_PORTAL_PASSWORD": "mat-khau-sai", "THUOCDO_ONESTOP_CLIENT_SECRET": ""}
    done = thuocdo("check", str(served.province_file), **wrong)
    assert done.returncode == 1
    assert "sources.portal.password_env" in done.stdout or "sources.portal.username_env" in done.stdout
    assert "sources.onestop.client_secret_env" in done.stdout
    assert "mat-khau-sai" not in done.stdout + done.stderr


def test_check_names_a_wrong_key_of_the_file(served: RunningSandbox, thuocdo: Command, tmp_path: Path) -> None:
    file = tmp_path / "tinh.yaml"
    text = served.province_file.read_text(encoding="utf-8")
    file.write_text(text.replace("province_code: H15", "province_code: 66"), encoding="utf-8")
    done = thuocdo("check", str(file))
    assert done.returncode == 1
    assert "province_code" in done.stdout


def test_a_home_of_another_practice_province_is_refused(thuocdo: Command) -> None:
    done = thuocdo("demo", "--dossiers", "301", "--seed", "7")
    assert done.returncode == 1
    assert "--dossiers 300 --seed 7" in done.stdout


def test_nothing_published_yet_is_said(thuocdo: Command, tmp_path: Path) -> None:
    done = thuocdo("scorecard", THUOCDO_HOME=str(tmp_path))
    assert done.returncode == 1
    assert "thuocdo night" in done.stdout
