//! The oracle of the random histories: what an order may come to by the log of every word that the gateway was given. It
//! knows nothing of caches, flights or how words are weighed.

use std::time::Duration;

use countersign::agreements::cache::Settings;
use countersign::agreements::source::Said;
use countersign::clock::Moment;
use countersign::policy::agreement::{Key, Scope, Status};

use crate::histories::World;
use crate::world::{Ended, Given, Learning, billed, settings};

impl World {
    fn meets(&self, status: Status) -> bool {
        status == Status::NotApplicable || self.sources.demand(&billed(self.customer, 0)).is_met_by(status)
    }

    /// Definite words of the center about a key in force, the last one first. An acceptance that may not be all is one too.
    fn center_words(&self, of: Key) -> Vec<(Given, Status)> {
        if self.order == 0 {
            return Vec::new();
        }
        let epoch = *self.center.epoch.lock().unwrap();
        let forgotten = self.ended.iter().filter(|ended| ended.is_forgotten && ended.key == of);
        let forgotten = forgotten.map(|ended| ended.at.uptime).max();
        let given = self.center.given.lock().unwrap();
        let mut words: Vec<(Given, Status)> = given
            .iter()
            .filter(|(key, given)| *key == of && given.epoch == epoch && Some(given.at.uptime) > forgotten)
            .filter_map(|(_, given)| match given.said {
                Said::Definite { status, .. } | Said::AtLeast { status, .. } => Some((*given, status)),
                _ => None,
            })
            .collect();
        words.sort_by_key(|(given, _)| std::cmp::Reverse(given.at.uptime));
        words
    }

    /// True where the center fails, or did when it was asked last: then what it said before serves while it is asked again.
    fn is_failing(&self, of: Key) -> bool {
        let given = self.center.given.lock().unwrap();
        let last = given.iter().filter(|(key, _)| *key == of).max_by_key(|(_, given)| given.at.uptime);
        let fails = |said: Said| matches!(said, Said::Failed(_) | Said::AtLeast { .. });
        fails(self.center.says(&of)) || last.is_some_and(|(_, given)| fails(given.said))
    }

    /// True where every worker knows of an answer: what was asked for behind another one, each of them finds within a second.
    fn is_noticed(&self, given: &Given) -> bool {
        self.now.mono.saturating_duration_since(given.mono) >= Duration::from_secs(1)
    }

    /// The learnt words, of a key or of everybody's, that nothing has ended. The last one first.
    fn learnt_in_force(&self, of: Key, settings: &Settings) -> Vec<Learning> {
        let shared = Key { scope: Scope::None, ..of };
        let center_says = self.center_words(of);
        let mut words: Vec<Learning> = self
            .learnt
            .iter()
            .filter(|word| word.key == of || word.key == shared)
            .filter(|word| self.sources.is_taught_by(word.teacher))
            .filter(|word| {
                let ends = |ended: &Ended| {
                    let about = ended.key == word.key || (ended.key == of && word.key == shared);
                    about && ended.at.uptime >= word.at.uptime
                };
                !self.ended.iter().any(ends)
            })
            // The center's definite word ends it, one way or the other.
            .filter(|word| {
                let ends = |(given, _): &&(Given, Status)| {
                    self.is_noticed(given)
                        && given.at.uptime > word.at.uptime
                        && matches!(given.said, Said::Definite { .. })
                };
                !center_says.iter().any(|said| ends(&said))
            })
            .filter(|word| match self.ledger.says(&of) {
                // Behind the center, whose word it stands for, a ledger is not asked.
                _ if self.order == 2
                    && self.now.age(word.at) < settings.accepted
                    && !self.was_asked(of, word) =>
                {
                    true
                }
                Said::Definite { status: Status::Missing(_), observed } if self.order < 3 => {
                    word.at.uptime > observed.uptime
                }
                _ => true,
            })
            .filter(|word| {
                let age = self.now.age(word.at);
                let may_speak = self.order > 0 && self.is_of_center(of);
                match may_speak {
                    false => age < settings.learnt,
                    true => {
                        let serves = settings.accepted + settings.stale;
                        let under_terms = word.terms == self.sources.terms(of.party.kind());
                        age < settings.accepted || (under_terms && self.is_failing(of) && age <= serves)
                    }
                }
            })
            .copied()
            .collect();
        words.sort_by_key(|word| std::cmp::Reverse(word.at.uptime));
        words
    }

    /// True where the center may have something to say of a key: it has not said "nothing" a while ago.
    fn is_of_center(&self, of: Key) -> bool {
        let serves = settings().accepted + settings().stale;
        let said_nothing = |given: &Given| given.said == Said::Nothing && self.now.age(given.at) <= serves;
        !self.center.given.lock().unwrap().iter().any(|(key, given)| *key == of && said_nothing(given))
    }

    /// True where the center was asked about a key since a word was learnt, and had nothing to say.
    fn was_asked(&self, of: Key, word: &Learning) -> bool {
        let given = self.center.given.lock().unwrap();
        let since = |given: &Given| given.at.uptime > word.at.uptime && given.said == Said::Nothing;
        given.iter().any(|(key, given)| *key == of && since(given))
    }

    /// True where a word in force accepts.
    pub fn may_pass(&self, of: Key, settings: &Settings) -> bool {
        let words = self.center_words(of);
        let ledger = match self.ledger.says(&of) {
            Said::Definite { status, observed } if self.order < 3 => Some((status, observed)),
            _ => None,
        };
        let learnt = self.learnt_in_force(of, settings);
        let ledger_denies = |at: Moment| matches!(ledger, Some((Status::Missing(_), observed)) if at.uptime <= observed.uptime);
        // Confirmed by the center after it was learnt: an older "no" of the ledger's stays ended.
        let was_learnt = self.learnt.iter().any(|word| {
            (word.key == of || word.key == Key { scope: Scope::None, ..of }) && !ledger_denies(word.at)
        });
        let by_ledger = ledger.is_some_and(|(status, observed)| {
            let denied = |(given, status): &(Given, Status)| {
                self.is_noticed(given)
                    && matches!(status, Status::Missing(_))
                    && given.at.uptime > observed.uptime
            };
            // A source that comes first has the last word.
            let is_denied = self.order == 2 && words.first().is_some_and(denied) && learnt.is_empty();
            self.meets(status) && !is_denied
        });
        let by_center = words.iter().any(|(given, status)| {
            let age = self.now.age(given.at);
            let serves =
                age < settings.accepted || (self.is_failing(of) && age <= settings.accepted + settings.stale);
            let ends = |ended: &&Ended| {
                !ended.is_learnt_only && ended.key == of && ended.at.uptime >= given.at.uptime
            };
            let is_last = words.iter().all(|(other, other_status)| {
                let is_later = self.is_noticed(other)
                    && other.at.uptime > given.at.uptime
                    && matches!(other.said, Said::Definite { .. });
                !is_later || self.meets(*other_status)
            });
            let ledger_says_no = ledger.is_some_and(|(status, _)| matches!(status, Status::Missing(_)));
            let past_ledger = match self.order {
                1 => !ledger_says_no || was_learnt,
                _ => true,
            };
            self.meets(*status)
                && serves
                && is_last
                && past_ledger
                && !self.ended.iter().any(|ended| ends(&ended))
        });
        let by_learnt = learnt.iter().any(|word| self.meets(word.status));
        by_ledger || by_center || by_learnt
    }

    /// The fault of a denial, if it has one.
    pub fn why_not_deny(&self, of: Key, settings: &Settings) -> Option<&'static str> {
        let (words, learnt) = (self.center_words(of), self.learnt_in_force(of, settings));
        let ledger = match self.ledger.says(&of) {
            Said::Definite { status, observed } if self.order < 3 => Some((status, observed)),
            _ => None,
        };
        if ledger.is_some_and(|(status, _)| self.meets(status)) && self.order < 2 {
            return Some("the ledger comes first, and accepts");
        }
        let ledger_denies = ledger.is_some_and(|(status, _)| !self.meets(status));
        let is_young = |given: &Given| self.now.age(given.at) <= settings.recheck_after;
        let center_denies =
            words.first().is_some_and(|(given, status)| !self.meets(*status) && is_young(given));
        // An acceptance that was learnt and does not meet the rule denies as one of the ledger's would.
        let learnt_denies = learnt.iter().any(|word| !self.meets(word.status));
        if !ledger_denies && !center_denies && !learnt_denies {
            return Some("nothing denies it now");
        }
        // A ledger that was written later denies, where the center has nothing to say.
        let is_denied = |word: &Learning| {
            matches!(self.ledger.says(&of), Said::Definite { status: Status::Missing(_), observed }
                if observed.uptime >= word.at.uptime)
        };
        let is_sufficient = |word: &&Learning| {
            self.meets(word.status) && self.now.age(word.at) < settings.accepted && !is_denied(word)
        };
        let sufficient = learnt.iter().find(is_sufficient);
        if let Some(word) = sufficient
            && words.first().is_none_or(|(given, _)| given.at.uptime < word.at.uptime)
            && word.terms == self.sources.terms(of.party.kind())
        {
            return Some("something later was learnt");
        }
        None
    }

    /// True where the last definite word is "no".
    pub fn is_known_missing(&self, of: Key) -> bool {
        let words = self.center_words(of);
        let learnt = self.learnt.iter().filter(|word| word.key.party == of.party);
        let last_learnt = learnt.map(|word| word.at.uptime).max();
        let center_accepts = words.first().is_some_and(|(_, status)| status.is_accepted());
        let ledger_says_no = (self.order < 2 || (self.order == 2 && !center_accepts))
            && matches!(self.ledger.says(&of), Said::Definite { status: Status::Missing(_), .. })
            && self.learnt.is_empty();
        let center_says_no = words.first().is_some_and(|(given, status)| {
            matches!(status, Status::Missing(_)) && Some(given.at.uptime) > last_learnt && self.is_failing(of)
        });
        ledger_says_no || center_says_no
    }
}
