-- The quarantine as it stands after tonight: extraction's own rows, the conform stage's rows of
-- records that were not looked at tonight, and tonight's problems. When a record first stopped is kept.
CREATE OR REPLACE TEMP TABLE versions AS
SELECT 'portal' AS source, record_key, content_hash FROM newest_portal
UNION ALL SELECT 'onestop', record_key, content_hash FROM newest_onestop
UNION ALL SELECT 'messages', record_key, content_hash FROM newest_messages
UNION ALL SELECT 'progress', record_key, content_hash FROM newest_progress
UNION ALL SELECT source, record_key, content_hash FROM newest_profiled
UNION ALL SELECT source, record_key, content_hash FROM newest_payments;

CREATE OR REPLACE TEMP TABLE quarantine_now AS
SELECT {columns} FROM raw_quarantine
WHERE stage <> 'conform' OR NOT EXISTS (
    SELECT 1 FROM (FROM reach UNION ALL SELECT 'progress', record_key FROM latest_progress) AS r
    WHERE r.source = raw_quarantine.source AND r.record_key = raw_quarantine.record_key
)
UNION ALL
SELECT
    'conform', p.source, p.record_key, v.content_hash, p.reason, p.clause, p.detail,
    to_json(struct_pack(code := p.code))::VARCHAR,
    coalesce(
        (
            SELECT min(q.quarantined_at) FROM raw_quarantine AS q
            WHERE q.stage = 'conform' AND q.source = p.source AND q.record_key = p.record_key
                AND q.reason = p.reason AND q.content_hash = v.content_hash
        ),
        CAST($now AS TIMESTAMPTZ)
    ),
    -- These come back by themselves, as soon as the code has a meaning: nothing is read again for them.
    NULL, NULL, NULL, NULL
FROM problems AS p JOIN versions AS v USING (source, record_key);
