//! Resources: carts, subscriptions, orders and transfers, read with the gateway's own identity before a request is judged.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::ETAG;
use serde::de::IgnoredAny;
use tokio::runtime::Handle;

use crate::fetch::Answer;
use crate::policy::agreement::Failure;
use crate::policy::id::Guid;
use crate::remote::client::{Asked, Remote, Settings, ids};
use crate::remote::reading::{Unanswered, Unusable};
use crate::service::Service;
use crate::service::settings::Settings as Identity;

/// A resource as it was read.
#[derive(Clone, Debug)]
pub struct Read {
    /// Its text.
    pub body: Bytes,
    /// Its version.
    pub etag: Option<String>,
}

/// Where resources are read, and as whom.
#[derive(Debug)]
pub struct Resources {
    /// The server.
    pub remote: Arc<Remote>,
    service: Option<Arc<Service>>,
    /// The billing partner whose identity is used: what is of others, it does not see.
    pub partner: Guid,
    control: Handle,
}

impl Resources {
    /// Reads on the control runtime.
    pub fn new(
        remote: Arc<Remote>,
        service: Option<Arc<Service>>,
        partner: Guid,
        control: Handle,
    ) -> Resources {
        Resources { remote, service, partner, control }
    }

    /// Whether it is what these settings name.
    pub fn is(&self, remote: &Settings, partner: Guid) -> bool {
        self.remote.settings == *remote && self.partner == partner
    }

    /// As whom it is read.
    pub fn identity(&self) -> Option<&Identity> {
        self.service.as_ref().map(|service| service.settings())
    }

    /// Reads the resource that a request is about, now: a cart can change through another door at any time, so that what
    /// was read before is worth nothing. It is not waited for beyond `patience`.
    pub async fn read(&self, path: String, asker: Guid, patience: Duration) -> Result<Read, Failure> {
        let asked = Asked { target: path, headers: ids(), asker: Some(asker), patience, ..Asked::default() };
        let remote = Arc::clone(&self.remote);
        let reading = self.control.spawn(async move { remote.ask(&asked, resource).await });
        match tokio::time::timeout(patience, reading).await {
            Ok(Ok(read)) => read.map_err(Unanswered::failure)?.ok_or(Failure::Source),
            Ok(Err(_)) => Err(Failure::Source),
            Err(_) => Err(Failure::Deadline),
        }
    }
}

/// The resource that an answer holds, if it does. A resource that is not there is an answer too.
fn resource(answer: &Answer) -> Result<Option<Read>, Unusable> {
    if answer.status != StatusCode::OK {
        return Ok(None);
    }
    // Its members are read where the request is judged.
    serde_json::from_slice::<IgnoredAny>(&answer.body).map_err(|_| Unusable::Broken("it is no JSON"))?;
    let etag = answer.headers.get(ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
    Ok(Some(Read { body: answer.body.clone(), etag }))
}

/// The path of the resource that a request is about: its own, less as many segments as stand below the resource.
pub fn path_of(above: usize, path: &str) -> &str {
    let path = path.strip_suffix('/').unwrap_or(path);
    (0..above).fold(path, |path, _| path.rsplit_once('/').map_or(path, |(parent, _)| parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resource_is_what_the_request_is_about() {
        for (above, path, expected) in [
            (1, "/v1/customers/c/carts/k/checkout", "/v1/customers/c/carts/k"),
            (1, "/v1/customers/c/carts/k/checkout/", "/v1/customers/c/carts/k"),
            (1, "/v1/customers/c/transfers/t/accept", "/v1/customers/c/transfers/t"),
            (
                3,
                "/v1/customers/c/subscriptions/s/azureEntitlements/e/reactivate",
                "/v1/customers/c/subscriptions/s",
            ),
            (0, "/v1/customers/c/transfers/t", "/v1/customers/c/transfers/t"),
            (0, "/v1/customers/c/subscriptions/s", "/v1/customers/c/subscriptions/s"),
            (0, "/v1/customers/c/subscriptions/s/", "/v1/customers/c/subscriptions/s"),
        ] {
            assert_eq!(path_of(above, path), expected);
        }
    }
}
