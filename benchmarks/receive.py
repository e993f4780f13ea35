"""Receiving messages, against the same server that only reads the body and answers.

Belongs here: the two servers, each a process of its own, and one sender that both get, in a third. thuocdo: the
receiver as it runs, every call parsed, freed of persons and on disk before its answer. bare: Starlette and uvicorn
with the same settings, body read, a fixed answer of the same length. The sender writes prepared requests on plain
sockets, many under way at a time, so that it costs little beside what it measures.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.processes import stopwatch

MODULE = "benchmarks.receive"
#: Path of both servers' one address that is measured.
PATH = "/VXPAdapter/RestService/forward/integration"
DSTCODE, USER, PASSWORD = "VN:BENCH", "bench", "bench"
VARIABLE = "THUOCDO_BENCH_PASSWORD"


def thuocdo(folder: Path, at: socket.socket) -> None:
    """Serve the receiver over an empty folder."""
    os.environ[VARIABLE] = PASSWORD
    from connectors.receiver_settings import ReceiverAccount, ReceiverSettings  # noqa: PLC0415  each peer its own imports
    from orchestration.receive import made_receiver, open_journal, serve  # noqa: PLC0415

    account = ReceiverAccount(password_env=VARIABLE, dstcode=DSTCODE, madonvi=("H15",))
    settings = ReceiverSettings(folder=folder, accounts={USER: account}, max_connections=1024)
    serve(settings, made_receiver(settings), open_journal(settings), at)


def bare(at: socket.socket) -> None:
    """Serve an application that reads the body and answers."""
    import uvicorn  # noqa: PLC0415
    from starlette.applications import Starlette  # noqa: PLC0415
    from starlette.requests import Request  # noqa: PLC0415
    from starlette.responses import Response  # noqa: PLC0415
    from starlette.routing import Route  # noqa: PLC0415

    async def answer(request: Request) -> Response:
        await request.body()
        return Response(b'{"error_code":0,"session":"","message":"' + b"x" * 90 + b'"}', media_type="application/json")

    routes = [Route(path, answer, methods=["POST"]) for path in (PATH, PATH.replace("integration", "auth"))]
    config = uvicorn.Config(Starlette(routes=routes), access_log=False, log_config=None, server_header=False)
    uvicorn.Server(config).run(sockets=[at])


def _record(number: int) -> dict[str, object]:
    """An invented dossier of some 1.7 KB, as large as the sandbox's."""
    return {
        "MaHoSo": f"000.00.01.H15-{number % 1_000_000:06d}-{number}",
        "MaTTHC": "1.001612",
        "TenTTHC": "Đăng ký thành lập hộ kinh doanh",
        "ChuHoSo": "Người Hư Cấu",
        "TrichYeuHoSo": "x" * 200,
        "KenhThucHien": "2",
        **dict.fromkeys(("NgayNopHoSo", "NgayTiepNhan", "NgayHenTra"), "20261001080000"),
        "TrangThaiHoSo": "4",
        "DonViXuLy": "Sở Công Thương",
        "TaiLieuNop": [
            {
                "TepDinhKemId": str(place),
                "TenTepDinhKem": "giay-to-hu-cau.pdf",
                "MaThanhPhanHoSo": f"TP{place}",
                "DuongDanTaiTepTin": "/tep/giay-to-hu-cau.pdf",
                "DuocSoHoa": "1",
                "DuocTaiSuDung": "0",
            }
            for place in range(5)
        ],
        "DanhSachLePhi": [{"TenPhiLePhi": "Lệ phí", "MaPhiLePhi": "PLP01", "HinhThucThu": "1", "Gia": "100000"}],
    }


def _request(path: str, body: object) -> bytes:
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\ndstcode: {DSTCODE}\r\nContent-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(content) + content


def send(port: int, calls: int, records: int, width: int) -> None:
    """Send `calls` calls of `records` records each, `width` at a time; every answer must be error_code 0."""

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> dict[str, object]:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        answer: dict[str, object] = json.loads(await reader.readexactly(length))
        assert answer["error_code"] == 0, answer
        return answer

    async def run() -> None:
        login = _request(PATH.replace("integration", "auth"), {"username": USER, "password": PASSWORD})
        session = (await one(*await asyncio.open_connection("127.0.0.1", port), login))["session"]
        said = {"session": session, "madonvi": "H15", "service": "DongBoHoSoMC", "isUpdating": "False"}
        requests = [
            _request(PATH, said | {"data": [_record(number * records + place) for place in range(records)]})
            for number in range(calls)
        ]
        # Opened last: a server closes connections on which nothing happens.
        connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(width)]
        waiting = iter(requests)

        async def sender(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for request in waiting:
                await one(reader, writer, request)

        with stopwatch() as facts:
            await asyncio.gather(*(sender(*connection) for connection in connections))
            facts["calls"], facts["records"] = calls, calls * records
            facts["bytes"] = sum(map(len, requests))

    asyncio.run(run())


@contextmanager
def serving(peer: str, work: Path) -> Iterator[tuple[int, int]]:
    """Run a peer's server in a process of its own over a new folder; port and process id, once it listens."""
    with tempfile.TemporaryDirectory(dir=work) as folder, socket.create_server(("127.0.0.1", 0), backlog=1024) as at:
        number = str(at.fileno())
        arguments = [sys.executable, "-W", "ignore", "-m", MODULE, "serve", peer, folder, number]
        log = Path(folder) / "log.txt"
        with log.open("wb") as file:
            process = subprocess.Popen(arguments, pass_fds=[at.fileno()], stdout=file, stderr=file)
        port = int(at.getsockname()[1])
        try:
            _wait(port, process)
            yield port, process.pid
        finally:
            process.terminate()
            process.wait(60)


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until the server answers: it is the parent's socket, which accepts connections from the first."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
        connection.settimeout(0.2)
        for _ in range(300):
            try:
                if connection.recv(100):
                    return
            except TimeoutError:
                assert process.poll() is None, "the server ended"
    raise TimeoutError("the server does not answer")


def _cpu_seconds(process_id: int) -> float:
    """Processor time of a process so far, its own and the system's on its behalf."""
    fields = Path(f"/proc/{process_id}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(calls: int, records: int, width: int, work: Path, *, rounds: int = 3) -> dict[str, dict[str, float]]:
    """Calls per second, and server's processor time per call (µs), of both peers: turn about, the best of `rounds`."""
    best: dict[str, dict[str, float]] = {}
    sizes = [str(number) for number in (calls, records, width)]
    for _ in range(rounds):
        for peer in ("thuocdo", "bare"):
            with serving(peer, work) as (port, process_id):
                began = _cpu_seconds(process_id)
                arguments = [sys.executable, "-W", "ignore", "-m", MODULE, "send", str(port)]
                done = subprocess.run([*arguments, *sizes], check=True, stdout=subprocess.PIPE, text=True)
                used = (_cpu_seconds(process_id) - began) / calls * 1e6
            seconds = json.loads(done.stdout.rsplit("\n", 1)[-1])["seconds"]
            before = best.get(peer, {"calls_per_second": 0.0, "cpu_us_per_call": used})
            best[peer] = {
                "calls_per_second": max(before["calls_per_second"], calls / seconds),
                "cpu_us_per_call": min(before["cpu_us_per_call"], used),
            }
    return best


def main(arguments: list[str]) -> None:
    """`serve PEER FOLDER FD`, `send PORT CALLS RECORDS WIDTH`, `measure CALLS RECORDS WIDTH WORK`."""
    match arguments:
        case ["serve", "thuocdo", folder, number]:
            thuocdo(Path(folder) / "messages", socket.socket(fileno=int(number)))
        case ["serve", "bare", _, number]:
            bare(socket.socket(fileno=int(number)))
        case ["send", port, calls, records, width]:
            send(int(port), int(calls), int(records), int(width))
        case ["measure", calls, records, width, work]:
            sys.stdout.write(json.dumps(measure(int(calls), int(records), int(width), Path(work))) + "\n")
        case _:
            raise SystemExit(f"usage: {MODULE} {main.__doc__}")


if __name__ == "__main__":
    main(sys.argv[1:])
