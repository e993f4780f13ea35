"""The clock moves in a running sandbox, and things go wrong on schedule.

Real processes and sockets: what is tested is what a client sees change, and what reaches it when a
connection is cut.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
import yaml

from sandbox.faults import BAD_DAY, ONESTOP_LIST, PORTAL_LIST, Fault, FaultPlan, FaultyApp, Kind
from sandbox.population import DEFAULT_CLOCK, Population, build_population, seconds
from sandbox.server import ENVIRONMENT, Practice, SandboxError, application, running_sandbox
from tests.sandbox.conftest import SITES, Reader, stamp

#: 1 November 2026 is a Sunday; by the end of Wednesday much has happened.
LATER = DEFAULT_CLOCK + timedelta(days=4)


def _snapshot(reader: Reader) -> dict[str, dict[str, Any]]:
    portal = {str(row["dossierId"]): row for site in SITES for row in reader.dossiers(site)}
    return {"portal": portal, "onestop": {item["id"]: item for item in reader.items()}}


def test_moving_the_clock_shows_only_what_happened_in_between(population: Population, tmp_path: Path) -> None:
    with running_sandbox(population, home=tmp_path) as sandbox, httpx.Client(timeout=30) as client:
        reader = Reader(sandbox, client)
        before, truth = _snapshot(reader), sandbox.truth()["dossier"]
        folder = tmp_path / "sandbox" / "messages"
        files = {file.name: file.read_bytes() for file in folder.iterdir()}
        sandbox.advance(LATER)
        after = _snapshot(reader)
        health = client.get(f"{sandbox.base_url}/sandbox/health").json()
        assert health["clock"] == LATER.isoformat()
        moved = population.changed(seconds(DEFAULT_CLOCK), seconds(LATER))
        assert len(moved)
        for source in ("portal", "onestop"):
            assert set(before[source]) <= set(after[source])
            different = [key for key, row in after[source].items() if before[source].get(key) != row]
            flags = population.flag(source)[moved]
            assert 0 < len(different) <= flags.sum()
        assert sandbox.truth()["dossier"].num_rows > truth.num_rows
        assert sandbox.truth()["dossier"].equals(population.truth(LATER)["dossier"])
        now = {file.name: file.read_bytes() for file in folder.iterdir()}
        assert {name: now[name] for name in files} == files
        new = sorted(set(now) - set(files))
        assert new[-3:] == [f"2026-11-0{day}_0001.ndjson" for day in (2, 3, 4)]
        assert new[0] > max(files)
        with pytest.raises(ValueError, match="cannot go back"):
            sandbox.advance(DEFAULT_CLOCK)


def test_a_half_day_adds_a_second_file_of_that_day(tmp_path: Path) -> None:
    with running_sandbox(build_population(4_000, seed=2), home=tmp_path) as sandbox:
        for hours in (34, 48):
            sandbox.advance(DEFAULT_CLOCK + timedelta(hours=hours))
        names = sorted(file.name for file in (tmp_path / "sandbox" / "messages").iterdir())
        assert names[-2:] == ["2026-11-02_0001.ndjson", "2026-11-02_0002.ndjson"]


def test_the_clock_wants_a_zone(reader: Reader) -> None:
    reply = httpx.post(f"{reader.sandbox.base_url}/sandbox/clock", json={"at": "2026-11-05T00:00:00"})
    assert reply.status_code == 400
    assert "zone" in reply.json()["error"]


def test_the_province_file_points_at_this_sandbox(reader: Reader) -> None:
    province = yaml.safe_load(reader.sandbox.province_file.read_text(encoding="utf-8"))
    assert province["sources"]["portal"]["base_url"].startswith(reader.sandbox.base_url)
    assert Path(province["sources"]["messages"]["folder"]).is_dir()
    assert all(Path(province[name]).is_file() for name in ("departments", "agencies", "codes", "calendar", "sectors"))
    assert Path(province["observations"]).is_dir()
    service, file = province["catalogue"]
    assert service["base_url"].startswith(reader.sandbox.base_url)
    assert Path(file["path"]).is_file()
    assert [units["base_url"] for units in province["units"]] == [service["base_url"]]
    assert province["sources"]["portal"]["sites"] == SITES
    assert {
        province["sources"][source][key]
        for source, key in (
            ("portal", "username_env"),
            ("portal", "password_env"),
            ("onestop", "client_id_env"),
            ("onestop", "client_secret_env"),
        )
    } | {service["username_env"], service["password_env"]} == set(ENVIRONMENT)


def test_a_port_in_use_is_said_to_the_parent(reader: Reader, tmp_path: Path) -> None:
    port = int(reader.sandbox.base_url.rsplit(":", 1)[1])
    with pytest.raises(SandboxError, match="in use"), running_sandbox(build_population(5), home=tmp_path, port=port):
        pass


def _outcome(client: httpx.Client, url: str) -> str:
    try:
        reply = client.get(
            url,
            headers={"groupId": "10101"},
            auth=(ENVIRONMENT["THUOCDO_PORTAL_USERNAME"], ENVIRONMENT["THUOCDO_PORTAL_PASSWORD"]),
        )
    except httpx.TransportError:
        return "reset"
    if reply.status_code != 200:
        assert reply.status_code != 429 or reply.headers["retry-after"] == "1"
        return str(reply.status_code)
    if "text/html" in reply.headers["content-type"]:
        return "login page"
    try:
        return "empty" if reply.json()["total"] == 0 else "good"
    except json.JSONDecodeError:
        return "truncated"


def test_every_fault_reaches_the_client_on_schedule(population: Population, tmp_path: Path) -> None:
    every = [Fault(fault.kind, 11, fault.path) for fault in BAD_DAY]
    plan = FaultPlan(tuple(every), seed=1, slow_seconds=0.01)
    with running_sandbox(population, home=tmp_path, faults=plan) as sandbox, httpx.Client(timeout=10) as client:
        url = f"{sandbox.base_url}/portal/o/rest/v2/dossiers?start=0&end=3"
        outcomes = [_outcome(client, url) for _ in range(44)]
        assert client.get(f"{sandbox.base_url}/sandbox/health").status_code == 200
    # Eleven requests make a round: the same things happen in each.
    assert outcomes[:11] == outcomes[11:22] == outcomes[22:33]
    assert {"good", "429", "500", "502", "503", "truncated", "reset", "login page", "empty"} >= set(outcomes)
    assert outcomes.count("good") < 33


@pytest.fixture(scope="module")
def patient(population: Population, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FaultyApp, str]]:
    """One app behind a plan that a test may change, on a real socket, from a thread: faults share nothing with data."""
    app = FaultyApp(application(Practice(population, tmp_path_factory.mktemp("patient"))), FaultPlan(()))
    config = uvicorn.Config(app, port=0, access_log=False, log_level="critical", lifespan="off")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        yield app, f"http://127.0.0.1:{listener.getsockname()[1]}"
        running.should_exit = True
        thread.join(timeout=10)


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("too_many_requests", "429"),
        ("internal_error", "500"),
        ("bad_gateway", "502"),
        ("unavailable", "503"),
        ("slow_body", "good"),
        ("truncated_json", "truncated"),
        ("connection_reset", "reset"),
        ("login_page", "login page"),
        ("empty_search", "empty"),
    ],
)
def test_each_fault_looks_like_itself(kind: Kind, outcome: str, patient: tuple[FaultyApp, str]) -> None:
    app, base_url = patient
    path = "/portal/o/rest/v2/dossiers" if kind == "empty_search" else "/"
    app.follow(FaultPlan((Fault(kind, 1, path),), slow_seconds=0.05))
    with httpx.Client(timeout=10) as client:
        assert _outcome(client, f"{base_url}/portal/o/rest/v2/dossiers?start=0&end=3") == outcome


def test_a_slow_body_is_slow_and_whole(patient: tuple[FaultyApp, str]) -> None:
    app, base_url = patient
    app.follow(FaultPlan((Fault("slow_body", 1),), slow_seconds=0.3))
    with httpx.Client(timeout=10) as client:
        began = time.monotonic()
        assert _outcome(client, f"{base_url}/portal/o/rest/v2/dossiers?start=0&end=3") == "good"
        assert time.monotonic() - began >= 0.3


def _portal_list(client: httpx.Client, base_url: str, **query: Any) -> tuple[int, list[int]]:
    reply = client.get(
        f"{base_url}/portal/o/rest/v2/dossiers",
        params=query,
        headers={"groupId": "10301"},
        auth=(ENVIRONMENT["THUOCDO_PORTAL_USERNAME"], ENVIRONMENT["THUOCDO_PORTAL_PASSWORD"]),
    ).json()
    return reply["total"], [row["dossierId"] for row in reply["data"]]


@pytest.mark.parametrize(("kind", "off"), [("total_high", 1), ("total_low", -1), ("row_missing", 0)])
def test_total_and_rows_disagree_and_agree_again(kind: Kind, off: int, patient: tuple[FaultyApp, str]) -> None:
    app, base_url = patient
    with httpx.Client(timeout=10) as client:
        app.follow(FaultPlan(()))
        total, ids = _portal_list(client, base_url, start=0, end=20)
        following = _portal_list(client, base_url, start=20, end=21)[1]
        app.follow(FaultPlan((Fault(kind, 2, PORTAL_LIST),), seed=1))
        replies = [_portal_list(client, base_url, start=0, end=20) for _ in range(4)]
    assert replies.count((total, ids)) == 2  # every other reply, and reading again heals it
    spoiled = next(reply for reply in replies if reply != (total, ids))
    assert spoiled == (total + off, [*ids[1:], *following] if kind == "row_missing" else ids)


def _onestop_page(client: httpx.Client, base_url: str, page: int, *, size: int = 40) -> dict[str, Any]:
    secret = (ENVIRONMENT["THUOCDO_ONESTOP_CLIENT_ID"], ENVIRONMENT["THUOCDO_ONESTOP_CLIENT_SECRET"])
    url = f"{base_url}/onestop/auth/realms/digo/protocol/openid-connect/token"
    token = client.post(url, data={"grant_type": "client_credentials"}, auth=secret).json()["access_token"]
    reply = client.get(
        f"{base_url}/onestop/pa/dossier/search",
        params={"page": page, "size": size, "sort": "updatedDate,desc", "spec": "page"},
        headers={"Authorization": f"Bearer {token}"},
    )
    page_said: dict[str, Any] = reply.json()
    return page_said


def _walk(client: httpx.Client, base_url: str) -> tuple[list[dict[str, Any]], list[int]]:
    items: list[dict[str, Any]] = []
    totals = []
    for number in range(10_000):
        page = _onestop_page(client, base_url, number, size=300)
        items += page["content"]
        totals.append(page["totalElements"])
        if page["last"]:
            break
    return items, totals


def test_dossiers_move_and_vanish_between_pages_and_nothing_is_lost_for_good(patient: tuple[FaultyApp, str]) -> None:
    app, base_url = patient
    with httpx.Client(timeout=10) as client:
        app.follow(FaultPlan(()))
        before = {item["id"]: item for item in _walk(client, base_url)[0]}
        app.follow(FaultPlan((Fault("churn", 1, ONESTOP_LIST),)))
        items, totals = _walk(client, base_url)
        app.follow(FaultPlan(()))
        after = {item["id"]: item for item in _walk(client, base_url)[0]}
    # The total fell while rows vanished; rows that were pushed down came twice; some rows were jumped over.
    assert totals[-1] < totals[0] == len(before)
    ids = [item["id"] for item in items]
    assert set(ids) < set(before)
    assert set(after) == set(before)
    changed = [key for key, item in after.items() if item != before[key]]
    newest = max(stamp(item["updatedDate"]) for item in before.values())
    assert 1 < len(changed) <= len(totals)
    assert list(after)[: len(changed)] == sorted(changed, key=lambda key: -stamp(after[key]["updatedDate"]))
    for key in changed:
        assert stamp(after[key]["updatedDate"]) > newest
        assert {**after[key], "updatedDate": ""} == {**before[key], "updatedDate": ""}


def test_a_vanished_row_hides_its_neighbour_and_a_jump_repeats_one(patient: tuple[FaultyApp, str]) -> None:
    app, base_url = patient
    happened = set()
    with httpx.Client(timeout=10) as client:
        for _ in range(2):  # one and the other, by turns
            app.follow(FaultPlan(()))
            healthy = [_onestop_page(client, base_url, page) for page in (0, 1, 2)]
            first, second, third = ([item["id"] for item in page["content"]] for page in healthy)
            app.follow(FaultPlan((Fault("churn", 1, ONESTOP_LIST),)))
            page = _onestop_page(client, base_url, 1)
            vanished = page["totalElements"] == healthy[0]["totalElements"] - 1
            ids = [item["id"] for item in page["content"]]
            assert ids == ([*second[1:], third[0]] if vanished else [first[-1], *second[:-1]])
            happened.add(vanished)
    assert happened == {True, False}


def test_a_fault_may_end(patient: tuple[FaultyApp, str]) -> None:
    app, base_url = patient
    app.follow(FaultPlan((Fault("bad_gateway", 2, times=3),)))
    with httpx.Client(timeout=10) as client:
        outcomes = [_outcome(client, f"{base_url}/portal/o/rest/v2/dossiers?start=0&end=3") for _ in range(20)]
    assert outcomes.count("502") == 3
    assert outcomes[8:] == ["good"] * 12
