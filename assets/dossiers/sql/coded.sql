-- Give every code its meaning, or say which code has none. A code without a meaning is never guessed:
-- its record waits in quarantine under the code's own name until the province's tables know it.
CREATE OR REPLACE TEMP TABLE claims AS
SELECT
    c.*,
    u.unit_code,
    CAST(s.value AS SMALLINT) AS status_code,
    ch.value AS channel_value,
    sl.value AS service_level_value,
    -- A database that the table does not name is another one than the population's, not a code without meaning.
    CASE WHEN c.databases IS NOT NULL THEN list_has_any(c.databases, population.codes) END AS is_population_data_used,
    p.procedure_code IS NOT NULL AS is_known_procedure
FROM (
    SELECT * FROM claims_portal
    UNION ALL BY NAME SELECT * FROM claims_onestop
    UNION ALL BY NAME SELECT * FROM claims_messages
    UNION ALL BY NAME SELECT * FROM claims_profiled
) AS c
CROSS JOIN (
    SELECT coalesce(list(code), []) AS codes FROM code_map
    WHERE kind = 'database' AND value = 'population'
) AS population
LEFT JOIN agency_map AS u ON u.source = c.source AND u.agency = c.agency
LEFT JOIN code_map AS s ON s.source = c.source AND s.kind = 'status' AND s.code = c.status
LEFT JOIN code_map AS ch ON ch.source = c.source AND ch.kind = 'channel' AND ch.code = c.channel
LEFT JOIN code_map AS sl ON sl.source = c.source AND sl.kind = 'service_level' AND sl.code = c.service_level
LEFT JOIN (SELECT DISTINCT procedure_code FROM core_procedure) AS p ON p.procedure_code = c.procedure_code;

CREATE OR REPLACE TEMP TABLE problems AS
SELECT source, record_key, reason, clause, code,
    'Mã ' || what || ' ' || coalesce('"' || code || '"', '(trống)') || ' của nguồn ' || source || ' chưa có nghĩa: '
        || remedy AS detail
FROM (
    SELECT source, record_key, 'unmapped_status' AS reason, 'status' AS clause, status AS code, 'trạng thái' AS what,
        'thêm một dòng (kind = status) vào bảng mã của tỉnh' AS remedy
    FROM claims WHERE status_code IS NULL
    UNION ALL
    SELECT source, record_key, 'unmapped_agency', 'agency', agency_said, 'đơn vị',
        'thêm một dòng vào bảng đơn vị (agencies) của tỉnh'
            || coalesce('; hồ sơ ghi tên "' || agency_name || '"', '')
    FROM claims WHERE unit_code IS NULL
    UNION ALL
    SELECT source, record_key, 'unmapped_channel', 'channel', channel, 'kênh thực hiện',
        'thêm một dòng (kind = channel) vào bảng mã của tỉnh'
    FROM claims WHERE channel_value IS NULL
    UNION ALL
    SELECT source, record_key, 'unmapped_service_level', 'service_level', service_level, 'mức độ dịch vụ',
        'thêm một dòng (kind = service_level) vào bảng mã của tỉnh'
    FROM claims WHERE service_level IS NOT NULL AND service_level_value IS NULL
    UNION ALL
    SELECT DISTINCT c.source, c.record_key, 'unmapped_payment_method', 'payment_method', c.p.method,
        'hình thức thanh toán', 'thêm một dòng (kind = payment_method) vào bảng mã của tỉnh'
    FROM (SELECT source, record_key, unnest(payments) AS p FROM claims) AS c
    -- A waived fee is confirmed as paid with nothing to pay and no method (systems 1.5): nothing to explain.
    WHERE c.p.is_settled AND c.p.amount_vnd > 0 AND NOT EXISTS (
        SELECT 1 FROM code_map AS m WHERE m.source = c.source AND m.kind = 'payment_method' AND m.code = c.p.method
    )
    UNION ALL
    SELECT DISTINCT n.source, n.record_key, 'unmapped_payment_state', 'payment_state', n.system || ':' || n.state,
        'tình trạng thanh toán', 'thêm vào codes.payment_state của hồ sơ nguồn'
    FROM (SELECT source, system, record_key, unnest(payments).state AS state FROM current_profiled) AS n
    WHERE said(n.state) IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM code_map AS m WHERE m.source = n.source AND m.kind = 'payment_state'
            AND m.code = n.system || ':' || trim(n.state)
    )
    UNION ALL
    SELECT source, record_key, 'unknown_procedure', 'procedure_code', procedure_code, 'thủ tục',
        'thủ tục không có trong danh mục; cập nhật danh mục thủ tục'
    FROM claims WHERE NOT is_known_procedure
);

-- A step that arrives before its dossier waits; it joins as soon as the dossier is known.
INSERT INTO problems
SELECT 'progress', record_key, 'progress_before_dossier', 'MaHoSo', dossier_code(MaHoSo),
    'Tiến độ của hồ sơ ' || coalesce(dossier_code(MaHoSo), '(trống)') || ' đến trước hồ sơ; sẽ tự ghép khi có hồ sơ'
FROM newest_progress
WHERE dossier_code(MaHoSo) IS NULL
    OR dossier_code(MaHoSo) NOT IN (SELECT identifier FROM identifiers WHERE rule IN ('code', 'national_code'));

INSERT INTO problems
SELECT 'progress', n.record_key, 'unmapped_status', 'TrangThai', trim(n.TrangThai),
    'Mã trạng thái "' || coalesce(trim(n.TrangThai), '') || '" của tiến độ chưa có nghĩa: '
        || 'thêm một dòng (kind = status) vào bảng mã của tỉnh'
FROM newest_progress AS n
WHERE NOT EXISTS (
    SELECT 1 FROM code_map AS s
    WHERE s.source = 'messages' AND s.kind = 'status' AND s.code = coalesce(trim(n.TrangThai), '')
) AND n.record_key NOT IN (SELECT record_key FROM problems WHERE source = 'progress');

DELETE FROM claims
WHERE EXISTS (SELECT 1 FROM problems AS p WHERE p.source = claims.source AND p.record_key = claims.record_key);
