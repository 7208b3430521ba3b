//! What the fuzz targets share: the shipped policies, the requests of the tables, and the letter cases of a text.

use std::path::Path as FilePath;

use countersign::config::{self, Settings, node::Value};
use countersign::policy::agreement::Cloud;
use countersign::policy::facts::{Caller, PartnerKind, Profile};
use countersign::policy::id::Guid;
use countersign::policy::operation::Method;
use countersign::policy::path::Path;
use countersign::policy::role::NameSet;
use countersign::policy::{Policy, Route};
use jiff::Timestamp;

/// The moment at which everything is judged: a run finds what another run found.
pub const AT: i64 = 1_795_305_600;

/// The configuration that ships; its neighbours are read from beside it.
pub const CONFIGURATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/countersign.yaml");

/// Every method that is forwarded.
pub const METHODS: [Method; 7] =
    [Method::Get, Method::Head, Method::Post, Method::Put, Method::Patch, Method::Delete, Method::Options];

const TABLES: [&str; 5] = [
    include_str!("../../data/requests/purchases.json"),
    include_str!("../../data/requests/wind-downs.json"),
    include_str!("../../data/requests/cures.json"),
    include_str!("../../data/requests/reads.json"),
    include_str!("../../data/requests/administration.json"),
];

/// [`AT`] as a moment.
pub fn at() -> Timestamp {
    Timestamp::from_second(AT).expect("a moment of this century")
}

/// The shipped settings with these texts laid over them.
pub fn settings(overrides: &[(&str, &str)]) -> Settings {
    let text = include_str!("../../../config/countersign.yaml");
    let overrides: Vec<(&str, Value)> =
        overrides.iter().map(|(at, text)| (*at, Value::Text((*text).to_owned()))).collect();
    let loaded = config::load_text(FilePath::new(CONFIGURATION), text, &overrides, at());
    let report = loaded.report(false);
    loaded.settings.unwrap_or_else(|| panic!("{report}"))
}

/// The shipped policy, with these texts laid over it.
pub fn policy(overrides: &[(&str, &str)]) -> Policy {
    settings(overrides).policy.policy
}

/// A direct-bill partner that may sell.
pub fn caller(policy: &Policy) -> Caller {
    let partner = Profile {
        tenant: Guid::parse("11111111-aaaa-4bbb-8ccc-000000000001").expect("a tenant id"),
        mpn: None,
        kind: PartnerKind::DirectBill,
        cloud: Cloud::Commercial,
        country: None,
        region: None,
        labels: NameSet::EMPTY,
    };
    Caller { partner, billing: partner, roles: policy.roles.find("admin_agent").expect("a role of the example") }
}

/// A request of the tables.
pub struct Row {
    /// The method.
    pub method: Method,
    /// The path, without a query.
    pub path: String,
    /// The body as text; empty for none.
    pub body: String,
}

/// Every request of the tables.
pub fn rows() -> Vec<Row> {
    let read = |row: &serde_json::Value| Row {
        method: row["method"].as_str().and_then(Method::parse).expect("a method"),
        path: row["path"].as_str().expect("a path").split('?').next().unwrap_or_default().to_owned(),
        body: match (row.get("body"), row.get("body_text")) {
            (Some(body), _) => body.to_string(),
            (None, Some(text)) => text.as_str().expect("a text").to_owned(),
            (None, None) => String::new(),
        },
    };
    let table = |text: &&str| serde_json::from_str::<Vec<serde_json::Value>>(text).expect("a table");
    TABLES.iter().flat_map(table).map(|row| read(&row)).collect()
}

/// One request for every endpoint that is judged, and one write below a customer that no operation lists.
pub fn judged_requests(policy: &Policy) -> Vec<(Method, String)> {
    let endpoint_of =
        |method, path: &str| match policy.route(method, &Path::parse(path).expect("a plain path")) {
            Route::Judge(endpoint) => Some(std::ptr::from_ref(endpoint)),
            _ => None,
        };
    let unlisted = "/v1/customers/c0a80101-6d2b-4c1e-8f10-000000000001/somethingNew".to_owned();
    let rows = rows().into_iter().map(|row| (row.method, row.path));
    let mut found: Vec<(Method, String)> = Vec::new();
    let mut seen = Vec::new();
    for (method, path) in rows.chain([(Method::Post, unlisted)]) {
        if let Some(endpoint) = endpoint_of(method, &path)
            && !seen.contains(&endpoint)
        {
            seen.push(endpoint);
            found.push((method, path));
        }
    }
    let judged = policy.endpoints.iter().filter(|endpoint| endpoint.is_judged());
    let missing: Vec<&str> = judged
        .filter(|endpoint| !seen.contains(&std::ptr::from_ref(*endpoint)))
        .map(|endpoint| policy.operations[endpoint.operation.index()].name.as_str())
        .collect();
    assert!(missing.is_empty(), "no request of the tables is any of {missing:?}");
    found
}

/// The letter cases in which ASCII texts are tried: lower, upper, each the other way round, every second.
pub const LETTER_CASES: [fn(usize, u8) -> u8; 4] = [
    |_, byte| byte.to_ascii_lowercase(),
    |_, byte| byte.to_ascii_uppercase(),
    |_, byte| if byte.is_ascii_lowercase() { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() },
    |at, byte| if at % 2 == 0 { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() },
];

/// A text in another letter case.
pub fn recased(text: &str, case: fn(usize, u8) -> u8) -> String {
    let letter = |(at, letter): (usize, char)| match u8::try_from(letter) {
        Ok(byte) if byte.is_ascii() => char::from(case(at, byte)),
        _ => letter,
    };
    text.chars().enumerate().map(letter).collect()
}
