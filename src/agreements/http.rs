//! A JSON endpoint as a source: for shops that keep their agreements elsewhere.

use std::fmt;
use std::sync::Arc;

use http::StatusCode;
use jiff::Timestamp;
use serde_json::Value;

use crate::agreements::source::{Question, Said, Saying, Source};
use crate::extract::moment::{is_future, moment};
use crate::fetch::Answer;
use crate::policy::agreement::{Key, Status, named_enum};
use crate::policy::id::Name;
use crate::remote::client::{Asked, Remote};
use crate::remote::reading::Unusable::{self, Broken, Silent};

/// How the endpoint is asked, and what its answers say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its name in configuration.
    pub name: Name,
    /// The path and query, from the root of the server.
    pub target: Template,
    /// Where an answer says that the agreement was accepted.
    pub accepted: Test,
    /// Where it says that it was not; else only a plain `false` of `accepted` says so.
    pub missing: Option<Test>,
    /// JSON pointer (RFC 6901) to when it was accepted.
    pub date: Option<String>,
    /// Whether a 404 says that it was not accepted, rather than nothing.
    pub not_found_is_missing: bool,
}

/// A value in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// JSON pointer (RFC 6901) to it.
    pub pointer: String,
    /// What it has to be, as text without regard to case; `true` where nothing is given.
    pub value: Option<String>,
}

impl Test {
    /// Reads `/pointer` or `/pointer=value`.
    pub fn parse(text: &str) -> Option<Test> {
        let (pointer, value) = match text.split_once('=') {
            Some((pointer, value)) => (pointer, Some(value.to_owned())),
            None => (text, None),
        };
        (pointer.starts_with('/') && value.as_deref() != Some(""))
            .then(|| Test { pointer: pointer.to_owned(), value })
    }

    fn holds(&self, answer: &Value) -> bool {
        let Some(found) = answer.pointer(&self.pointer) else { return false };
        let Some(wanted) = &self.value else { return *found == Value::Bool(true) };
        match found {
            Value::String(text) => wanted.eq_ignore_ascii_case(text),
            Value::Bool(flag) => wanted == if *flag { "true" } else { "false" },
            Value::Number(number) => number.to_string() == *wanted,
            _ => false,
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pointer)?;
        self.value.as_ref().map_or(Ok(()), |value| write!(f, "={value}"))
    }
}

/// A target with places for what a question is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Place(Place),
}

named_enum! {
    /// What a template may name.
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
    fn fill(&self, key: &Key) -> Option<String> {
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

/// The endpoint as a source.
#[derive(Debug)]
pub struct HttpSource {
    settings: Settings,
    remote: Arc<Remote>,
    epoch: u64,
}

impl HttpSource {
    /// A source that asks this server. `epoch` is a number of everything that its answers depend on.
    pub fn new(settings: Settings, remote: Arc<Remote>, epoch: u64) -> HttpSource {
        HttpSource { settings, remote, epoch }
    }

    async fn say(&self, question: &Question) -> Said {
        let Some(target) = self.settings.target.fill(&question.key) else { return Said::Nothing };
        let (asker, patience) = (question.asker, question.patience);
        let asked = Asked { target, headers: Vec::new(), asker, patience, leave: None };
        let read = |answer: &Answer| read(&self.settings, answer.status, &answer.body, Timestamp::now());
        let said = self.remote.get(&asked, read).await;
        said.unwrap_or_else(|why| Said::Failed(why.failure()))
    }
}

/// What an answer says.
fn read(settings: &Settings, status: StatusCode, body: &[u8], now: Timestamp) -> Result<Said, Unusable> {
    let definite = |status| Said::Definite { status, observed_at: now };
    match status {
        StatusCode::NOT_FOUND if settings.not_found_is_missing => return Ok(definite(Status::MISSING)),
        StatusCode::NOT_FOUND => return Ok(Said::Nothing),
        StatusCode::OK => {}
        _ => return Err(Silent("its status is neither 200 nor 404")),
    }
    let answer: Value = serde_json::from_slice(body).map_err(|_| Broken("it is no JSON"))?;
    if settings.accepted.holds(&answer) {
        let date = settings.date.as_ref().and_then(|pointer| answer.pointer(pointer));
        let status = match date {
            None | Some(Value::Null) => Status::UNDATED,
            Some(Value::String(text)) => match moment(text) {
                Some(at) if is_future(at, now) => return Err(Silent("the acceptance lies in the future")),
                Some(at) => Status::accepted(at),
                None => return Err(Silent("the date can not be read")),
            },
            Some(_) => return Err(Silent("the date is no text")),
        };
        return Ok(definite(status));
    }
    let is_plain_no = || answer.pointer(&settings.accepted.pointer) == Some(&Value::Bool(false));
    match settings.missing.as_ref().map_or_else(is_plain_no, |missing| missing.holds(&answer)) {
        true => Ok(definite(Status::MISSING)),
        false => Ok(Said::Nothing),
    }
}

impl Source for HttpSource {
    fn name(&self) -> Name {
        self.settings.name
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn is_local(&self) -> bool {
        false
    }

    fn is_ailing(&self) -> bool {
        self.remote.is_ailing()
    }

    fn look_up<'a>(&'a self, question: &'a Question) -> Saying<'a> {
        Box::pin(self.say(question))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::agreement::{Cloud, MCA, MPA, PartnerIds, Party, Region, Scope};
    use crate::policy::id::{Guid, MpnId};

    #[test]
    fn answers_say_what_the_pointers_find() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let settings = |missing: Option<&str>, not_found_is_missing| Settings {
            name: Name::new("shop").unwrap(),
            target: Template::parse("/").unwrap(),
            accepted: Test::parse(if missing.is_some() { "/state=signed" } else { "/mca/ok" }).unwrap(),
            missing: missing.and_then(Test::parse),
            date: Some("/at".to_owned()),
            not_found_is_missing,
        };
        let definite = |status| Ok(Said::Definite { status, observed_at: now });
        let at = Status::accepted("2025-01-01T00:00:00Z".parse().unwrap());
        let (plain, stated) = (settings(None, false), settings(Some("/state=open"), true));
        for (settings, status, body, expected) in [
            (&plain, 200, r#"{"mca":{"ok":true}}"#, definite(Status::UNDATED)),
            (&plain, 200, r#"{"mca":{"ok":true},"at":null}"#, definite(Status::UNDATED)),
            (&plain, 200, r#"{"mca":{"ok":true},"at":"2025-01-01"}"#, definite(at)),
            (&plain, 200, r#"{"mca":{"ok":true},"at":"soon"}"#, Err(())),
            (&plain, 200, r#"{"mca":{"ok":true},"at":1735689600}"#, Err(())),
            (&plain, 200, r#"{"mca":{"ok":true},"at":"2027-01-01"}"#, Err(())),
            (&plain, 200, r#"{"mca":{"ok":false}}"#, definite(Status::MISSING)),
            (&plain, 200, r#"{"mca":{"ok":"true"}}"#, Ok(Said::Nothing)),
            (&plain, 200, r#"{"mca":{}}"#, Ok(Said::Nothing)),
            (&plain, 200, r#"{"mca":{"ok":tr"#, Err(())),
            (&plain, 200, "<html>", Err(())),
            (&plain, 404, "", Ok(Said::Nothing)),
            (&plain, 403, "{}", Err(())),
            (&plain, 204, "", Err(())),
            (&stated, 200, r#"{"state":"Signed"}"#, definite(Status::UNDATED)),
            (&stated, 200, r#"{"state":"open"}"#, definite(Status::MISSING)),
            (&stated, 200, r#"{"state":"unheard of"}"#, Ok(Said::Nothing)),
            (&stated, 404, "", definite(Status::MISSING)),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let read = read(settings, status, body.as_bytes(), now).map_err(|_| ());
            assert_eq!(read, expected, "{status} {body}");
        }
    }

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
