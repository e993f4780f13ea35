"""Every way of logging in against a real server: what is shown, when it ends, and what is said when it is refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
import yaml
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from assets.raw.extraction import UnreachableSource, probe
from assets.raw.tables import profiled_table
from connectors.rest import RestSettings
from tests.connectors.rest.homes import OneSource, vietnam
from tests.connectors.rest.servers import serving

SECRETS = {
    "T_USER": "can-bo", "T_PASSWORD": "mat-khau-bi-mat", "T_CLIENT": "may-khach", "T_SECRET": "khoa-bi-mat",
    "T_TOKEN": "the-bi-mat",
}  # fmt: skip
START, END = vietnam(2026, 9, 1), vietnam(2026, 9, 3)
ROWS = [{"id": number, "s": "1", "p": "1.001612", "a": "x", "t": "2026-09-01"} for number in range(12)]


@dataclass
class System:
    """Lists twelve dossiers, five at a time, to whoever shows what `knows` accepts; tickets live for three calls."""

    knows: Callable[[System, Request, dict[str, Any]], bool]
    #: How it says that a ticket is over: HTTP 401, or an error code under 200.
    ends: str = "401"
    tickets: dict[str, int] = field(default_factory=dict)
    logins: list[dict[str, Any]] = field(default_factory=list)
    calls: int = 0

    def ticket(self) -> str:
        name = f"ve-{len(self.tickets)}"
        self.tickets[name] = 3
        return name

    def use(self, name: str) -> bool:
        self.tickets[name] = self.tickets.get(name, 0) - 1
        return self.tickets[name] >= 0

    async def token(self, request: Request) -> Response:
        form: dict[str, Any] = dict(parse_qsl((await request.body()).decode()))
        self.logins.append(form | {"authorization": request.headers.get("authorization", "")})
        if form.get("password", SECRETS["T_PASSWORD"]) != SECRETS["T_PASSWORD"]:
            return JSONResponse({"error": "invalid_grant"}, status_code=401)
        return JSONResponse({"access_token": self.ticket(), "token_type": "Bearer", "expires_in": 300})

    async def login(self, request: Request) -> Response:
        said = await request.json()
        self.logins.append(said | {"dstcode": request.headers.get("dstcode")})
        if said.get("password") != SECRETS["T_PASSWORD"]:
            return JSONResponse({"error_code": "-1", "message": said.get("username")})
        return JSONResponse({"error_code": "0", "session": self.ticket()})

    async def rows(self, request: Request) -> Response:
        self.calls += 1
        body = await request.body()
        said: dict[str, Any] = json.loads(body) if body else dict(request.query_params)
        if not self.knows(self, request, said):
            if self.ends == "401":
                return JSONResponse({"error": "token"}, status_code=401)
            return JSONResponse({"error_code": self.ends, "message": "het phien"})
        begin = int(said["start"])
        return JSONResponse({"error_code": 0, "result": ROWS[begin : begin + int(said["limit"])], "total": len(ROWS)})


def home(folder: Path, address: str, auth: dict[str, Any], **said: Any) -> OneSource:
    listed = {
        "path": "/ds",
        "records": "result",
        "error": {"path": "error_code", "ok": ["0"]},
        "paging": {"kind": "offset", "start": "start", "limit": "limit", "total": "total", "steady": True},
    }
    fields = {"record_id": "id", "status": "s", "procedure_code": "p", "agency": "a", "received_at": "t"}
    profile = {"system": "T", "dates": ["%Y-%m-%d"], "auth": auth, "fields": fields,
               "list": listed | said.pop("listed", {})}  # fmt: skip
    file = folder / "t.yaml"
    file.write_text(yaml.safe_dump(profile, allow_unicode=True), encoding="utf-8")
    names = {
        "username_env": "T_USER", "password_env": "T_PASSWORD", "client_id_env": "T_CLIENT",
        "client_secret_env": "T_SECRET", "token_env": "T_TOKEN",
    }  # fmt: skip
    settings = RestSettings.model_validate(
        {"kind": "rest", "role": "portal", "profile": str(file), "base_url": address, "page_rows": 5,
         "token_url": f"{address}/token", **names, **said}
    )  # fmt: skip
    return OneSource(folder / "home", "t", settings)


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


def assert_whole(one: OneSource) -> None:
    one.read("n1", START, END)
    assert {row["record_id"] for row in one.rows(profiled_table("t"))} == {str(number) for number in range(12)}


def test_what_a_source_that_is_read_whole_no_longer_lists_is_gone(tmp_path: Path) -> None:
    system = System(lambda *_: True)
    with serving({"/ds": system.rows}) as address:
        one = home(tmp_path, address, {"kind": "none"})
        one.read("n1", START, END)
        left = ROWS.pop(4)
        try:
            count = one.read("n2", END, END + timedelta(days=1))
        finally:
            ROWS.insert(4, left)
        assert (count.rows_read, count.rows_stored, count.rows_gone) == (11, 0, 1)
        gone = [row["record_key"] for row in one.rows(profiled_table("t")) if row["is_gone"]]
        assert gone == ["t:4"]
        assert one.read("n3", END, END + timedelta(days=2)).rows_stored == 1, "it is listed again"


def _basic(request: Request) -> str:
    return base64.b64decode(request.headers.get("authorization", "").removeprefix("Basic ")).decode()


STEADY: dict[str, tuple[dict[str, Any], Callable[[System, Request, dict[str, Any]], bool]]] = {
    "none": ({"kind": "none"}, lambda *_: True),
    "basic": ({"kind": "basic"}, lambda _, request, __: _basic(request) == "can-bo:mat-khau-bi-mat"),
    "header": (
        {"kind": "header", "name": "Authorization", "prefix": "Apikey "},
        lambda _, request, __: request.headers["authorization"] == "Apikey the-bi-mat",
    ),
}


@pytest.mark.parametrize(("auth", "knows"), STEADY.values(), ids=STEADY)
def test_what_does_not_change_is_shown_with_every_call(auth: dict[str, Any], knows: Any, tmp_path: Path) -> None:
    system = System(knows)
    with serving({"/ds": system.rows}) as address:
        assert_whole(home(tmp_path, address, auth))


@pytest.mark.parametrize("kind", ["client_credentials", "password"])
def test_a_token_that_ends_meanwhile_is_fetched_anew(kind: str, tmp_path: Path) -> None:
    def knows(system: System, request: Request, _: dict[str, Any]) -> bool:
        return system.use(request.headers["authorization"].removeprefix("Bearer "))

    system = System(knows)
    with serving({"/ds": system.rows, "/token": system.token}) as address:
        one = home(tmp_path, address, {"kind": kind}, page_rows=2)
        assert_whole(one)
    assert [login["grant_type"] for login in system.logins] == [kind] * len(system.logins)
    assert 1 < len(system.logins) <= 4
    assert {login["authorization"] for login in system.logins} == {
        "Basic " + base64.b64encode(b"may-khach:khoa-bi-mat").decode()
    }
    if kind == "password":
        assert {login["username"] for login in system.logins} == {"can-bo"}


def test_a_public_client_shows_no_secret(tmp_path: Path) -> None:
    system = System(lambda *_: True)
    with serving({"/ds": system.rows, "/token": system.token}) as address:
        assert_whole(home(tmp_path, address, {"kind": "password"}, client_secret_env=None))
    (login,) = system.logins
    assert (login["client_id"], login["authorization"]) == ("may-khach", "")


SESSION = {
    "kind": "session",
    "path": "/login",
    "body": {"username": "{username}", "password": "{password}"},
    "headers": {"dstcode": "{dstcode}"},
    "session": "session",
    "error": {"path": "error_code", "ok": [0]},
    "expired": ["-5", 401],
}
POST = {"method": "POST", "send": "json", "headers": {"dstcode": "{dstcode}"}, "params": {"madonvi": "{madonvi}"}}


@pytest.mark.parametrize(("put", "ends"), [("body", "-5"), ("query", "401"), ("header", "-5")])
def test_a_session_stands_where_the_profile_says_and_is_renewed_when_it_is_over(
    put: str, ends: str, tmp_path: Path
) -> None:
    def knows(system: System, request: Request, said: dict[str, Any]) -> bool:
        places = {"body": said.get("session"), "query": request.query_params.get("session"),
                  "header": request.headers.get("session")}  # fmt: skip
        assert request.headers["dstcode"] == "VN:H15"
        assert said["madonvi"] == "000.00.00.H15"
        return system.use(str(places[put]))

    system = System(knows, ends)
    values = {"dstcode": "VN:H15", "madonvi": "000.00.00.H15"}
    with serving({"/ds": system.rows, "/login": system.login}) as address:
        auth = SESSION | {"put": put}
        assert_whole(home(tmp_path, address, auth, listed=POST, values=values, page_rows=2))
    assert 1 < len(system.logins) <= 4
    assert {login["dstcode"] for login in system.logins} == {"VN:H15"}


@pytest.mark.parametrize("auth", [SESSION, {"kind": "password"}], ids=["session", "password grant"])
def test_a_refused_login_names_the_keys_and_shows_no_secret(
    auth: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T_PASSWORD", "mat-khau-sai")
    system = System(lambda *_: True)
    values = {"dstcode": "VN:H15", "madonvi": "000.00.00.H15"}
    with serving({"/ds": system.rows, "/login": system.login, "/token": system.token}) as address:
        one = home(tmp_path, address, auth, listed=POST, values=values)
        with pytest.raises(UnreachableSource, match=r"sources\.t\..*password_env.*refused") as told:
            probe("t", one.settings)
    assert len(system.logins) == 1, "a wrong password is not tried again: accounts get locked"
    assert not [secret for secret in ("mat-khau-sai", *SECRETS.values()) if secret in str(told.value)]


def test_an_account_that_is_refused_right_after_its_login_is_told_and_no_loop(tmp_path: Path) -> None:
    system = System(lambda *_: False)
    with serving({"/ds": system.rows, "/token": system.token}) as address:
        one = home(tmp_path, address, {"kind": "client_credentials"})
        with pytest.raises(UnreachableSource, match="refused right after a login"):
            probe("t", one.settings)
    assert system.calls == 2


@pytest.mark.parametrize(
    ("auth", "without", "told"),
    [
        ({"kind": "basic"}, "password_env", "auth basic needs password_env"),
        ({"kind": "client_credentials"}, "token_url", "auth client_credentials needs token_url"),
        (SESSION | {"put": "header"}, "values", "values.dstcode is missing"),
    ],
)
def test_what_a_login_needs_of_the_provinces_file_is_named(
    auth: dict[str, Any], without: str, told: str, tmp_path: Path
) -> None:
    one = home(tmp_path, "http://127.0.0.1:9", auth)
    settings = one.settings.model_copy(update={without: {} if without == "values" else None})
    with pytest.raises(ValueError, match=told):
        settings.loaded()  # type: ignore[union-attr]  # a profiled source
