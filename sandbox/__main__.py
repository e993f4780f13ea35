"""`python -m sandbox`: serve a province to practise on until interrupted.

Belongs here: the arguments. Does not belong here: serving (see `server.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sandbox.faults import BAD_DAY, CHURN, FaultPlan
from sandbox.population import build_population
from sandbox.server import DEFAULT_PORT, SandboxError, serve
from sandbox.traits import DEFAULT, PersonalityName, Traits


def main(  # noqa: PLR0917  typer calls it by name
    dossiers: Annotated[int, typer.Option(min=1, help="How many dossiers up to the clock.")] = 60_000,
    seed: Annotated[int, typer.Option(help="The same seed invents the same province.")] = 3478,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1.")] = DEFAULT_PORT,
    home: Annotated[Path, typer.Option(help="Where sandbox/truth and sandbox/messages are written.")] = Path(
        ".thuocdo"
    ),
    faults: Annotated[bool, typer.Option("--faults", help="Let things go wrong on a schedule.")] = False,
    churn: Annotated[bool, typer.Option("--churn", help="Let dossiers move and vanish between pages.")] = False,
    personality: Annotated[
        PersonalityName, typer.Option(help="Who sends the messages, and distorts them.")
    ] = DEFAULT.personality,
    broken: Annotated[int, typer.Option(min=0, help="Records beside the dossiers that no reader can accept.")] = 0,
    index_lag: Annotated[int, typer.Option(min=0, help="Portal lists that lag behind after a clock move.")] = 0,
    scope: Annotated[list[str] | None, typer.Option(help="Agencies that the portal limits its reader to.")] = None,
    gzip: Annotated[bool, typer.Option("--gzip", help="Compress replies for whoever accepts it.")] = False,
) -> None:
    """Serve an invented province on loopback: portal, one-stop and message log."""
    kinds = (*(BAD_DAY if faults else ()), *(CHURN if churn else ()))
    plan = FaultPlan(kinds, seed=seed) if kinds else None
    traits = Traits(personality=personality, broken=broken, index_lag=index_lag, scope=tuple(scope or ()), gzip=gzip)
    try:
        serve(build_population(dossiers, seed), port=port, home=home, faults=plan, traits=traits)
    except SandboxError as error:
        Console(stderr=True).print(f"[red]{error}[/red]")
        raise typer.Exit(1) from error


if __name__ == "__main__":
    typer.run(main)
