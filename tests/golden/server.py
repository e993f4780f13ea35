"""A real HTTP server that answers with the files under `wire/`, as the portal and the one-stop would.

Belongs here: which file answers which call, and the list filters of the portal that a reader leans
on (site, system, date windows, paging by row offsets). Does not belong here: any meaning of a
record, nor faults (the sandbox has those).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

WIRE = Path(__file__).parent / "wire"
#: Query name → field of the list item; a window is whole days, and what has no date is in none (systems 1.3).
_AXES = {"Submit": "submitDate", "Receive": "receiveDate", "Release": "releaseDate", "Finish": "finishDate"}

Record = Mapping[str, Any]


@contextmanager
def serving() -> Iterator[str]:
    """Serve the files on a free port of this machine; yields the address without a trailing slash."""
    config = uvicorn.Config(Starlette(routes=_ROUTES), port=0, log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError("the server of the golden case did not start")
        time.sleep(0.01)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)


def _file(*parts: str) -> Response:
    return Response(WIRE.joinpath(*parts).read_bytes(), media_type="application/json")


async def _list(request: Request) -> Response:
    """The dossier list of one site; without `systemId` only system 0 is listed (systems 1.4)."""
    query = request.query_params
    site = json.loads((WIRE / "portal" / request.headers["groupId"] / "dossiers.json").read_bytes())
    systems = query.get("systemId", "0").split(",")
    rows = [row for row in site["data"] if str(row["systemId"]) in systems and _is_asked(row, query)]
    return JSONResponse({"total": len(rows), "data": rows[int(query["start"]) : int(query["end"])]})


def _is_asked(row: Record, query: Mapping[str, str]) -> bool:
    if query.get("top") == "statistic" and not _in_reporting_set(row, query):
        return False
    return all(
        _is_within(_day(row[name]), query[f"from{axis}Date"], query[f"to{axis}Date"])
        for axis, name in _AXES.items()
        if f"from{axis}Date" in query
    )


def _in_reporting_set(row: Record, query: Mapping[str, str]) -> bool:
    """Received in the window, or before it and not released before it (systems 1.3, top=statistic)."""
    first, last = _asked_day(query["fromStatisticDate"]), _asked_day(query["toStatisticDate"])
    received, released = _day(row["receiveDate"]), _day(row["releaseDate"])
    return received is not None and received <= last and (released is None or received >= first or released >= first)


def _is_within(day: date | None, first: str, last: str) -> bool:
    return day is not None and _asked_day(first) <= day <= _asked_day(last)


def _asked_day(text: str) -> date:
    return datetime.strptime(text, "%d/%m/%Y").date()  # noqa: DTZ007  a day has no zone


def _day(text: str) -> date | None:
    try:
        return _asked_day(text[:10])
    except ValueError:
        return None  # blank, or a day that no calendar has (dossier 22)


async def _detail(request: Request) -> Response:
    path = request.path_params
    return _file("portal", request.headers["groupId"], path["dossier"], f"{path['what']}.json")


async def _token(_: Request) -> Response:
    return _file("onestop", "token.json")


async def _search(request: Request) -> Response:
    return _file("onestop", "search", f"page-{request.query_params['page']}.json")


async def _fees(request: Request) -> Response:
    """The fee lines of several dossiers in one list; each dossier's lines are a file of their own."""
    folder = WIRE / "onestop" / "fees"
    asked = request.query_params["dossier-ids"].split(",")
    return JSONResponse([line for key in asked for line in json.loads((folder / f"{key}.json").read_bytes())])


_ROUTES = [
    Route("/portal/o/rest/v2/dossiers", _list),
    Route("/portal/o/rest/v2/dossiers/{dossier}/{what}", _detail),
    Route("/onestop/auth/realms/digo/protocol/openid-connect/token", _token, methods=["POST"]),
    Route("/onestop/pa/dossier/search", _search),
    Route("/onestop/pa/dossier-fee/--by-dossiers", _fees),
]
