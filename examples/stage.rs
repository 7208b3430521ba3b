//! A stage for load runs: the stand-in ordering API, and a folder with configuration, keys, ledger and requests.
//!
//! `cargo run --release --example stage -- FOLDER GATEWAY_PORT` serves until its standard input ends. With
//! `SOURCE_URL CACHE SOURCE` behind it, four resellers of one provider call, and agreements of resellers and customers
//! are asked of the stand-in at that address; `CACHE` and `SOURCE` are YAML for those two sections (`accepted: 10s`).
//! With `varied` behind it, fifty partners with four tokens each order for a thousand customers and name fifty resellers,
//! all of which have accepted; `FOLDER/varied.tokens`, `.customers` and `.resellers` list them, one a line.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use countersign::standin::{Issuer, IssuerAlgorithm, Standin};
use jiff::Timestamp;
use serde_json::json;

const PARTNER: &str = "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a01";
const CUSTOMER: &str = "c0a80101-6d2b-4c1e-8f10-000000000001";
const BLOCKED: &str = "c0a80101-6d2b-4c1e-8f10-000000000002";
/// Resellers of the partner, by the names that `orders` knows them by.
const RESELLERS: [(&str, &str); 4] = [
    ("a", "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0b0a"),
    ("b", "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0b0b"),
    ("c", "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0b0c"),
    ("d", "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0b0d"),
];
/// Who takes part in varied traffic.
const VARIED_PARTNERS: usize = 50;
const VARIED_TOKENS: usize = 200;
const VARIED_CUSTOMERS: usize = 1000;
const VARIED_RESELLERS: usize = 50;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(port)) = (arguments.next().map(PathBuf::from), arguments.next()) else {
        return Err("usage: stage FOLDER GATEWAY_PORT [SOURCE_URL CACHE SOURCE | varied]".into());
    };
    let more = arguments.next();
    let is_varied = more.as_deref() == Some("varied");
    let asked = more.filter(|_| !is_varied).map(|url| (url, arguments.next(), arguments.next()));
    std::fs::create_dir_all(&folder)?;
    let standin = Standin::start("127.0.0.1:0".parse()?)?;
    let issuer = Issuer::fresh(IssuerAlgorithm::Rs256, "stage");
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text);
    write("keys.json", issuer.jwks())?;
    write("agreements.yaml", include_str!("../config/agreements.yaml").to_owned())?;
    let admin_port: u16 = port.parse::<u16>()? + 1;
    let mut text = configuration(&port, admin_port, &standin.url());
    if let Some((url, cache, source)) = asked {
        text = asking(&text, &url, &cache.unwrap_or_default(), &source.unwrap_or_default());
        write_secrets(&folder)?;
    }
    if is_varied {
        text = write_varied(&folder, &issuer, &text)?;
    }
    write("countersign.yaml", text)?;
    let token = token_of(&issuer, PARTNER, 0xd3e0);
    for (name, tenant) in RESELLERS {
        write(&format!("{name}.token"), token_of(&issuer, tenant, 0xd3e0))?;
    }
    for (name, customer) in [("order.lua", CUSTOMER), ("blocked.lua", BLOCKED)] {
        write(name, wrk_script(customer, &token))?;
    }
    write("token.txt", token)?;
    println!("{}", standin.address().port());
    let mut line = [0u8; 1];
    // A byte asks for the number of requests so far; the end of input ends the stage.
    while std::io::stdin().read(&mut line)? == 1 {
        if line == *b"\n" {
            println!("{}", standin.request_count());
        }
    }
    Ok(())
}

fn configuration(port: &str, admin_port: u16, upstream: &str) -> String {
    let shipped = include_str!("../config/countersign.yaml");
    shipped
        .replace("127.0.0.1:8080", &format!("127.0.0.1:{port}"))
        .replace("127.0.0.1:9090", &format!("127.0.0.1:{admin_port}"))
        .replace("http://127.0.0.1:9000", upstream)
        .replace("  # billing_partner: GUID", "  response_timeout: 30s # ")
        .replace("listen:\n", "listen:\n  workers: ${WORKERS:-1}\n")
}

/// The configuration with its resellers and customers asked of a server; several resellers of one provider call.
fn asking(text: &str, url: &str, cache: &str, source: &str) -> String {
    let known = RESELLERS
        .map(|(_, tenant)| format!("    - {{ tenant: {tenant}, kind: indirect_reseller, country: DE }}\n"));
    let token = format!(
        "{{ grant: refresh_token, url: {url}/oauth2/token, client_id: gateway, \
         client_secret_file: secret, refresh_token_file: refresh }}"
    );
    let center = format!("    center: {{ type: partner_center, url: {url}, token: {token}, {source} }}\n");
    text.replace("upstream:\n", &format!("upstream:\n  billing_partner: {PARTNER}\n"))
        .replace("kind: direct_bill, country: DE, mpn_id", "kind: indirect_provider, country: DE, mpn_id")
        .replace("  known:\n", &format!("  known:\n{}", known.concat()))
        .replace("  sources:\n", &format!("  sources:\n{center}"))
        .replace("reseller: [ledger]", "reseller: [center]")
        .replace(
            "customer: [ledger]\n",
            &format!("customer: [center]\n  cache: {{ file: facts.jsonl, {cache} }}\n"),
        )
}

/// What the gateway gets its own token with; the stand-in takes anything.
fn write_secrets(folder: &Path) -> std::io::Result<()> {
    for name in ["secret", "refresh"] {
        let path = folder.join(name);
        std::fs::write(&path, name)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

/// Writes the lists of varied traffic and a ledger in which all have accepted; the answer is the configuration with its
/// partners known.
fn write_varied(folder: &Path, issuer: &Issuer, text: &str) -> std::io::Result<String> {
    let partners: Vec<String> =
        (0..VARIED_PARTNERS).map(|number| format!("7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e{number:04x}")).collect();
    let customers: Vec<String> =
        (0..VARIED_CUSTOMERS).map(|number| format!("c0a80104-6d2b-4c1e-8f10-{number:08x}0001")).collect();
    let resellers: Vec<String> =
        (0..VARIED_RESELLERS).map(|number| (4_800_017 + 137 * number).to_string()).collect();
    // Tokens of one partner are neighbours: orders take several of them in turn for a customer.
    let tokens: Vec<String> = (0..VARIED_TOKENS)
        .map(|number| token_of(issuer, &partners[number * VARIED_PARTNERS / VARIED_TOKENS], number))
        .collect();
    let mut ledger = String::from("agreements:\n");
    for (party, agreement, names) in
        [("partner", "mpa", &partners), ("reseller", "mpa", &resellers), ("customer", "mca", &customers)]
    {
        for name in names {
            let accepted = "{ accepted: 2024-03-01T00:00:00Z }";
            ledger.push_str(&format!("  - {{ {party}: \"{name}\", {agreement}: {accepted} }}\n"));
        }
    }
    std::fs::write(folder.join("agreements.yaml"), ledger)?;
    for (name, list) in [("tokens", tokens), ("customers", customers), ("resellers", resellers)] {
        std::fs::write(folder.join(format!("varied.{name}")), list.join("\n"))?;
    }
    let known: String = partners
        .iter()
        .map(|tenant| format!("    - {{ tenant: {tenant}, kind: indirect_provider, country: DE }}\n"))
        .collect();
    Ok(text.replace("  known:\n", &format!("  known:\n{known}")))
}

fn token_of(issuer: &Issuer, tenant: &str, holder: usize) -> String {
    let now = Timestamp::now().as_second();
    issuer.token(&json!({
        "iss": format!("https://login.example/{tenant}/v2.0"),
        "aud": "api://countersign",
        "tid": tenant,
        "roles": ["AdminAgent"],
        "oid": format!("1f0c2d3e-0000-4000-8000-{holder:012x}"),
        "appid": "2a1b3c4d-0000-4000-8000-00000000a110",
        "name": "A purchasing service of some distributor",
        "nbf": now - 60,
        "exp": now + 6 * 3600,
    }))
}

/// A script for wrk: an order of about one kilobyte, with a product and a reseller that are in order.
fn wrk_script(customer: &str, token: &str) -> String {
    let line = |number: u32| {
        json!({
            "lineItemNumber": number,
            "offerId": "CFQ7TTC0LH18:0001:CFQ7TTC0K971",
            "subscriptionId": null,
            "parentSubscriptionId": null,
            "friendlyName": "Seats for the spring campaign, second wave",
            "quantity": 25,
            "termDuration": "P1Y",
            "partnerIdOnRecord": null,
            "provisioningContext": {},
            "attributes": { "objectType": "OrderLineItem" },
        })
    };
    let order = json!({
        "id": null,
        "referenceCustomerId": customer,
        "billingCycle": "monthly",
        "currencyCode": "EUR",
        "lineItems": [line(0), line(1), line(2)],
        "creationDate": null,
        "attributes": { "objectType": "Order" },
    });
    format!(
        "wrk.method = \"POST\"\nwrk.path = \"/v1/customers/{customer}/orders\"\nwrk.body = [[{order}]]\n\
         wrk.headers[\"Content-Type\"] = \"application/json\"\nwrk.headers[\"Accept\"] = \"application/json\"\n\
         wrk.headers[\"Authorization\"] = \"Bearer {token}\"\n\
         wrk.headers[\"MS-RequestId\"] = \"4fa6dad6-a89f-4875-8247-8294a10ae1cf\"\n\
         wrk.headers[\"MS-CorrelationId\"] = \"0e93c70c-977a-4a88-9580-7cf084c73286\"\n\
         wrk.headers[\"X-Locale\"] = \"en-US\"\n\
         request = function() return wrk.format(nil, \"/v1/customers/{customer}/orders\") end\n"
    )
}
