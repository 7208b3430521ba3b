//! Customer: the answers below `/v1/customers`.

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::standin::answer::{Answer, IdKind, Outcome, collection, guid, numbered_guid};
use crate::standin::call::{Call, link, printed, printed_object};
use crate::standin::{agreement, cart, checkout, migration, order, refusals, subscription, transfer};

/// Answers below `/v1/customers`; `tail` is what follows, in lower case. `None` when nothing is there.
pub fn answer(call: &Call, tail: &[&str]) -> Option<Outcome> {
    if let Some(refusal) = refusal(call, tail) {
        return Some(Err(refusal));
    }
    let outcome = match (call.method, tail) {
        // First what a load run asks for.
        ("POST", [_, "orders"]) => order::create(call),
        ("GET", []) => Ok(list(call)),
        ("POST", []) => create(call),
        ("GET", [_]) => Ok(Answer::ok(&body(call.segment(2)).into())),
        ("PATCH", [_]) => change(call),
        ("DELETE", [_]) => Ok(Answer::empty(StatusCode::NO_CONTENT)),

        ("GET", [_, "orders"]) => order::list(call),
        ("GET", [_, "orders", _]) => order::read(call),
        ("PATCH", [_, "orders", _]) => order::change(call),
        ("POST", [_, "orders", _, "attachment" | "attachments"]) => order::attach(call),
        ("GET", [_, "orders", _, "provisioningstatus"]) => order::provisioning(),

        ("POST", [_, "carts"]) => cart::create(call),
        ("GET", [_, "carts", _]) => cart::read(call),
        ("PUT", [_, "carts", _]) => cart::update(call),
        ("POST", [_, "carts", _, "checkout"]) => checkout::of_cart(call),

        ("GET", [_, "agreements"]) => agreement::attestations(call),
        ("POST", [_, "agreements"]) => agreement::attest(call),
        ("GET", [_, "directsignedmicrosoftcustomeragreementstatus"]) => agreement::direct_status(call),

        (_, [_, "subscriptions", tail @ ..]) => return subscription::answer(call, tail),
        (_, [_, "migrations", "newcommerce", tail @ ..]) => return migration::answer(call, tail),
        (_, [_, "transfers", tail @ ..]) => return transfer::answer(call, tail),

        // A POST that only reads.
        ("POST", [_, "promotioneligibilities"]) => promotion_eligibilities(call),
        (_, [_, family, ..]) if is_administration(family) => administration(call),
        _ => return None,
    };
    Some(outcome)
}

/// The answer to a purchase for a customer whose purchases are refused.
fn refusal(call: &Call, tail: &[&str]) -> Option<Answer> {
    let is_purchase = matches!(
        (call.method, tail),
        ("POST", [_, "orders"] | [_, "carts", _, "checkout"] | [_, "transfers", _, "accept"])
            | ("PATCH", [_, "orders" | "subscriptions", _])
    );
    if !is_purchase {
        return None;
    }
    let code = call.book.refusals.of_purchase(call.segment(2))?;
    let description = refusals::description(code);
    Some(Answer::fault_from("PartnerApiServiceControllers", StatusCode::FORBIDDEN, code, description))
}

/// Families below a customer whose writes buy nothing; they all get the same small answers.
fn is_administration(family: &str) -> bool {
    matches!(
        family,
        "users"
            | "directoryroles"
            | "policies"
            | "devicepolicyupdates"
            | "devicebatches"
            | "devicebatchuploads"
            | "usagebudget"
            | "usagesummary"
            | "qualifications"
            | "profiles"
            | "relationships"
            | "servicerequests"
            | "subscribedskus"
            | "products"
            | "offers"
            | "servicecosts"
            | "validationstatus"
            | "managedservices"
    )
}

/// The answer of a request whose resource does not matter to an ordering gateway: 200 to a read, 201 to a POST, 200 to
/// another write, 204 to a DELETE.
///
/// # Errors
/// The 400 answer for a body that is there and not JSON.
pub fn administration(call: &Call) -> Outcome {
    if call.method == "GET" {
        return Ok(Answer::collection(vec![]));
    }
    if call.method == "DELETE" {
        return Ok(Answer::empty(StatusCode::NO_CONTENT));
    }
    let sent = if call.body.is_empty() { Value::Object(Map::new()) } else { printed(call.json()?) };
    if call.method != "POST" {
        return Ok(Answer::ok(&sent));
    }
    let created = match sent {
        Value::Object(mut object) => {
            let id = guid(IdKind::Entity, call.serial);
            object.entry("id").or_insert(Value::from(id));
            Value::Object(object)
        }
        other => other,
    };
    Ok(Answer::created(&created))
}

fn list(call: &Call) -> Answer {
    let items = (0..3).map(|number| {
        let id = numbered_guid(IdKind::Customer, number, 1);
        Value::from(body(&id))
    });
    let mut list = collection(items.collect());
    list["links"] = json!({ "self": link(&format!("/customers?{}", call.query)) });
    Answer::ok(&list)
}

fn body(id: &str) -> Map<String, Value> {
    let uri = format!("/customers/{id}");
    Map::from_iter([
        ("id".to_owned(), Value::from(id)),
        ("commerceId".to_owned(), Value::from(id)),
        (
            "companyProfile".to_owned(),
            json!({
                "tenantId": id,
                "domain": "northwharf.example.com",
                "companyName": "North Wharf Supplies",
                "attributes": { "objectType": "CustomerCompanyProfile" },
            }),
        ),
        ("relationshipToPartner".to_owned(), Value::from("reseller")),
        ("allowDelegatedAccess".to_owned(), Value::from(true)),
        ("links".to_owned(), json!({ "self": link(&uri) })),
        ("attributes".to_owned(), json!({ "objectType": "Customer" })),
    ])
}

fn create(call: &Call) -> Outcome {
    let sent = printed_object(call.object()?);
    let id = guid(IdKind::Customer, call.serial);
    let mut created = body(&id);
    created.extend(sent);
    created.insert("id".to_owned(), Value::from(id));
    let credentials = json!({ "userName": "admin", "password": "made-for-this-answer" });
    created.insert("userCredentials".to_owned(), credentials);
    Ok(Answer::created(&created.into()))
}

fn change(call: &Call) -> Outcome {
    let sent = printed_object(call.object()?);
    let mut changed = body(call.segment(2));
    changed.extend(sent);
    Ok(Answer::ok(&changed.into()))
}

fn promotion_eligibilities(call: &Call) -> Outcome {
    call.object()?;
    Ok(Answer::collection(vec![]))
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::standin::book::Book;
    use crate::standin::testing::{ask, ask_of, body_of};

    #[test]
    fn purchases_are_refused_for_one_customer_only() {
        let book = Book::default();
        book.refusals.set_purchase("C", Some(13605));
        let rows = [
            ("POST", "c/orders", 403),
            ("PATCH", "c/orders/o", 403),
            ("POST", "c/carts/K/checkout", 403),
            ("POST", "c/transfers/T/accept", 403),
            ("PATCH", "c/subscriptions/S", 403),
            ("POST", "c/carts", 201),
            ("PUT", "c/carts/K", 200),
            ("POST", "c/agreements", 201),
            ("GET", "c/subscriptions/S", 200),
            ("POST", "d/orders", 201),
        ];
        for (method, tail, status) in rows {
            let answer = ask_of(&book, method, &format!("/v1/customers/{tail}"), "{}");
            assert_eq!(answer.status, status, "{method} {tail}");
            if status == 403 {
                assert_eq!(body_of(&answer)["code"], 13605, "{method} {tail}");
                assert_eq!(body_of(&answer)["data"], json!([]), "{method} {tail}");
            }
        }
        book.refusals.set_purchase("c", None);
        assert_eq!(ask_of(&book, "POST", "/v1/customers/c/orders", "{}").status, 201);
    }

    #[test]
    fn customers_are_listed_read_created_changed_and_removed() {
        assert_eq!(body_of(&ask("GET", "/v1/customers?size=3", ""))["totalCount"], 3);
        let one = body_of(&ask("GET", "/v1/customers/C-1", ""));
        assert_eq!(one["id"], "C-1");
        assert_eq!(one["companyProfile"]["tenantId"], "C-1");
        let sent = r#"{"Id":null,"AssociatedPartnerId":"p"}"#;
        let created = ask("POST", "/v1/customers", sent);
        assert_eq!(created.status, StatusCode::CREATED);
        assert_eq!(body_of(&created)["associatedPartnerId"], "p");
        let changed = ask("PATCH", "/v1/customers/c", r#"{"relationshipToPartner":"none"}"#);
        assert_eq!(body_of(&changed)["relationshipToPartner"], "none");
        assert_eq!(ask("DELETE", "/v1/customers/c", "").status, StatusCode::NO_CONTENT);
        assert_eq!(ask("POST", "/v1/customers", "").status, StatusCode::BAD_REQUEST);
    }

    #[test]
    fn administration_is_answered_by_method() {
        let rows = [
            ("GET", "users", "", 200),
            ("POST", "users", r#"{"displayName":"Ada"}"#, 201),
            ("PATCH", "users/u", r#"{"displayName":"Ada"}"#, 200),
            ("DELETE", "users/u", "", 204),
            ("PATCH", "users/u/resetpassword", "{}", 200),
            ("POST", "users/u/licenseupdates", "{}", 201),
            ("POST", "directoryroles/r/usermembers", "{}", 201),
            ("DELETE", "directoryroles/r/usermembers/u", "", 204),
            ("PUT", "policies/p", "{}", 200),
            ("PATCH", "DevicePolicyUpdates", "{}", 200),
            ("POST", "deviceBatches/b/devices", "[{}]", 201),
            ("PATCH", "usagebudget", "{}", 200),
            ("POST", "qualifications", r#""education""#, 201),
            ("PUT", "profiles/billing", "{}", 200),
            ("GET", "relationships", "", 200),
            ("POST", "users", "{", 400),
            ("POST", "promotionEligibilities", "{}", 200),
            ("POST", "unheardOf", "{}", 404),
        ];
        for (method, tail, body, status) in rows {
            let answer = ask(method, &format!("/v1/customers/c/{tail}"), body);
            assert_eq!(answer.status, status, "{method} {tail} {body}");
        }
        let user = ask("POST", "/v1/customers/c/users", r#"{"displayName":"Ada"}"#);
        assert_eq!(body_of(&user)["displayName"], "Ada");
        assert!(body_of(&user)["id"].is_string());
    }
}
