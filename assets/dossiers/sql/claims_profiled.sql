-- What a system connected by a profile claims of a dossier: one row per current record of its raw table.
-- It speaks in the place of its role; its codes carry its name before them, so that two systems of one
-- role never share a meaning. {instant(x)} is written from the profile's date formats.
INSERT INTO claims_profiled BY NAME
SELECT
    '{role}' AS source,
    record_key,
    extracted_at,
    dossier_code(dossier_code) AS code,
    dossier_code(national_code) AS other_code,
    said(reference_uid) AS reference_uid,
    agency_key('{system}:' || agency) AS agency,
    agency AS agency_said,
    said(agency_name) AS agency_name,
    procedure_code(procedure_code) AS procedure_code,
    '{system}:' || coalesce(trim(status), '') AS status,
    '{system}:' || coalesce(trim(channel), '') AS channel,
    '{system}:' || said(service_level) AS service_level,
    coalesce({instant(modified_at)}, extracted_at) AS modified_at,
    coalesce({instant(created_at)}, {instant(submitted_at)}) AS created_at,
    {instant(submitted_at)} AS submitted_at,
    {instant(received_at)} AS received_at,
    {instant(due_at)} AS due_at,
    {instant(completed_at)} AS completed_at,
    {instant(returned_at)} AS returned_at,
    {instant(denied_at)} AS denied_at,
    [
        struct_pack(
            component_code := said(c.component_code),
            has_file := coalesce(c.has_file, false),
            is_digitised := truthy(c.is_digitised),
            reuse_code := flag_code(c.reuse_code),
            is_from_personal_store := truthy(c.is_from_personal_store)
        )
        FOR c IN components
    ] AS components,
    has_result,
    [
        struct_pack(
            amount_vnd := vnd(try_cast(said(p.amount_vnd) AS DOUBLE)),
            method := '{system}:' || coalesce(trim(p.method), ''),
            -- A refund leaves every numerator, like a payment that was called off.
            is_settled := list_contains({settled}, coalesce(trim(p.state), '')),
            paid_at := {instant(p.paid_at)}
        )
        FOR p IN payments
    ] AS payments,
    [vnd(try_cast(said(f.amount_vnd) AS DOUBLE)) FOR f IN fees] AS fees,
    flag_code(paid_online_code) AS paid_online_code,
    truthy(is_vneid_verified) AS is_vneid_verified,
    ['{system}:' || trim(d.code) FOR d IN databases] AS databases,
    [
        struct_pack(
            requested_at := {instant(s.requested_at)},
            answered_at := {instant(s.answered_at)},
            due_before_at := {instant(s.due_before_at)},
            due_after_at := {instant(s.due_after_at)}
        )
        FOR s IN supplements
    ] AS supplements
FROM current_profiled WHERE system = '{system}';
