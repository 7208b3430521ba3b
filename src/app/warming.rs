//! Warming: what is learnt of many parties beside the requests, in tasks that go on as long as their source does.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::task::AbortHandle;

use crate::agreements::Asking;
use crate::agreements::partner_center::Settings as Center;
use crate::agreements::partner_center::warm::{self, List};
use crate::app::sources::Asked;
use crate::clock::Now;
use crate::config::sources::Kind;
use crate::policy::agreement::{Fact, Failure, Key, MCA, MPA, Party, Scope};
use crate::policy::id::PartnerRef;
use crate::proxy::snapshot::Shared;
use crate::remote::client::Remote;

/// How long after a look-up that the budget did not leave over the next one is tried.
const RETRY: Duration = Duration::from_secs(1);
/// How often it is.
const TRIES_MAX: usize = 30;

/// The tasks of the sources in force.
pub struct Warming {
    shared: Arc<Shared>,
    tasks: Vec<(Arc<Remote>, AbortHandle)>,
}

impl Warming {
    /// None yet.
    pub fn new(shared: Arc<Shared>) -> Warming {
        Warming { shared, tasks: Vec::new() }
    }

    /// Begins what the sources in force want that is not under way, and ends what they do not.
    pub fn follow(&mut self, remotes: &[Asked]) {
        self.tasks.retain(|(remote, task)| {
            let goes_on = remotes.iter().any(|asked| Arc::ptr_eq(&asked.remote, remote));
            if !goes_on {
                task.abort();
            }
            goes_on
        });
        for asked in remotes {
            let Kind::PartnerCenter(center, settings) = &asked.settings.kind else { continue };
            if *settings == warm::Settings::default()
                || self.tasks.iter().any(|(remote, _)| Arc::ptr_eq(remote, &asked.remote))
            {
                continue;
            }
            let warmer = Warmer {
                shared: Arc::clone(&self.shared),
                remote: Arc::clone(&asked.remote),
                center: center.clone(),
                epoch: asked.source.epoch(),
            };
            let task = tokio::spawn(warmer.run(*settings)).abort_handle();
            self.tasks.push((Arc::clone(&asked.remote), task));
        }
    }
}

/// What one source is warmed with.
struct Warmer {
    shared: Arc<Shared>,
    remote: Arc<Remote>,
    center: Center,
    epoch: u64,
}

impl Warmer {
    async fn run(self, settings: warm::Settings) {
        let load = async {
            if settings.bulk_load {
                self.load_records().await;
                self.load_resellers().await;
            }
        };
        let poll = async {
            let mut since = Timestamp::now();
            while let Some(every) = settings.audit_poll {
                tokio::time::sleep(every).await;
                since = self.poll(since).await;
            }
        };
        tokio::join!(load, poll);
    }

    async fn load_records(&self) {
        let mut count = 0;
        let read = List::AgreementRecords.read(&self.remote, |records| {
            let (snapshot, now) = (self.shared.snapshot(), Now::read());
            let asking = Asking::new(&snapshot.sources, &snapshot.freshness, None, now);
            for (key, status) in
                records.iter().filter_map(|record| warm::of_record(&self.center, record, now.wall))
            {
                let fact =
                    Fact { status, observed_at: now.wall, asked_at: now.wall, source: self.center.name };
                count += usize::from(self.shared.agreements.take(&asking, key, fact, self.epoch));
            }
        });
        self.tell("customers", read.await, count);
    }

    /// The list says who the resellers are, not whether they have signed: each is looked up.
    async fn load_resellers(&self) {
        let mut resellers = Vec::new();
        let read = List::Resellers.read(&self.remote, |items| {
            resellers.extend(items.iter().filter_map(warm::of_relationship));
        });
        let read = read.await;
        let mut count = 0;
        for mpn in resellers {
            let snapshot = self.shared.snapshot();
            let party = Party::Reseller(snapshot.policy.partner_ids(PartnerRef::Mpn(mpn)));
            let scope = self.center.region.map_or(Scope::None, Scope::Region);
            let key = Key { cloud: self.center.cloud, agreement: MPA, party, scope };
            // What the budget does not leave over is tried again: requests come first.
            for _ in 0..TRIES_MAX {
                let asking = Asking::new(&snapshot.sources, &snapshot.freshness, None, Now::read());
                let kept = self.shared.agreements.warm(&asking, key).await;
                match kept.map(|kept| kept.answer.failure) {
                    Some(None) => {
                        count += 1;
                        break;
                    }
                    None | Some(Some(Failure::Throttled | Failure::Unavailable)) => {}
                    Some(Some(_)) => break,
                }
                tokio::time::sleep(RETRY).await;
            }
        }
        self.tell("resellers", read, count);
    }

    /// Looks for acceptances since a moment; what is known of their customers is asked for again before its next use.
    /// The answer is since when to look the next time.
    async fn poll(&self, since: Timestamp) -> Timestamp {
        // Records come late, and the list begins with a day.
        let overlap = SignedDuration::from_mins(15);
        let begun = Timestamp::now();
        let mut count = 0;
        let read = List::Audit(since - overlap).read(&self.remote, |records| {
            for (customer, at) in records.iter().filter_map(warm::of_audit) {
                if at < since - overlap {
                    continue;
                }
                let own = Key {
                    cloud: self.center.cloud,
                    agreement: MCA,
                    party: Party::Customer(customer),
                    scope: Scope::Billing(self.center.partner),
                };
                count += usize::from(self.shared.agreements.hint(own, at, Now::read()));
            }
        });
        let read = read.await;
        let ok = read.is_ok();
        self.tell("acceptances", read, count);
        if ok { begun } else { since }
    }

    fn tell(&self, what: &'static str, read: Result<usize, String>, count: usize) {
        let source = self.center.name.to_string();
        self.shared.metrics.remote.warmed(&source, what, read.is_ok(), count);
        match read {
            Ok(items) => tracing::info!(source, what, items, count, "learnt beside the requests"),
            Err(why) => tracing::warn!(source, what, count, why, "learnt in part beside the requests"),
        }
    }
}
