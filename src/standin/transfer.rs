//! Transfer: the answers below `/v1/customers/{c}/transfers`.

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::standin::answer::{Answer, IdKind, Outcome, guid};
use crate::standin::call::{Call, link, printed_object};
use crate::standin::checkout;

/// Answers below `…/transfers`; `tail` is what follows, in lower case. `None` when nothing is there.
pub fn answer(call: &Call, tail: &[&str]) -> Option<Outcome> {
    let outcome = match (call.method, tail) {
        ("GET", []) => Ok(Answer::collection(vec![])),
        ("POST", []) => create(call),
        ("GET", [_]) => Ok(Answer::ok(&body(call, Map::new(), call.segment(4)))),
        ("PATCH", [_]) => change(call),
        ("DELETE", [_]) => Ok(withdraw(call)),
        ("POST", [_, "accept"]) => checkout::of_transfer(call),
        _ => return None,
    };
    Some(outcome)
}

fn create(call: &Call) -> Outcome {
    let sent = printed_object(call.object()?);
    let id = guid(IdKind::Task, call.serial);
    let made = body(call, sent, &id);
    call.book.shelf.put(&format!("{}/{id}", call.path_to(4)), made.clone(), None);
    Ok(Answer::created(&made))
}

fn change(call: &Call) -> Outcome {
    let sent = printed_object(call.object()?);
    let path = call.path_to(5);
    let Some(stored) = call.book.shelf.get(&path) else {
        return Ok(Answer::ok(&body(call, sent, call.segment(4))));
    };
    let mut transfer = stored.resource.as_object().cloned().unwrap_or_default();
    let creation = transfer.get("createdTime").cloned();
    transfer.extend(sent);
    let mut changed = body(call, transfer, call.segment(4));
    if let Some(creation) = creation {
        changed["createdTime"] = creation;
    }
    call.book.shelf.put(&path, changed.clone(), stored.etag.as_deref());
    Ok(Answer::ok(&changed))
}

fn withdraw(call: &Call) -> Answer {
    call.book.shelf.forget(&call.path_to(5));
    Answer::empty(StatusCode::NO_CONTENT)
}

fn body(call: &Call, mut transfer: Map<String, Value>, id: &str) -> Value {
    let uri = format!("/customers/{}/transfers/{id}", call.segment(2));
    transfer.entry("status").or_insert(Value::from("Active"));
    transfer.entry("lineItems").or_insert(json!([]));
    let mut put = |name: &str, value: Value| transfer.insert(name.to_owned(), value);
    put("id", Value::from(id));
    put("createdTime", Value::from(call.now.to_string()));
    put("lastModifiedTime", Value::from(call.now.to_string()));
    put("customerTenantId", Value::from(call.segment(2)));
    put("links", json!({ "self": link(&uri) }));
    put("attributes", json!({ "objectType": "TransferEntity" }));
    transfer.into()
}

#[cfg(test)]
mod tests {
    use crate::standin::book::Book;
    use crate::standin::testing::{ask, ask_of, body_of};

    #[test]
    fn a_transfer_is_kept_changed_and_withdrawn() {
        let book = Book::default();
        let sent = r#"{"sourcePartnerTenantId":"p","lineItems":[{"subscriptionId":"s"}]}"#;
        let created = body_of(&ask_of(&book, "POST", "/v1/customers/c/transfers", sent));
        let path = format!("/v1/customers/C/transfers/{}", created["id"].as_str().unwrap());
        assert_eq!(body_of(&ask_of(&book, "GET", &path, "")), created);
        ask_of(&book, "PATCH", &path, r#"{"Status":"reject"}"#);
        let read = body_of(&ask_of(&book, "GET", &path, ""));
        assert_eq!((&read["status"], &read["lineItems"]), (&"reject".into(), &created["lineItems"]));
        ask_of(&book, "DELETE", &path, "");
        assert_eq!(body_of(&ask_of(&book, "GET", &path, ""))["status"], "Active");
    }

    #[test]
    fn every_transfer_request_has_its_documented_status() {
        let rows = [
            ("GET", "", "", 200),
            ("POST", "", r#"{"sourcePartnerTenantId":"p"}"#, 201),
            ("POST", "", "", 400),
            ("GET", "/T", "", 200),
            ("PATCH", "/T", r#"{"id":"T","status":"reject"}"#, 200),
            ("PATCH", "/T", "", 400),
            ("DELETE", "/T", "", 204),
            ("POST", "/T/accept", "", 200),
            ("PUT", "/T", "{}", 404),
        ];
        for (method, tail, body, status) in rows {
            let path = format!("/v1/customers/c/transfers{tail}");
            let answer = ask(method, &path, body);
            assert_eq!(answer.status, status, "{method} {tail} {body}");
        }
    }

    #[test]
    fn a_transfer_is_answered_with_what_was_asked_for() {
        let sent = r#"{"SourcePartnerTenantId":"p","lineItems":[{"subscriptionId":"s"}]}"#;
        let body = body_of(&ask("POST", "/v1/customers/c/transfers", sent));
        assert_eq!(body["sourcePartnerTenantId"], "p");
        assert_eq!(body["status"], "Active");
        assert_eq!(body["lineItems"][0]["subscriptionId"], "s");
        let orders = body_of(&ask("POST", "/v1/customers/c/transfers/T/accept", ""));
        assert_eq!(orders["orders"][0]["referenceCustomerId"], "c");
    }
}
