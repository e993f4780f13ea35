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
