//! Sources of a configuration: ledgers are read anew, servers that are asked go on as they are where nothing changed.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rustls::ClientConfig;
use tokio::runtime::Handle;

use crate::agreements::file::FileSource;
use crate::agreements::http::HttpSource;
use crate::agreements::learnt::Teacher;
use crate::agreements::partner_center::PartnerCenter;
use crate::agreements::source::Source;
use crate::agreements::sources::Sources;
use crate::app::ledgers::WatchedLedger;
use crate::config::Settings;
use crate::config::sources::{Kind, RemoteSource};
use crate::metrics::Metrics;
use crate::policy::id::Name;
use crate::remote::client::Remote;
use crate::resources::Resources;
use crate::service::Service;
use crate::service::settings::Settings as Identity;

/// What a configuration's sources became.
pub struct Built {
    /// The sources.
    pub sources: Arc<Sources>,
    /// The ledger files to watch.
    pub ledgers: Vec<WatchedLedger>,
    /// Servers that are asked.
    pub remotes: Vec<Asked>,
    /// Where resources are read before they are judged.
    pub resources: Option<Arc<Resources>>,
}

/// A server that is asked, and the source it is.
#[derive(Clone)]
pub struct Asked {
    /// What it was made of.
    pub settings: RemoteSource,
    /// The server.
    pub remote: Arc<Remote>,
    /// As whom it is asked.
    pub service: Option<Arc<Service>>,
    /// The source.
    pub source: Arc<dyn Source>,
}

/// Builds what configurations name. What runs outlives the configuration that named it first: its budget, its breaker and
/// its token are those of the server, whatever else is reloaded.
pub struct SourceStore {
    running: Vec<Asked>,
    ledgers: Vec<Arc<FileSource>>,
    resources: Option<Arc<Resources>>,
    control: Handle,
    metrics: Metrics,
}

impl SourceStore {
    /// An empty store; what is asked is asked on the control runtime.
    pub fn new(control: Handle, metrics: Metrics) -> SourceStore {
        SourceStore { running: Vec::new(), ledgers: Vec::new(), resources: None, control, metrics }
    }

    /// What a configuration names, with what runs already in it. Nothing is asked yet.
    pub fn build(&self, settings: &Settings) -> Built {
        let mut named: HashMap<Name, Arc<dyn Source>> = HashMap::new();
        let mut ledgers = Vec::new();
        let tenants = Arc::new(settings.policy.policy.tenants.clone());
        for ledger in &settings.agreements.ledgers {
            let (name, path, read) = (ledger.name, ledger.path.clone(), ledger.ledger.clone());
            let source = Arc::new(match self.before(name, &path) {
                Some(running) => FileSource::after(name, path, read, running),
                None => FileSource::new(name, path, read),
            });
            ledgers.push(WatchedLedger::new(&source, ledger.ledger.loaded_at, &tenants));
            named.insert(ledger.name, source);
        }
        let mut remotes: Vec<Asked> = Vec::new();
        for wanted in &settings.agreements.remotes {
            let running = self.running.iter().find(|running| running.settings == *wanted);
            let asked = running.cloned().unwrap_or_else(|| self.begin(wanted, &remotes));
            named.insert(wanted.name, Arc::clone(&asked.source));
            remotes.push(asked);
        }
        let of = |names: &[Name]| names.iter().filter_map(|name| named.get(name).cloned()).collect();
        let [partner, reseller, customer] = &settings.agreements.order;
        let sources = Sources {
            partner: of(partner),
            reseller: of(reseller),
            customer: of(customer),
            demands: settings.policy.policy.demands(),
            teachers: teachers(settings),
            upstream: settings.upstream.endpoint.to_string(),
            generation: AtomicU64::new(0),
        };
        let resources = self.resources(settings, &remotes);
        Built { sources: Arc::new(sources), ledgers, remotes, resources }
    }

    /// The running ledger that one takes the place of: of its name, or of its file where it has another name now.
    fn before(&self, name: Name, path: &Path) -> Option<&Arc<FileSource>> {
        let of_name = self.ledgers.iter().find(|ledger| ledger.name() == name);
        of_name.or_else(|| self.ledgers.iter().find(|ledger| ledger.path() == path))
    }

    /// Keeps what a configuration came to that is in force now.
    pub fn adopt(&mut self, built: &Built) {
        self.running.clone_from(&built.remotes);
        self.ledgers = built.ledgers.iter().map(|ledger| Arc::clone(&ledger.source)).collect();
        self.resources.clone_from(&built.resources);
    }

    /// The servers that are asked.
    pub fn running(&self) -> &[Asked] {
        &self.running
    }

    /// Brings the metrics up to date.
    pub fn report(&self) {
        let remotes = self.running.iter().map(|asked| &asked.remote);
        let reads = self.resources.iter().map(|resources| &resources.remote);
        let all =
            || remotes.clone().chain(reads.clone()).map(|remote| (remote.settings.name.as_str(), remote));
        self.metrics.remote.left_alone(all().map(|(name, remote)| (name, remote.is_open())));
        let tokens = all().filter_map(|(name, remote)| Some((name, remote.has_token_of_another()?)));
        self.metrics.remote.token_tenants(tokens);
    }

    fn begin(&self, wanted: &RemoteSource, begun: &[Asked]) -> Asked {
        let identity = wanted.identity.as_ref();
        let service = identity.map(|(settings, tls)| self.service(settings, tls, begun));
        let remote = Remote::new(wanted.remote.clone(), &wanted.trust, service.clone(), self.metrics.clone());
        let remote = Arc::new(remote);
        let (epoch, asked) = (wanted.epoch(), Arc::clone(&remote));
        let source: Arc<dyn Source> = match &wanted.kind {
            Kind::PartnerCenter(settings, _) => Arc::new(PartnerCenter::new(settings.clone(), asked, epoch)),
            Kind::Http(settings) => Arc::new(HttpSource::new(settings.clone(), asked, epoch)),
        };
        Asked { settings: wanted.clone(), remote, service, source }
    }

    /// One identity is one, whoever uses it: a refresh token that is good for one use must not be used twice.
    fn service(&self, settings: &Identity, tls: &Arc<ClientConfig>, begun: &[Asked]) -> Arc<Service> {
        let same = |asked: &Asked| asked.service.clone().filter(|service| service.settings() == settings);
        self.running.iter().chain(begun).find_map(same).unwrap_or_else(|| {
            Arc::new(Service::new(settings.clone(), tls, self.control.clone(), self.metrics.clone()))
        })
    }

    fn resources(&self, settings: &Settings, remotes: &[Asked]) -> Option<Arc<Resources>> {
        let wanted = settings.reads.as_ref()?;
        let running = self.resources.as_ref().filter(|running| running.is(&wanted.remote, wanted.partner));
        let asked = remotes.iter().find(|asked| asked.settings.name == wanted.source)?;
        let is_same = |running: &&Arc<Resources>| {
            let service = asked.service.as_ref().map(|service| service.settings());
            running.identity() == service
        };
        if let Some(running) = running.filter(is_same) {
            return Some(Arc::clone(running));
        }
        let (service, metrics) = (asked.service.clone(), self.metrics.clone());
        let remote = Remote::new(wanted.remote.clone(), &wanted.trust, service.clone(), metrics);
        Some(Arc::new(Resources::new(Arc::new(remote), service, wanted.partner, self.control.clone())))
    }
}

/// The teachers of acceptances that are in force.
fn teachers(settings: &Settings) -> HashSet<Teacher> {
    let (policy, upstream) = (&settings.policy.policy, settings.upstream.endpoint.to_string());
    let rules = policy.operations.iter().zip(&policy.learning);
    let all = rules.filter_map(|(operation, learning)| {
        Some(Teacher::all(&upstream, &operation.name, learning.as_ref()?))
    });
    all.flatten().collect()
}
