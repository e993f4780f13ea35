-- Tonight's rows in the shape of the core tables (fresh_*), and what the core held of the same
-- dossiers until now (held_*).
CREATE OR REPLACE TEMP TABLE touched_dossier AS
SELECT dossier_key FROM membership
UNION
SELECT dossier_key FROM core_crosswalk SEMI JOIN reach USING (source, record_key);

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

CREATE OR REPLACE TEMP VIEW held_core_dossier AS SELECT * FROM core_dossier SEMI JOIN touched_dossier USING (dossier_key);
CREATE OR REPLACE TEMP VIEW held_core_crosswalk AS SELECT * FROM core_crosswalk SEMI JOIN touched_dossier USING (dossier_key);
CREATE OR REPLACE TEMP VIEW held_core_component AS SELECT * FROM core_component SEMI JOIN touched_dossier USING (dossier_key);
CREATE OR REPLACE TEMP VIEW held_core_payment AS SELECT * FROM core_payment SEMI JOIN touched_dossier USING (dossier_key);
CREATE OR REPLACE TEMP VIEW held_core_step AS SELECT * FROM core_step SEMI JOIN touched_dossier USING (dossier_key);
CREATE OR REPLACE TEMP VIEW held_core_supplement AS
SELECT * FROM core_supplement SEMI JOIN touched_dossier USING (dossier_key);
