"""Each switch of the sandbox, seen in the files and through HTTP as a reader sees it (sources 1.3 to 1.6, 3.4)."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from assets.dossiers.conform import conform
from assets.raw.extraction import extract
from orchestration.settings import Home, load_province
from sandbox.messages import MessageLog
from sandbox.people import MARKS
from sandbox.population import DEFAULT_CLOCK, VIETNAM, Population, build_population, seconds
from sandbox.portal import DRAFT_SECONDS, PortalIndex
from sandbox.server import ENVIRONMENT, RunningSandbox, running_sandbox
from sandbox.traits import PersonalityName, Traits
from tests.sandbox.conftest import SITES, Reader
from warehouse.database import Database
from warehouse.lake import Lake
from warehouse.reference import reference_tables
from warehouse.tables import RAW_QUARANTINE

Record = dict[str, Any]


@dataclass(frozen=True)
class Log:
    """A message log as read from its files."""

    #: Newest record of each MaHoSo.
    records: dict[str, Record]
    #: Progress records by MaHoSo, in sending order, with the name of their file.
    steps: dict[str, list[tuple[str, Record]]]

    def by_own_code(self) -> dict[str, Record]:
        """Newest records by the dossier's own code."""
        return {(record["MaHoSoKhac"] or code).upper(): record for code, record in self.records.items()}


def _read(folder: Path) -> Log:
    records: dict[str, Record] = {}
    steps: dict[str, list[tuple[str, Record]]] = defaultdict(list)
    for file in sorted(folder.glob("*.ndjson")):
        for line in file.read_text(encoding="utf-8").splitlines():
            call = json.loads(line)
            for record in call["data"]:
                if call["service"] == "DongBoHoSoMC":
                    records[record["MaHoSo"]] = record
                else:
                    steps[record["MaHoSo"]].append((file.name, record))
    return Log(records, steps)


@pytest.fixture(scope="module")
def log_of(population: Population, tmp_path_factory: pytest.TempPathFactory) -> Callable[[PersonalityName], Log]:
    """The log of the same dossiers as each sender writes it."""
    written: dict[PersonalityName, Log] = {}

    def get(sender: PersonalityName) -> Log:
        if sender not in written:
            folder = tmp_path_factory.mktemp(sender)
            MessageLog(population, folder, sender).write_history(DEFAULT_CLOCK)
            written[sender] = _read(folder)
        return written[sender]

    return get


@pytest.fixture(scope="module")
def pairs(log_of: Callable[[PersonalityName], Log]) -> list[tuple[Record, Record]]:
    """What the honest sender and TD say of the same dossiers."""
    honest, distorted = log_of("honest").by_own_code(), log_of("td").by_own_code()
    assert len(distorted) > 2_000
    return [(honest[code], record) for code, record in distorted.items()]


def test_td_sends_what_waits_as_finished(pairs: list[tuple[Record, Record]]) -> None:
    waiting = [said for told, said in pairs if told["TrangThaiHoSo"] in "568"]
    assert len(waiting) > 10
    assert {record["TrangThaiHoSo"] for record in waiting} == {"9"}
    assert all(told["TrangThaiHoSo"] in ("5", "6", "8", said["TrangThaiHoSo"]) for told, said in pairs)


def test_td_progress_never_waits_and_ends_early_without_a_due_date(
    population: Population, log_of: Callable[[PersonalityName], Log]
) -> None:
    honest, distorted = log_of("honest"), log_of("td")
    assert {"5", "6", "8"} <= {step["TrangThai"] for steps in honest.steps.values() for _, step in steps}
    assert not {"5", "6", "8"} & {step["TrangThai"] for steps in distorted.steps.values() for _, step in steps}
    truth = population.truth(DEFAULT_CLOCK)["dossier"].to_pandas().set_index("dossier_code")
    undated = set(truth.index[truth.received_at.notna() & truth.due_at.isna() & (truth.supplement_count == 0)])
    invented = 0
    for code in undated & set(distorted.steps) & set(honest.steps):
        received = honest.steps[code][0][1]["ThoiDiemXuLy"]
        first = [step["TrangThai"] for _, step in distorted.steps[code] if step["ThoiDiemXuLy"] == received]
        assert set(first) == {"2", "9"}
        invented += 1
    assert invented > 5


def test_td_overstates_papers(pairs: list[tuple[Record, Record]]) -> None:
    overstated = 0
    for told, said in pairs:
        papers = [paper for paper in said["TaiLieuNop"] if paper["IsDeleted"] == "0"]
        uploaded = {paper["MaThanhPhanHoSo"] for paper in papers if paper["DuongDanTaiTepTin"]}
        assert {paper["MaThanhPhanHoSo"] for paper in papers if paper["DuocSoHoa"] == "1"} == uploaded
        assert said["HoSoCoThanhPhanSoHoa"] == str(int(bool(uploaded)))
        assert papers[0]["DuocTaiSuDung"] in "12"
        overstated += told["HoSoCoThanhPhanSoHoa"] != said["HoSoCoThanhPhanSoHoa"]
    assert overstated > 100


def test_td_sends_the_first_component_as_the_result(pairs: list[tuple[Record, Record]]) -> None:
    replaced = 0
    for told, said in pairs:
        for true, sent in zip(told["DanhSachGiayToKetQua"] or [], said["DanhSachGiayToKetQua"] or [], strict=True):
            first = said["TaiLieuNop"][0]["DuongDanTaiTepTin"]
            assert sent["DuongDanTepTinKetQua"] == (true["DuongDanTepTinKetQua"] or first)
            replaced += sent != true
    assert replaced > 10


def test_td_flags_say_nothing(population: Population, log_of: Callable[[PersonalityName], Log]) -> None:
    said = log_of("td").by_own_code()
    assert {record["TaiKhoanDuocXacThucVoiVNeID"] for record in said.values()} == {"0"}
    truth = population.truth(DEFAULT_CLOCK)["payment"].to_pandas().set_index("dossier_code")
    offline = set(truth.index[truth.method != "online"]) & set(said)
    assert len(offline) > 100
    assert {said[code]["DuocThanhToanTrucTuyen"] for code in set(truth.index) & set(said)} == {"1"}
    assert {said[code]["DuocThanhToanTrucTuyen"] for code in set(said) - set(truth.index)} == {"0", "3"}


def test_td_submits_on_reception_under_random_codes_and_skips_some(
    pairs: list[tuple[Record, Record]], log_of: Callable[[PersonalityName], Log]
) -> None:
    assert all(said["NgayNopHoSo"] == said["NgayTiepNhan"] for _, said in pairs if said["NgayTiepNhan"])
    assert any(told["NgayNopHoSo"] != told["NgayTiepNhan"] for told, _ in pairs)
    changed = [(told, said) for told, said in pairs if told["MaHoSo"] != said["MaHoSo"]]
    assert 0.03 < len(changed) / len(pairs) < 0.07
    assert all(said["MaHoSo"].startswith("H15.99-") for _, said in changed)
    assert all(said["MaHoSoKhac"].lower() == told["MaHoSo"].lower() for told, said in changed)
    honest = log_of("honest").by_own_code()
    assert 5 < len(honest) - len(pairs) < 60


def test_opencps_sends_neither_fees_nor_codes_nor_flags(log_of: Callable[[PersonalityName], Log]) -> None:
    honest, said = log_of("honest").records, log_of("opencps").records
    assert set(honest) == set(said)
    assert any(record["DanhSachLePhi"] for record in honest.values())
    assert not any(record["DanhSachLePhi"] for record in said.values())
    papers = [paper for record in said.values() for paper in record["TaiLieuNop"]]
    assert {paper["MaThanhPhanHoSo"] for paper in papers} == {""}
    record_flags = {"NoiNopHoSo", "HoSoCoThanhPhanSoHoa", "TaiKhoanDuocXacThucVoiVNeID", "DuocThanhToanTrucTuyen"}
    paper_flags = {"DuocSoHoa", "DuocTaiSuDung", "DuocLayTuKhoDMQG", "MaKetQuaThayThe"}
    for code, record in said.items():
        assert set(honest[code]) - set(record) == record_flags
        assert not any(paper_flags & set(paper) for paper in record["TaiLieuNop"])


def test_opencps_sends_the_latest_action_of_each_file_only(log_of: Callable[[PersonalityName], Log]) -> None:
    honest, said = log_of("honest").steps, log_of("opencps").steps
    assert set(honest) == set(said)
    fewer = 0
    for code, steps in honest.items():
        latest = {file: step["ThoiDiemXuLy"] for file, step in steps}
        assert {(file, step["ThoiDiemXuLy"]) for file, step in said[code]} == set(latest.items())
        fewer += len({step["ThoiDiemXuLy"] for _, step in steps}) > len(latest)
    assert fewer > 1_000


def _first_places(folder: Path) -> tuple[dict[str, tuple[str, int]], dict[str, tuple[str, int]]]:
    dossiers: dict[str, tuple[str, int]] = {}
    steps: dict[str, tuple[str, int]] = {}
    for file in sorted(folder.glob("*.ndjson")):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines()):
            call = json.loads(line)
            places = dossiers if call["service"] == "DongBoHoSoMC" else steps
            for record in call["data"]:
                places.setdefault(record["MaHoSo"], (file.name, number))
    return dossiers, steps


@pytest.mark.parametrize("orphan_steps", [False, True])
def test_progress_of_some_dossiers_comes_first(tmp_path: Path, *, orphan_steps: bool) -> None:
    population = build_population(3_000, seed=11, orphan_steps=orphan_steps)
    log = MessageLog(population, tmp_path)
    log.write_history(DEFAULT_CLOCK)
    for day in range(1, 8):
        log.write(DEFAULT_CLOCK + timedelta(days=day - 1), DEFAULT_CLOCK + timedelta(days=day))
    dossiers, steps = _first_places(tmp_path)
    until = DEFAULT_CLOCK + timedelta(days=7)
    truth = population.truth(until)["dossier"].to_pandas().set_index("dossier_code")
    early = {code for code, place in steps.items() if place < dossiers.get(code, ("~", 0))}
    across = {code for code in early if steps[code][0] < dossiers.get(code, ("~", 0))[0]}
    assert 20 < len(early) < 150
    assert across
    others = truth.loc[[code.upper() for code in early & set(dossiers)]][["in_portal", "in_onestop"]].any(axis=1)
    assert others.all() != orphan_steps
    # Every one that was sent by then is in the truth, with as many steps as were told.
    assert truth.loc[[code.upper() for code in early & set(dossiers)]].in_messages.all()


BROKEN = 18


@pytest.fixture(scope="module")
def defective(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    """A small province with broken records, behind a server that compresses."""
    home = tmp_path_factory.mktemp("defective")
    traits = Traits(broken=BROKEN, gzip=True)
    with running_sandbox(build_population(400, seed=5), home=home, traits=traits) as sandbox:
        yield sandbox


def test_broken_records_stand_in_the_sources_and_not_in_the_truth(defective: RunningSandbox) -> None:
    told = {record["record_key"]: record for record in defective.broken()}
    assert len(told) == BROKEN
    assert {record["source"] for record in told.values()} == {"portal", "onestop", "messages"}
    with httpx.Client(timeout=30) as client:
        reader = Reader(defective, client)
        found = {f"{row['groupId']}:{row['dossierId']}": row for site in SITES for row in reader.dossiers(site)}
        found |= {item["id"]: item for item in reader.items()}
    found |= _read(defective.home / "sandbox" / "messages").records
    for key, record in told.items():
        assert found[key][record["field"]] == record["said"]
    truth = defective.truth()["dossier"]
    assert len(truth) == 400
    assert not {record["code"] for record in told.values()} & set(truth["dossier_code"].to_pylist())
    assert not any(mark in json.dumps(list(told.values()), ensure_ascii=False) for mark in MARKS)


def test_the_product_sets_aside_the_broken_records_and_nothing_else(
    defective: RunningSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    province = load_province(defective.province_file, home=Home.from_environment({"THUOCDO_HOME": str(tmp_path)}))
    lake, database = Lake(str(tmp_path / "lake")), Database.open(f"sqlite:///{tmp_path / 'thuocdo.db'}")
    window = (datetime(2026, 8, 25, tzinfo=VIETNAM), DEFAULT_CLOCK)
    later = DEFAULT_CLOCK + timedelta(hours=1)
    for source, settings in province.sources.items():
        extract(source, settings, window=window, lake=lake, database=database, night="n1", now=later)
    calendar = province.working_calendar()
    for table, rows in reference_tables(province.province_code, province.departments, calendar):
        lake.replace(table, rows)
    conform(lake, database, agencies=province.agencies, codes=province.codes, night="n1")
    rows = lake.read(RAW_QUARANTINE).to_pylist()
    said = {(row["source"], row["record_key"], row["stage"], row["reason"]) for row in rows}
    told = {
        (record["source"], record["record_key"], record["stage"], record["reason"]) for record in defective.broken()
    }
    assert said == told


def test_nothing_is_broken_by_default(reader: Reader) -> None:
    assert reader.sandbox.broken() == []
    for item in reader.items():
        assert item["appliedDate"] or item["acceptedDate"]


def test_replies_are_compressed_for_who_accepts_it(defective: RunningSandbox) -> None:
    with httpx.Client(timeout=30) as client:
        reader = Reader(defective, client)
        packed = reader.portal("/dossiers", start=0, end=50)
        assert packed.headers["content-encoding"] == "gzip"
        client.headers["Accept-Encoding"] = "identity"
        plain = reader.portal("/dossiers", start=0, end=50)
        assert "content-encoding" not in plain.headers
        assert plain.json() == packed.json()


LATER = DEFAULT_CLOCK + timedelta(days=3)


def test_the_index_lags_behind_the_dossier_after_the_clock_moved(population: Population, tmp_path: Path) -> None:
    with (
        running_sandbox(population, home=tmp_path, traits=Traits(index_lag=2)) as sandbox,
        httpx.Client(timeout=30) as client,
    ):
        reader = Reader(sandbox, client)
        query: dict[str, Any] = {"start": 0, "end": 5_000, "systemId": "0,1,2,5"}
        before = reader.portal("/dossiers", **query).json()
        sandbox.advance(LATER)
        lagging = [reader.portal("/dossiers", **query).json() for _ in range(2)]
        healed = reader.portal("/dossiers", **query).json()
        assert lagging[0]["data"] == lagging[1]["data"] == before["data"] != healed["data"]
        assert before["total"] < lagging[0]["total"] == lagging[1]["total"] == healed["total"] == len(healed["data"])
        # Meanwhile a dossier's own page is not behind: it comes from the database.
        sandbox.advance(LATER + timedelta(days=1))
        shown = reader.portal("/dossiers", **query).json()["data"]
        assert shown == healed["data"]
        own = [reader.portal(f"/dossiers/{row['dossierId']}").json() for row in shown]
        assert [row["dossierId"] for row in own] == [row["dossierId"] for row in shown]
        assert own != shown


@pytest.fixture(scope="module")
def narrow(population: Population, reader: Reader, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """The same province from a portal that limits its reader to one agency and keeps its days in Vietnam."""
    mine = reader.dossiers(10301)[0]["govAgencyCode"]
    home, traits = tmp_path_factory.mktemp("narrow"), Traits(scope=(mine,), index_zone_hours=7)
    with running_sandbox(population, home=home, traits=traits) as sandbox, httpx.Client(timeout=30) as client:
        yield Reader(sandbox, client)


def test_the_portal_limits_its_reader_silently_unless_an_agency_is_named(reader: Reader, narrow: Reader) -> None:
    everything = reader.dossiers(10301)
    mine = [row for row in everything if row["govAgencyCode"] == everything[0]["govAgencyCode"]]
    assert narrow.dossiers(10301) == mine
    assert narrow.dossiers(10301, agency="all") == everything
    other = next(row["govAgencyCode"] for row in everything if row not in mine)
    assert {row["govAgencyCode"] for row in narrow.dossiers(10301, agency=other)} == {other}


def test_the_index_may_keep_its_days_in_vietnam(reader: Reader, narrow: Reader) -> None:
    early = next(row for row in reader.dossiers(10301) if "00:00:00" < row["submitDate"][11:] < "06:59:59")
    day = early["submitDate"][:10]
    query = {"fromSubmitDate": day, "toSubmitDate": day, "agency": "all"}
    assert early not in reader.dossiers(10301, **query)
    assert early in narrow.dossiers(10301, **query)


def test_sorting_compares_texts(reader: Reader) -> None:
    def sorted_by(name: str, **more: Any) -> list[str]:
        reply = reader.portal("/dossiers", start=0, end=5_000, sort=name, **more).json()
        assert reply["total"] == len(reply["data"])
        return [row[name] for row in reply["data"]]

    dates = sorted_by("submitDate")
    assert dates == sorted(dates)
    assert [date[:2] for date in dates[:5]] == ["01"] * 5  # by the day of the month: of no use as a cursor
    assert sorted_by("submitDate", order="true") == dates[::-1]
    assert len(set(sorted_by("dossierStatus"))) > 3


def test_what_sorts_equal_comes_in_another_order_on_every_page(reader: Reader) -> None:
    def page(start: int, end: int) -> list[int]:
        reply = reader.portal("/dossiers", start=start, end=end, sort="domainCode").json()
        return [row["dossierId"] for row in reply["data"]]

    whole = page(0, 200)
    assert page(0, 200) == whole
    assert len(set(page(0, 100)) | set(page(100, 200))) < 200


def test_a_draft_that_nobody_acted_on_is_purged_after_half_an_hour(tmp_path: Path) -> None:
    population = build_population(6_000, seed=11)
    index = PortalIndex(population, seconds(DEFAULT_CLOCK))
    begun = population.whole("submitted")[index.rows]
    coming = (index.ghost == 2) & (begun > seconds(DEFAULT_CLOCK))
    draft = int(np.flatnonzero(coming)[np.argmin(begun[coming])])
    site, start = int(index.site[draft]), datetime.fromtimestamp(int(begun[draft]), UTC)
    with running_sandbox(population, home=tmp_path) as sandbox, httpx.Client(timeout=30) as client:
        reader = Reader(sandbox, client)

        def listed(**query: str) -> list[Record]:
            return [row for row in reader.dossiers(site, **query) if not row["dossierStatus"] and not row["submitDate"]]

        assert listed(originality="1") == []
        sandbox.advance(start + timedelta(minutes=10))
        (row,) = listed(originality="1")
        assert (row["dossierNo"], row["receiveDate"], row["dueDate"]) == ("", "", "")
        assert row["createDate"]
        assert listed() == []
        assert listed(originality="1", fromSubmitDate="01/01/2020") == []
        assert reader.portal(f"/dossiers/{row['dossierId']}", site=site).json() == row
        sandbox.advance(start + timedelta(seconds=DRAFT_SECONDS))
        assert listed(originality="1") == []
        assert reader.portal(f"/dossiers/{row['dossierId']}", site=site).json() == {}
        assert reader.portal(f"/dossiers/{row['dossierId']}/files", site=site).status_code == 403
