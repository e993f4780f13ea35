-- Tonight's rows in the shape of the core tables (fresh_*), and the dossiers that they or the rows they replace are of.
CREATE OR REPLACE TEMP TABLE touched_dossier AS
SELECT dossier_key FROM membership
UNION
SELECT dossier_key FROM reached_dossier;

CREATE OR REPLACE TEMP TABLE month_of AS SELECT dossier_key, lake_month FROM new_dossier;

CREATE OR REPLACE TEMP TABLE fresh_core_dossier AS SELECT * FROM new_dossier;
CREATE OR REPLACE TEMP TABLE fresh_core_crosswalk AS SELECT * FROM membership JOIN month_of USING (dossier_key);
CREATE OR REPLACE TEMP TABLE fresh_core_component AS SELECT * FROM new_component JOIN month_of USING (dossier_key);
CREATE OR REPLACE TEMP TABLE fresh_core_step AS SELECT * FROM new_step JOIN month_of USING (dossier_key);
CREATE OR REPLACE TEMP TABLE fresh_core_supplement AS SELECT * FROM new_supplement JOIN month_of USING (dossier_key);
CREATE OR REPLACE TEMP TABLE fresh_core_payment AS
SELECT p.*, d.lake_month, d.unit_code, d.unit_level, d.procedure_code, d.channel, d.has_fee,
    vietnam_day(p.paid_at) AS paid_on
FROM new_payment AS p JOIN new_dossier AS d USING (dossier_key);

CREATE OR REPLACE TEMP TABLE fresh_core_claim AS
SELECT c.*, c.channel_value AS channel, c.service_level_value AS service_level,
    CASE
        WHEN c.paid_online_code IS NOT NULL THEN c.paid_online_code IN (1, 2)
        WHEN len(c.payments) > 0 THEN coalesce(list_bool_or([
            p.is_settled AND p.amount_vnd > 0 AND list_contains(m.codes, p.method) FOR p IN c.payments
        ]), false)
    END AS is_paid_online,
    s.dossier_key, s.lake_month
FROM (SELECT * EXCLUDE (channel, service_level) FROM claims) AS c
JOIN membership USING (source, record_key)
JOIN month_of AS s USING (dossier_key)
LEFT JOIN (
    SELECT source, list(code) AS codes FROM code_map WHERE kind = 'payment_method' AND value = 'online' GROUP BY source
) AS m ON m.source = c.source;
