"""Configuration errors name the file and the key: an integrator reads them without reading the code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from connectors.catalogue_files import CatalogueFileSettings
from connectors.settings import MessageLogSettings
from connectors.units import UnitFileSettings
from orchestration.settings import ConfigurationError, Home, load_province, province_path

GOOD = Path(__file__).parents[2] / "provinces" / "dak-lak.yaml"


def _province(folder: Path, **changes: Any) -> Path:
    content = yaml.safe_load(GOOD.read_text(encoding="utf-8"))
    for name in ("departments", "agencies", "codes", "calendar", "sectors"):
        content[name] = str(GOOD.parent / content[name])
    for key, value in changes.items():
        place = content
        *path, last = key.split("__")
        for step in path:
            place = place[step]
        place[last] = value
    file = folder / "tinh.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"province_code": "66"}, "province_code"),
        ({"start_on": "hôm qua"}, "start_on"),
        ({"nguon": 1}, "nguon"),
        ({"sources": {}}, "sources"),
        ({"sources__portal__base_url": "cong.daklak.gov.vn"}, "sources.portal.opencps.base_url"),
        ({"sources__portal__password_env": "bí mật"}, "sources.portal.opencps.password_env"),
        ({"sources__onestop__kind": "egate"}, "sources.onestop"),
        ({"departments": "so-nganh.csv"}, "departments"),
        ({"sectors": "linh-vuc.csv"}, "sectors"),
        ({"calendar": "lich.csv"}, "calendar"),
        ({"reception_cut_off": "chiều"}, "reception_cut_off"),
        ({"office_hours": []}, "office_hours"),
        ({"catalogue": [{"kind": "npsp-log", "folder": "x"}]}, "catalogue.0"),
        ({"catalogue": [{"kind": "catalogue-file", "path": "x", "sheets": 1}]}, "catalogue.0.catalogue-file.sheets"),
        ({"units": [{"kind": "units-file", "source": "cong", "path": "x"}]}, "units"),
        ({"units": [{"kind": "units-file", "source": "portal", "path": "x"}] * 2}, "units"),
        (
            {"units": [{"kind": "units-file", "source": "portal", "path": "x", "dossiers_say": "id"}]},
            "units.0.units-file.dossiers_say",
        ),
        ({"units_every_days": 0}, "units_every_days"),
        ({"observation_sources": {"hai-long": {"url": "khao-sat"}}}, "observation_sources.hai-long.url"),
        ({"evaluation": {}}, "evaluation.root_department_id"),
    ],
)
def test_a_wrong_key_is_named_with_its_file(tmp_path: Path, changes: dict[str, Any], key: str) -> None:
    file = _province(tmp_path, **changes)
    with pytest.raises(ConfigurationError) as caught:
        load_province(file)
    assert str(caught.value).startswith(f"{file}: {key}")


def test_every_wrong_key_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_province(_province(tmp_path, province_code="66", minimum_denominator=-1))
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("text", ["province_code: [", "- H15"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "tinh.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=str(file)):
        load_province(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"khong-co\.yaml: no such file"):
        load_province(tmp_path / "khong-co.yaml")


def test_a_relative_message_folder_lies_below_the_home(tmp_path: Path) -> None:
    home = Home.from_environment({"THUOCDO_HOME": str(tmp_path)})
    messages = load_province(GOOD, home=home).sources["messages"]
    assert isinstance(messages, MessageLogSettings)
    assert messages.folder == tmp_path / "sandbox" / "messages"


def test_what_comes_in_from_outside_lies_below_the_home_or_where_it_is_said(tmp_path: Path) -> None:
    home = Home.from_environment({"THUOCDO_HOME": str(tmp_path)})
    relative = load_province(GOOD, home=home)
    assert relative.observations == tmp_path / "observations"
    (file,) = [each for each in relative.catalogue if isinstance(each, CatalogueFileSettings)]
    assert file.path == tmp_path / "sandbox" / "catalogue.csv"
    given = {
        "observations": "/srv/so-lieu",
        "catalogue": [{"kind": "catalogue-file", "path": "/srv/danh-muc.xlsx"}],
        "units": [
            {"kind": "units-file", "source": "portal", "path": "danh-ba.xlsx"},
            {"kind": "units-file", "source": "onestop", "path": "/srv/danh-ba.csv"},
        ],
    }
    absolute = load_province(_province(tmp_path, **given), home=home)
    assert absolute.observations == Path("/srv/so-lieu")
    (file,) = [each for each in absolute.catalogue if isinstance(each, CatalogueFileSettings)]
    assert file.path == Path("/srv/danh-muc.xlsx")
    files = [each.path for each in absolute.units if isinstance(each, UnitFileSettings)]
    assert files == [tmp_path / "danh-ba.xlsx", Path("/srv/danh-ba.csv")]


def test_what_is_not_configured_is_not_read(tmp_path: Path) -> None:
    content = yaml.safe_load(_province(tmp_path).read_text(encoding="utf-8"))
    for name in ("calendar", "office_hours", "sectors", "observations", "catalogue", "units"):
        del content[name]
    (tmp_path / "it.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    least = load_province(tmp_path / "it.yaml", home=Home.from_environment({"THUOCDO_HOME": str(tmp_path)}))
    assert (least.calendar, least.sectors, least.observations, least.evaluation) == (None, None, None, None)
    assert (least.catalogue, least.units, dict(least.observation_sources)) == ((), (), {})


def test_an_absolute_message_folder_stays(tmp_path: Path) -> None:
    home = Home.from_environment({"THUOCDO_HOME": str(tmp_path)})
    messages = load_province(_province(tmp_path, sources__messages__folder="/srv/log"), home=home).sources["messages"]
    assert isinstance(messages, MessageLogSettings)
    assert messages.folder == Path("/srv/log")


def test_the_two_halves_of_a_home_can_be_moved(tmp_path: Path) -> None:
    moved = {
        "THUOCDO_HOME": str(tmp_path),
        "THUOCDO_DATABASE_URL": "postgresql+psycopg://db/thuocdo",
        "THUOCDO_STORAGE_URL": f"file://{tmp_path}/kho",
    }
    home = Home.from_environment(moved)
    assert home.database_url == "postgresql+psycopg://db/thuocdo"
    assert home.lake == str(tmp_path / "kho" / "lake")
    assert home.published == tmp_path / "kho" / "published"
    assert home.dagster == tmp_path / "dagster"


def test_a_storage_that_cannot_be_used_is_refused_by_name() -> None:
    for url in ("gs://kho/thuocdo", "https://kho.example/thuocdo", "s3:///thuocdo"):
        with pytest.raises(ConfigurationError, match=f"THUOCDO_STORAGE_URL: {url}"):
            Home.from_environment({"THUOCDO_STORAGE_URL": url})


def test_a_bucket_holds_the_lake_and_the_home_the_rest(tmp_path: Path) -> None:
    home = Home.from_environment({"THUOCDO_HOME": str(tmp_path), "THUOCDO_STORAGE_URL": "s3://kho/dak-lak/"})
    assert home.lake == "s3://kho/dak-lak/lake"
    assert home.remote == "s3://kho/dak-lak"
    assert home.published == tmp_path / "published"


def test_the_province_file_is_the_one_the_environment_names() -> None:
    assert province_path({"THUOCDO_PROVINCE": "tinh/gia-lai.yaml"}) == Path("tinh/gia-lai.yaml")
    assert province_path({}) == Path("provinces/dak-lak.yaml")
