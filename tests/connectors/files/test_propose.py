"""`thuocdo propose`: an operator corrects a proposal and the files are connected; nobody is read or named in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from connectors.files_profile import FilesProfile
from connectors.files_propose import date_formats, propose
from orchestration.cli import app
from tests.connectors.files.drops import COLUMNS, Drops, csv_text, row, workbook
from tests.connectors.files.test_formats import parquet, windows_1258
from tests.dossiers.platform import COLUMNS as PAYMENT_COLUMNS
from tests.dossiers.platform import Platform
from tests.dossiers.records import onestop
from warehouse.tables import CORE_DOSSIER

NAMES = (*COLUMNS, "Họ và tên", "Số CCCD", "SĐT", "E-mail", "Địa chỉ thường trú", "Số tờ")
PERSON = ("Nguyễn Văn Canary", "001099000001", "0912345678", "canary@example.vn", "12 Lê Lợi", "3")
FILE = csv_text(
    [(*row(1), *PERSON), (*row(2, c3="Đã trả kết quả", c4="Trực tiếp"), *PERSON), (*row(3), *PERSON)], NAMES
)
MEANINGS = {"Đang xử lý": "4", "Đã trả kết quả": "10", "Trực tuyến": "online", "Trực tiếp": "direct"}


def written(tmp_path: Path, name: str, content: str | bytes) -> Path:
    file = tmp_path / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def filled(text: str) -> str:
    """What an operator does: every code gets its meaning."""
    for code, value in MEANINGS.items():
        text = text.replace(f"    {json.dumps(code, ensure_ascii=False)}:", f'    "{code}": "{value}"')
    return text


def test_a_proposal_with_its_codes_filled_in_connects_the_system(tmp_path: Path) -> None:
    text = propose(written(tmp_path, "export.csv", FILE))
    drops = Drops(tmp_path / "home")
    drops.say(yaml.safe_load(filled(text)))
    drops.put("export.csv", FILE)
    count = drops.night()
    assert (count.rows_stored, count.rows_quarantined) == (3, 0)
    drops.home.conform("n1")
    core = {each["dossier_code"]: each for each in drops.home.rows(CORE_DOSSIER)}
    second = core[row(2)[0]]
    assert (second["status_code"], second["channel"], second["unit_code"]) == (10, "direct", "H15.STC")
    assert second["due_at"].isoformat() == "2026-10-29T17:00:00+00:00", "30 October in Vietnam"


def test_columns_of_persons_are_listed_and_not_read(tmp_path: Path) -> None:
    text = propose(written(tmp_path, "HS Nguyễn Văn Canary.csv", FILE))
    profile = FilesProfile.model_validate(yaml.safe_load(filled(text)))
    assert not {name for _, names, _ in profile.columns() for name in names} & set(NAMES[8:])
    left_out = text[text.index("Không lấy") :]
    assert all(f'"{name}"' in left_out for name in NAMES[8:13])
    assert '"Số tờ"' in left_out[left_out.index("Chưa biết") :]
    for secret in ("Canary", *PERSON[1:5]):
        assert secret not in text


def test_a_column_of_people_under_a_harmless_heading_is_left_out(tmp_path: Path) -> None:
    rows = [row(number, c2="Nguyễn Văn Canary", c3=f"Trần Thị Canary {number}") for number in range(30)]
    text = propose(written(tmp_path, "a.csv", csv_text(rows)))
    assert "Canary" not in text
    assert "agency" not in yaml.safe_load(text)["fields"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.xlsx", workbook([["BÁO CÁO"], [], NAMES, *([*row(number), *PERSON] for number in (1, 2, 3))])),
        (
            "a.json",
            json.dumps([dict(zip(NAMES, (*row(number), *PERSON), strict=True)) for number in (1, 2, 3)]).encode(),
        ),
        ("a.parquet", parquet([dict(zip(NAMES, (*row(number), *PERSON), strict=True)) for number in (1, 2, 3)])),
        ("a.csv", windows_1258(FILE)),
    ],
    ids=["workbook", "json", "parquet", "windows-1258"],
)
def test_every_format_is_proposed_alike(name: str, content: bytes, tmp_path: Path) -> None:
    said = yaml.safe_load(propose(written(tmp_path, name, content)))
    assert said["fields"] == {
        "dossier_code": "Mã hồ sơ", "procedure_code": "Mã TTHC", "agency": "Đơn vị", "status": "Trạng thái",
        "channel": "Hình thức nộp", "submitted_at": "Ngày nộp", "received_at": "Ngày tiếp nhận",
        "due_at": "Ngày hẹn trả",
    }  # fmt: skip
    assert said["dates"] == ["%d/%m/%Y %H:%M", "%d/%m/%Y"]
    assert said["patterns"] == {"procedure_code": r"\d\.\d{6}"}
    assert said.get("encoding") == ("windows-1258" if name == "a.csv" else None)


# ---- payments


def as_platform(code: str, *, state: str = "Đã thanh toán", result: str = "00", number: int = 1) -> tuple[str, ...]:
    """A transaction in the order of the platform's own columns."""
    return (f"TC{number}", f"GD{number}", code, "50000", "20261002091500", result, state)


CODE = "H15.07-261001-0001"
STATES = {"Đã thanh toán/00": "settled", "Đã thanh toán/99": "open", "Chờ thanh toán": "open", "": "online"}


def test_a_proposal_for_a_payment_platform_connects_it(tmp_path: Path) -> None:
    """What the platform calls paid under a code of failure is another state than paid."""
    rows = [as_platform(CODE), as_platform(CODE, result="99", number=2)]
    rows.append(as_platform(CODE, state="Chờ thanh toán", result="", number=3))
    content = csv_text(rows, PAYMENT_COLUMNS)
    text = propose(written(tmp_path, "doi-soat.csv", content))
    said = yaml.safe_load(text)
    assert said["subject"] == "payment"
    assert said["fields"] == {"record_id": "MaThamChieu", "dossier_code": "MaHoSo"}
    assert '"MaGiaoDich"' in text[text.index("Chưa biết") :]
    for code, meaning in STATES.items():
        text = text.replace(f"    {json.dumps(code, ensure_ascii=False)}:", f'    "{code}": "{meaning}"')
    (tmp_path / "ho-so.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "home").mkdir()
    world = Platform(tmp_path / "home", profile=str(tmp_path / "ho-so.yaml"))
    (world.inbox / "doi-soat.csv").write_text(content, encoding="utf-8")
    world.night(onestop=[onestop("o1", code=CODE)])
    assert [(row["amount_vnd"], row["is_settled"], row["is_online"]) for row in world.payments(CODE)] == [
        (50_000, True, True),
        (50_000, False, False),
        (50_000, False, False),
    ]
    assert world.quarantine() == []


@pytest.mark.parametrize(
    ("names", "subject", "state"),
    [
        (("Mã tham chiếu", "Mã hồ sơ", "Số tiền", "Trạng thái", "Thời gian giao dịch"), "payment", "Trạng thái"),
        (("Mã giao dịch", "Mã hồ sơ", "Số tiền", "Mã lỗi"), "payment", "Mã lỗi"),
        (("Mã giao dịch", "Mã hồ sơ", "Mã TTHC", "Đơn vị", "Số tiền", "Trạng thái giao dịch"), "payment", None),
        # A dossier with what was paid for it; it has a promise.
        (("Mã giao dịch", "Mã hồ sơ", "Số tiền", "Trạng thái", "Ngày hẹn trả"), "dossier", None),
        (("Mã hồ sơ", "Số tiền", "Trạng thái"), "dossier", None),
    ],
)
def test_headings_tell_payments_from_dossiers(
    names: tuple[str, ...], subject: str, state: str | None, tmp_path: Path
) -> None:
    said = yaml.safe_load(propose(written(tmp_path, "a.csv", csv_text([["1"] * len(names)], names))))
    assert said.get("subject", "dossier") == subject
    if state:
        assert said["lists"]["payments"]["fields"]["state"] == state


def test_the_role_that_is_asked_for_counts_and_what_it_lacks_is_told(tmp_path: Path) -> None:
    dossiers, target = written(tmp_path, "a.csv", FILE), tmp_path / "p.yaml"
    assert CliRunner().invoke(app, ["propose", str(dossiers), str(target), "--role", "payments"]).exit_code == 0
    text = target.read_text(encoding="utf-8")
    assert yaml.safe_load(text)["subject"] == "payment"
    lacking = [line.split(":")[0].strip("# ") for line in text.splitlines() if "CHƯA THẤY cột" in line]
    assert lacking == ["record_id", "payments.amount_vnd"]
    payments = written(tmp_path, "b.csv", csv_text([as_platform(CODE)], PAYMENT_COLUMNS))
    said = CliRunner().invoke(app, ["propose", str(payments), "--role", "onestop"]).output
    assert "subject" not in yaml.safe_load(said)
    assert CliRunner().invoke(app, ["propose", str(payments), "--role", "messages"]).exit_code == 2


def test_who_paid_is_not_read_and_amounts_and_instants_are_nobody(tmp_path: Path) -> None:
    names = (
        "Mã tham chiếu",
        "Mã hồ sơ",
        "Số tiền",
        "Thời gian giao dịch",
        "Người nộp tiền",
        "Số điện thoại",
        "Trạng thái",
    )
    row = ("TC1", CODE, "123456789", "202610020915", "Nguyễn Văn Canary", "0912345678", "Trần Thị Canary")
    text = propose(written(tmp_path, "a.csv", csv_text([row] * 30, names)))
    assert "Canary" not in text
    assert "0912345678" not in text
    assert yaml.safe_load(text)["lists"]["payments"]["fields"] == {
        "amount_vnd": "Số tiền",
        "paid_at": "Thời gian giao dịch",
    }


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        (["31/10/2026", "01/11/2026"], ["%d/%m/%Y"]),
        (["01/02/2026", "03/04/2026"], ["%d/%m/%Y"]),
        (["10/31/2026", "10/30/2026"], ["%m/%d/%Y"]),
        (["2026-10-31T07:30:00+07:00"], ["%Y-%m-%dT%H:%M:%S%z"]),
        (["20261031073000"], ["%Y%m%d%H%M%S"]),
        (["46326", "46326.3125"], ["excel"]),
        (["1793404800000"], ["epoch_ms"]),
    ],
)
def test_formats_are_told_from_the_values(texts: list[str], wanted: list[str]) -> None:
    assert date_formats(texts) == (wanted, 0)


def test_number_cells_in_codes_and_months_in_names_are_pointed_out(tmp_path: Path) -> None:
    text = propose(written(tmp_path, "hs_2026-10.xlsx", workbook([COLUMNS, (123, *row(1)[1:])])))
    assert "1 ô là số" in text
    assert r'replaces: {name: "(20\\d\\d\\-\\d{2})"}' in text


def test_the_command_writes_the_file_once(tmp_path: Path) -> None:
    file, target = written(tmp_path, "a.csv", FILE), tmp_path / "p.yaml"
    assert CliRunner().invoke(app, ["propose", str(file), str(target)]).exit_code == 0
    assert yaml.safe_load(target.read_text(encoding="utf-8"))["fields"]["dossier_code"] == "Mã hồ sơ"
    again = CliRunner().invoke(app, ["propose", str(file), str(target)])
    assert (again.exit_code, "không ghi đè" in again.output) == (1, True)
    wrong = CliRunner().invoke(app, ["propose", str(written(tmp_path, "a.pdf", "x"))])
    assert (wrong.exit_code, "không đọc được loại tệp" in wrong.output) == (1, True)
