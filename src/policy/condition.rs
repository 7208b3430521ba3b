//! Conditions: what a rule can ask of the facts, judged in three values.

use crate::policy::agreement::{Cloud, Region};
use crate::policy::facts::{Country, Facts, PartnerKind, Product};
use crate::policy::operation::{Class, ClassSet, OperationId};
use crate::policy::role::NameSet;

/// The value of a condition. What can not be known is neither true nor false: a rule applies unless it is false.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Truth {
    /// It does not hold.
    False,
    /// It may hold.
    Unknown,
    /// It holds.
    True,
}

impl From<bool> for Truth {
    fn from(value: bool) -> Truth {
        if value { Truth::True } else { Truth::False }
    }
}

impl std::ops::Not for Truth {
    type Output = Truth;

    fn not(self) -> Truth {
        match self {
            Truth::False => Truth::True,
            Truth::Unknown => Truth::Unknown,
            Truth::True => Truth::False,
        }
    }
}

/// When a rule applies: every condition that is given has to hold; within one, any value will do.
///
/// Kind, country, region, cloud and label are the billing partner's; a label of the caller counts too.
#[derive(Clone, Debug, Default)]
pub struct When {
    /// Any of these operations.
    pub operations: Option<Vec<OperationId>>,
    /// Any of these classes.
    pub classes: Option<ClassSet>,
    /// A line whose product is of any of these classes.
    pub product_classes: Option<NameSet>,
    /// Any of these kinds.
    pub partner_kinds: Option<Vec<PartnerKind>>,
    /// Any of these labels.
    pub labels: Option<NameSet>,
    /// Any of these clouds.
    pub clouds: Option<Vec<Cloud>>,
    /// Any of these countries.
    pub countries: Option<Vec<Country>>,
    /// Any of these CSP regions.
    pub regions: Option<Vec<Region>>,
    /// The caller holds any of these roles.
    pub roles: Option<NameSet>,
    /// A reseller is named, or none is.
    pub reseller: Option<bool>,
    /// None of these.
    pub not: Vec<When>,
}

impl When {
    /// Whether lines of one request may differ in it.
    pub fn asks_products(&self) -> bool {
        self.product_classes.is_some() || self.not.iter().any(When::asks_products)
    }

    /// What can be said from the operation alone: false means that the rule never applies to it.
    pub fn of_operation(&self, operation: OperationId, class: Class) -> Truth {
        let mut truth = Truth::True;
        if let Some(operations) = &self.operations {
            truth = truth.min(operations.contains(&operation).into());
        }
        if let Some(classes) = self.classes {
            truth = truth.min(classes.holds(class).into());
        }
        let asks_more = self.product_classes.is_some()
            || self.partner_kinds.is_some()
            || self.labels.is_some()
            || self.clouds.is_some()
            || self.countries.is_some()
            || self.regions.is_some()
            || self.roles.is_some()
            || self.reseller.is_some();
        if asks_more {
            truth = truth.min(Truth::Unknown);
        }
        self.not.iter().fold(truth, |truth, not| truth.min(!not.of_operation(operation, class)))
    }

    /// Whether it holds for a request, or for one of its lines.
    pub fn holds(&self, facts: &Facts<'_>, product: &Product) -> Truth {
        let billing = &facts.caller.billing;
        let request = facts.request;
        let mut truth = Truth::True;
        if let Some(operations) = &self.operations {
            truth = truth.min(operations.contains(&request.operation).into());
        }
        if let Some(classes) = self.classes {
            truth = truth.min(classes.holds(request.class).into());
        }
        if let Some(wanted) = self.product_classes {
            truth = truth.min(match product {
                Product::Unknown => Truth::Unknown,
                Product::Named { classes, .. } => classes.meets(wanted).into(),
            });
        }
        if let Some(kinds) = &self.partner_kinds {
            truth = truth.min(kinds.contains(&billing.kind).into());
        }
        if let Some(labels) = self.labels {
            truth =
                truth.min((billing.labels.meets(labels) || facts.caller.partner.labels.meets(labels)).into());
        }
        if let Some(clouds) = &self.clouds {
            truth = truth.min(clouds.contains(&billing.cloud).into());
        }
        if let Some(countries) = &self.countries {
            truth = truth
                .min(billing.country.map_or(Truth::Unknown, |country| countries.contains(&country).into()));
        }
        if let Some(regions) = &self.regions {
            truth =
                truth.min(billing.region.map_or(Truth::Unknown, |region| regions.contains(&region).into()));
        }
        if let Some(roles) = self.roles {
            truth = truth.min(facts.caller.roles.meets(roles).into());
        }
        if let Some(wanted) = self.reseller {
            let named = !request.resellers.is_empty() || facts.caller.is_reseller();
            truth = truth.min(match (named, request.unread) {
                (false, Some(_)) => Truth::Unknown,
                _ => (named == wanted).into(),
            });
        }
        self.not.iter().fold(truth, |truth, not| truth.min(!not.holds(facts, product)))
    }
}
