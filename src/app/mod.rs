//! The application: settings become a running gateway, which reloads and stops.

mod assemble;
mod certificates;
mod descriptors;
mod facts;
mod files;
mod ledgers;
mod reload;
mod saving;
mod signals;
mod sources;
mod warming;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use crate::admin::facts::Act;
use crate::admin::{self, Command, FactsReport, ReloadReport};
use crate::agreements::Agreements;
use crate::agreements::source::Source;
use crate::app::assemble::build_snapshot;
use crate::app::certificates::Certificates;
use crate::app::ledgers::WatchedLedger;
use crate::app::reload::InForce;
use crate::app::saving::{SAVE_EVERY, Saving};
use crate::app::signals::{Signal, Signals};
use crate::app::sources::SourceStore;
use crate::app::warming::Warming;
use crate::audit::record::AdminRecord;
use crate::audit::writer::{AuditFile, Lane};
use crate::config::{self, Settings};
use crate::identity::store::KeyStore;
use crate::metrics::Metrics;
use crate::proxy::peer::Peer;
use crate::proxy::snapshot::Shared;
use crate::proxy::worker::Worker;
use crate::server::{self, AbortUnlessDone, Event, Server, WorkerContext};
use crate::tls;

/// The version of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How often files are looked at. What one look has read, the next one puts in force.
const LOOK: Duration = Duration::from_millis(500);

pub use crate::app::reload::Loader;

/// A loader of a file.
pub fn file_loader(path: PathBuf) -> Loader {
    Arc::new(move |now| config::load(&path, now))
}

/// A running gateway.
pub struct App {
    /// Where callers reach it.
    pub address: SocketAddr,
    /// Where operators reach it.
    pub admin_address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    control: Option<thread::JoinHandle<()>>,
}

impl App {
    /// Starts a gateway. With `signals`, SIGHUP reloads and SIGTERM or SIGINT stop it.
    pub fn start(settings: Settings, loader: Loader, signals: bool) -> Result<App, String> {
        tls::install_provider();
        let (stop, stopped) = oneshot::channel();
        let (started, start) = std::sync::mpsc::channel();
        let control = thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || {
                // Without it a gateway answers from what it knows and never learns of anything: it ends instead.
                let _alive = AbortUnlessDone("the control runtime");
                control(settings, loader, signals, stopped, &started);
            })
            .map_err(|error| format!("no thread for the control runtime: {error}"))?;
        let (address, admin_address) =
            start.recv().unwrap_or_else(|_| Err("the control runtime did not start".to_owned()))?;
        Ok(App { address, admin_address, stop: Some(stop), control: Some(control) })
    }

    /// Waits until a signal has stopped it.
    pub fn wait(mut self) {
        if let Some(control) = self.control.take() {
            let _ = control.join();
        }
    }

    /// Drains and stops it.
    pub fn stop(mut self) {
        drop(self.stop.take());
        self.wait();
    }
}

type Addresses = Result<(SocketAddr, SocketAddr), String>;

fn control(
    settings: Settings,
    loader: Loader,
    signals: bool,
    stopped: oneshot::Receiver<()>,
    started: &std::sync::mpsc::Sender<Addresses>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return drop(started.send(Err(format!("no event queue for the control runtime: {error}"))));
        }
    };
    runtime.block_on(async {
        match Control::start(settings, loader).await {
            Ok((control, commands, addresses)) => {
                let _ = started.send(Ok(addresses));
                control.run(commands, signals, stopped).await;
            }
            Err(error) => drop(started.send(Err(error))),
        }
    });
    // A file that hangs while it is read must not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
}

/// The control runtime's own state.
struct Control {
    in_force: InForce,
    shared: Arc<Shared>,
    server: Option<Server>,
    /// Whether it was ready once.
    ready: bool,
    lane: Lane,
    ledgers: Vec<WatchedLedger>,
    certificates: Option<Certificates>,
    saving: Saving,
    warming: Warming,
}

impl Control {
    async fn start(
        mut settings: Settings,
        loader: Loader,
    ) -> Result<(Control, mpsc::Receiver<Command>, (SocketAddr, SocketAddr)), String> {
        let metrics = Metrics::new();
        let audit = AuditFile::open(&settings.audit_path)
            .map_err(|error| format!("can not open {}: {error}", settings.audit_path.display()))?;
        let audit = Arc::new(audit);
        let agreements =
            Agreements::new(settings.agreements.cache.entries, tokio::runtime::Handle::current());
        let mut sources = SourceStore::new(tokio::runtime::Handle::current(), metrics.clone());
        let built = sources.build(&settings);
        sources.adopt(&built);
        agreements.renew(&built.sources);
        if let Some(path) = &settings.agreements.saved {
            let asking = saving::at_start(&settings, &built.sources);
            saving::load(&agreements, &asking, path, &built.remotes);
        }
        // Where nothing was to be saved yet, nothing failed.
        metrics.facts_saved(Some(0));
        let keys = KeyStore::new(tokio::runtime::Handle::current(), metrics.clone());
        keys.recognise(&mut settings.verifier);
        keys.adopt(&settings.verifier);
        let generation = 1;
        let snapshot = build_snapshot(&settings, &built, generation, &metrics);
        let shared = Arc::new(Shared::new(snapshot, agreements, keys, metrics.clone(), Arc::clone(&audit)));

        let admin = tokio::net::TcpListener::bind(settings.admin.address)
            .await
            .map_err(|error| format!("can not listen on {}: {error}", settings.admin.address))?;
        let admin_address = admin.local_addr().map_err(|error| error.to_string())?;
        let certificates = settings.listen.tls.as_ref().map(Certificates::start).transpose()?;
        // Where there is nothing to read, nothing is broken.
        metrics.tls_ok.set(1);
        let worker_shared = Arc::clone(&shared);
        let mut listen = settings.listen.server.clone();
        let requests_max = settings.limits.requests_max;
        let (connections, requests) = descriptors::enough_for(listen.connections_max, requests_max);
        listen.connections_max = connections;
        if requests < requests_max {
            shared.requests_ceiling.store(requests, Ordering::Relaxed);
        }
        let live = certificates.as_ref().map(Certificates::live);
        let server = Server::start(&listen, live, Arc::new(Connections(metrics.clone())), move |number| {
            GatewayWorker(Rc::new(Worker::new(number, Arc::clone(&worker_shared))))
        })
        .map_err(|error| format!("can not listen on {}: {error}", listen.address))?;
        let address = server.address();
        let (sender, commands) = mpsc::channel(16);
        tokio::spawn(admin::serve(admin, settings.admin.clone(), sender));
        let lane = Lane::new(settings.listen.server.workers, audit, metrics);
        let saving = Saving::new(Arc::clone(&shared));
        let mut warming = Warming::new(Arc::clone(&shared));
        warming.follow(&built.remotes);
        let mut control = Control {
            in_force: InForce::new(settings, loader, Arc::clone(&shared), sources, generation),
            shared,
            server: Some(server),
            ready: false,
            lane,
            ledgers: built.ledgers,
            certificates,
            saving,
            warming,
        };
        control.announce();
        Ok((control, commands, (address, admin_address)))
    }

    /// Records what is now in force.
    fn announce(&mut self) {
        let now = Timestamp::now();
        let settings = &self.in_force.settings;
        self.lane.revision(now, &settings.revision, VERSION, &settings.policy.effective);
        let metrics = &self.shared.metrics;
        metrics.in_force(VERSION, &settings.revision, now.as_second());
        metrics.reload_ok.set(1);
        let waivers = settings.policy.policy.waivers.iter().filter(|waiver| waiver.until > now).count();
        metrics.waivers.set(waivers as i64);
        for ledger in &self.ledgers {
            metrics.ledger_reloaded(ledger.source.name().as_str(), true);
        }
        tracing::info!(revision = settings.revision, "configuration in force");
    }

    async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        signals: bool,
        mut stopped: oneshot::Receiver<()>,
    ) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut saves = tokio::time::interval_at(tokio::time::Instant::now() + SAVE_EVERY, SAVE_EVERY);
        let mut signals = Signals::new(signals);
        loop {
            tokio::select! {
                Some(command) = commands.recv() => self.obey(command).await,
                _ = looks.tick() => self.look_at_files().await,
                _ = saves.tick() => self.saving.save_now_and_then(&self.in_force.settings).await,
                signal = signals.next() => match signal {
                    Signal::Reload => {
                        if let Err(error) = self.shared.audit.reopen() {
                            tracing::error!(%error, "the audit file can not be reopened; the old one is kept");
                        }
                        self.reload().await;
                    }
                    Signal::Stop => break,
                },
                _ = &mut stopped => break,
            }
        }
        self.drain(commands, signals).await;
    }

    /// Lets requests in flight finish. Flights and the admin listener go on meanwhile.
    async fn drain(mut self, mut commands: mpsc::Receiver<Command>, mut signals: Signals) {
        tracing::info!("draining");
        let Some(server) = self.server.take() else { return };
        let mut drained = tokio::task::spawn_blocking(move || server.drain());
        loop {
            tokio::select! {
                _ = &mut drained => break,
                Some(command) = commands.recv() => self.obey(command).await,
                signal = signals.next() => if let Signal::Stop = signal {
                    tracing::error!("told to stop once more: ending without what is in flight");
                    std::process::exit(2);
                },
            }
        }
        self.saving.finish(&self.in_force.settings).await;
        tracing::info!("drained");
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Ready(answer) => {
                // Once: a reload that names another issuer must not take every host out of rotation at a time.
                self.ready |= self.shared.keys.was_tried();
                let _ = answer.send(self.ready && self.server.is_some());
            }
            Command::Metrics(answer) => {
                let shared = Arc::clone(&self.shared);
                self.in_force.sources.report();
                let open = self.server.as_ref().map_or(0, Server::open_connections);
                // Not on this thread: look-ups wait for it.
                tokio::task::spawn_blocking(move || {
                    let asked = shared.agreements.asked();
                    shared
                        .metrics
                        .lookups_asked
                        .inc_by(asked.saturating_sub(shared.metrics.lookups_asked.get()));
                    shared.metrics.connections_open.set(open as i64);
                    shared.metrics.facts.set(shared.agreements.kept() as i64);
                    shared.metrics.buffered_bytes.set(shared.buffered.load(Ordering::Relaxed) as i64);
                    shared.keys.report();
                    let _ = answer.send(shared.metrics.encode());
                });
            }
            Command::Facts(asked, address, answer) => {
                // What is done by hand is recorded before it is done.
                let is_done = asked.act != Act::Show;
                let party = asked.party.to_string();
                let record = AdminRecord {
                    action: asked.act.as_str(),
                    agreement: asked.agreement.as_str(),
                    party: &party,
                    address,
                };
                if is_done && self.lane.admin(Timestamp::now(), &record).is_err() {
                    drop(answer.send(FactsReport::NotRecorded));
                    return;
                }
                facts::obey(Arc::clone(&self.shared), asked, answer);
            }
            Command::Reload(answer) => drop(answer.send(self.reload().await)),
        }
    }

    async fn reload(&mut self) -> ReloadReport {
        let reloaded = self.in_force.reload().await;
        self.shared.metrics.reloaded(reloaded.is_ok());
        let ok = reloaded.is_ok();
        let report = match reloaded {
            Ok(reloaded) => {
                self.ledgers = reloaded.ledgers;
                self.warming.follow(self.in_force.sources.running());
                if let (Some(certificates), Some(tls)) =
                    (&mut self.certificates, &self.in_force.settings.listen.tls)
                {
                    certificates.follow(tls);
                }
                self.announce();
                reloaded.report
            }
            Err(report) => {
                let revision = &self.in_force.settings.revision;
                tracing::error!(%report, revision, "configuration refused; the old one stays in force");
                report
            }
        };
        ReloadReport { ok, revision: self.in_force.settings.revision.clone(), report }
    }

    /// Puts in force what files hold that have changed.
    async fn look_at_files(&mut self) {
        for ledger in &mut self.ledgers {
            ledger.look(&self.shared).await;
        }
        if let Some(certificates) = &mut self.certificates {
            certificates.look(&self.shared.metrics).await;
        }
    }
}

/// Counts what becomes of connections.
struct Connections(Metrics);

impl server::Observer for Connections {
    fn note(&self, event: Event) {
        self.0.connection(event.as_str());
    }
}

/// The gateway's code on one worker.
struct GatewayWorker(Rc<Worker>);

impl server::Worker for GatewayWorker {
    fn connection(
        &self,
        context: Rc<WorkerContext>,
        accepted: server::Accepted,
    ) -> impl Future<Output = ()> + 'static {
        let worker = Rc::clone(&self.0);
        let peer_known = Rc::new(Peer::new(accepted.peer.ip(), accepted.stream.is_tls()));
        server::serve(context, accepted, move |request| {
            // On the heap: hyper moves the future about, and it holds everything that a request needs.
            Box::pin(crate::proxy::handle(Rc::clone(&worker), request, Rc::clone(&peer_known)))
        })
    }

    fn tick(&self) {
        self.0.tick();
    }

    async fn finish(&self) {
        // Exchanges whose caller has gone are recorded as allowed: they end before the worker does.
        while self.0.left_alone() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            // Their deadlines pass here, now that the server looks after no connection any more.
            self.0.tick();
        }
        self.0.close();
    }
}
