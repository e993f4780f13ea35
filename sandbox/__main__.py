"""`python -m sandbox`: serve a province to practise on until interrupted.

Belongs here: the arguments. Does not belong here: serving (see `server.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sandbox.faults import FaultPlan
from sandbox.population import build_population
from sandbox.server import DEFAULT_PORT, SandboxError, serve


def main(
    dossiers: Annotated[int, typer.Option(min=1, help="How many dossiers up to the clock.")] = 60_000,
    seed: Annotated[int, typer.Option(help="The same seed invents the same province.")] = 3478,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1.")] = DEFAULT_PORT,
    home: Annotated[Path, typer.Option(help="Where sandbox/truth and sandbox/messages are written.")] = Path(
        ".thuocdo"
    ),
    faults: Annotated[bool, typer.Option("--faults", help="Let things go wrong on a schedule.")] = False,
) -> None:
    """Serve an invented province on loopback: portal, one-stop and message log."""
    plan = FaultPlan(seed=seed) if faults else None
    try:
        serve(build_population(dossiers, seed), port=port, home=home, faults=plan)
    except SandboxError as error:
        Console(stderr=True).print(f"[red]{error}[/red]")
        raise typer.Exit(1) from error


if __name__ == "__main__":
    typer.run(main)
