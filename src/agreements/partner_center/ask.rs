//! Asking: the headers that Partner Center wants with every question.

use std::time::Duration;

use http::header::{HeaderName, HeaderValue};

use crate::fetch::Answer;
use crate::policy::agreement::Failure;
use crate::policy::id::Guid;
use crate::random::guid;
use crate::remote::client::{Asked, Remote};

/// Headers of one question (Partner Center, "Partner Center REST headers").
pub type Headers = Vec<(HeaderName, HeaderValue)>;

/// The ids of a question, and the token of the page of a list.
pub fn id_headers(token: Option<&str>) -> Result<Headers, Failure> {
    let id = || HeaderValue::from_str(guid().text().as_str()).expect("a GUID is plain text");
    let mut headers = vec![
        (HeaderName::from_static("ms-requestid"), id()),
        (HeaderName::from_static("ms-correlationid"), id()),
    ];
    if let Some(token) = token {
        let token = HeaderValue::from_str(token).map_err(|_| Failure::Source)?;
        headers.push((HeaderName::from_static("ms-continuationtoken"), token));
    }
    Ok(headers)
}

/// Asks one question.
pub async fn ask(
    remote: &Remote,
    target: String,
    headers: Headers,
    asker: Option<Guid>,
    patience: Duration,
) -> Result<Answer, Failure> {
    remote.get(&Asked { target, headers, asker, patience }).await
}
