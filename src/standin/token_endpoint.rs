//! Token endpoint: the answers to `POST …/oauth2/token`, in the shapes of the v1 and the v2.0 endpoint.

use http::{HeaderValue, StatusCode, header};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::standin::answer::{Answer, IdKind, Outcome, guid};
use crate::standin::call::Call;
use crate::standin::tokens::{Grant, GrantRequest, Refused};

/// `POST /{tenant}/oauth2/token`, where a lifetime is a string.
pub fn v1(call: &Call) -> Outcome {
    let grant = granted(call)?;
    Ok(answer(&grant, grant.lifetime_seconds.to_string().into()))
}

/// `POST /{tenant}/oauth2/v2.0/token`, where a lifetime is a number.
pub fn v2(call: &Call) -> Outcome {
    let grant = granted(call)?;
    Ok(answer(&grant, grant.lifetime_seconds.into()))
}

fn granted(call: &Call) -> Result<Grant, Answer> {
    call.book.tokens.grant(&form(call.body), call.now).map_err(|refused| refusal(call, &refused))
}

fn answer(grant: &Grant, expires_in: Value) -> Answer {
    let mut body = json!({
        "token_type": "Bearer",
        "expires_in": expires_in,
        "access_token": grant.access_token,
    });
    if let Some(token) = &grant.refresh_token {
        body["refresh_token"] = token.as_str().into();
    }
    Answer::ok(&body).with(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-cache"))
}

/// The error shape of RFC 6749, section 5.2, with the members that Entra ID adds.
fn refusal(call: &Call, refused: &Refused) -> Answer {
    let (status, error, number, text) = match refused {
        Refused::Failing(status) => {
            (*status, "temporarily_unavailable", 90033, "The service cannot be reached for now.")
        }
        Refused::UnknownClient => {
            (400, "unauthorized_client", 700_016, "No application has this identifier.")
        }
        Refused::WrongSecret => {
            (401, "invalid_client", 7_000_215, "The client secret is not that of the client.")
        }
        Refused::WrongRefreshToken => (400, "invalid_grant", 70000, "The refresh token is not valid."),
        Refused::UnknownGrant => (400, "unsupported_grant_type", 70003, "This grant type is not supported."),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    Answer::json(
        status,
        &json!({
            "error": error,
            "error_description": format!("AADSTS{number}: {text}"),
            "error_codes": [number],
            "timestamp": call.now.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
            "trace_id": guid(IdKind::Request, call.serial),
            "correlation_id": guid(IdKind::Correlation, call.serial),
        }),
    )
}

/// The members of an `application/x-www-form-urlencoded` body; others than the four are left aside.
fn form(body: &[u8]) -> GrantRequest {
    let mut asked = GrantRequest::default();
    let text = String::from_utf8_lossy(body).replace('+', " ");
    for (name, value) in text.split('&').filter_map(|pair| pair.split_once('=')) {
        let place = match name {
            "grant_type" => &mut asked.grant_type,
            "client_id" => &mut asked.client_id,
            "client_secret" => &mut asked.client_secret,
            "refresh_token" => &mut asked.refresh_token,
            _ => continue,
        };
        *place = percent_decode_str(value).decode_utf8_lossy().into_owned();
    }
    asked
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::standin::book::Book;
    use crate::standin::testing::{ask_of, body_of};
    use crate::standin::tokens::TokenEndpoint;

    fn book() -> Book {
        let book = Book::default();
        book.tokens.set_endpoint(TokenEndpoint {
            client_id: "id".to_owned(),
            client_secret: "s+c r&t".to_owned(),
            refresh_token: Some("first".to_owned()),
            lifetime_seconds: 120,
            rotate: true,
            tenant: None,
            status: None,
        });
        book
    }

    #[test]
    fn every_path_answers_in_its_shape() {
        let form = "grant_type=client_credentials&client_id=id&client_secret=s%2Bc+r%26t&resource=r";
        let rows = [
            ("/oauth2/token", json!("120")),
            ("/tenant/oauth2/token", json!("120")),
            ("/tenant/oauth2/v2.0/token", json!(120)),
            ("/oauth2/v2.0/token", json!(120)),
        ];
        for (path, lifetime) in rows {
            let answer = ask_of(&book(), "POST", path, form);
            assert_eq!(answer.status, 200, "{path}");
            let body = body_of(&answer);
            assert_eq!(body["expires_in"], lifetime, "{path}");
            assert_eq!(body["token_type"], "Bearer", "{path}");
            assert_eq!(body.get("refresh_token"), None, "{path}");
        }
        assert_eq!(ask_of(&book(), "GET", "/oauth2/token", "").status, 404);
    }

    #[test]
    fn a_refusal_names_its_error() {
        let rows = [
            ("grant_type=refresh_token&client_id=id&client_secret=s%2Bc+r%26t", 400, "invalid_grant"),
            ("grant_type=refresh_token&client_id=id&client_secret=s", 401, "invalid_client"),
            ("grant_type=refresh_token&client_id=i", 400, "unauthorized_client"),
            ("grant_type=x&client_id=id&client_secret=s%2Bc+r%26t", 400, "unsupported_grant_type"),
        ];
        for (form, status, error) in rows {
            let answer = ask_of(&book(), "POST", "/oauth2/token", form);
            assert_eq!(answer.status, status, "{form}");
            assert_eq!(body_of(&answer)["error"], error, "{form}");
        }
    }

    #[test]
    fn a_refresh_gives_the_next_refresh_token() {
        let book = book();
        let form = "grant_type=refresh_token&client_id=id&client_secret=s%2Bc+r%26t&refresh_token=first";
        let body = body_of(&ask_of(&book, "POST", "/oauth2/token", form));
        assert_eq!(body["refresh_token"].as_str(), book.tokens.refresh_token().as_deref());
        assert_eq!(ask_of(&book, "POST", "/oauth2/token", form).status, 400);
    }
}
