//! The compiled policy: every operation and rule of one configuration, and where a request goes by it.

use std::collections::HashMap;

use crate::policy::agreement::{Agreement, Demand, PartnerIds, Party, PartyKind, named_enum};
use crate::policy::decision::Decision;
use crate::policy::endpoint::Endpoint;
use crate::policy::facts::{Caller, Profile};
use crate::policy::id::{Guid, MpnId, PartnerRef};
use crate::policy::learning::Learning;
use crate::policy::operation::{Class, Method, Operation, OperationId};
use crate::policy::path::Path;
use crate::policy::pattern::Pattern;
use crate::policy::product::Products;
use crate::policy::reason::{Reason, UnrecordedStatus};
use crate::policy::role::NameTable;
use crate::policy::router::Router;
use crate::policy::rule::{Mode, Rule, Undated, Waiver};

named_enum! {
    /// What a write that no operation lists is (`policy.unlisted`).
    Unlisted {
        /// Below a customer's path a purchase of an unknown product, elsewhere denied.
        Purchase = "purchase",
        /// Denied.
        Deny = "deny",
        /// Forwarded.
        Allow = "allow",
    }
}

named_enum! {
    /// What OPTIONS is (`policy.options`).
    Options {
        /// Refused.
        Deny = "deny",
        /// Forwarded without token, body or credentials.
        Allow = "allow",
    }
}

named_enum! {
    /// What a draft is whose purchase would be denied (`policy.drafts`).
    Drafts {
        /// Denied as the purchase would be.
        Enforce = "enforce",
        /// Forwarded with a notice: its checkout is judged.
        Notice = "notice",
    }
}

named_enum! {
    /// The judgement of a request whose resource may name resellers and is not read (`policy.unread_resellers`).
    UnreadResellers {
        /// Denied: nobody can tell.
        Deny = "deny",
        /// Judged by what it shows, with a notice.
        Notice = "notice",
        /// Judged by what it shows.
        Allow = "allow",
    }
}

/// What stands behind an agreement's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgreementInfo {
    /// The name.
    pub name: Agreement,
    /// The fault code of a denial, where a rule gives none.
    pub code: u32,
    /// Where it is accepted.
    pub action: Option<String>,
    /// The upstream's fault codes that put an acceptance in doubt, each with the parties it is about.
    pub doubt_codes: Vec<(PartyKind, u32)>,
}

impl AgreementInfo {
    /// True where a fault of the upstream says that parties of a kind may not have accepted it.
    pub fn is_doubted_by(&self, code: u64, of: PartyKind) -> bool {
        self.doubt_codes.iter().any(|(kind, known)| *kind == of && u64::from(*known) == code)
    }
}

/// All operations and rules of one configuration, compiled.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Every operation; [`OperationId`] is the index.
    pub operations: Vec<Operation>,
    /// Every endpoint.
    pub endpoints: Vec<Endpoint>,
    /// From method and path to an endpoint.
    pub router: Router,
    /// Product classes.
    pub products: Products,
    /// Where resellers are named, whatever the operation.
    pub reseller_members: Vec<Pattern>,
    /// Top-level members that repeat the customer of the path.
    pub customer_members: Vec<String>,
    /// Every rule, in the order in which a verdict names them.
    pub rules: Vec<Rule>,
    /// For each operation, the rules that may apply to it.
    pub rules_of: Vec<Vec<usize>>,
    /// Exceptions.
    pub waivers: Vec<Waiver>,
    /// What an unlisted write is.
    pub unlisted: Unlisted,
    /// What OPTIONS is.
    pub options: Options,
    /// What a draft is that a purchase would be denied for.
    pub drafts: Drafts,
    /// The judgement of a request whose resource may name resellers and is not read.
    pub unread_resellers: UnreadResellers,
    /// The status of denials for what nobody has recorded.
    pub unrecorded_status: UnrecordedStatus,
    /// For each operation, what its answers tell of agreements.
    pub learning: Vec<Option<Learning>>,
    /// True where nothing is denied for its rules.
    pub shadow: bool,
    /// Role names.
    pub roles: NameTable,
    /// Label names.
    pub labels: NameTable,
    /// The agreements that rules may name.
    pub agreements: Vec<AgreementInfo>,
    /// The tenants of listed partners by their MPN ids.
    pub tenants: HashMap<MpnId, Guid>,
    /// The first MPN ids of listed partners by their tenants.
    pub mpn_ids: HashMap<Guid, MpnId>,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub enum Route<'p> {
    /// Its body is read and judged.
    Judge(&'p Endpoint),
    /// It is forwarded as it comes, once its caller is known.
    Stream(OperationId, Class),
    /// OPTIONS that is forwarded without a caller, a body or credentials.
    Bare,
    /// It is denied whatever it holds.
    Deny(OperationId, Reason),
}

impl Route<'_> {
    /// The operation, as far as method and path tell.
    pub fn operation(&self) -> OperationId {
        match self {
            Route::Judge(endpoint) => endpoint.operation,
            Route::Stream(operation, _) | Route::Deny(operation, _) => *operation,
            Route::Bare => OperationId::OPTIONS,
        }
    }
}

impl Policy {
    /// Which operation a request may be, and whether it is judged, from its method and path alone.
    pub fn route(&self, method: Method, path: &Path<'_>) -> Route<'_> {
        if method == Method::Options {
            return match self.options {
                Options::Allow => Route::Bare,
                Options::Deny => Route::Deny(OperationId::OPTIONS, Reason::MethodRefused),
            };
        }
        // A batch holds other requests, which nobody here would read (OData 4.01 part 1, section 11.7).
        let is_batch = (0..path.len()).any(|at| path.segment(at).eq_ignore_ascii_case("$batch"));
        if is_batch && !method.is_read() && !self.shadow {
            return Route::Deny(OperationId::UNLISTED, Reason::UnlistedOperation);
        }
        let listed = self.router.find(method, path).map(|at| &self.endpoints[at]);
        if let Some(endpoint) = listed {
            return match endpoint.is_judged() {
                true => Route::Judge(endpoint),
                false => Route::Stream(endpoint.operation, endpoint.class),
            };
        }
        if method.is_read() {
            return Route::Stream(OperationId::READ, Class::Read);
        }
        let below_customer = self.router.find_customer_path(path).map(|at| &self.endpoints[at]);
        match (self.unlisted, below_customer) {
            (Unlisted::Allow, _) => Route::Stream(OperationId::UNLISTED, Class::Administration),
            // In shadow mode nothing is blocked for being unlisted, nor for a body that can not be read.
            _ if self.shadow => Route::Stream(OperationId::UNLISTED, Class::Administration),
            (Unlisted::Purchase, Some(endpoint)) => Route::Judge(endpoint),
            _ => Route::Deny(OperationId::UNLISTED, Reason::UnlistedOperation),
        }
    }

    /// The fault code of a denial: that of the rule which is not met, else the reason's own.
    pub fn fault_code(&self, decision: &Decision, reason: Reason) -> u32 {
        let rule = decision.decisive().filter(|_| reason.is_unmet()).map(|finding| &self.rules[finding.rule]);
        rule.map_or(reason.fault_code(), |rule| rule.code)
    }

    /// A reseller named in a request, as the party it is, with all ids that are known of it. Who names itself or its
    /// provider is that very partner.
    pub fn reseller(&self, caller: &Caller, id: PartnerRef) -> Party {
        if self.names(&caller.billing, id) {
            return Party::Partner(caller.billing.ids());
        }
        if caller.partner.is(id) {
            return Party::Reseller(caller.partner.ids());
        }
        Party::Reseller(self.partner_ids(id))
    }

    /// True where an id names a partner, be it one of several MPN ids of its entry.
    pub fn names(&self, partner: &Profile, id: PartnerRef) -> bool {
        partner.is(id) || self.partner_ids(id).tenant == Some(partner.tenant)
    }

    /// All ids that are known of a partner that is named by one.
    pub fn partner_ids(&self, id: PartnerRef) -> PartnerIds {
        let known = PartnerIds::from(id);
        let tenant = known.tenant.or_else(|| self.tenants.get(&known.mpn?).copied());
        let mpn = known.mpn.or_else(|| self.mpn_ids.get(&known.tenant?).copied());
        PartnerIds { tenant, mpn }
    }

    /// What rules ask of the dates of acceptances, at whatever time.
    pub fn demands(&self) -> Vec<(Agreement, PartyKind, Demand)> {
        let mut demands: Vec<(Agreement, PartyKind, Demand)> = Vec::new();
        for rule in self.rules.iter().filter(|rule| rule.mode != Mode::Off) {
            let Some(requirement) = &rule.requires else { continue };
            let since = requirement.accepted_since;
            let dated = since.is_some() && requirement.undated == Undated::Unknown;
            let demand = Demand { since, dated };
            let same = |of: &&mut (Agreement, PartyKind, Demand)| {
                (of.0, of.1) == (requirement.agreement, requirement.of)
            };
            match demands.iter_mut().find(same) {
                Some((.., known)) => *known = known.and(demand),
                None => demands.push((requirement.agreement, requirement.of, demand)),
            }
        }
        demands
    }
}
