//! Rows of `tests/data/intake/`: requests that differ from a plain order in one thing, and what has to come of each.
//!
//! A row without a `reason` has to reach the upstream as it was sent, but for what its `seen` says; one with a reason
//! has to be refused for it, and the upstream must have seen nothing. The reason `protocol` stands for a refusal below
//! the request path, by whatever reads the protocol: it carries no problem response. Over HTTP/2 it may be no answer at
//! all but the end of the stream (RFC 9113 section 8.1.1).

use std::collections::BTreeMap;
use std::path::Path;

use countersign::standin::Recorded;
use serde::Deserialize;
use serde_json::Value;

use crate::http::Answer;
use crate::minting::TokenChange;
use crate::stage::{CUSTOMER, LICENCE, Stage, order, orders};
use crate::transport::Transport;

/// One row.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    pub shows: String,
    /// The protocol that can say it; absent where every protocol can.
    pub only: Option<Protocol>,
    /// As the request line of HTTP/1 ends; absent for `HTTP/1.1`.
    pub version: Option<String>,
    pub method: Option<String>,
    pub target: Option<Text>,
    /// Beside the plain order's; a name that is given here replaces it.
    #[serde(default)]
    pub headers: Vec<(Text, Text)>,
    /// Headers of the plain order that are left out.
    #[serde(default)]
    pub without: Vec<String>,
    pub token: Option<TokenChange>,
    pub body: Option<Text>,
    #[serde(default)]
    pub framing: Framing,
    #[serde(default)]
    pub trailers: Vec<(String, String)>,
    pub status: u16,
    pub reason: Option<String>,
    /// Over HTTP/2, where it is another one.
    pub http2_reason: Option<String>,
    /// A part of the detail that the answer gives: the right refusal for the wrong cause fails.
    pub detail: Option<String>,
    #[serde(default)]
    pub seen: Seen,
    #[serde(default)]
    pub answer: Fields,
    /// Whether it passes for a customer without an agreement too.
    #[serde(default)]
    pub ungated: bool,
    /// What is wrong with the gateway here: the row has to fail until that is mended, and then lose this mark.
    pub open: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    Http1,
    Http2,
}

/// How a body is sent.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// With its length.
    #[default]
    Length,
    /// In two chunks, and the trailers.
    Chunked,
    /// With its length, once the go-ahead has come.
    Expect,
    /// As the headers of the row say.
    ByHand,
}

/// What the upstream saw, where it is not what was sent.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    pub target: Option<Text>,
    pub body: Option<Text>,
    /// All of its trailers, in order.
    #[serde(default)]
    pub trailers: Vec<(String, String)>,
    #[serde(flatten)]
    pub fields: Fields,
}

/// Values of headers and trailers by lower-case name, all of them in order; an empty list says that there is none.
#[derive(Debug, Default, Deserialize)]
pub struct Fields {
    #[serde(default)]
    pub headers: BTreeMap<String, Vec<Text>>,
}

/// Bytes: a text, `{"hex": ..}`, `{"repeat": .., "times": ..}`, `{"json": ..}`, or a list of these.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(try_from = "Value")]
pub struct Text(pub Vec<u8>);

impl TryFrom<Value> for Text {
    type Error = String;

    fn try_from(value: Value) -> Result<Text, String> {
        let unknown = || format!("`{value}` is no text of a row");
        match &value {
            Value::String(text) => Ok(Text(text.clone().into_bytes())),
            Value::Array(parts) => {
                let parts: Result<Vec<Text>, String> = parts.iter().cloned().map(Text::try_from).collect();
                Ok(Text(parts?.into_iter().flat_map(|part| part.0).collect()))
            }
            Value::Object(form) => {
                if let Some(json) = form.get("json") {
                    return Ok(Text(json.to_string().into_bytes()));
                }
                if let Some(hex) = form.get("hex").and_then(Value::as_str) {
                    let digits: Option<Vec<u8>> = (0..hex.len() / 2)
                        .map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).ok())
                        .collect();
                    return digits.map(Text).ok_or_else(unknown);
                }
                let repeated = form.get("repeat").cloned().zip(form.get("times").and_then(Value::as_u64));
                let (part, times) = repeated.ok_or_else(unknown)?;
                Ok(Text(Text::try_from(part)?.0.repeat(times as usize)))
            }
            _ => Err(unknown()),
        }
    }
}

impl Text {
    /// With `{name}` replaced by its value.
    fn filled(&self, places: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = self.0.clone();
        for (name, value) in places {
            let place = format!("{{{name}}}").into_bytes();
            let mut from = 0;
            while let Some(at) = bytes[from..].windows(place.len()).position(|part| part == place) {
                bytes.splice(from + at..from + at + place.len(), value.bytes());
                from += at + value.len();
            }
        }
        bytes
    }
}

/// A request of a row, for any protocol to send.
#[derive(Clone, Debug)]
pub struct Request {
    /// Of HTTP/1; other protocols have but one.
    pub version: String,
    pub method: String,
    pub target: Vec<u8>,
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub body: Vec<u8>,
    pub framing: Framing,
    pub trailers: Vec<(String, String)>,
}

impl Row {
    /// The request of the row, about a customer and with a token.
    pub fn request(&self, customer: &str, token: &str) -> Request {
        let places = [
            ("customer", customer),
            ("CUSTOMER", &customer.to_ascii_uppercase()),
            ("licence", LICENCE),
            ("token", token),
        ];
        let method = self.method.clone().unwrap_or_else(|| "POST".to_owned());
        let body = match &self.body {
            Some(text) => text.filled(&places),
            None if matches!(method.as_str(), "POST" | "PUT" | "PATCH") => order().into_bytes(),
            None => Vec::new(),
        };
        let given: Vec<(Vec<u8>, Vec<u8>)> =
            self.headers.iter().map(|(name, value)| (name.filled(&places), value.filled(&places))).collect();
        let has = |name: &str| {
            self.without.iter().any(|known| known == name)
                || given.iter().any(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))
        };
        let authorization = format!("Bearer {token}");
        let usual = [
            ("host", "gateway.example"),
            ("authorization", &authorization),
            ("content-type", "application/json"),
        ];
        let headers = usual
            .iter()
            .filter(|(name, _)| !has(name) && (*name != "content-type" || !body.is_empty()))
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
            .chain(given.iter().cloned())
            .collect();
        let target = match &self.target {
            Some(target) => target.filled(&places),
            None => orders(customer).into_bytes(),
        };
        let version = self.version.clone().unwrap_or_else(|| "HTTP/1.1".to_owned());
        Request {
            version,
            method,
            target,
            headers,
            body,
            framing: self.framing,
            trailers: self.trailers.clone(),
        }
    }

    /// The row as a protocol has it; `None` where that can not say it.
    pub fn by(mut self, protocol: Protocol) -> Option<Row> {
        let other = self.http2_reason.take();
        if protocol == Protocol::Http2 && other.is_some() {
            (self.reason, self.detail) = (other, None);
        }
        self.only.is_none_or(|only| only == protocol).then_some(self)
    }

    /// What is not as the row says.
    fn faults(
        &self,
        (protocol, customer): (Protocol, &str),
        request: &Request,
        answer: &Answer,
        seen: &[Recorded],
    ) -> Vec<String> {
        let mut faults = Vec::new();
        let problem = problem(answer);
        let found = problem.as_ref().map_or("none", |(reason, _)| reason.as_str());
        let wanted = match self.reason.as_deref() {
            None | Some("protocol") => "none",
            Some(reason) => reason,
        };
        let is_reset = (protocol, answer.status) == (Protocol::Http2, 0);
        let may_be_reset = self.reason.as_deref() == Some("protocol");
        if (answer.status, found) != (self.status, wanted) && !(is_reset && may_be_reset) {
            faults.push(format!(
                "expected {} for reason {wanted}, found {} for {found}: {}",
                self.status,
                answer.status,
                String::from_utf8_lossy(&answer.body[..answer.body.len().min(300)])
            ));
        }
        if let (Some(wanted), Some((_, detail))) = (&self.detail, &problem)
            && !detail.contains(wanted.as_str())
        {
            faults.push(format!("expected the detail `{wanted}`, found `{detail}`"));
        }
        if problem.is_some() && (answer.status == 401) != answer.header("www-authenticate").is_some() {
            faults.push("a challenge comes with 401 and with nothing else".to_owned());
        }
        let answered = |name: &str| {
            let fields = answer.headers.iter().chain(&answer.trailers);
            let values = fields.filter(|(known, _)| known.eq_ignore_ascii_case(name));
            values.map(|(_, value)| value.clone().into_bytes()).collect()
        };
        self.answer.compare("the answer's", &[("customer", customer)], answered, &mut faults);
        match (&self.reason, seen) {
            (Some(_), []) => {}
            (Some(_), [first, ..]) => {
                faults.push(format!("the upstream saw {} {}", first.method, first.target))
            }
            (None, [only]) => self.compare_seen((protocol, customer), request, only, &mut faults),
            (None, several) => faults.push(format!("the upstream saw {} requests", several.len())),
        }
        faults
    }

    fn compare_seen(
        &self,
        (protocol, customer): (Protocol, &str),
        request: &Request,
        seen: &Recorded,
        faults: &mut Vec<String>,
    ) {
        let scheme = if protocol == Protocol::Http2 { "https" } else { "http" };
        let places = [
            ("customer", customer),
            ("CUSTOMER", &customer.to_ascii_uppercase()),
            ("licence", LICENCE),
            ("scheme", scheme),
        ];
        let target =
            self.seen.target.as_ref().map_or_else(|| request.target.clone(), |text| text.filled(&places));
        let body = self.seen.body.as_ref().map_or_else(|| request.body.clone(), |text| text.filled(&places));
        if (seen.method.as_str(), seen.target.as_bytes()) != (request.method.as_str(), target.as_slice()) {
            faults.push(format!("the upstream saw {} {}", seen.method, seen.target));
        }
        if seen.body != body || !seen.complete {
            faults.push(format!("the upstream saw another body: {}", String::from_utf8_lossy(&seen.body)));
        }
        if seen.trailers != self.seen.trailers {
            faults.push(format!("the upstream saw the trailers {:?}", seen.trailers));
        }
        let all = |name: &str| -> Vec<Vec<u8>> {
            let values = seen.headers.iter().filter(|(known, _)| known == name);
            values.map(|(_, value)| value.clone()).collect()
        };
        for once in ["host", "countersign-partner", "countersign-roles", "x-forwarded-for"] {
            if all(once).len() != 1 {
                faults.push(format!("the upstream saw `{once}` {} times", all(once).len()));
            }
        }
        if all("content-length").len() + all("transfer-encoding").len() > 1 {
            faults.push("the upstream saw more than one length".to_owned());
        }
        self.seen.fields.compare("the upstream's", &places, all, faults);
    }
}

impl Fields {
    fn compare(
        &self,
        whose: &str,
        places: &[(&str, &str)],
        values: impl Fn(&str) -> Vec<Vec<u8>>,
        faults: &mut Vec<String>,
    ) {
        for (name, wanted) in &self.headers {
            let wanted: Vec<Vec<u8>> = wanted.iter().map(|text| text.filled(places)).collect();
            let found = values(name);
            if found != wanted {
                let shown: Vec<_> = found.iter().map(|value| String::from_utf8_lossy(value)).collect();
                faults.push(format!("{whose} `{name}` is {shown:?}"));
            }
        }
    }
}

/// Reason and detail of a problem response; `None` for any other answer.
fn problem(answer: &Answer) -> Option<(String, String)> {
    (answer.header("content-type") == Some("application/problem+json")).then(|| {
        let detail = answer.json()["detail"].as_str().unwrap_or("").to_owned();
        (answer.reason(), detail)
    })
}

/// The rows of a file.
pub fn read(file: &str) -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/intake").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    let rows: Vec<Row> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut names: Vec<&str> = rows.iter().map(|row| row.shows.as_str()).collect();
    names.sort_unstable();
    for pair in names.windows(2) {
        assert_ne!(pair[0], pair[1], "two rows of {file} have one name");
    }
    rows
}

/// A run through a table: its failures are kept until the end, so that all of them show.
pub struct Run<'s> {
    stage: &'s Stage,
    transport: Transport,
    count: usize,
    failures: Vec<String>,
}

impl<'s> Run<'s> {
    pub fn new(stage: &'s Stage, transport: Transport) -> Run<'s> {
        Run { stage, transport, count: 0, failures: Vec::new() }
    }

    /// Sends the request of a row about a customer, and holds what comes of it against the row.
    pub fn check(&mut self, row: &Row, customer: &str, token: &str) -> Answer {
        let request = row.request(customer, token);
        self.count += 1;
        self.stage.standin.recorded();
        let answer = self.transport.send(&request);
        let whose = (self.transport.protocol(), customer);
        let faults = row.faults(whose, &request, &answer, &self.stage.standin.recorded());
        match (&row.open, faults.is_empty()) {
            (None, true) | (Some(_), false) => {}
            (None, false) => {
                let whose = if customer == CUSTOMER { "" } else { " (customer without an agreement)" };
                self.failures.push(format!("{}{whose}: {}", row.shows, faults.join("; ")));
            }
            (Some(open), true) => self.failures.push(format!("{}: no longer open: {open}", row.shows)),
        }
        answer
    }

    /// Fails with every row that did.
    pub fn finish(self) {
        let (count, failed) = (self.count, self.failures.len());
        let protocol = self.transport.protocol();
        assert!(count > 100, "{count} rows can be said over {protocol:?}");
        assert!(failed == 0, "{failed} of {count} failed over {protocol:?}:\n{}", self.failures.join("\n"));
    }
}
