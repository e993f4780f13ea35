"""The shipped profile igate-v2 against the native connector, over the same server: the core must come out equal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import stamina

from assets.raw.tables import RAW_ONESTOP, profiled_table
from connectors.rest import RestSettings
from connectors.sources import SourceSettings
from orchestration.settings import load_province
from sandbox.faults import BAD_DAY, CHURN, Fault, FaultPlan
from sandbox.population import DEFAULT_CLOCK, build_population
from sandbox.server import ENVIRONMENT, RunningSandbox, running_sandbox
from tests.connectors.rest.homes import OneSource, renamed, vietnam
from warehouse.schema import Table
from warehouse.tables import CORE_COMPONENT, CORE_DOSSIER, CORE_PAYMENT, CORE_SUPPLEMENT

START, NOW = vietnam(2024, 1, 1), DEFAULT_CLOCK
PROFILE = Path(__file__).parents[3] / "connectors" / "profiles" / "igate-v2.yaml"
COMPARED = (CORE_DOSSIER, CORE_COMPONENT, CORE_PAYMENT, CORE_SUPPLEMENT)


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    """A province whose clock stands still."""
    with running_sandbox(build_population(400, seed=5), home=tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture(scope="module")
def truth(sandbox: RunningSandbox, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Status and day of change of every dossier that the native connector stores, by its id."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        home = native(sandbox, tmp_path_factory.mktemp("native"))
        home.read("n1", START, NOW)
    newest = {row["record_key"]: row for row in home.rows(RAW_ONESTOP)}
    return {key: f"{row['dossierStatusId']} {row['updatedDate']}" for key, row in newest.items()}


def stored(home: OneSource) -> Mapping[str, str]:
    """The same of what a home stored by the profile."""
    newest = {row["record_key"]: row for row in home.rows(profiled_table("igate"))}
    return {key.removeprefix("igate:"): f"{row['status']} {row['modified_at']}" for key, row in newest.items()}


def native(sandbox: RunningSandbox, root: Path) -> OneSource:
    return OneSource(root, "onestop", load_province(sandbox.province_file).sources["onestop"])


def by_profile(sandbox: RunningSandbox, root: Path, **said: Any) -> OneSource:
    known: Any = load_province(sandbox.province_file).sources["onestop"]
    same = ("base_url", "token_url", "client_id_env", "client_secret_env", "manners")
    settings: SourceSettings = RestSettings(
        kind="rest",
        role="onestop",
        **{"profile": "igate-v2", "page_rows": 50, **said},
        **{key: getattr(known, key) for key in same},
    )
    return OneSource(
        root, "igate", settings, renamed("agencies", "onestop", "igate"), renamed("codes", "onestop", "igate")
    )


def facts(home: OneSource, table: Table) -> list[dict[str, Any]]:
    """Rows of a core table; a dossier that has no code yet goes by its record, which a profile names otherwise."""
    return [{name: _unnamed(value) for name, value in row.items()} for row in home.rows(table)]


def _unnamed(value: Any) -> Any:
    return value.replace("igate:", "") if isinstance(value, str) else value


def assert_same_core(one: OneSource, other: OneSource) -> None:
    for table in COMPARED:
        assert facts(one, table) == facts(other, table), table.name
    assert one.rows(CORE_DOSSIER), "nothing was conformed"


@pytest.mark.slow
def test_two_nights_leave_the_core_that_the_native_connector_leaves(tmp_path: Path) -> None:
    with running_sandbox(build_population(400, seed=5), home=tmp_path / "sandbox") as sandbox:
        one, other = native(sandbox, tmp_path / "native"), by_profile(sandbox, tmp_path / "profile")
        first = [home.read("n1", START, NOW) for home in (one, other)]
        assert first[0].rows_read == first[1].rows_read > 100
        assert first[0].rows_stored == first[1].rows_stored
        later = NOW + timedelta(days=12)
        sandbox.advance(later)
        second = [home.read("n2", NOW, later) for home in (one, other)]
        assert 0 < second[1].rows_stored == second[0].rows_stored < second[1].rows_read < first[1].rows_read
    for home in (one, other):
        home.conform("n2")
    assert_same_core(one, other)
    assert any(row["is_settled"] for row in other.rows(CORE_PAYMENT)), "no fee line came by the second call"


@pytest.mark.parametrize("faults", [BAD_DAY, CHURN], ids=["bad day", "churn"])
def test_faults_change_nothing(faults: tuple[Fault, ...], truth: Mapping[str, str], tmp_path: Path) -> None:
    plan = FaultPlan(faults=faults, slow_seconds=0.1, retry_after_seconds=0)
    with (
        running_sandbox(build_population(400, seed=5), home=tmp_path / "sandbox", faults=plan) as sandbox,
        stamina.set_testing(True, attempts=8),
    ):
        home = by_profile(sandbox, tmp_path / "home", page_rows=20)
        home.read("n1", START, NOW)
        # What jumped over the first night's walk is newer than it, and the next night's to find.
        home.read("n2", NOW, NOW + timedelta(hours=1))
    if faults is CHURN:
        assert stored(home).keys() == truth.keys(), "a touched dossier has a newer date, but none is missing"
    else:
        assert stored(home) == truth


def test_slices_without_a_total_lose_nothing(sandbox: RunningSandbox, truth: Mapping[str, str], tmp_path: Path) -> None:
    text = PROFILE.read_text(encoding="utf-8")
    profile = tmp_path / "slice.yaml"
    profile.write_text(text.replace("spec: page", "spec: slice"), encoding="utf-8")
    home = by_profile(sandbox, tmp_path / "profile", profile=str(profile))
    home.read("n1", START, NOW)
    assert stored(home) == truth


def test_the_cursor_is_the_newest_change_by_the_systems_own_clock(sandbox: RunningSandbox, tmp_path: Path) -> None:
    home = by_profile(sandbox, tmp_path / "profile")
    home.read("n1", START, NOW)
    until = datetime.fromisoformat(home.database.cursors()["igate"]["dossiers"]["until"])
    newest = max(datetime.fromisoformat(row["modified_at"]) for row in home.rows(profiled_table("igate")))
    assert until == newest - timedelta(minutes=10)


def test_a_code_that_the_profile_does_not_know_is_reported_and_never_guessed(
    sandbox: RunningSandbox, tmp_path: Path
) -> None:
    known = by_profile(sandbox, tmp_path / "known")
    home = OneSource(tmp_path / "bare", "igate", known.settings, renamed("agencies", "onestop", "igate"))
    home.read("n1", START, NOW)
    home.conform("n1")
    told = {(row["reason"], row["detail"]) for row in home.quarantined()}
    assert {reason for reason, _ in told} >= {"unmapped_status", "unmapped_channel", "unmapped_service_level"}
    statuses = " ".join(detail for reason, detail in told if reason == "unmapped_status")
    assert '"igate:5"' in statuses
    assert '"igate:0"' not in statuses, "the one status that is known"
