//! Facts: all that policy may know of one request.

use jiff::Timestamp;

use crate::policy::agreement::{Cloud, Failure, PartnerIds, Region, named_enum};
use crate::policy::id::{Guid, MpnId, PartnerRef};
use crate::policy::operation::{Class, OperationId, Resource};
use crate::policy::reason::Reason;
use crate::policy::role::NameSet;
use crate::policy::shape::Notice;

/// The most lines one request may have.
pub const LINES_MAX: usize = 300;
/// The most resellers that its lines may name, each counted once a line.
pub const RESELLERS_MAX: usize = 1_000;

named_enum! {
    /// What a partner is in the CSP programme.
    PartnerKind {
        /// An indirect provider (distributor).
        IndirectProvider = "indirect_provider",
        /// An indirect reseller.
        IndirectReseller = "indirect_reseller",
        /// A direct-bill partner.
        DirectBill = "direct_bill",
    }
}

/// An ISO 3166-1 alpha-2 country code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Country([u8; 2]);

impl Country {
    /// Two letters, in either case.
    pub fn parse(text: &str) -> Option<Country> {
        match text.as_bytes() {
            [first, second] if first.is_ascii_alphabetic() && second.is_ascii_alphabetic() => {
                Some(Country([first.to_ascii_uppercase(), second.to_ascii_uppercase()]))
            }
            _ => None,
        }
    }

    /// The two letters in upper case.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a country is two ASCII letters")
    }
}

/// What the partners table knows of a partner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Tenant.
    pub tenant: Guid,
    /// MPN id.
    pub mpn: Option<MpnId>,
    /// Kind in the programme.
    pub kind: PartnerKind,
    /// Cloud.
    pub cloud: Cloud,
    /// Country.
    pub country: Option<Country>,
    /// CSP region.
    pub region: Option<Region>,
    /// Labels, for staged roll-outs and exceptions.
    pub labels: NameSet,
}

impl Profile {
    /// Its ids.
    pub fn ids(&self) -> PartnerIds {
        PartnerIds { tenant: Some(self.tenant), mpn: self.mpn }
    }

    /// True where an id names this partner.
    pub fn is(&self, id: PartnerRef) -> bool {
        match id {
            PartnerRef::Tenant(tenant) => tenant == self.tenant,
            PartnerRef::Mpn(mpn) => Some(mpn) == self.mpn,
        }
    }
}

/// Who sent the request, and for whose account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The partner that the token speaks for.
    pub partner: Profile,
    /// The partner that is billed and whose customers these are; the caller itself unless configured otherwise.
    pub billing: Profile,
    /// The caller's roles.
    pub roles: NameSet,
}

impl Caller {
    /// True where the caller buys through another partner: then it is a reseller.
    pub fn is_reseller(&self) -> bool {
        self.partner.tenant != self.billing.tenant
    }
}

/// A product as far as the request shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Product {
    /// The request does not say: it may be any.
    Unknown,
    /// Named by these ids.
    Named {
        /// As written in the request.
        ids: Vec<String>,
        /// The classes of them all.
        classes: NameSet,
    },
}

/// One line of an order or cart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// JSON pointer (RFC 6901) to it.
    pub at: String,
    /// What it buys.
    pub product: Product,
}

/// A reseller that the request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedReseller {
    /// Who.
    pub id: PartnerRef,
    /// JSON pointer to the name.
    pub at: String,
    /// The line that it stands on; `None` where it speaks of the whole request.
    pub line: Option<u16>,
}

/// Why something of a request can not be read; the detail holds nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The reason of its refusal.
    pub reason: Reason,
    /// The fault that was found.
    pub detail: &'static str,
}

/// What a request says, once it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it is.
    pub operation: OperationId,
    /// The class of that.
    pub class: Class,
    /// For which customer.
    pub customer: Option<Guid>,
    /// What it buys, at most [`LINES_MAX`].
    pub lines: Vec<Line>,
    /// Whom it names, in order of appearance.
    pub resellers: Vec<NamedReseller>,
    /// What was read to know what it does.
    pub read: Option<Resource>,
    /// What would have to be read to know more; the strictest reading stands in for it.
    pub unread: Option<Resource>,
    /// Why it could not be read; `None` where nobody reads it.
    pub unread_because: Option<Failure>,
    /// True where its resource could show that it is weaker than it is taken for.
    pub may_be_weaker: bool,
    /// True where it is about something that may name resellers and can not be read here.
    pub names_unseen: bool,
    /// Why its lines or resellers can not be read: it is refused for that where they count.
    pub unreadable: Option<Unreadable>,
    /// The notice that its caller gets beside those of rules.
    pub notice: Option<Notice>,
}

impl Request {
    /// A request of which nothing is read: for no customer, and it names nobody.
    pub fn bare(operation: OperationId, class: Class) -> Request {
        Request {
            operation,
            class,
            customer: None,
            lines: Vec::new(),
            resellers: Vec::new(),
            read: None,
            unread: None,
            unread_because: None,
            may_be_weaker: false,
            names_unseen: false,
            unreadable: None,
            notice: None,
        }
    }

    /// True where it may buy more than its lines show, because its resource was not read. A request below
    /// a subscription says by itself what it buys.
    pub fn may_hold_more(&self) -> bool {
        self.unread.is_some_and(|resource| self.may_be_weaker || resource != Resource::Subscription)
    }

    /// Why it has to be refused: what counts of it can not be read.
    pub fn refused(&self) -> Option<Unreadable> {
        self.unreadable.filter(|_| self.class.is_gated())
    }

    /// Why it is not known whom the request names beside those it shows.
    pub fn resellers_unread(&self) -> Option<Failure> {
        self.unread.and(self.unread_because)
    }

    /// True where nobody reads whom it may name. The resellers of a cart were judged when it was written.
    pub fn resellers_never_read(&self) -> bool {
        let is_unread = self.unread.is_some_and(|resource| resource != Resource::Cart);
        self.names_unseen || (self.unread_because.is_none() && is_unread)
    }

    /// Why it is not known that the request is as strong as it is taken for: what it is compared with could not be read.
    pub fn class_unread(&self) -> Option<Failure> {
        self.unread_because.filter(|_| self.may_be_weaker && self.unread.is_some())
    }
}

/// The facts of one request.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Who asks.
    pub caller: &'a Caller,
    /// What is asked.
    pub request: &'a Request,
    /// When.
    pub at: Timestamp,
}
