//! Api: which answer a request gets.

use http::StatusCode;
use serde_json::{Value, json};

use crate::standin::answer::{Answer, IdKind, Outcome, guid};
use crate::standin::book::Book;
use crate::standin::call::{Asked, Call, printed_object};
use crate::standin::customer::administration;
use crate::standin::{agreement, bulk, customer, migration, read, token_endpoint};

/// The answer to a request. HEAD is answered like GET, with the body to be left out later.
///
/// Paths are compared without regard to case and with or without a slash at the end.
pub fn answer(asked: &Asked, book: &Book) -> Answer {
    let Asked { method, path, query, headers, body, serial, now } = *asked;
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    // Lower case keeps the length, so both lists of segments are cut alike. Empty ones count for nothing in reads: the
    // Java SDK of Partner Center pages with `/v1//customers`.
    let lower = path.to_ascii_lowercase();
    let counts = |segment: &&str| !segment.is_empty() || !matches!(method, "GET" | "HEAD");
    let segments: Vec<&str> = path.split('/').filter(counts).collect();
    let route: Vec<&str> = lower.split('/').filter(counts).collect();
    let call = Call {
        book,
        method: if method == "HEAD" { "GET" } else { method },
        segments: &segments,
        query,
        headers,
        body,
        serial,
        now,
    };
    match outcome(&call, &route) {
        Some(Ok(answer) | Err(answer)) => answer,
        None => {
            let description = format!("No resource answers {method} /{path}.");
            Answer::fault(StatusCode::NOT_FOUND, 404, &description)
        }
    }
}

fn outcome(call: &Call, route: &[&str]) -> Option<Outcome> {
    if let ("GET", ["v1", ..]) = (call.method, route)
        && let Some(outcome) = read::before_routes(call)
    {
        return Some(outcome);
    }
    let outcome = match (call.method, route) {
        (_, ["v1", "customers", tail @ ..]) => return customer::answer(call, tail),

        ("GET", ["v1", "agreements"]) => agreement::metadata(call),
        ("GET", ["v1", "agreementtemplates", _, "document"]) => agreement::document(call),
        ("GET", ["v1", "compliance", "csp", "agreementstatus"]) => agreement::partner_status(call),
        ("GET", ["v1", "partners", "customeragreementrecords"]) => bulk::agreement_records(call),
        ("GET", ["v1", "relationships"]) => bulk::relationships(call),
        ("GET", ["v1", "auditrecords"]) => bulk::audit_records(call),
        ("POST", ["v1", "createbulkreattestation"]) => attest_in_bulk(call),
        ("POST", [version, "attestations", "enhanced"]) if is_version(version) => enhanced(call),

        ("POST", ["v1", "productupgrades"]) => migration::upgrade_product(call),
        ("POST", ["v1", "productupgrades", "eligibility"]) => migration::product_upgrade_eligibility(call),
        ("GET", ["v1", "productupgrades", _]) | ("POST", ["v1", "productupgrades", _, "status"]) => {
            migration::product_upgrade_status(call)
        }

        ("POST", ["oauth2", "token"] | [_, "oauth2", "token"]) => token_endpoint::v1(call),
        ("POST", ["oauth2", "v2.0", "token"] | [_, "oauth2", "v2.0", "token"]) => token_endpoint::v2(call),

        // POSTs that only read.
        ("POST", ["v1", "validations", "address"])
        | ("POST", ["v1", "extensions", "product", "checkinventory"]) => checked(call),
        ("POST", ["v1", "partners", "validateresellers"]) => agreement::validate_resellers(call),

        ("POST" | "PUT", ["v1", "selfservepolicy"]) => self_serve_policy(call),
        (_, ["v1", "selfservepolicy", ..]) => administration(call),
        ("PUT" | "POST", ["webhooks", "v1", "registration", ..]) => administration(call),
        ("GET", ["webhooks", "v1", "registration", ..]) => administration(call),
        (_, ["v1", family, ..]) if is_administration(family) => administration(call),
        _ => return None,
    };
    Some(outcome)
}

/// Families whose writes buy nothing; they all get the same small answers.
fn is_administration(family: &str) -> bool {
    matches!(
        family,
        "servicerequests"
            | "profiles"
            | "fraudevents"
            | "relationships"
            | "products"
            | "offers"
            | "auditrecords"
            | "invoices"
            | "domains"
            | "sandboxindirectreseller"
    )
}

fn is_version(segment: &str) -> bool {
    segment.strip_prefix('v').is_some_and(|number| {
        let mut bytes = number.bytes();
        !number.is_empty() && bytes.all(|byte| byte.is_ascii_digit() || byte == b'.')
    })
}

fn attest_in_bulk(call: &Call) -> Outcome {
    let count = call.json()?.as_array().map_or(0, Vec::len);
    Ok(Answer::ok(&json!({ "acceptedCount": count })))
}

/// Starts an attestation that the customer completes elsewhere.
fn enhanced(call: &Call) -> Outcome {
    call.object()?;
    let id = guid(IdKind::Task, call.serial);
    Ok(Answer::created(&json!({
        "attestationId": id,
        "status": "linkgenerated",
        "acceptanceLink": format!("https://acceptance.example.com/{id}"),
    })))
}

fn checked(call: &Call) -> Outcome {
    call.json()?;
    Ok(Answer::ok(&json!({ "status": "Valid", "items": [] })))
}

fn self_serve_policy(call: &Call) -> Outcome {
    let mut policy = printed_object(call.object()?);
    let id = guid(IdKind::Entity, call.serial);
    policy.insert("id".to_owned(), Value::from(id));
    Ok(if call.method == "POST" { Answer::created(&policy.into()) } else { Answer::ok(&policy.into()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    use http::HeaderMap;
    use jiff::Timestamp;

    use crate::standin::testing::{ask, body_of};

    #[test]
    fn an_unknown_path_is_a_404_in_partner_centers_shape() {
        for path in [
            "/",
            "/v1",
            "/v2/customers",
            "/v1/customers/c/orders/o/nothing",
            "/v1//customers",
            "/v1/customers/c/carts/K/checkout/again",
            "/vx/attestations/enhanced",
        ] {
            let answer = ask("POST", path, "{}");
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
            let body = body_of(&answer);
            assert_eq!(body["source"], "PartnerCenter", "{path}");
            assert_eq!(body["data"], json!([]), "{path}");
            assert!(body["description"].is_string(), "{path}");
            assert!(body["code"].is_number(), "{path}");
        }
    }

    #[test]
    fn paths_are_compared_without_case_and_last_slash() {
        for path in ["/v1/customers/C/orders", "/V1/Customers/C/ORDERS", "/v1/customers/C/orders/"] {
            let answer = ask("POST", path, "{}");
            assert_eq!(answer.status, StatusCode::CREATED, "{path}");
            assert_eq!(body_of(&answer)["referenceCustomerId"], "C", "{path}");
        }
    }

    #[test]
    fn head_is_answered_as_get() {
        let path = "/v1/customers/c/subscriptions/s";
        assert_eq!(ask("HEAD", path, "").body, ask("GET", path, "").body);
    }

    #[test]
    fn what_is_not_below_a_customer_is_answered_too() {
        let rows = [
            ("POST", "/v1/CreateBulkReAttestation", "[{}]", 200),
            ("POST", "/v3.0/attestations/enhanced", "{}", 201),
            ("POST", "/v1/validations/address", "{}", 200),
            ("POST", "/v1/extensions/product/checkInventory", "{}", 200),
            ("POST", "/v1/partners/validateresellers", r#"{"partnerIds":["12345"]}"#, 200),
            ("POST", "/v1/partners/validateresellers", "[]", 400),
            ("POST", "/v1/SelfServePolicy", "{}", 201),
            ("PUT", "/v1/SelfServePolicy", "{}", 200),
            ("DELETE", "/v1/SelfServePolicy/p", "", 204),
            ("POST", "/v1/SelfServePolicy", "", 400),
            ("POST", "/webhooks/v1/registration", "{}", 201),
            ("PUT", "/webhooks/v1/registration", "{}", 200),
            ("POST", "/webhooks/v1/registration/validationEvents", "", 201),
            ("PUT", "/v1/profiles/billing", "{}", 200),
            ("PATCH", "/v1/servicerequests/r", "{}", 200),
            ("POST", "/v1/fraudEvents/subscription/s/status", "{}", 201),
            ("GET", "/v1/relationships?relationship_type=x", "", 200),
            ("GET", "/v1/auditrecords?startDate=1", "", 200),
            ("OPTIONS", "/v1/agreements", "", 404),
        ];
        for (method, path, body, status) in rows {
            let answer = ask(method, path, body);
            assert_eq!(answer.status, status, "{method} {path} {body}");
        }
    }

    #[test]
    fn ids_differ_from_answer_to_answer() {
        let order = |serial| {
            let asked = Asked {
                method: "POST",
                path: "/v1/customers/c/orders",
                query: "",
                headers: &HeaderMap::new(),
                body: b"{}",
                serial,
                now: Timestamp::UNIX_EPOCH,
            };
            body_of(&answer(&asked, &Book::default()))["id"].clone()
        };
        assert_ne!(order(1), order(2));
    }
}
