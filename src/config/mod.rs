//! Configuration: from the operator's YAML to the settings of every module, with every problem found on the way.

pub mod agreements;
pub mod cases;
mod epoch;
pub mod headers;
pub mod identity;
pub mod keys;
pub mod ledger;
pub mod listen;
pub mod network;
pub mod node;
pub mod policy;
pub mod problem;
pub mod read;
pub mod reads;
pub mod resources;
pub mod roles;
pub mod service;
pub mod sources;
mod standing;
pub mod texts;
pub mod trust;

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use crate::admin;
use crate::audit::writer::OnFailure;
use crate::config::agreements::Agreements;
use crate::config::listen::Listen;
use crate::config::network::Upstream;
use crate::config::node::{Node, Value};
use crate::config::policy::CompiledPolicy;
use crate::config::problem::{Problem, Severity, SourceText, render};
use crate::config::read::{Reader, Section, read_text};
use crate::config::resources::Reads;
use crate::config::sources::Defaults;
use crate::identity::Partners;
use crate::identity::claims::{IssuerKeys, Verifier};
use crate::proxy::keep_back::KeepBack;
use crate::proxy::messages::Catalogue;
use crate::proxy::snapshot::{AuditSettings, Limits};

/// The file that is read where no other is named.
pub const DEFAULT_PATH: &str = "config/countersign.yaml";

/// The settings of every module.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Identity of this configuration: a hash of every text it was made of.
    pub revision: String,
    /// Listener.
    pub listen: Listen,
    /// What may be held.
    pub limits: Limits,
    /// Where requests go.
    pub upstream: Upstream,
    /// Which headers do not go with them.
    pub keep_back: KeepBack,
    /// Admin listener.
    pub admin: admin::Settings,
    /// How tokens are read.
    pub verifier: Verifier,
    /// What no token says.
    pub partners: Partners,
    /// Where agreements stand.
    pub agreements: Agreements,
    /// Where resources are read before they are judged.
    pub reads: Option<Reads>,
    /// Rules and operations.
    pub policy: CompiledPolicy,
    /// Texts of answers.
    pub catalogue: Catalogue,
    /// The audit file.
    pub audit_path: PathBuf,
    /// What is recorded.
    pub audit: AuditSettings,
    /// How the log is written.
    pub log: Log,
}

/// The section `log`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// One JSON object a line, instead of text.
    pub json: bool,
    /// The least level that is written.
    pub level: String,
}

/// What reading a configuration brought.
#[derive(Debug)]
pub struct Loaded {
    /// The settings, where there is no error.
    pub settings: Option<Settings>,
    /// Errors and warnings.
    pub problems: Vec<Problem>,
    /// The texts they point into.
    pub sources: Vec<SourceText>,
}

impl Loaded {
    /// The problems with their places.
    pub fn report(&self, colour: bool) -> String {
        render(&self.problems, &self.sources, colour)
    }

    /// How many errors there are, and how many warnings.
    pub fn counts(&self) -> (usize, usize) {
        let errors = self.problems.iter().filter(|problem| problem.severity == Severity::Error).count();
        (errors, self.problems.len() - errors)
    }
}

/// Reads a configuration file. The error says why the file itself could not be read.
pub fn load(path: &Path, now: Timestamp) -> Result<Loaded, String> {
    let text = read_text(path).map_err(|error| format!("can not read {}: {error}", path.display()))?;
    Ok(load_text(path, &text, &[], now))
}

/// Reads a configuration; paths in it are relative to `path`. `overrides` are laid over it.
pub fn load_text(path: &Path, text: &str, overrides: &[(&str, Value)], now: Timestamp) -> Loaded {
    let reader = Reader::default();
    let source = reader.add_source(path, text);
    let text_of =
        |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    let variables: HashMap<String, String> = std::env::vars_os().filter_map(text_of).collect();
    let settings = match Node::parse(text, source, &variables) {
        Ok(mut tree) => {
            for (at, value) in overrides {
                tree.set(at, value.clone());
            }
            read(&reader, &tree, path.parent().unwrap_or(Path::new("")), &variables, now)
        }
        Err((span, message)) => {
            reader.note(Severity::Error, span, message, None);
            None
        }
    };
    let failed = reader.failed();
    Loaded {
        settings: settings.filter(|_| !failed),
        problems: reader.problems.into_inner(),
        sources: reader.sources.into_inner(),
    }
}

fn read(
    reader: &Reader,
    tree: &Node,
    folder: &Path,
    variables: &HashMap<String, String>,
    now: Timestamp,
) -> Option<Settings> {
    let section = reader.section(tree)?;
    // Every section is read before any failure ends the reading: all problems are told at once.
    let limits_and_listen = section.nested("limits", |limits| {
        let listen = section.nested("listen", |listen| listen::listen(listen, limits, folder)).flatten();
        (listen::limits(limits), listen)
    });
    let upstream = section.nested("upstream", |upstream| network::upstream(upstream, folder)).flatten();
    let keep_back = section.nested("headers", headers::headers).flatten();
    let admin = section.nested("admin", |admin| network::admin(admin, folder)).flatten();
    let identity = section.nested("identity", |identity| identity::identity(identity, folder)).flatten();
    // Where roles could not be read, the built-in names stand in so that the rules are read all the same.
    let roles = identity.as_ref().map_or_else(roles::built_in_roles, |(_, roles)| roles.clone());
    let partners = section.nested("partners", |partners| {
        identity::partners(partners, folder, variables, &roles, upstream.as_ref())
    });
    let facts = partners.as_ref().map(|(_, facts)| facts.clone()).unwrap_or_default();
    let policy_node = section.node("policy");
    let policy = policy::read(reader, policy_node, roles, &facts, now);
    let catalogue = section.nested("messages", |messages| texts::catalogue(messages, folder)).flatten();
    let audit = section.nested("audit", |audit| audit_settings(audit, folder));
    let log = section.nested("log", log_settings);
    // Ledgers are data: a change of theirs is no other configuration.
    let revision = revision(&reader.sources.borrow());
    let known = partners.as_ref().map(|(partners, _)| partners);
    let defaults = Defaults {
        partner: upstream.as_ref().and_then(|upstream| upstream.billing_partner),
        region: upstream.as_ref().and_then(|upstream| upstream.region),
        partners: known,
        tenants: &facts.tenants,
    };
    let agreements = section
        .nested("agreements", |agreements| agreements::agreements(agreements, folder, now, defaults))
        .flatten();
    section.finish();

    let (limits, listen) = limits_and_listen?;
    let (verifier, _) = identity?;
    let (partners, _) = partners?;
    let (audit_path, audit) = audit?;
    let (listen, upstream) = (listen?, upstream?);
    for (what, wait) in waits(&upstream, &verifier) {
        if listen.server.idle_timeout <= wait {
            let hint = "a connection on which nothing moves is closed, also while its answer is waited for"
                .to_owned();
            let message = format!("`limits.idle_timeout` has to be longer than {what}, which is {wait:?}");
            reader.error(tree.span, message, Some(hint));
        }
    }
    let (agreements, mut policy) = (agreements?, policy?);
    policy.policy.unrecorded_status = agreements.unrecorded_status;
    standing::leave_out_untold(&mut policy.policy, &agreements);
    let reads = resources::reads(reader, tree.span, &upstream, &agreements, &policy.policy, &facts);
    Some(Settings {
        revision,
        listen,
        limits,
        upstream,
        keep_back: keep_back?,
        admin: admin?,
        verifier,
        partners,
        agreements,
        reads,
        policy,
        catalogue: catalogue?,
        audit_path,
        audit,
        log: log?,
    })
}

/// What a caller may wait for while nothing moves, and how long. Every wait has to end before its connection is closed.
pub fn waits(upstream: &Upstream, verifier: &Verifier) -> Vec<(String, Duration)> {
    let client = &upstream.client;
    let answer = "`upstream.connect_timeout` plus `upstream.response_timeout`".to_owned();
    let keys = verifier.issuers.iter().filter_map(|issuer| match &issuer.keys {
        IssuerKeys::Held(_) => None,
        IssuerKeys::Published(ring) => {
            Some((format!("`keys.timeout` of issuer {}", issuer.name), ring.settings.timeout))
        }
    });
    std::iter::once((answer, client.connect_timeout + client.response_timeout)).chain(keys).collect()
}

fn audit_settings(section: &Section<'_>, folder: &Path) -> (PathBuf, AuditSettings) {
    let reader = section.reader();
    let path = section.get("path", |node| reader.text(node)).unwrap_or_else(|| "audit.jsonl".to_owned());
    section.get("durability", |node| {
        reader.choice(node, |text| (text == "written").then_some(()), &["written"])
    });
    let on_failure =
        section.get("on_failure", |node| reader.choice(node, OnFailure::parse, &["deny", "allow"]));
    let parse = |text: &str| match text {
        "none" => Some(false),
        "all" => Some(true),
        _ => None,
    };
    let reads = section.get("reads", |node| reader.choice(node, parse, &["none", "all"]));
    let settings =
        AuditSettings { on_failure: on_failure.unwrap_or(OnFailure::Deny), reads: reads.unwrap_or(false) };
    (folder.join(path), settings)
}

fn log_settings(section: &Section<'_>) -> Log {
    let reader = section.reader();
    let formats = |text: &str| match text {
        "json" => Some(true),
        "text" => Some(false),
        _ => None,
    };
    const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];
    let level = |text: &str| LEVELS.contains(&text).then(|| text.to_owned());
    Log {
        json: section.get("format", |node| reader.choice(node, formats, &["json", "text"])).unwrap_or(true),
        level: section
            .get("level", |node| reader.choice(node, level, &LEVELS))
            .unwrap_or_else(|| "info".to_owned()),
    }
}

fn revision(sources: &[SourceText]) -> String {
    let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for source in sources {
        hash.update(&(source.text.len() as u64).to_be_bytes());
        hash.update(source.text.as_bytes());
    }
    hash.finish().as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}
