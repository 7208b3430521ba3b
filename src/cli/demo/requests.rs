//! The requests of the demo on their way, and what came back.

use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cli::demo::scenes::{
    ACCEPTED, AGENT, LICENCE, NOT_ACCEPTED, SIGNED, Scene, Token, UNSIGNED, order, orders_of, scenes,
};
use crate::cli::exit::say;
use crate::standin::{Issuer, Standin};

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
