"""The national portal's reporting API, served from a table of published figures.

Belongs here: the wire shapes of the six groups (both of them), paging, and refusing to be read. Does not
belong here: any figure (they are handed in), or what the figures mean.

The table has the columns of `raw_evaluation`; what is null is served as null, and an agency's code is left
out where the real API leaves it out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pyarrow as pa
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

PREFIX = "/evaluation-portal/api/v1/reporting"
METRIC_ENDPOINTS = ("transparency", "dossier-digitized", "handling-satisfaction")
TREE_ENDPOINTS = ("dvc-progress-tree", "provide-online-tree", "formality-online-payment-tree")
#: Two groups answer without the agencies' codes.
_WITHOUT_CODES = frozenset({"transparency", "handling-satisfaction"})
#: Progress calls an agency's score by other names than the province's.
_SHORT_NAMES = frozenset({"dvc-progress-tree"})
_MONTHS = {1: "month", 3: "quarter", 12: "year"}


@dataclass
class EvaluationEndpoints:
    """Answers from `figures`; once `is_refusing`, every call gets 403 like one the real page's guard turns away."""

    figures: pa.Table
    is_refusing: bool = False
    #: Bodies that were posted, in order, for tests that count calls.
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    async def evaluation(self, request: Request) -> Response:
        """`POST /evaluation/{group}`."""
        endpoint, body = request.path_params["endpoint"], await request.json()
        self.asked.append((endpoint, body))
        if self.is_refusing:
            return JSONResponse({"code": "FORBIDDEN", "message": "Forbidden"}, status_code=403)
        if endpoint not in (*METRIC_ENDPOINTS, *TREE_ENDPOINTS):
            return JSONResponse({"code": "NOT_FOUND", "message": "Not found"}, status_code=404)
        period, start = _period(body)
        rows = [
            row
            for row in self.figures.to_pylist()
            if (row["endpoint"], row["period"], row["period_start"]) == (endpoint, period, start)
        ]
        data = self._tree(endpoint, rows) if endpoint in TREE_ENDPOINTS else self._page(endpoint, rows, body)
        return JSONResponse({"code": "OK", "data": data, "message": "success"}, status_code=201)

    def _tree(self, endpoint: str, rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        units = _units(rows)
        root = next((unit for unit in units if unit[0]["is_root"]), None)
        return {
            "parent": _entry(endpoint, root, short=False) if root else None,
            "children": [_entry(endpoint, unit, short=True) for unit in units if unit is not root],
            "monthlyChart": [],
        }

    def _page(self, endpoint: str, rows: Iterable[Mapping[str, Any]], body: Mapping[str, Any]) -> dict[str, Any]:
        units = _units(rows)
        root = next((unit for unit in units if unit[0]["is_root"]), None)
        others = [unit for unit in units if unit is not root]
        page, size = int(body["currentPage"]), int(body["pageSize"])
        return {
            "overview": _entry(endpoint, root, short=False) if root else None,
            "evaluation": [_entry(endpoint, unit, short=False) for unit in others[(page - 1) * size : page * size]],
            "pagination": {
                "currentPage": page,
                "pageSize": size,
                "total": len(others),
                "totalPages": math.ceil(len(others) / size),
            },
        }


def _period(body: Mapping[str, Any]) -> tuple[str, date]:
    if "fromDate" in body:
        first, last = date.fromisoformat(body["fromDate"]), date.fromisoformat(body["toDate"])
        return _MONTHS[last.month - first.month + 1], first
    month = {"month": body.get("month", 1), "quarter": body.get("quarter", 1) * 3 - 2, "year": 1}[body["timeType"]]
    return body["timeType"], date(body["year"], month, 1)


def _units(rows: Iterable[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["department_id"], []).append(row)
    return list(found.values())


def _entry(endpoint: str, rows: Iterable[Mapping[str, Any]], *, short: bool) -> dict[str, Any]:
    """One agency: its identity, its score, and its metrics or fields."""
    rows = list(rows)
    group = next((row for row in rows if row["kind"] == "group"), rows[0])
    score, most = ("score", "maxScore") if short and endpoint in _SHORT_NAMES else ("totalScore", "totalMaxScore")
    entry: dict[str, Any] = {"departmentId": group["department_id"], "departmentName": group["department_name"]}
    if endpoint not in _WITHOUT_CODES:
        entry["departmentCode"] = group["department_code"]
    entry |= {score: group["score"], most: group["max_score"], "ratio": group["ratio"], "scoreDelta": None}
    if endpoint in TREE_ENDPOINTS:
        return entry | {row["code"]: _whole(row["numerator"]) for row in rows if row["kind"] == "field"}
    return entry | {"metrics": [_metric(row) for row in rows if row["kind"] == "metric"]}


def _metric(row: Mapping[str, Any]) -> dict[str, Any]:
    metric = {"code": row["code"], "name": row["code"]}
    metric |= {name: _whole(row[name]) for name in ("numerator", "denominator")}
    metric |= {"ratio": row["ratio"], "score": row["score"], "maxScore": row["max_score"]}
    quality = {"dataQualityStatus": row["quality_status"], "dataQualityMessage": row["quality_message"]}
    return metric | {name: value for name, value in quality.items() if value is not None}


def _whole(value: float | None) -> float | int | None:
    return int(value) if value is not None and value == int(value) else value


def routes(endpoints: EvaluationEndpoints, prefix: str = PREFIX) -> list[Route]:
    """What to mount beside the other sources; the base URL to read is the server's address and `prefix`."""
    return [Route(f"{prefix}/evaluation/{{endpoint}}", endpoints.evaluation, methods=["POST"])]
