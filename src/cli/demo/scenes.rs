//! The scenes of the demo: what is asked, and what should come back.

use serde_json::{Value, json};

use crate::standin::Standin;

/// The partner whose customers and resellers Partner Center is asked about.
pub const SIGNED: &str = "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a01";
/// A partner of the shipped ledger that has not signed.
pub const UNSIGNED: &str = "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a02";
const FRENCH: &str = "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a03";
/// A customer that has accepted.
pub const ACCEPTED: &str = "c0a80101-6d2b-4c1e-8f10-000000000001";
/// A customer that has not.
pub const NOT_ACCEPTED: &str = "c0a80101-6d2b-4c1e-8f10-000000000002";
const ACCEPTED_2021: &str = "c0a80101-6d2b-4c1e-8f10-000000000003";
const UNRECORDED: &str = "c0a80101-6d2b-4c1e-8f10-0000000000ff";
const UNSIGNED_RESELLER: &str = "6204417";
const SIGNED_RESELLER: &str = "4847383";
/// A licence.
pub const LICENCE: &str = "CFQ7TTC0LH18:0001:CFQ7TTC0K971";
const AZURE_PLAN: &str = "DZH318Z0BPS6:0001:DZH318Z0BML6";

/// A cart of the customer that has accepted.
const CART: &str =
    "/v1/customers/c0a80101-6d2b-4c1e-8f10-000000000001/carts/9a1b6c52-0d3e-4f7a-8b6c-5d4e3f2a1b0d";

/// An order of the customer that has not, and a transfer of it to another partner.
const ORDER: &str = "/v1/customers/c0a80101-6d2b-4c1e-8f10-000000000002/orders/8f2d6c1a0b9e";
const TRANSFER: &str =
    "/v1/customers/c0a80101-6d2b-4c1e-8f10-000000000002/transfers/4d1b7c2e-5a60-4f3b-9c8d-2e1f0a9b8c7d";
/// A partner that is no caller here.
const ELSEWHERE: &str = "656218b1-80c9-40b2-83ae-3a2703b55271";

/// The order as Partner Center shows it.
fn whole_order() -> Value {
    json!({ "id": "8f2d6c1a0b9e", "referenceCustomerId": NOT_ACCEPTED, "billingCycle": "monthly", "currencyCode": "EUR",
        "lineItems": [{ "lineItemNumber": 0, "offerId": LICENCE, "subscriptionId": "3f1d6a0e", "quantity": 5,
            "termDuration": "P1Y", "partnerIdOnRecord": SIGNED_RESELLER }],
        "creationDate": "2026-01-14T16:57:15.118Z", "status": "completed",
        "attributes": { "etag": "\"o1\"", "objectType": "Order" } })
}

/// Sets what the ordering API holds before the first request.
pub fn furnish(standin: &Standin) {
    let line = json!({ "id": 0, "catalogItemId": LICENCE, "quantity": 5,
        "participants": [{ "key": "transaction_reseller", "value": UNSIGNED_RESELLER }] });
    standin.set_resource(ORDER, whole_order(), Some("\"o1\""));
    let transfer = json!({ "status": "Active", "transferType": 3, "sourcePartnerTenantId": SIGNED,
        "targetPartnerTenantId": ELSEWHERE });
    standin.set_resource(TRANSFER, transfer, None);
    // What the ledger says of this customer is too old: Partner Center is asked, and knows of nothing newer.
    standin.set_direct(ACCEPTED_2021, false);
    let attested = json!({ "type": "MicrosoftCustomerAgreement", "dateAgreed": "2021-05-20T00:00:00",
        "templateId": "117a77b0-9360-443b-8795-c6dedc750cf9" });
    standin.set_attestations(ACCEPTED_2021, vec![attested]);
    standin.set_resource(CART, json!({ "id": "cart", "status": "Active", "lineItems": [line] }), None);
}

/// A request with what should come back.
pub struct Scene {
    /// In words.
    pub what: &'static str,
    /// The method.
    pub method: &'static str,
    /// The path.
    pub path: String,
    /// As whom.
    pub token: Token,
    /// The body.
    pub body: Option<Value>,
    /// The status that should come back.
    pub status: u16,
    /// The last part of the problem's type, or the rule or operation of the notice.
    pub reason: Option<&'static str>,
}

/// As whom something is asked.
pub enum Token {
    /// A partner in a role.
    Of { partner: &'static str, role: &'static str },
    /// Nobody: the claims are another partner's than the signature.
    Forged,
}

/// The role of an admin agent.
pub const AGENT: &str = "AdminAgent";

fn of(partner: &'static str) -> Token {
    Token::Of { partner, role: AGENT }
}

/// An order of these products through these resellers.
pub fn order(lines: &[(&str, Option<&str>)]) -> Value {
    let line = |(number, (product, reseller)): (usize, &(&str, Option<&str>))| json!({ "lineItemNumber": number, "offerId": product, "quantity": 5, "partnerIdOnRecord": reseller });
    let lines: Vec<Value> = lines.iter().enumerate().map(line).collect();
    json!({ "billingCycle": "monthly", "currencyCode": "EUR", "lineItems": lines })
}

/// Where orders of a customer are sent.
pub fn orders_of(customer: &str) -> String {
    format!("/v1/customers/{customer}/orders")
}

/// The order as an SDK sends it back: every member, with nulls for what is not there.
fn cancelled() -> Value {
    let mut order = whole_order();
    order["status"] = json!("cancelled");
    for name in
        ["alternateId", "currencySymbol", "transactionType", "links", "partnerOnRecordAttestationAccepted"]
    {
        order[name] = Value::Null;
    }
    order
}

/// Everything that is asked, in turn.
pub fn scenes() -> Vec<Scene> {
    let subscription =
        format!("/v1/customers/{NOT_ACCEPTED}/subscriptions/3f1d6a0e-91b5-4d7c-8a55-2f4b7c0d1e11");
    let ending = format!("/v1/customers/{NOT_ACCEPTED}/subscriptions/9c0e4d1b-7f2a-4a63-b8d5-1e6f3c2a0b94");
    let scene = |what, method, path, token, body, status, reason| Scene {
        what,
        method,
        path,
        token,
        body,
        status,
        reason,
    };
    let one = |product| Some(order(&[(product, None)]));
    vec![
        scene(
            "an order, all agreements accepted",
            "POST",
            orders_of(ACCEPTED),
            of(SIGNED),
            one(LICENCE),
            201,
            None,
        ),
        scene(
            "an order through a reseller that has signed",
            "POST",
            orders_of(ACCEPTED),
            of(SIGNED),
            Some(order(&[(LICENCE, Some(SIGNED_RESELLER))])),
            201,
            None,
        ),
        scene(
            "an order by a partner without MPA",
            "POST",
            orders_of(ACCEPTED),
            of(UNSIGNED),
            one(LICENCE),
            403,
            Some("agreement-missing"),
        ),
        scene(
            "the same, asked by its global administrator",
            "POST",
            orders_of(ACCEPTED),
            Token::Of { partner: UNSIGNED, role: "GlobalAdmin" },
            one(LICENCE),
            403,
            Some("agreement-missing"),
        ),
        scene(
            "two lines, the second through a reseller without MPA",
            "POST",
            orders_of(ACCEPTED),
            of(SIGNED),
            Some(order(&[(LICENCE, Some(SIGNED_RESELLER)), (LICENCE, Some(UNSIGNED_RESELLER))])),
            403,
            Some("agreement-missing"),
        ),
        scene(
            "three lines for a customer without MCA",
            "POST",
            orders_of(NOT_ACCEPTED),
            of(SIGNED),
            Some(order(&[(LICENCE, None), (AZURE_PLAN, None), (LICENCE, None)])),
            403,
            Some("agreement-missing"),
        ),
        scene(
            "an Azure plan for a customer without MCA",
            "POST",
            orders_of(NOT_ACCEPTED),
            of(SIGNED),
            one(AZURE_PLAN),
            403,
            Some("agreement-missing"),
        ),
        scene(
            "an order for a customer that accepted in 2021",
            "POST",
            orders_of(ACCEPTED_2021),
            of(SIGNED),
            one(LICENCE),
            403,
            Some("agreement-too-old"),
        ),
        scene(
            "an order for a customer that only Partner Center knows",
            "POST",
            orders_of(UNRECORDED),
            of(SIGNED),
            one(LICENCE),
            201,
            None,
        ),
        scene(
            "the same by a partner whose customers nobody can look up",
            "POST",
            orders_of(UNRECORDED),
            of(FRENCH),
            one(LICENCE),
            409,
            Some("agreement-unrecorded"),
        ),
        scene(
            "an order by a French distributor",
            "POST",
            orders_of(ACCEPTED),
            of(FRENCH),
            one(LICENCE),
            201,
            Some("france-mpa"),
        ),
        scene(
            "the checkout of a cart, customer without MCA",
            "POST",
            format!("/v1/customers/{NOT_ACCEPTED}/carts/9a1b6c52-0d3e-4f7a-8b6c-5d4e3f2a1b0c/checkout"),
            of(SIGNED),
            None,
            403,
            Some("agreement-missing"),
        ),
        scene(
            "the checkout of a cart that names a reseller without MPA",
            "POST",
            format!("{CART}/checkout"),
            of(SIGNED),
            None,
            403,
            Some("agreement-missing"),
        ),
        scene(
            "a new-commerce transfer from another partner, for a reseller without MPA",
            "POST",
            format!("/v1/customers/{ACCEPTED}/transfers"),
            of(SIGNED),
            Some(
                json!({ "sourcePartnerTenantId": ELSEWHERE, "sourcePartnerName": "Contoso", "transferType": 5,
                "targetPartnerEmailId": "orders@example.com", "partnerOnRecord": UNSIGNED_RESELLER }),
            ),
            403,
            Some("agreement-missing"),
        ),
        scene(
            "the same without a reseller",
            "POST",
            format!("/v1/customers/{ACCEPTED}/transfers"),
            of(SIGNED),
            Some(json!({ "sourcePartnerTenantId": ELSEWHERE, "transferType": 3 })),
            201,
            None,
        ),
        scene(
            "a transfer to another partner, completed by its source; customer without MCA",
            "PATCH",
            TRANSFER.to_owned(),
            of(SIGNED),
            Some(json!({ "status": "Complete", "transferType": 3, "sourcePartnerTenantId": SIGNED,
                "lineItems": [{ "subscriptionId": "3f1d6a0e-91b5-4d7c-8a55-2f4b7c0d1e11", "quantity": 5 }] })),
            200,
            None,
        ),
        scene(
            "an order of that customer, cancelled as SDKs do: read, changed and sent back",
            "PATCH",
            ORDER.to_owned(),
            of(SIGNED),
            Some(cancelled()),
            200,
            None,
        ),
        scene(
            "a subscription of that customer, cancelled at the end of its term",
            "PATCH",
            ending.clone(),
            of(SIGNED),
            Some(json!({ "autoRenewEnabled": false,
                "scheduledActions": [{ "scheduleType": "endOfTerm", "actionType": "cancel" }] })),
            200,
            None,
        ),
        scene(
            "the same without the cancellation, which lets it be extended",
            "PATCH",
            ending,
            of(SIGNED),
            Some(json!({ "autoRenewEnabled": false })),
            200,
            Some("subscription.let_extend"),
        ),
        scene(
            "suspending a subscription by sending all of it back",
            "PATCH",
            subscription.clone(),
            of(SIGNED),
            Some(
                json!({ "id": "3f1d6a0e-91b5-4d7c-8a55-2f4b7c0d1e11", "quantity": 10, "status": "suspended" }),
            ),
            200,
            None,
        ),
        scene(
            "the same with more seats in it",
            "PATCH",
            subscription.clone(),
            of(SIGNED),
            Some(
                json!({ "id": "3f1d6a0e-91b5-4d7c-8a55-2f4b7c0d1e11", "quantity": 11, "status": "suspended" }),
            ),
            403,
            Some("agreement-missing"),
        ),
        scene(
            "suspending that customer's subscription",
            "PATCH",
            subscription,
            of(SIGNED),
            Some(json!({ "status": "suspended" })),
            200,
            None,
        ),
        scene(
            "confirming that customer's acceptance",
            "POST",
            format!("/v1/customers/{NOT_ACCEPTED}/agreements"),
            of(SIGNED),
            Some(json!({
                "primaryContact": { "firstName": "Nadia", "lastName": "Okafor", "email": "nadia@example.com" },
                "templateId": "117a77b0-9360-443b-8795-c6dedc750cf9",
                "dateAgreed": "2026-11-01T00:00:00Z",
                "type": "MicrosoftCustomerAgreement",
            })),
            201,
            None,
        ),
        scene(
            "an order for that customer: the confirmation counts at once",
            "POST",
            orders_of(NOT_ACCEPTED),
            of(SIGNED),
            one(LICENCE),
            201,
            None,
        ),
        scene(
            "an order by a helpdesk agent",
            "POST",
            orders_of(ACCEPTED),
            Token::Of { partner: SIGNED, role: "HelpdeskAgent" },
            one(LICENCE),
            403,
            Some("role-missing"),
        ),
        scene(
            "an order with a forged token",
            "POST",
            orders_of(ACCEPTED),
            Token::Forged,
            one(LICENCE),
            401,
            Some("token-invalid"),
        ),
    ]
}
