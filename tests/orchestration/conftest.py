"""A small practice province whose night takes seconds: few dossiers, two months of days."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from orchestration.settings import Home
from sandbox.population import build_population
from sandbox.server import RunningSandbox, running_sandbox

DOSSIERS, SEED = 300, 7
START_ON = "2026-09-01"
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    """A sandbox in another process; its province file begins on `START_ON`."""
    home = tmp_path_factory.mktemp("home")
    with running_sandbox(build_population(DOSSIERS, SEED), home=home) as sandbox:
        content = yaml.safe_load(sandbox.province_file.read_text(encoding="utf-8"))
        content["start_on"] = START_ON
        sandbox.province_file.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
        (home / "sandbox" / "population.json").write_text(json.dumps({"dossiers": DOSSIERS, "seed": SEED}))
        yield sandbox


@pytest.fixture(scope="session")
def thuocdo(served: RunningSandbox) -> Command:
    """Run the command `thuocdo` as an operator does, against the sandbox, and return what it said."""

    def run(*arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
        ours = {"THUOCDO_HOME": str(served.home), "COLUMNS": "200"}
        environment = {**os.environ, **served.environment, **ours, **changed}
        command: list[str | Path] = [Path(sys.executable).with_name("thuocdo"), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)

    return run


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty home."""
    return Home.from_environment({"THUOCDO_HOME": str(tmp_path / "home")})
