"""What `thuocdo check` finds out before a night relies on it: each file and each endpoint, by the key at fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestration.check import Finding, check_configuration
from orchestration.settings import Home
from sandbox.server import RunningSandbox


def _findings(
    served: RunningSandbox, folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any
) -> dict[str, Finding]:
    """The findings by subject, of the served province with some keys changed."""
    for name, value in served.environment.items():
        monkeypatch.setenv(name, value)
    content = yaml.safe_load(served.province_file.read_text(encoding="utf-8")) | changes
    file = folder / "tinh.yaml"
    file.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    home = Home.from_environment({"THUOCDO_HOME": str(served.home)})
    return {finding.subject: finding for finding in check_configuration(file, home)}


def test_all_that_a_province_names_is_looked_at(
    served: RunningSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = _findings(served, tmp_path, monkeypatch)
    assert [finding for finding in found.values() if not finding.is_fit] == []
    assert "07:30-11:30, 13:00-17:00" in found["calendar"].text
    assert "0 tệp" in found["observations"].text
    assert {"sectors", "definitions", "targets", "score sets", "catalogue.0", "catalogue.1"} <= set(found)
    assert "mã thủ tục" in found["catalogue.0"].text
    # 12 departments, 102 communes and two agencies that are no units of ours.
    assert found["units.0"].text == "116 mã đơn vị của nguồn onestop"


def test_departments_without_a_sector_are_named(
    served: RunningSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bảng chỉ giao lĩnh vực cho Sở Tư pháp: mọi sở khác được nêu tên; một mã đơn vị sai bị bắt lỗi."""
    table = tmp_path / "linh-vuc.csv"
    table.write_text("sector,unit_code\nHộ tịch,H15.STP\n", encoding="utf-8")
    finding = _findings(served, tmp_path, monkeypatch, sectors=str(table), catalogue=[])["sectors"]
    assert finding.is_fit
    assert finding.text.startswith("1 lĩnh vực")
    assert "H15.SXD" in finding.text
    assert "H15.STP" not in finding.text
    table.write_text("sector,unit_code\nHộ tịch,H15.KHONG\n", encoding="utf-8")
    wrong = _findings(served, tmp_path, monkeypatch, sectors=str(table), catalogue=[])["sectors"]
    assert not wrong.is_fit
    assert "H15.KHONG" in wrong.text


def test_each_fault_names_its_key(served: RunningSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = yaml.safe_load(served.province_file.read_text(encoding="utf-8"))
    service = content["catalogue"][0]
    found = _findings(
        served,
        tmp_path,
        monkeypatch,
        observations=str(tmp_path / "khong-co"),
        office_hours=["17:00-07:30"],
        catalogue=[
            service | {"password_env": "THUOCDO_ONESTOP_CLIENT_SECRET"},
            service | {"username_env": "THUOCDO_KHONG_DAT"},
            {"kind": "catalogue-file", "path": str(tmp_path / "danh-muc.csv")},
        ],
        observation_sources={"hai-long": {"url": "http://127.0.0.1:9/so-lieu"}},
    )
    wrong = {subject: finding.text for subject, finding in found.items() if not finding.is_fit}
    assert set(wrong) == {
        "observations",
        "calendar",
        "catalogue.0",
        "catalogue.1",
        "catalogue.2",
        "observation_sources.hai-long",
    }
    assert str(tmp_path / "khong-co") in wrong["observations"]
    assert wrong["calendar"].startswith("calendar, office_hours")
    assert wrong["catalogue.0"].startswith("catalogue.0.username_env, password_env: ")
    assert wrong["catalogue.1"].startswith("catalogue.1.username_env: environment variable THUOCDO_KHONG_DAT")
    assert wrong["catalogue.2"].startswith("catalogue.2.path: ")
    assert wrong["observation_sources.hai-long"].startswith("observation_sources.hai-long.url: ")
    assert served.environment["THUOCDO_ONESTOP_CLIENT_SECRET"] not in "".join(wrong.values())
