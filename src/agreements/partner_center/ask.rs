//! Asking: the headers that Partner Center wants with every question.

use std::time::Duration;

use http::header::{HeaderName, HeaderValue};

use crate::policy::agreement::Failure;
use crate::policy::id::Guid;
use crate::remote::client::{Asked, Remote, ids};
use crate::remote::guard::Leave;
use crate::remote::reading::{Read, Unanswered};

/// Headers of one question (Partner Center, "Partner Center REST headers").
pub type Headers = Vec<(HeaderName, HeaderValue)>;

/// The ids of a question, and the token of the page of a list.
pub fn id_headers(token: Option<&str>) -> Result<Headers, Failure> {
    let mut headers = ids();
    if let Some(token) = token {
        let token = HeaderValue::from_str(token).map_err(|_| Failure::Source)?;
        headers.push((HeaderName::from_static("ms-continuationtoken"), token));
    }
    Ok(headers)
}

/// Asks one question; `read` takes from the answer what it says.
pub async fn ask<T>(
    remote: &Remote,
    target: String,
    headers: Headers,
    asker: Option<Guid>,
    patience: Duration,
    leave: Option<Leave>,
    read: impl Read<T>,
) -> Result<T, Unanswered> {
    remote.ask(&Asked { target, headers, asker, patience, leave, ..Asked::default() }, read).await
}
