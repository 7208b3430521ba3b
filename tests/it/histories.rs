//! The belief in agreements, over random histories: ledger edits, learnings, doubts, failures, reloads, restarts, clock jumps and
//! suspends. An acceptance passes only if the last definite word in force says so; a denial rests only on a definite word no
//! older than `recheck_after`; what is known to be missing never passes for want of an answer.
//!
//! The log of every word that the gateway was given is held against each order by `oracle.rs`.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use countersign::agreements::cache::Settings;
use countersign::agreements::learnt::Teacher;
use countersign::agreements::near::NearFacts;
use countersign::agreements::saved;
use countersign::agreements::saved_line::Saved;
use countersign::agreements::source::{Said, Source};
use countersign::agreements::sources::Sources;
use countersign::agreements::{Agreements, Asking};
use countersign::clock::Now;
use countersign::policy::Policy;
use countersign::policy::agreement::{Failure, Key, Party, Scope, Status, Statuses};
use countersign::policy::decision::{Effect, Outcome, Verdict};
use countersign::policy::facts::{Facts, Request};
use countersign::policy::id::Guid;
use countersign::policy::learning::By;
use countersign::policy::operation::{Class, OperationId};
use countersign::policy::reason::Reason;
use jiff::SignedDuration;
use tokio::runtime::Handle;

use crate::support;
use crate::world::{Behind, Ended, Learning, Random, billed, settings, time};

const HISTORIES: u64 = 100_000;
const EVENTS_MAX: u64 = 20;
/// The rules ask for an acceptance since 2023, or for any.
const OLD: &str = "2019-01-01T00:00:00Z";
const NEW: &str = "2025-01-01T00:00:00Z";

/// One rule each: any acceptance; one since 2023, of any kind; one since 2023 that has to have a date; and the same two where
/// not knowing passes.
static POLICIES: LazyLock<Vec<Policy>> = LazyLock::new(|| {
    let off = ["customer-mca", "customer-mca-renewed", "azure-plan-mca", "partner-mpa", "selling-role"]
        .map(|name| format!("  - {{ name: {name}, mode: off }}\n"))
        .concat();
    let rules = [
        ("", "deny"),
        (", accepted_since: 2023-04-01T00:00:00Z", "deny"),
        (", accepted_since: 2023-04-01T00:00:00Z, undated: unknown", "deny"),
        ("", "allow"),
        (", accepted_since: 2023-04-01T00:00:00Z", "allow"),
    ];
    let policies = rules.map(|(asks, unknown)| {
        let rule = format!(
            "  - {{ name: tested, when: {{ class: [purchase] }}, requires: {{ agreement: mca, of: customer{asks} }}, \
             on_unknown: {unknown} }}\n"
        );
        support::compile(&format!("rules:\n{off}{rule}")).policy
    });
    policies.into()
});

pub struct World {
    random: Random,
    /// One of its own for each history, which share a cache: to make one takes longer than most histories.
    pub customer: Guid,
    pub now: Now,
    agreements: Agreements,
    /// One worker's copies.
    near: NearFacts,
    pub sources: Arc<Sources>,
    pub ledger: Arc<Behind>,
    pub center: Arc<Behind>,
    /// 0: ledger only; 1: ledger, center; 2: center, ledger; 3: center only.
    pub order: u64,
    policy: usize,
    pub learnt: Vec<Learning>,
    pub ended: Vec<Ended>,
    /// True where a log is kept: a history that failed is told again.
    is_told: bool,
    log: Vec<String>,
    /// Orders that met their rule, and that did not.
    outcomes: [u64; 2],
    held: Vec<tokio::task::JoinHandle<()>>,
}

impl World {
    fn new(seed: u64, start: Now, (agreements, near): Shared, is_told: bool) -> World {
        let mut random = Random(seed);
        let (ledger, center) = (Behind::new("ledger", true, start), Behind::new("center", false, start));
        let order = random.below(4);
        let policy = random.below(POLICIES.len() as u64) as usize;
        let mut world = World {
            random,
            customer: Guid::from_bits(u128::from(seed) + 1),
            now: start,
            agreements,
            near,
            sources: Arc::default(),
            ledger,
            center,
            order,
            policy,
            learnt: Vec::new(),
            ended: Vec::new(),
            is_told,
            log: vec![format!("order {order}, policy {policy}, history {seed}")],
            outcomes: [0; 2],
            held: Vec::new(),
        };
        world.load([Teacher(1)].into());
        world
    }

    fn load(&mut self, teachers: std::collections::HashSet<Teacher>) {
        let (ledger, center): (Arc<dyn Source>, Arc<dyn Source>) =
            (Arc::clone(&self.ledger) as _, Arc::clone(&self.center) as _);
        let customer = match self.order {
            0 => vec![ledger],
            1 => vec![ledger, center],
            2 => vec![center, ledger],
            _ => vec![center],
        };
        let demands = POLICIES[self.policy].demands();
        self.sources = Arc::new(Sources { customer, demands, teachers, ..Sources::default() });
        self.agreements.renew(&self.sources);
    }

    fn note(&mut self, event: impl FnOnce(&World) -> String) {
        if self.is_told {
            let event = event(self);
            self.log.push(format!("{:?}: {event}", self.now.wall));
        }
    }

    fn asking<'s>(&'s self, settings: &'s Settings) -> Asking<'s> {
        Asking::new(&self.sources, settings, Some(Guid::from_bits(1)), self.now)
    }

    /// Whatever is done takes a moment.
    fn tick(&mut self, wall: i64, mono: u64, uptime: u64) {
        self.now = Now {
            wall: self.now.wall + SignedDuration::from_millis(wall),
            mono: self.now.mono + Duration::from_millis(mono),
            uptime: self.now.uptime.after(Duration::from_millis(uptime)),
        };
        *self.ledger.now.lock().unwrap() = self.now;
        *self.center.now.lock().unwrap() = self.now;
    }

    /// One event; the answer is what is wrong with it.
    async fn step(&mut self) -> Option<&'static str> {
        self.tick(1, 1, 1);
        let settings = settings();
        let statuses = [
            Status::MISSING,
            Status::MISSING,
            Status::UNDATED,
            Status::accepted(time(OLD)),
            Status::accepted(time(NEW)),
        ];
        let of = billed(self.customer, self.random.below(2));
        match self.random.below(20) {
            0..=5 => return self.order_of(of).await,
            6 | 7 => {
                let said = match self.random.below(6) {
                    0 => Said::Nothing,
                    _ => {
                        let status = self.random.one(&statuses);
                        Said::Definite { status, observed: self.now.moment() }
                    }
                };
                self.note(|_| format!("ledger {said:?}"));
                for other in [0, 1] {
                    // Every record of a file is as old as the file.
                    let key = billed(self.customer, other);
                    let said = match (key == of, self.ledger.says(&key)) {
                        (true, _) => said,
                        (false, Said::Definite { status, .. }) => {
                            Said::Definite { status, observed: self.now.moment() }
                        }
                        (false, said) => said,
                    };
                    self.ledger.say(key, said);
                }
                self.agreements.renew(&self.sources);
            }
            8 | 9 => {
                let said = match self.random.below(8) {
                    0 => Said::Nothing,
                    1 | 2 => Said::Failed(Failure::Source),
                    3 => {
                        let status = self.random.one(&statuses[2..]);
                        Said::AtLeast { status, observed: self.now.moment(), failure: Failure::Source }
                    }
                    _ => {
                        let status = self.random.one(&statuses);
                        Said::Definite { status, observed: self.now.moment() }
                    }
                };
                self.note(|_| format!("center {:?} {said:?}", of.scope));
                self.center.say(of, said);
            }
            10 | 11 => {
                let status = self.random.one(&statuses[2..]);
                let teacher = Teacher(1 + self.random.below(2));
                let is_shared = status == Status::UNDATED && self.random.below(2) == 0;
                let by = if is_shared { By::Direct } else { By::Attestation };
                let key = if is_shared { Key { scope: Scope::None, ..of } } else { of };
                self.note(|_| {
                    format!("learn {status:?} of {teacher:?}, shared: {is_shared}, {:?}", of.scope)
                });
                if self.agreements.learn(&self.asking(&settings), of, by, status, teacher) {
                    let (at, terms) = (self.now.moment(), self.sources.terms(of.party.kind()));
                    self.learnt.push(Learning { at, key, status, teacher, terms });
                }
            }
            12 => {
                self.note(|_| format!("doubt {:?}", of.scope));
                self.agreements.doubt(&settings, of, self.now);
                // What was doubted a moment ago, and confirmed since, is not doubted again.
                let kept = self.agreements.all().find(|(key, _)| *key == of);
                let is_doubted = kept.is_some_and(|(_, kept)| kept.doubted.is_some());
                let (at, shared) = (self.now.moment(), Key { scope: Scope::None, ..of });
                for key in [of, shared] {
                    let is_learnt_only = key != of || !is_doubted;
                    self.ended.push(Ended { at, key, is_forgotten: false, is_learnt_only });
                }
            }
            13 => {
                self.note(|_| format!("hint {:?}", of.scope));
                self.agreements.hint(of, self.now.wall, self.now);
            }
            14 | 15 => {
                let seconds = self.random.one(&[1, 3, 6, 20, 40, 200, 700, 1100, 1400, 6000]);
                self.note(|_| format!("{seconds} s pass"));
                self.tick(seconds as i64 * 1000, seconds * 1000, seconds * 1000);
            }
            16 => {
                let seconds = self.random.one(&[20, 800, 1200, 6000]);
                let jump = self.random.one(&[-5000, -400, -3, 3, 400, 2000]);
                let (wall, mono, uptime) = match self.random.below(4) {
                    0 => (jump, 0, 0),
                    1 => (seconds as i64, 0, seconds),
                    2 => (seconds as i64, 0, 0),
                    _ => (jump, 0, seconds),
                };
                self.note(|_| format!("the clocks go {wall} s, {mono} s and {uptime} s"));
                self.tick(wall * 1000, mono * 1000, uptime * 1000);
            }
            17 => match self.random.below(4) {
                0 => {
                    self.policy = self.random.below(POLICIES.len() as u64) as usize;
                    self.note(|world| format!("reload: policy {}", world.policy));
                    self.load(self.sources.teachers.clone());
                }
                1 => {
                    let teachers = match self.random.below(3) {
                        0 => [Teacher(1)].into(),
                        1 => [Teacher(2)].into(),
                        _ => [Teacher(1), Teacher(2)].into(),
                    };
                    self.note(|_| format!("reload: {teachers:?}"));
                    self.load(teachers);
                }
                2 => {
                    *self.center.epoch.lock().unwrap() += 1;
                    self.note(|_| "reload: other terms".to_owned());
                    self.load(self.sources.teachers.clone());
                }
                _ => self.restart(&settings).await,
            },
            18 => {
                self.note(|_| format!("forget {:?}", of.scope));
                let (at, shared) = (self.now.moment(), Key { scope: Scope::None, ..of });
                for key in [of, shared] {
                    self.agreements.forget(&self.asking(&settings), &key);
                    self.ended.push(Ended { at, key, is_forgotten: true, is_learnt_only: false });
                }
            }
            _ => self.question(of).await,
        }
        None
    }

    /// A question by hand; at times the answer comes only after other things have happened.
    async fn question(&mut self, of: Key) {
        let is_held = self.random.below(2) == 0;
        self.note(|_| format!("question {:?}, held: {is_held}", of.scope));
        let (agreements, sources, now) = (self.agreements.clone(), Arc::clone(&self.sources), self.now);
        self.center.gate.send_replace(!is_held);
        let asking = async move {
            agreements.refresh(&Asking::new(&sources, &settings(), None, now), of).await;
        };
        let asking: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(asking);
        let task = tokio::spawn(asking);
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        self.held.push(task);
        // The next order lets it land before it asks anything itself.
        if !is_held {
            self.land().await;
        }
    }

    async fn land(&mut self) {
        self.center.gate.send_replace(true);
        for task in self.held.drain(..) {
            task.await.unwrap();
        }
    }

    async fn restart(&mut self, settings: &Settings) {
        self.land().await;
        self.note(|_| "restart".to_owned());
        let is_saved = |source| source != self.ledger.name;
        let is_ours = |key: &Key| key.party == Party::Customer(self.customer);
        let answers = self.agreements.all().filter(|(key, _)| is_ours(key));
        let answers = answers.filter_map(|(key, kept)| saved::of_answer(key, &kept, is_saved, self.now));
        let words = self.agreements.all_learnt().filter(|(key, _)| is_ours(key));
        let words = words.map(|(key, word)| saved::of_learnt(key, word, self.now));
        let mut text = Vec::new();
        saved::write(&mut text, answers.chain(words), self.now.wall).unwrap();
        self.agreements = Agreements::new(1000, Handle::current());
        self.near = NearFacts::default();
        self.agreements.renew(&self.sources);
        let epoch = *self.center.epoch.lock().unwrap();
        let epoch_of = |name| (name == self.center.name && self.order > 0).then_some(epoch);
        let is_taught = |teacher| self.sources.is_taught_by(teacher);
        let loaded = saved::read_lines(&text[..], settings, epoch_of, is_taught, self.now).unwrap();
        for saved in loaded.facts {
            let asking = Asking::new(&self.sources, settings, None, self.now);
            match saved {
                Saved::Answer(key, fact, epoch) => {
                    self.agreements.take(&asking, key, fact, epoch);
                }
                Saved::Learnt(key, word) => self.agreements.take_learnt(key, word),
            }
        }
    }

    /// Judges an order as the gateway does, and holds the outcome against the log.
    async fn order_of(&mut self, of: Key) -> Option<&'static str> {
        self.land().await;
        let settings = settings();
        let asked_before = self.center.given.lock().unwrap().len();
        let (outcome, verdict) = self.judge(of, &settings).await;
        let asked = self.center.given.lock().unwrap().len() - asked_before;
        self.note(|_| format!("order {:?}: {outcome:?} {verdict:?}, center asked {asked} times", of.scope));
        let wrong = match outcome {
            Outcome::Met => (!self.may_pass(of, &settings)).then_some("no word in force accepts"),
            Outcome::Unmet(_) => self.why_not_deny(of, &settings),
            _ if verdict == Verdict::Allow => {
                self.is_known_missing(of).then_some("it is known to be missing, and passes")
            }
            _ => None,
        };
        let is_ledgers = matches!(self.ledger.says(&of), Said::Definite { status: Status::Missing(_), .. });
        if outcome == Outcome::Unmet(Reason::AgreementMissing) && is_ledgers && self.order < 3 {
            // What it has ended does not come back once the record is taken away.
            let at = self.now.moment();
            self.ended.push(Ended { at, key: of, is_forgotten: false, is_learnt_only: true });
        }
        // What is asked for behind an answer lands before anything else happens.
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        match outcome {
            Outcome::Met => self.outcomes[0] += 1,
            Outcome::Unmet(_) => self.outcomes[1] += 1,
            _ => {}
        }
        wrong
    }

    async fn judge(&mut self, of: Key, settings: &Settings) -> (Outcome, Verdict) {
        let policy = &POLICIES[self.policy];
        let mut caller = support::caller(policy);
        caller.partner.tenant = of.scope.billing().unwrap();
        caller.billing.tenant = caller.partner.tenant;
        let request = Request {
            customer: Some(self.customer),
            ..Request::bare(OperationId::UNLISTED, Class::Purchase)
        };
        let plan = policy.plan(Facts { caller: &caller, request: &request, at: self.now.wall }).unwrap();
        assert_eq!(plan.needs().iter().map(|need| need.key).collect::<Vec<_>>(), [of]);
        let sources = Arc::clone(&self.sources);
        let asking = Asking::new(&sources, settings, Some(Guid::from_bits(1)), self.now);
        let at_hand = self.agreements.at_hand(&mut self.near, &asking, plan.needs());
        let mut statuses: Statuses = match at_hand {
            Some(statuses) => statuses,
            None => self.agreements.look_up(&asking, plan.needs()).await.0,
        };
        let mut decision = plan.decide(&statuses);
        let recheck_after = settings.recheck_after.try_into().unwrap();
        let old = plan.old_grounds(&decision, &statuses, recheck_after, self.now.wall);
        if !old.is_empty() {
            self.agreements.look_again(&asking, plan.needs(), &old, &mut statuses).await;
            decision = plan.decide(&statuses);
        }
        let finding = &decision.findings()[0];
        assert!(
            decision.findings().len() == 1 && (finding.effect == Effect::Deny) == decision.permit().is_none()
        );
        (finding.outcome, decision.verdict())
    }
}

/// Shared by histories, one after another: the knowledge, and a worker's copies of it.
type Shared = (Agreements, NearFacts);

/// Lives through a history; the error is what went wrong.
async fn live(seed: u64, shared: Shared, is_told: bool) -> Result<World, String> {
    let mut world = World::new(seed, Now::read(), shared, is_told);
    for _ in 0..=world.random.below(EVENTS_MAX) {
        if let Some(wrong) = world.step().await {
            let given = world.center.given.lock().unwrap();
            let log = world.log.join("\n");
            return Err(format!("{wrong}:\n{log}\ngiven {given:#?}\nlearnt {:#?}", world.learnt));
        }
    }
    world.land().await;
    Ok(world)
}

#[test]
fn only_the_last_definite_word_in_force_counts() {
    let half = |first: u64| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut outcomes = [0u64; 2];
        runtime.block_on(async {
            let new = || (Agreements::new(1000, Handle::current()), NearFacts::default());
            let mut shared = new();
            for seed in (first..HISTORIES).step_by(2) {
                match live(seed, shared, false).await {
                    // Others are made now and then, so that there is little to look through.
                    Ok(world) => {
                        outcomes = [0, 1].map(|at| outcomes[at] + world.outcomes[at]);
                        shared = if seed % 64 < 2 { new() } else { (world.agreements, world.near) };
                    }
                    Err(wrong) => panic!("{}", live(seed, new(), true).await.err().unwrap_or(wrong)),
                }
            }
        });
        outcomes
    };
    let threads: Vec<_> = [0, 1].map(|first| std::thread::spawn(move || half(first))).into();
    let outcomes: Vec<[u64; 2]> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let [met, unmet] = [0, 1].map(|at| outcomes.iter().map(|of| of[at]).sum::<u64>());
    // A property that nothing reaches proves nothing.
    assert!(met > HISTORIES / 10 && unmet > HISTORIES / 10, "{met} met, {unmet} unmet");
    println!("{HISTORIES} histories: {met} orders met their rule, {unmet} did not");
}
