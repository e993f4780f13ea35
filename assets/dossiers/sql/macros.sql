-- How the sources write things, said once. Instants come out in UTC; text that does not parse comes
-- out null (the record contract has already kept such records out, see assets/raw).
CREATE OR REPLACE TEMP MACRO said(text) AS nullif(trim(text), '');
CREATE OR REPLACE TEMP MACRO local_time(text, format, zone) AS timezone(zone, try_strptime(said(text), format));
-- iGate: ISO with +0700 and +0000 side by side (systems 4.1), so the offset is read, not assumed.
CREATE OR REPLACE TEMP MACRO offset_time(text) AS try_strptime(said(text), '%Y-%m-%dT%H:%M:%S.%g%z');
CREATE OR REPLACE TEMP MACRO truthy(text) AS lower(trim(text)) IN ('true', '1');
-- A numbered flag: blank is 0, left out is unknown.
CREATE OR REPLACE TEMP MACRO flag_code(text) AS
    CASE WHEN text IS NOT NULL THEN coalesce(try_cast(said(text) AS SMALLINT), CAST(0 AS SMALLINT)) END;
-- Dossier codes: trimmed, upper case, one kind of dash (systems 5.3). Nearly all are plain already, and a night looks at
-- every code of the history for those that are shared: putting those in order takes six times as long.
CREATE OR REPLACE TEMP MACRO dossier_code(text) AS
    CASE WHEN regexp_full_match(text, '[!-~]+') THEN upper(text)
        ELSE said(upper(regexp_replace(regexp_replace(text, '[‐‑‒–—−]', '-', 'g'), '\s+', '', 'g'))) END;
-- 1.001612.000.00.00.H15 is a province's copy of 1.001612 (systems 5.4).
CREATE OR REPLACE TEMP MACRO procedure_code(text) AS
    coalesce(said(regexp_extract(trim(text), '^\d\.\d{6}')), said(text));
-- Names as keys: NFC, one case, single spaces (an agency's name is all that a message carries).
CREATE OR REPLACE TEMP MACRO agency_key(text) AS said(lower(regexp_replace(nfc_normalize(text), '\s+', ' ', 'g')));
-- Whole đồng; nothing said is 0, and so is what no number of đồng can be (a fee of 1e30 must not end a night).
CREATE OR REPLACE TEMP MACRO vnd(amount) AS coalesce(try_cast(round(amount) AS BIGINT), 0);
CREATE OR REPLACE TEMP MACRO vietnam_day(instant) AS CAST(timezone('Asia/Ho_Chi_Minh', instant) AS DATE);
