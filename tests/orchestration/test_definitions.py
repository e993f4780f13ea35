"""What Dagster is given, as a list that a reviewer reads: an asset, check or schedule cannot vanish unseen.

At this level because the list is the contract with the operators' UI; what each asset does is tested
where its pure function lives.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from assets.raw.tables import RAW_TABLES
from expectations.suites import load_suite
from expectations.targets import FOLDER as TARGET_FOLDER
from orchestration.build import build
from orchestration.settings import Home, load_province
from warehouse.tables import TABLES

ROOT = Path(__file__).parents[2]
INTEGRITY = {"schema", "keys", "domains", "identities"}
RAW = {table.name: table for table in RAW_TABLES.values()}
ASSETS = {
    "raw": {"raw_portal", "raw_onestop", "raw_messages", "raw_progress"},
    "dossiers": {
        "core_unit",
        "core_succession",
        "core_procedure",
        "core_calendar",
        "core_crosswalk",
        "core_claim",
        "core_dossier",
        "core_component",
        "core_payment",
        "core_step",
        "core_supplement",
        "core_agency",
        "out_reconciliation",
    },
    "indicators": {"core_observation", "out_indicator"},
    "scorecards": {"out_verdict", "out_outlook", "out_score", "out_score_total", "out_worklist"},
    "publications": {"out_statistic", "published", "public"},
}
#: One check per target of the sets that the practice province names (targets.md 1.1, 3.1).
TARGET_SETS = ("dak-lak-3478", "national-2025")
PACKAGES = ("orchestration", "connectors", "assets", "expectations", "warehouse", "sandbox")
#: Which of our packages each may import, beside itself.
ARROWS = {
    "warehouse": set(),
    "connectors": set(),
    "expectations": {"warehouse"},
    "assets": {"connectors", "expectations", "warehouse"},
    "orchestration": {"assets", "connectors", "expectations", "warehouse"},
    "sandbox": {"warehouse"},
}


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    home = Home.from_environment({"THUOCDO_HOME": "/nonexistent"})
    return build(home=home, province=load_province(ROOT / "provinces" / "dak-lak.yaml", home=home))


def test_assets_by_group(definitions: dg.Definitions) -> None:
    found: dict[str, set[str]] = {}
    for spec in definitions.resolve_all_asset_specs():
        found.setdefault(spec.group_name or "", set()).add(spec.key.to_user_string())
    assert found == ASSETS


def test_every_asset_says_what_it_is_and_whose(definitions: dg.Definitions) -> None:
    for spec in definitions.resolve_all_asset_specs():
        vietnamese, _, english = (spec.description or "").partition("\n\n")
        assert vietnamese, spec.key
        assert english, spec.key
        assert list(spec.owners) == ["team:van-hanh-so"]
        assert spec.kinds >= {"python"}


def test_checks(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    found: dict[str, set[str]] = {}
    for key in graph.asset_check_keys:
        found.setdefault(key.asset_key.to_user_string(), set()).add(key.name)
    tables = set().union(*ASSETS.values()) - {"published", "public"}
    assert {table: names - _targets() for table, names in found.items()} == {
        table: {"schema", *load_suite(TABLES[table] if table in TABLES else RAW[table]).groups} for table in tables
    }
    assert found["out_verdict"] >= _targets()
    assert {"target_DL_A1", "target_DL_A3_X", "target_DL_F1"} <= _targets()


def _targets() -> set[str]:
    rows = [row for name in TARGET_SETS for row in (TARGET_FOLDER / f"{name}.csv").read_text("utf-8").splitlines()[1:]]
    return {f"target_{row.split(',')[0].replace('-', '_')}" for row in rows}


def test_targets_never_block(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    blocking = {key.name for key in graph.asset_check_keys if graph.get(key).blocking}
    assert blocking <= INTEGRITY
    assert {"schema", "keys"} <= blocking


def test_extraction_is_partitioned_by_vietnamese_days_and_backfilled_in_one_run(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    for name in ASSETS["raw"]:
        node = graph.get(dg.AssetKey(name))
        assert isinstance(node.partitions_def, dg.DailyPartitionsDefinition)
        assert node.partitions_def.timezone == "Asia/Ho_Chi_Minh"
        assert node.partitions_def.get_first_partition_key() == "2024-01-01"
        assert node.backfill_policy == dg.BackfillPolicy.single_run()
        assert node.pools == {f"portal_{'messages' if name == 'raw_progress' else name.removeprefix('raw_')}"}


def test_jobs_schedules_and_sensors(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()
    jobs = {job.name: job for job in repository.get_all_jobs() if not job.name.startswith("__")}
    assert sorted(jobs) == ["nightly", "upkeep"]
    selected = {key.to_user_string() for key in jobs["nightly"].asset_layer.selected_asset_keys}
    assert selected == set().union(*ASSETS.values())
    schedules = {schedule.name: schedule for schedule in repository.schedule_defs}
    assert {name: each.job_name for name, each in schedules.items()} == {"nightly": "nightly", "upkeep": "upkeep"}
    for name, cron in (("nightly", "0 1 * * *"), ("upkeep", "0 4 * * 0")):
        assert (schedules[name].cron_schedule, schedules[name].execution_timezone) == (cron, "Asia/Ho_Chi_Minh")
        assert schedules[name].default_status == dg.DefaultScheduleStatus.RUNNING
    (sensor,) = repository.sensor_defs
    assert (sensor.name, sensor.default_status) == ("don_lan_chay_treo", dg.DefaultSensorStatus.RUNNING)


def _python(code: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-c", code]
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False
    )


def test_loading_the_definitions_does_not_import_great_expectations(tmp_path: Path) -> None:
    code = "import sys, orchestration.definitions; print('great_expectations' in sys.modules, 'dagster' in sys.modules)"
    done = _python(code, ROOT, THUOCDO_HOME=str(tmp_path))
    assert done.stdout.split() == ["False", "True"], done.stderr


def test_packages_resolve_from_any_folder(tmp_path: Path) -> None:
    code = f"import {', '.join(PACKAGES)}; print(*(p.__file__ for p in ({', '.join(PACKAGES)})), sep='\\n')"
    done = _python(code, tmp_path)
    assert done.stdout.splitlines() == [str(ROOT / name / "__init__.py") for name in PACKAGES], done.stderr


def test_the_workspace_loads(tmp_path: Path) -> None:
    program = str(Path(sys.executable).with_name("dagster"))
    command = [program, "definitions", "validate", "-w", str(ROOT / "workspace.yaml")]
    environment = {**os.environ, "THUOCDO_HOME": str(tmp_path), "DAGSTER_DISABLE_TELEMETRY": "yes"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr + done.stdout


def _imports(package: str) -> set[tuple[str, str]]:
    """Pairs of file and our package that it imports."""
    found = set()
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found |= {(path.name, name.split(".")[0]) for name in names}
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_arrows_point_one_way(package: str) -> None:
    ours = {(file, name) for file, name in _imports(package) if name in PACKAGES and name != package}
    foreign = {(file, name) for file, name in ours if name not in ARROWS[package]}
    # The demo is the one door through which the product reaches its sandbox.
    assert foreign <= {("demo.py", "sandbox")}


@pytest.mark.parametrize("package", ["connectors", "warehouse", "sandbox"])
def test_these_know_nothing_of_dagster(package: str) -> None:
    assert not {file for file, name in _imports(package) if name == "dagster"}
