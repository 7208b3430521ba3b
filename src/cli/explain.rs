//! `countersign explain`: what every rule finds in a request, and the verdict.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::audit::record;
use crate::cli::exit::{Exit, colour, complain, give_up, say};
use crate::config::cases::{caller_of, records_ledger, request};
use crate::config::node::Node;
use crate::config::problem::{Span, render};
use crate::config::read::Reader;
use crate::config::{self, Settings};
use crate::identity::fault::TokenFault;
use crate::judge::{Judged, Known, Question, judge};
use crate::mark::without_mark;
use crate::policy::agreement::{Answer, Status};
use crate::policy::condition::Truth;
use crate::policy::decision::{Need, Outcome, Verdict};
use crate::policy::facts::{Facts, Product};
use crate::policy::id::Guid;
use crate::policy::operation::Method;
use crate::policy::reason::Reason;
use crate::policy::role::NameSet;
use crate::policy::rule::{Phase, Rule};

/// What is explained.
#[derive(clap::Args)]
pub struct Arguments {
    /// A YAML or JSON file with `method`, `path` and `body`, instead of the three options.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["method", "path", "body"])]
    request: Option<PathBuf>,
    /// The method.
    #[arg(long, default_value = "POST")]
    method: String,
    /// The path.
    #[arg(long, required_unless_present = "request")]
    path: Option<String>,
    /// A file with the body.
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// The caller's tenant.
    #[arg(long, value_name = "TENANT", required_unless_present = "claims")]
    partner: Option<String>,
    /// A role of the caller; several may be given.
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// A JSON file with the claims of a token, instead of `--partner` and `--role`. Nothing is proved.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["partner", "roles"])]
    claims: Option<PathBuf>,
    /// A record such as `{ customer: GUID, mca: missing }`; several may be given. Without any, the configured ledgers.
    #[arg(long = "agreement", value_name = "RECORD")]
    agreements: Vec<String>,
    /// When, RFC 3339; now where it is not given.
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
}

/// Explains a request. Exit code 0 where it would be forwarded, 1 where it would be denied.
pub fn explain(config: &Path, arguments: &Arguments) -> Exit {
    let loaded = match config::load(config, Timestamp::now()) {
        Ok(loaded) => loaded,
        Err(error) => return give_up(&error),
    };
    let report = loaded.report(colour(&std::io::stderr()));
    let Some(settings) = loaded.settings else {
        complain(&report);
        return Exit::None;
    };
    let reader = Reader::default();
    let asked = asked(&reader, &settings, arguments);
    match asked {
        Ok(Some((question, known))) if !reader.failed() => {
            let judged = judge(&settings.policy.policy, &question, &known);
            print(&settings, &question, &judged);
            match judged.decision.verdict() {
                Verdict::Allow => Exit::Yes,
                Verdict::Deny(_) => Exit::No,
            }
        }
        Ok(_) => {
            eprint!(
                "{}",
                render(&reader.problems.borrow(), &reader.sources.borrow(), colour(&std::io::stderr()))
            );
            Exit::None
        }
        Err(error) => give_up(&error),
    }
}

fn asked(
    reader: &Reader,
    settings: &Settings,
    arguments: &Arguments,
) -> Result<Option<(Question, Known)>, String> {
    let at = arguments.at.unwrap_or_else(Timestamp::now);
    let (method, path, body) = match &arguments.request {
        Some(file) => {
            let text = without_mark(read_file(file)?);
            let Some(tree) = parse(reader, file, &text) else { return Ok(None) };
            let Some(request) = request(reader, &tree) else { return Ok(None) };
            request
        }
        None => {
            let method = Method::parse(&arguments.method)
                .ok_or_else(|| format!("`{}` is no method that is forwarded", arguments.method))?;
            let body = match &arguments.body {
                // Byte for byte, as the gateway would judge it.
                Some(file) => read_file(file)?.into_bytes(),
                None => Vec::new(),
            };
            (method, arguments.path.clone().unwrap_or_default(), body)
        }
    };
    let (tenant, roles) = caller(settings, arguments)?;
    let here = Node { span: Span::at(0, 1, 1), value: config::node::Value::Null };
    let Some(caller) = caller_of(reader, &here, &settings.partners, tenant, None, roles) else {
        return Err(format!("partner `{tenant}` is not listed in the configuration: it would be denied"));
    };
    let known = match arguments.agreements.is_empty() {
        true => configured_ledgers(settings),
        false => {
            let text = format!("[{}]", arguments.agreements.join(", "));
            let Some(records) = parse(reader, Path::new("<--agreement>"), &text) else { return Ok(None) };
            let tenants = &settings.policy.policy.tenants;
            match records_ledger(reader, &records, Some(&records), None, at, tenants) {
                Some(ledger) => Known::Ledger(ledger),
                None => return Ok(None),
            }
        }
    };
    // A query is forwarded as it is and says nothing to policy.
    let path = path.split('?').next().unwrap_or("").to_owned();
    Ok(Some((Question { method, path, body, caller, at }, known)))
}

fn read_file(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("can not read {}: {error}", path.display()))
}

fn parse(reader: &Reader, path: &Path, text: &str) -> Option<Node> {
    let source = reader.add_source(path, text);
    Node::parse(text, source, &HashMap::new())
        .map_err(|(span, message)| reader.note(config::problem::Severity::Error, span, message, None))
        .ok()
}

/// Tenant and roles; `None` for the roles of the partner's entry.
fn caller(settings: &Settings, arguments: &Arguments) -> Result<(Guid, Option<NameSet>), String> {
    if let Some(file) = &arguments.claims {
        let claims = without_mark(read_file(file)?);
        return settings.verifier.read_unproved(claims.as_bytes()).map_err(|fault| match fault {
            TokenFault::Invalid(why) => why.to_owned(),
            TokenFault::Expired => "the token has expired".to_owned(),
            TokenFault::KeyUnknown(_) | TokenFault::KeysUnavailable => "the keys are not at hand".to_owned(),
        });
    }
    let partner = arguments.partner.as_deref().unwrap_or_default();
    let tenant = Guid::parse(partner).ok_or_else(|| format!("`{partner}` is no tenant id"))?;
    if arguments.roles.is_empty() {
        return Ok((tenant, None));
    }
    let table = &settings.policy.policy.roles;
    let mut roles = NameSet::EMPTY;
    for role in &arguments.roles {
        let found = table
            .find(role)
            .ok_or_else(|| format!("`{role}` is no role; known: {}", table.names().join(", ")))?;
        roles = roles.union(found);
    }
    Ok((tenant, Some(roles)))
}

/// The configured ledgers, asked as the gateway asks them.
fn configured_ledgers(settings: &Settings) -> Known {
    let agreements = &settings.agreements;
    let ledgers = agreements.ledgers.iter().map(|source| (source.name, source.ledger.clone())).collect();
    Known::Ledgers { ledgers, order: agreements.order.clone() }
}

fn print(settings: &Settings, question: &Question, judged: &Judged) {
    let policy = &settings.policy.policy;
    let caller = &question.caller;
    say!("request    {} {}", question.method.as_str(), question.path);
    say!("at         {}, revision {}", question.at, settings.revision);
    let roles: Vec<&str> = policy.roles.of(caller.roles).collect();
    say!("caller     {} ({}), roles: {}", caller.partner.tenant, caller.partner.kind, list(&roles));
    if caller.is_reseller() {
        say!("billed     {} ({})", caller.billing.tenant, caller.billing.kind);
    }
    if let Some(request) = &judged.request {
        let operation = &policy.operations[request.operation.index()].name;
        say!("operation  {operation} ({})", request.class);
        if let Some(unread) = request.unread {
            say!("unread     the {unread}: the strictest reading holds");
        }
        if let Some(customer) = request.customer {
            say!("customer   {customer}");
        }
        for line in &request.lines {
            let product = match &line.product {
                Product::Unknown => "unknown product".to_owned(),
                Product::Named { ids, classes } => {
                    let classes: Vec<&str> = policy.products.classes.of(*classes).collect();
                    format!("{} ({})", ids.join(", "), list(&classes))
                }
            };
            say!("line       {}: {product}", if line.at.is_empty() { "(the body)" } else { &line.at });
        }
        for reseller in &request.resellers {
            say!("reseller   {} at {}", reseller.id, reseller.at);
        }
    }
    for (number, (need, answer)) in judged.needs.iter().zip(&judged.answers).enumerate() {
        say!("need {number:<5} {}", need_text(need, answer));
    }
    for (at, rule) in policy.rules.iter().enumerate() {
        say!("rule       {:<24} {}", rule.name, rule_text(settings, question, judged, at, rule));
    }
    say!("verdict    {}", verdict_text(settings, judged));
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn need_text(need: &Need, answer: &Answer) -> String {
    let what = format!("{} of {} {}", need.key.agreement, need.key.party.kind(), need.key.party);
    let status = match (answer.last.map(|fact| fact.status), answer.failure) {
        (Some(Status::Accepted { at: Some(at), undated: false }), _) => format!("accepted {at}"),
        (Some(Status::Accepted { at: Some(at), undated: true }), _) => format!("accepted {at}, and undated"),
        (Some(Status::Accepted { at: None, .. }), _) => "accepted, undated".to_owned(),
        (Some(status), _) => status.as_str().to_owned(),
        (None, Some(failure)) => format!("unknown ({failure})"),
        (None, None) => "unknown".to_owned(),
    };
    format!("{what}: {status}")
}

fn rule_text(settings: &Settings, question: &Question, judged: &Judged, at: usize, rule: &Rule) -> String {
    let findings = judged.decision.findings().iter().filter(|finding| finding.rule == at);
    let told: Vec<String> = findings
        .map(|finding| {
            let lines = judged.request.as_ref().map_or(&[][..], |request| &request.lines);
            let about: Vec<&str> =
                finding.lines.iter().filter_map(|line| Some(lines.get(line)?.at.as_str())).collect();
            let need = finding.need.map_or_else(String::new, |need| format!(" (need {need})"));
            let about = if about.is_empty() { String::new() } else { format!(" at {}", about.join(" ")) };
            format!("{}{need}{about} -> {}", record::outcome(finding.outcome), finding.effect)
        })
        .collect();
    if !told.is_empty() {
        return told.join("; ");
    }
    let Some(request) = &judged.request else { return "not judged: the request was refused".to_owned() };
    if rule.phase(question.at) == Phase::Dormant {
        return match rule.mode {
            crate::policy::rule::Mode::Off => "off".to_owned(),
            _ => "not yet announced".to_owned(),
        };
    }
    let facts = Facts { caller: &question.caller, request, at: question.at };
    let operation = &settings.policy.policy.operations[request.operation.index()];
    let applies = |product: &Product| rule.when.holds(&facts, product) != Truth::False;
    let products = request.lines.iter().map(|line| &line.product);
    if !operation.class.is_gated() && rule.requires.is_some() {
        format!("does not apply: class {} needs no agreement", operation.class)
    } else if products.chain(request.lines.is_empty().then_some(&Product::Unknown)).any(applies) {
        if judged
            .decision
            .decisive()
            .is_some_and(|finding| finding.outcome == Outcome::Unmet(Reason::RoleMissing))
        {
            "not looked at: a missing role settles it".to_owned()
        } else {
            "applies, but the request names no such party".to_owned()
        }
    } else {
        "does not apply".to_owned()
    }
}

fn verdict_text(settings: &Settings, judged: &Judged) -> String {
    let policy = &settings.policy.policy;
    match judged.decision.verdict() {
        Verdict::Allow => "allow".to_owned(),
        Verdict::Deny(reason) => {
            let rule = judged.decision.decisive().map(|finding| &policy.rules[finding.rule]);
            let code = policy.fault_code(&judged.decision, reason);
            let by = rule.map_or_else(String::new, |rule| format!(" by {} (code {code})", rule.name));
            let detail = judged.decision.detail().map_or_else(String::new, |detail| format!(": {detail}"));
            format!("deny {reason}{by}, status {}{detail}", reason.status(policy.unrecorded_status))
        }
    }
}
