//! Control: the requests below `/.standin/` that set a stand-in up from another process.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::standin::answer::Answer;
use crate::standin::book::Book;
use crate::standin::lists::List;
use crate::standin::parties::PartnerStatus;
use crate::standin::shared::Shared;
use crate::standin::throttle::ThrottleShape;

/// What the path of such a request begins with; a name from [`NAMES`] follows.
pub const PREFIX: &str = "/.standin/";

/// Longest pause, in seconds.
const PAUSE_SECONDS_MAX: u64 = 3600;

/// All names that are POSTed to.
const NAMES: [&str; 21] = [
    "direct",
    "attestations",
    "partner-status",
    "standing",
    "resource",
    "forget-resource",
    "refuse",
    "require-token",
    "revoke-tokens",
    "token-endpoint",
    "throttle",
    "throttle-shape",
    "fault",
    "clear-faults",
    "replay",
    "release",
    "pause",
    "page-size",
    "agreement-records",
    "relationships",
    "audit-records",
];

/// What such a request comes to.
pub enum Control {
    /// It is done, or refused.
    Answer(Answer),
    /// The line is to be closed for that long.
    Pause(Duration),
}

/// Does what one request asks for. `name` is what follows [`PREFIX`]; `_` counts as `-` in it.
pub fn answer(shared: &Shared, method: &str, name: &str, body: &[u8]) -> Control {
    let book = &shared.book;
    let name = name.trim_end_matches('/').to_ascii_lowercase().replace('_', "-");
    match (method, name.as_str()) {
        ("GET", "counts") => Control::Answer(Answer::ok(&counts(shared))),
        ("GET", "refresh-token") => {
            Control::Answer(Answer::ok(&json!({ "refresh_token": book.tokens.refresh_token() })))
        }
        ("POST", "release") => {
            shared.ledger.release();
            Control::Answer(Answer::empty(StatusCode::NO_CONTENT))
        }
        ("POST", "pause") => match read(body).and_then(pause) {
            Ok(lasting) => Control::Pause(lasting),
            Err(problem) => refused(&name, &problem),
        },
        ("POST", _) => match set(book, &name, body) {
            Ok(()) => Control::Answer(Answer::empty(StatusCode::NO_CONTENT)),
            Err(problem) => refused(&name, &problem),
        },
        _ => refused(&name, "this is neither a POST nor a GET of `counts` or `refresh-token`"),
    }
}

fn counts(shared: &Shared) -> Value {
    let mut counts = shared.book.counts.printed();
    counts["requests"] = shared.ledger.requests().into();
    counts["mutations"] = shared.ledger.mutations().into();
    counts
}

fn refused(name: &str, problem: &str) -> Control {
    let description = format!("{PREFIX}{name}: {problem}");
    Control::Answer(Answer::fault_from("Standin", StatusCode::BAD_REQUEST, 2000, &description))
}

fn set(book: &Book, name: &str, body: &[u8]) -> Result<(), String> {
    match name {
        "direct" => {
            let Direct { customer, signed } = read(body)?;
            book.parties.set_direct(&customer, signed);
        }
        "attestations" => {
            let Attestations { customer, items } = read(body)?;
            book.parties.set_attestations(&customer, items);
        }
        "partner-status" => {
            let Partner { id, status } = read(body)?;
            book.parties.set_partner(&id, partner_status(&status)?);
        }
        "standing" => {
            let Standing { id, valid } = read(body)?;
            book.parties.set_standing(&id, valid);
        }
        "resource" => {
            let Resource { path, resource, etag } = read(body)?;
            book.shelf.put(&path, resource, etag.as_deref());
        }
        "forget-resource" => {
            let Path { path } = read(body)?;
            book.shelf.forget(&path);
        }
        "refuse" => {
            let Refuse { customer, code, in_checkout } = read(body)?;
            match in_checkout {
                true => book.refusals.set_checkout(&customer, code),
                false => book.refusals.set_purchase(&customer, code),
            }
        }
        "require-token" => {
            let Switch { on } = read(body)?;
            book.tokens.require(on);
        }
        "revoke-tokens" => book.tokens.revoke(),
        "token-endpoint" => book.tokens.set_endpoint(read(body)?),
        "throttle" => {
            let Limit { per_minute, shape } = read(body)?;
            if let Some(shape) = shape {
                book.throttle.shape(throttle_shape(&shape)?);
            }
            book.throttle.limit(per_minute);
        }
        "throttle-shape" => {
            let Shape { shape } = read(body)?;
            book.throttle.shape(throttle_shape(&shape)?);
        }
        "fault" => {
            let Fault { method, path_part, fault, times } = read(body)?;
            book.steering.add(&method, &path_part, &fault, times)?;
        }
        "clear-faults" => book.steering.clear(),
        "replay" => {
            let Switch { on } = read(body)?;
            book.replays.set(on);
        }
        "page-size" => {
            let Size { size } = read(body)?;
            book.lists.set_page_size(size);
        }
        "agreement-records" => set_list(book, List::AgreementRecords, body)?,
        "relationships" => set_list(book, List::Relationships, body)?,
        "audit-records" => set_list(book, List::AuditRecords, body)?,
        _ => return Err(format!("unknown; known: {}", NAMES.join(", "))),
    }
    Ok(())
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

fn set_list(book: &Book, list: List, body: &[u8]) -> Result<(), String> {
    let Items { items } = read(body)?;
    book.lists.set(list, items);
    Ok(())
}

fn pause(pause: Pause) -> Result<Duration, String> {
    match pause.seconds {
        seconds @ 0..=PAUSE_SECONDS_MAX => Ok(Duration::from_secs(seconds)),
        seconds => Err(format!("`{seconds}` seconds are too many; at most {PAUSE_SECONDS_MAX}")),
    }
}

fn partner_status(status: &Value) -> Result<PartnerStatus, String> {
    let code = || Some(PartnerStatus::Code(u32::try_from(status.as_u64()?).ok()?));
    match status.as_str() {
        Some("signed") => Ok(PartnerStatus::Signed),
        Some("false") => Ok(PartnerStatus::False),
        _ => code().ok_or_else(|| format!("`{status}` is no status; known: \"signed\", \"false\" and codes")),
    }
}

fn throttle_shape(shape: &str) -> Result<ThrottleShape, String> {
    match shape {
        "seconds" => Ok(ThrottleShape::Seconds),
        "date" => Ok(ThrottleShape::Date),
        "body_only" => Ok(ThrottleShape::BodyOnly),
        "fault" => Ok(ThrottleShape::Fault),
        _ => Err(format!("`{shape}` is no shape; known: seconds, date, body_only, fault")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Direct {
    customer: String,
    signed: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attestations {
    customer: String,
    items: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Partner {
    id: String,
    status: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Standing {
    id: String,
    valid: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resource {
    path: String,
    resource: Value,
    #[serde(default)]
    etag: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Path {
    path: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refuse {
    customer: String,
    code: Option<u32>,
    #[serde(default)]
    in_checkout: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Switch {
    on: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Limit {
    per_minute: Option<u32>,
    #[serde(default)]
    shape: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    shape: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fault {
    #[serde(default)]
    method: String,
    path_part: String,
    fault: String,
    #[serde(default)]
    times: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pause {
    seconds: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Size {
    size: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Items {
    items: Vec<Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::standin::ledger::Ledger;
    use crate::standin::line::Line;
    use crate::standin::testing::{body_of, send, start};

    fn shared() -> Shared {
        Shared { ledger: Ledger::new(), book: Book::default(), line: Line::new().0 }
    }

    fn steer(shared: &Shared, method: &str, name: &str, body: &str) -> Answer {
        match answer(shared, method, name, body.as_bytes()) {
            Control::Answer(answer) => answer,
            Control::Pause(lasting) => Answer::ok(&json!(lasting.as_secs())),
        }
    }

    #[test]
    fn every_name_is_understood() {
        let rows = [
            ("direct", r#"{"customer":"c","signed":false}"#),
            ("attestations", r#"{"customer":"c","items":[{}]}"#),
            ("partner-status", r#"{"id":"1","status":"signed"}"#),
            ("partner_status", r#"{"id":"2","status":"false"}"#),
            ("partner-status", r#"{"id":"3","status":2203}"#),
            ("standing", r#"{"id":"4","valid":false}"#),
            ("resource", r#"{"path":"/v1/x","resource":{},"etag":"e"}"#),
            ("forget-resource", r#"{"path":"/v1/x"}"#),
            ("refuse", r#"{"customer":"c","code":13605}"#),
            ("refuse", r#"{"customer":"c","code":900123,"in_checkout":true}"#),
            ("require-token", r#"{"on":true}"#),
            ("revoke-tokens", ""),
            ("token-endpoint", r#"{"client_id":"i","client_secret":"s","refresh_token":"r"}"#),
            ("throttle", r#"{"per_minute":5,"shape":"date"}"#),
            ("throttle-shape", r#"{"shape":"body_only"}"#),
            ("fault", r#"{"method":"GET","path_part":"/x","fault":"status=503","times":2}"#),
            ("clear-faults", ""),
            ("replay", r#"{"on":true}"#),
            ("release", ""),
            ("page-size", r#"{"size":2}"#),
            ("agreement-records", r#"{"items":[1]}"#),
            ("relationships", r#"{"items":[1]}"#),
            ("audit-records", r#"{"items":[1]}"#),
        ];
        let shared = shared();
        let book = &shared.book;
        for (name, body) in rows {
            let answer = steer(&shared, "POST", name, body);
            assert_eq!(answer.status, StatusCode::NO_CONTENT, "{name} {body}: {:?}", answer.body);
        }
        for name in NAMES {
            assert!(name == "pause" || rows.iter().any(|(row, _)| *row == name), "{name}");
        }
        assert_eq!(book.parties.direct("c"), Some(false));
        assert_eq!(book.parties.partner("3"), Some(PartnerStatus::Code(2203)));
        assert_eq!(book.parties.standing("4"), Some(false));
        assert_eq!(book.refusals.of_purchase("c"), Some(13605));
        assert_eq!(book.refusals.of_checkout("c"), Some(900_123));
        assert!(book.tokens.is_required());
        assert_eq!(body_of(&steer(&shared, "GET", "refresh-token", "")), json!({ "refresh_token": "r" }));
        assert_eq!(book.lists.page_size(), Some(2));
        assert_eq!(body_of(&steer(&shared, "GET", "counts", ""))["orders"], 0);
        assert_eq!(body_of(&steer(&shared, "POST", "pause", r#"{"seconds":7}"#)), 7);
    }

    #[test]
    fn what_is_misspelt_is_refused_with_a_reason() {
        let rows = [
            ("POST", "drect", "{}", "known: direct"),
            ("POST", "direct", r#"{"customer":"c"}"#, "`signed`"),
            ("POST", "direct", r#"{"customer":"c","signed":true,"sined":1}"#, "`sined`"),
            ("POST", "direct", "", "EOF"),
            ("POST", "partner-status", r#"{"id":"1","status":"unsigned"}"#, "known: "),
            ("POST", "fault", r#"{"path_part":"x","fault":"statsu=1"}"#, "statsu"),
            ("POST", "throttle-shape", r#"{"shape":"dates"}"#, "body_only"),
            ("POST", "pause", r#"{"seconds":3601}"#, "at most 3600"),
            ("GET", "direct", "", "POST"),
        ];
        for (method, name, body, reason) in rows {
            let answer = steer(&shared(), method, name, body);
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name} {body}");
            let description = body_of(&answer)["description"].clone();
            assert!(description.as_str().unwrap().contains(reason), "{description}");
        }
    }

    #[test]
    fn steering_over_http_is_neither_counted_nor_recorded() {
        let standin = start();
        standin.record(true);
        let body = r#"{"path_part":"/agreements","fault":"status=503","times":1}"#;
        let reply = send(&standin, "POST", "/.standin/fault", body);
        assert_eq!((reply.status(), reply.field("content-length")), (204, None));
        assert_eq!((standin.request_count(), standin.mutation_count()), (0, 0));
        let statuses = [503, 200].map(|status| {
            assert_eq!(send(&standin, "GET", "/v1/customers/c/agreements", "").status(), status);
            status
        });
        let counts = send(&standin, "GET", "/.standin/counts", "").json();
        assert_eq!(counts["attestations"], statuses.len());
        assert_eq!((&counts["requests"], &counts["mutations"]), (&json!(statuses.len()), &json!(0)));
        assert_eq!(standin.recorded().len(), statuses.len());
    }
}
