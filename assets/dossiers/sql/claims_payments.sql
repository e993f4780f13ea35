-- What a payment platform connected by a profile claims: one row per current transaction, never a dossier. Its
-- codes carry the system's name before them. The record contract has seen to it that the amount is whole đồng.
INSERT INTO claims_payments BY NAME
SELECT
    record_key,
    said(record_id) AS reference,
    dossier_code(dossier_code) AS code,
    coalesce({instant(modified_at)}, extracted_at) AS modified_at,
    CAST(CAST(trim(payments[1].amount_vnd) AS DOUBLE) AS BIGINT) AS amount_vnd,
    '{system}:' || coalesce(trim(payments[1].method), '') AS method,
    '{system}:' || coalesce(trim(payments[1].state), '') AS state,
    -- Refunded and cancelled leave every numerator; the newest version of the transaction says so.
    list_contains({settled}, coalesce(trim(payments[1].state), '')) AS is_settled,
    {instant(payments[1].paid_at)} AS paid_at
FROM current_payments WHERE system = '{system}';
