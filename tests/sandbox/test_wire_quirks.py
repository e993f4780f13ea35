"""Each quirk of the three wire formats, seen through HTTP as a client sees it (sources chapters 1, 3 and 4.1)."""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox import server
from sandbox.population import DEFAULT_CLOCK, build_population, seconds
from sandbox.portal import PortalIndex
from sandbox.portal_search import SEARCH_LIMIT, PortalSearch
from sandbox.server import SandboxError, serve
from tests.sandbox.conftest import SITES, Reader, stamp


def _total(reader: Reader, **query: Any) -> int:
    return int(reader.portal("/dossiers", start=0, end=1, **query).json()["total"])


def test_not_logged_in_is_203(reader: Reader) -> None:
    reply = reader.portal("/dossiers", login=False)
    assert reply.status_code == 203
    assert "data" not in reply.json()


def test_a_site_is_needed(reader: Reader) -> None:
    reply = reader.portal("/dossiers", site=None)
    assert (reply.status_code, reply.json()["message"]) == (403, "No Content.")
    assert reader.portal("/dossiers", site=99).json() == {"total": 0, "data": []}


def test_files_of_an_unknown_dossier_are_403_and_its_detail_is_empty(reader: Reader) -> None:
    for path in ("/dossiers/1/files", "/dossiers/1/payment"):
        assert reader.portal(path).status_code == 403
    assert reader.portal("/dossiers/nobody").json() == {}


def test_rows_are_counted_by_offsets_and_total_is_of_all(reader: Reader) -> None:
    whole = reader.portal("/dossiers", start=0, end=40).json()
    assert len(whole["data"]) == 40 < whole["total"]
    part = reader.portal("/dossiers", start=10, end=15).json()
    assert part["data"] == whole["data"][10:15]
    assert reader.portal("/dossiers", start=whole["total"], end=whole["total"] + 5).json()["data"] == []


def test_a_missing_end_means_everything_whatever_the_start(reader: Reader) -> None:
    reply = reader.portal("/dossiers", start=7).json()
    assert len(reply["data"]) == reply["total"]


def test_nothing_beyond_row_10000_is_ever_returned() -> None:
    """At the default size one site alone is larger than the search limit; 60,000 dossiers, so without HTTP."""
    search = PortalSearch(PortalIndex(build_population(60_000), seconds(DEFAULT_CLOCK)))
    everything = {"systemId": "0,1,2,5"}
    total = int(re.match(rb'{"total":(\d+)', search.page(10301, everything)).group(1))  # type: ignore[union-attr]
    assert total > SEARCH_LIMIT
    assert search.page(10301, everything).count(b'"dossierId":') == SEARCH_LIMIT
    assert search.page(10301, everything | {"start": "9990", "end": "10100"}).count(b'"dossierId":') == 10
    assert search.page(10301, everything | {"start": "10000", "end": "10100"}).endswith(b'"data":[]}')


def test_other_systems_are_hidden_unless_asked_for(reader: Reader) -> None:
    silent, asked = _total(reader), _total(reader, systemId="0,1,2,5")
    assert silent == _total(reader, systemId=0) < asked
    assert _total(reader, systemId=5) > 0
    rows = reader.portal("/dossiers", systemId=5).json()["data"]
    assert all(row["referenceUid"].startswith("G22.99-") for row in rows)


def test_deleted_children_and_untouched_drafts_are_hidden() -> None:
    """Ghosts are few, so on a larger population and without HTTP."""
    index = PortalIndex(build_population(20_000), seconds(DEFAULT_CLOCK))
    search = PortalSearch(index)
    everything = {"systemId": "0,1,2,5"}
    shown = {position for site in SITES for position in search.positions(site, everything).tolist()}
    ghosts = {
        position
        for position, kind in enumerate(index.ghost.tolist())
        if kind >= 0 and index.columns["visible"][position]
    }
    assert ghosts
    assert not shown & ghosts
    deleted = {
        position for site in SITES for position in search.positions(site, everything | {"originality": "-1"}).tolist()
    }
    assert deleted
    assert deleted < ghosts


def test_a_malformed_date_drops_its_filter(reader: Reader) -> None:
    assert _total(reader, fromReceiveDate="2026-01-01") == _total(reader)
    assert _total(reader, fromReceiveDate="31/02/2026") == _total(reader)
    assert 0 < _total(reader, fromReceiveDate="1/6/2026") < _total(reader)


def test_windows_are_inclusive_days_of_the_servers_zone(reader: Reader) -> None:
    """A dossier submitted before 07:00 in Vietnam is in the window of the day before: the index runs on GMT."""
    rows = reader.dossiers(10301)
    early = next(row for row in rows if "00:00:00" < row["submitDate"][11:] < "06:59:59")
    day = early["submitDate"][:10]
    same_day = reader.dossiers(10301, fromSubmitDate=day, toSubmitDate=day)
    assert early not in same_day
    late = next(row for row in rows if row["submitDate"][11:13] == "09")
    day = late["submitDate"][:10]
    assert late in reader.dossiers(10301, fromSubmitDate=day, toSubmitDate=day)


def test_a_blank_date_is_in_no_window(reader: Reader) -> None:
    without = [row for site in SITES for row in reader.dossiers(site) if not row["receiveDate"]]
    assert without
    found = reader.dossiers(int(without[0]["groupId"]), fromReceiveDate="01/01/2020", toReceiveDate="31/12/2030")
    assert without[0]["dossierId"] not in {row["dossierId"] for row in found}


def test_the_reporting_set_holds_what_was_open_in_the_period(reader: Reader) -> None:
    found = reader.dossiers(10301, top="statistic", fromStatisticDate="01/10/2026", toStatisticDate="31/10/2026")
    before = [row for row in found if _sortable(row["receiveDate"]) < "20260930"]
    assert before
    assert all(
        _sortable(row["releaseDate"]) >= "20260930" or not row["releaseDate"] or row["finishDate"] for row in before
    )
    assert len(found) < _total(reader, systemId="0,1,2,5")


def _sortable(text: str) -> str:
    return f"{text[6:10]}{text[3:5]}{text[:2]}"


def test_lists_of_status_and_agency_are_or(reader: Reader) -> None:
    done, waiting = _total(reader, status="done"), _total(reader, status="releasing")
    assert _total(reader, status="done,releasing") == done + waiting > 0
    agency = reader.portal("/dossiers", start=0, end=1).json()["data"][0]["govAgencyCode"]
    assert 0 < _total(reader, agency=agency) < _total(reader, agency="all") == _total(reader)


def test_almost_everything_is_text_and_names_are_in_capitals(reader: Reader) -> None:
    row = reader.portal("/dossiers", start=0, end=1).json()["data"][0]
    assert row["online"] in ("true", "false")
    assert all(
        isinstance(row[name], str)
        for name in ("viaPostal", "fromViaPostal", "originality", "dossierNo", "dueDateComing")
    )
    assert isinstance(row["dossierId"], int)
    assert row["applicantName"] == row["applicantName"].upper()
    assert re.fullmatch(r"\d\d/\d\d/\d{4} \d\d:\d\d:\d\d", row["submitDate"])
    assert row["cancellingDate"] == ""
    suffixed = {row["serviceCode"] for row in reader.portal("/dossiers", start=0, end=50).json()["data"]}
    assert any(code.endswith(".000.00.00.H15") for code in suffixed)
    assert any(re.fullmatch(r"\d\.\d{6}", code) for code in suffixed)


def test_a_dossier_is_found_by_id_code_and_reference(reader: Reader) -> None:
    row = next(row for row in reader.dossiers(10301) if row["dossierNo"])
    for key in (row["dossierId"], row["dossierNo"].strip(), row["referenceUid"]):
        assert reader.portal(f"/dossiers/{key}").json()["dossierId"] == row["dossierId"]


def test_a_token_expires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "TOKEN_SECONDS", 0.2)
    practice = server.Practice(build_population(20), tmp_path)
    token = practice.new_token()
    assert practice.tokens[token] > time.monotonic()
    time.sleep(0.25)
    assert practice.tokens[token] < time.monotonic()
    practice.new_token()
    assert token not in practice.tokens


def test_without_a_good_token_it_is_401(reader: Reader) -> None:
    assert reader.onestop("/pa/dossier/search", "nonsense").status_code == 401
    url = f"{reader.sandbox.base_url}/onestop/auth/realms/digo/protocol/openid-connect/token"
    assert httpx.post(url, data={"grant_type": "client_credentials"}, auth=("a", "b")).status_code == 401
    good = (server.ENVIRONMENT["THUOCDO_ONESTOP_CLIENT_ID"], server.ENVIRONMENT["THUOCDO_ONESTOP_CLIENT_SECRET"])
    assert httpx.post(url, data={"grant_type": "password"}, auth=good).status_code == 400
    granted = httpx.post(url, data={"grant_type": "client_credentials"}, auth=good).json()
    assert granted["expires_in"] == 60


def test_a_slice_never_says_how_many_there_are(reader: Reader) -> None:
    token = reader.token()
    page = reader.onestop("/pa/dossier/search", token, page=0, size=20, spec="page").json()
    cut = reader.onestop("/pa/dossier/search", token, page=0, size=20, spec="slice").json()
    assert page["totalElements"] > 20
    assert page["totalPages"] == -(-page["totalElements"] // 20)
    assert not {"totalElements", "totalPages"} & set(cut)
    assert cut["content"] == page["content"]
    assert (cut["last"], cut["first"], cut["pageable"]["pageNumber"]) == (False, True, 0)
    end = reader.onestop("/pa/dossier/search", token, page=page["totalPages"] - 1, size=20, spec="slice").json()
    assert end["last"] is True
    assert end["numberOfElements"] == len(end["content"]) > 0


def test_newest_update_comes_first(reader: Reader) -> None:
    items = reader.items()
    stamps = [stamp(item["updatedDate"]) for item in items]
    assert stamps == sorted(stamps, reverse=True)
    assert len({item["id"] for item in items}) == len(items)
    assert all(re.fullmatch(r"[0-9a-f]{24}", item["id"]) for item in items)


def test_the_same_thing_is_worded_in_several_ways(reader: Reader) -> None:
    items = reader.items()

    def kinds(name: str, *path: str) -> set[type]:
        return {type(_at(item, name, *path)) for item in items}

    assert kinds("dossierStatus") == {dict, int}
    assert kinds("procedure", "translate") == {dict, list}
    assert kinds("currentTask") == {dict, list, type(None)}
    assert {item["acceptedDate"][-5:] for item in items if item["acceptedDate"]} == {"+0700", "+0000"}
    assert kinds("nationCode") == {str, type(None)}


def _at(item: dict[str, Any], *path: str) -> Any:
    value: Any = item
    for part in path:
        value = value[part]
    return value


def test_fees_come_by_a_list_of_dossiers(reader: Reader) -> None:
    token, items = reader.token(), reader.items()
    ids = [item["id"] for item in items[:200]]
    lines = reader.onestop("/pa/dossier-fee/--by-dossiers", token, **{"dossier-ids": ",".join(ids)}).json()
    assert lines
    assert {line["dossier"]["id"] for line in lines} <= set(ids)
    assert all(isinstance(line["amount"], float) and line["paid"] in (0.0, line["amount"]) for line in lines)
    assert reader.onestop("/pa/dossier-fee/--by-dossiers", token, **{"dossier-ids": "0" * 24}).json() == []


def test_messages_are_calls_of_texts(reader: Reader) -> None:
    services, updating, repeated = set(), set(), set()
    seen: set[str] = set()
    for call in reader.calls():
        assert set(call) == {"madonvi", "service", "isUpdating", "data"}
        services.add(call["service"])
        updating.add(call["isUpdating"])
        for record in call["data"]:
            if call["service"] == "DongBoHoSoMC":
                repeated |= {record["MaHoSo"]} & seen
                seen.add(record["MaHoSo"])
                assert all(isinstance(value, str | list | None) for value in record.values())
                assert re.fullmatch(r"(\d{14})?", record["NgayTiepNhan"])
                happened = ("NgayNopHoSo", "NgayTiepNhan", "NgayTuChoi", "NgayKetThucXuLy", "NgayTra")
                assert all(record[name] <= "20261101000000" for name in happened)
            else:
                assert "20231231000000" < record["ThoiDiemXuLy"] <= "20261101000000"
    assert services == {"DongBoHoSoMC", "CapNhatTienDoHoSoMC"}
    assert updating == {"False", "True"}
    assert repeated


def test_some_flags_lists_and_channels_are_blank(reader: Reader) -> None:
    records = [record for call in reader.calls() if call["service"] == "DongBoHoSoMC" for record in call["data"]]
    assert {record["KenhThucHien"] for record in records} == {"", "1", "2", "3"}
    assert {record["DuocThanhToanTrucTuyen"] for record in records} == {"0", "1", "2", "3"}
    assert {type(record["DanhSachLePhi"]) for record in records} == {list, type(None)}
    assert any(record["MaHoSoKhac"] for record in records)
    assert any(paper["IsDeleted"] == "1" for record in records for paper in record["TaiLieuNop"])
    announced = [result for record in records for result in record["DanhSachGiayToKetQua"] or []]
    assert any(result["MaGiayToKetQua"] and not result["DuongDanTepTinKetQua"] for result in announced)


def test_it_is_loopback_only(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="loopback only"):
        serve(build_population(5), host="0.0.0.0", home=tmp_path)  # noqa: S104


def test_a_port_in_use_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SandboxError, match="in use"):
        serve(build_population(5), port=taken.getsockname()[1], home=tmp_path)
    assert not list(tmp_path.iterdir())
