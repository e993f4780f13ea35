-- What the portal claims of a dossier: one row per current record of raw_portal (OpenCPS, systems 1.5).
-- Copies of another dossier (inter-agency cases) and what was deleted (a negative originality) claim nothing.
CREATE OR REPLACE TEMP TABLE claims_portal AS
SELECT
    'portal' AS source,
    record_key,
    extracted_at,
    dossier_code(dossierNo) AS code,
    -- Dossiers created from the national portal carry its code in referenceUid (systems fact 10).
    CASE WHEN systemId = 5 THEN dossier_code(referenceUid) END AS other_code,
    said(referenceUid) AS reference_uid,
    agency_key(govAgencyCode) AS agency,
    govAgencyCode AS agency_said,
    said(govAgencyName) AS agency_name,
    procedure_code(serviceCode) AS procedure_code,
    coalesce(trim(dossierStatus), '') AS status,
    CASE WHEN truthy(online) THEN 'online' WHEN try_cast(fromViaPostal AS INTEGER) > 0 THEN 'post' ELSE 'direct' END
        AS channel,
    CASE WHEN coalesce(serviceLevel, 0) <> 0 THEN CAST(serviceLevel AS VARCHAR) END AS service_level,
    local_time(modifiedDate, '%d/%m/%Y %H:%M:%S', $zone_portal) AS modified_at,
    local_time(createDate, '%d/%m/%Y %H:%M:%S', $zone_portal) AS created_at,
    local_time(submitDate, '%d/%m/%Y %H:%M:%S', $zone_portal) AS submitted_at,
    local_time(receiveDate, '%d/%m/%Y %H:%M:%S', $zone_portal) AS received_at,
    local_time(dueDate, '%d/%m/%Y %H:%M:%S', $zone_portal) AS due_at,
    local_time(releaseDate, '%d/%m/%Y %H:%M:%S', $zone_portal) AS completed_at,
    local_time(finishDate, '%d/%m/%Y %H:%M:%S', $zone_portal) AS returned_at,
    CAST(NULL AS TIMESTAMPTZ) AS denied_at,
    [
        struct_pack(
            component_code := said(f.dossierPartNo),
            has_file := coalesce(f.fileSize, 0) > 0 OR coalesce(f.eForm, false),
            -- OpenCPS keeps no digitised counter and no reuse flag (systems fact 8).
            is_digitised := CAST(NULL AS BOOLEAN),
            reuse_code := CAST(NULL AS SMALLINT),
            is_from_personal_store := CAST(NULL AS BOOLEAN)
        )
        FOR f IN files IF f.dossierPartType = 1 AND NOT coalesce(f.removed, false)
    ] AS components,
    CASE
        WHEN files IS NOT NULL THEN coalesce(
            list_bool_or([
                coalesce(f.fileSize, 0) > 0
                FOR f IN files IF f.dossierPartType = 2 AND NOT coalesce(f.removed, false)
            ]),
            false
        )
    END AS has_result,
    -- 3 the applicant reported paid, 5 confirmed: the payment query counts both as settled (systems 1.5).
    CASE
        WHEN payment IS NOT NULL THEN [
            struct_pack(
                amount_vnd := coalesce(nullif(payment.paymentAmount, 0), payment.feeAmount, 0),
                method := coalesce(trim(payment.paymentMethod), ''),
                is_settled := coalesce(payment.paymentStatus IN (3, 5), false),
                paid_at := local_time(payment.confirmDatetime, '%d/%m/%Y %H:%M:%S', $zone_portal)
            )
        ]
        ELSE []
    END AS payments,
    CASE WHEN payment IS NOT NULL THEN [coalesce(payment.feeAmount, 0)] ELSE [] END AS fees,
    CAST(NULL AS SMALLINT) AS paid_online_code,
    CAST(NULL AS BOOLEAN) AS is_vneid_verified,
    CAST(NULL AS VARCHAR[]) AS databases,
    CAST([] AS STRUCT(requested_at TIMESTAMPTZ, answered_at TIMESTAMPTZ, due_before_at TIMESTAMPTZ,
        due_after_at TIMESTAMPTZ)[]) AS supplements
FROM current_portal
WHERE coalesce(originDossierId, 0) = 0 AND coalesce(try_cast(originality AS INTEGER), 0) >= 0;
