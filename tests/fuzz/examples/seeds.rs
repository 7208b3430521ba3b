//! Seeds: writes the corpora that fuzzing starts from, made of the tables and the shipped files.
//!
//! `seeds [FOLDER]` writes `FOLDER/TARGET/NUMBER` and a dictionary `FOLDER/TARGET.dict`; the folder is `corpus` by default.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use countersign_fuzz::{AT, rows};
use serde_json::{Value, json};

fn main() {
    let folder = std::env::args_os().nth(1).map_or_else(|| root().join("tests/fuzz/corpus"), PathBuf::from);
    let write = |target: &str, seeds: BTreeSet<Vec<u8>>, words: BTreeSet<String>| {
        let own = folder.join(target);
        fs::create_dir_all(&own).expect("a folder can be made");
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(own.join(format!("{number:04}")), seed).expect("a seed can be written");
        }
        let dictionary: String = words.iter().map(|word| format!("\"{}\"\n", escaped(word))).collect();
        fs::write(folder.join(format!("{target}.dict")), dictionary).expect("a dictionary can be written");
        println!("{target}: {} seeds, {} words", seeds.len(), words.len());
    };
    write("intake_path", paths(), words_of_paths());
    write("body_facts", bodies(), words_of_bodies());
    write("token", tokens(), words_of_tokens());
    write("config", configurations(), words_of_configurations());
    write("framing", connections(), words_of_connections());
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn text_of(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// As a dictionary of libFuzzer writes it.
fn escaped(word: &str) -> String {
    let one = |byte: u8| match byte {
        b'"' | b'\\' => format!("\\{}", char::from(byte)),
        0x20..=0x7e => char::from(byte).to_string(),
        other => format!("\\x{other:02x}"),
    };
    word.bytes().map(one).collect()
}

/// A column of a table of intake.
fn column(table: &str, name: &str) -> Vec<String> {
    let rows: Vec<Value> =
        serde_json::from_str(&text_of(&format!("tests/data/intake/{table}.json"))).expect("rows");
    rows.iter().filter_map(|row| Some(row[name].as_str()?.to_owned())).collect()
}

/// Connections.
fn connections() -> BTreeSet<Vec<u8>> {
    let rows: Vec<Value> = serde_json::from_str(&text_of("tests/data/intake/framing.json")).expect("rows");
    let sent = |row: &Value| {
        let pieces = row["send"].as_array().expect("pieces").iter();
        pieces.map(|piece| piece.as_str().expect("a text").replace("{token}", "t")).collect::<String>()
    };
    rows.iter().map(sent).filter(|sent| sent.len() < 1500).map(String::into_bytes).collect()
}

fn words_of_connections() -> BTreeSet<String> {
    let words = [
        "\r\n",
        "\r\n\r\n",
        "\n",
        "GET / HTTP/1.1\r\n",
        "POST / HTTP/1.0\r\n",
        "Content-Length: ",
        "content-length:5",
        "Transfer-Encoding: chunked",
        "0\r\n\r\n",
        "5\r\nhello\r\n",
        ";a=b",
        " ",
        "\t",
        ": ",
        "#",
    ];
    words.map(str::to_owned).into()
}

fn paths() -> BTreeSet<Vec<u8>> {
    let own =
        ["/", "/.countersign/pending", "http://a/v1/customers?x=y#z", "/V1/Customers/", "/v1/%63ustomers"];
    let of_tests = column("paths", "target").into_iter().filter(|target| target.starts_with('/'));
    rows()
        .into_iter()
        .map(|row| row.path)
        .chain(of_tests)
        .chain(own.map(str::to_owned))
        .map(String::into_bytes)
        .collect()
}

fn words_of_paths() -> BTreeSet<String> {
    let escapes = [
        "%2f", "%5c", "%2e", "%25", "%3b", "%00", "%c3%a9", "%c5%bf", "../", "./", "//", "\\", ";a=b", "?",
        "#",
    ];
    rows()
        .iter()
        .flat_map(|row| row.path.split('/').map(|segment| format!("/{segment}")).collect::<Vec<_>>())
        .chain(escapes.map(str::to_owned))
        .collect()
}

fn bodies() -> BTreeSet<Vec<u8>> {
    let of_tests = column("bodies", "body").into_iter().filter(|body| body.contains('{'));
    let scalars = ["", "null", "\"success\"", "0", " {} ", "[]"].map(str::to_owned);
    rows().into_iter().map(|row| row.body).chain(of_tests).chain(scalars).map(String::into_bytes).collect()
}

fn words_of_bodies() -> BTreeSet<String> {
    fn collect(value: &Value, words: &mut BTreeSet<String>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| collect(item, words)),
            Value::Object(members) => members.iter().for_each(|(name, value)| {
                words.insert(format!("\"{name}\":"));
                collect(value, words);
            }),
            Value::String(text) if text.len() <= 48 => {
                words.insert(format!("\"{text}\""));
            }
            _ => {}
        }
    }
    let mut words: BTreeSet<String> = [
        "\\u0000",
        "\\ud800",
        "\\u212a",
        "1e400",
        "-0",
        "18446744073709551616",
        "\u{feff}",
        "null",
        "[[",
        "{\"a\":",
    ]
    .map(str::to_owned)
    .into();
    for row in rows() {
        if let Ok(value) = serde_json::from_str(&row.body) {
            collect(&value, &mut words);
        }
    }
    words.retain(|word| word.len() <= 64);
    words
}

/// Four bytes (who signs, how it is tampered with, where), a line of header, claims.
fn tokens() -> BTreeSet<Vec<u8>> {
    let partner = "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a01";
    let tenants = json!({ "iss": format!("https://login.example/{partner}/v2.0"), "aud": "api://countersign",
        "tid": partner, "roles": ["AdminAgent"], "exp": AT + 600, "nbf": AT - 60, "oid": "o", "appid": "a" });
    let mut one = tenants.clone();
    one["iss"] = json!("https://partner.example/");
    one["aud"] = json!(["other", "api://countersign"]);
    one["exp"] = json!(AT as f64 + 600.5);
    let headers = [
        json!({ "alg": "ES256", "kid": "k1", "typ": "JWT" }),
        json!({ "alg": "RS256", "kid": "k2" }),
        json!({ "alg": "EdDSA", "kid": "k1", "typ": "at+jwt" }),
        json!({ "alg": "ES256", "kid": "k1" }),
        json!({ "alg": "none" }),
        json!({ "alg": "HS256", "kid": "k1" }),
        json!({ "alg": "ES256", "kid": "k1", "crit": ["b64"], "b64": false }),
    ];
    let mut seeds = BTreeSet::new();
    for (at, header) in headers.iter().enumerate() {
        for claims in [&tenants, &one] {
            for tampering in 0..9u8 {
                let mut seed = vec![at.min(3) as u8, tampering, 40, 0];
                seed.extend(format!("{header}\n{claims}").into_bytes());
                seeds.insert(seed);
            }
        }
    }
    let raw = "....eyJhbGciOiJub25lIn0.e30.";
    seeds.insert(raw.as_bytes().to_vec());
    seeds
}

fn words_of_tokens() -> BTreeSet<String> {
    let names = [
        "alg", "kid", "typ", "crit", "b64", "zip", "enc", "jwk", "jku", "x5u", "x5c", "iss", "aud", "tid",
        "exp", "nbf", "roles", "wids", "oid", "appid", "azp",
    ];
    let values =
        ["ES256", "RS256", "PS256", "EdDSA", "none", "HS256", "k1", "k2", "AdminAgent", "JWT", "at+jwt"];
    let names = names.map(|name| format!("\"{name}\":"));
    let values = values.map(|value| format!("\"{value}\""));
    names.into_iter().chain(values).chain(["1e300".to_owned(), "null".to_owned(), "eyJ".to_owned()]).collect()
}

fn configurations() -> BTreeSet<Vec<u8>> {
    let shipped = text_of("config/countersign.yaml");
    let with_policy = |policy: &str| {
        let indented: String = policy.lines().map(|line| format!("  {line}\n")).collect();
        let (before, rest) = shipped.split_once("policy:\n").expect("the shipped file has a policy");
        let after = rest.split_once("\naudit:").map_or("", |(_, after)| after);
        format!("{before}policy:\n{indented}\naudit:{after}")
    };
    let own = [
        "policy: { preset: none }",
        "identity: { issuers: [] }",
        "a: &x [*x]",
        "a: ${B:-1}",
        "? 1\n: 2",
        "- a\n- b",
        "listen: { address: 1.2.3.4:5, workers: 0 }",
    ];
    let rules = "preset: csp-2020\nmode: shadow\nunlisted: deny\nrules:\n  - name: terms\n    when: { class: [purchase], \
                 country: [FR], not: { label: [sandbox] } }\n    requires: { agreement: mca, of: customer, accepted_since: \
                 2026-06-01T00:00:00Z, undated: unknown }\n    on_unknown: deny\nwaivers:\n  - { partner: \
                 7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a01, rule: partner-mpa, reason: r, ticket: t, until: 2026-12-01T00:00:00Z }\n\
                 agreements:\n  - { name: dpa, code: 1, action: https://a.example }\n";
    [shipped.clone(), with_policy(rules)]
        .into_iter()
        .chain(["csp-2026", "csp-2020", "partner-center"].map(|name| {
            let preset = text_of(&format!("config/presets/{name}.yaml"));
            with_policy(&format!("preset: none\n{preset}"))
        }))
        .chain(own.map(str::to_owned))
        .map(String::into_bytes)
        .collect()
}

fn words_of_configurations() -> BTreeSet<String> {
    let keys = text_of("tests/data/golden/configuration-keys.txt");
    let names = keys.split('`').skip(1).step_by(2).map(|name| format!("{name}: "));
    let others = [
        "{ ", " }", "[", "]", "\n  - ", "&a ", "*a", "<<: ", "${A:-b}", "!!str ", "|\n", "~", "1MiB", "30s",
        "**/",
    ];
    names.chain(others.map(str::to_owned)).collect()
}
