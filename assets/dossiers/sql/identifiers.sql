-- Every identifier that every current source record carries: what records can be matched on
-- (systems 5.3, rules 1 to 3). Never a person, never a date. A record that claims nothing has none.
CREATE OR REPLACE TEMP TABLE identifiers AS
SELECT DISTINCT source, record_key, rule, identifier
FROM (
    WITH claiming_portal AS (
        SELECT * FROM newest_portal
        WHERE coalesce(originDossierId, 0) = 0 AND coalesce(try_cast(originality AS INTEGER), 0) >= 0
    )
    SELECT 'portal' AS source, record_key, 'code' AS rule, dossier_code(dossierNo) AS identifier FROM claiming_portal
    UNION ALL
    SELECT 'portal', record_key, 'national_code', dossier_code(referenceUid) FROM claiming_portal WHERE systemId = 5
    UNION ALL
    SELECT 'portal', record_key, 'reference_uid', 'uid:' || said(referenceUid) FROM claiming_portal
    UNION ALL
    SELECT 'onestop', record_key, 'code', dossier_code(code) FROM newest_onestop
    UNION ALL
    SELECT 'onestop', record_key, 'national_code', dossier_code(nationCode) FROM newest_onestop
    UNION ALL
    SELECT 'messages', record_key, 'code', dossier_code(MaHoSo) FROM newest_messages
    UNION ALL
    SELECT 'messages', record_key, 'national_code', dossier_code(MaHoSoKhac) FROM newest_messages
    UNION ALL
    SELECT source, record_key, 'code', dossier_code(dossier_code) FROM newest_profiled
    UNION ALL
    SELECT source, record_key, 'national_code', dossier_code(national_code) FROM newest_profiled
    UNION ALL
    SELECT source, record_key, 'reference_uid', 'uid:' || said(reference_uid) FROM newest_profiled
    UNION ALL
    -- A transaction reaches its dossier and is reached by it, but ties nothing together (transactions.sql).
    SELECT source, record_key, 'payment', dossier_code(dossier_code) FROM newest_payments
)
WHERE identifier IS NOT NULL;
