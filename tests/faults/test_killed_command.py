"""The command itself is killed, with Dagster around it; the next night ends where an undisturbed one would have."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from assets.publications.manifest import verify
from sandbox.population import build_population
from sandbox.server import RunningSandbox, running_sandbox
from tests.faults.chains import contents

KILLS, SEED = 8, 11
#: Shorter than this nothing but modules was loaded.
_LOADED = 3.0


def _night(sandbox: RunningSandbox, home: Path) -> subprocess.Popen[str]:
    thuocdo = str(Path(sys.executable).with_name("thuocdo"))
    command = [thuocdo, "night", str(sandbox.province_file), "--to", "2026-10-31"]
    environment = {**os.environ, **sandbox.environment, "THUOCDO_HOME": str(home)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _to_its_end(sandbox: RunningSandbox, home: Path) -> str:
    said, _ = _night(sandbox, home).communicate(timeout=600)
    assert "xong sau" in said, said
    return said


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_killed_command_leaves_no_trace(tmp_path: Path) -> None:
    moments, killed = random.Random(SEED), 0
    with running_sandbox(build_population(300, SEED), home=tmp_path / "served") as sandbox:
        province = yaml.safe_load(sandbox.province_file.read_text(encoding="utf-8"))
        province["start_on"] = "2026-10-01"
        sandbox.province_file.write_text(yaml.safe_dump(province, allow_unicode=True), encoding="utf-8")
        began = time.monotonic()
        _to_its_end(sandbox, tmp_path / "calm")
        whole = time.monotonic() - began
        for _ in range(KILLS):
            process = _night(sandbox, tmp_path / "killed")
            try:
                process.wait(moments.uniform(_LOADED, max(whole, _LOADED)))
            except subprocess.TimeoutExpired:
                process.kill()
                killed += 1
            process.communicate()
        _to_its_end(sandbox, tmp_path / "killed")
    expected = contents(tmp_path / "calm")
    found = contents(tmp_path / "killed")
    assert killed > KILLS // 2
    assert any(expected.values())
    for name, rows in expected.items():
        assert found[name] == rows, name
    assert verify(tmp_path / "killed" / "published") == []
