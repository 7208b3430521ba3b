//! The requests of the demo: what is asked, what should come back, and what does.

use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cli::exit::say;
use crate::standin::{Issuer, Standin};

/// The partner whose customers and resellers Partner Center is asked about.
pub const SIGNED: &str = "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a01";
// Further partners, resellers and customers of the shipped ledger.
const UNSIGNED: &str = "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a02";
const FRENCH: &str = "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a03";
const ACCEPTED: &str = "c0a80101-6d2b-4c1e-8f10-000000000001";
const NOT_ACCEPTED: &str = "c0a80101-6d2b-4c1e-8f10-000000000002";
const ACCEPTED_2021: &str = "c0a80101-6d2b-4c1e-8f10-000000000003";
const UNRECORDED: &str = "c0a80101-6d2b-4c1e-8f10-0000000000ff";
const UNSIGNED_RESELLER: &str = "6204417";
const SIGNED_RESELLER: &str = "4847383";
const LICENCE: &str = "CFQ7TTC0LH18:0001:CFQ7TTC0K971";
const AZURE_PLAN: &str = "DZH318Z0BPS6:0001:DZH318Z0BML6";

/// A cart of the customer that has accepted.
const CART: &str =
    "/v1/customers/c0a80101-6d2b-4c1e-8f10-000000000001/carts/9a1b6c52-0d3e-4f7a-8b6c-5d4e3f2a1b0d";

/// Sets what the ordering API holds before the first request.
pub fn furnish(standin: &Standin) {
    let line = json!({ "id": 0, "catalogItemId": LICENCE, "quantity": 5,
        "participants": [{ "key": "transaction_reseller", "value": UNSIGNED_RESELLER }] });
    standin.set_resource(CART, json!({ "id": "cart", "status": "Active", "lineItems": [line] }), None);
}

/// Where the demo plays.
pub struct Fixture<'a> {
    /// Signs the tokens.
    pub issuer: &'a Issuer,
    /// The gateway.
    pub gateway: SocketAddr,
}

/// A request that was asked.
pub struct Asked {
    /// What was asked.
    pub what: String,
    /// Status and reason.
    pub answer: String,
    /// Why.
    pub why: String,
    /// Whether that was expected.
    pub as_expected: bool,
    /// Whether the ordering API saw it.
    pub reached: bool,
}

struct Scene {
    what: &'static str,
    method: &'static str,
    path: String,
    token: Token,
    body: Option<Value>,
    status: u16,
    /// The last part of the problem's type, or the rule of the notice.
    reason: Option<&'static str>,
}

enum Token {
    Of { partner: &'static str, role: &'static str },
    Forged,
}

const AGENT: &str = "AdminAgent";

fn of(partner: &'static str) -> Token {
    Token::Of { partner, role: AGENT }
}

fn order(lines: &[(&str, Option<&str>)]) -> Value {
    let line = |(number, (product, reseller)): (usize, &(&str, Option<&str>))| json!({ "lineItemNumber": number, "offerId": product, "quantity": 5, "partnerIdOnRecord": reseller });
    let lines: Vec<Value> = lines.iter().enumerate().map(line).collect();
    json!({ "billingCycle": "monthly", "currencyCode": "EUR", "lineItems": lines })
}

fn orders_of(customer: &str) -> String {
    format!("/v1/customers/{customer}/orders")
}

fn scenes() -> Vec<Scene> {
    let subscription =
        format!("/v1/customers/{NOT_ACCEPTED}/subscriptions/3f1d6a0e-91b5-4d7c-8a55-2f4b7c0d1e11");
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

fn token(issuer: &Issuer, token: &Token) -> String {
    let claims = |partner: &str, role: &str| {
        let now = Timestamp::now().as_second();
        json!({
            "iss": format!("https://login.example/{partner}/v2.0"),
            "aud": "api://countersign",
            "tid": partner,
            "roles": [role],
            "oid": "1f0c2d3e-0000-4000-8000-00000000d3e0",
            "nbf": now - 60,
            "exp": now + 3600,
        })
    };
    match token {
        Token::Of { partner, role } => issuer.token(&claims(partner, role)),
        Token::Forged => {
            // Another partner's name under the signature of the first: header and signature stay, claims change.
            let (real, other) =
                (issuer.token(&claims(UNSIGNED, AGENT)), issuer.token(&claims(SIGNED, AGENT)));
            let (real, other): (Vec<&str>, Vec<&str>) =
                (real.split('.').collect(), other.split('.').collect());
            [real[0], other[1], real[2]].join(".")
        }
    }
}

/// Asks everything, one after the other.
pub fn ask_all(fixture: &Fixture<'_>, standin: &Standin) -> Result<Vec<Asked>, Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut asked = Vec::new();
        for scene in scenes() {
            // Only writes: what the gateway reads there by itself is not the caller's request.
            let before = standin.mutation_count();
            let answer = ask(fixture, &scene).await?;
            asked.push(told(&scene, &answer, standin.mutation_count() > before));
        }
        Ok(asked)
    })
}

async fn ask(fixture: &Fixture<'_>, scene: &Scene) -> Result<Response<Bytes>, Box<dyn std::error::Error>> {
    let stream = tokio::net::TcpStream::connect(fixture.gateway).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut request = Request::builder()
        .method(scene.method)
        .uri(&scene.path)
        .header("host", fixture.gateway.to_string())
        .header("authorization", format!("Bearer {}", token(fixture.issuer, &scene.token)));
    if scene.body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let body = scene.body.as_ref().map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
    let (head, body) = sender.send_request(request.body(Full::new(body))?).await?.into_parts();
    Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
}

fn told(scene: &Scene, answer: &Response<Bytes>, reached: bool) -> Asked {
    let status = answer.status().as_u16();
    let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let problem = body["type"].as_str().and_then(|kind| kind.strip_prefix("urn:countersign:"));
    let notice = answer.headers().get("countersign-notice").and_then(|notice| notice.to_str().ok());
    let rule_of_notice = notice.and_then(|notice| notice.split(':').next());
    let why = match (problem, notice) {
        (Some(_), _) => {
            let mut why = body["detail"].as_str().unwrap_or("").to_owned();
            for finding in body["findings"].as_array().into_iter().flatten() {
                let lines: Vec<&str> =
                    finding["lines"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                why += &format!(
                    " [{}{}{}]",
                    finding["rule"].as_str().unwrap_or(""),
                    if lines.is_empty() { "" } else { ": " },
                    lines.join(" ")
                );
            }
            if let Some(action) = body["findings"][0]["action"].as_str() {
                why += &format!(" -> {action}");
            }
            why
        }
        (None, Some(notice)) => format!("forwarded, with a notice: {notice}"),
        (None, None) if reached => "forwarded".to_owned(),
        (None, None) => String::new(),
    };
    let code = body["code"]
        .as_u64()
        .filter(|_| problem.is_some())
        .map_or_else(String::new, |code| format!(", code {code}"));
    let as_expected =
        status == scene.status && problem.or(rule_of_notice) == scene.reason && reached == (status < 400);
    Asked {
        what: scene.what.to_owned(),
        answer: match problem {
            Some(problem) => format!("{status} {problem}{code}"),
            None => format!("{status}{}", if notice.is_some() { " with a notice" } else { "" }),
        },
        why,
        as_expected,
        reached,
    }
}

/// Prints requests to paste into a shell.
pub fn print_to_paste(fixture: &Fixture<'_>, admin: SocketAddr, folder: &Path) {
    let url = format!("http://{}", fixture.gateway);
    say!("\nServing until Ctrl-C. Configuration, ledger and audit file: {}\n", folder.display());
    for (what, partner, role, customer) in [
        ("allowed", SIGNED, AGENT, ACCEPTED),
        ("denied: customer without MCA", SIGNED, AGENT, NOT_ACCEPTED),
        ("denied: own MPA missing, in French", UNSIGNED, "GlobalAdmin", ACCEPTED),
    ] {
        let token = token(fixture.issuer, &Token::Of { partner, role });
        say!("# {what}");
        say!(
            "curl -i {url}{} -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' -H 'X-Locale: {}' -d '{}'\n",
            orders_of(customer),
            if what.contains("French") { "fr" } else { "en" },
            order(&[(LICENCE, None)])
        );
    }
    let admin_token = token(fixture.issuer, &Token::Of { partner: UNSIGNED, role: "GlobalAdmin" });
    say!("# what is pending for a global administrator");
    say!("curl {url}/.countersign/pending -H 'Authorization: Bearer {admin_token}'\n");
    say!("# metrics");
    say!("curl http://{admin}/metrics");
}
