"""Free texts of observations: roles, documents and places must pass, persons must not."""

from __future__ import annotations

import pytest

from connectors.person_marks import looks_personal


@pytest.mark.parametrize(
    "text",
    [
        "Chánh Văn phòng UBND tỉnh",
        "Chánh Văn Phòng UBND Tỉnh",
        "CHÁNH VĂN PHÒNG UBND TỈNH ĐẮK LẮK",
        "Chủ tịch UBND phường Trần Phú",
        "Phó Chủ tịch UBND xã Hoàng Văn Thụ",
        "Hiệu trưởng trường Nguyễn Du",
        "Bệnh viện Nguyễn Đình Chiểu",
        "Benh vien Nguyen Dinh Chieu",
        "Ban quản lý Công viên Lê Thị Riêng",
        "Giám đốc Sở Công Thương",
        "Sở Y Tế",
        "Vụ Pháp chế",
        "Bí thư Đoàn Thanh niên",
        "Hệ thống Quản Lý Văn Bản và Điều Hành",
        "UBND tỉnh Bà Rịa - Vũng Tàu",
        "Báo cáo số 123/BC-UBND ngày 05/11/2026",
        "Bao cao 123/BC-UBND ngay 05.11.2026",
        "Quyết định 1234/QĐ-UBND ngày 31-10-2026 của UBND tỉnh",
        "https://vanban.daklak.gov.vn/van-ban/118251104111805359.pdf",
        "bieu-thang-10-20261105.xlsx",
    ],
)
def test_roles_places_and_documents_pass(text: str) -> None:
    assert looks_personal(text) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Giám đốc Nguyễn Văn Tưởng", "tên người"),
        ("GIÁM ĐỐC NGUYỄN VĂN TƯỞNG", "tên người"),
        ("Giam doc Nguyen Van Tuong", "tên người"),
        ("Chánh Văn phòng: Lê Tưởng", "tên người"),
        ("Trưởng phòng Tưởng Thị Hoa", "tên người"),
        ("Phó Giám đốc H'Len Niê Kdăm", "tên người"),
        ("Chuyên viên Y Thanh Niê", "tên người"),
        ("Chuyên viên Nguyễn Văn Tưởng", "tên người"),
        ("Chuyen vien Nguyen Van Tuong", "tên người"),
        ("Hiệu trưởng Nguyễn Thị Lan", "tên người"),
        ("To truong Nguyen Thi Lan", "tên người"),
        ("ông Tưởng, Sở Nội vụ", "tên người"),
        ("đồng chí Hoa", "tên người"),
        ("vanthu@snv.daklak.gov.vn", "địa chỉ thư điện tử"),
        ("1/BC-SNV, điện thoại 0905.123.456", "số điện thoại"),
        ("Văn thư +84 905 123 456", "số điện thoại"),
        ("CCCD 066123456789", "số định danh cá nhân"),
        ("CMND 240123456", "số định danh cá nhân"),
        ("https://user@vb.daklak.gov.vn/1", "địa chỉ thư điện tử"),
    ],
)
def test_persons_are_seen(text: str, found: str) -> None:
    assert looks_personal(text) == found


def test_a_unit_named_like_a_person_passes_when_it_is_known() -> None:
    assert looks_personal("UBND Lê Hồng Phong") == "tên người"
    assert looks_personal("UBND Lê Hồng Phong", names_of_places=["Lê Hồng Phong"]) is None
