//! Agreements: which there are, whose acceptance counts, and where it stands.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::policy::id::{Guid, MpnId, Name, PartnerRef};

/// An agreement by name. `mpa`, `mca` and `standing` are built in, configuration may add others.
pub type Agreement = Name;

/// The Microsoft Partner Agreement.
pub const MPA: Agreement = Name::new("mpa").expect("a plain name");
/// The Microsoft Customer Agreement (in French texts MCuA).
pub const MCA: Agreement = Name::new("mca").expect("a plain name");

/// A reseller's standing with Microsoft, who may be named on orders: looked up as an agreement is.
pub const STANDING: Agreement = Name::new("standing").expect("a plain name");

macro_rules! named_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// Every value, in order of declaration.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The name used in configuration, records and metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }

            /// The value of that name.
            pub fn parse(text: &str) -> Option<$name> {
                match text { $($text => Some($name::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use named_enum;

named_enum! {
    /// A Microsoft cloud; agreements in one say nothing of another.
    Cloud {
        /// The global cloud.
        Commercial = "commercial",
        /// The US Government cloud.
        UsGovernment = "us_government",
        /// The cloud that 21Vianet runs in China.
        China = "china_21vianet",
    }
}

named_enum! {
    /// A CSP region: an MPA is signed once for each (Partner Center, "CSP regions and currencies").
    Region {
        /// Africa.
        Africa = "africa",
        /// Asia and Pacific.
        AsiaPacific = "asia_pacific",
        /// Australia.
        Australia = "australia",
        /// Brazil.
        Brazil = "brazil",
        /// Canada.
        Canada = "canada",
        /// China.
        China = "china",
        /// Europe.
        Europe = "europe",
        /// India.
        India = "india",
        /// Japan.
        Japan = "japan",
        /// Korea.
        Korea = "korea",
        /// Latin America and the Caribbean.
        LatinAmerica = "latin_america",
        /// Middle East, Central Europe and Eastern Europe.
        MiddleEastCentralEurope = "middle_east_central_europe",
        /// New Zealand.
        NewZealand = "new_zealand",
        /// Taiwan.
        Taiwan = "taiwan",
        /// United States.
        UnitedStates = "united_states",
    }
}

named_enum! {
    /// Whose acceptance an agreement needs.
    PartyKind {
        /// The partner that buys: the billing partner.
        Partner = "partner",
        /// A reseller named in the request, or the caller where it is not the billing partner.
        Reseller = "reseller",
        /// The customer the purchase is for.
        Customer = "customer",
    }
}

/// What is known of a partner's identity; at least one of the two is present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PartnerIds {
    /// Tenant.
    pub tenant: Option<Guid>,
    /// MPN id.
    pub mpn: Option<MpnId>,
}

impl PartnerIds {
    /// Whether one of them is this.
    pub fn include(self, id: PartnerRef) -> bool {
        match id {
            PartnerRef::Tenant(tenant) => self.tenant == Some(tenant),
            PartnerRef::Mpn(mpn) => self.mpn == Some(mpn),
        }
    }
}

impl From<PartnerRef> for PartnerIds {
    fn from(partner: PartnerRef) -> PartnerIds {
        match partner {
            PartnerRef::Mpn(mpn) => PartnerIds { tenant: None, mpn: Some(mpn) },
            PartnerRef::Tenant(tenant) => PartnerIds { tenant: Some(tenant), mpn: None },
        }
    }
}

/// One whose acceptance counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Party {
    /// The billing partner.
    Partner(PartnerIds),
    /// A reseller.
    Reseller(PartnerIds),
    /// The customer's tenant.
    Customer(Guid),
}

impl Party {
    /// Its kind.
    pub fn kind(&self) -> PartyKind {
        match self {
            Party::Partner(_) => PartyKind::Partner,
            Party::Reseller(_) => PartyKind::Reseller,
            Party::Customer(_) => PartyKind::Customer,
        }
    }

    /// The ids it is known by.
    pub fn ids(&self) -> PartnerIds {
        match *self {
            Party::Partner(ids) | Party::Reseller(ids) => ids,
            Party::Customer(tenant) => PartnerIds { tenant: Some(tenant), mpn: None },
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Party::Customer(tenant) => tenant.fmt(f),
            Party::Partner(ids) | Party::Reseller(ids) => match (ids.mpn, ids.tenant) {
                // A reseller is known by the id its provider writes on orders, a partner by its tenant.
                (Some(mpn), _) if self.kind() == PartyKind::Reseller => mpn.fmt(f),
                (_, Some(tenant)) => tenant.fmt(f),
                (Some(mpn), None) => mpn.fmt(f),
                (None, None) => f.write_str("-"),
            },
        }
    }
}

/// What an acceptance is bound to beside its party.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Nothing.
    None,
    /// A CSP region: an MPA counts where it was signed.
    Region(Region),
    /// The billing partner: an attested MCA counts only for the partner that attested it.
    Billing(Guid),
}

impl Scope {
    /// The CSP region, where it is one.
    pub fn region(self) -> Option<Region> {
        match self {
            Scope::Region(region) => Some(region),
            Scope::None | Scope::Billing(_) => None,
        }
    }

    /// The billing partner, where it is one.
    pub fn billing(self) -> Option<Guid> {
        match self {
            Scope::Billing(partner) => Some(partner),
            Scope::None | Scope::Region(_) => None,
        }
    }
}

/// What one look-up asks: an agreement of a party.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The cloud it is about.
    pub cloud: Cloud,
    /// The agreement.
    pub agreement: Agreement,
    /// Whose acceptance.
    pub party: Party,
    /// For which region or billing partner.
    pub scope: Scope,
}

named_enum! {
    /// Why there is definitely no acceptance (Partner Center, "Verify an indirect reseller's Microsoft Partner Agreement
    /// status").
    Absence {
        /// Nobody has accepted it.
        NotAccepted = "not_accepted",
        /// No such partner has an account.
        UnknownPartner = "unknown_partner",
        /// The partner is in another CSP region than the order.
        WrongRegion = "wrong_region",
        /// The partner is not enrolled as an indirect reseller.
        NotEnrolled = "not_enrolled",
    }
}

/// Where an agreement of a party stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Accepted, as far as the source knows when.
    Accepted {
        /// The newest acceptance that has a date.
        at: Option<Timestamp>,
        /// Whether there is one without a date: a direct acceptance, which follows the customer.
        undated: bool,
    },
    /// Definitely not accepted.
    Missing(Absence),
    /// The agreement does not exist for this party (other cloud, contract exhibit).
    NotApplicable,
}

impl Status {
    /// The glossary word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Accepted { .. } => "accepted",
            Status::Missing(_) => "missing",
            Status::NotApplicable => "not_applicable",
        }
    }

    /// An acceptance without a date.
    pub const UNDATED: Status = Status::Accepted { at: None, undated: true };

    /// Nothing more than that there is no acceptance.
    pub const MISSING: Status = Status::Missing(Absence::NotAccepted);

    /// An acceptance at that moment.
    pub const fn accepted(at: Timestamp) -> Status {
        Status::Accepted { at: Some(at), undated: false }
    }

    /// Whether it is an acceptance.
    pub const fn is_accepted(self) -> bool {
        matches!(self, Status::Accepted { .. })
    }

    /// What two answers about one party amount to: of two acceptances both, the newest date and whether one has none;
    /// else the acceptance. A further answer never takes away what another one gives.
    #[must_use]
    pub fn merged(self, other: Status) -> Status {
        match (self, other) {
            (Status::Accepted { at, undated }, Status::Accepted { at: newer, undated: also }) => {
                Status::Accepted { at: at.max(newer), undated: undated || also }
            }
            (Status::Accepted { .. }, _) | (Status::NotApplicable, Status::Missing(_)) => self,
            _ => other,
        }
    }
}

/// What rules ask of the date of an acceptance: a source that could say more need not, once this is met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// The latest moment since when an acceptance has to be.
    pub since: Option<Timestamp>,
    /// Whether one without a date is not enough.
    pub dated: bool,
}

impl Demand {
    /// The demand on a key, among those of all agreements; none where no rule asks for a date.
    pub fn among(demands: &[(Agreement, PartyKind, Demand)], key: &Key) -> Demand {
        let fits = |of: &&(Agreement, PartyKind, Demand)| of.0 == key.agreement && of.1 == key.party.kind();
        demands.iter().find(fits).map_or_else(Demand::default, |(.., demand)| *demand)
    }

    /// What two rules ask together.
    #[must_use]
    pub fn and(self, other: Demand) -> Demand {
        Demand { since: self.since.max(other.since), dated: self.dated || other.dated }
    }

    /// Whether nothing more could be learnt that any rule asks for.
    pub fn is_met_by(self, status: Status) -> bool {
        let Status::Accepted { at, undated } = status else { return false };
        self.since.is_none_or(|since| at.is_some_and(|at| at >= since) || (undated && !self.dated))
    }
}

named_enum! {
    /// Why a status could not be learnt.
    Failure {
        /// No source names the party: its operator has to record it.
        Unrecorded = "unrecorded",
        /// A source could not be asked, or answered nonsense.
        Source = "source",
        /// The source has failed again and again: it is left alone for a while.
        Unavailable = "unavailable",
        /// More questions than the source may be asked: its own limit, or what we set ourselves.
        Throttled = "throttled",
        /// The request's deadline for look-ups passed.
        Deadline = "deadline",
        /// The acceptance has no date, and a rule needs one.
        Undated = "undated",
        /// Whom the request names is not read by this gateway: its operator has to have it read.
        Unread = "unread",
        /// Only rules that can not change the verdict wanted to know, so nobody waited.
        NotAsked = "not_asked",
    }
}

impl Failure {
    /// Whether it is the gateway's own doing, so that `on_unknown: allow` must not apply.
    pub fn is_own(self) -> bool {
        matches!(
            self,
            Failure::Unavailable
                | Failure::Throttled
                | Failure::Deadline
                | Failure::Unread
                | Failure::NotAsked
        )
    }
}

/// A status with where and when it was learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact {
    /// The status.
    pub status: Status,
    /// When the source was asked (for a ledger: when its file was written).
    pub observed_at: Timestamp,
    /// When it was last asked for, whatever the source's own time says.
    pub asked_at: Timestamp,
    /// Which source said so.
    pub source: Name,
}

/// What a look-up brought: the last definite answer, and why there is no newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The last definite answer, if there ever was one.
    pub last: Option<Fact>,
    /// Set when the question could not be answered now.
    pub failure: Option<Failure>,
}

impl Answer {
    /// An answer that rests on a fact alone.
    pub fn known(fact: Fact) -> Answer {
        Answer { last: Some(fact), failure: None }
    }

    /// No answer at all.
    pub fn failed(failure: Failure) -> Answer {
        Answer { last: None, failure: Some(failure) }
    }
}

/// The answers to a plan's needs, in the order of the needs.
#[derive(Clone, Debug)]
pub struct Statuses {
    /// One answer for each need.
    pub answers: Vec<Answer>,
    /// How old an accepted fact may be when nothing newer could be learnt.
    pub stale_max: SignedDuration,
}
