"""The practice province beside the product: for `thuocdo sandbox`, `demo` and `ui`.

Belongs here: starting the sandbox and the Dagster processes, and ending them. Does not belong here:
printing (`cli.py`), or anything that a real province needs. The only module that imports `sandbox`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date, timedelta
from pathlib import Path

from orchestration.run import prepare_dagster
from orchestration.settings import Home
from sandbox.faults import FaultPlan
from sandbox.population import DEFAULT_CLOCK, build_population
from sandbox.server import RunningSandbox, SandboxError, running_sandbox, serve
from sandbox.traits import Traits

__all__ = ["LAST_DAY", "OtherSandboxError", "SandboxError", "dagster_processes", "practice", "serve_forever"]

#: A handful of records beside the population that the product must set aside, so that a newcomer sees how.
BROKEN = 12
#: The last whole day at the sandbox's clock.
LAST_DAY: date = DEFAULT_CLOCK.date() - timedelta(days=1)
WORKSPACE = Path(__file__).parents[1] / "workspace.yaml"


class OtherSandboxError(RuntimeError):
    """This home was filled from another invented province."""


@contextmanager
def practice(home: Home, *, dossiers: int, seed: int, port: int, faults: bool = False) -> Iterator[RunningSandbox]:
    """Serve a province from another process; its secrets are in this process's environment meanwhile.

    Raises `OtherSandboxError` when the home holds another invented province, `SandboxError` when the port
    is in use.
    """
    _same_province(home, dossiers=dossiers, seed=seed, broken=BROKEN)
    population, plan = build_population(dossiers, seed), FaultPlan(seed=seed) if faults else None
    traits = Traits(broken=BROKEN)
    with running_sandbox(population, home=home.root, port=port, faults=plan, traits=traits) as sandbox:
        before = {name: os.environ.get(name) for name in sandbox.environment}
        os.environ.update(sandbox.environment)
        try:
            yield sandbox
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


def serve_forever(home: Home, *, dossiers: int, seed: int, port: int, faults: bool) -> None:
    """Serve a province in this process until interrupted."""
    _same_province(home, dossiers=dossiers, seed=seed, broken=BROKEN)
    plan = FaultPlan(seed=seed) if faults else None
    serve(build_population(dossiers, seed), port=port, home=home.root, faults=plan, traits=Traits(broken=BROKEN))


def _same_province(home: Home, **wanted: int) -> None:
    """Two invented provinces in one home would look like dossiers that changed beyond recognition."""
    file = home.root / "sandbox" / "population.json"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(wanted), encoding="utf-8")
        return
    held = json.loads(file.read_text(encoding="utf-8"))
    if held != wanted:
        raise OtherSandboxError(
            f"{home.root} đang chứa một tỉnh mẫu khác ({_options(held)}), không phải ({_options(wanted)}). "
            "Đặt THUOCDO_HOME sang thư mục khác, hoặc xóa thư mục này rồi chạy lại. · "
            "This home holds another practice province: choose another THUOCDO_HOME, or remove the folder."
        )


def _options(values: dict[str, int]) -> str:
    return " ".join(f"--{name} {value}" for name, value in values.items())


@contextmanager
def dagster_processes(home: Home, province_file: Path, *, port: int) -> Iterator[Sequence[subprocess.Popen[bytes]]]:
    """The web server on loopback and the daemon, for `province_file`; both end with the block."""
    prepare_dagster(home).dispose()
    environment = {**os.environ, "THUOCDO_PROVINCE": str(province_file), "THUOCDO_HOME": str(home.root)}
    common = ("-w", str(WORKSPACE), "--log-level", "warning", "--code-server-log-level", "warning")
    commands = (
        ["dagster-webserver", *common, "-h", "127.0.0.1", "-p", str(port), "--dagster-log-level", "warning"],
        ["dagster-daemon", "run", *common],
    )
    with ExitStack() as stack:
        yield [stack.enter_context(_process(command, environment)) for command in commands]


@contextmanager
def _process(command: Sequence[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    program = Path(sys.executable).with_name(command[0])
    # A session of its own: Ctrl-C reaches only us, and we end it in order, once.
    process = subprocess.Popen([program, *command[1:]], env=environment, start_new_session=True)  # noqa: S603
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
