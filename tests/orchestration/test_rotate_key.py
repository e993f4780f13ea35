"""`thuocdo rotate-key`, as an operator runs it: in a process of its own, for the lock is one between processes."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from assets.raw.hashes import KEY_VARIABLE, open_keys
from orchestration.lock import night_lock
from orchestration.settings import Home

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def rotated(home: Path, **changed: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-m", "orchestration.cli", "rotate-key"]
    own = {name: value for name, value in os.environ.items() if not name.startswith("THUOCDO_")}
    environment = own | {"THUOCDO_HOME": str(home), "COLUMNS": "400", **changed}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_a_leaked_key_serves_until_the_command_is_run_again(tmp_path: Path) -> None:
    file = Home.from_environment({"THUOCDO_HOME": str(tmp_path)}).hash_key
    leaked = open_keys(file, now=NOW, environment={}).current
    said = rotated(tmp_path)
    assert said.returncode == 0, said.stderr
    once = open_keys(file, now=NOW, environment={})
    assert (once.previous, leaked.hex() in said.stdout, once.current.hex() in said.stdout) == (leaked, False, False)
    assert once.current != leaked
    assert rotated(tmp_path).returncode == 0
    assert leaked.hex() not in file.read_text(encoding="ascii")
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_home_without_a_key_gets_one(tmp_path: Path) -> None:
    said = rotated(tmp_path)
    assert (said.returncode, "chưa có khóa nào" in said.stdout) == (0, True)
    assert (tmp_path / "hash.key").is_file()


def test_while_a_night_runs_nothing_is_replaced(tmp_path: Path) -> None:
    home = Home.from_environment({"THUOCDO_HOME": str(tmp_path)})
    before = open_keys(home.hash_key, now=NOW, environment={})
    with night_lock(home, night="n1"):
        said = rotated(tmp_path)
    assert said.returncode == 1
    assert "Một đêm khác đang chạy" in said.stdout
    assert open_keys(home.hash_key, now=NOW, environment={}) == before


def test_a_key_of_the_environment_is_replaced_there(tmp_path: Path) -> None:
    open_keys(tmp_path / "hash.key", now=NOW, environment={})
    before = (tmp_path / "hash.key").read_bytes()
    secret = "mot khoa du dai 1"
    said = rotated(tmp_path, **{KEY_VARIABLE: secret})
    assert said.returncode == 1
    assert f"{KEY_VARIABLE}=khóa-mới,khóa-đang-dùng" in said.stdout
    assert secret not in said.stdout + said.stderr
    assert (tmp_path / "hash.key").read_bytes() == before


def test_a_damaged_key_file_is_told_and_left(tmp_path: Path) -> None:
    (tmp_path / "hash.key").write_text("{")
    said = rotated(tmp_path)
    assert (said.returncode, "tệp khóa hỏng" in said.stdout) == (1, True)
    assert (tmp_path / "hash.key").read_text() == "{"
