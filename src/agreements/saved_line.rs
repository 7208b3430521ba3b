//! Saved lines: one answer of a source, or one word that was learnt, as a line of JSON.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::agreements::cache::LEARNED;
use crate::agreements::learnt::{Learnt, Teacher};
use crate::clock::Now;
use crate::policy::agreement::{
    Absence, Cloud, Fact, Key, PartnerIds, Party, PartyKind, Region, Scope, Status,
};
use crate::policy::id::{Guid, MpnId, Name};

/// An answer or a word as it was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// An answer of a source, and the epoch of that source.
    Answer(Key, Fact, u64),
    /// A word that was learnt.
    Learnt(Key, Learnt),
}

/// One answer of a source, or one word that was learnt.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    cloud: String,
    agreement: String,
    party: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mpn_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    billing: Option<String>,
    status: SavedStatus,
    observed_at: String,
    asked_at: String,
    source: String,
    epoch: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    terms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmed_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<SavedStatus>,
}

/// A status as it is saved.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum SavedStatus {
    Missing(String),
    Accepted {
        #[serde(skip_serializing_if = "Option::is_none")]
        at: Option<String>,
        undated: bool,
    },
}

impl Line {
    /// The line of an answer or a word; `None` for a status that is not saved.
    pub fn of(saved: &Saved) -> Option<Line> {
        let (key, fact, epoch, learnt) = match saved {
            Saved::Answer(key, fact, epoch) => (key, *fact, *epoch, None),
            Saved::Learnt(key, word) => {
                let at = word.at.wall;
                let fact = Fact { status: word.status, observed_at: at, asked_at: at, source: LEARNED };
                (key, fact, word.teacher.0, Some(word))
            }
        };
        let ids = key.party.ids();
        Some(Line {
            cloud: key.cloud.to_string(),
            agreement: key.agreement.to_string(),
            party: key.party.kind().to_string(),
            tenant: ids.tenant.map(|tenant| tenant.to_string()),
            mpn_id: ids.mpn.map(|mpn| mpn.to_string()),
            region: key.scope.region().map(|region| region.to_string()),
            billing: key.scope.billing().map(|partner| partner.to_string()),
            status: SavedStatus::of(fact.status)?,
            observed_at: fact.observed_at.to_string(),
            asked_at: fact.asked_at.to_string(),
            source: fact.source.to_string(),
            epoch,
            terms: learnt.map(|word| word.terms),
            confirmed_at: learnt.map(|word| word.confirmed.wall.to_string()),
            ends_at: learnt.and_then(|word| word.ends).map(|at| at.wall.to_string()),
            refused: learnt.and_then(|word| word.refused).and_then(SavedStatus::of),
        })
    }
}

impl SavedStatus {
    /// The saved form of a status. "Not applicable" is said by configuration and not saved.
    fn of(status: Status) -> Option<SavedStatus> {
        match status {
            Status::Missing(absence) => Some(SavedStatus::Missing(absence.to_string())),
            Status::Accepted { at, undated } => {
                Some(SavedStatus::Accepted { at: at.map(|at| at.to_string()), undated })
            }
            Status::NotApplicable => None,
        }
    }

    fn read(&self) -> Option<Status> {
        match self {
            SavedStatus::Missing(absence) => Absence::parse(absence).map(Status::Missing),
            SavedStatus::Accepted { at, undated } => {
                let at = read(at, |text| text.parse::<Timestamp>().ok())?;
                (at.is_some() || *undated).then_some(Status::Accepted { at, undated: *undated })
            }
        }
    }
}

/// A member that may be left out, but has to be readable where it is there.
fn read<T>(text: &Option<String>, parse: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    text.as_deref().map_or(Some(None), |text| parse(text).map(Some))
}

impl Line {
    /// The answer or the word of a line; `None` where it is none.
    pub fn read(&self, now: Now) -> Option<Saved> {
        let line = self;
        let tenant = read(&line.tenant, Guid::parse)?;
        let mpn = read(&line.mpn_id, MpnId::parse)?;
        let ids = PartnerIds { tenant, mpn };
        let is_named = tenant.is_some() || mpn.is_some();
        let party = match PartyKind::parse(&line.party)? {
            PartyKind::Customer => Party::Customer(tenant?),
            PartyKind::Partner if is_named => Party::Partner(ids),
            PartyKind::Reseller if is_named => Party::Reseller(ids),
            _ => return None,
        };
        let scope = match (read(&line.region, Region::parse)?, read(&line.billing, Guid::parse)?) {
            (None, None) => Scope::None,
            (Some(region), None) => Scope::Region(region),
            (None, Some(partner)) => Scope::Billing(partner),
            _ => return None,
        };
        let key =
            Key { cloud: Cloud::parse(&line.cloud)?, agreement: Name::new(&line.agreement)?, party, scope };
        let status = line.status.read()?;
        let asked_at: Timestamp = line.asked_at.parse().ok()?;
        let source = Name::new(&line.source)?;
        let moment = |text: &Option<String>| {
            let at = read(text, |text| text.parse::<Timestamp>().ok())?;
            Some(at.map(|at| now.at_wall(at)))
        };
        let confirmed = moment(&line.confirmed_at)?;
        let ends = moment(&line.ends_at)?;
        let refused = match &line.refused {
            Some(refused) => Some(refused.read()?),
            None => None,
        };
        let is_answer = refused.is_none() && ends.is_none();
        match (source == LEARNED, confirmed, line.terms) {
            (true, Some(confirmed), Some(terms)) => {
                let (at, teacher) = (now.at_wall(asked_at), Teacher(line.epoch));
                let word = Learnt { status, at, confirmed, teacher, terms, ends, refused };
                Some(Saved::Learnt(key, word))
            }
            (false, None, None) if is_answer => {
                let observed_at = line.observed_at.parse().ok()?;
                Some(Saved::Answer(key, Fact { status, observed_at, asked_at, source }, line.epoch))
            }
            _ => None,
        }
    }
}
