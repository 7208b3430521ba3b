//! Counts: how many requests of each kind arrived.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value};

/// A kind of request that is counted. Reads are GETs (and HEADs); what is counted is the arrival, whatever the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `GET /v1/customers/{c}/agreements`
    Attestations,
    /// `GET /v1/customers/{c}/directSignedMicrosoftCustomerAgreementStatus`
    Direct,
    /// `GET /v1/compliance/csp/agreementstatus`
    PartnerStatus,
    /// POSTs to the token endpoint.
    Token,
    /// `GET /v1/customers/{c}/carts/{cart}`
    Cart,
    /// `GET /v1/customers/{c}/subscriptions/{s}`
    Subscription,
    /// `GET /v1/customers/{c}/transfers/{t}`
    Transfer,
    /// `GET /v1/relationships`
    Relationships,
    /// `GET /v1/auditrecords`
    AuditRecords,
    /// `GET /v1/partners/customeragreementrecords`
    AgreementRecords,
    /// Answers, not requests: those that say 429 because of the throttle.
    Throttled,
    /// `POST /v1/customers/{c}/orders`
    Orders,
    /// `POST /v1/customers/{c}/agreements`
    Attest,
    /// `POST /v1/partners/validateresellers`
    ValidateResellers,
}

/// Each kind with its name, in the order of the enumeration.
const NAMES: [(&str, Kind); 14] = [
    ("attestations", Kind::Attestations),
    ("direct", Kind::Direct),
    ("partner_status", Kind::PartnerStatus),
    ("token", Kind::Token),
    ("cart", Kind::Cart),
    ("subscription", Kind::Subscription),
    ("transfer", Kind::Transfer),
    ("relationships", Kind::Relationships),
    ("audit_records", Kind::AuditRecords),
    ("agreement_records", Kind::AgreementRecords),
    ("throttled", Kind::Throttled),
    ("orders", Kind::Orders),
    ("attest", Kind::Attest),
    ("validate_resellers", Kind::ValidateResellers),
];

/// The counters, each at zero at first.
#[derive(Default)]
pub struct Counts([AtomicU64; NAMES.len()]);

impl Counts {
    /// Counts one.
    pub fn add(&self, kind: Kind) {
        self.0[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The counter of that name; `None` when no kind has it.
    pub fn named(&self, name: &str) -> Option<u64> {
        let (_, kind) = NAMES.iter().find(|(known, _)| *known == name)?;
        Some(self.of(*kind))
    }

    /// All counters, as a JSON object.
    pub fn printed(&self) -> Value {
        let counters = NAMES.iter().map(|(name, kind)| ((*name).to_owned(), Value::from(self.of(*kind))));
        counters.collect::<Map<_, _>>().into()
    }

    fn of(&self, kind: Kind) -> u64 {
        self.0[kind as usize].load(Ordering::Relaxed)
    }
}

impl Kind {
    /// The kind of a request, told by method and path.
    pub fn of(method: &str, path: &str) -> Option<Kind> {
        let lower = path.to_ascii_lowercase();
        let lower = lower.strip_prefix('/').unwrap_or(&lower);
        let lower = lower.strip_suffix('/').unwrap_or(lower);
        let mut segments = lower.split('/');
        let mut next = || segments.next().unwrap_or_default();
        let route = [next(), next(), next(), next(), next(), next()];
        let kind = match (method, route) {
            ("POST", ["v1", "customers", _, "orders", "", _]) => Kind::Orders,
            ("POST", ["v1", "customers", _, "agreements", "", _]) => Kind::Attest,
            ("POST", ["v1", "partners", "validateresellers", "", ..]) => Kind::ValidateResellers,
            ("POST", ["oauth2", "token", "", ..] | ["oauth2", "v2.0", "token", "", ..])
            | ("POST", [_, "oauth2", "token", "", ..] | [_, "oauth2", "v2.0", "token", "", _]) => Kind::Token,
            ("GET" | "HEAD", ["v1", rest @ ..]) => return Kind::of_read(rest),
            _ => return None,
        };
        Some(kind)
    }

    fn of_read(route: [&str; 5]) -> Option<Kind> {
        let kind = match route {
            ["customers", _, "agreements", "", _] => Kind::Attestations,
            ["customers", _, "directsignedmicrosoftcustomeragreementstatus", "", _] => Kind::Direct,
            ["compliance", "csp", "agreementstatus", "", _] => Kind::PartnerStatus,
            ["customers", _, "carts", id, ""] if !id.is_empty() => Kind::Cart,
            ["customers", _, "subscriptions", "" | "overage", ""] => return None,
            ["customers", _, "subscriptions", _, ""] => Kind::Subscription,
            ["customers", _, "transfers", id, ""] if !id.is_empty() => Kind::Transfer,
            ["relationships", "", ..] => Kind::Relationships,
            ["auditrecords", "", ..] => Kind::AuditRecords,
            ["partners", "customeragreementrecords", "", ..] => Kind::AgreementRecords,
            _ => return None,
        };
        Some(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_counted_under_its_name() {
        for (at, (name, kind)) in NAMES.iter().enumerate() {
            assert_eq!(*kind as usize, at, "{name}");
            let counts = Counts::default();
            counts.add(*kind);
            counts.add(*kind);
            assert_eq!(counts.named(name), Some(2), "{name}");
            assert_eq!(counts.printed()[name], 2, "{name}");
        }
        assert_eq!(Counts::default().named("order"), None);
    }

    #[test]
    fn a_kind_is_told_by_method_and_path() {
        let rows = [
            ("GET", "/v1/customers/c/agreements", Some(Kind::Attestations)),
            ("HEAD", "/V1/Customers/c/Agreements/", Some(Kind::Attestations)),
            ("GET", "/v1/customers/c/directSignedMicrosoftCustomerAgreementStatus", Some(Kind::Direct)),
            ("GET", "/v1/compliance/csp/agreementStatus", Some(Kind::PartnerStatus)),
            ("POST", "/oauth2/token", Some(Kind::Token)),
            ("POST", "/tenant/oauth2/token", Some(Kind::Token)),
            ("POST", "/tenant/oauth2/v2.0/token", Some(Kind::Token)),
            ("GET", "/oauth2/token", None),
            ("GET", "/v1/customers/c/carts/K", Some(Kind::Cart)),
            ("PUT", "/v1/customers/c/carts/K", None),
            ("GET", "/v1/customers/c/subscriptions", None),
            ("GET", "/v1/customers/c/subscriptions/overage", None),
            ("GET", "/v1/customers/c/subscriptions/S", Some(Kind::Subscription)),
            ("GET", "/v1/customers/c/subscriptions/S/upgrades", None),
            ("GET", "/v1/customers/c/transfers/T", Some(Kind::Transfer)),
            ("GET", "/v1/customers/c/transfers", None),
            ("GET", "/v1/relationships", Some(Kind::Relationships)),
            ("GET", "/v1/customers/c/relationships", None),
            ("GET", "/v1/auditrecords", Some(Kind::AuditRecords)),
            ("GET", "/v1/partners/customeragreementrecords", Some(Kind::AgreementRecords)),
            ("POST", "/v1/customers/c/orders", Some(Kind::Orders)),
            ("POST", "/v1/customers/c/orders/o/attachment", None),
            ("POST", "/v1/customers/c/agreements", Some(Kind::Attest)),
            ("POST", "/v1/partners/validateResellers", Some(Kind::ValidateResellers)),
            ("GET", "/v1/partners/validateresellers", None),
            ("GET", "/", None),
        ];
        for (method, path, kind) in rows {
            assert_eq!(Kind::of(method, path), kind, "{method} {path}");
        }
    }
}
