"""No person on disk from what is read beside dossiers: catalogues, unit directories, payments, statements, evaluation.

Every canary stands in every field of a record in turn, and beside the fields. Then every byte and cell that was kept
is searched, and every word that was told.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import sandbox.catalogue as service
from assets.dossiers.catalogue import hear
from assets.scorecards.score_assets import published_evaluation
from assets.stores import Stores
from connectors.catalogue import CatalogueServiceSettings
from connectors.catalogue_files import HEADERS, CatalogueFileSettings
from connectors.evaluation import ENDPOINTS, EvaluationSettings, PublishedEvaluation
from connectors.observation_files import HEADINGS
from connectors.protocol import Call, Reply, SourceError
from connectors.units import UnitFileSettings
from tests.connectors.test_catalogue import said as procedure
from tests.connectors.test_catalogue import settings as service_settings
from tests.connectors.test_evaluation import METRICS, ROOT, UNIT, YEAR
from tests.connectors.test_loop import serving
from tests.connectors.test_units import adapter
from tests.connectors.test_units import settings as directory_settings
from tests.dossiers import test_catalogue as catalogue
from tests.dossiers import test_directory as directory
from tests.dossiers.platform import COLUMNS, Platform, transaction
from tests.dossiers.records import onestop
from tests.faults.canaries import CANARIES, CITIZEN, NAME, found_in, persons, planted, spoilt
from tests.indicators import test_observed as observed
from warehouse.tables import CORE_AGENCY, CORE_OBSERVATION, CORE_PROCEDURE, CORE_UNIT, RAW_EVALUATION, RAW_QUARANTINE


def every_spoil(record: Mapping[str, Any]) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """The record once for every scalar and canary, with the path of the scalar."""
    for canary in CANARIES:
        yield from spoilt(record, (canary,))


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """CSV with a comment of somebody's behind the last column."""
    lines = [[*heads, NAME], *([*row, CITIZEN] for row in rows)]
    return "".join(",".join(map(str, line)) + "\n" for line in lines)


def spoilt_rows(sound: Sequence[str]) -> list[list[str]]:
    """A sound row once for every cell and canary."""
    places = range(len(sound))
    return [[*sound[:place], canary, *sound[place + 1 :]] for canary in CANARIES for place in places]


def reasons(stores: Any) -> set[str]:
    return {row["reason"] for row in stores.lake().read(RAW_QUARANTINE).to_pylist()}


def quiet(*said: Any) -> bool:
    """Whether nothing that was said names a canary."""
    return not any(found_in(str(each).encode()) for each in said)


# ---- the catalogue of procedures


class Talkative(service.Catalogue):
    """A service whose list and procedures hold every canary in every place."""

    def __init__(self) -> None:
        super().__init__(today=lambda: date(2026, 11, 1))
        #: Codes that nothing else uses, in the shape of a procedure's.
        self._said = {f"7.{number:06d}": each for number, (_, each) in enumerate(every_spoil(procedure()))}

    def listed(self) -> tuple[str, ...]:
        """The codes, and canaries among them."""
        return ("1.001193", *self._said, *CANARIES)

    def _found(self, code: str) -> list[dict[str, Any]]:
        if code in CANARIES:
            return [] if len(code) % 2 else [procedure(MATTHC=code)]
        said = self._said.get(code, procedure())
        return [planted(said if said["MATTHC"] in CANARIES else said | {"MATTHC": code})]


#: A sound row of an export, by column.
PROCEDURE = {
    "procedure_code": "1.001193",
    "name": "Đăng ký khai sinh",
    "sector": "Hộ tịch",
    "levels": "Cấp xã",
    "has_fee": "không",
    "is_result_required": "có",
    "offers_online": "có",
    "applicants": "Công dân Việt Nam",
    "limit_value": "1",
    "limit_unit": "Ngày làm việc",
    "online_level": "Toàn trình",
    "is_online_eligible": "có",
    "offers_online_payment": "không",
    "is_integrated": "có",
    "state": "Còn hiệu lực",
}


def catalogue_files(folder: Path) -> list[CatalogueFileSettings]:
    """An export as a table, as flat JSON and as the service words it."""
    heads = [HEADERS[column][0] for column in PROCEDURE]
    sound = list(PROCEDURE.values())
    rows = [sound, *spoilt_rows(sound)]
    (folder / "bang.csv").write_text(table(heads, rows), encoding="utf-8")
    flat = [planted(dict(zip(heads, row, strict=True))) for row in rows]
    (folder / "phang.json").write_text(json.dumps(flat), encoding="utf-8")
    worded = [planted(each) for each in (procedure(), *(each for _, each in every_spoil(procedure())))]
    (folder / "dich-vu.json").write_text(json.dumps({"result": worded}), encoding="utf-8")
    names = ("bang.csv", "phang.json", "dich-vu.json")
    return [
        CatalogueFileSettings(kind="catalogue-file", path=folder / name, states={"1": "in_force"}) for name in names
    ]


def test_catalogues_keep_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in service.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "given").mkdir()
    talkative = Talkative()
    with serving(*talkative.routes()) as origin:
        asked: list[CatalogueServiceSettings | CatalogueFileSettings] = [
            service_settings(base_url=f"{origin}{service.PREFIX}"),
            *catalogue_files(tmp_path / "given"),
        ]
        stores = catalogue._stores(tmp_path / "home", "2026-10-29", *asked)
        told = catalogue._night(stores)
    shown = [told[f"catalogue_{number}"] for number in (1, 2, 3, 4)]
    assert not [line for line in shown if "không đọc được" in line]
    assert {"looks_like_a_person", "unreadable_code", "unmapped_unit", "unmapped_state", "unmapped_online_level"} <= (
        reasons(stores)
    )
    kept = stores.lake().read(CORE_PROCEDURE).to_pylist()
    assert [row["online_level"] for row in kept if row["procedure_code"] == "1.001193"][-1] == "full"
    assert persons(tmp_path / "home") == []
    assert quiet(told, catalogue._lines(stores), *capfd.readouterr())


def test_a_workbook_whose_sheet_is_named_after_somebody_is_told_without_them(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.title = NAME
    book.save(tmp_path / "bang.xlsx")
    file = CatalogueFileSettings(kind="catalogue-file", path=tmp_path / "bang.xlsx", sheet="Danh mục")
    told = hear(file).said
    assert "Danh mục" in told
    assert quiet(told)


# ---- directories of units


def test_unit_directories_keep_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UNITS_USERNAME", "thuocdo")
    monkeypatch.setenv("UNITS_PASSWORD", "mat-khau")
    sound = {"MADONVI": "000.00.05.H15", "TENDONVI": "Sở Nội vụ"}
    spoils = [
        each if path == ("MADONVI",) else each | {"MADONVI": f"000.00.{number}.H15"}
        for number, (path, each) in enumerate(every_spoil(sound), start=100)
    ]
    result = [planted(each) for each in (sound, *spoils)]
    (tmp_path / "home").mkdir()
    path = tmp_path / "danh-ba.csv"
    path.write_text(
        table(("Mã đơn vị", "Tên đơn vị"), [["H15.10.05", "Sở Nội vụ"], *spoilt_rows(["H15.10.06", "Sở Y tế"])]),
        encoding="utf-8",
    )
    file = UnitFileSettings(kind="units-file", source="portal", path=path)
    with serving(*adapter({"error_code": 0, "message": NAME, "result": result})[0]) as origin:
        stores = directory._stores(tmp_path / "home", "2026-10-29", directory_settings(origin), file)
        told = directory._night(stores)
    assert not [told[name] for name in ("directory_1", "directory_2") if "không đọc được" in told[name]]
    assert "looks_like_a_person" in reasons(stores)
    kept = stores.lake().read(CORE_AGENCY).to_pylist()
    assert {(row["source"], row["name"]) for row in kept} == {("onestop", "Sở Nội vụ"), ("portal", "Sở Nội vụ")}
    assert persons(tmp_path / "home") == []
    assert quiet(told, catalogue._lines(stores), *capfd.readouterr())


# ---- payments


def test_a_payment_platform_keeps_nobody(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = "H15.07-261001-0001"
    platform = Platform(tmp_path)
    platform.store(onestop=[onestop("o1", code=code)])
    heads = (*COLUMNS, "Người nộp", NAME)
    rows = [{**transaction("T0", code), "Người nộp": NAME, NAME: CITIZEN}]
    for number, (path, each) in enumerate(every_spoil(transaction("T", code))):
        own = each if path == ("MaThamChieu",) else each | {"MaThamChieu": f"T{number}"}
        rows.append({**own, "Người nộp": CITIZEN, NAME: NAME})
    lines = [heads, *([row[head] for head in heads] for row in rows)]
    text = "".join(";".join(line) + "\n" for line in lines)
    for name in ("doi-soat.csv", f"{NAME}.csv", f"gd-{CITIZEN}.csv"):
        (platform.inbox / name).write_text(text, encoding="utf-8")
    platform.conform()
    assert "looks_like_a_person" in {row["reason"] for row in platform.lake.read(RAW_QUARANTINE).to_pylist()}
    assert platform.payments(code)
    assert persons(tmp_path, but=(platform.inbox,)) == []
    assert quiet(*(count.notes for count in platform.counts), *capfd.readouterr())


# ---- statements of offices


def test_observations_keep_nobody(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """In every cell, beside the cells, and as names of files."""
    given = tmp_path / "so-lieu"
    given.mkdir()
    sound = {
        "indicator": observed.FLOW,
        "unit_code": "H15.A",
        "unit_name": "",
        "scope": "",
        "period": "2026-01",
        "period_start": "",
        "numerator": "3",
        "denominator": "4",
        "value": "",
        "evidence": "1/BC",
        "vouched_by_role": "Giám đốc Sở",
        "stated_on": "2026-02-03",
    }
    heads = [HEADINGS[field] for field in sound]
    rows = [list(sound.values()), *spoilt_rows(list(sound.values()))]
    for number, row in enumerate(rows):
        # A month of its own, for statements that contradict each other are all refused.
        if row[4] == sound["period"]:
            row[4] = f"{2012 + number // 12}-{number % 12 + 1:02d}"
    (given / "so-lieu.csv").write_text(table(heads, rows), encoding="utf-8")
    for canary in CANARIES:
        (given / f"{canary}.csv").write_text("x\n", encoding="utf-8")
    stores = observed.Stores(tmp_path / "home")
    stores.home.replace(CORE_UNIT, observed.UNITS)
    result = observed._night(stores, given)
    assert result.success
    assert stores.home.read(CORE_OBSERVATION).num_rows >= 1
    assert {"personal_file_name", "personal_evidence", "personal_vouched_by_role"} <= reasons(stores)
    assert persons(tmp_path / "home") == []
    assert quiet(*result.all_events, stores.trail.said, *capfd.readouterr())


# ---- the published evaluation

TREE = {
    "parent": {
        "departmentId": ROOT,
        "departmentName": "UBND tỉnh",
        "departmentCode": "H15",
        "totalReceived": 597918,
        "totalOverdue": None,
        "ratio": 88.42,
        "totalScore": 17.68,
        "totalMaxScore": 20,
    },
    "children": [{"departmentId": UNIT, "departmentCode": "H15.01", "score": 19.38, "maxScore": 20}],
}


def asked(origin: str = "http://evaluation.invalid") -> EvaluationSettings:
    return EvaluationSettings.model_validate(
        {"base_url": origin, "root_department_id": ROOT, "pause_seconds": 0.001, "attempts": 1}
    )


def night(stores: Stores, answer: Mapping[str, Any]) -> tuple[pa.Table, str]:
    """What a night keeps of an evaluation that answers every question alike, and what it tells."""

    async def post(_: Request) -> JSONResponse:
        return JSONResponse({"code": "OK", "data": answer, "message": NAME}, status_code=201)

    with serving(Route("/evaluation/{endpoint}", post, methods=["POST"])) as origin:
        done = published_evaluation(asked(origin))(stores=stores)
    return stores.lake().read(RAW_EVALUATION).drop(["read_at"]), str(done)


def read_or_told(answer: Mapping[str, Any]) -> str:
    """What would be kept of one answer, or the error in its place."""

    async def post(_: Call) -> Reply:
        return Reply(201, {}, json.dumps({"data": answer}).encode())

    try:
        return str(asyncio.run(PublishedEvaluation(asked(), post).read([YEAR])).to_pylist())
    except SourceError as error:
        return f"{error} {error.hint}"


@pytest.mark.parametrize("shape", [METRICS, TREE], ids=["metrics", "tree"])
def test_the_published_evaluation_keeps_nobody(shape: Mapping[str, Any], tmp_path: Path) -> None:
    """What is beside the fields is not read; in a field it is hidden, or ends the reading without being told."""
    stores, whole = (catalogue._stores(tmp_path / name, "2026-10-29") for name in ("home", "whole"))
    kept, told = night(stores, planted(shape))
    clean, _ = night(whole, shape)
    assert kept.equals(clean)
    assert kept.num_rows >= len(ENDPOINTS)
    assert quiet(told, catalogue._lines(stores))
    assert persons(tmp_path / "home") == []
    for path, each in every_spoil(shape):
        assert quiet(read_or_told(each)), path


def test_a_name_in_the_published_evaluation_is_hidden_and_the_rest_is_read() -> None:
    overview: Any = METRICS["overview"]
    answer = {"overview": {**overview, "departmentName": NAME, "departmentCode": CITIZEN}, "evaluation": []}
    told = read_or_told(answer)
    assert f"'department_name': '«{len(NAME)} ký tự»'" in told
    assert f"'department_code': '«{len(CITIZEN)} ký tự»'" in told
    assert "44.22" in told
