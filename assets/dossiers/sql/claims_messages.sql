-- What the message log claims of a dossier: one row per current DongBoHoSoMC record (systems 3.2).
CREATE OR REPLACE TEMP TABLE claims_messages AS
SELECT
    'messages' AS source,
    record_key,
    extracted_at,
    dossier_code(MaHoSo) AS code,
    dossier_code(MaHoSoKhac) AS other_code,
    CAST(NULL AS VARCHAR) AS reference_uid,
    agency_key(DonViXuLy) AS agency,
    DonViXuLy AS agency_said,
    CAST(NULL AS VARCHAR) AS agency_name,
    procedure_code(MaTTHC) AS procedure_code,
    coalesce(trim(TrangThaiHoSo), '') AS status,
    coalesce(trim(KenhThucHien), '') AS channel,
    CAST(NULL AS VARCHAR) AS service_level,
    extracted_at AS modified_at,
    local_time(NgayNopHoSo, '%Y%m%d%H%M%S', $zone_messages) AS created_at,
    local_time(NgayNopHoSo, '%Y%m%d%H%M%S', $zone_messages) AS submitted_at,
    local_time(NgayTiepNhan, '%Y%m%d%H%M%S', $zone_messages) AS received_at,
    local_time(NgayHenTra, '%Y%m%d%H%M%S', $zone_messages) AS due_at,
    local_time(NgayKetThucXuLy, '%Y%m%d%H%M%S', $zone_messages) AS completed_at,
    local_time(NgayTra, '%Y%m%d%H%M%S', $zone_messages) AS returned_at,
    local_time(NgayTuChoi, '%Y%m%d%H%M%S', $zone_messages) AS denied_at,
    [
        struct_pack(
            component_code := said(t.MaThanhPhanHoSo),
            has_file := coalesce(t.hasFile, false),
            -- A flag that is blank says no; one that a sender leaves out (systems 3.4) says nothing.
            is_digitised := truthy(t.DuocSoHoa),
            reuse_code := flag_code(t.DuocTaiSuDung),
            is_from_personal_store := truthy(t.DuocLayTuKhoDMQG)
        )
        FOR t IN TaiLieuNop IF NOT coalesce(truthy(t.IsDeleted), false)
    ] AS components,
    -- A list that is null says nothing; an empty one says that there is none.
    CASE
        WHEN DanhSachGiayToKetQua IS NOT NULL
            THEN coalesce(list_bool_or([coalesce(r.hasFile, false) FOR r IN DanhSachGiayToKetQua]), false)
    END AS has_result,
    -- A message names fee lines, never a payment: only the flag says how it was paid.
    CAST(NULL AS STRUCT(amount_vnd BIGINT, "method" VARCHAR, is_settled BOOLEAN, paid_at TIMESTAMPTZ)[]) AS payments,
    [coalesce(try_cast(said(f.Gia) AS BIGINT), 0) FOR f IN DanhSachLePhi] AS fees,
    flag_code(DuocThanhToanTrucTuyen) AS paid_online_code,
    truthy(TaiKhoanDuocXacThucVoiVNeID) AS is_vneid_verified,
    [said(c.MaCSDL) FOR c IN DSKetNoiCSDL] AS databases,
    [
        struct_pack(
            requested_at := local_time(s.NgayBoSung, '%Y%m%d%H%M%S', $zone_messages),
            answered_at := local_time(s.NgayTiepNhanBoSung, '%Y%m%d%H%M%S', $zone_messages),
            due_before_at := local_time(s.NgayHenTraTruoc, '%Y%m%d%H%M%S', $zone_messages),
            due_after_at := local_time(s.NgayHenTraMoi, '%Y%m%d%H%M%S', $zone_messages)
        )
        FOR s IN DanhSachHoSoBoSung
    ] AS supplements
FROM current_messages;
