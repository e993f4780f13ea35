"""One small province, served once for all tests that only read; and a plain reader of its three formats."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.population import Population, build_population
from sandbox.server import ENVIRONMENT, RunningSandbox, running_sandbox

SITES = [10101, *range(10201, 10216), 10301]


def stamp(text: str) -> float:
    """Seconds of an iGate date."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()


@dataclass(frozen=True)
class Reader:
    """Reads a running sandbox as an unhurried client would; knows nothing of its insides."""

    sandbox: RunningSandbox
    client: httpx.Client

    def portal(self, path: str, *, site: int | None = 10301, login: bool = True, **query: Any) -> httpx.Response:
        """GET below the portal's base."""
        user = (ENVIRONMENT["THUOCDO_PORTAL_USERNAME"], ENVIRONMENT["THUOCDO_PORTAL_PASSWORD"])
        headers = {} if site is None else {"groupId": str(site)}
        url = f"{self.sandbox.base_url}/portal/o/rest/v2{path}"
        return self.client.get(url, params=query, headers=headers, auth=user if login else None)

    def dossiers(self, site: int, **query: Any) -> list[dict[str, Any]]:
        """Every row of a portal list, from all systems."""
        rows: list[dict[str, Any]] = []
        while True:
            page = self.portal(
                "/dossiers", site=site, start=len(rows), end=len(rows) + 400, **({"systemId": "0,1,2,5"} | query)
            ).json()
            rows += page["data"]
            if not page["data"]:
                return rows

    def token(self) -> str:
        """A fresh token of the one-stop."""
        secret = (ENVIRONMENT["THUOCDO_ONESTOP_CLIENT_ID"], ENVIRONMENT["THUOCDO_ONESTOP_CLIENT_SECRET"])
        url = f"{self.sandbox.base_url}/onestop/auth/realms/digo/protocol/openid-connect/token"
        reply = self.client.post(url, data={"grant_type": "client_credentials"}, auth=secret)
        return str(reply.json()["access_token"])

    def onestop(self, path: str, token: str, **query: Any) -> httpx.Response:
        """GET below the one-stop's base."""
        url = f"{self.sandbox.base_url}/onestop{path}"
        return self.client.get(url, params=query, headers={"Authorization": f"Bearer {token}"})

    def items(self) -> list[dict[str, Any]]:
        """Every item of the one-stop."""
        token, items = self.token(), list[dict[str, Any]]()
        while True:
            query: dict[str, Any] = {"page": len(items) // 500, "size": 500, "sort": "updatedDate,desc"}
            page = self.onestop("/pa/dossier/search", token, **query).json()
            items += page["content"]
            if page["last"]:
                return items

    def calls(self) -> Iterator[dict[str, Any]]:
        """Every call in the message log, in sending order."""
        for file in sorted((self.sandbox.home / "sandbox" / "messages").glob("*.ndjson")):
            with file.open(encoding="utf-8") as lines:
                yield from map(json.loads, lines)


@pytest.fixture(scope="session")
def population() -> Population:
    """Three thousand dossiers."""
    return build_population(3_000, seed=11)


@pytest.fixture(scope="session")
def reader(population: Population, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """The population served at the default clock; for tests that only read."""
    home: Path = tmp_path_factory.mktemp("home")
    with running_sandbox(population, home=home) as sandbox, httpx.Client(timeout=30) as client:
        yield Reader(sandbox, client)
