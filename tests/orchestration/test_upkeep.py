"""Upkeep as it runs: under the home's lock, as a Dagster job and from the command line; and verify over all of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from orchestration.cli import app
from orchestration.lock import NightRunningError, night_lock
from orchestration.run import prepare_dagster
from orchestration.settings import ConfigurationError, Home
from orchestration.upkeep import Settings, published_nights, purge_runs, run_upkeep, upkeep_job
from tests.publications.lakes import AS_OF, publish_small, small_lake
from warehouse.database import Database
from warehouse.lake import Lake
from warehouse.tables import CORE_DOSSIER, TABLES

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture
def lived_in(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home with a lake, one night and its publication; the environment names it."""
    lake = small_lake(Path(home.lake), dossiers=20)
    made = publish_small(lake, home.storage)
    database = Database.open(home.database_url)
    database.begin_night("n1", province_code="H15")
    versions = {table.name: lake.version(table) for table in TABLES.values()}
    database.end_night("n1", as_of=AS_OF, publication=made.folder.name, lake_versions=versions)
    monkeypatch.setenv("THUOCDO_HOME", str(home.root))
    monkeypatch.setenv("DAGSTER_HOME", str(home.dagster))
    monkeypatch.setenv("COLUMNS", "200")
    return home


def test_a_home_at_night_is_left_alone(lived_in: Home) -> None:
    settings = Settings.from_environment({})
    with night_lock(lived_in, night="n2"):
        with pytest.raises(NightRunningError):
            run_upkeep(lived_in, settings, now=NOW)
        assert run_upkeep(lived_in, settings, now=NOW, is_dry=True).kept_nights == 1
    assert run_upkeep(lived_in, settings, now=NOW).kept_nights == 1


def test_a_night_cannot_begin_during_upkeep(lived_in: Home) -> None:
    seen = []

    def try_a_night(_: object) -> None:
        with pytest.raises(NightRunningError, match="upkeep"), night_lock(lived_in, night="n2"):
            pass
        seen.append(1)

    run_upkeep(lived_in, Settings.from_environment({}), now=NOW, on_table=try_a_night)
    assert seen


def test_what_a_killed_publication_left_is_removed(lived_in: Home) -> None:
    store = lived_in.storage / "publications"
    (store / "20260101T000000.000000Z-killed").mkdir()
    (store / "20260101T000000.000000Z-killed" / "dossier.parquet").write_bytes(b"half")
    (store / ".spill-killed").mkdir()
    before = published_nights(lived_in)
    run_upkeep(lived_in, Settings.from_environment({}), now=NOW)
    assert before - published_nights(lived_in) == {"killed"}
    assert not (store / ".spill-killed").exists()
    assert len([path for path in store.iterdir() if path.is_dir()]) == 1


def test_old_runs_go_with_their_events_and_young_ones_stay(lived_in: Home) -> None:
    job = upkeep_job(lived_in)
    with prepare_dagster(lived_in) as instance:
        first = job.execute_in_process(instance=instance)
        assert first.success
        assert purge_runs(instance, now=datetime.now(UTC) + timedelta(days=9), days=10) == []
        later = datetime.now(UTC) + timedelta(days=11)
        assert purge_runs(instance, now=later, days=10, is_dry=True) == [first.run_id]
        assert instance.get_run_by_id(first.run_id) is not None
        assert purge_runs(instance, now=later, days=10) == [first.run_id]
        assert instance.get_run_by_id(first.run_id) is None
        assert instance.all_logs(first.run_id) == []


def test_a_run_under_way_is_never_purged(lived_in: Home) -> None:
    job = upkeep_job(lived_in)
    with prepare_dagster(lived_in) as instance:
        run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
        assert purge_runs(instance, now=datetime.now(UTC) + timedelta(days=11), days=10) == []
        assert instance.get_run_by_id(run.run_id) is not None


@pytest.mark.usefixtures("lived_in")
def test_the_commands_say_what_they_did() -> None:
    said = CliRunner().invoke(app, ["upkeep", "--dry-run"])
    assert said.exit_code == 0, said.output
    assert "core_dossier: giữ 1 phiên bản" in said.output
    assert "Sẽ dọn · would free 0.0 MiB; còn đọc lại được 1 đêm" in said.output
    done = CliRunner().invoke(app, ["upkeep"])
    assert done.exit_code == 0, done.output
    sound = CliRunner().invoke(app, ["verify"])
    assert sound.exit_code == 0, sound.output
    assert "1 đêm đọc lại được" in sound.output


def test_verify_names_every_kind_of_damage_and_fails(lived_in: Home) -> None:
    lake_file = Path(Lake(lived_in.lake).open(CORE_DOSSIER).file_uris()[0])  # type: ignore[union-attr]
    published = lived_in.published.resolve() / "verdict.parquet"
    for file in (lake_file, published):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 0x01
        file.write_bytes(content)
    Database.open(lived_in.database_url).move_cursor("conform", "raw", {}, lake_version=99)
    said = CliRunner().invoke(app, ["verify"])
    assert said.exit_code == 1
    assert f"{published}: sha256:" in said.output
    assert lake_file.name in said.output
    assert "con trỏ conform/raw: đã tính đến phiên bản 99" in said.output
    assert "chỗ hư hỏng" in said.output


@pytest.mark.parametrize("name", ["THUOCDO_KEEP_DAYS", "THUOCDO_KEEP_HOURS", "THUOCDO_KEEP_RUN_DAYS"])
@pytest.mark.parametrize("value", ["0", "-1", "chín", "1.5"])
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Settings.from_environment({name: value})
