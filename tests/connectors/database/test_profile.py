"""A profile of a database that cannot be meant is refused before any connection, by key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from connectors.database import probe, sample
from connectors.profiled import SCHEMA, ProfileError
from tests.connectors.database.conftest import Server, settings_of
from tests.connectors.database.small import PROFILE, at, dossier, put, small, source


def _with(**changes: Any) -> dict[str, Any]:
    return {**PROFILE, **changes}


@pytest.mark.parametrize(
    ("profile", "told"),
    [
        (_with(fields={"applicant_name": "Owner"}), r"fields\.applicant_name: not a field of the record contract"),
        (_with(fields={"status": {"any_of": ["Papers"]}}), r"fields\.status: only has_file and has_result"),
        (_with(fields={"status": "unit.Name"}), r"'unit\.Name' names no lookup"),
        (
            _with(lists={"people": {"table": "t", "parent": "p", "key": "k", "fields": {}}}),
            r"lists\.people: not a list",
        ),
        (
            _with(lists={"fees": {"table": "t", "parent": "p", "key": "k", "fields": {"payer": "x"}}}),
            r"lists\.fees\.fields\.payer: not one of amount_vnd",
        ),
        (_with(where=[{"column": "a"}]), "say either `in` or `not_in`"),
        (_with(zones={"Changed": "Asia/Hanoi"}), "'Asia/Hanoi' is not a time zone"),
        (_with(sql="SELECT 1"), "sql: Extra inputs"),
    ],
)
def test_what_cannot_be_meant_is_named(tmp_path: Path, profile: dict[str, Any], told: str) -> None:
    from connectors.database import DatabaseSettings  # noqa: PLC0415

    file = tmp_path / "p.yaml"
    file.write_text(yaml.safe_dump(profile), encoding="utf-8")
    settings = DatabaseSettings.model_validate(
        {"kind": "database", "role": "portal", "profile": str(file), "url_env": "X"}
    )
    with pytest.raises(ProfileError, match=told) as caught:
        settings.loaded()
    assert "p.yaml" in str(caught.value)


def test_a_probe_names_the_tables_and_the_servers_clock(server: Server, tmp_path: Path) -> None:
    said = probe(small(server, tmp_path))
    assert f"{server.schema}.dossier" in said
    assert f"{server.schema}.payment" in said
    assert "giờ máy chủ" in said


def test_a_sample_is_mapped_records(server: Server, tmp_path: Path) -> None:
    settings = small(server, tmp_path)
    put(server, *(dossier(number, at(90)) for number in range(30)))
    found = sample(settings, 5)
    assert found.schema == SCHEMA
    assert found["dossier_code"].to_pylist() == [f"H15-{number:04d}" for number in range(5)]


def test_names_are_found_whatever_their_case(postgresql: Server, tmp_path: Path) -> None:
    """PostgreSQL folds names to lower case where they were created without quotes, Oracle to upper case."""
    small(postgresql, tmp_path)
    put(postgresql, dossier(1, at(90)))
    text = yaml.safe_dump(PROFILE).replace("Papers", "PAPERS").replace("Changed", "changed")
    settings = source(postgresql, tmp_path, profile=yaml.safe_load(text) | {"table": "DOSSIER"})
    assert sample(settings, 5).num_rows == 1


def test_a_view_can_stand_for_a_table(postgresql: Server, tmp_path: Path) -> None:
    """An agency that gives a view keeps the persons' columns to itself."""
    small(postgresql, tmp_path)
    put(postgresql, dossier(1, at(90)))
    columns = ", ".join(f'"{name}"' for name in ("Id", "Code", "Status", "Received", "Changed", "Removed", "Papers"))
    with postgresql.engine.begin() as connection:
        connection.exec_driver_sql(
            f"CREATE VIEW {postgresql.schema}.v_dossier AS SELECT {columns} FROM {postgresql.schema}.dossier"
        )
    settings = source(postgresql, tmp_path, profile=_with(table="v_dossier"))
    assert sample(settings, 5)["dossier_code"].to_pylist() == ["H15-0001"]


def test_shipped_profiles_load(postgresql: Server) -> None:
    for name in ("td-database", "opencps-database"):
        assert settings_of(postgresql, name).loaded().system in ("TD", "OpenCPS")
