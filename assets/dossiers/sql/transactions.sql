-- Transactions of payment platforms find their dossiers (decision 29). A transaction never makes a dossier and never
-- joins two: it waits in quarantine until some source shows the dossier whose code it names.
CREATE OR REPLACE TEMP TABLE payable AS
SELECT DISTINCT e.identifier AS code, m.dossier_key FROM edge AS e JOIN membership AS m USING (source, record_key);

INSERT INTO problems
SELECT 'payments', record_key, reason, clause, code, detail
FROM (
    SELECT record_key, 'unmapped_payment_method' AS reason, 'payment_method' AS clause, method AS code,
        'Mã hình thức thanh toán "' || method || '" của nguồn payments chưa có nghĩa: '
            || 'thêm một dòng (kind = payment_method) vào bảng mã của tỉnh' AS detail
    FROM claims_payments AS c
    WHERE is_settled AND amount_vnd > 0 AND NOT EXISTS (
        SELECT 1 FROM code_map AS m WHERE m.source = 'payments' AND m.kind = 'payment_method' AND m.code = c.method
    )
    UNION ALL
    SELECT record_key, 'unmapped_payment_state', 'payment_state', state,
        'Mã tình trạng thanh toán "' || state || '" của nguồn payments chưa có nghĩa: '
            || 'thêm vào codes.payment_state của hồ sơ nguồn'
    FROM claims_payments AS c
    WHERE NOT EXISTS (
        SELECT 1 FROM code_map AS m WHERE m.source = 'payments' AND m.kind = 'payment_state' AND m.code = c.state
    )
    UNION ALL
    SELECT record_key, 'payment_before_dossier', 'dossier_code', code,
        'Giao dịch của hồ sơ ' || coalesce(code, '(trống)') || ' đến trước hồ sơ; sẽ tự ghép khi có hồ sơ'
    FROM claims_payments ANTI JOIN payable USING (code)
);

INSERT INTO membership
SELECT 'payments', c.record_key, p.dossier_key, 'code', c.code
FROM claims_payments AS c JOIN payable AS p USING (code)
WHERE c.record_key NOT IN (SELECT record_key FROM problems WHERE source = 'payments');

-- A transaction that two systems tell (a service and its reconciliation file) counts once, in its newest words.
CREATE OR REPLACE TEMP TABLE platform_payment AS
SELECT m.dossier_key, c.reference, c.amount_vnd, v.value AS method, c.is_settled, c.paid_at
FROM claims_payments AS c
JOIN membership AS m ON m.source = 'payments' AND m.record_key = c.record_key
LEFT JOIN code_map AS v ON v.source = 'payments' AND v.kind = 'payment_method' AND v.code = c.method
QUALIFY row_number() OVER (
    PARTITION BY m.dossier_key, c.reference ORDER BY c.modified_at DESC, c.record_key DESC
) = 1;
