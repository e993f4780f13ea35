"""`thuocdo check` on a profiled system: what the profile makes of a sample, told without a person."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

from rich.console import Console
from typer.testing import CliRunner

from orchestration.check import Finding, check_configuration
from orchestration.cli import app
from orchestration.settings import Home
from tests.connectors.rest.test_new_system import PERSON, PROFILE, Connected, case, connected, faults

__all__ = ["connected", "faults"]


def checked(connected: Connected, profile: str = PROFILE) -> tuple[dict[str, Finding], str]:
    """The findings by subject, and everything that is printed of the sample."""
    (connected.folder / "moc.yaml").write_text(profile, encoding="utf-8")
    home = Home.from_environment({"THUOCDO_HOME": str(connected.folder / "home")})
    found = {one.subject: one for one in check_configuration(connected.folder / "province.yaml", home)}
    told = io.StringIO()
    console = Console(file=told, width=200)
    for table in found["sources.moc.profile"].tables:
        console.print(table)
    return found, told.getvalue()


def recent(connected: Connected) -> None:
    """The system's dossiers changed within the last month, whenever this runs."""
    now = datetime.now(UTC)
    for number, one in enumerate(connected.moc.cases):
        one["times"]["changed"] = int((now - timedelta(hours=number + 1)).timestamp() * 1000)


def test_a_profile_that_is_right_is_shown_with_its_sample(connected: Connected) -> None:
    recent(connected)
    found, told = checked(connected)
    sample = found["sources.moc.profile"]
    assert (sample.is_fit, "14 bản ghi mẫu" in sample.text) == (True, True), sample.text
    assert "H15-MOC-0001" in told
    assert "case.codes.national" in told
    # Nobody says a national code, and four of fourteen have a result.
    assert "100 %" in told
    line = next(line for line in told.splitlines() if "returned_at" in line)
    assert "71 %" in line, "ten of fourteen were not handed over"
    for word in (PERSON.name, PERSON.identity_number, PERSON.phone, PERSON.slug):
        assert word not in told + sample.text


def test_codes_units_and_procedures_without_a_meaning_are_counted(connected: Connected) -> None:
    recent(connected)
    for one in connected.moc.cases[:5]:
        one["state"] = "paused"
        one["desk"] = {"code": "B-07", "label": "Bàn số bảy"}
    connected.moc.cases[7]["case"]["procedure"] = "9.999999"
    connected.moc.cases[8]["times"]["promised"] = "2026-09-08"
    found, told = checked(connected)
    sample = found["sources.moc.profile"]
    assert not sample.is_fit
    assert "1 mã trạng thái chưa có nghĩa (5 bản ghi)" in sample.text
    assert "1 mã đơn vị chưa có nghĩa (5 bản ghi)" in sample.text
    assert "fields.due_at: 1 ngày không đọc được" in sample.text
    assert {word for word in ("paused", "B-07", "9.999999") if word in told} == {"paused", "B-07", "9.999999"}


def test_a_path_that_leads_nowhere_is_named_with_its_key(connected: Connected) -> None:
    recent(connected)
    found, _ = checked(connected, PROFILE.replace("case.procedure", "case.procedur"))
    assert not found["sources.moc.profile"].is_fit
    assert "fields.procedure_code: không bản ghi nào trong 14 bản ghi mẫu có gì ở case.procedur" in (
        found["sources.moc.profile"].text
    )


def test_a_field_that_is_mapped_to_a_person_shows_none(connected: Connected) -> None:
    recent(connected)
    wrong = PROFILE.replace("dossier_code: case.codes.public", "dossier_code: case.owner.name").replace(
        "status: state", "status: case.owner.cccd"
    )
    wrong = wrong.replace("agency: desk.code", "agency: case.owner.name").replace(
        "due_at: times.promised", "due_at: case.owner.phone"
    )
    found, told = checked(connected, wrong)
    for word in (PERSON.name, PERSON.identity_number):
        assert word not in told + found["sources.moc.profile"].text


def test_the_command_prints_it_and_ends_with_an_error_while_something_is_wrong(connected: Connected) -> None:
    recent(connected)
    connected.moc.cases[0] = case(1, state="la")
    recent(connected)
    result = CliRunner().invoke(
        app,
        ["check", str(connected.folder / "province.yaml")],
        env={"THUOCDO_HOME": str(connected.folder / "home"), "COLUMNS": "200"},
    )
    assert result.exit_code == 1
    assert "sources.moc.profile" in result.output
    assert "chưa có nghĩa" in result.output
