-- What the sources disagree about, dossier by dossier. Pieces in braces are written by reconciliation.py:
-- constants with their reasons, and one SELECT per compared fact.
CREATE OR REPLACE TEMP MACRO local_day(instant) AS CAST(timezone('Asia/Ho_Chi_Minh', instant) AS DATE);
CREATE OR REPLACE TEMP MACRO local_text(instant) AS
    strftime(timezone('Asia/Ho_Chi_Minh', instant), '%d/%m/%Y %H:%M:%S');
-- Vietnam keeps UTC+7 all year: whole days by arithmetic, which is far cheaper than a calendar on every row.
CREATE OR REPLACE TEMP MACRO day_number(instant) AS (epoch_us(instant) + 25200000000) // 86400000000;
CREATE OR REPLACE TEMP MACRO has_no_time(instant) AS (epoch_us(instant) + 25200000000) % 86400000000 = 0;
CREATE OR REPLACE TEMP MACRO seconds_between(earlier, later) AS (epoch_us(later) - epoch_us(earlier)) // 1000000;
CREATE OR REPLACE TEMP MACRO apart(a, b) AS
    a <> b AND CASE WHEN has_no_time(a) OR has_no_time(b) THEN day_number(a) <> day_number(b)
        ELSE abs(epoch_us(a) - epoch_us(b)) > {tolerance} * 1000000::BIGINT END;
CREATE OR REPLACE TEMP MACRO apart_by(a, b, seconds) AS
    coalesce(abs(abs(epoch_us(a) - epoch_us(b)) // 1000000 - seconds) <= {tolerance}, false);
CREATE OR REPLACE TEMP MACRO yes_no(flag) AS CASE flag WHEN true THEN 'có' WHEN false THEN 'không' END;
CREATE OR REPLACE TEMP MACRO channel_text(channel) AS
    CASE channel WHEN 'direct' THEN 'trực tiếp' WHEN 'online' THEN 'trực tuyến' WHEN 'post' THEN 'bưu chính' END;
CREATE OR REPLACE TEMP MACRO status_text(code) AS
    code || ' ' || (['Mới đăng ký', 'Được tiếp nhận', 'Không được tiếp nhận', 'Đang xử lý', 'Yêu cầu bổ sung',
        'Yêu cầu nghĩa vụ tài chính', 'Công dân yêu cầu rút', 'Dừng xử lý', 'Đã xử lý xong', 'Đã trả kết quả'])[code];
CREATE OR REPLACE TEMP MACRO dates_text(is_there, ended_at, due_at) AS
    CASE WHEN is_there THEN 'kết thúc ' || coalesce(local_text(ended_at), 'chưa ghi') || '; hẹn trả '
        || coalesce(local_text(due_at), 'không ghi') END;

-- Two records of one source for one dossier: the newer one speaks, as in merging (merged.sql). Few have two, and
-- putting all in order would cost more than everything else here.
CREATE OR REPLACE TEMP TABLE twice AS
SELECT dossier_key, source FROM core_claim GROUP BY ALL HAVING count(*) > 1;

CREATE OR REPLACE TEMP VIEW speaking_claim AS
SELECT * FROM core_claim ANTI JOIN twice USING (dossier_key, source)
UNION ALL
SELECT * FROM core_claim SEMI JOIN twice USING (dossier_key, source)
QUALIFY row_number() OVER (
    PARTITION BY dossier_key, source ORDER BY modified_at DESC NULLS LAST, record_key DESC
) = 1;

CREATE OR REPLACE TEMP VIEW newest_claim AS
SELECT
    source, dossier_key, true AS is_there, code, other_code, unit_code, procedure_code, channel, status_code,
    received_at, due_at, is_paid_online, has_result,
    -- The end by the national rule (indicators 2.2), in this source's words.
    CASE
        WHEN status_code IN (9, 10) THEN coalesce(completed_at, returned_at)
        WHEN status_code = 3 THEN coalesce(denied_at, completed_at)
        WHEN status_code IN (7, 8) THEN completed_at
    END AS ended_at,
    coalesce(modified_at, extracted_at) AS changed_at
FROM speaking_claim;

-- A source that a province has not connected is missing nowhere.
CREATE OR REPLACE TEMP TABLE connected AS SELECT DISTINCT source FROM core_claim;

CREATE OR REPLACE TEMP TABLE ended_unit AS
SELECT unit_code FROM core_unit GROUP BY unit_code
HAVING count(valid_to) = count(*) AND max(valid_to) < local_day($as_of::TIMESTAMPTZ);

CREATE OR REPLACE TEMP TABLE side AS
SELECT
    d.dossier_key, d.status_code, d.is_received, d.is_resolved, d.received_at, d.due_at, d.ended_at, d.deadline_at,
    d.deadline_basis, d.supplement_count, d.has_component_attachment,
    d.transaction_count > d.online_transaction_count AS has_offline_payment,
    {said}
FROM core_dossier AS d
{joins};

CREATE OR REPLACE TEMP TABLE finding AS
{compared};

-- Here and not there. A draft is nobody else's business yet; a young dossier may still be on its way.
INSERT INTO finding BY NAME
SELECT dossier_key,
    CASE WHEN p_is_there THEN 'only_in_portal' WHEN o_is_there THEN 'only_in_onestop' ELSE 'only_in_messages' END AS kind,
    yes_no(coalesce(p_is_there, false)) AS portal_value,
    yes_no(coalesce(o_is_there, false)) AS onestop_value,
    yes_no(coalesce(m_is_there, false)) AS messages_value,
    received_at AS since_at
FROM side
WHERE is_received AND received_at <= $as_of::TIMESTAMPTZ - INTERVAL {grace} SECOND
    AND coalesce(p_is_there::INTEGER, 0) + coalesce(o_is_there::INTEGER, 0) + coalesce(m_is_there::INTEGER, 0) = 1
    AND (SELECT count(*) FROM connected) > 1;

INSERT INTO finding BY NAME
SELECT dossier_key, 'missing_in_messages' AS kind, yes_no(coalesce(p_is_there, false)) AS portal_value,
    yes_no(coalesce(o_is_there, false)) AS onestop_value, 'không' AS messages_value, received_at AS since_at
FROM side
WHERE is_received AND m_is_there IS NULL AND received_at <= $as_of::TIMESTAMPTZ - INTERVAL {grace} SECOND
    AND 'messages' IN (SELECT source FROM connected);

-- One dossier under two codes in one source; two dossiers that carry one code or reference; and, as a warning only,
-- a dossier that the log alone has and one that the log lacks, received in the same second.
CREATE OR REPLACE TEMP TABLE duplicate AS
WITH coded_twice AS (
    SELECT dossier_key FROM core_claim SEMI JOIN twice USING (dossier_key, source)
    GROUP BY dossier_key, source HAVING count(DISTINCT code) > 1
),
identifier AS (
    SELECT dossier_key, code AS identifier FROM core_claim WHERE code IS NOT NULL
    UNION ALL SELECT dossier_key, other_code FROM core_claim WHERE other_code IS NOT NULL
    UNION ALL SELECT dossier_key, evidence FROM core_crosswalk WHERE evidence IS NOT NULL
),
shared AS (SELECT identifier FROM identifier GROUP BY identifier HAVING min(dossier_key) <> max(dossier_key)),
carrier AS (SELECT DISTINCT * FROM identifier SEMI JOIN shared USING (identifier)),
twin AS (
    SELECT any_value(dossier_key) FILTER (WHERE m_is_there) AS logged_key,
        any_value(dossier_key) FILTER (WHERE m_is_there IS NULL) AS local_key
    FROM (
        SELECT s.dossier_key, s.received_at, s.m_is_there, d.procedure_code, d.unit_code
        FROM side AS s JOIN core_dossier AS d USING (dossier_key)
        WHERE s.is_received AND NOT has_no_time(s.received_at)
            AND (s.m_is_there IS NULL OR (s.p_is_there IS NULL AND s.o_is_there IS NULL))
    )
    GROUP BY procedure_code, unit_code, received_at
    HAVING count(*) = 2 AND count(m_is_there) = 1
)
SELECT dossier_key, 'same_source' AS pattern, CAST(NULL AS VARCHAR) AS other_key, 1 AS rank FROM coded_twice
UNION
SELECT a.dossier_key, 'shared_code', b.dossier_key, 2
FROM carrier AS a JOIN carrier AS b ON a.identifier = b.identifier AND a.dossier_key <> b.dossier_key
UNION ALL SELECT logged_key, 'same_instant', local_key, 3 FROM twin
UNION ALL SELECT local_key, 'same_instant', logged_key, 3 FROM twin;

INSERT INTO finding BY NAME
WITH told AS (
    SELECT dossier_key, arg_min(pattern, rank) AS pattern, string_agg(DISTINCT other_key, '; ' ORDER BY other_key) AS other_key
    FROM duplicate GROUP BY dossier_key
),
codes AS (
    SELECT dossier_key, source, string_agg(DISTINCT code, '; ' ORDER BY code) AS codes,
        max(coalesce(modified_at, extracted_at)) AS changed_at
    FROM core_claim SEMI JOIN told USING (dossier_key) GROUP BY dossier_key, source
)
SELECT dossier_key, 'duplicate_code' AS kind,
    any_value(codes) FILTER (WHERE source = 'portal') AS portal_value,
    any_value(codes) FILTER (WHERE source = 'onestop') AS onestop_value,
    any_value(codes) FILTER (WHERE source = 'messages') AS messages_value,
    any_value(other_key) AS other_key,
    max(changed_at) AS since_at,
    any_value(pattern) AS pattern
FROM told JOIN codes USING (dossier_key) GROUP BY dossier_key;

-- A finished step in the minute of reception, of a dossier without a promise that was not finished then (systems 3.4).
INSERT INTO finding BY NAME
SELECT s.dossier_key, 'invented_step' AS kind,
    status_text(9) || ' lúc ' || local_text(min(t.acted_at)) AS messages_value, min(t.acted_at) AS since_at
FROM core_step AS t JOIN side AS s USING (dossier_key)
WHERE t.status_code = 9 AND s.m_due_at IS NULL
    AND abs(epoch_us(t.acted_at) - epoch_us(s.received_at)) <= {burst} * 1000000::BIGINT
    AND (s.ended_at IS NULL OR s.ended_at > t.acted_at + INTERVAL {burst} SECOND)
GROUP BY s.dossier_key;

-- Many changes of status in one minute that end the dossier: done on paper, entered later.
INSERT INTO finding BY NAME
WITH hurried AS (
    -- So many changes so close together put two of them into one span of a fixed grid; most dossiers have none.
    SELECT DISTINCT dossier_key FROM (
        SELECT dossier_key FROM core_step
        GROUP BY dossier_key, epoch_us(acted_at) // ({burst} * 1000000::BIGINT) HAVING count(*) > 1
    )
),
change AS (
    SELECT dossier_key, step_no, acted_at, status_code FROM core_step SEMI JOIN hurried USING (dossier_key)
    QUALIFY status_code IS DISTINCT FROM lag(status_code) OVER (PARTITION BY dossier_key ORDER BY step_no)
),
minute AS (
    SELECT dossier_key, acted_at AS until_at, status_code,
        count(*) OVER recent AS changes, min(acted_at) OVER recent AS from_at
    FROM change
    WINDOW recent AS (PARTITION BY dossier_key ORDER BY acted_at
        RANGE BETWEEN INTERVAL {burst} SECOND PRECEDING AND CURRENT ROW)
),
burst AS (
    SELECT * FROM minute WHERE changes >= {burst_changes} AND status_code IN (9, 10)
    QUALIFY row_number() OVER (PARTITION BY dossier_key ORDER BY changes DESC, until_at DESC) = 1
),
told AS (
    SELECT b.dossier_key, string_agg(c.status_code, ' → ' ORDER BY c.step_no) AS statuses
    FROM burst AS b JOIN change AS c ON c.dossier_key = b.dossier_key AND c.acted_at BETWEEN b.from_at AND b.until_at
    GROUP BY b.dossier_key
)
SELECT dossier_key, 'status_burst' AS kind,
    statuses || ' trong ' || seconds_between(from_at, until_at) || ' giây, xong lúc ' || local_text(until_at)
        AS messages_value,
    seconds_between(from_at, until_at) AS difference_seconds,
    day_number(until_at) - day_number(from_at) AS difference_days,
    until_at AS since_at,
    CASE WHEN from_at <= s.received_at + INTERVAL {burst} SECOND THEN 'entered_at_once' END AS pattern
FROM burst JOIN told USING (dossier_key) JOIN side AS s USING (dossier_key);

-- Late by the national rule (indicators 2.2), and what every other system's dates make of it.
INSERT INTO finding BY NAME
WITH waited AS (
    SELECT dossier_key, max(requested_at) FILTER (WHERE answered_at IS NULL) AS request_at
    FROM core_supplement GROUP BY dossier_key
),
late AS (
    SELECT s.*, w.request_at, coalesce(s.ended_at, $as_of::TIMESTAMPTZ) AS end_at, s.supplement_count > 1 AS is_by_supplements,
        CASE WHEN o_is_there THEN 'onestop' WHEN p_is_there THEN 'portal' ELSE 'messages' END AS handler
    FROM side AS s LEFT JOIN waited AS w USING (dossier_key)
    WHERE s.received_at IS NOT NULL AND s.status_code <> 1
        AND (s.supplement_count > 1 OR coalesce(s.ended_at, $as_of::TIMESTAMPTZ) > s.deadline_at)
),
other AS (
    {others}
),
-- A source that closed it without a date, or waits since nobody knows when, is asked for its promise only.
asked AS (
    SELECT l.dossier_key,
        CASE
            WHEN o.ended_at IS NOT NULL THEN o.ended_at
            WHEN o.status_code IN (5, 6) THEN l.request_at
            WHEN o.status_code IN (2, 4) THEN $as_of::TIMESTAMPTZ
        END AS said_end_at,
        o.due_at AS said_due_at,
        CASE
            WHEN o.due_at IS NULL THEN
                CASE WHEN l.deadline_basis = 'limit' AND o.received_at IS NOT NULL
                    THEN l.deadline_at + (o.received_at - l.received_at) ELSE l.deadline_at END
            -- A promise may have been moved by the very wait that the deadline has been moved by.
            WHEN l.supplement_count > 0 OR l.due_at IS NULL THEN greatest(l.deadline_at, o.due_at)
            ELSE l.deadline_at + (o.due_at - l.due_at)
        END AS their_deadline_at,
        l.end_at
    FROM late AS l JOIN other AS o USING (dossier_key)
    WHERE o.source <> l.handler AND o.status_code <> 1
),
answered AS (
    SELECT dossier_key, bool_or(coalesce(said_end_at, end_at) <= their_deadline_at) AS is_in_time
    FROM asked WHERE said_end_at IS NOT NULL OR said_due_at IS NOT NULL GROUP BY dossier_key
)
SELECT l.dossier_key, 'late' AS kind,
    dates_text(p_is_there, p_ended_at, p_due_at) AS portal_value,
    dates_text(o_is_there, o_ended_at, o_due_at) AS onestop_value,
    dates_text(m_is_there, m_ended_at, m_due_at) AS messages_value,
    handler AS believed_source,
    CASE WHEN end_at > deadline_at THEN seconds_between(deadline_at, end_at) END AS difference_seconds,
    CASE WHEN end_at > deadline_at THEN day_number(end_at) - day_number(deadline_at) END AS difference_days,
    coalesce(deadline_at, received_at) AS since_at,
    CASE WHEN is_by_supplements THEN 'supplements' END AS pattern,
    CASE WHEN is_by_supplements OR a.is_in_time = false THEN 'real' WHEN a.is_in_time THEN 'sync' ELSE 'one_source' END
        AS lateness
FROM late AS l LEFT JOIN answered AS a USING (dossier_key);

SELECT
    f.dossier_key, f.kind, d.dossier_code, d.unit_code, d.unit_level, d.procedure_code, d.received_on, d.status_code,
    concat_ws(', ', CASE WHEN s.p_is_there THEN 'portal' END, CASE WHEN s.o_is_there THEN 'onestop' END,
        CASE WHEN s.m_is_there THEN 'messages' END) AS sources,
    f.portal_value, f.onestop_value, f.messages_value, f.believed_source, f.other_key,
    f.difference_seconds, f.difference_days,
    least(f.since_at, $as_of::TIMESTAMPTZ) AS since_at,
    greatest(seconds_between(f.since_at, $as_of::TIMESTAMPTZ) // 86400, 0) AS age_days,
    f.pattern, f.lateness, e.explanation, $as_of::TIMESTAMPTZ AS as_of
FROM finding AS f
JOIN side AS s USING (dossier_key)
JOIN core_dossier AS d USING (dossier_key)
LEFT JOIN explanation AS e ON e.kind = f.kind AND e.detail = coalesce(f.pattern, f.lateness, '')
ORDER BY d.unit_code, f.kind, f.dossier_key;
