"""Reading the portal's published evaluation: questions and answers without a server, then over HTTP against
the sandbox's API, because pauses, refusals and memory are only true on a socket.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any

import msgspec
import pyarrow as pa
import pytest
import uvicorn
from pydantic import ValidationError
from starlette.applications import Starlette

from connectors.evaluation import (
    ENDPOINTS,
    PUBLISHED,
    EvaluationSettings,
    EvaluationWalk,
    PublishedEvaluation,
    Question,
    Span,
    spans_until,
)
from connectors.protocol import Call, Permanent, Reply, Transient
from sandbox.evaluation import PREFIX, EvaluationEndpoints, routes
from warehouse.tables.score import RAW_EVALUATION

ROOT = "019d0000-0000-7000-8000-000000000001"
UNIT = "019d0000-0000-7000-8000-000000000002"
YEAR = Span("year", date(2026, 1, 1))
QUARTER = Span("quarter", date(2026, 7, 1))
MONTH = Span("month", date(2026, 8, 1))


def settings(**changes: Any) -> EvaluationSettings:
    return EvaluationSettings.model_validate({"root_department_id": ROOT, "pause_seconds": 0.001, **changes})


def body(endpoint: str, span: Span, page: int = 1) -> dict[str, Any]:
    return Question(endpoint, span, page).body(settings())


PAGING = {"rootDepartmentId": ROOT, "currentPage": 1, "pageSize": 200}


@pytest.mark.parametrize(
    ("endpoint", "span", "asked"),
    [
        ("transparency", YEAR, {"timeType": "year", "year": 2026}),
        ("transparency", QUARTER, {"timeType": "quarter", "year": 2026, "quarter": 3}),
        ("dvc-progress-tree", MONTH, {"timeType": "month", "year": 2026, "month": 8}),
        ("handling-satisfaction", MONTH, {"fromDate": "2026-08-01", "toDate": "2026-08-31"}),
        ("handling-satisfaction", QUARTER, {"fromDate": "2026-07-01", "toDate": "2026-09-30"}),
        ("handling-satisfaction", YEAR, {"fromDate": "2026-01-01", "toDate": "2026-12-31"}),
    ],
)
def test_each_group_is_asked_in_its_own_way(endpoint: str, span: Span, asked: dict[str, Any]) -> None:
    assert body(endpoint, span) == asked | PAGING


def test_a_month_is_asked_for_once_it_is_over() -> None:
    assert spans_until(date(2026, 11, 1)) == (
        Span("month", date(2026, 10, 1)),
        Span("quarter", date(2026, 10, 1)),
        YEAR,
    )
    assert spans_until(date(2027, 1, 15)) == (
        Span("month", date(2026, 12, 1)),
        Span("quarter", date(2026, 10, 1)),
        YEAR,
    )


def answer(data: Any, status: int = 201) -> Reply:
    return Reply(status, {}, msgspec.json.encode({"code": "OK", "data": data, "message": ""}))


def walked(data: Any, endpoint: str = "dossier-digitized", page: int = 1) -> tuple[list[dict[str, Any]], list[Call]]:
    walk = EvaluationWalk([Question(endpoint, YEAR, page)], settings())
    (call,) = walk.begin()
    step = walk.accept(call, answer(data))
    return [msgspec.json.decode(record) for record in step.records], list(step.calls)


METRICS = {
    "overview": {
        "departmentId": ROOT,
        "departmentName": "UBND tỉnh",
        "departmentCode": "H15",
        "totalScore": 7.96,
        "totalMaxScore": 18,
        "ratio": 44.22,
        "metrics": [
            {"code": "A", "name": "x", "numerator": 0, "denominator": 89, "ratio": 0, "score": 0, "maxScore": 6},
            {"code": "B", "numerator": None, "denominator": None, "ratio": 100, "score": 2, "maxScore": 2},
            {
                "code": "C",
                "numerator": 5,
                "denominator": 5,
                "ratio": 100,
                "score": None,
                "maxScore": 0,
                "dataQualityStatus": "TEMP_NATIONAL_REPORT_DENOMINATOR",
                "dataQualityMessage": "Mẫu số đang dùng số tạm",
            },
        ],
    },
    "evaluation": [{"departmentId": UNIT, "departmentName": "Sở A", "totalScore": None, "metrics": []}],
    "monthlyChart": [],
}


def test_metrics_keep_null_apart_from_zero_and_carry_their_quality() -> None:
    rows, calls = walked(METRICS)
    assert not calls
    found = {
        (row["department_id"], row["kind"], row["code"]): tuple(
            row.get(name) for name in ("numerator", "denominator", "ratio", "score", "max_score", "quality_status")
        )
        for row in rows
    }
    assert found == {
        (ROOT, "group", ""): (None, None, 44.22, 7.96, 18, None),
        (ROOT, "metric", "A"): (0, 89, 0, 0, 6, None),
        (ROOT, "metric", "B"): (None, None, 100, 2, 2, None),
        (ROOT, "metric", "C"): (5, 5, 100, None, 0, "TEMP_NATIONAL_REPORT_DENOMINATOR"),
        (UNIT, "group", ""): (None, None, None, None, None, None),
    }
    assert [row["is_root"] for row in rows] == [True, True, True, True, False]
    assert rows[3]["quality_message"] == "Mẫu số đang dùng số tạm"


def test_a_tree_gives_its_numbers_by_name() -> None:
    rows, _ = walked(
        {
            "parent": {
                "departmentId": ROOT,
                "departmentName": "UBND tỉnh",
                "departmentCode": "H15",
                "departmentLevel": "PROVINCE",
                "totalReceived": 597918,
                "totalOnTime": 0,
                "avgProcessingDays": 4.1,
                "totalOverdue": None,
                "ratio": 88.42,
                "totalScore": 17.68,
                "totalMaxScore": 20,
            },
            "children": [{"departmentId": UNIT, "departmentCode": "H15.01", "score": 19.38, "maxScore": 20}],
        },
        endpoint="dvc-progress-tree",
    )
    assert {(row["department_id"], row["code"]): row["numerator"] for row in rows if row["kind"] == "field"} == {
        (ROOT, "totalReceived"): 597918,
        (ROOT, "totalOnTime"): 0,
        (ROOT, "avgProcessingDays"): 4.1,
        (ROOT, "totalOverdue"): None,
    }
    assert [(row["score"], row["max_score"]) for row in rows if row["kind"] == "group"] == [(17.68, 20), (19.38, 20)]


def test_further_pages_are_asked_for_only_where_the_answer_says_so() -> None:
    paged = METRICS | {"pagination": {"currentPage": 1, "pageSize": 1, "total": 2, "totalPages": 2}}
    _, calls = walked(paged)
    assert [call.tag for call in calls] == [Question("dossier-digitized", YEAR, 2)]
    rows, calls = walked(METRICS | {"pagination": {"currentPage": 2, "totalPages": 2}}, page=2)
    assert not calls
    assert {row["department_id"] for row in rows} == {UNIT}, "the province was on the first page"
    # A portal that answers page 1 for ever must not be followed for ever.
    assert walked(paged, page=2)[1] == []


@pytest.mark.parametrize("status", [401, 403, 429])
def test_a_refusal_is_final(status: int) -> None:
    walk = EvaluationWalk([Question("transparency", YEAR)], settings())
    (call,) = walk.begin()
    with pytest.raises(Permanent, match=f"HTTP {status}: the portal asks not to be read"):
        walk.accept(call, Reply(status))


@pytest.mark.parametrize(
    ("reply", "error", "said"),
    [
        (answer({"items": []}), Permanent, "neither an overview nor a parent"),
        (answer({"overview": {"departmentId": UNIT}}), Permanent, "another agency than root_department_id"),
        (answer({"overview": {"departmentId": ROOT, "metrics": [{"score": 1}]}}), Permanent, "shape that is not known"),
        (answer({"overview": {"departmentId": ROOT}, "evaluation": [{}]}), Permanent, "without departmentId"),
        (answer([]), Permanent, "shape that is not known"),
        (Reply(201, {}, b'{"data":{"overview":{"departm'), Transient, "cut off"),
        (Reply(200, {}, b"<html>"), Transient, "web page"),
        (Reply(503), Transient, "HTTP 503"),
        (Reply(404), Permanent, "HTTP 404"),
    ],
)
def test_what_cannot_be_believed_is_said(reply: Reply, error: type[Exception], said: str) -> None:
    walk = EvaluationWalk([Question("transparency", YEAR)], settings())
    (call,) = walk.begin()
    with pytest.raises(error, match=said):
        walk.accept(call, reply)


def test_settings_name_a_wrong_key_and_are_gentle_by_default() -> None:
    with pytest.raises(ValidationError, match="root_department_id"):
        EvaluationSettings.model_validate({})
    with pytest.raises(ValidationError, match="attempts"):
        settings(attempts=50)
    usual = EvaluationSettings(root_department_id=ROOT)
    assert (str(usual.base_url), usual.pause_seconds) == ("https://dichvucong.gov.vn/api/v1/reporting", 3.0)


# Over HTTP ------------------------------------------------------------------------------------------------


def figure(endpoint: str, department: str, kind: str, code: str, numbers: Any = (), **changes: Any) -> dict[str, Any]:
    values = dict(zip(("numerator", "denominator", "ratio", "score", "max_score"), numbers, strict=False))
    names = {ROOT: ("H15", "UBND tỉnh"), UNIT: ("H15.01", "Văn phòng UBND tỉnh")}
    code_and_name = names.get(department, (f"H15.{department}", f"UBND xã {department}"))
    return {
        "read_at": datetime(2026, 9, 26, tzinfo=UTC),
        "endpoint": endpoint,
        "period": "year",
        "period_start": date(2026, 1, 1),
        "department_id": department,
        "department_code": code_and_name[0],
        "department_name": code_and_name[1],
        "is_root": department == ROOT,
        "kind": kind,
        "code": code,
        **values,
        **changes,
    }


FIGURES = [
    *(figure(endpoint, ROOT, "group", "", (None, None, 50.0, 9.0, 18.0)) for endpoint in ENDPOINTS),
    figure(
        "transparency",
        ROOT,
        "metric",
        "DOSSIER_SYNC",
        (475053, 475053, 100.0, 6.0, 6.0),
        quality_status="TEMP_NATIONAL_REPORT_DENOMINATOR",
        quality_message="Số tạm",
    ),
    figure("handling-satisfaction", ROOT, "metric", "PETITION_PROCESSING_ON_TIME", (0, 0, 0.0, 6.0, 6.0)),
    figure("dvc-progress-tree", ROOT, "field", "totalReceived", (597918,)),
    figure("dvc-progress-tree", UNIT, "group", "", (None, None, 96.89, 19.38, 20.0)),
    figure("dossier-digitized", UNIT, "group", "", (None, None, None, None, 22.0)),
    figure("dossier-digitized", UNIT, "metric", "ELECTRONIC_CERTIFIED_COPY", (None, None, 100.0, 2.0, 2.0)),
    *(figure("dossier-digitized", str(n), "group", "", (None, None, 1.0, 1.0, 22.0)) for n in range(100, 105)),
]


def served_figures() -> EvaluationEndpoints:
    return EvaluationEndpoints(pa.Table.from_pylist(FIGURES, schema=RAW_EVALUATION.arrow_schema()))


@contextmanager
def serving(endpoints: EvaluationEndpoints) -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        app = Starlette(routes=list(routes(endpoints)))
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}{PREFIX}"
        finally:
            server.should_exit = True
            thread.join()


def keyed(rows: list[dict[str, Any]], *, code: Callable[[dict[str, Any]], Any]) -> dict[Any, Any]:
    names = ("numerator", "denominator", "ratio", "score", "max_score", "quality_status", "quality_message", "is_root")
    return {
        (row["endpoint"], row["department_id"], row["kind"], row["code"]): (
            code(row),
            *(row.get(name) for name in names),
        )
        for row in rows
    }


def test_everything_served_is_read_as_it_stands_in_as_few_calls_as_there_are_pages() -> None:
    endpoints = served_figures()
    with serving(endpoints) as url:
        reading = PublishedEvaluation(settings(base_url=url, page_rows=4))
        table = asyncio.run(reading.read([YEAR]))
    assert table.schema.equals(PUBLISHED)
    without_code = {"transparency", "handling-satisfaction"}
    assert keyed(table.to_pylist(), code=lambda row: row["department_code"]) == keyed(
        FIGURES, code=lambda row: None if row["endpoint"] in without_code else row["department_code"]
    )
    # Six groups; the digitisation of six agencies takes two pages of four.
    assert [endpoint for endpoint, _ in endpoints.asked].count("dossier-digitized") == 2
    assert len(endpoints.asked) == 7


def test_a_night_asks_once() -> None:
    endpoints = served_figures()
    with serving(endpoints) as url:
        reading = PublishedEvaluation(settings(base_url=url))

        async def twice() -> tuple[pa.Table, pa.Table]:
            return await reading.read([YEAR]), await reading.read([YEAR])

        first, second = asyncio.run(twice())
    assert first.equals(second)
    assert len(endpoints.asked) == len(ENDPOINTS)


def test_a_refusal_stops_the_reading_for_the_night() -> None:
    endpoints = served_figures()
    endpoints.is_refusing = True
    with serving(endpoints) as url:
        reading = PublishedEvaluation(settings(base_url=url))
        with pytest.raises(Permanent, match="HTTP 403"):
            asyncio.run(reading.read([YEAR]))
        asked = len(endpoints.asked)
        endpoints.is_refusing = False
        with pytest.raises(Permanent, match="HTTP 403"):
            asyncio.run(reading.read([YEAR]))
    assert (asked, len(endpoints.asked)) == (1, 1)


def test_calls_keep_their_distance() -> None:
    made: list[float] = []

    async def send(_: Call) -> Reply:
        made.append(time.monotonic())
        return answer({"overview": {"departmentId": ROOT, "metrics": []}, "evaluation": []})

    reading = PublishedEvaluation(settings(pause_seconds=0.1, endpoints=ENDPOINTS[:3]), send)
    asyncio.run(reading.read([YEAR]))
    assert len(made) == 3
    assert all(later - earlier > 0.08 for earlier, later in pairwise(made))


def test_columns_are_those_that_are_kept() -> None:
    kept = [(field.name, field.type) for field in RAW_EVALUATION.arrow_schema() if field.name != "read_at"]
    assert [(field.name, field.type) for field in PUBLISHED] == kept
