//! Agreement: the answers about acceptances of the partner agreement, and of the customer agreement.
//!
//! All parties have signed, except those whose id says otherwise: a tenant or customer id that ends in `0bad`, a partner
//! (MPN) id that ends in `0400`. With that the stand-in needs no set-up to give either answer.

use http::StatusCode;
use serde_json::{Value, json};

use crate::standin::answer::{Answer, Outcome};
use crate::standin::call::{Call, printed_object};

/// End of the id of a tenant or customer that has accepted nothing.
const UNSIGNED_TENANT: &str = "0bad";

/// End of the partner (MPN) id of a reseller that has accepted nothing.
const UNSIGNED_MPN_ID: &str = "0400";

/// Template of the Microsoft Customer Agreement (agreement-metadata page).
const CUSTOMER_TEMPLATE: &str = "117a77b0-9360-443b-8795-c6dedc750cf9";

/// Template of its predecessor, the Microsoft Cloud Agreement.
const CLOUD_TEMPLATE: &str = "998b88de-aa99-4388-a42c-1b3517d49490";

/// `GET /v1/agreements`; without a type it is the old agreement that is meant.
pub fn metadata(call: &Call) -> Outcome {
    let customer = metadata_item("MicrosoftCustomerAgreement", CUSTOMER_TEMPLATE);
    let cloud = metadata_item("MicrosoftCloudAgreement", CLOUD_TEMPLATE);
    Ok(Answer::collection(match call.parameter("agreementType") {
        Some("*") => vec![cloud, customer],
        Some("MicrosoftCustomerAgreement") => vec![customer],
        _ => vec![cloud],
    }))
}

fn metadata_item(agreement_type: &str, template: &str) -> Value {
    json!({
        "templateId": template,
        "agreementType": agreement_type,
        "agreementLink": "https://aka.ms/customeragreement",
        "versionRank": 0,
    })
}

/// `GET /v1/agreementtemplates/{template}/document`
pub fn document(call: &Call) -> Outcome {
    let template = call.segment(2);
    Ok(Answer::ok(&json!({
        "displayUri": format!("https://documents.example.com/{template}/display"),
        "downloadUri": format!("https://documents.example.com/{template}/download"),
        "language": call.parameter("language").unwrap_or("en-US"),
        "country": call.parameter("country").unwrap_or("US"),
    })))
}

/// `POST /v1/customers/{c}/agreements`
pub fn attest(call: &Call) -> Outcome {
    let mut attested = printed_object(call.object()?);
    let user = Value::from("5a1e0f7c-3b52-4c1d-9b6a-71c20f4e8d90");
    attested.insert("userId".to_owned(), user);
    Ok(Answer::created(&attested.into()))
}

/// `GET /v1/customers/{c}/agreements`. The dates have no `Z`, as in the documentation.
pub fn attestations(call: &Call) -> Outcome {
    if ends_in(call.segment(2), UNSIGNED_TENANT) {
        return Ok(Answer::collection(vec![]));
    }
    // Without a type the API means the old agreement here too, of which no attestation is left.
    let wanted = call.parameter("agreementType");
    if !matches!(wanted, Some("MicrosoftCustomerAgreement" | "*")) {
        return Ok(Answer::collection(vec![]));
    }
    Ok(Answer::collection(vec![json!({
        "primaryContact": {
            "firstName": "Ines",
            "lastName": "Okafor",
            "email": "ines.okafor@customer.example.com",
            "phoneNumber": "5550142",
        },
        "templateId": CUSTOMER_TEMPLATE,
        "dateAgreed": "2024-05-13T00:00:00",
        "type": "MicrosoftCustomerAgreement",
        "agreementLink": "https://aka.ms/customeragreement",
    })]))
}

/// `GET /v1/customers/{c}/directSignedMicrosoftCustomerAgreementStatus`
pub fn direct_status(call: &Call) -> Outcome {
    let signed = !ends_in(call.segment(2), UNSIGNED_TENANT);
    Ok(Answer::ok(&json!({ "isSigned": signed })))
}

/// `GET /v1/compliance/csp/agreementstatus`; an unsigned agreement is a 400 there (verify-indirect-reseller page).
pub fn partner_status(call: &Call) -> Outcome {
    let refused = |code, description, source| {
        let status = StatusCode::BAD_REQUEST;
        Err(Answer::fault_from(source, status, code, description))
    };
    match (call.parameter("mpnId"), call.parameter("tenantId")) {
        (None, None) => refused(2001, "Both MPN Id and Tenant Id cannot be empty.", "ComplianceController"),
        (Some(_), Some(_)) => {
            refused(2000, "Both MPN Id and Tenant Id should not be passed.", "ComplianceController")
        }
        (Some(mpn_id), None) if !mpn_id.bytes().all(|byte| byte.is_ascii_digit()) => {
            refused(2000, "MPN Id must be numeric.", "PartnerApiServiceControllers")
        }
        (None, Some(tenant)) if !is_guid(tenant) => {
            refused(2000, "Tenant Id must be a GUID.", "PartnerApiServiceControllers")
        }
        (Some(mpn_id), None) if ends_in(mpn_id, UNSIGNED_MPN_ID) => refused(
            2203,
            "The MPN Id has not signed the Microsoft Partner Agreement for this region.",
            "PartnerFD",
        ),
        (None, Some(tenant)) if ends_in(tenant, UNSIGNED_TENANT) => refused(
            2206,
            "The account of this tenant has not signed the Microsoft Partner Agreement.",
            "PartnerFD",
        ),
        _ => Ok(Answer::ok(&json!({ "isAgreementSigned": true }))),
    }
}

/// `GET /v1/partners/customeragreementrecords`
pub fn records() -> Outcome {
    Ok(Answer::ok(&json!({
        "customerAgreementRecords": [],
        "continuationToken": null,
    })))
}

fn ends_in(id: &str, end: &str) -> bool {
    id.len() >= end.len() && id.as_bytes()[id.len() - end.len()..].eq_ignore_ascii_case(end.as_bytes())
}

fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::standin::testing::{ask, body_of};

    const SIGNED: &str = "3f5d0a4e-8a43-4bb1-9f7e-6f0d1c2b3a49";
    const UNSIGNED: &str = "3f5d0a4e-8a43-4bb1-9f7e-6f0d1c2b0BAD";

    #[test]
    fn an_attestation_is_created_and_listed() {
        let path = format!("/v1/customers/{SIGNED}/agreements");
        let sent = r#"{"templateId":"t","type":"MicrosoftCustomerAgreement","dateAgreed":"2025-01-01"}"#;
        let created = ask("POST", &path, sent);
        assert_eq!(created.status, StatusCode::CREATED);
        assert_eq!(body_of(&created)["templateId"], "t");
        assert_eq!(ask("POST", &path, "").status, StatusCode::BAD_REQUEST);

        let listed = |customer: &str, query: &str| {
            let path = format!("/v1/customers/{customer}/agreements{query}");
            body_of(&ask("GET", &path, ""))["totalCount"].clone()
        };
        let customer_agreement = "?agreementType=MicrosoftCustomerAgreement";
        assert_eq!(listed(SIGNED, customer_agreement), 1);
        assert_eq!(listed(UNSIGNED, customer_agreement), 0);
        assert_eq!(listed(SIGNED, ""), 0);
    }

    #[test]
    fn a_direct_acceptance_depends_on_the_customer() {
        for (customer, signed) in [(SIGNED, true), (UNSIGNED, false)] {
            let path = format!("/v1/customers/{customer}/directSignedMicrosoftCustomerAgreementStatus");
            let body = body_of(&ask("GET", &path, ""));
            assert_eq!(body["isSigned"], signed, "{customer}");
        }
    }

    #[test]
    fn a_partner_status_is_true_or_a_400() {
        let rows = [
            ("", 400, 2001),
            ("?mpnid=", 400, 2001),
            ("?mpnId=1&tenantId=2", 400, 2000),
            ("?mpnid=12a", 400, 2000),
            ("?tenantId=12", 400, 2000),
            ("?mpnid=5130400", 400, 2203),
            ("?tenantId=3f5d0a4e-8a43-4bb1-9f7e-6f0d1c2b0bad", 400, 2206),
            ("?mpnid=5130401", 200, 0),
            ("?TenantID=3f5d0a4e-8a43-4bb1-9f7e-6f0d1c2b3a49", 200, 0),
        ];
        for (query, status, code) in rows {
            let answer = ask("GET", &format!("/v1/compliance/csp/agreementStatus{query}"), "");
            assert_eq!(answer.status, status, "{query}");
            let body = body_of(&answer);
            if code == 0 {
                assert_eq!(body["isAgreementSigned"], true, "{query}");
            } else {
                assert_eq!(body["code"], code, "{query}");
            }
        }
    }

    #[test]
    fn metadata_means_the_old_agreement_unless_told_otherwise() {
        let template = |query: &str| {
            let body = body_of(&ask("GET", &format!("/v1/agreements{query}"), ""));
            body["items"][0]["templateId"].clone()
        };
        assert_eq!(template(""), CLOUD_TEMPLATE);
        let query = "?agreementType=MicrosoftCustomerAgreement";
        assert_eq!(template(query), CUSTOMER_TEMPLATE);
        let path = "/v1/agreementtemplates/t/document?country=FR";
        assert_eq!(body_of(&ask("GET", path, ""))["country"], "FR");
        let path = "/v1/partners/customeragreementrecords?continuation_token=";
        assert_eq!(ask("GET", path, "").status, StatusCode::OK);
    }
}
