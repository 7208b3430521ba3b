//! Access tokens of another tenant than the one that a source speaks for.

use countersign::standin::TokenEndpoint;

use crate::center::{OTHER, PLENTY, agent_of, asked, center, customer, two_centers};
use crate::center_identity::endpoint;
use crate::stage::{CUSTOMER, PARTNER, Stage};

/// The value of the metric for a source, if it has one.
fn mismatch(stage: &Stage, source: &str) -> Option<String> {
    let page = String::from_utf8(stage.admin_request("GET", "/metrics", &[]).body).unwrap();
    let name = format!("countersign_source_token_tenant_mismatch{{source=\"{source}\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&name)).map(str::to_owned)
}

#[test]
fn each_source_that_shares_a_token_is_told_whether_it_is_its_own() {
    for (tenant, of_first, of_second) in [
        (None, None, None),
        (Some("contoso.example"), None, None),
        (Some(PARTNER), Some("0"), Some("1")),
        (Some(OTHER), Some("1"), Some("0")),
    ] {
        let stage = two_centers("");
        let tenant = tenant.map(str::to_owned);
        let named = TokenEndpoint { tenant: tenant.clone(), ..endpoint("refresh", None) };
        stage.standin.require_token(true);
        stage.standin.set_token_endpoint(named);
        assert_eq!(mismatch(&stage, "center"), None, "nothing was asked yet");
        // It is told and changes nothing: whose token it takes is Partner Center's to say.
        assert_eq!(stage.order(&customer(1), &[]).status, 201, "{tenant:?}");
        let other = agent_of(&stage, OTHER);
        assert_eq!(stage.order(&customer(2), &[("Authorization", &other)]).status, 201, "{tenant:?}");
        let checkout = format!("/v1/customers/{}/carts/k/checkout", customer(1));
        assert_eq!(stage.send("POST", &checkout, &[], b"").status, 201, "{tenant:?}");
        for (source, expected) in [("center", of_first), ("second", of_second), ("upstream", of_first)] {
            assert_eq!(mismatch(&stage, source).as_deref(), expected, "{source} {tenant:?}");
        }
        assert_eq!(stage.standin.count("token"), 1, "{tenant:?}");
    }
}

#[test]
fn tokens_of_another_endpoint_have_parties_asked_again() {
    let stage = center(PLENTY, "");
    let path = stage.path("countersign.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    for (issuer, questions) in [("/oauth2/token", 1), ("/other/oauth2/token", 2), ("/other/oauth2/token", 2)]
    {
        std::fs::write(&path, text.replace("/oauth2/token", issuer)).unwrap();
        assert_eq!(stage.reload().status, 200, "{issuer}");
        assert_eq!(stage.order(CUSTOMER, &[]).status, 201, "{issuer}");
        assert_eq!(asked(&stage), (questions, questions), "{issuer}");
    }
}
