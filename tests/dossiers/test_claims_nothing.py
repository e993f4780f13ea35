"""Records of the portal that are no dossiers of their own: copies and what was deleted claim nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dossiers.records import World, onestop, portal

CODE = "H15.99-261001-0001"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_copies_and_deleted_dossiers_are_no_dossiers_and_lend_nobody_their_code(world: World) -> None:
    world.night(
        portal=[
            portal(1, dossierNo=CODE),
            portal(2, dossierNo="H15.99-261001-0002", originality="2", originDossierId=1),
            portal(3, dossierNo="H15.99-261001-0003", originality="-1"),
        ],
        onestop=[onestop("a", code="H15.99-261001-0003")],
    )
    assert {key: row["in_portal"] for key, row in world.dossiers().items()} == {CODE: True, "H15.99-261001-0003": False}


def test_a_dossier_that_is_deleted_leaves_and_one_that_is_restored_comes_back(world: World) -> None:
    world.night(portal=[portal(1, dossierNo=CODE)])
    world.night(portal=[portal(1, dossierNo=CODE, originality="-1")])
    assert world.dossiers() == {}
    world.night(portal=[portal(1, dossierNo=CODE)])
    assert list(world.dossiers()) == [CODE]
