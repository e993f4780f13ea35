"""Who handles dossiers in the sandbox's province, and for which procedures.

Belongs here: the units of Đắk Lắk before and after 2025-07-01 with the invented name that each
source has for them, who took over from whom, the procedures each level carries out, and the rows of
provinces/dak-lak/*.csv that follow from it. Does not belong here: dossiers.

Units, procedures and the crosswalk are official facts (warehouse/reference). The local agency codes
are inventions: real ones were never seen, only their shapes.
"""

from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "warehouse" / "reference"
PROVINCE_FOLDER = ROOT / "provinces" / "dak-lak"

PROVINCE, GSO_PROVINCE = "H15", "66"
LEVELS = ("province", "district", "commune")
DEPARTMENT_SITE, NEW_COMMUNE_SITE, FIRST_DISTRICT_SITE = 10101, 10301, 10201

#: abbreviation, name, words in a procedure's sector that make it this department's.
DEPARTMENTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "STP",
        "Sở Tư pháp",
        (
            "hộ tịch",
            "chứng thực",
            "công chứng",
            "luật sư",
            "thừa phát lại",
            "nuôi con nuôi",
            "hòa giải",
            "trợ giúp",
            "giám định tư pháp",
            "trọng tài",
            "quản tài",
            "lý lịch",
            "quốc tịch",
            "tư vấn pháp luật",
            "đấu giá",
        ),
    ),
    ("BQLKCN", "Ban Quản lý các khu công nghiệp", ("khu công nghiệp", "khu kinh tế")),
    (
        "SNNMT",
        "Sở Nông nghiệp và Môi trường",
        (
            "đất đai",
            "địa chất",
            "tài nguyên",
            "môi trường",
            "thủy sản",
            "thú y",
            "lâm nghiệp",
            "thủy lợi",
            "trồng trọt",
            "nông",
            "chăn nuôi",
            "bảo vệ thực vật",
            "khí tượng",
            "đo đạc",
            "phòng, chống thiên tai",
            "đê điều",
        ),
    ),
    (
        "SXD",
        "Sở Xây dựng",
        ("nhà ở", "xây dựng", "đường bộ", "quy hoạch", "hạ tầng", "vận tải", "đường sắt", "kinh doanh bất động sản"),
    ),
    (
        "SNV",
        "Sở Nội vụ",
        (
            "người có công",
            "lao động",
            "việc làm",
            "chính quyền",
            "công chức",
            "văn thư",
            "thi đua",
            "tiền lương",
            "tổ chức phi chính phủ",
            "an toàn, vệ sinh lao động",
            "chính sách",
        ),
    ),
    ("SGDDT", "Sở Giáo dục và Đào tạo", ("giáo dục", "đào tạo", "nghề nghiệp", "quy chế thi", "văn bằng")),
    (
        "SYT",
        "Sở Y tế",
        ("y tế", "dược", "khám", "an toàn thực phẩm", "dân số", "trẻ em", "bảo trợ xã hội", "mỹ phẩm", "phòng bệnh"),
    ),
    (
        "SVHTTDL",
        "Sở Văn hóa, Thể thao và Du lịch",
        (
            "văn hóa",
            "du lịch",
            "thể dục",
            "thể thao",
            "nghệ thuật",
            "di sản",
            "báo chí",
            "xuất bản",
            "gia đình",
            "quảng cáo",
            "điện ảnh",
            "phát thanh",
        ),
    ),
    (
        "SKHCN",
        "Sở Khoa học và Công nghệ",
        ("công nghệ", "khoa học", "sở hữu trí tuệ", "tiêu chuẩn", "bưu chính", "viễn thông", "tần số", "nguyên tử"),
    ),
    ("SDTTG", "Sở Dân tộc và Tôn giáo", ("tôn giáo", "tín ngưỡng", "dân tộc")),
    (
        "STC",
        "Sở Tài chính",
        ("doanh nghiệp", "đầu tư", "đấu thầu", "tài chính", "hợp tác xã", "công sản", "quản lý giá"),
    ),
    (
        "SCT",
        "Sở Công Thương",
        (
            "công thương",
            "hóa chất",
            "điện",
            "thương mại",
            "xúc tiến",
            "lưu thông",
            "dầu khí",
            "xuất nhập khẩu",
            "vật liệu nổ",
            "cạnh tranh",
            "công nghiệp",
        ),
    ),
)
#: Sectors of agencies that do not belong to the province's government (tax, customs, police, banks …).
_CENTRAL = (
    "thuế",
    "hải quan",
    "ngân hàng",
    "ngoại hối",
    "bhxh",
    "bảo hiểm",
    "xuất nhập cảnh",
    "vũ khí",
    "kho bạc",
    "cư trú",
    "căn cước",
    "giao thông cơ giới",
    "hàng hải",
    "thi hành án",
    "cháy",
    "đăng kiểm",
    "quân sự",
    "chứng khoán",
    "an ninh",
    "con dấu",
    "hàng không",
    "quốc phòng",
    "nghĩa vụ",
    "định danh",
)
#: How many procedures of each level are in use.
_CATALOGUE_SIZE = {"province": 155, "commune": 110}


@dataclass(frozen=True)
class Unit:
    """One unit in one span of time, with the name each source has for it."""

    code: str
    name: str
    level: str
    #: groupId of the portal's site that serves it.
    site: int
    portal: str
    onestop: str
    messages: str


@dataclass(frozen=True)
class Territory:
    """Units, succession on 2025-07-01 and the catalogue of procedures by level.

    `units` holds departments, then districts, old communes and new communes; `department`, `district`,
    `old_commune` and `new_commune` are their index ranges. `successor` gives for each unit the index of
    the unit that took over, itself while in force, -1 for a district (a department by sector).
    """

    units: tuple[Unit, ...]
    department: range
    district: range
    old_commune: range
    new_commune: range
    successor: np.ndarray
    procedures: pd.DataFrame
    #: For each level, row numbers of `procedures`, most frequent first.
    catalogue: dict[str, np.ndarray]


def _squeezed(name: str) -> str:
    return " ".join(name.split())


def _read(name: str) -> pd.DataFrame:
    return pd.read_csv(REFERENCE / name, dtype=str, keep_default_na=False)


def _departments() -> list[Unit]:
    return [
        Unit(
            code=f"{PROVINCE}.{abbreviation}",
            name=name,
            level="province",
            site=DEPARTMENT_SITE,
            portal=f"000.00.{number:02d}.{PROVINCE}",
            onestop=f"{PROVINCE}.10.{number:02d}",
            messages=f"{name} tỉnh Đắk Lắk",
        )
        for number, (abbreviation, name, _) in enumerate(DEPARTMENTS, start=1)
    ]


def _districts(old: pd.DataFrame) -> list[Unit]:
    names = old.drop_duplicates("district_code")[["district_code", "district"]].itertuples(index=False)
    return [
        Unit(
            code=f"{PROVINCE}.{code}",
            name=_squeezed(name),
            level="district",
            site=FIRST_DISTRICT_SITE + number,
            portal=f"000.00.{21 + number:02d}.{PROVINCE}",
            onestop=f"{PROVINCE}.50.{1 + number:02d}",
            messages=f"UBND {_squeezed(name)}",
        )
        for number, (code, name) in enumerate(names)
    ]


def _old_communes(old: pd.DataFrame, districts: Sequence[Unit]) -> list[Unit]:
    units = []
    numbers = old.groupby("district_code", sort=False).cumcount() + 1
    by_code = {unit.code: unit for unit in districts}
    for (_, row), number in zip(old.iterrows(), numbers, strict=True):
        district = by_code[f"{PROVINCE}.{row.district_code}"]
        name = _squeezed(row.commune)
        units.append(
            Unit(
                code=f"{district.code}.{row.commune_code}",
                name=name,
                level="commune",
                site=district.site,
                portal=f"000.{number:02d}.{district.portal[7:9]}.{PROVINCE}",
                onestop=f"{district.onestop}.{number:02d}",
                messages=f"UBND {name} - {district.name}",
            )
        )
    return units


def _new_communes(new: pd.DataFrame) -> list[Unit]:
    return [
        Unit(
            code=f"{PROVINCE}.{code}",
            name=_squeezed(name),
            level="commune",
            site=NEW_COMMUNE_SITE,
            portal=f"{PROVINCE}.{100 + number}",
            onestop=f"{PROVINCE}.60.{number:03d}",
            messages=f"UBND {_squeezed(name)}",
        )
        for number, (code, name) in enumerate(new[["commune_code", "commune"]].itertuples(index=False), start=1)
    ]


def _successors(units: Sequence[Unit], district: range) -> np.ndarray:
    crosswalk = _read("communes_crosswalk_2025-07-01.csv")
    crosswalk = crosswalk[crosswalk.old_province_code == GSO_PROVINCE].drop_duplicates("old_code")
    new_of = dict(zip(crosswalk.old_code, crosswalk.new_code, strict=True))
    index = {unit.code: number for number, unit in enumerate(units)}
    successor = np.arange(len(units))
    successor[district.start : district.stop] = -1
    for number, unit in enumerate(units):
        if unit.code.count(".") == 2:
            successor[number] = index[f"{PROVINCE}.{new_of[unit.code.rsplit('.', 1)[1]]}"]
    return successor


def department_of_sector(sector: str) -> int:
    """Index of the department whose words the sector holds, -1 when none does or the state's own agencies do it."""
    lowered = sector.lower()
    if any(word in lowered for word in _CENTRAL):
        return -1
    for number, (_, _, words) in enumerate(DEPARTMENTS):
        if any(word in lowered for word in words):
            return number
    return -1


def _procedures() -> pd.DataFrame:
    table = _read("procedures.csv")
    table = table.assign(
        department=[department_of_sector(sector) for sector in table.sector],
        has_fee=table.mentions_fee_amount == "True",
        is_result_required=table.result.str.strip() != "",
        offers_online=table.offers_online == "True",
        offers_post=table.offers_post == "True",
        limit=pd.to_numeric(table.limit_value),
    )
    return table[table.department >= 0].reset_index(drop=True)


def _shared_out(procedures: pd.DataFrame) -> pd.DataFrame:
    """Online ones first (the busiest are), then one of each department in turn, in an order that never changes."""
    shuffled = procedures.assign(place=[zlib.crc32(code.encode()) for code in procedures.procedure_code])
    shuffled = shuffled.sort_values("place")
    turn = shuffled.groupby(["offers_online", "has_fee", "department"]).cumcount()
    return shuffled.assign(turn=turn).sort_values(["offers_online", "turn", "place"], ascending=[False, True, True])


def _ranked(procedures: pd.DataFrame, word: str, size: int) -> np.ndarray:
    """Procedures of a level, most frequent first: every third bears a fee, so that payment can be measured."""
    fits = procedures[procedures.levels.str.contains(word)]
    # Procedures without a result document are rare; all are kept, early in the order, because the rules name them.
    no_result = fits[~fits.is_result_required].index
    rest = _shared_out(fits[fits.is_result_required])
    fee, free = iter(rest[rest.has_fee].index), iter(rest[~rest.has_fee].index)
    order: list[int] = []
    for rank in range(size - len(no_result)):
        preferred, other = (fee, free) if rank % 3 == 1 else (free, fee)
        following = next(preferred, None)
        order.append(following if following is not None else next(other))
    for place, row in enumerate(no_result):
        order.insert(4 + 7 * place, row)
    return np.array(order)


def _catalogue(procedures: pd.DataFrame) -> dict[str, np.ndarray]:
    province = _ranked(procedures, "Cấp tỉnh", _CATALOGUE_SIZE["province"])
    commune = _ranked(procedures, "Cấp xã", _CATALOGUE_SIZE["commune"])
    # No procedure says "Cấp huyện" any more; what districts did went to communes and departments.
    mixed = [row for pair in zip(commune[:50], province[20:70], strict=True) for row in pair]
    return {"province": province, "district": np.array(list(dict.fromkeys(mixed))), "commune": commune}


@cache
def territory() -> Territory:
    """The sandbox's Đắk Lắk, from the reference files."""
    old = _read("communes_until_2025-06-30.csv")
    new = _read("communes_from_2025-07-01.csv")
    old, new = old[old.province_code == GSO_PROVINCE], new[new.province_code == GSO_PROVINCE]
    departments, districts = _departments(), _districts(old)
    groups = (departments, districts, _old_communes(old, districts), _new_communes(new))
    units = tuple(unit for group in groups for unit in group)
    stops = np.cumsum([len(group) for group in groups])
    ranges = [range(int(stop) - len(group), int(stop)) for stop, group in zip(stops, groups, strict=True)]
    procedures = _procedures()
    return Territory(
        units=units,
        department=ranges[0],
        district=ranges[1],
        old_commune=ranges[2],
        new_commune=ranges[3],
        successor=_successors(units, ranges[1]),
        procedures=procedures,
        catalogue=_catalogue(procedures),
    )


def csv_text(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """CSV text with Unix line ends."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def departments_csv() -> str:
    """Content of departments.csv; the departments are in force throughout."""
    rows = [(unit.code, unit.name, "2021-01-01", "") for unit in _departments()]
    return csv_text(("code", "name", "valid_from", "valid_to"), rows)


def agencies_csv() -> str:
    """Content of agencies.csv: what each source calls each unit."""
    units = territory().units
    rows = [
        (source, getattr(unit, source), unit.code) for source in ("portal", "onestop", "messages") for unit in units
    ]
    return csv_text(("source", "agency", "unit_code"), rows)
