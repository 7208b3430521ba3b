//! Settings: for whom Partner Center is asked, and what counts there.

use crate::agreements::partner_center::answers::Terms;
use crate::policy::agreement::{Cloud, Region};
use crate::policy::id::{Guid, Name};

/// For whom the gateway asks there, and what counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its name in configuration.
    pub name: Name,
    /// The billing partner whose identity is used: it says nothing of the customers of others.
    pub partner: Guid,
    /// The CSP region of that partner: it says nothing of agreements signed for others.
    pub region: Option<Region>,
    /// The cloud it speaks for.
    pub cloud: Cloud,
    /// The clouds in which there is no customer agreement to accept.
    pub not_applicable: Vec<Cloud>,
    /// Which attestations count.
    pub terms: Terms,
}
