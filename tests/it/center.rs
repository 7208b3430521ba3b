//! Partner Center as a source, behind a whole gateway: what it says decides, and what it does not say is never "missing".

use serde_json::json;

use crate::stage::{CUSTOMER, LICENCE, PARTNER, Stage, orders};

/// A gateway that asks the stand-in about resellers and customers, and reads carts and subscriptions there.
pub fn center(source: &str, cache: &str) -> Stage {
    Stage::edited("", |text, folder| {
        let start = text.find("url: ").unwrap() + "url: ".len();
        let url = &text[start..start + text[start..].find(',').unwrap()];
        for name in ["secret", "refresh"] {
            std::fs::write(folder.join(name), name).unwrap();
        }
        let token = format!(
            "{{ grant: refresh_token, url: {url}/oauth2/token, client_id: gateway, \
             client_secret_file: secret, refresh_token_file: refresh }}"
        );
        let sources = format!(
            "  sources:\n    center: {{ type: partner_center, url: {url}, partner: {PARTNER}, \
             timeout: 3s, token: {token}{source} }}\n"
        );
        text.replace("  sources:\n", &sources)
            .replace("reseller: [ledger]", "reseller: [center]")
            .replace("customer: [ledger]\n", &format!("customer: [center]\n  cache: {{ {cache} }}\n"))
            .replace("upstream: { url", "upstream: { reads: center, url")
    })
}

#[test]
fn customers_and_resellers_are_looked_up_once_and_decide() {
    let stage = center("", "");
    assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
    assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
    assert_eq!((stage.standin.count("direct"), stage.standin.count("attestations")), (1, 1));
    let denied = stage.order("c0a80101-6d2b-4c1e-8f10-000000000bad", &[]);
    assert_eq!((denied.status, &denied.json()["code"]), (403, &json!(13605)));
    for (mpn, status) in [("4847383", 201), ("5130400", 403)] {
        let body = json!({ "lineItems": [{ "offerId": LICENCE, "partnerIdOnRecord": mpn }] }).to_string();
        let answer = stage.send("POST", &orders(CUSTOMER), &[], body.as_bytes());
        assert_eq!(answer.status, status, "{mpn}: {answer:?}");
    }
    assert_eq!(stage.standin.count("partner_status"), 2);
    assert_eq!(stage.standin.count("token"), 1);
}
