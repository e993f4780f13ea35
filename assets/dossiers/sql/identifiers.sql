-- Every identifier that every current source record carries: what records can be matched on
-- (systems 5.3, rules 1 to 3). Never a person, never a date.
CREATE OR REPLACE TEMP TABLE identifiers AS
SELECT DISTINCT source, record_key, rule, identifier
FROM (
    SELECT 'portal' AS source, record_key, 'code' AS rule, dossier_code(dossierNo) AS identifier FROM newest_portal
    UNION ALL
    SELECT 'portal', record_key, 'national_code', dossier_code(referenceUid) FROM newest_portal WHERE systemId = 5
    UNION ALL
    SELECT 'portal', record_key, 'reference_uid', 'uid:' || said(referenceUid) FROM newest_portal
    UNION ALL
    SELECT 'onestop', record_key, 'code', dossier_code(code) FROM newest_onestop
    UNION ALL
    SELECT 'onestop', record_key, 'national_code', dossier_code(nationCode) FROM newest_onestop
    UNION ALL
    SELECT 'messages', record_key, 'code', dossier_code(MaHoSo) FROM newest_messages
    UNION ALL
    SELECT 'messages', record_key, 'national_code', dossier_code(MaHoSoKhac) FROM newest_messages
)
WHERE identifier IS NOT NULL;
