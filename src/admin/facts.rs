//! Facts by hand: what operators ask of the facts of one party.

use http::Method;

use crate::policy::agreement::{Agreement, named_enum};
use crate::policy::id::{Name, PartnerRef};

named_enum! {
    /// What is done with facts.
    Act {
        /// They are shown.
        Show = "show",
        /// They are asked for anew.
        Refresh = "refresh",
        /// They are forgotten: the next request asks.
        Forget = "forget",
    }
}

/// The facts of an agreement of a party, whatever its kind, cloud, region or billing partner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Which agreement.
    pub agreement: Agreement,
    /// Whose.
    pub party: PartnerRef,
    /// What is done with them.
    pub act: Act,
}

/// What is wrong with a request about facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It is about something else.
    Path,
    /// It is asked for with another method.
    Method,
    /// The party is no tenant and no MPN id.
    Party,
    /// The agreement can not be one.
    Agreement,
}

impl Facts {
    /// Reads `GET /facts/AGREEMENT/PARTY` and `POST /facts/AGREEMENT/PARTY/refresh` or `/forget`.
    pub fn parse(method: &Method, path: &str) -> Result<Facts, Wrong> {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let (agreement, party, act) = match segments[..] {
            ["facts", agreement, party] => (agreement, party, Act::Show),
            ["facts", agreement, party, act] => {
                let act = Act::parse(act).filter(|act| *act != Act::Show).ok_or(Wrong::Path)?;
                (agreement, party, act)
            }
            _ => return Err(Wrong::Path),
        };
        let wanted = if act == Act::Show { Method::GET } else { Method::POST };
        if *method != wanted {
            return Err(Wrong::Method);
        }
        let agreement = Name::new(agreement).ok_or(Wrong::Agreement)?;
        let party = PartnerRef::parse(party).ok_or(Wrong::Party)?;
        Ok(Facts { agreement, party, act })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_about_facts_name_an_agreement_and_a_party() {
        const TENANT: &str = "9c0fba1e-0000-4a00-8000-0123456789ab";
        let parse = |method: Method, path: &str| Facts::parse(&method, path).map(|facts| facts.act);
        for (method, path, expected) in [
            (Method::GET, format!("/facts/mca/{TENANT}"), Ok(Act::Show)),
            (Method::GET, "/facts/mpa/5139005".to_owned(), Ok(Act::Show)),
            (Method::POST, format!("/facts/mca/{TENANT}/refresh"), Ok(Act::Refresh)),
            (Method::POST, format!("/facts/mca/{TENANT}/forget"), Ok(Act::Forget)),
            (Method::GET, format!("/facts/mca/{TENANT}/forget"), Err(Wrong::Method)),
            (Method::POST, format!("/facts/mca/{TENANT}"), Err(Wrong::Method)),
            (Method::POST, format!("/facts/mca/{TENANT}/show"), Err(Wrong::Path)),
            (Method::GET, format!("/facts/mca/{TENANT}/"), Err(Wrong::Path)),
            (Method::GET, "/facts/mca/somebody".to_owned(), Err(Wrong::Party)),
            (Method::GET, format!("/facts/M C A/{TENANT}"), Err(Wrong::Agreement)),
            (Method::GET, "/facts".to_owned(), Err(Wrong::Path)),
            (Method::GET, "/other/mca/1".to_owned(), Err(Wrong::Path)),
        ] {
            assert_eq!(parse(method.clone(), &path), expected, "{method} {path}");
        }
    }
}
