"""Extraction of many records from the sandbox, against bare transfer and dlt on the same server.

Belongs here: the three ways of reading the one-stop system's dossiers, each a process of its own.
thuocdo: the product's extraction into an empty lake, fees included. bare: the calls that it makes,
written down once and then only fetched and discarded with httpx (list pages one after another, fees
as many at a time as the product has under way). dlt: its REST source to Parquet, list pages only,
without the fees, which is less work.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx

from assets.raw.extraction import extract
from benchmarks.processes import stopwatch
from connectors import loop
from orchestration.settings import load_province
from warehouse.database import Database
from warehouse.lake import Lake

MODULE = "benchmarks.extract"
SINCE = datetime(2023, 12, 31, 17, tzinfo=UTC)
NOW = datetime(2026, 10, 31, 17, tzinfo=UTC)


def thuocdo(province_file: Path, work: Path, *, calls: Path | None = None) -> None:
    """Extract the one-stop system into an empty lake; write down the calls when `calls` is given."""
    settings = load_province(province_file).sources["onestop"]
    with tempfile.TemporaryDirectory(dir=work) as folder, _written_down(calls):
        lake, database = Lake(f"{folder}/lake"), Database.open(f"sqlite:///{folder}/thuocdo.db")
        with stopwatch() as facts:
            (count,) = extract(
                "onestop", settings, window=(SINCE, NOW), lake=lake, database=database, night="bench", now=NOW
            )
            facts["records"] = count.rows_read


@contextmanager
def _written_down(calls: Path | None) -> Iterator[None]:
    """Write down every call that goes on the wire."""
    if calls is None:
        yield
        return
    made: list[tuple[str, list[tuple[str, str]]]] = []
    # Every call of every connector passes here; there is no public place that sees them all.
    plain = loop._on_the_wire  # noqa: SLF001

    @contextmanager
    def noting(call: Any) -> Iterator[None]:
        """Note path and parameters, then let the call through."""
        made.append((call.path, list(call.params)))
        with plain(call):
            yield

    loop._on_the_wire = noting  # noqa: SLF001
    try:
        yield
    finally:
        loop._on_the_wire = plain  # noqa: SLF001
        calls.write_text(json.dumps(made), encoding="utf-8")


def bare(base_url: str, token_url: str, calls: Path, concurrency: int) -> None:
    """Fetch and discard: what the network, the server and httpx cost."""
    written = json.loads(calls.read_text(encoding="utf-8"))
    wanted = [(path, urlencode([tuple(pair) for pair in params])) for path, params in written]

    async def fetch() -> int:
        """Make every call in order and count the bytes of the replies."""
        token = _token(token_url)
        received = 0
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:

            async def one(path: str, query: str) -> int:
                """Bytes of one reply; raises for a status that is an error."""
                reply = await client.get(f"{base_url}{path}?{query}")
                reply.raise_for_status()
                return len(reply.content)

            for is_list, group in groupby(wanted, key=lambda call: call[0].endswith("/search")):
                waiting = list(group)
                width = 1 if is_list else concurrency
                for first in range(0, len(waiting), width):
                    received += sum(await asyncio.gather(*(one(*call) for call in waiting[first : first + width])))
        return received

    with stopwatch() as facts:
        facts["bytes"] = asyncio.run(fetch())


def _token(token_url: str) -> str:
    client = (os.environ["THUOCDO_ONESTOP_CLIENT_ID"], os.environ["THUOCDO_ONESTOP_CLIENT_SECRET"])
    reply = httpx.post(token_url, data={"grant_type": "client_credentials"}, auth=client)
    reply.raise_for_status()
    return str(reply.json()["access_token"])


def dlt_rest(base_url: str, token_url: str, work: Path, page_rows: int) -> None:
    """Dlt's REST source to Parquet files on disk."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    import dlt  # noqa: PLC0415 - a competitor, installed for `make bench` alone
    from dlt.common.configuration import configspec  # noqa: PLC0415
    from dlt.sources.helpers.rest_client.auth import OAuth2ClientCredentials  # noqa: PLC0415
    from dlt.sources.rest_api import rest_api_source  # noqa: PLC0415

    @configspec
    class BasicClient(OAuth2ClientCredentials):
        """Keycloak as the one-stop system has it: the client in the Basic header."""

        def build_access_token_request(self) -> dict[str, Any]:
            """Headers and form of the request for a token, as dlt's client sends them."""
            client = base64.b64encode(f"{self.client_id}:{self.client_secret}".encode()).decode()
            return {"headers": {"Authorization": f"Basic {client}"}, "data": {"grant_type": "client_credentials"}}

    with tempfile.TemporaryDirectory(dir=work) as folder, stopwatch() as facts:
        source = rest_api_source(
            {
                "client": {
                    "base_url": base_url,
                    "auth": BasicClient(
                        access_token_url=token_url,
                        client_id=os.environ["THUOCDO_ONESTOP_CLIENT_ID"],
                        client_secret=os.environ["THUOCDO_ONESTOP_CLIENT_SECRET"],
                    ),
                    "paginator": {
                        "type": "page_number",
                        "base_page": 0,
                        "page_param": "page",
                        "total_path": "totalPages",
                    },
                },
                "resources": [
                    {
                        "name": "dossiers",
                        "endpoint": {
                            "path": "pa/dossier/search",
                            "params": {"size": page_rows, "sort": "updatedDate,desc", "spec": "page"},
                            "data_selector": "content",
                        },
                    }
                ],
            }
        )
        pipeline = dlt.pipeline(
            "bench",
            pipelines_dir=f"{folder}/state",
            destination=dlt.destinations.filesystem(bucket_url=f"file://{folder}/out"),
            dataset_name="onestop",
        )
        pipeline.run(source, loader_file_format="parquet")
        facts["records"] = _rows(pipeline.last_trace)


def _rows(trace: Any) -> int:
    return int(trace.last_normalize_info.row_counts["dossiers"])


def main(arguments: list[str]) -> None:
    """`thuocdo FILE WORK [CALLS]`, `bare BASE TOKEN CALLS N`, `dlt BASE TOKEN WORK ROWS`."""
    match arguments:
        case ["thuocdo", province_file, work]:
            thuocdo(Path(province_file), Path(work))
        case ["thuocdo", province_file, work, calls]:
            thuocdo(Path(province_file), Path(work), calls=Path(calls))
        case ["bare", base_url, token_url, calls, concurrency]:
            bare(base_url, token_url, Path(calls), int(concurrency))
        case ["dlt", base_url, token_url, work, rows]:
            dlt_rest(base_url, token_url, Path(work), int(rows))
        case _:
            raise SystemExit(f"usage: {MODULE} {main.__doc__}")


if __name__ == "__main__":
    main(sys.argv[1:])
