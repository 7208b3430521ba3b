//! Rings: the keys of an issuer that publishes them, with the last good ones and what is being fetched.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use http::StatusCode;
use jsonwebtoken::Algorithm;
use rustls::ClientConfig;
use serde_json::Value;
use tokio::sync::{Notify, watch};

use crate::fetch::{Endpoint, FetchFailure, Fetcher};
use crate::identity::issuer::IssuerName;
use crate::identity::keys::{self, LoadedKeys};

/// Where an issuer publishes its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A JWK set (RFC 7517 section 5).
    KeySet(Endpoint),
    /// A document that says where the set is (OpenID Connect Discovery 1.0 section 4).
    Discovery(Endpoint),
}

/// Whose keys they are, and who may say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The issuer.
    pub issuer: IssuerName,
    /// Where its keys are.
    pub location: Location,
    /// The text of the file of authorities that are trusted to name the server; `None` trusts the platform's.
    pub authorities: Option<String>,
    /// Whether a key set that a discovery document names may be fetched in the clear.
    pub insecure_plaintext: bool,
}

/// How a ring is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where it comes from.
    pub origin: Origin,
    /// The algorithms that its issuer may use: a set with no key for any of them is as good as none.
    pub algorithms: Vec<Algorithm>,
    /// How often the set is fetched.
    pub refresh: Duration,
    /// How long the last good set serves while none can be fetched.
    pub keep: Duration,
    /// The least time between fetches for key ids that the set does not name, and after a failed one.
    pub refetch_after: Duration,
    /// The longest that a fetch takes, and that a request waits for one.
    pub timeout: Duration,
}

/// The keys of an issuer that publishes them. It outlives the configurations that name it.
#[derive(Debug)]
pub struct Ring {
    /// How it is kept.
    pub settings: Settings,
    fetcher: Fetcher,
    held: ArcSwap<Held>,
    flight: Mutex<Flight>,
    wanted: Notify,
    landed: watch::Sender<Landed>,
}

/// What a ring knows.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// The last good set; `None` before there is one, and when it was kept too long.
    pub set: Option<Arc<LoadedKeys>>,
    /// When it was fetched.
    pub fetched: Option<Instant>,
}

/// Whether somebody fetches, and when somebody may again.
#[derive(Debug, Default)]
struct Flight {
    under_way: bool,
    /// Whether a request wanted it, rather than the time.
    asked: bool,
    withheld_until: Option<Instant>,
}

/// The last fetch that ended.
#[derive(Clone, Copy, Debug, Default)]
struct Landed {
    count: u64,
    ok: bool,
}

/// What asking for a fresh set brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A set was fetched since.
    Fetched,
    /// None could be, or not in time, or the last fetch is too recent.
    Unavailable,
}

impl Ring {
    /// An empty ring. Nothing is fetched until it is tended.
    pub fn new(settings: Settings, tls: &Arc<ClientConfig>) -> Ring {
        Ring {
            settings,
            fetcher: Fetcher::new(tls),
            held: ArcSwap::default(),
            flight: Mutex::default(),
            wanted: Notify::new(),
            landed: watch::Sender::default(),
        }
    }

    /// What it knows now. No lock, no waiting.
    pub fn held(&self) -> Guard<Arc<Held>> {
        self.held.load()
    }

    /// Takes over what another ring of the same origin knows.
    pub fn inherit(&self, other: &Ring) {
        self.held.store(other.held.load_full());
    }

    /// Whether the last fetch went well; `None` before any has ended.
    pub fn tried(&self) -> Option<bool> {
        let landed = self.landed.borrow();
        (landed.count > 0).then_some(landed.ok)
    }

    /// Whether it holds a key that its issuer may use, and may hold it still.
    pub fn is_usable(&self) -> bool {
        let held = self.held();
        let lasts = self.expires().is_some_and(|moment| Instant::now() < moment);
        lasts && held.set.as_ref().is_some_and(|set| self.fits(set))
    }

    fn fits(&self, set: &LoadedKeys) -> bool {
        let fits = |algorithm: &Algorithm| self.settings.algorithms.contains(algorithm);
        set.keys.iter().any(|key| key.algorithms.iter().any(fits))
    }

    /// Asks for a set that is fresher than the one a key id was not found in, and waits for it: one fetch for all who
    /// ask, and no more of them than the settings allow. A caller that goes away cancels nothing for the others.
    ///
    /// The fetch begins now, not when the answer is first waited for.
    pub fn ask(&self) -> impl Future<Output = Asked> + use<'_> {
        let deadline = tokio::time::Instant::now() + self.settings.timeout;
        // Before the look at the flight: whatever lands from here on is seen.
        let mut landed = self.landed.subscribe();
        let is_under_way = self.want();
        async move {
            match is_under_way {
                true => match tokio::time::timeout_at(deadline, landed.changed()).await {
                    Ok(Ok(())) if landed.borrow().ok => Asked::Fetched,
                    _ => Asked::Unavailable,
                },
                false => Asked::Unavailable,
            }
        }
    }

    /// Has a fetch begun unless it is withheld; whether one is under way.
    fn want(&self) -> bool {
        let mut flight = self.flight();
        if !flight.under_way {
            if flight.withheld_until.is_some_and(|until| Instant::now() < until) {
                return false;
            }
            flight.under_way = true;
            flight.asked = true;
            self.wanted.notify_one();
        }
        true
    }

    /// Waits until a request wants a fetch, which is then under way.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Begins a fetch because it is time; not where a request wants one already.
    pub fn begin(&self) -> bool {
        !std::mem::replace(&mut self.flight().under_way, true)
    }

    /// Ends the fetch that is under way, with the set that it brought. `generation` moves on when other keys hold now
    /// than before.
    pub fn land(&self, fetched: Option<LoadedKeys>, generation: &AtomicU64) {
        let now = Instant::now();
        let ok = fetched.is_some();
        if let Some(set) = fetched {
            let before = self.held.load_full();
            let is_same = before.set.as_ref().is_some_and(|known| known.same_keys(&set));
            self.held.store(Arc::new(Held { set: Some(Arc::new(set)), fetched: Some(now) }));
            if !is_same {
                generation.fetch_add(1, Ordering::AcqRel);
            }
        }
        {
            let mut flight = self.flight();
            flight.under_way = false;
            // A fetch that was due and went well says nothing against another one for a key that came after it.
            if std::mem::take(&mut flight.asked) || !ok {
                flight.withheld_until = Some(now + self.settings.refetch_after);
            }
        }
        self.landed.send_modify(|landed| *landed = Landed { count: landed.count + 1, ok });
    }

    /// When the last good set was kept too long.
    pub fn expires(&self) -> Option<Instant> {
        let held = self.held.load();
        held.set.as_ref().and(held.fetched).map(|fetched| fetched + self.settings.keep)
    }

    /// Gives up a set that was kept too long.
    pub fn expire(&self, generation: &AtomicU64) {
        self.held.store(Arc::new(Held { set: None, fetched: self.held.load().fetched }));
        generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Fetches the set. The error says what is wrong, and where.
    pub async fn fetch(&self) -> Result<LoadedKeys, String> {
        let deadline = Instant::now() + self.settings.timeout;
        let set = match &self.settings.origin.location {
            Location::KeySet(endpoint) => endpoint.clone(),
            Location::Discovery(endpoint) => {
                let document = self.read(endpoint, deadline).await?;
                self.key_set_of(&document).map_err(|why| format!("{endpoint} {why}"))?
            }
        };
        let text = self.read(&set, deadline).await?;
        let loaded = keys::from_jwks(&text).map_err(|why| format!("{set} {why}"))?;
        if !self.fits(&loaded) {
            let why = loaded.ignored.first().map_or_else(String::new, |why| format!(": {why}"));
            return Err(format!("{set} holds no key that fits{why}"));
        }
        Ok(loaded)
    }

    async fn read(&self, endpoint: &Endpoint, deadline: Instant) -> Result<Bytes, String> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.fetcher.get(endpoint, left).await {
            Ok(answer) if answer.status == StatusCode::OK => Ok(answer.body),
            Ok(answer) => Err(format!("{endpoint} answered {}", answer.status.as_u16())),
            Err(FetchFailure::Timeout) => Err(format!("{endpoint} gave no answer in time")),
            Err(failure) => Err(format!("{endpoint}: {failure}")),
        }
    }

    /// Where a discovery document says that the set is. It has to be that of our issuer (OpenID Connect Discovery 1.0
    /// section 4.3): another one's keys would let that one sign for ours.
    fn key_set_of(&self, document: &[u8]) -> Result<Endpoint, String> {
        let document: Value =
            serde_json::from_slice(document).map_err(|error| format!("is no JSON: {error}"))?;
        let member = |name: &str| document.get(name).and_then(Value::as_str);
        let issuer = member("issuer").ok_or("names no issuer")?;
        let ours = &self.settings.origin.issuer;
        if IssuerName::parse_published(issuer).as_ref() != Some(ours) {
            return Err(format!("is of the issuer `{issuer}`, not of `{ours}`"));
        }
        let set = member("jwks_uri").ok_or("names no key set")?;
        Endpoint::parse(set, self.settings.origin.insecure_plaintext)
            .map_err(|why| format!("names a key set that is not fetched: {why}"))
    }

    fn flight(&self) -> MutexGuard<'_, Flight> {
        self.flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
