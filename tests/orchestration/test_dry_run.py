"""`thuocdo night --dry-run` against a server that counts, and against the night that follows."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from typer.testing import CliRunner

from assets.dossiers.directory import settings_key
from assets.raw.extraction import extract
from connectors.manners import ZONE
from connectors.settings import HttpManners
from connectors.units import UnitFileSettings
from orchestration.cli import app
from orchestration.commands.dry_run import Asked, lines, plan
from orchestration.settings import Home, Province, load_province
from sandbox.server import ENVIRONMENT
from tests.connectors.test_loop import serving
from warehouse.database import Database
from warehouse.lake import Lake

PROVINCE = Path(__file__).parents[2] / "provinces" / "dak-lak.yaml"
NOW = datetime(2026, 11, 1, 18, tzinfo=UTC)
LAST = date(2026, 10, 31)
SITES = [7, 9]
FORMAT = "%d/%m/%Y"


class Portal:
    """Seven dossiers of October at each site, and a one-stop system with none; every call is noted."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[tuple[str, str], ...]]] = []

    def routes(self) -> list[Route]:
        return [
            Route("/dossiers", self.dossiers),
            Route("/dossiers/{id}/{what}", self.details),
            Route("/pa/dossier/search", self.search),
            Route("/token", self.token, methods=["POST"]),
        ]

    def note(self, request: Request) -> dict[str, str]:
        params = tuple(request.query_params.multi_items())
        self.asked.append((request.url.path, (("groupId", request.headers.get("groupid", "")), *params)))
        return dict(params)

    async def dossiers(self, request: Request) -> Response:
        asked = self.note(request)
        site = int(request.headers["groupid"])
        rows = [self.row(site * 100 + day, date(2026, 10, day)) for day in range(1, 8)] if "top" not in asked else []
        for axis in ("Submit", "Receive", "Release", "Finish"):
            if f"from{axis}Date" in asked:
                first, last = (day_of(asked[f"{end}{axis}Date"]) for end in ("from", "to"))
                field = f"{axis.lower()}Date"
                rows = [row for row in rows if row[field] and first <= day_of(row[field][:10]) <= last]
        return JSONResponse({"total": len(rows), "data": rows[int(asked["start"]) : int(asked["end"])]})

    @staticmethod
    def row(number: int, day: date) -> dict[str, Any]:
        instant = f"{day:{FORMAT}} 08:00:00"
        return {
            "dossierId": number,
            "serviceCode": "1.000001",
            "govAgencyCode": "H15.1",
            "dossierStatus": "processing",
            "submitDate": instant,
            "receiveDate": instant,
            "releaseDate": "",
            "finishDate": "",
            "modifiedDate": instant,
        }

    async def details(self, request: Request) -> Response:
        self.note(request)
        return JSONResponse({})

    async def search(self, request: Request) -> Response:
        self.note(request)
        return JSONResponse({"content": [], "totalElements": 0, "totalPages": 0, "last": True})

    async def token(self, request: Request) -> Response:  # noqa: ARG002
        return JSONResponse({"access_token": "t", "expires_in": 300, "token_type": "Bearer"})


def day_of(text: str) -> date:
    return datetime.strptime(text, FORMAT).date()  # noqa: DTZ007  a day


def province(url: str, home: Home, *, hours: tuple[str, ...] = ()) -> Province:
    loaded = load_province(PROVINCE, home=home)
    manners = HttpManners(requests_per_second=500, concurrency=8, calling_hours=hours)
    portal = loaded.sources["portal"].model_copy(
        update={"base_url": url, "sites": SITES, "page_rows": 3, "manners": manners}
    )
    onestop = loaded.sources["onestop"].model_copy(update={"base_url": url, "token_url": f"{url}/token"})
    sources = {"portal": portal, "onestop": onestop, "messages": loaded.sources["messages"]}
    return loaded.model_copy(update={"sources": sources, "start_on": date(2026, 9, 1)})


def planned(home: Home, loaded: Province, *, first: date | None = None) -> dict[str, Asked]:
    return {asked.name: asked for asked in plan(home, loaded, first=first, last=LAST, now=NOW).asked}


def begun(asked: Asked) -> Counter[tuple[str, tuple[tuple[str, str], ...]]]:
    calls = asked.calls or ()
    sites = [dict(call.headers).get("groupId", "") for call in calls]
    return Counter((call.path, (("groupId", site), *call.params)) for call, site in zip(calls, sites, strict=True))


def read(home: Home, loaded: Province, name: str, *, first: date = date(2026, 9, 1)) -> None:
    window = (datetime(first.year, first.month, first.day, tzinfo=ZONE), datetime(2026, 11, 1, tzinfo=ZONE))
    extract(
        name,
        loaded.sources[name],
        window=window,
        lake=Lake(home.lake),
        database=Database.open(home.database_url),
        night="n1",
        now=NOW,
    )


def first_pages(server: Portal) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    """What was asked that is not a further page or a detail."""
    return {
        (path, params)
        for path, params in server.asked
        if (path == "/dossiers" and dict(params)["start"] == "0") or dict(params).get("page") == "0"
    }


@pytest.fixture
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("_secrets")
def test_what_is_said_is_what_the_night_then_asks_first(home: Home) -> None:
    server = Portal()
    with serving(*server.routes()) as url:
        loaded = province(url, home)
        before = planned(home, loaded)
        assert server.asked == []
        for name in ("portal", "onestop"):
            read(home, loaded, name)
            said = begun(before[name])
            assert set(said) == first_pages(server)
            # A lower bound: each is made once at least, and pages, confirmations and details come on top.
            assert sum(said.values()) == len(said) < len(server.asked)
            server.asked.clear()


@pytest.mark.usefixtures("_secrets")
def test_after_a_night_the_next_one_is_said_from_the_cursor_with_the_pages_that_are_known(home: Home) -> None:
    server = Portal()
    with serving(*server.routes()) as url:
        loaded = province(url, home)
        assert planned(home, loaded)["portal"].further == 0
        read(home, loaded, "portal")
        server.asked.clear()
        after = planned(home, loaded, first=LAST)["portal"]
        assert server.asked == []
        read(home, loaded, "portal", first=LAST)
        assert set(begun(after)) == first_pages(server)
        # The newest change known is of 07/10: three days before it are read again, days 4 to 7 of either axis hold
        # four dossiers, which is a second page of three at each of two sites.
        assert after.further == 2 * len(SITES)


def test_nothing_is_written_and_no_secret_is_needed(home: Home) -> None:
    found = plan(home, province("http://127.0.0.1:9", home), first=None, last=LAST, now=NOW)
    assert not home.root.exists()
    assert found.first == date(2026, 9, 1)
    assert found.last == LAST


def test_a_directory_is_one_call_when_it_is_due_and_none_where_it_is_a_file(home: Home) -> None:
    loaded = province("http://127.0.0.1:9", home)
    (service,) = loaded.units
    file = UnitFileSettings(kind="units-file", source="portal", path=home.root / "danh-ba.xlsx")
    loaded = loaded.model_copy(update={"units": (service, file)})
    asked = planned(home, loaded)
    assert [str(call) for call in asked["units.0"].calls or ()] == ["POST /share"]
    assert asked["units.1"].calls == ()
    home.root.mkdir()
    at = {"on": "2026-10-25"}
    Database.open(home.database_url).move_cursor("units", settings_key(service), at, lake_version=0)
    assert planned(home, loaded)["units.0"].calls == ()  # six days ago, and it is asked every seven


def test_the_plan_is_told_with_pace_hours_and_minutes(home: Home) -> None:
    loaded = province("http://127.0.0.1:9", home, hours=("19:00-06:00",))
    # 18:00 UTC is one o'clock at night in Vietnam; thirteen hours earlier it is noon.
    noon = NOW - timedelta(hours=13)
    said = "\n".join(lines(plan(home, loaded, first=None, last=LAST, now=NOW), now=noon))
    # 29/08 (three days of overlap) to 01/11 are four months, each by two axes; three windows more for what came before;
    # all that at two sites.
    assert "ít nhất 22 cuộc gọi (at least)" in said
    assert "2 × GET /dossiers fromSubmitDate=29/08/2026 toSubmitDate=31/08/2026" in said
    # 22 calls at 500 a second take 0.044 seconds; at one in ten seconds they take 3.7 minutes.
    assert "ít nhất 0,0 giây theo nhịp này" in said
    slow = loaded.sources["portal"].model_copy(update={"manners": HttpManners(requests_per_second=0.1)})
    slowly = plan(home, loaded.model_copy(update={"sources": {"portal": slow}}), first=None, last=LAST, now=NOW)
    assert "ít nhất 3,7 phút theo nhịp này" in "\n".join(lines(slowly, now=NOW))
    assert (
        "nhịp 500 cuộc gọi/giây, cùng lúc nhiều nhất 8; giờ gọi: 19:00-06:00 (đang ngoài giờ, mở sau 420 phút)" in said
    )
    assert "messages (npsp-log)\n  đọc tệp hoặc cơ sở dữ liệu, không gọi HTTP (no HTTP call)" in said


def test_the_command_runs_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THUOCDO_HOME", str(home.root))
    done = CliRunner().invoke(app, ["night", str(PROVINCE), "--dry-run", "--to", "2026-10-31"])
    assert done.exit_code == 0, done.output
    assert "dry run: nothing is called or written" in done.output
    assert not home.root.exists()
