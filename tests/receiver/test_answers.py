"""What a vendor's sender is told, over HTTP: the protocol of sources chapter 3, whatever the vendor sends."""

from __future__ import annotations

import gzip
import json
import re
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.npsp_receiver_sessions import Sessions
from tests.persons import PERSON
from tests.receiver.conftest import (
    DOSSIER,
    KEPT,
    MADONVI,
    OTHER_PASSWORD,
    PASSWORD,
    PROGRESS,
    TOKEN,
    Running,
    Start,
    Vendor,
    codes,
    dossier,
    journalled,
    step,
)

#: How a client of this protocol tells an old session (the house's own client of the catalogue does the same).
OLD_SESSION = re.compile(r"session|phiên|token|đăng nhập", re.IGNORECASE)
#: What clients are known to take for "processed".
PROCESSED = {0, 3, -3}


@pytest.fixture
def vendor(shared: Running) -> Vendor:
    return shared.vendor()


@pytest.fixture
def other(shared: Running) -> Vendor:
    return shared.vendor(user="chu-so", password=OTHER_PASSWORD)


def stored(shared: Running, prefix: str) -> list[dict[str, Any]]:
    return [record for record in journalled(shared.folder) if str(record["MaHoSo"]).startswith(prefix)]


def test_log_in_gives_a_session_that_a_call_is_let_in_with(shared: Running, vendor: Vendor) -> None:
    answer = vendor.log_in()
    assert answer["error_code"] == 0
    assert answer["session"]
    assert "message" in answer
    said = vendor.send(DOSSIER, dossier("LI-1"))
    assert said["error_code"] == 0
    assert "thành công" in said["message"]
    assert stored(shared, "LI-") == [{"MaHoSo": "LI-1", **KEPT}]


@pytest.mark.parametrize(
    "wrong",
    [{"password": "sai"}, {"user": "không ai"}, {"dstcode": "VN:GOV:khac"}, {"dstcode": ""}, {"password": ""}],
    ids=str,
)
def test_log_in_is_refused_in_the_same_words_whatever_is_wrong(shared: Running, wrong: dict[str, str]) -> None:
    answer = shared.vendor(**wrong).log_in()
    assert (int(answer["error_code"]), answer["session"]) == (401, "")
    assert answer["message"] == shared.vendor(password="cũng sai").log_in()["message"]


def test_a_call_without_the_right_dstcode_or_madonvi_stores_nothing(shared: Running, vendor: Vendor) -> None:
    vendor.log_in()
    vendor.dstcode = "VN:GOV:khac"
    assert vendor.send(DOSSIER, dossier("DST-1"))["error_code"] == 403
    right = shared.vendor()
    assert right.send(DOSSIER, dossier("DST-2"), madonvi="000.00.00.H66")["error_code"] == 403
    assert right.send(DOSSIER, dossier("DST-3"), madonvi="H15")["error_code"] == 0
    assert codes(stored(shared, "DST-")) == ["DST-3"]


@pytest.mark.parametrize("session", ["", "cũ", "bW90LWN1YQ.9999999999.00.00", None, "....", "a.b.c.d"])
def test_a_session_that_proves_nothing_is_answered_so_that_a_client_logs_in(vendor: Vendor, session: str) -> None:
    reply = vendor.reply(DOSSIER, dossier("SES-1"), session=session)
    assert reply.status_code == 200
    assert int(reply.json()["error_code"]) == 401
    assert OLD_SESSION.search(reply.json()["message"])


def test_a_session_of_one_account_is_none_of_another(vendor: Vendor, other: Vendor) -> None:
    vendor.log_in()
    other.log_in()
    name, rest = other.session.split(".", 1)
    stolen = vendor.session.split(".", 1)[0] + "." + rest
    assert vendor.reply(DOSSIER, dossier("SES-2"), session=stolen).json()["error_code"] == 401
    later = f"{name}.9{rest}"
    assert other.reply(DOSSIER, dossier("SES-2"), session=later).json()["error_code"] == "401"


def test_error_codes_are_spelled_as_the_account_reads_them(vendor: Vendor, other: Vendor) -> None:
    assert vendor.log_in()["error_code"] == 0
    assert other.log_in()["error_code"] == "0"
    assert other.send(DOSSIER, dossier("SP-1"))["error_code"] == "0"
    assert other.send("TraCuuHoSo", {"mahoso": "1"})["error_code"] == "404"
    assert vendor.send("TraCuuHoSo", {"mahoso": "1"})["error_code"] == 404
    bad = other.send(DOSSIER, dossier("SP-1"), {})
    assert [one["error_code"] for one in bad["result"]] == ["-3", "422"]


@pytest.mark.parametrize("service", ["TraCuuHoSo", "", None, "LayThuTuc"])
def test_another_service_is_named_as_such(vendor: Vendor, service: Any) -> None:
    answer = vendor.send(service, dossier("SV-1"))
    assert answer["error_code"] == 404
    assert DOSSIER in answer["message"]
    assert PROGRESS in answer["message"]


def test_an_insert_of_a_known_dossier_exists_already_and_goes_through_as_update(
    shared: Running, vendor: Vendor
) -> None:
    assert vendor.send(DOSSIER, dossier("DUP-1"))["error_code"] == 0
    again = vendor.send(DOSSIER, dossier("DUP-1", TrangThaiHoSo="5"))
    assert again["error_code"] == 3
    assert "đã tồn tại" in again["message"]
    assert "thành công" not in again["message"]
    assert vendor.send(DOSSIER, dossier("DUP-1", TrangThaiHoSo="6"), updating="True")["error_code"] == 0
    assert [record["TrangThaiHoSo"] for record in stored(shared, "DUP-")] == ["4", "6"]


def test_the_double_post_of_insert_and_update_is_two_messages(shared: Running, vendor: Vendor) -> None:
    """The pusher of iGate sends every new dossier twice (sources 3.1)."""
    for updating in (False, True):
        assert vendor.send(DOSSIER, dossier("IG-1"), updating=updating)["error_code"] == 0
    assert codes(stored(shared, "IG-")) == ["IG-1", "IG-1"]


@pytest.mark.parametrize(("updating", "expected"), [
    ("True", 0), ("true", 0), (True, 0), (1, 0), ("1", 0),
    ("False", 3), ("false", 3), (False, 3), (0, 3), ("", 3), (None, 3),
    ("có", 400), (7, 400),
])  # fmt: skip
def test_is_updating_is_understood_however_it_is_spelled(vendor: Vendor, updating: Any, expected: int) -> None:
    vendor.send(DOSSIER, dossier("UP-1"))
    assert vendor.send(DOSSIER, dossier("UP-1"), updating=updating)["error_code"] == expected


def test_an_update_of_a_dossier_never_heard_of_is_taken(shared: Running, vendor: Vendor) -> None:
    """A vendor adds us in the middle of its life: what it inserted elsewhere before, it sends us as update."""
    assert vendor.send(DOSSIER, dossier("OLD-1"), updating="True")["error_code"] == 0
    assert vendor.send(PROGRESS, step("OLD-2"))["error_code"] == 0
    assert codes(stored(shared, "OLD-")) == ["OLD-1"]
    assert vendor.send(DOSSIER, dossier("OLD-2"))["error_code"] == 0  # progress before its dossier makes none


def test_each_record_is_answered_and_the_good_ones_are_kept(shared: Running, vendor: Vendor) -> None:
    vendor.send(DOSSIER, dossier("MIX-1"))
    bad: list[Any] = [{"MaTTHC": "1"}, {"MaHoSo": "  "}, {"MaHoSo": None}, "chữ", 5, None, [dossier("MIX-9")]]
    wrong_kind = [{"MaHoSo": "MIX-8", "MaTTHC": ["Người Hư Cấu"]}, {"MaHoSo": "MIX-8", "TaiLieuNop": "Người Hư Cấu"}]
    answer = vendor.send(DOSSIER, dossier("MIX-1"), *bad, *wrong_kind, dossier("MIX-2"), dossier("MIX-2"))
    assert answer["error_code"] == 422
    assert "đã tồn tại" in answer["message"]
    assert "thành công" not in answer["message"]
    assert [one["error_code"] for one in answer["result"]] == [3, *[422] * 9, 0, 3]
    assert answer["result"][10]["MaHoSo"] == "MIX-2"
    assert codes(stored(shared, "MIX-")) == ["MIX-1", "MIX-2"]
    assert "Hư Cấu" not in json.dumps(answer, ensure_ascii=False)


def test_only_the_words_of_success_belong_to_success(vendor: Vendor) -> None:
    """TD decides by the code and by the text "thành công": no failure may have both."""
    answers = [
        vendor.send(DOSSIER, {}),
        vendor.send("x", {}),
        vendor.reply(DOSSIER, dossier("W-1"), session="cũ").json(),
        vendor.send(DOSSIER, dossier("W-1"), madonvi="x"),
        vendor.post("integration", b"{").json(),
        vendor.post("integration", b"[" * 100_000).json(),
    ]
    for answer in answers:
        assert int(answer["error_code"]) not in PROCESSED
        assert "thành công" not in answer["message"]
        assert "đã tồn tại" not in answer["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"a"',
        b"\xff\xfe",
        b'{"session":5}',
        b"<html>",
        b'{"session":"' + b"\xc3" + b'"}',
        gzip.compress(b"{}"),
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
    ],
    ids=range(11),
)
def test_what_is_no_call_is_answered_in_the_protocols_own_shape(vendor: Vendor, body: bytes) -> None:
    for endpoint in ("auth", "integration"):
        answer = vendor.post(endpoint, body).json()
        assert int(answer["error_code"]) in (400, 401)
        assert answer["message"]


@pytest.mark.parametrize("data", [5, "chữ", None, [], {}])
def test_data_that_holds_no_record_is_refused(vendor: Vendor, data: Any) -> None:
    answer = vendor.send(DOSSIER, data=data)
    assert answer["error_code"] in (400, 422)


def test_a_lone_record_stands_for_a_list_of_one(shared: Running, vendor: Vendor) -> None:
    assert vendor.send(DOSSIER, data=dossier("ONE-1"))["error_code"] == 0
    assert codes(stored(shared, "ONE-")) == ["ONE-1"]


def test_too_many_records_or_bytes_are_refused_whole(shared: Running, vendor: Vendor) -> None:
    vendor.log_in()
    many = vendor.reply(DOSSIER, *({"MaHoSo": f"BIG-{number}"} for number in range(51)))
    large = vendor.reply(DOSSIER, dossier("BIG-99", GhiChu="x" * 70_000))
    larger = vendor.reply(DOSSIER, dossier("BIG-99", GhiChu="x" * 3_000_000))
    login = vendor.post("auth", b"x" * 70_000)
    for reply in (many, large, larger, login):
        assert reply.status_code == 413
        assert int(reply.json()["error_code"]) == 413
        assert set(reply.json()) >= {"error_code", "message"}
    assert vendor.send(DOSSIER, *({"MaHoSo": f"FIT-{number}"} for number in range(50)))["error_code"] == 0
    assert stored(shared, "BIG-") == []


def test_a_body_of_unknown_length_is_limited_too(vendor: Vendor) -> None:
    vendor.log_in()
    url = f"{vendor.base_url}/VXPAdapter/RestService/forward/integration"
    reply = vendor.client.post(url, content=(b"x" * 10_000 for _ in range(20)), headers={"dstcode": vendor.dstcode})
    assert (reply.status_code, int(reply.json()["error_code"])) == (413, 413)


def test_the_gateway_takes_a_bare_array_and_answers_with_code_and_words(shared: Running, vendor: Vendor) -> None:
    first = vendor.gateway(DOSSIER, [dossier("GW-1")])
    assert first.status_code == 200
    assert first.json()["error_code"] == 0
    assert "thành công" in first.json()["message"]
    again = vendor.gateway(DOSSIER, [dossier("GW-1")])
    assert again.json()["error_code"] == 3
    assert "đã tồn tại" in again.json()["message"]
    assert vendor.gateway(DOSSIER, [dossier("GW-1", TrangThaiHoSo="9")], updating="True").json()["error_code"] == 0
    assert [record["TrangThaiHoSo"] for record in stored(shared, "GW-")] == ["4", "9"]


def test_the_gateway_answers_progress_in_plain_text(shared: Running, vendor: Vendor) -> None:
    reply = vendor.gateway(PROGRESS, [step("GP-1", TrangThai=str(number)) for number in range(2, 6)])
    assert reply.headers["content-type"].startswith("text/plain")
    assert "thành công" in reply.text
    assert "thành công" not in vendor.gateway(PROGRESS, [{}]).text
    assert len([one for one in journalled(shared.folder, PROGRESS) if one["MaHoSo"] == "GP-1"]) == 4


def test_the_gateway_proves_its_caller(shared: Running, vendor: Vendor, other: Vendor) -> None:
    bearer: dict[str, Any] = {"auth": None, "headers": {"Authorization": f"Bearer {TOKEN}"}}
    assert other.gateway(DOSSIER, [dossier("GA-1")], **bearer).json()["error_code"] == "0"
    refused = [
        vendor.gateway(DOSSIER, [dossier("GA-2")], auth=None),
        vendor.gateway(DOSSIER, [dossier("GA-2")], auth=("mot-cua", "sai")),
        vendor.gateway(DOSSIER, [dossier("GA-2")], auth=None, headers={"Authorization": "Bearer sai"}),
        vendor.gateway(DOSSIER, [dossier("GA-2")], auth=None, headers={"Authorization": "Basic !"}),
        vendor.gateway(PROGRESS, [step("GA-2")], auth=None),
    ]
    for reply in refused:
        assert reply.status_code == 401
        assert reply.headers["www-authenticate"].startswith("Basic")
        assert "thành công" not in reply.text
    vendor.madonvi = "000.00.00.H66"
    assert vendor.gateway(DOSSIER, [dossier("GA-3")]).json()["error_code"] == 403
    vendor.madonvi = MADONVI
    assert vendor.gateway("TraCuuHoSo", [{}]).status_code == 200
    assert vendor.gateway(DOSSIER, b"[" + b"1" * 70_000 + b"]").status_code == 413
    assert codes(stored(shared, "GA-")) == ["GA-1"]


def test_a_body_that_stops_halfway_does_not_hold_the_receiver(shared: Running) -> None:
    address = httpx.URL(shared.base_url)
    head = b"POST /VXPAdapter/RestService/forward/integration HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
    with socket.create_connection((address.host, address.port or 80), timeout=30) as connection:
        connection.sendall(head)
        assert shared.vendor().send(DOSSIER, dossier("SLOW-1"))["error_code"] == 0
        reply = b""
        while not reply.endswith(b"}") and (more := connection.recv(10_000)):
            reply += more
    assert b" 408 " in reply
    assert b"error_code" in reply


def test_an_old_session_is_refused_and_logging_in_again_mends_it(vendor: Vendor) -> None:
    yesterday = Sessions({"mot-cua": PASSWORD}, seconds=26 * 3600, now=lambda: time.time() - 26 * 3600 - 1)
    vendor.session = yesterday.begin("mot-cua")
    refused = vendor.send(DOSSIER, dossier("RS-1"))
    assert refused["error_code"] == 401
    assert OLD_SESSION.search(refused["message"])
    vendor.log_in()
    assert vendor.send(DOSSIER, dossier("RS-1"))["error_code"] == 0


def test_an_end_in_order_leaves_whole_files_and_a_session_outlives_it(start: Start, tmp_path: Path) -> None:
    """Senders keep a session for a day and do not log in again when it is refused."""
    running = start()
    vendor = running.vendor()
    assert vendor.send(DOSSIER, dossier("RS-1"))["error_code"] == 0
    assert running.stop() == 0
    (file,) = tmp_path.glob("messages/*.ndjson")
    assert file.read_bytes().endswith(b"\n")
    assert list(tmp_path.glob("messages/*.open")) == []
    again = start().vendor(session=vendor.session)
    assert again.send(DOSSIER, dossier("RS-1"))["error_code"] == 3
    assert again.send(DOSSIER, dossier("RS-2"))["error_code"] == 0


def test_another_password_ends_every_session() -> None:
    before = Sessions({"mot-cua": "cũ"}, seconds=60, now=lambda: 1000.0)
    session = before.begin("mot-cua")
    assert before.account(session) == "mot-cua"
    assert Sessions({"mot-cua": "mới"}, seconds=60, now=lambda: 1000.0).account(session) is None
    assert Sessions({"mot-cua": "cũ"}, seconds=60, now=lambda: 1061.0).account(session) is None


def test_no_person_is_left_by_what_is_accepted_refused_or_nonsense(shared: Running, vendor: Vendor) -> None:
    name, number = "Người Hư Cấu", "099066000009"
    vendor.log_in()
    vendor.send(DOSSIER, dossier("CAN-1"), name, {"MaHoSo": "CAN-2", "MaTTHC": [name]}, {name: number}, [number])
    vendor.send(PROGRESS, step("CAN-1", NoiDungXuLy=name))
    vendor.send(name, dossier("CAN-3"), updating=name, madonvi=name)
    vendor.send(DOSSIER, dossier("CAN-4"), updating=name)
    vendor.post("integration", f'{{"session":"{name}","data":"{name}"'.encode())
    vendor.post("auth", {"username": name, "password": number})
    vendor.post("auth", {"username": [name]})
    vendor.post("integration", (name * 20_000).encode())
    vendor.gateway("nguoi-hu-cau", [dossier("CAN-5")])
    vendor.gateway(DOSSIER, f'[{{"MaHoSo":"{name}'.encode(), headers={"X-Who": "nguoi-hu-cau"})
    vendor.client.get(f"{shared.base_url}/{number}", params={"q": name})
    address = httpx.URL(shared.base_url)
    with socket.create_connection((address.host, address.port or 80), timeout=30) as connection:
        connection.sendall(f"{name} {number}\r\n\r\n".encode())
        connection.recv(10_000)
    assert vendor.client.get(f"{shared.base_url}/health").text == "ok\n"
    found = [file for file in shared.home.rglob("*") if file.is_file()]
    assert {".ndjson", ".open"} & {file.suffix for file in found}
    for file in found:
        assert not PERSON.search(file.read_bytes().decode("utf-8", errors="replace")), file
