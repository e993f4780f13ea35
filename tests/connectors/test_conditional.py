"""Pages that have not changed are not sent again, and nothing is lost by it: against a server that keeps validators."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from connectors.conditional import WHOLE_AFTER, Document, document_key
from connectors.observations import Reading, pull_observations
from connectors.protocol import Permanent, Reply
from tests.connectors.test_loop import serving
from tests.connectors.test_observations import INDICATORS, NOW, UNITS, closes
from tests.connectors.test_observations_http import SOUND, settings
from warehouse.database import Database


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OBSERVATION_TOKEN", "canary-of-a-token")


class Pages:
    """Two pages under ETags of what they hold; answers 304 when asked for what has not changed."""

    def __init__(self) -> None:
        self.pages: dict[str, Any] = {
            "1": {"observations": [SOUND], "next": "?page=2"},
            "2": {"observations": [SOUND | {"unit_code": "H15.STP"}], "next": None},
        }
        self.answers: list[tuple[str, int]] = []
        self.fixed_tag = ""
        self.is_lazy = False

    def route(self) -> Route:
        return Route("/v1/observations", self.answer)

    async def answer(self, request: Request) -> Response:
        number = request.query_params.get("page", "1")
        body = json.dumps(self.pages[number]).encode()
        tag = self.fixed_tag or f'"{hashlib.md5(body).hexdigest()}"'  # noqa: S324  a validator
        given = request.headers.get("if-none-match")
        status = 304 if given is not None and (given == tag or self.is_lazy) else 200
        self.answers.append((number, status))
        return Response(b"" if status == 304 else body, status, {"ETag": tag, "Content-Type": "application/json"})

    def asked(self) -> list[tuple[str, int]]:
        said, self.answers = self.answers, []
        return said


def pull(
    origin: str, known: pa.Table | None = None, documents: Mapping[str, Document] | None = None, now: datetime = NOW
) -> Reading:
    return pull_observations(
        settings(f"{origin}/v1/observations"),
        name="van-ban",
        indicators=INDICATORS,
        units=UNITS,
        now=now,
        known=known,
        documents=documents or {},
    )


def test_what_has_not_changed_is_not_sent_again_and_is_counted() -> None:
    server = Pages()
    with serving(server.route()) as origin:
        first = pull(origin)
        assert server.asked() == [("1", 200), ("2", 200)]
        again = pull(origin, first.rows, first.documents)
        assert server.asked() == [("1", 304), ("2", 304)]
        assert (again.rows_read, again.rows.num_rows, again.rows_unchanged) == (2, 0, 2)
        assert closes(again)
        server.pages["2"]["observations"][0] = SOUND | {"unit_code": "H15.STP", "stated_on": "2026-11-06"}
        changed = pull(origin, first.rows, again.documents)
        assert server.asked() == [("1", 304), ("2", 200)]
        assert changed.rows["unit_code"].to_pylist() == ["H15.STP"]
        assert (changed.rows_read, changed.rows_unchanged) == (2, 1)
        pull(origin, first.rows, changed.documents)
        assert server.asked() == [("1", 304), ("2", 304)]


def test_a_page_with_a_refused_row_is_read_each_time_for_a_refusal_can_be_healed_on_our_side() -> None:
    server = Pages()
    server.pages["2"]["observations"].append(SOUND | {"unit_code": "H15.NEW"})
    with serving(server.route()) as origin:
        first = pull(origin)
        assert first.rows_refused == 1
        server.asked()
        pull(origin, first.rows, first.documents)
        assert server.asked() == [("1", 304), ("2", 200)]


def test_statements_that_contradict_each_other_across_pages_are_read_each_time() -> None:
    server = Pages()
    server.pages["2"]["observations"] = [SOUND | {"numerator": 61}]
    with serving(server.route()) as origin:
        assert pull(origin).documents == {}


def test_even_what_never_changes_is_read_whole_once_a_week() -> None:
    server = Pages()
    with serving(server.route()) as origin:
        first = pull(origin)
        # A server that says "not modified" whatever happened.
        server.is_lazy = True
        server.pages["1"]["observations"][0] = SOUND | {"stated_on": "2026-11-06"}
        server.asked()
        unseen = pull(origin, first.rows, first.documents, NOW + WHOLE_AFTER - timedelta(seconds=1))
        assert unseen.rows.num_rows == 0
        seen = pull(origin, first.rows, unseen.documents, NOW + WHOLE_AFTER)
        assert server.asked() == [("1", 304), ("2", 304), ("1", 200), ("2", 200)]
        assert seen.rows["stated_on"].to_pylist() == [datetime(2026, 11, 6).date()]  # noqa: DTZ001  a day


def test_a_validator_that_stays_while_the_page_changes_is_never_used_again() -> None:
    server = Pages()
    server.fixed_tag = '"always"'
    with serving(server.route()) as origin:
        first = pull(origin)
        server.pages["1"]["observations"][0] = SOUND | {"stated_on": "2026-11-06"}
        found = pull(origin, first.rows, first.documents, NOW + WHOLE_AFTER)
        assert found.rows.num_rows == 1
        server.asked()
        pull(origin, found.rows, found.documents, NOW + WHOLE_AFTER + timedelta(days=1))
        # The page that was caught is read whole; the other one still gives no reason for doubt.
        assert server.asked() == [("1", 200), ("2", 304)]


def test_nobody_answers_not_modified_unasked() -> None:
    async def answer(request: Request) -> Response:  # noqa: ARG001
        return Response(status_code=304)

    with serving(Route("/v1/observations", answer)) as origin, pytest.raises(Permanent, match="HTTP 304"):
        pull(origin)


def test_a_reply_without_validators_leaves_nothing_to_ask_by() -> None:
    assert Document.of(Reply(200, {}, b"[]"), now=NOW, before=None) is None
    modified = Document.of(Reply(200, {"last-modified": "Mon, 02 Nov 2026 00:00:00 GMT"}, b"[]"), now=NOW, before=None)
    assert modified is not None
    assert modified.headers(now=NOW) == (("If-Modified-Since", "Mon, 02 Nov 2026 00:00:00 GMT"),)


def test_what_is_kept_survives_the_database_and_an_older_lake_forgets_it(home_url: str) -> None:
    kept = Document.of(Reply(200, {"etag": '"a"'}, b"canary-in-body"), now=NOW, before=None, next=None, rows=3)
    assert kept is not None
    database = Database.open(home_url)
    assert database.documents("van-ban", lake_version=5) == {}
    key = document_key("https://source.invalid/?token=canary-in-url")
    database.keep_documents("van-ban", {"old": kept.stored()}, lake_version=4)
    database.keep_documents("van-ban", {key: kept.stored()}, lake_version=5)
    restored = database.documents("van-ban", lake_version=5)
    assert {name: Document.restored(stored) for name, stored in restored.items()} == {key: kept}
    assert "canary" not in json.dumps(restored)
    assert database.documents("van-ban", lake_version=4) == {}


@pytest.fixture
def home_url(tmp_path: Any) -> str:
    return f"sqlite:///{tmp_path}/t.db"
