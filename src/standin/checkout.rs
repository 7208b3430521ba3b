//! Checkout: the orders that a cart or a transfer becomes.

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::standin::answer::{Answer, IdKind, Outcome, numbered_guid};
use crate::standin::call::{Call, member, text_member};
use crate::standin::order;
use crate::standin::refusals;

/// `POST /v1/customers/{c}/carts/{cart}/checkout`, which has no body. A refusal can hide in its 201.
pub fn of_cart(call: &Call) -> Outcome {
    let groups = groups(call);
    let Some(code) = call.book.refusals.of_checkout(call.segment(2)) else {
        return Ok(orders(call, &groups, StatusCode::CREATED));
    };
    let errors = groups.iter().map(
        |group| json!({ "orderGroupId": group.id, "code": code, "description": refusals::description(code) }),
    );
    Ok(Answer::created(&json!({
        "orders": [],
        "orderErrors": errors.collect::<Vec<_>>(),
        "attributes": { "objectType": "CartCheckoutResult" },
    })))
}

/// `POST /v1/customers/{c}/transfers/{t}/accept`, which places the orders at once (accept-a-transfer page).
pub fn of_transfer(call: &Call) -> Outcome {
    Ok(orders(call, &groups(call), StatusCode::OK))
}

/// Lines that become one order.
struct Group {
    id: String,
    order: Map<String, Value>,
}

/// The groups of the stored resource; one line is made up for a resource that is not stored.
fn groups(call: &Call) -> Vec<Group> {
    let Some(stored) = call.book.shelf.get(&call.path_to(5)) else {
        return vec![Group { id: "0".to_owned(), order: order::stored() }];
    };
    let lines = stored.resource.as_object().and_then(|cart| member(cart, "lineItems"));
    let mut groups: Vec<Group> = Vec::new();
    let objects = lines.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object);
    for (line, number) in objects.zip(0..=u16::MAX) {
        let id = match member(line, "orderGroup") {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => "0".to_owned(),
        };
        let at = groups.iter().position(|group| group.id == id).unwrap_or_else(|| {
            groups.push(Group { id, order: new_order(line) });
            groups.len() - 1
        });
        if let Some(lines) = groups[at].order["lineItems"].as_array_mut() {
            lines.extend(order_lines(call, line, number));
        }
    }
    groups
}

fn new_order(line: &Map<String, Value>) -> Map<String, Value> {
    let mut order = Map::from_iter([("lineItems".to_owned(), json!([]))]);
    for name in ["billingCycle", "currencyCode"] {
        if let Some(value) = member(line, name) {
            order.insert(name.to_owned(), value.clone());
        }
    }
    order
}

/// The line of an order that a line of a cart becomes, and those of its add-ons.
fn order_lines(call: &Call, line: &Map<String, Value>, number: u16) -> Vec<Value> {
    let subscription = match text_member(line, "subscriptionId") {
        Some(id) => id.to_owned(),
        None => numbered_guid(IdKind::Subscription, number, call.serial),
    };
    let mut lines = vec![order_line(line, Some(&subscription), None)];
    let add_ons = member(line, "addonItems").and_then(Value::as_array).into_iter().flatten();
    for add_on in add_ons.filter_map(Value::as_object) {
        lines.push(order_line(add_on, None, Some(&subscription)));
    }
    lines
}

fn order_line(line: &Map<String, Value>, subscription: Option<&str>, parent: Option<&str>) -> Value {
    let reseller = member(line, "participants").and_then(Value::as_array).into_iter().flatten();
    let reseller = reseller
        .filter_map(Value::as_object)
        .find(|one| {
            text_member(one, "key").is_some_and(|key| key.eq_ignore_ascii_case("transaction_reseller"))
        })
        .and_then(|one| text_member(one, "value"));
    json!({
        "offerId": text_member(line, "catalogItemId").or_else(|| text_member(line, "offerId")),
        "friendlyName": text_member(line, "friendlyName"),
        "quantity": member(line, "quantity"),
        "termDuration": text_member(line, "termDuration"),
        "partnerIdOnRecord": reseller.or_else(|| text_member(line, "partnerIdOnRecord")),
        "subscriptionId": subscription,
        "parentSubscriptionId": parent,
    })
}

fn orders(call: &Call, groups: &[Group], status: StatusCode) -> Answer {
    let printed = groups.iter().zip(0..=u16::MAX).map(|(group, number)| {
        let id = numbered_guid(IdKind::Order, number, call.serial);
        order::print(call, &group.order, &id)
    });
    let orders = printed.collect::<Vec<_>>().join(",");
    let mut body = format!(r#"{{"orders":[{orders}],"orderErrors":[],"#);
    body.push_str(r#""attributes":{"objectType":"CartCheckoutResult"}}"#);
    Answer::text(status, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::standin::book::Book;
    use crate::standin::testing::{ask, ask_of, body_of};

    const CART: &str = r#"{"LineItems":[
        {"CatalogItemId":"DZH318Z0BPS6:0001:DZH318Z0BML6","Quantity":1,"BillingCycle":"one_time","OrderGroup":"0",
         "Participants":[{"Key":"additional_transaction_reseller","Value":"1"},
                         {"Key":"transaction_reseller","Value":"4847383"}]},
        {"catalogItemId":"CFQ7TTC0LF8S:0002:CFQ7TTC0KSVV","quantity":9,"termDuration":"P1Y","orderGroup":"0",
         "addonItems":[{"catalogItemId":"A:B:C","quantity":2}]},
        {"catalogItemId":"CFQ7TTC0LH18:0001:CFQ7TTC0K971","quantity":3,"orderGroup":1}]}"#;

    /// A book with that cart in it, and the path of the cart.
    fn filled() -> (Book, String) {
        let book = Book::default();
        let created = body_of(&ask_of(&book, "POST", "/v1/customers/c/carts", CART));
        let path = format!("/v1/customers/c/carts/{}", created["id"].as_str().unwrap());
        (book, path)
    }

    #[test]
    fn a_checkout_without_a_stored_cart_makes_an_order() {
        let answer = ask("POST", "/v1/customers/c/carts/K/checkout", "");
        assert_eq!(answer.status, StatusCode::CREATED);
        let body = body_of(&answer);
        assert_eq!(body["orders"][0]["referenceCustomerId"], "c");
        assert_eq!(body["orderErrors"], json!([]));
    }

    #[test]
    fn a_checkout_makes_an_order_of_each_group_of_lines() {
        let (book, path) = filled();
        let body = body_of(&ask_of(&book, "POST", &format!("{path}/checkout"), ""));
        let orders = body["orders"].as_array().unwrap();
        assert_eq!(orders.len(), 2);
        assert_ne!(orders[0]["id"], orders[1]["id"]);
        assert_eq!(orders[0]["billingCycle"], "one_time");
        let lines = orders[0]["lineItems"].as_array().unwrap();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0]["offerId"], "DZH318Z0BPS6:0001:DZH318Z0BML6");
        assert_eq!(lines[0]["partnerIdOnRecord"], "4847383");
        assert_eq!(lines[1]["quantity"], 9);
        assert_eq!(lines[1]["termDuration"], "P1Y");
        assert_eq!(lines[2]["offerId"], "A:B:C");
        assert_eq!(lines[2]["parentSubscriptionId"], lines[1]["subscriptionId"]);
        assert_ne!(orders[1]["lineItems"][0]["subscriptionId"], lines[0]["subscriptionId"]);
    }

    #[test]
    fn a_refusal_in_a_checkout_names_every_group() {
        let (book, path) = filled();
        book.refusals.set_checkout("C", Some(900_123));
        let answer = ask_of(&book, "POST", &format!("{path}/checkout"), "");
        assert_eq!(answer.status, StatusCode::CREATED);
        let body = body_of(&answer);
        assert_eq!(body["orders"], json!([]));
        let errors = body["orderErrors"].as_array().unwrap();
        assert_eq!(errors.len(), 2);
        assert_eq!((&errors[0]["orderGroupId"], &errors[1]["orderGroupId"]), (&json!("0"), &json!("1")));
        assert_eq!(errors[0]["code"], 900_123);
        assert!(errors[0]["description"].as_str().unwrap().contains("reseller"));
    }

    #[test]
    fn an_accepted_transfer_takes_its_subscriptions_along() {
        let book = Book::default();
        let sent = r#"{"lineItems":[{"subscriptionId":"S","partnerIdOnRecord":"517285"}]}"#;
        let transfer = body_of(&ask_of(&book, "POST", "/v1/customers/c/transfers", sent));
        let path = format!("/v1/customers/c/transfers/{}/accept", transfer["id"].as_str().unwrap());
        let answer = ask_of(&book, "POST", &path, "");
        assert_eq!(answer.status, StatusCode::OK);
        let line = &body_of(&answer)["orders"][0]["lineItems"][0];
        assert_eq!((&line["subscriptionId"], &line["partnerIdOnRecord"]), (&json!("S"), &json!("517285")));
    }
}
