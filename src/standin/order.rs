//! Order: the answers about orders, printed by hand, since a load run asks for nothing else.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::standin::answer::{Answer, IdKind, Outcome, guid, numbered_guid};
use crate::standin::call::{Call, Escaped, append, member, text_member};

/// Room for an order of one line, so that printing it does not move the text.
const ORDER_BYTES: usize = 2048;

/// `POST /v1/customers/{c}/orders`
pub fn create(call: &Call) -> Outcome {
    let order = call.object()?;
    let id = guid(IdKind::Order, call.serial);
    Ok(Answer::text(StatusCode::CREATED, print(call, &order, &id)))
}

/// `PATCH /v1/customers/{c}/orders/{o}`
pub fn change(call: &Call) -> Outcome {
    let order = call.object()?;
    Ok(Answer::text(StatusCode::OK, print(call, &order, call.segment(4))))
}

/// `GET /v1/customers/{c}/orders/{o}`
pub fn read(call: &Call) -> Outcome {
    Ok(Answer::text(StatusCode::OK, print(call, &stored(), call.segment(4))))
}

/// `GET /v1/customers/{c}/orders`
pub fn list(call: &Call) -> Outcome {
    let order = print(call, &stored(), &guid(IdKind::Order, call.serial));
    let body = format!(r#"{{"totalCount":1,"items":[{order}],"attributes":{{"objectType":"Collection"}}}}"#);
    Ok(Answer::text(StatusCode::OK, body))
}

/// `POST /v1/customers/{c}/orders/{o}/attachment`: whatever was uploaded is one purchase order.
pub fn attach(call: &Call) -> Outcome {
    let attachment = json!({
        "attachmentId": format!("{:012x}", call.serial),
        "fileName": "purchase-order.pdf",
        "sizeInKB": call.body.len().div_ceil(1024),
        "attachmentType": "POAttachment",
    });
    let mut answer = Answer::collection(vec![attachment]);
    answer.status = StatusCode::CREATED;
    Ok(answer)
}

/// `GET /v1/customers/{c}/orders/{o}/provisioningstatus`
pub fn provisioning() -> Outcome {
    Ok(Answer::collection(vec![json!({
        "lineItemNumber": 0,
        "status": "Fulfilled",
        "quantityProvisioningInformation": [{ "quantity": 1, "status": "Fulfilled" }],
    })]))
}

/// The order that is read when none was sent along.
pub fn stored() -> Map<String, Value> {
    let line = json!({
        "offerId": "CFQ7TTC0LF8S:0002:CFQ7TTC0KSVV",
        "friendlyName": "Seats of the north office",
        "quantity": 4,
    });
    Map::from_iter([
        ("billingCycle".to_owned(), Value::from("monthly")),
        ("lineItems".to_owned(), Value::from(vec![line])),
    ])
}

/// The text of one order (create-an-order page): what was sent of it, and what the API adds.
pub fn print(call: &Call, order: &Map<String, Value>, id: &str) -> String {
    let customer = Escaped(call.segment(2));
    let etag = STANDARD.encode(format!(r#"{{"id":"{id}","version":1}}"#));
    let id = Escaped(id);
    let now = call.now;
    let mut out = String::with_capacity(ORDER_BYTES);
    append(
        &mut out,
        format_args!(r#"{{"id":"{id}","alternateId":"{id}","referenceCustomerId":"{customer}","#),
    );
    let billing_cycle = text_member(order, "billingCycle").unwrap_or("none");
    let currency = text_member(order, "currencyCode").unwrap_or("USD");
    append(
        &mut out,
        format_args!(
            r#""billingCycle":"{}","currencyCode":"{}","lineItems":["#,
            Escaped(billing_cycle),
            Escaped(currency)
        ),
    );
    let no_lines = Vec::new();
    let lines = member(order, "lineItems").and_then(Value::as_array).unwrap_or(&no_lines);
    // Anything but an object is no line; numbers beyond 16 bits would not fit an id, and no order has that many.
    let objects = lines.iter().filter_map(Value::as_object);
    for (line, number) in objects.zip(0..=u16::MAX) {
        if number > 0 {
            out.push(',');
        }
        print_line(&mut out, call, line, number);
    }
    let status = text_member(order, "status").unwrap_or("completed");
    append(
        &mut out,
        format_args!(
            r#"],"creationDate":"{now:.7}","status":"{}","transactionType":"UserPurchase","links":{{"#,
            Escaped(status)
        ),
    );
    for (name, method, tail) in [
        ("provisioningStatus", "GET", "/provisioningstatus"),
        ("patchOperation", "PATCH", ""),
        ("self", "GET", ""),
    ] {
        let comma = if name == "self" { "" } else { "," };
        append(
            &mut out,
            format_args!(
                r#""{name}":{{"uri":"/customers/{customer}/orders/{id}{tail}","method":"{method}","headers":[]}}{comma}"#
            ),
        );
    }
    append(&mut out, format_args!(r#"}},"attributes":{{"etag":"{etag}","objectType":"Order"}}}}"#));
    out
}

fn print_line(out: &mut String, call: &Call, line: &Map<String, Value>, number: u16) {
    let offer = text_member(line, "offerId").unwrap_or_default();
    let made = numbered_guid(IdKind::Subscription, number, call.serial);
    let subscription = Escaped(text_member(line, "subscriptionId").unwrap_or(&made));
    append(out, format_args!(r#"{{"lineItemNumber":{number},"#));
    append(out, format_args!(r#""offerId":"{}","subscriptionId":"{subscription}","#, Escaped(offer)));
    for name in ["parentSubscriptionId", "partnerIdOnRecord", "termDuration"] {
        if let Some(text) = text_member(line, name) {
            append(out, format_args!(r#""{name}":"{}","#, Escaped(text)));
        }
    }
    let name = text_member(line, "friendlyName").unwrap_or("Unnamed");
    let quantity = member(line, "quantity").and_then(Value::as_u64).unwrap_or(1);
    append(
        out,
        format_args!(
            r#""transactionType":"New","friendlyName":"{}","quantity":{quantity},"links":{{"#,
            Escaped(name)
        ),
    );
    // A catalogue item names its product and SKU; a legacy offer id is one GUID.
    let mut parts = offer.splitn(3, ':');
    if let (Some(product), Some(sku), Some(_)) = (parts.next(), parts.next(), parts.next()) {
        append(
            out,
            format_args!(
                r#""sku":{{"uri":"/products/{}/skus/{}?country=US","method":"GET","headers":[]}},"#,
                Escaped(product),
                Escaped(sku)
            ),
        );
    }
    append(
        out,
        format_args!(
            r#""subscription":{{"uri":"/customers/{}/subscriptions/{subscription}","method":"GET","headers":[]}}}}}}"#,
            Escaped(call.segment(2))
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::standin::testing::{ask, body_of};

    const ORDERS: &str = "/v1/customers/0c39d6d5/orders";

    const ORDER: &str = r#"{
        "BillingCycle": "monthly", "CurrencyCode": "EUR", "referenceCustomerId": "0c39d6d5",
        "LineItems": [{
            "LineItemNumber": 0, "OfferId": "CFQ7TTC0LH18:0001:CFQ7TTC0K971",
            "FriendlyName": "the \"blue\" team", "Quantity": 25, "SubscriptionId": null
        }]
    }"#;

    #[test]
    fn a_created_order_says_what_was_sent() {
        let answer = ask("POST", ORDERS, ORDER);
        assert_eq!(answer.status, StatusCode::CREATED);
        let bytes = answer.body.len();
        assert!((1000..1600).contains(&bytes), "{bytes} bytes");
        let order = body_of(&answer);
        assert_eq!(order["referenceCustomerId"], "0c39d6d5");
        assert_eq!(order["billingCycle"], "monthly");
        assert_eq!(order["currencyCode"], "EUR");
        assert_eq!(order["attributes"]["objectType"], "Order");
        let line = &order["lineItems"][0];
        assert_eq!(line["offerId"], "CFQ7TTC0LH18:0001:CFQ7TTC0K971");
        assert_eq!(line["friendlyName"], "the \"blue\" team");
        assert_eq!(line["quantity"], 25);
        let subscription = line["subscriptionId"].as_str().unwrap();
        let uri = line["links"]["subscription"]["uri"].as_str().unwrap();
        assert!(uri.ends_with(subscription));
        assert_eq!(line["links"]["sku"]["uri"], "/products/CFQ7TTC0LH18/skus/0001?country=US");
        let etag = order["attributes"]["etag"].as_str().unwrap();
        let etag: Value = serde_json::from_slice(&STANDARD.decode(etag).unwrap()).unwrap();
        assert_eq!(etag["id"], order["id"]);
        assert!(order["creationDate"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn all_lines_of_an_order_have_ids_of_their_own() {
        let order = r#"{"lineItems":[{"offerId":"A"},{"offerId":"B","subscriptionId":"s"},7,{}]}"#;
        let order = body_of(&ask("POST", ORDERS, order));
        let lines = order["lineItems"].as_array().unwrap();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[1]["subscriptionId"], "s");
        assert_ne!(lines[0]["subscriptionId"], lines[2]["subscriptionId"]);
        assert_eq!(lines[2]["lineItemNumber"], 2);
    }

    #[test]
    fn a_changed_order_keeps_its_id() {
        let answer = ask("PATCH", "/v1/customers/c/orders/O-1", r#"{"Status":"cancelled"}"#);
        assert_eq!(answer.status, StatusCode::OK);
        let order = body_of(&answer);
        assert_eq!(order["id"], "O-1");
        assert_eq!(order["status"], "cancelled");
        assert_eq!(order["lineItems"], json!([]));
    }

    #[test]
    fn orders_are_read_and_taken_attachments_for() {
        assert_eq!(body_of(&ask("GET", ORDERS, ""))["totalCount"], 1);
        let one = body_of(&ask("GET", "/v1/customers/c/orders/o", ""));
        assert_eq!(one["id"], "o");
        let status = ask("GET", "/v1/customers/c/orders/o/provisioningStatus", "");
        assert_eq!(status.status, StatusCode::OK);
        let attached = ask("POST", "/v1/customers/c/orders/o/attachment", "--b\r\n");
        assert_eq!(attached.status, StatusCode::CREATED);
        assert_eq!(body_of(&attached)["items"][0]["sizeInKB"], 1);
    }

    #[test]
    fn a_path_cannot_break_out_of_the_body() {
        let order = body_of(&ask("POST", r#"/v1/customers/a","x":"b/orders"#, ORDER));
        assert_eq!(order["referenceCustomerId"], r#"a","x":"b"#);
    }

    #[test]
    fn an_order_that_is_no_object_is_refused() {
        for body in ["", "{", "[]", "null"] {
            for (method, path) in [("POST", ORDERS), ("PATCH", "/v1/customers/c/orders/o")] {
                let answer = ask(method, path, body);
                assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{method} {body}");
            }
        }
    }
}
