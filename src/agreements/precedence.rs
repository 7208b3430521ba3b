//! Precedence: which of the words about one key counts. Everything that is asked, reused, learnt or kept goes through here.
//!
//! - Sources are asked in the order of the configuration. The first definite word settles the question: "missing", "not
//!   applicable", or an acceptance that meets every date that rules ask for. An acceptance that does not meet them settles
//!   nothing while another source follows; of several acceptances the newest counts.
//! - A source that fails leaves the question open. An acceptance that is enough closes it; a "missing" stands beside the
//!   failure, so that nothing passes for want of an answer that is known to be no.
//! - An acceptance learnt from a passing answer stands for the first remote source as long as that would not be asked again.
//!   Then it is asked, and its definite word ends what was learnt. Where no source says anything of the party, what was
//!   learnt holds for `agreements.cache.learnt`.
//! - Of a ledger's "missing" and an acceptance that was learnt the later one ends the other. A ledger is as old as its file.
//!   What was ended stays so: a source that confirms what was learnt keeps the ledger's older word ended.
//! - While a source fails, its last acceptance serves within `stale`, unless a later word of another source says "missing".
//!   Doubts drop acceptances, and no absence: what is known to be missing stays known until a source says otherwise.
//! - What was saved is as old as it was, and counts as what it was.

use crate::agreements::cache::{Freshness, Kept, LEARNED, Settings};
use crate::agreements::learnt::Learnt;
use crate::agreements::source::Said;
use crate::clock::{Moment, Now};
use crate::policy::agreement::{Answer, Demand, Fact, Failure, Key, Status};
use crate::policy::id::Name;

/// The answers that would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// One that is fresh: a source that costs something to ask need not repeat what it has said.
    Fresh,
    /// One that is given now.
    Anew,
}

/// The one who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speaker {
    /// The source, or [`LEARNED`].
    pub name: Name,
    /// The epoch of the source, or the teacher.
    pub epoch: u64,
    /// True where asking costs nothing.
    pub is_local: bool,
}

/// A definite word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// The status.
    pub status: Status,
    /// The moment at which its speaker learnt it: for a ledger, when it was written.
    pub observed: Moment,
    /// When it was asked for, or learnt.
    pub asked: Moment,
    /// The one who says so.
    pub by: Speaker,
}

impl Word {
    fn of_learnt(learnt: &Learnt) -> Word {
        let epoch = learnt.teacher.under(learnt.terms);
        let by = Speaker { name: LEARNED, epoch, is_local: false };
        Word { status: learnt.status, observed: learnt.at, asked: learnt.at, by }
    }
}

/// One or several words about one party, of which nothing is lost.
#[derive(Clone, Copy, Debug)]
struct Told {
    /// The word of the one who makes the difference, with the status that all words amount to.
    word: Word,
    /// The status that this one told by itself.
    own: Status,
}

impl Told {
    fn of(word: Word) -> Told {
        Told { own: word.status, word }
    }

    /// The words of both. They are as old as the one that makes the difference; the older one where both do.
    fn and(self, word: Word) -> Told {
        let status = self.word.status.merged(word.status);
        if status == self.word.status {
            return self;
        }
        let asked = match status == word.status || word.asked.uptime < self.word.asked.uptime {
            true => word.asked,
            false => self.word.asked,
        };
        Told { own: word.status, word: Word { status, asked, ..word } }
    }
}

fn joined(told: Option<Told>, word: Word) -> Option<Told> {
    Some(told.map_or_else(|| Told::of(word), |told| told.and(word)))
}

/// Acceptances that were learnt and nothing has ended.
pub type InForce = [Option<Learnt>; 4];
/// The outlook of each of them.
pub type Outlooks = [Outlook; 4];

/// The outlook of a word that was learnt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outlook {
    /// It holds as before.
    #[default]
    Holds,
    /// A source that is asked in its place has told of an acceptance too. It is what that source says of it, where it has said
    /// everything.
    Confirmed(Option<Status>),
    /// A later word has ended it.
    Ended,
}

/// The words about one key so far, while sources are asked in turn.
#[derive(Debug)]
pub struct Weighing {
    settings: Settings,
    demand: Demand,
    wanted: Wanted,
    now: Now,
    /// The answer that was kept when the question began.
    before: Option<Kept>,
    /// The same, where it may stand in for a source that fails.
    standing: Option<Kept>,
    /// The words that passing answers taught and nothing has ended.
    learnt: InForce,
    /// The terms of the remote sources that they stand for, as of now.
    terms: u64,
    outlooks: Outlooks,
    told: Option<Told>,
    failure: Option<Failure>,
    /// The count of remote sources that have answered that they know nothing of the party, and how many were asked at all.
    silent: u32,
    asked: u32,
}

impl Weighing {
    /// Nothing was said yet; `demand` is what rules ask of the date.
    pub fn new(settings: Settings, demand: Demand, wanted: Wanted, now: Now) -> Weighing {
        Weighing {
            settings,
            demand,
            wanted,
            now,
            before: None,
            standing: None,
            learnt: InForce::default(),
            terms: 0,
            outlooks: Outlooks::default(),
            told: None,
            failure: None,
            silent: 0,
            asked: 0,
        }
    }

    /// The same, with what is kept of earlier questions, of which `stands` says that it may stand in for a source that fails,
    /// and with what was learnt, under the terms of the source that this stands for.
    #[must_use]
    pub fn knowing(self, before: Option<Kept>, stands: bool, learnt: InForce, terms: u64) -> Weighing {
        Weighing { before, standing: before.filter(|_| stands), learnt, terms, ..self }
    }

    /// The word that stands for a source, so that it need not be asked.
    pub fn instead_of(&self, source: Speaker) -> Option<Word> {
        let is_doubted = self.before.is_some_and(|before| before.doubted.is_some());
        if source.is_local || self.wanted == Wanted::Anew || is_doubted {
            return None;
        }
        let is_enough = |status: Status| !status.is_accepted() || self.demand.is_met_by(status);
        let said = self.before.and_then(|before| {
            let word = own_word(&before)?;
            let is_said = before.answer.failure.is_none()
                && before.by_age(&self.settings, self.now) != Freshness::Hard
                && (word.by.name, word.by.epoch) == (source.name, source.epoch);
            (is_said && is_enough(word.status) && !self.is_outlived(&word)).then_some(word)
        });
        let stands = |learnt: &Learnt| {
            learnt.terms == self.terms
                && self.silence().is_none()
                && self.now.age(learnt.at) < self.settings.accepted
        };
        let learnt = self.learnt.iter().flatten().filter(|learnt| stands(learnt)).map(Word::of_learnt);
        let learnt = learnt.fold(None, joined).map(|told| told.word);
        let learnt = learnt.filter(|word| self.demand.is_met_by(word.status));
        match (said, learnt) {
            (Some(said), Some(learnt)) if learnt.asked.uptime < said.asked.uptime => Some(said),
            (said, learnt) => learnt.or(said),
        }
    }

    /// True for a "missing" that is older than something that was learnt.
    fn is_outlived(&self, word: &Word) -> bool {
        let is_later = |learnt: &Learnt| learnt.at.uptime > word.asked.uptime;
        !word.status.is_accepted() && self.learnt.iter().flatten().any(is_later)
    }

    /// True where a remote source need not be asked: every one of them had nothing to say of the party a while ago.
    pub fn is_silent(&self, source: Speaker) -> bool {
        let is_doubted = self.before.is_some_and(|before| before.doubted.is_some());
        let may_reuse = !source.is_local && self.wanted == Wanted::Fresh && !is_doubted;
        // Without anything that was learnt the party would be unknown: then it is asked whether that is still so.
        may_reuse && self.silence().is_some() && self.learnt.iter().any(Option::is_some)
    }

    /// The moment, a while ago, at which every remote source had nothing to say of the party under the terms of now.
    fn silence(&self) -> Option<Moment> {
        let (at, terms) = self.before.and_then(|before| before.silent)?;
        (terms == self.terms && self.now.age(at) < self.settings.accepted).then_some(at)
    }

    /// Takes the answer of a source that was asked; true where that settles the question.
    pub fn take(&mut self, by: Speaker, said: Said) -> bool {
        if !by.is_local {
            self.asked += 1;
            self.silent += u32::from(said == Said::Nothing);
        }
        self.weigh(by, said)
    }

    fn weigh(&mut self, by: Speaker, said: Said) -> bool {
        let word = |status, observed| Word { status, observed, asked: self.now.moment(), by };
        match said {
            Said::Nothing => false,
            Said::Failed(why) => {
                self.fail(why);
                false
            }
            Said::AtLeast { status, observed, failure } => {
                self.told = joined(self.told, word(status, observed));
                self.fail(failure);
                false
            }
            Said::Definite { status, observed } => {
                let word = word(status, observed);
                let is_missing = matches!(status, Status::Missing(_));
                for at in 0..self.learnt.len() {
                    let Some(outlook) = self.learnt[at].and_then(|learnt| self.against(&learnt, &word))
                    else {
                        continue;
                    };
                    // Beside a failure the learnt word is set aside for this answer only: the source that failed may confirm it.
                    if self.failure.is_none() || !is_missing {
                        self.outlooks[at] = outlook;
                    }
                    self.learnt[at] = None;
                }
                // An acceptance was learnt after this ledger was written, or since this question began: its "missing" does not
                // count any more.
                if is_missing && self.learnt.iter().any(Option::is_some) {
                    return false;
                }
                self.settle(word)
            }
        }
    }

    /// Notes a failure. One that is the gateway's own doing counts before others: `on_unknown: allow` does not apply to it.
    fn fail(&mut self, failure: Failure) {
        let known = self.failure.filter(|known| known.is_own() || !failure.is_own());
        self.failure = known.or(Some(failure));
    }

    /// The outlook of a learnt word after a definite one of a source; `None` where it goes on as it is.
    fn against(&self, learnt: &Learnt, word: &Word) -> Option<Outlook> {
        match (word.by.is_local, word.status) {
            (true, Status::Missing(_)) => {
                (word.observed.uptime >= learnt.confirmed.uptime).then_some(Outlook::Ended)
            }
            (false, Status::Missing(_)) => (word.asked.uptime >= learnt.at.uptime).then_some(Outlook::Ended),
            // The source may have stopped asking at an acceptance that is enough: there can be others.
            (false, status @ Status::Accepted { .. }) => {
                Some(Outlook::Confirmed((!self.demand.is_met_by(status)).then_some(status)))
            }
            (true, _) | (_, Status::NotApplicable) => None,
        }
    }

    /// Takes a definite word; true where that settles the question.
    pub fn settle(&mut self, word: Word) -> bool {
        self.told = joined(self.told, word);
        let status = self.told.map_or(word.status, |told| told.word.status);
        let is_missing = matches!(status, Status::Missing(_));
        if is_missing && self.failure.is_some() {
            // The one that failed may hold the acceptance.
            return false;
        }
        let is_enough = !status.is_accepted() || self.demand.is_met_by(status);
        if is_enough && self.failure.is_some() && self.is_denied_since(&word) {
            return false;
        }
        if is_enough {
            self.failure = None;
        }
        is_enough
    }

    /// True where the source that failed has said "missing" since an acceptance was recorded elsewhere.
    fn is_denied_since(&self, word: &Word) -> bool {
        self.standing.and_then(absence).is_some_and(|absence| absence.asked.uptime > word.observed.uptime)
    }

    /// The answer that all words amount to. `known` is the answer kept now, where it may stand in for a source that fails;
    /// `are_learnt` are the words in force now: nobody has dropped them meanwhile.
    pub fn conclude(
        mut self,
        key: &Key,
        generation: u64,
        known: Option<Kept>,
        are_learnt: &InForce,
    ) -> (Kept, Outlooks) {
        let now = self.now;
        let was_learnt = self.learnt;
        for word in &mut self.learnt {
            let is_learnt = |word: &Learnt| are_learnt.iter().flatten().any(|known| known.at == word.at);
            *word = word.filter(is_learnt);
        }
        let (told, failure, holds_since) = match self.failure {
            Some(failure) => {
                let told = self.beside_failure(known);
                // An acceptance that held because no source spoke of it still does.
                let is_known = |known: &Kept| {
                    told.is_some_and(|told| told.word.by.name == LEARNED && told.word.asked == known.asked)
                };
                (told, Some(failure), known.filter(is_known).and_then(|known| known.holds_since))
            }
            None => {
                let (told, holds_since) = self.beside_nothing();
                (told, None, holds_since)
            }
        };
        let silent = match self.asked {
            0 => self.before.and_then(|before| before.silent),
            asked => (self.silent == asked).then_some((now.moment(), self.terms)),
        };
        let answer = Answer {
            last: told.map(|told| told.word.fact()),
            failure: failure.or(told.is_none().then_some(Failure::Unrecorded)),
        };
        let asked = told.map_or(now.moment(), |told| told.word.asked);
        let is_dropped = told.is_some_and(|told| told.word.by.name == LEARNED) && was_learnt != self.learnt;
        let kept = Kept::new(key, answer, asked, generation, &self.settings);
        let kept = Kept {
            weighed: now.uptime,
            epoch: told.map_or(0, |told| told.word.by.epoch),
            own: told.map(|told| told.own),
            holds_since,
            silent,
            doubted: is_dropped.then_some(now.uptime),
            ..kept
        };
        (kept, self.outlooks)
    }

    /// The words where no source failed. Where none speaks of the party, learnt words hold on: the second part of the answer
    /// is the moment at which the oldest of them was learnt, from which `agreements.cache.learnt` counts.
    fn beside_nothing(&self) -> (Option<Told>, Option<Moment>) {
        let speaks = self
            .told
            .is_some_and(|told| !told.word.status.is_accepted() || self.demand.is_met_by(told.word.status));
        let is_young = |learnt: &&Learnt| self.now.age(learnt.at) < self.settings.learnt;
        let holding = self.learnt.iter().flatten().filter(|_| !speaks).filter(is_young);
        let since = holding.clone().map(|learnt| learnt.at).min_by_key(|at| at.uptime);
        let words = holding.map(|learnt| Word { asked: self.now.moment(), ..Word::of_learnt(learnt) });
        (words.fold(self.told, joined), since)
    }

    /// The words where a source failed: those that it said before, those that were learnt, and those of the others.
    fn beside_failure(&self, known: Option<Kept>) -> Option<Told> {
        let now = self.now;
        let learnt = self.learnt.iter().flatten().filter(|learnt| learnt.terms == self.terms);
        let learnt: Vec<Word> = learnt.map(Word::of_learnt).collect();
        let acceptance = known.filter(|known| known.doubted.is_none()).and_then(|known| own_word(&known));
        let acceptance = acceptance.filter(|word| word.status.is_accepted());
        let acceptance = acceptance.filter(|word| word.by.name != LEARNED || !learnt.is_empty());
        let stale_max = self.settings.serves_max();
        // A later "missing" ends the acceptance; any "missing" does where the acceptance is too old to serve.
        let is_ended = |word: &Word| {
            let told = self.told.filter(|told| !told.word.status.is_accepted());
            told.is_some_and(|told| {
                told.word.observed.uptime > word.asked.uptime || now.age(word.asked) > stale_max
            })
        };
        let standing = acceptance.into_iter().chain(learnt).filter(|word| !is_ended(word));
        let standing = standing.fold(None, joined);
        let absence = known.and_then(absence);
        let told = self
            .told
            .filter(|told| absence.is_none_or(|absence| absence.asked.uptime <= told.word.observed.uptime));
        match (standing, told) {
            (Some(standing), Some(told)) => Some(standing.and(told.word)),
            (standing, told) => standing.or(told).or_else(|| absence.map(Told::of)),
        }
    }
}

impl Word {
    fn fact(&self) -> Fact {
        let Word { status, observed, asked, by } = *self;
        Fact { status, observed_at: observed.wall, asked_at: asked.wall, source: by.name }
    }
}

/// The word that the source of a kept answer said by itself.
fn own_word(kept: &Kept) -> Option<Word> {
    let fact = kept.answer.last?;
    Some(Word {
        status: kept.own.unwrap_or(fact.status),
        observed: Moment { wall: fact.observed_at, ..kept.asked },
        asked: kept.asked,
        by: Speaker { name: fact.source, epoch: kept.epoch, is_local: false },
    })
}

/// The "missing" that is kept: no doubt makes it unknown.
fn absence(kept: Kept) -> Option<Word> {
    own_word(&kept).filter(|word| matches!(word.status, Status::Missing(_)))
}
