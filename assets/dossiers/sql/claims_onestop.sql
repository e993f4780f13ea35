-- What the one-stop system claims of a dossier: one row per current record of raw_onestop (iGate, systems 4.1).
CREATE OR REPLACE TEMP TABLE claims_onestop AS
SELECT
    'onestop' AS source,
    record_key,
    extracted_at,
    dossier_code(code) AS code,
    dossier_code(nationCode) AS other_code,
    CAST(NULL AS VARCHAR) AS reference_uid,
    agency_key(agencyCode) AS agency,
    agencyCode AS agency_said,
    said(agencyName) AS agency_name,
    procedure_code(procedureCode) AS procedure_code,
    coalesce(CAST(dossierStatusId AS VARCHAR), '') AS status,
    coalesce(CAST(applyMethodId AS VARCHAR), '') AS channel,
    said(procedureLevel) AS service_level,
    offset_time(updatedDate) AS modified_at,
    offset_time(appliedDate) AS created_at,
    offset_time(appliedDate) AS submitted_at,
    offset_time(acceptedDate) AS received_at,
    offset_time(appointmentDate) AS due_at,
    offset_time(completedDate) AS completed_at,
    offset_time(returnedDate) AS returned_at,
    CAST(NULL AS TIMESTAMPTZ) AS denied_at,
    [
        struct_pack(
            component_code := said(f.formId),
            has_file := coalesce(f.fileCount, 0) > 0,
            is_digitised := CAST(NULL AS BOOLEAN),
            reuse_code := CAST(NULL AS SMALLINT),
            is_from_personal_store := CAST(NULL AS BOOLEAN)
        )
        FOR f IN formFiles
    ] AS components,
    CAST(NULL AS BOOLEAN) AS has_result,
    [
        struct_pack(
            amount_vnd := vnd(f.amount),
            method := coalesce(trim(paymentMethodName), ''),
            -- A refund puts paid back to 0 and so leaves every numerator.
            is_settled := coalesce(f.paid, 0) > 0 AND f.paid >= coalesce(f.amount, 0),
            paid_at := CASE WHEN coalesce(f.paid, 0) > 0 THEN offset_time(paidDate) END
        )
        FOR f IN fees
    ] AS payments,
    [vnd(f.amount) FOR f IN fees] AS fees,
    CAST(NULL AS SMALLINT) AS paid_online_code,
    CAST(NULL AS BOOLEAN) AS is_vneid_verified,
    CAST(NULL AS VARCHAR[]) AS databases,
    CAST([] AS STRUCT(requested_at TIMESTAMPTZ, answered_at TIMESTAMPTZ, due_before_at TIMESTAMPTZ,
        due_after_at TIMESTAMPTZ)[]) AS supplements
FROM current_onestop;
