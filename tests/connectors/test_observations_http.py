"""Observations of another system, pulled from a real server: pages, tokens, failures."""

from __future__ import annotations

from typing import Any

import pytest
import stamina
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from connectors.observations import ObservationApiSettings, ObservationWalk, Reading, pull_observations
from connectors.protocol import Call, Permanent, Reply, Transient
from connectors.settings import MissingSecret
from tests.connectors.test_loop import serving
from tests.connectors.test_observations import INDICATORS, NOW, UNITS, closes, reasons

TOKEN = "canary-of-a-token"
SOUND: dict[str, Any] = {
    "indicator": "work-files-online",
    "unit_code": "H15.SNV",
    "period": "2026-10",
    "numerator": 60,
    "denominator": "100",
    "evidence": "1/BC-SNV",
    "vouched_by_role": "Hệ thống quản lý văn bản và điều hành",
    "stated_on": "2026-11-05",
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OBSERVATION_TOKEN", TOKEN)


def settings(url: str, **more: Any) -> ObservationApiSettings:
    manners = {"requests_per_second": 1000, "attempts": 2, "timeout_seconds": 5}
    return ObservationApiSettings.model_validate(
        {"url": url, "token_env": "OBSERVATION_TOKEN", "manners": manners, **more}
    )


def pull(url: str, **more: Any) -> Reading:
    with stamina.set_testing(True, attempts=2):
        return pull_observations(settings(url, **more), name="van-ban", indicators=INDICATORS, units=UNITS, now=NOW)


def answering(*bodies: Any) -> tuple[Route, list[Request]]:
    """An endpoint `/v1/observations` that answers each body in turn; what it was asked is kept."""
    left, asked = list(bodies), []

    async def endpoint(request: Request) -> Response:
        asked.append(request)
        body = left.pop(0)
        return body if isinstance(body, Response) else JSONResponse(body)

    return Route("/v1/observations", endpoint), asked


def test_pages_are_followed_and_the_token_is_sent() -> None:
    other = SOUND | {"unit_code": "H15.STP", "nguoi_nhap": "Nguyễn Văn Tưởng", "value": None}
    route, asked = answering(
        {"observations": [SOUND], "next": "/v1/observations?page=2"},
        {"observations": [other, SOUND | {"numerator": 101}], "next": None},
    )
    with serving(route) as origin:
        reading = pull(f"{origin}/v1/observations?size=1")
    assert [dict(request.query_params) for request in asked] == [{"size": "1"}, {"page": "2"}]
    assert {request.headers["authorization"] for request in asked} == {f"Bearer {TOKEN}"}
    assert reading.rows["unit_code"].to_pylist() == ["H15.SNV", "H15.STP"]
    assert reading.rows["source"].to_pylist() == ["van-ban", "van-ban"]
    assert reasons(reading) == ["numerator_above_denominator"]
    assert reading.refused["detail"].to_pylist() == [
        "Nguồn van-ban, trang 2, bản ghi 2, cột “Tử số”: tử số 101 lớn hơn mẫu số 100"
    ]
    assert "Tưởng" not in str(reading)
    assert closes(reading)


def test_a_bare_list_and_items_that_are_no_observations() -> None:
    route, _ = answering([SOUND, "x", {"indicator": {"id": 1}}, SOUND | {"numerator": 0.5}])
    with serving(route) as origin:
        reading = pull(f"{origin}/v1/observations", token_env=None)
    assert reading.rows.num_rows == 1
    assert reasons(reading) == ["unreadable_numerator", "unreadable_record", "unreadable_record"]
    assert len(set(reading.refused["record_key"].to_pylist())) == 3
    assert closes(reading)


def test_an_overloaded_server_is_asked_again() -> None:
    route, asked = answering(Response(status_code=503), [SOUND])
    with serving(route) as origin:
        assert pull(f"{origin}/v1/observations").rows.num_rows == 1
    assert len(asked) == 2


def test_when_a_page_stays_away_nothing_is_taken_over() -> None:
    route, _ = answering(
        {"observations": [SOUND], "next": "?page=2"}, Response(status_code=503), Response(status_code=503)
    )
    with serving(route) as origin, pytest.raises(Transient) as raised:
        pull(f"{origin}/v1/observations")
    assert TOKEN not in str(raised.value)


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (Response(status_code=401), "token_env"),
        ({"error": "no"}, "url"),
        ({"observations": [], "next": "http://elsewhere.invalid/v1/observations"}, "url"),
        ({"observations": [], "next": "/v1/observations"}, "url"),
        (Response(status_code=302, headers={"location": "http://elsewhere.invalid"}), "base_url"),
    ],
)
def test_what_another_try_cannot_heal_names_the_key(body: Any, key: str) -> None:
    route, _ = answering(body)
    with serving(route) as origin, pytest.raises(Permanent) as raised:
        pull(f"{origin}/v1/observations")
    assert raised.value.key == key
    assert TOKEN not in str(raised.value)


def test_pages_without_end_are_stopped() -> None:
    walk = ObservationWalk(settings("http://source.invalid/v1/observations", most_pages=2))
    first = walk.begin()[0]
    reply = Reply(200, {}, b'{"observations": [], "next": "?page=2"}')
    second = walk.accept(first, reply).calls[0]
    assert second == Call("/v1/observations", (("page", "2"),), tag=2)
    with pytest.raises(Permanent, match="most_pages"):
        walk.accept(second, Reply(200, {}, b'{"observations": [], "next": "?page=3"}'))


def test_a_token_that_is_not_set_is_named() -> None:
    with pytest.raises(MissingSecret, match="OTHER_TOKEN"):
        pull("http://127.0.0.1:9/v1/observations", token_env="OTHER_TOKEN")
