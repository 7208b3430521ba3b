//! Templates: texts of the operator's with places for what a question is about.

use std::fmt;

use crate::policy::agreement::{Key, named_enum};

/// A text with places for what a question is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Place(Place),
}

named_enum! {
    /// A place that a template may name.
    Place {
        /// The agreement's name.
        Agreement = "agreement",
        /// `partner`, `reseller` or `customer`.
        Kind = "kind",
        /// The party's id: a reseller's MPN id where it is known, else the tenant.
        Id = "id",
        /// The party's tenant.
        Tenant = "tenant",
        /// The party's MPN id.
        MpnId = "mpn_id",
        /// The cloud.
        Cloud = "cloud",
        /// The CSP region.
        Region = "region",
        /// The billing partner's tenant, of a customer's agreement.
        Billing = "billing",
    }
}

impl Template {
    /// Reads a template such as `/agreements/{kind}/{id}`. The error is a place that is none.
    pub fn parse(text: &str) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let close = rest[open..].find('}').ok_or_else(|| rest[open..].to_owned())? + open;
            let name = &rest[open + 1..close];
            pieces.push(Piece::Text(rest[..open].to_owned()));
            pieces.push(Piece::Place(Place::parse(name).ok_or_else(|| name.to_owned())?));
            rest = &rest[close + 1..];
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Template(pieces))
    }

    /// The target for a key; `None` where it lacks what the template names. What is filled in are ids and names, none of
    /// which holds a character with a meaning in a URL.
    pub fn fill(&self, key: &Key) -> Option<String> {
        let mut target = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => target.push_str(text),
                Piece::Place(place) => target.push_str(&filled(*place, key)?),
            }
        }
        Some(target)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Place(place) => write!(f, "{{{place}}}"),
        })
    }
}

fn filled(place: Place, key: &Key) -> Option<String> {
    match place {
        Place::Agreement => Some(key.agreement.to_string()),
        Place::Kind => Some(key.party.kind().to_string()),
        Place::Id => Some(key.party.to_string()),
        Place::Tenant => key.party.ids().tenant.map(|tenant| tenant.to_string()),
        Place::MpnId => key.party.ids().mpn.map(|mpn| mpn.to_string()),
        Place::Cloud => Some(key.cloud.to_string()),
        Place::Region => key.scope.region().map(|region| region.to_string()),
        Place::Billing => key.scope.billing().map(|partner| partner.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::agreement::{Cloud, MCA, MPA, PartnerIds, Party, Region, Scope};
    use crate::policy::id::{Guid, MpnId};

    #[test]
    fn templates_are_filled_with_what_a_question_is_about() {
        let tenant = Guid::parse("9c0fba1e-0000-4a00-8000-0123456789ab").unwrap();
        let ids = PartnerIds { tenant: None, mpn: MpnId::parse("5139005") };
        let reseller = Key {
            cloud: Cloud::Commercial,
            agreement: MPA,
            party: Party::Reseller(ids),
            scope: Scope::Region(Region::Europe),
        };
        let customer = Key {
            agreement: MCA,
            party: Party::Customer(tenant),
            scope: Scope::Billing(Guid::from_bits(1)),
            ..reseller
        };
        let fill = |template: &str, key: &Key| Template::parse(template).unwrap().fill(key);
        assert_eq!(
            fill("/{agreement}/{kind}/{id}?region={region}&cloud={cloud}", &reseller).unwrap(),
            "/mpa/reseller/5139005?region=europe&cloud=commercial"
        );
        assert_eq!(
            fill("/{id}/{tenant}?of={billing}", &customer).unwrap(),
            format!("/{tenant}/{tenant}?of={}", Guid::from_bits(1))
        );
        assert_eq!(fill("/{tenant}", &reseller), None);
        assert_eq!(fill("/{mpn_id}", &customer), None);
        assert_eq!(Template::parse("/{party}"), Err("party".to_owned()));
        assert_eq!(Template::parse("/{id"), Err("{id".to_owned()));
    }
}
