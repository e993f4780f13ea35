"""A receiver as an operator runs it, the command in a process of its own, and vendors that send to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

ROOT = Path(__file__).parents[2]
PASSWORD, OTHER_PASSWORD, TOKEN = "mật khẩu một", "mat-khau-hai", "ma-truy-cap-ba"
SECRETS = {
    "THUOCDO_TEST_VENDOR": PASSWORD,
    "THUOCDO_TEST_OTHER": OTHER_PASSWORD,
    "THUOCDO_TEST_TOKEN": TOKEN,
}
DSTCODE, MADONVI = "VN:GOV:000.00.00.H15:thuocdo", "000.00.00.H15"
ACCOUNTS: dict[str, Any] = {
    "mot-cua": {"password_env": "THUOCDO_TEST_VENDOR", "dstcode": DSTCODE, "madonvi": [MADONVI, "H15"]},
    "chu-so": {
        "password_env": "THUOCDO_TEST_OTHER",
        "dstcode": DSTCODE,
        "madonvi": [MADONVI],
        "error_code": "string",
        "duplicate_code": -3,
        "token_env": "THUOCDO_TEST_TOKEN",
    },
}
DOSSIER, PROGRESS = "DongBoHoSoMC", "CapNhatTienDoHoSoMC"


def province_file(home: Path, **receiver: Any) -> Path:
    """A province whose only source is the receiver's folder."""
    content = yaml.safe_load((ROOT / "provinces" / "dak-lak.yaml").read_text(encoding="utf-8"))
    for name in ("departments", "agencies", "codes", "calendar", "sectors"):
        content[name] = str(ROOT / "provinces" / content[name])
    for name in ("catalogue", "units", "evaluation", "observations", "observation_sources"):
        content.pop(name, None)
    content["sources"] = {"messages": {"kind": "npsp-log", "folder": "messages", "settle_seconds": 0}}
    content["receiver"] = {"folder": "messages", "accounts": ACCOUNTS, **receiver}
    file = home / "tinh.yaml"
    file.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return file


@dataclass
class Vendor:
    """A one-stop system's sender; knows the protocol and nothing of the receiver's insides."""

    base_url: str
    user: str = "mot-cua"
    password: str = PASSWORD
    dstcode: str = DSTCODE
    madonvi: str = MADONVI
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30))
    session: str = ""

    def post(self, endpoint: str, body: Any, **headers: str) -> httpx.Response:
        """POST to the adapter; `body` as it stands when it is bytes."""
        content = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        said = {"dstcode": self.dstcode, "Content-Type": "application/json", "Charset": "utf-8", **headers}
        url = f"{self.base_url}/VXPAdapter/RestService/forward/{endpoint}"
        return self.client.post(url, content=content, headers=said)

    def log_in(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.post("auth", {"username": self.user, "password": self.password}).json()
        self.session = answer["session"]
        return answer

    def send(self, service: str, *records: Any, updating: Any = "False", **changes: Any) -> dict[str, Any]:
        """One call; logs in first if it never did."""
        if not self.session:
            self.log_in()
        answer: dict[str, Any] = self.reply(service, *records, updating=updating, **changes).json()
        return answer

    def reply(self, service: str, *records: Any, updating: Any = "False", **changes: Any) -> httpx.Response:
        body = {
            "session": self.session,
            "madonvi": self.madonvi,
            "service": service,
            "isUpdating": updating,
            "data": list(records),
        }
        return self.post("integration", body | changes)

    def gateway(self, service: str, body: Any, *, updating: str = "False", **how: Any) -> httpx.Response:
        """POST to the REST variant, proved by Basic unless `how` says otherwise."""
        content = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        how = {"auth": (self.user.encode(), self.password.encode())} | how
        query = {"MaDinhDanhDV": self.madonvi, "isUpdating": updating}
        return self.client.post(f"{self.base_url}/gateway/{service}", params=query, content=content, **how)


@dataclass
class Running:
    """A receiver process and its home."""

    process: subprocess.Popen[str]
    base_url: str
    home: Path
    output: Path

    @property
    def folder(self) -> Path:
        return self.home / "messages"

    def vendor(self, **changes: Any) -> Vendor:
        return Vendor(self.base_url, **changes)

    def stop(self) -> int:
        """Ask it to end in order; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def kill(self) -> None:
        """End it as the system's out-of-memory killer would."""
        self.process.kill()
        self.process.wait(30)


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts receivers, one after another on the same home unless told otherwise; none outlives the test."""
    started: list[Running] = []

    def begin(home: Path = tmp_path, **receiver: Any) -> Running:
        running = launch(home, number=len(started), **receiver)
        started.append(running)
        return running

    yield begin
    for running in started:
        running.process.kill()
        running.process.wait(30)


def launch(home: Path, *, number: int = 0, **receiver: Any) -> Running:
    """Run `thuocdo receive` on any port and wait until it says where it listens."""
    output = home / f"output-{number}.txt"
    with output.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestration.cli", "receive", str(province_file(home, **receiver)), "--port", "0"],
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env={**os.environ, **SECRETS, "THUOCDO_HOME": str(home), "PYTHONUNBUFFERED": "1"},
        )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        said = output.read_text(encoding="utf-8")
        if "http://" in said:
            base_url = "http://" + said.split("http://")[1].split("/")[0]
            return Running(process, base_url, home, output)
        if process.poll() is not None:
            raise RuntimeError(f"the receiver ended with {process.returncode}:\n{said}")
        time.sleep(0.05)
    process.kill()
    raise RuntimeError(f"the receiver did not start:\n{output.read_text(encoding='utf-8')}")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One receiver for tests that look at answers only; each uses dossier codes of its own."""
    running = launch(tmp_path_factory.mktemp("receiver"), max_records=50, max_body_bytes=64 * 1024, body_seconds=3)
    yield running
    running.process.kill()
    running.process.wait(30)


def lines(folder: Path) -> list[dict[str, Any]]:
    """Every call in the journal, closed and open files, in order."""
    files = sorted(file for file in folder.iterdir() if file.suffix in (".ndjson", ".open"))
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


def journalled(folder: Path, service: str = DOSSIER) -> list[dict[str, Any]]:
    """Every record of a service in the journal, in order."""
    return [record for line in lines(folder) if line["service"] == service for record in line["data"]]


def codes(records: Sequence[dict[str, Any]]) -> list[str]:
    return [record["MaHoSo"] for record in records]


def dossier(code: str, **changes: Any) -> dict[str, Any]:
    """A record as a vendor sends it: people everywhere they occur, facts of an invented dossier."""
    return {
        "MaHoSo": code,
        "MaTTHC": "1.001612",
        "TenTTHC": "Đăng ký hộ kinh doanh",
        "ChuHoSo": "Người Hư Cấu",
        "LoaiDoiTuong": "1",
        "DinhDanhCHS": [{"LoaiDinhDanh": "1", "SoDinhDanh": "099066000001"}],
        "Email": "nguoi@vi-du.invalid",
        "SoDienThoai": "0999000001",
        "TrichYeuHoSo": "Hồ sơ của Người Hư Cấu",
        "KenhThucHien": "2",
        "NgayNopHoSo": "20261001080000",
        "NgayTiepNhan": "20261001090000",
        "TrangThaiHoSo": "4",
        "DonViXuLy": "Sở Công Thương",
        "TaiLieuNop": [
            {
                "TenTepDinhKem": "nguoi-hu-cau.pdf",
                "MaThanhPhanHoSo": "TP1",
                "DuocSoHoa": "1",
                "DuongDanTaiTepTin": "/tep/nguoi-hu-cau.pdf",
            }
        ],
        "DanhSachGiayToKetQua": [],
        **changes,
    }


#: What is left of `dossier`.
KEPT = {
    "MaTTHC": "1.001612",
    "KenhThucHien": "2",
    "NgayNopHoSo": "20261001080000",
    "NgayTiepNhan": "20261001090000",
    "TrangThaiHoSo": "4",
    "DonViXuLy": "Sở Công Thương",
    "TaiLieuNop": [{"MaThanhPhanHoSo": "TP1", "DuocSoHoa": "1", "DuongDanTaiTepTin": "1"}],
    "DanhSachGiayToKetQua": [],
}


def step(code: str, **changes: Any) -> dict[str, Any]:
    """A progress record, with the officer who acted."""
    return {
        "MaHoSo": code,
        "NguoiXuLy": "Cán bộ Hư Cấu",
        "ThoiDiemXuLy": "20261002080000",
        "TrangThai": "4",
        "NgayBatDau": "20261001090000",
        **changes,
    }
