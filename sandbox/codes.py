"""The codes each source of the sandbox uses, and what they mean: provinces/dak-lak/codes.csv.

Belongs here: the vocabulary that the renderers write and the mapping file explains. Does not belong
here: who uses which code when.

OpenCPS statuses follow the mapping seen in public code (sources 5.5); the one-stop's numbers are in
use, but no public list names them: their meanings here are the sandbox's.
"""

from __future__ import annotations

from sandbox.territory import csv_text

#: OpenCPS status, national status, note.
PORTAL_STATUSES = (
    ("", 1, "Bản nháp, chưa gửi"),
    ("receiving", 1, "Chờ tiếp nhận"),
    ("new", 2, "Đã tiếp nhận, chưa xử lý (bảng ánh xạ của cổng: new = 2, receiving = 1)"),
    ("collecting", 2, "Đang thu gom hồ sơ giấy sau khi tiếp nhận"),
    ("denied", 3, "Từ chối tiếp nhận"),
    ("processing", 4, "Đang xử lý"),
    ("interoperating", 4, "Đang xin ý kiến cơ quan khác; bảng ánh xạ gốc để trống"),
    ("pausing", 5, "Tạm dừng, chờ người nộp"),
    ("waiting", 5, "Chờ bổ sung"),
    ("correcting", 5, "Người nộp đang sửa hồ sơ"),
    ("paying", 6, "Chờ thực hiện nghĩa vụ tài chính"),
    ("cancelling", 7, "Người nộp đề nghị rút, đang làm thủ tục rút"),
    ("cancelled", 7, "Đã rút"),
    ("unresolved", 8, "Không giải quyết được, dừng xử lý"),
    ("releasing", 9, "Có kết quả, chờ trả"),
    ("posting", 9, "Kết quả đang gửi bưu chính; bảng ánh xạ gốc để trống"),
    ("handover", 9, "Đang bàn giao kết quả cho bộ phận trả"),
    ("done", 10, "Đã trả kết quả"),
)
#: iGate dossierStatus.id, name, national status.
ONESTOP_STATUSES = (
    (0, "Mới đăng ký", 1),
    (2, "Đang xử lý", 4),
    (3, "Yêu cầu bổ sung giấy tờ", 5),
    (4, "Đã xử lý xong", 9),
    (5, "Đã trả kết quả", 10),
    (8, "Được tiếp nhận", 2),
    (9, "Không được tiếp nhận", 3),
    (10, "Yêu cầu thực hiện nghĩa vụ tài chính", 6),
    (11, "Công dân yêu cầu rút hồ sơ", 7),
    (16, "Dừng xử lý", 8),
    (17, "Đang lấy ý kiến phối hợp", 4),
    (18, "Đang trình ký", 4),
)
MESSAGE_STATUSES = (
    "Mới đăng ký",
    "Được tiếp nhận",
    "Không được tiếp nhận",
    "Đang xử lý",
    "Yêu cầu bổ sung giấy tờ",
    "Yêu cầu thực hiện nghĩa vụ tài chính",
    "Công dân yêu cầu rút hồ sơ",
    "Dừng xử lý",
    "Đã xử lý xong",
    "Đã trả kết quả",
)
#: Free texts of the way a fee was paid, by method.
PORTAL_METHODS = {
    "online": ("ViettelPay", "KeyPayDVCQG", "PAYGOV", "Thanh toán trực tuyến"),
    "cash": ("Tiền mặt", "Thu trực tiếp"),
    "transfer": ("Chuyển khoản", "Chuyển khoản ngân hàng"),
}
ONESTOP_METHODS = {
    "online": ("Thanh toán trực tuyến", "VNPT Pay", "Cổng thanh toán DVCQG"),
    "cash": ("Tiền mặt", "Thanh toán trực tiếp"),
    "transfer": ("Chuyển khoản",),
}
#: iGate applyMethod.id and name, in the order of `population.CHANNELS`.
ONESTOP_CHANNELS = ((0, "Trực tiếp", "direct"), (1, "Trực tuyến", "online"), (2, "Bưu chính công ích", "post"))
MESSAGE_CHANNELS = (
    ("1", "direct", "Trực tiếp"),
    ("2", "online", "Trực tuyến"),
    ("3", "post", "Bưu chính công ích"),
    ("", "direct", "Để trống được tính là trực tiếp (công thức 3.3)"),
)
#: Databases that a message may say were asked; of all others nothing is known.
MESSAGE_DATABASES = (
    ("1", "population", "CSDL quốc gia về dân cư (mã thấy ở nơi gửi khác)"),
    ("7", "population", "CSDL quốc gia về dân cư (hằng số của một hệ thống gửi)"),
)
PORTAL_CHANNELS = (
    ("online", "online", 'online = "true"'),
    ("post", "post", 'online = "false" và fromViaPostal > 0'),
    ("direct", "direct", 'online = "false" và fromViaPostal = 0'),
)
#: Old levels, by `population.SERVICE_LEVELS`.
PORTAL_SERVICE_LEVELS = (("4", "full", "Mức độ 4"), ("3", "partial", "Mức độ 3"), ("2", "information", "Mức độ 2"))
ONESTOP_SERVICE_LEVELS = (
    ("Toàn trình", "full", ""),
    ("Một phần", "partial", ""),
    ("Cung cấp thông tin trực tuyến", "information", ""),
)


def codes_csv() -> str:
    """Content of codes.csv: what each source's codes mean."""
    rows: list[tuple[str, str, str, str, str]] = []
    rows += [("portal", "status", code, str(value), note) for code, value, note in PORTAL_STATUSES]
    rows += [("onestop", "status", str(code), str(value), name) for code, name, value in ONESTOP_STATUSES]
    rows += [("messages", "status", str(code), str(code), name) for code, name in enumerate(MESSAGE_STATUSES, 1)]
    rows += [("progress", "status", str(code), str(code), name) for code, name in enumerate(MESSAGE_STATUSES, 1)]
    rows += [("portal", "channel", *row) for row in PORTAL_CHANNELS]
    rows += [("onestop", "channel", str(code), value, name) for code, name, value in ONESTOP_CHANNELS]
    rows += [("messages", "channel", *row) for row in MESSAGE_CHANNELS]
    rows += [("messages", "database", *row) for row in MESSAGE_DATABASES]
    for source, methods in (("portal", PORTAL_METHODS), ("onestop", ONESTOP_METHODS)):
        rows += [(source, "payment_method", text, value, "") for value, texts in methods.items() for text in texts]
    rows += [("portal", "service_level", *row) for row in PORTAL_SERVICE_LEVELS]
    rows += [("onestop", "service_level", *row) for row in ONESTOP_SERVICE_LEVELS]
    return csv_text(("source", "kind", "code", "value", "note"), rows)
