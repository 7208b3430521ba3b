//! Partner Center as a source: what Microsoft's own API says of resellers and customers of one billing partner.

pub mod answers;
pub mod ask;
mod settings;
mod standing;
pub mod warm;

pub use settings::Settings;

use std::sync::Arc;

use jiff::Timestamp;
use tokio::task::JoinHandle;

use crate::agreements::partner_center::answers::{NextPage, Terms};
use crate::agreements::partner_center::standing::Standings;
use crate::agreements::source::{Question, Said, Saying, Source};
use crate::clock::Now;
use crate::fetch::Answer;
use crate::policy::agreement::{Failure, Key, MCA, MPA, PartnerIds, Party, Region, STANDING, Scope, Status};
use crate::policy::id::{Guid, MpnId, Name};
use crate::remote::client::Remote;
use crate::remote::guard::Leave;
use crate::remote::reading::{Read, Unanswered};

/// The most pages of one list that are read.
const PAGES_MAX: usize = 20;

/// Partner Center as a source.
#[derive(Debug)]
pub struct PartnerCenter {
    settings: Settings,
    remote: Arc<Remote>,
    standings: Arc<Standings>,
    epoch: u64,
}

/// Questions that Partner Center can answer.
#[derive(Clone, Copy, Debug)]
enum Subject {
    /// A customer's agreement, in a cloud where there is none.
    NotApplicable,
    /// A customer's agreement.
    Customer(Guid),
    /// A reseller's agreement.
    Reseller(PartnerIds),
    /// A reseller's standing.
    Standing(MpnId),
}

/// What one of the two questions about a customer brought.
#[derive(Clone, Copy, Debug, Default)]
struct Half {
    /// An acceptance, if it told of one.
    status: Option<Status>,
    /// Why there may be more.
    failure: Option<Failure>,
}

impl Half {
    fn failed(failure: Failure) -> Half {
        Half { status: None, failure: Some(failure) }
    }

    fn and(self, other: Half) -> Half {
        let status = match (self.status, other.status) {
            (Some(left), Some(right)) => Some(left.merged(right)),
            (left, right) => left.or(right),
        };
        // A half that the gateway withheld itself counts: else `on_unknown: allow` would pass for the failure of the other half.
        let own = [self.failure, other.failure].into_iter().flatten().find(|failure| failure.is_own());
        Half { status, failure: own.or(self.failure).or(other.failure) }
    }
}

impl PartnerCenter {
    /// A source that asks this server. `epoch` is a number of everything that its answers depend on.
    pub fn new(settings: Settings, remote: Arc<Remote>, epoch: u64) -> PartnerCenter {
        let standings = Arc::new(Standings::new(Arc::clone(&remote)));
        PartnerCenter { settings, remote, standings, epoch }
    }

    /// The question that a key comes to; `None` where Partner Center cannot answer it.
    fn subject(&self, key: &Key) -> Option<Subject> {
        let settings = &self.settings;
        match (key.agreement, key.party) {
            // By configuration, not because it can not be found there.
            (MCA, Party::Customer(_)) if settings.not_applicable.contains(&key.cloud) => {
                Some(Subject::NotApplicable)
            }
            _ if key.cloud != settings.cloud => None,
            (MCA, Party::Customer(customer)) if key.scope == Scope::Billing(settings.partner) => {
                Some(Subject::Customer(customer))
            }
            (MPA, Party::Reseller(ids)) if is_of(key, settings.region) => Some(Subject::Reseller(ids)),
            // There it is asked by MPN id alone.
            (STANDING, Party::Reseller(ids)) if is_of(key, settings.region) => ids.mpn.map(Subject::Standing),
            // No request tells of a partner's own agreement.
            _ => None,
        }
    }

    async fn say(&self, question: &Question) -> Said {
        match self.subject(&question.key) {
            None => Said::Nothing,
            Some(Subject::NotApplicable) => {
                Said::Definite { status: Status::NotApplicable, observed: Now::read().moment() }
            }
            Some(Subject::Customer(customer)) => self.of_customer(question, customer).await,
            Some(Subject::Reseller(ids)) => self.of_reseller(question, ids).await,
            Some(Subject::Standing(mpn)) => {
                match self.standings.ask(mpn, question.asker, question.patience).await {
                    Ok(status) => Said::Definite { status, observed: Now::read().moment() },
                    Err(failure) => Said::Failed(failure),
                }
            }
        }
    }

    async fn of_reseller(&self, question: &Question, ids: PartnerIds) -> Said {
        // Exactly one of the two may be given.
        let target = match ids {
            PartnerIds { mpn: Some(mpn), .. } => format!("/v1/compliance/csp/agreementstatus?mpnId={mpn}"),
            PartnerIds { tenant: Some(tenant), .. } => {
                format!("/v1/compliance/csp/agreementstatus?tenantId={tenant}")
            }
            PartnerIds { .. } => return Said::Nothing,
        };
        let read = |answer: &Answer| answers::partner_status(answer.status.as_u16(), &answer.body);
        match ask(&self.remote, question, target, None, None, read).await {
            Ok(status) => Said::Definite { status, observed: Now::read().moment() },
            Err(failure) => Said::Failed(failure),
        }
    }

    /// Both questions at the same time: the first acceptance answers, unless rules ask for a date that it lacks. Missing
    /// needs both to be definite.
    async fn of_customer(&self, question: &Question, customer: Guid) -> Said {
        // Leave for both at once: with one of two answers the other's place would be spent for nothing.
        let leave = match self.remote.enter(question.asker, 2, question.patience).await {
            Ok(leave) => leave,
            Err(failure) => return Said::Failed(failure),
        };
        let mut direct = self.spawn(question, move |this, question| async move {
            this.direct(&question, customer, leave).await
        });
        let mut attested = self.spawn(question, move |this, question| async move {
            this.attested(&question, customer, leave).await
        });
        let lost = |half: Result<Half, _>| half.unwrap_or(Half::failed(Failure::Source));
        // Who is not waited for any more comes to its end all the same, so that its connection can be used again.
        let (first, other) = tokio::select! {
            half = &mut direct => (lost(half), attested),
            half = &mut attested => (lost(half), direct),
        };
        let enough = |half: &Half| half.status.is_some_and(|status| question.demand.is_met_by(status));
        let whole = if enough(&first) { first } else { first.and(lost(other.await)) };
        let observed = Now::read().moment();
        match (whole.status, whole.failure) {
            (Some(status), Some(failure)) if !enough(&whole) => Said::AtLeast { status, observed, failure },
            (Some(status), _) => Said::Definite { status, observed },
            (None, Some(failure)) => Said::Failed(failure),
            (None, None) => Said::Definite { status: Status::MISSING, observed },
        }
    }

    fn spawn<F>(&self, question: &Question, ask: impl FnOnce(Asking, Question) -> F) -> JoinHandle<Half>
    where
        F: Future<Output = Half> + Send + 'static,
    {
        let asking = Asking { remote: Arc::clone(&self.remote), terms: self.settings.terms.clone() };
        tokio::spawn(ask(asking, *question))
    }
}

/// Whether a reseller's agreement is asked for the region that a source speaks for.
fn is_of(key: &Key, region: Option<Region>) -> bool {
    match key.scope {
        Scope::Region(wanted) => region == Some(wanted),
        Scope::None => region.is_none(),
        Scope::Billing(_) => false,
    }
}

impl Source for PartnerCenter {
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

    fn may_say(&self, key: &Key) -> bool {
        self.subject(key).is_some()
    }

    fn look_up<'a>(&'a self, question: &'a Question) -> Saying<'a> {
        Box::pin(self.say(question))
    }
}

/// What a question in a task of its own needs.
struct Asking {
    remote: Arc<Remote>,
    terms: Terms,
}

impl Asking {
    async fn direct(&self, question: &Question, customer: Guid, leave: Leave) -> Half {
        let target = format!("/v1/customers/{customer}/directSignedMicrosoftCustomerAgreementStatus");
        let read = |answer: &Answer| answers::direct_status(answer.status.as_u16(), &answer.body);
        match ask(&self.remote, question, target, None, Some(leave), read).await {
            Ok(signed) => Half { status: signed.then_some(Status::UNDATED), failure: None },
            Err(failure) => Half::failed(failure),
        }
    }

    async fn attested(&self, question: &Question, customer: Guid, leave: Leave) -> Half {
        // Without a type the API means the agreement before this one.
        let kind = &self.terms.agreement_type;
        let target = format!("/v1/customers/{customer}/agreements?agreementType={kind}");
        let mut page = Some(NextPage { target, token: None });
        let mut half = Half::default();
        let mut leave = Some(leave);
        let mut pages: Vec<NextPage> = page.iter().cloned().collect();
        let page_of = |answer: &Answer| {
            answers::attestations(answer.status.as_u16(), &answer.body, &self.terms, Timestamp::now())
        };
        for _ in 0..PAGES_MAX {
            let Some(NextPage { target, token }) = page else { return half };
            let (token, leave) = (token.as_deref(), leave.take());
            let read = match ask(&self.remote, question, target, token, leave, page_of).await {
                Ok(read) => read,
                Err(failure) => return half.and(Half::failed(failure)),
            };
            half = half.and(Half {
                status: read.newest.map(Status::accepted),
                failure: read.is_unclear.then_some(Failure::Source),
            });
            if half.status.is_some_and(|status| question.demand.is_met_by(status)) {
                return half;
            }
            if read.next.as_ref().is_some_and(|next| pages.contains(next)) {
                return half.and(Half::failed(Failure::Source));
            }
            pages.extend(read.next.clone());
            page = read.next;
        }
        match page {
            None => half,
            Some(_) => half.and(Half::failed(Failure::Source)),
        }
    }
}

async fn ask<T>(
    remote: &Remote,
    question: &Question,
    target: String,
    token: Option<&str>,
    leave: Option<Leave>,
    read: impl Read<T>,
) -> Result<T, Failure> {
    let headers = ask::id_headers(token)?;
    let answered = ask::ask(remote, target, headers, question.asker, question.patience, leave, read).await;
    answered.map_err(Unanswered::failure)
}
