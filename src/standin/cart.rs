//! Cart: the answers about carts and their checkout.

use jiff::SignedDuration;
use serde_json::{Map, Value, json};

use crate::standin::answer::{Answer, IdKind, Outcome, guid};
use crate::standin::call::{Call, link, printed_object};

/// How long a cart can be checked out (cart-resources page).
const LIFETIME: SignedDuration = SignedDuration::from_hours(7 * 24);

/// `POST /v1/customers/{c}/carts`
pub fn create(call: &Call) -> Outcome {
    let cart = call.object()?;
    let id = guid(IdKind::Cart, call.serial);
    let made = body(call, cart, &id);
    call.book.shelf.put(&format!("{}/{id}", call.path_to(4)), made.clone(), None);
    Ok(Answer::created(&made))
}

/// `PUT /v1/customers/{c}/carts/{cart}`
pub fn update(call: &Call) -> Outcome {
    let cart = call.object()?;
    let path = call.path_to(5);
    let mut replaced = body(call, cart, call.segment(4));
    if let Some(before) = call.book.shelf.get(&path)
        && let Some(creation) = before.resource.get("creationTimestamp")
    {
        replaced["creationTimestamp"] = creation.clone();
    }
    call.book.shelf.put(&path, replaced.clone(), None);
    Ok(Answer::ok(&replaced))
}

/// `GET /v1/customers/{c}/carts/{cart}` of a cart that is not stored.
pub fn read(call: &Call) -> Outcome {
    let lines = json!([{
        "catalogItemId": "CFQ7TTC0LF8S:0002:CFQ7TTC0KSVV",
        "friendlyName": "Seats of the north office",
        "quantity": 4,
        "billingCycle": "monthly",
        "termDuration": "P1Y",
    }]);
    let cart = Map::from_iter([("lineItems".to_owned(), lines)]);
    Ok(Answer::ok(&body(call, cart, call.segment(4))))
}

fn body(call: &Call, cart: Map<String, Value>, id: &str) -> Value {
    let mut body = printed_object(cart);
    let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
    put("id", Value::from(id));
    put("creationTimestamp", Value::from(call.now.to_string()));
    put("lastModifiedTimestamp", Value::from(call.now.to_string()));
    // Only beyond the year 9999 is there no such time; a cart then never ends.
    if let Ok(end) = call.now.checked_add(LIFETIME) {
        put("expirationTimestamp", Value::from(end.to_string()));
    }
    put("lastModifiedUser", Value::from("5a1e0f7c-3b52-4c1d-9b6a-71c20f4e8d90"));
    put("status", Value::from("Active"));
    put("attributes", json!({ "objectType": "Cart" }));
    let uri = format!("/customers/{}/carts/{id}", call.segment(2));
    put("links", json!({ "self": link(&uri) }));
    if let Some(lines) = body.get_mut("lineItems").and_then(Value::as_array_mut) {
        for (line, number) in lines.iter_mut().filter_map(Value::as_object_mut).zip(0..) {
            line.entry("id").or_insert(Value::from(number));
            line.entry("currencyCode").or_insert(Value::from("USD"));
            line.entry("orderGroup").or_insert(Value::from("0"));
        }
    }
    body.into()
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use crate::standin::book::Book;
    use crate::standin::testing::{ask, ask_of, body_of};

    const LINES: &str = r#"{"LineItems":[{"CatalogItemId":"DZH318Z0BPS6:0001:DZH318Z0BML6","Quantity":1,
        "Participants":[{"Key":"transaction_reseller","Value":"4847383"}]}]}"#;

    #[test]
    fn a_cart_is_created_updated_and_read() {
        let created = ask("POST", "/v1/customers/c/carts", LINES);
        assert_eq!(created.status, StatusCode::CREATED);
        let cart = body_of(&created);
        let line = &cart["lineItems"][0];
        assert_eq!(line["catalogItemId"], "DZH318Z0BPS6:0001:DZH318Z0BML6");
        assert_eq!(line["participants"][0]["value"], "4847383");
        assert_eq!(line["orderGroup"], "0");
        assert!(cart["expirationTimestamp"].as_str() > cart["creationTimestamp"].as_str());

        let updated = ask("PUT", "/v1/customers/c/carts/K/", LINES);
        assert_eq!(updated.status, StatusCode::OK);
        assert_eq!(body_of(&updated)["id"], "K");

        let read = ask("GET", "/v1/customers/c/carts/K", "");
        assert_eq!(read.status, StatusCode::OK);
        assert_eq!(body_of(&read)["links"]["self"]["uri"], "/customers/c/carts/K");
    }

    #[test]
    fn a_cart_is_kept_and_replaced() {
        let book = Book::default();
        let created = body_of(&ask_of(&book, "POST", "/v1/customers/C/carts", LINES));
        let path = format!("/v1/customers/c/carts/{}", created["id"].as_str().unwrap());
        assert_eq!(body_of(&ask_of(&book, "GET", &path, "")), created);
        ask_of(&book, "PUT", &path, r#"{"lineItems":[{"quantity":7}]}"#);
        let read = body_of(&ask_of(&book, "GET", &path, ""));
        assert_eq!(read["id"], created["id"]);
        assert_eq!(read["lineItems"].as_array().unwrap().len(), 1);
        assert_eq!(read["lineItems"][0]["quantity"], 7);
    }

    #[test]
    fn a_cart_without_a_readable_body_is_refused() {
        for (method, path) in [("POST", "/v1/customers/c/carts"), ("PUT", "/v1/customers/c/carts/K")] {
            let answer = ask(method, path, "");
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{method}");
        }
    }
}
