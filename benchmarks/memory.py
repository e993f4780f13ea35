"""Peak memory of an extraction from a hundred thousand records to five million: it should not follow them.

Belongs here: a one-stop system that is larger than the sandbox could be, and the extraction of it. Does not belong
here: how fast anything is (`extract.py`): this server shares two cores with who reads it.

`python -m benchmarks.memory [RECORDS …]`. The server renders twenty thousand of the sandbox's dossiers and shows them
again and again under other ids, so that what is read, stored and compared is as large and as varied as ever.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from rich.console import Console
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from assets.raw.extraction import extract
from benchmarks.extract import NOW, SINCE
from benchmarks.processes import Measured, run_apart, stopwatch
from connectors.settings import HttpManners, IGateSettings
from sandbox.onestop import OnestopIndex
from sandbox.population import DEFAULT_CLOCK, build_population, seconds
from warehouse.database import Database
from warehouse.lake import Lake

MODULE = "benchmarks.memory"
SIZES = (100_000, 1_000_000, 5_000_000)
#: Dossiers that are rendered; each is shown under up to 256 ids, which differ in their first two digits.
_RENDERED, _TURNS = 20_000, 256
_FIRST = "65"
CLIENT = {"THUOCDO_BENCH_CLIENT_ID": "bench", "THUOCDO_BENCH_CLIENT_SECRET": secrets.token_hex(16)}

out = Console(highlight=False)


def serve(records: int, listener: socket.socket) -> None:
    """The search, the fees and the tokens of a one-stop system of so many records."""
    index = OnestopIndex(build_population(int(_RENDERED / 0.9), 3478), seconds(DEFAULT_CLOCK))
    items = [index.items[position] for position in index.newest_first[:_RENDERED]]
    start = len(b'{"id":"') + len(_FIRST)

    def shown(place: int) -> bytes:
        """The record at a place of the list."""
        return b'{"id":"%02x' % (place // len(items)) + items[place % len(items)][start:]

    async def search(request: Request) -> Response:
        """`GET /pa/dossier/search`."""
        page, size = int(request.query_params["page"]), int(request.query_params["size"])
        first = page * size
        content = b",".join([shown(place) for place in range(first, min(first + size, records))])
        last = b"true" if first + size >= records else b"false"
        totals = b'"totalElements":%d,"totalPages":%d,"last":%b' % (records, -(-records // size), last)
        return Response(b'{"content":[%b],%b}' % (content, totals), media_type="application/json")

    async def fees(request: Request) -> Response:
        """`GET /pa/dossier-fee/--by-dossiers`."""
        asked = request.query_params["dossier-ids"].split(",")
        lines = [
            line.replace(_FIRST + identity[2:], identity)
            for identity in asked
            for line in index.fees(_FIRST + identity[2:])
        ]
        return Response(f"[{','.join(lines)}]", media_type="application/json")

    async def token(_: Request) -> Response:
        """Whoever asks gets one."""
        return JSONResponse({"access_token": "bench", "expires_in": 86_400, "token_type": "Bearer"})

    routes = [
        Route("/pa/dossier/search", search),
        Route("/pa/dossier-fee/--by-dossiers", fees),
        Route("/token", token, methods=["POST"]),
    ]
    config = uvicorn.Config(Starlette(routes=routes), access_log=False, log_level="critical", lifespan="off")
    uvicorn.Server(config).run(sockets=[listener])


def read(address: str, work: Path) -> None:
    """The product's extraction into an empty lake."""
    settings = IGateSettings.model_validate(
        {
            "kind": "igate",
            "base_url": address,
            "token_url": f"{address}/token",
            "client_id_env": "THUOCDO_BENCH_CLIENT_ID",
            "client_secret_env": "THUOCDO_BENCH_CLIENT_SECRET",
            "manners": HttpManners(requests_per_second=5000, concurrency=8),
        }
    )
    with tempfile.TemporaryDirectory(dir=work) as folder:
        lake, database = Lake(f"{folder}/lake"), Database.open(f"sqlite:///{folder}/thuocdo.db")
        with stopwatch() as facts:
            (count,) = extract(
                "onestop", settings, window=(SINCE, NOW), lake=lake, database=database, night="bench", now=NOW
            )
            facts["records"] = count.rows_read


@contextmanager
def serving(records: int) -> Iterator[str]:
    """The server in a process of its own; its address, at once: who connects waits until it is ready."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        arguments = [sys.executable, "-W", "ignore", "-m", MODULE, "serve", str(records), str(listener.fileno())]
        process = subprocess.Popen(arguments, pass_fds=[listener.fileno()])
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            process.terminate()
            process.wait(60)


def measure(records: int, work: Path) -> Measured:
    """One extraction of so many records."""
    with serving(records) as address:
        found = run_apart(MODULE, ["read", address, str(work)], environment={**os.environ, **CLIENT})
    if found.facts["records"] != records:
        raise RuntimeError(f"{found.facts['records']} of {records} records were read")
    return found


def main(arguments: list[str]) -> None:
    """`[RECORDS …]`, or for its own processes `serve RECORDS FD` and `read ADDRESS WORK`."""
    match arguments:
        case ["serve", records, number]:
            serve(int(records), socket.socket(fileno=int(number)))
        case ["read", address, work]:
            read(address, Path(work))
        case sizes:
            with tempfile.TemporaryDirectory(prefix="thuocdo-memory-") as folder:
                for size in [int(each) for each in sizes] or SIZES:
                    found = measure(size, Path(folder))
                    out.print(f"{size:>12,} records: peak {found.peak_mib:5.0f} MiB, {found.seconds:7.1f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
