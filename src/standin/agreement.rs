//! Agreement: the answers about acceptances of the partner agreement, and of the customer agreement.
//!
//! All parties have signed, except those whose id says otherwise: a tenant or customer id that ends in `0bad`, a partner
//! (MPN) id that ends in `0400`. With that the stand-in needs no set-up to give either answer. What is set up goes
//! before that.

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::standin::answer::{Answer, Outcome};
use crate::standin::bulk::audit_of_attestation;
use crate::standin::call::{Call, member, printed_object};
use crate::standin::lists::page;
use crate::standin::paging;
use crate::standin::parties::PartnerStatus;

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
    let customer = call.segment(2);
    call.book.parties.attest(customer, listed(&attested));
    call.book.lists.add_audit_record(audit_of_attestation(customer, call.now));
    let user = Value::from("5a1e0f7c-3b52-4c1d-9b6a-71c20f4e8d90");
    attested.insert("userId".to_owned(), user);
    Ok(Answer::created(&attested.into()))
}

/// An attestation as the list prints it: without the `Z` of its date, and with a link.
fn listed(attested: &Map<String, Value>) -> Value {
    let mut item = attested.clone();
    if let Some(Value::String(date)) = item.get_mut("dateAgreed") {
        *date = date.trim_end_matches(['Z', 'z']).to_owned();
    }
    item.insert("agreementLink".to_owned(), Value::from("https://aka.ms/customeragreement"));
    item.into()
}

/// `GET /v1/customers/{c}/agreements`. The dates have no `Z`, as in the documentation.
pub fn attestations(call: &Call) -> Outcome {
    let start = paging::start(call)?;
    // Without a type the API means the old agreement here too, of which no attestation is there by itself.
    let wanted = call.parameter("agreementType").unwrap_or("MicrosoftCloudAgreement");
    let fits = |item: &Value| {
        let named = item["type"].as_str();
        wanted == "*" || named.is_none_or(|named| named.eq_ignore_ascii_case(wanted))
    };
    let customer = call.segment(2);
    let known = call.book.parties.attestations(customer);
    let mut items = match known.set {
        // What was set may be wrong on purpose, and is told as it is to whoever asks for the customer agreement.
        Some(items) if wanted.eq_ignore_ascii_case("MicrosoftCustomerAgreement") => items,
        Some(items) => items.into_iter().filter(fits).collect(),
        None if ends_in(customer, UNSIGNED_TENANT) => vec![],
        None => vec![attestation_by_default()].into_iter().filter(fits).collect(),
    };
    items.extend(known.made.into_iter().filter(fits));
    Ok(paging::answer(call, page(items.iter(), start, call.book.lists.page_size())))
}

fn attestation_by_default() -> Value {
    json!({
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
    })
}

/// `GET /v1/customers/{c}/directSignedMicrosoftCustomerAgreementStatus`
pub fn direct_status(call: &Call) -> Outcome {
    let customer = call.segment(2);
    let known = call.book.parties.direct(customer);
    let signed = known.unwrap_or_else(|| !ends_in(customer, UNSIGNED_TENANT));
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
        (Some(id), None) => partner(call, id, UNSIGNED_MPN_ID, 2203),
        (None, Some(id)) => partner(call, id, UNSIGNED_TENANT, 2206),
    }
}

/// The answer for one partner: what was set, or else what the end of its id says.
fn partner(call: &Call, id: &str, unsigned_end: &str, unsigned_code: u32) -> Outcome {
    let by_id = || match ends_in(id, unsigned_end) {
        true => PartnerStatus::Code(unsigned_code),
        false => PartnerStatus::Signed,
    };
    let code = match call.book.parties.partner(id).unwrap_or_else(by_id) {
        PartnerStatus::Signed => return Ok(Answer::ok(&json!({ "isAgreementSigned": true }))),
        PartnerStatus::False => return Ok(Answer::ok(&json!({ "isAgreementSigned": false }))),
        PartnerStatus::Code(code) => code,
    };
    let guide: &[&str] = match code {
        2200..=2204 | 2206 => &["https://learn.microsoft.com/partner-center/mpa-indirect-provider-faq"],
        _ => &[],
    };
    let description = partner_fault(code, id);
    Err(Answer::fault_about("PartnerFD", StatusCode::BAD_REQUEST, code, &description, guide))
}

/// `POST /v1/partners/validateresellers` (validate-reseller-partner-of-record page): the partners of the question in its
/// order. All are valid but those that were set not to be, and those that have not signed.
pub fn validate_resellers(call: &Call) -> Outcome {
    let asked = call.object()?;
    let Some(Value::Array(ids)) = member(&asked, "partnerIds") else {
        let description = "The request body has to hold the list `partnerIds`.";
        return Err(Answer::fault(StatusCode::BAD_REQUEST, 2000, description));
    };
    let text = |id: &Value| id.as_str().map_or_else(|| id.to_string(), str::to_owned);
    let ids: Vec<String> = ids.iter().map(text).collect();
    let results: Vec<Value> = ids.iter().map(|id| validated(call, id)).collect();
    call.book.parties.validate(ids);
    Ok(Answer::ok(&json!({ "validationResults": results })))
}

fn validated(call: &Call, id: &str) -> Value {
    let parties = &call.book.parties;
    let has_signed = || match parties.partner(id) {
        Some(status) => status == PartnerStatus::Signed,
        None => !ends_in(id, UNSIGNED_MPN_ID),
    };
    if parties.standing(id).unwrap_or_else(has_signed) {
        return json!({ "partnerId": id, "isValidPartnerIdOnRecord": true });
    }
    json!({
        "partnerId": id,
        "isValidPartnerIdOnRecord": false,
        "errorCode": 900_400,
        "errorDescription": format!("The PLA ID (formerly MPN ID) {id} may not be named as the partner of record."),
    })
}

/// What a code of the verify-indirect-reseller page means, in other words.
fn partner_fault(code: u32, id: &str) -> String {
    match code {
        2000 => format!("`{id}` is not an id of the kind that was asked for."),
        2001 => "There has to be an MPN Id or a Tenant Id.".to_owned(),
        2200 => format!("Partner Center knows no valid MPN Id {id}."),
        2201 => format!("The CSP region of {id} is another one than that of the indirect provider."),
        2203 => format!(
            "MPN Id {id} has not signed the Microsoft Partner Agreement for the region of this order."
        ),
        2204 => format!("MPN Id {id} belongs to no account of a CSP indirect reseller."),
        2205 => format!("There is no account with the id {id}."),
        2206 => format!("The account of tenant {id} has not signed the Microsoft Partner Agreement."),
        _ => format!("The status of {id} cannot be told."),
    }
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

    use crate::standin::book::Book;
    use crate::standin::lists::List;
    use crate::standin::testing::{ask, ask_of, body_of};

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
    fn an_attestation_lifts_what_the_id_says_and_leaves_an_audit_record() {
        let book = Book::default();
        let path = format!("/v1/customers/{UNSIGNED}/agreements");
        let sent =
            r#"{"TemplateId":"t","type":"MicrosoftCustomerAgreement","dateAgreed":"2025-01-01T00:00:00Z"}"#;
        let created = body_of(&ask_of(&book, "POST", &path, sent));
        assert!(created["userId"].is_string());
        for (query, count) in
            [("?agreementType=MicrosoftCustomerAgreement", 1), ("?agreementType=*", 1), ("", 0)]
        {
            let listed = body_of(&ask_of(&book, "GET", &format!("{path}{query}"), ""));
            assert_eq!(listed["totalCount"], count, "{query}");
            if count == 1 {
                assert_eq!(listed["items"][0]["dateAgreed"], "2025-01-01T00:00:00");
                assert_eq!(listed["items"][0]["templateId"], "t");
            }
        }
        let records = book.lists.page(List::AuditRecords, 0, |_| true).items;
        assert_eq!(records[0]["customerId"], UNSIGNED);
        assert_eq!(records[0]["operationType"], "create_agreement");
    }

    #[test]
    fn attestations_that_were_set_are_told_as_they_are() {
        let book = Book::default();
        let odd = json!({ "type": "MicrosoftCloudAgreement", "dateAgreed": 7 });
        book.parties.set_attestations(SIGNED, vec![odd.clone()]);
        let path = format!("/v1/customers/{SIGNED}/agreements");
        for query in ["?agreementType=MicrosoftCustomerAgreement", "?agreementType=*", ""] {
            let listed = body_of(&ask_of(&book, "GET", &format!("{path}{query}"), ""));
            assert_eq!(listed["items"], json!([odd]), "{query}");
        }
        book.parties.set_attestations(SIGNED, vec![]);
        let listed = body_of(&ask_of(&book, "GET", &format!("{path}?agreementType=*"), ""));
        assert_eq!(listed["totalCount"], 0);
    }

    #[test]
    fn what_was_set_goes_before_what_the_id_says() {
        let book = Book::default();
        book.parties.set_direct(UNSIGNED, true);
        let path = format!("/v1/customers/{UNSIGNED}/directSignedMicrosoftCustomerAgreementStatus");
        assert_eq!(body_of(&ask_of(&book, "GET", &path, ""))["isSigned"], true);

        let mut texts = Vec::new();
        for code in [2000, 2001, 2200, 2201, 2203, 2204, 2205, 2206, 9] {
            book.parties.set_partner("5130401", PartnerStatus::Code(code));
            let answer = ask_of(&book, "GET", "/v1/compliance/csp/agreementstatus?mpnId=5130401", "");
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{code}");
            let body = body_of(&answer);
            assert_eq!((&body["code"], &body["source"]), (&json!(code), &json!("PartnerFD")));
            assert!(body["data"].is_array() && !texts.contains(&body["description"]), "{body}");
            texts.push(body["description"].clone());
        }
        for (status, signed) in [(PartnerStatus::Signed, true), (PartnerStatus::False, false)] {
            book.parties.set_partner("5130400", status);
            let answer = ask_of(&book, "GET", "/v1/compliance/csp/agreementstatus?mpnId=5130400", "");
            assert_eq!(body_of(&answer), json!({ "isAgreementSigned": signed }));
        }
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
    fn every_reseller_that_is_asked_about_has_a_result() {
        let book = Book::default();
        book.parties.set_partner("1", PartnerStatus::False);
        book.parties.set_partner("2", PartnerStatus::Code(2203));
        book.parties.set_standing("3", false);
        book.parties.set_standing("5130400", true);
        let path = "/v1/partners/validateResellers";
        let sent = r#"{"partnerIds":["1","2","3","5130400","5140400",5]}"#;
        let answer = body_of(&ask_of(&book, "POST", path, sent));
        let results = answer["validationResults"].as_array().unwrap();
        let valid: Vec<bool> =
            results.iter().map(|result| result["isValidPartnerIdOnRecord"].as_bool().unwrap()).collect();
        assert_eq!(valid, [false, false, false, true, false, true]);
        assert_eq!((&results[0]["errorCode"], &results[5]["partnerId"]), (&json!(900_400), &json!("5")));
        assert_eq!(book.parties.validated(), [["1", "2", "3", "5130400", "5140400", "5"]]);
        for body in ["{}", r#"{"partnerIds":"1"}"#] {
            assert_eq!(ask_of(&book, "POST", path, body).status, StatusCode::BAD_REQUEST, "{body}");
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
    }
}
