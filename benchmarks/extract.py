"""Extraction of many records from the sandbox, against bare transfer and dlt on the same server.

Belongs here: the three ways of reading a source's dossiers, each a process of its own. thuocdo: the
product's extraction into an empty lake, with all that it asks about single dossiers (fees; files and
payments). bare: the calls that it makes, written down once and then only fetched and discarded (pages of
the one-stop's search one after another, everything else as many at a time as the product has under way);
httpx: the same through httpx's client. dlt: its REST source to Parquet, for the one-stop system, list pages
only, without the fees, which is less work.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx
import yaml

from assets.raw.extraction import extract
from benchmarks.processes import stopwatch
from connectors import loop
from connectors.loop import Send
from connectors.protocol import Call, Reply
from connectors.rest import RestSettings
from connectors.settings import HttpManners, IGateSettings, OpenCpsSettings, secret
from orchestration.settings import load_province
from warehouse.database import Database
from warehouse.lake import Lake

MODULE = "benchmarks.extract"
SINCE = datetime(2023, 12, 31, 17, tzinfo=UTC)
NOW = datetime(2026, 10, 31, 17, tzinfo=UTC)


def thuocdo(source: str, province_file: Path, work: Path, *, calls: Path | None = None) -> None:
    """Extract `source` into an empty lake; write down the calls when `calls` is given."""
    settings = load_province(province_file).sources[source]
    with tempfile.TemporaryDirectory(dir=work) as folder, _written_down(calls):
        lake, database = Lake(f"{folder}/lake"), Database.open(f"sqlite:///{folder}/thuocdo.db")
        with stopwatch() as facts:
            (count,) = extract(
                source, settings, window=(SINCE, NOW), lake=lake, database=database, night="bench", now=NOW
            )
            facts["records"] = count.rows_read


@contextmanager
def _written_down(calls: Path | None) -> Iterator[None]:
    """Write down every call that goes on the wire."""
    if calls is None:
        yield
        return
    made: list[tuple[str, list[tuple[str, str]], dict[str, str]]] = []
    # Every call of every connector passes here; there is no public place that sees them all.
    plain = loop._on_the_wire  # noqa: SLF001

    @contextmanager
    def noting(call: Any) -> Iterator[None]:
        """Note path, parameters and headers, but no token, then let the call through."""
        headers = {name: value for name, value in call.headers if name.lower() != "authorization"}
        made.append((call.path, list(call.params), headers))
        with plain(call):
            yield

    loop._on_the_wire = noting  # noqa: SLF001
    try:
        yield
    finally:
        loop._on_the_wire = plain  # noqa: SLF001
        calls.write_text(json.dumps(made), encoding="utf-8")


@asynccontextmanager
async def _httpx_sender(base_url: str, manners: HttpManners, *, headers: Mapping[str, str]) -> AsyncIterator[Send]:
    limits = httpx.Limits(max_connections=manners.concurrency)
    async with httpx.AsyncClient(timeout=manners.timeout_seconds, headers=dict(headers), limits=limits) as client:

        async def send(call: Call) -> Reply:
            """One call by the client."""
            url = f"{base_url}{call.path}"
            reply = await client.request(call.method, url, params=call.params or None, headers=dict(call.headers))
            return Reply(reply.status_code, reply.headers, reply.content)

        yield send


#: Ways of making a call: by httpx's client, and as the product does.
TRANSPORTS = {"httpx": _httpx_sender, "bare": loop.light_sender}


def bare(way: str, source: str, province_file: Path, calls: Path) -> None:
    """Fetch and discard: what the network, the server and the transport cost."""
    settings: Any = load_province(province_file).sources[source]
    wanted = [
        Call(path, tuple((name, value) for name, value in params), tuple(headers.items()))
        for path, params, headers in json.loads(calls.read_text(encoding="utf-8"))
    ]

    async def fetch() -> int:
        """Make every call in order and count the bytes of the replies."""
        received = 0
        base_url = httpx.URL(str(settings.base_url))
        if isinstance(settings, RestSettings):  # its calls have whole paths
            base_url = base_url.copy_with(raw_path=b"/")
        async with TRANSPORTS[way](str(base_url).rstrip("/"), settings.manners, headers=_authorised(settings)) as send:

            async def one(call: Call) -> int:
                """Bytes of one reply; raises for a status that is an error."""
                reply = await send(call)
                if reply.status >= httpx.codes.BAD_REQUEST:
                    raise RuntimeError(f"{call} answered {reply.status}")
                return len(reply.body)

            async def worker(waiting: Iterator[Call]) -> int:
                """Bytes of the calls that it took from the queue."""
                return sum([await one(call) for call in waiting])

            for is_search, group in groupby(wanted, key=lambda call: call.path.endswith("/search")):
                waiting = iter(list(group))
                width = 1 if is_search else settings.manners.concurrency
                received += sum(await asyncio.gather(*(worker(waiting) for _ in range(width))))
        return received

    with stopwatch() as facts:
        facts["bytes"] = asyncio.run(fetch())


def _authorised(settings: IGateSettings | OpenCpsSettings | RestSettings) -> dict[str, str]:
    if isinstance(settings, OpenCpsSettings):
        said = f"{secret(settings.username_env)}:{secret(settings.password_env)}"
        return {"Authorization": f"Basic {base64.b64encode(said.encode()).decode()}"}
    client = (secret(settings.client_id_env or ""), secret(settings.client_secret_env or ""))
    reply = httpx.post(str(settings.token_url), data={"grant_type": "client_credentials"}, auth=client)
    reply.raise_for_status()
    return {"Authorization": f"Bearer {reply.json()['access_token']}"}


def profiled(province_file: Path) -> Path:
    """The province file with the one-stop system once more, read by its profile as source `igate`."""
    province = yaml.safe_load(province_file.read_text(encoding="utf-8"))
    same = ("base_url", "token_url", "client_id_env", "client_secret_env", "page_rows", "manners")
    known = province["sources"]["onestop"]
    said = {key: known[key] for key in same if key in known}
    # What else of the file names the other sources is not needed to read one.
    province["units"] = []
    province["sources"] = {
        "igate": {"kind": "rest", "role": "onestop", "profile": "igate-v2", "page_rows": 500, **said}
    }
    target = province_file.with_name("profiled.yaml")
    target.write_text(yaml.safe_dump(province, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return target


def dlt_rest(province_file: Path, work: Path) -> None:
    """Dlt's REST source to Parquet files on disk, over the one-stop system."""
    settings: Any = load_province(province_file).sources["onestop"]
    base_url, token_url, page_rows = str(settings.base_url), str(settings.token_url), settings.page_rows
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
                        client_id=secret(settings.client_id_env),
                        client_secret=secret(settings.client_secret_env),
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
    """`thuocdo SOURCE FILE WORK [CALLS]`, `bare|httpx SOURCE FILE CALLS`, `dlt FILE WORK`."""
    match arguments:
        case ["thuocdo", source, province_file, work]:
            thuocdo(source, Path(province_file), Path(work))
        case ["thuocdo", source, province_file, work, calls]:
            thuocdo(source, Path(province_file), Path(work), calls=Path(calls))
        case ["bare" | "httpx" as way, source, province_file, calls]:
            bare(way, source, Path(province_file), Path(calls))
        case ["dlt", province_file, work]:
            dlt_rest(Path(province_file), Path(work))
        case _:
            raise SystemExit(f"usage: {MODULE} {main.__doc__}")


if __name__ == "__main__":
    main(sys.argv[1:])
