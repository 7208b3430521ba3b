//! A JSON endpoint as a source: for shops that keep their agreements elsewhere.

use std::fmt;
use std::sync::Arc;

use http::StatusCode;
use serde_json::Value;

use crate::agreements::pointer::{Pointer, PointerFault, is};
use crate::agreements::source::{Question, Said, Saying, Source};
use crate::agreements::template::Template;
use crate::clock::Now;
use crate::extract::moment::{AcceptedAt, NoAcceptance, accepted_at};
use crate::extract::strict::{self, Names};
use crate::fetch::Answer;
use crate::policy::agreement::{Failure, Key, STANDING, Status};
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
    /// Where it says when it was accepted.
    pub date: Option<Pointer>,
    /// Whether a 404 says that it was not accepted, rather than nothing.
    pub not_found_is_missing: bool,
}

impl Settings {
    /// Whether a key has all that the target and the pointers name.
    fn fit(&self, key: &Key) -> bool {
        let tests = [Some(&self.accepted), self.missing.as_ref()].into_iter().flatten();
        tests.map(|test| &test.pointer).chain(&self.date).all(|pointer| pointer.fits(key))
    }
}

/// A value in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// Where it is.
    pub pointer: Pointer,
    /// What it has to be, as text without regard to case; `true` where nothing is given.
    pub value: Option<String>,
}

impl Test {
    /// Reads `/pointer` or `/pointer=value`.
    pub fn parse(text: &str) -> Result<Test, PointerFault> {
        let (pointer, rest) = Pointer::parse(text)?;
        let value = rest.strip_prefix('=').map(str::to_owned);
        match value.as_deref() {
            Some("") => Err(PointerFault::NoPointer),
            _ => Ok(Test { pointer, value }),
        }
    }

    fn holds(&self, answer: &Value, key: &Key) -> Result<bool, Unusable> {
        let Some(found) = self.pointer.find(answer, key)? else { return Ok(false) };
        Ok(self.value.as_ref().map_or(*found == Value::Bool(true), |wanted| is(found, wanted)))
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pointer.fmt(f)?;
        self.value.as_ref().map_or(Ok(()), |value| write!(f, "={value}"))
    }
}

/// The endpoint as a source.
#[derive(Debug)]
pub struct HttpSource {
    settings: Settings,
    remote: Arc<Remote>,
    epoch: u64,
    /// True where the target or a pointer names the agreement, so that answers differ by it.
    tells_agreements: bool,
}

impl HttpSource {
    /// A source that asks this server. `epoch` is a number of everything that its answers depend on.
    pub fn new(settings: Settings, remote: Arc<Remote>, epoch: u64) -> HttpSource {
        let missing = settings.missing.as_ref().map_or_else(String::new, Test::to_string);
        let texts = [settings.target.to_string(), settings.accepted.to_string(), missing];
        let tells_agreements = texts.iter().any(|text| text.contains("{agreement}"));
        HttpSource { settings, remote, epoch, tells_agreements }
    }

    async fn say(&self, question: &Question) -> Said {
        let key = &question.key;
        let fits = self.may_say(key) && self.settings.fit(key);
        let target = self.settings.target.fill(key).filter(|_| fits);
        let Some(target) = target else { return Said::Nothing };
        let (asker, patience) = (question.asker, question.patience);
        let asked = Asked { target, asker, patience, ..Asked::default() };
        let read = |answer: &Answer| read(&self.settings, key, answer.status, &answer.body, Now::read());
        match self.remote.ask(&asked, read).await {
            // No rule asks for more.
            Ok(Said::AtLeast { status, observed, .. }) if question.demand.is_met_by(status) => {
                Said::Definite { status, observed }
            }
            Ok(said) => said,
            Err(why) => Said::Failed(why.failure()),
        }
    }
}

/// What an answer says of a key.
fn read(settings: &Settings, key: &Key, status: StatusCode, body: &[u8], now: Now) -> Result<Said, Unusable> {
    let definite = |status| Said::Definite { status, observed: now.moment() };
    match status {
        StatusCode::NOT_FOUND if settings.not_found_is_missing => return Ok(definite(Status::MISSING)),
        StatusCode::NOT_FOUND => return Ok(Said::Nothing),
        StatusCode::OK => {}
        _ => return Err(Silent("its status is neither 200 nor 404")),
    }
    let answer = strict::value(body, Names::Exact).map_err(|fault| Broken(fault.why()))?;
    let is_accepted = settings.accepted.holds(&answer, key)?;
    let is_missing = match &settings.missing {
        Some(missing) => missing.holds(&answer, key)?,
        None => !is_accepted && settings.accepted.pointer.find(&answer, key)? == Some(&Value::Bool(false)),
    };
    if is_accepted && is_missing {
        return Err(Silent("it says both that the agreement is accepted and that it is missing"));
    }
    if is_accepted {
        let date = match &settings.date {
            Some(pointer) => pointer.find(&answer, key)?,
            None => None,
        };
        let status = match date {
            None | Some(Value::Null) => Status::UNDATED,
            Some(Value::String(text)) => match accepted_at(text, now.wall) {
                Ok(AcceptedAt::Exactly(at)) => Status::accepted(at),
                Ok(AcceptedAt::NotBefore(at)) => {
                    let status = Status::accepted(at);
                    return Ok(Said::AtLeast { status, observed: now.moment(), failure: Failure::Source });
                }
                Err(NoAcceptance::Future) => return Err(Silent("the acceptance lies in the future")),
                Err(NoAcceptance::Unset) => return Err(Silent("the date was never set")),
                Err(NoAcceptance::Unreadable) => return Err(Silent("the date can not be read")),
            },
            Some(_) => return Err(Silent("the date is no text")),
        };
        return Ok(definite(status));
    }
    Ok(if is_missing { definite(Status::MISSING) } else { Said::Nothing })
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

    /// An endpoint that is not told the agreement speaks of the one its operator had in mind, not of a reseller's standing.
    fn may_say(&self, key: &Key) -> bool {
        self.tells_agreements || key.agreement != STANDING
    }

    fn look_up<'a>(&'a self, question: &'a Question) -> Saying<'a> {
        Box::pin(self.say(question))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::agreement::{Cloud, MCA, Party, Scope};
    use crate::policy::id::Guid;

    #[test]
    fn answers_say_what_the_pointers_find() {
        let now = Now::standing("2026-01-01T00:00:00Z".parse().unwrap());
        let settings = |missing: Option<&str>, not_found_is_missing| Settings {
            name: Name::new("shop").unwrap(),
            target: Template::parse("/").unwrap(),
            accepted: Test::parse(if missing.is_some() { "/state=signed" } else { "/mca/ok" }).unwrap(),
            missing: missing.map(|text| Test::parse(text).unwrap()),
            date: Some(Pointer::parse_whole("/at").unwrap()),
            not_found_is_missing,
        };
        let key = Key {
            cloud: Cloud::Commercial,
            agreement: MCA,
            party: Party::Customer(Guid::from_bits(1)),
            scope: Scope::None,
        };
        let definite = |status| Ok(Said::Definite { status, observed: now.moment() });
        let at = Status::accepted("2025-01-01T00:00:00Z".parse().unwrap());
        let at_least = Ok(Said::AtLeast {
            status: Status::accepted(now.wall),
            observed: now.moment(),
            failure: Failure::Source,
        });
        let (plain, stated) = (settings(None, false), settings(Some("/state=open"), true));
        let both = Settings { missing: Test::parse("/open").ok(), ..plain.clone() };
        let negated = Settings { accepted: Test::parse("/open=false").unwrap(), ..plain.clone() };
        for (settings, status, body, expected) in [
            (&plain, 200, r#"{"mca":{"ok":true}}"#, definite(Status::UNDATED)),
            (&plain, 200, r#"{"mca":{"ok":true},"at":null}"#, definite(Status::UNDATED)),
            (&plain, 200, r#"{"mca":{"ok":true},"at":"2025-01-01"}"#, definite(at)),
            (&plain, 200, r#"{"mca":{"ok":true},"at":"soon"}"#, Err(())),
            (&plain, 200, r#"{"mca":{"ok":true},"at":1735689600}"#, Err(())),
            (&plain, 200, r#"{"mca":{"ok":true},"at":"2027-01-01"}"#, Err(())),
            (&plain, 200, r#"{"mca":{"ok":true},"at":"0001-01-01T00:00:00"}"#, Err(())),
            (&plain, 200, r#"{"mca":{"ok":true},"at":"1970-01-01T00:00:00Z"}"#, Err(())),
            (&plain, 200, r#"{"mca":{"ok":true},"at":"2026-01-01T14:00:00"}"#, at_least),
            (&plain, 200, r#"{"mca":{"ok":true},"at":"2026-01-01T14:00:00Z"}"#, Err(())),
            (&plain, 200, r#"{"mca":{"ok":true},"at":"2026-01-01T14:00:01"}"#, Err(())),
            (&plain, 200, r#"{"mca":{"ok":false}}"#, definite(Status::MISSING)),
            (&plain, 200, r#"{"mca":{"ok":"true"}}"#, Ok(Said::Nothing)),
            (&plain, 200, r#"{"mca":{}}"#, Ok(Said::Nothing)),
            (&plain, 200, r#"{"mca":{"ok":tr"#, Err(())),
            (&plain, 200, "<html>", Err(())),
            (&plain, 200, r#"{"mca":{"ok":false,"ok":true}}"#, Err(())),
            (&plain, 200, r#"{"mca":{"ok":true},"mca":{"ok":true}}"#, Err(())),
            (&plain, 200, r#"{"mca":{"ok":true},"notes":[{"by":1,"by":2}]}"#, Err(())),
            (&plain, 200, r#"{"mca":{"ok":false,"OK":true}}"#, definite(Status::MISSING)),
            (&plain, 404, "", Ok(Said::Nothing)),
            (&plain, 403, "{}", Err(())),
            (&plain, 204, "", Err(())),
            (&stated, 200, r#"{"state":"Signed"}"#, definite(Status::UNDATED)),
            (&stated, 200, r#"{"state":"open"}"#, definite(Status::MISSING)),
            (&stated, 200, r#"{"state":"unheard of"}"#, Ok(Said::Nothing)),
            (&stated, 404, "", definite(Status::MISSING)),
            (&both, 200, r#"{"mca":{"ok":true},"open":false}"#, definite(Status::UNDATED)),
            (&both, 200, r#"{"mca":{"ok":false},"open":true}"#, definite(Status::MISSING)),
            (&both, 200, r#"{"mca":{"ok":true},"open":true}"#, Err(())),
            (&both, 200, r#"{"mca":{"ok":false},"open":false}"#, Ok(Said::Nothing)),
            (&negated, 200, r#"{"open":false}"#, definite(Status::UNDATED)),
            (&negated, 200, r#"{"open":true}"#, Ok(Said::Nothing)),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let read = read(settings, &key, status, body.as_bytes(), now).map_err(|_| ());
            assert_eq!(read, expected, "{status} {body}");
        }
    }
}
