-- Every identifier that source records carry: what records can be matched on (systems 5.3, rules 1 to 3). Never a
-- person, never a date. A record that claims nothing has none. {which} names the relations: the newest version of each
-- record, or every version.
SELECT source, record_key, rule, identifier
FROM (
    WITH claiming_portal AS NOT MATERIALIZED (
        SELECT * FROM {which}_portal
        WHERE coalesce(originDossierId, 0) = 0 AND coalesce(try_cast(originality AS INTEGER), 0) >= 0
    )
    SELECT 'portal' AS source, record_key, 'code' AS rule, dossier_code(dossierNo) AS identifier FROM claiming_portal
    UNION ALL
    SELECT 'portal', record_key, 'national_code', dossier_code(referenceUid) FROM claiming_portal WHERE systemId = 5
    UNION ALL
    SELECT 'portal', record_key, 'reference_uid', 'uid:' || said(referenceUid) FROM claiming_portal
    UNION ALL
    SELECT 'onestop', record_key, 'code', dossier_code(code) FROM {which}_onestop
    UNION ALL
    SELECT 'onestop', record_key, 'national_code', dossier_code(nationCode) FROM {which}_onestop
    UNION ALL
    SELECT 'messages', record_key, 'code', dossier_code(MaHoSo) FROM {which}_messages
    UNION ALL
    SELECT 'messages', record_key, 'national_code', dossier_code(MaHoSoKhac) FROM {which}_messages
    UNION ALL
    SELECT source, record_key, 'code', dossier_code(dossier_code) FROM {which}_profiled
    UNION ALL
    SELECT source, record_key, 'national_code', dossier_code(national_code) FROM {which}_profiled
    UNION ALL
    SELECT source, record_key, 'reference_uid', 'uid:' || said(reference_uid) FROM {which}_profiled
    UNION ALL
    -- A transaction reaches its dossier and is reached by it, but ties nothing together (transactions.sql).
    SELECT source, record_key, 'payment', dossier_code(dossier_code) FROM {which}_payments
)
WHERE identifier IS NOT NULL
