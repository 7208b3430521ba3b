//! Records: what is written of decisions, their outcomes, loaded configurations and refused floods.

use std::fmt::Display;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::policy::Policy;
use crate::policy::agreement::{Status, Statuses};
use crate::policy::decision::{Decision, Finding, Need, Outcome, Verdict};
use crate::policy::facts::{Caller, Product, Request};
use crate::policy::id::Guid;

/// The longest record, in bytes.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;

/// What every record begins with: its kind, its place in its lane, and when it was made.
///
/// The record's own members follow in the same object: [`append`] joins the two texts, which costs a fifth of what a
/// flattened structure does.
#[derive(Serialize)]
struct Envelope {
    kind: &'static str,
    lane: usize,
    seq: u64,
    #[serde(serialize_with = "moment")]
    time: Timestamp,
}

/// Appends a record as one line.
pub fn append(
    lines: &mut Vec<u8>,
    kind: &'static str,
    lane: usize,
    seq: u64,
    time: Timestamp,
    record: &impl Serialize,
) {
    serde_json::to_writer(&mut *lines, &Envelope { kind, lane, seq, time }).expect("a record is plain data");
    let joint = lines.len() - 1;
    serde_json::to_writer(&mut *lines, record).expect("a record is plain data");
    // `}{` between the two objects becomes `,`.
    lines[joint + 1] = b',';
    lines.remove(joint);
    lines.push(b'\n');
}

/// A moment in whole milliseconds.
fn moment<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{at:.3}"))
}

fn optional_moment<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serializer.collect_str(at),
        None => serializer.serialize_none(),
    }
}

fn text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn optional_text<S: Serializer>(value: &Option<impl Display>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

/// A decision, with all that is needed to make it again.
#[derive(Serialize)]
pub struct DecisionRecord<'a> {
    id: &'a str,
    revision: &'a str,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'static str>,
    caller: CallerRecord<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ms_request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ms_correlation_id: Option<&'a str>,
    method: &'a str,
    path: &'a str,
    operation: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_text")]
    customer: Option<Guid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unread: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lines: Vec<LineRecord<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resellers: Vec<ResellerRecord<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    needs: Vec<NeedRecord>,
    /// Rules that were met, all lines and parties of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    met: Vec<&'a str>,
    /// What every other rule found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<FindingRecord<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
    duration_us: u64,
}

/// Who sent the request, as far as it is known; never the token.
#[derive(Serialize)]
struct CallerRecord<'a> {
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_text")]
    partner: Option<Guid>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_text")]
    billing: Option<Guid>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    roles: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    appid: Option<&'a str>,
    #[serde(serialize_with = "text")]
    address: IpAddr,
}

#[derive(Serialize)]
struct LineRecord<'a> {
    at: &'a str,
    products: &'a [String],
}

#[derive(Serialize)]
struct ResellerRecord<'a> {
    #[serde(serialize_with = "text")]
    id: crate::policy::id::PartnerRef,
    at: &'a str,
}

#[derive(Serialize)]
struct NeedRecord {
    #[serde(serialize_with = "text")]
    agreement: crate::policy::agreement::Agreement,
    party: &'static str,
    #[serde(serialize_with = "text")]
    id: crate::policy::agreement::Party,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_moment")]
    accepted_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_s: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_text")]
    source: Option<crate::policy::id::Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'static str>,
}

#[derive(Serialize)]
struct FindingRecord<'a> {
    rule: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    need: Option<usize>,
    outcome: &'static str,
    effect: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lines: Vec<usize>,
}

/// What a decision record is made of.
pub struct DecisionParts<'a> {
    /// The decision's id.
    pub id: &'a str,
    /// The revision of the configuration.
    pub revision: &'a str,
    /// The policy it was made with.
    pub policy: &'a Policy,
    /// The decision.
    pub decision: &'a Decision,
    /// The caller, where it is known.
    pub caller: Option<&'a Caller>,
    /// The user's object id.
    pub oid: Option<&'a str>,
    /// The application's id.
    pub appid: Option<&'a str>,
    /// Where it came from.
    pub address: IpAddr,
    /// The caller's `MS-RequestId`.
    pub ms_request_id: Option<&'a str>,
    /// The caller's `MS-CorrelationId`.
    pub ms_correlation_id: Option<&'a str>,
    /// The method.
    pub method: &'a str,
    /// The path, without its query.
    pub path: &'a str,
    /// The operation.
    pub operation: &'a str,
    /// The request, where it was read.
    pub request: Option<&'a Request>,
    /// What was needed, and what was answered.
    pub statuses: Option<(&'a [Need], &'a Statuses)>,
    /// When it was made.
    pub at: Timestamp,
    /// From the head of the request to the verdict, in microseconds.
    pub duration_us: u64,
}

impl<'a> DecisionRecord<'a> {
    /// The record of a decision. With `lines_max`, lines and resellers beyond it are left out and the record says so.
    pub fn new(parts: &DecisionParts<'a>, lines_max: Option<usize>) -> DecisionRecord<'a> {
        let decision = parts.decision;
        let (verdict, reason) = match decision.verdict() {
            Verdict::Allow => ("allow", None),
            Verdict::Deny(reason) => ("deny", Some(reason.as_str())),
        };
        let rule_name = |finding: &Finding| parts.policy.rules[finding.rule].name.as_str();
        let caller = CallerRecord {
            partner: parts.caller.map(|caller| caller.partner.tenant),
            billing: parts.caller.filter(|caller| caller.is_reseller()).map(|caller| caller.billing.tenant),
            roles: parts.caller.map_or_else(Vec::new, |caller| parts.policy.roles.of(caller.roles).collect()),
            oid: parts.oid,
            appid: parts.appid,
            address: parts.address,
        };
        let most = lines_max.unwrap_or(usize::MAX);
        let request = parts.request;
        let lines: &[_] = request.map_or(&[], |request| &request.lines);
        let resellers: &[_] = request.map_or(&[], |request| &request.resellers);
        let path = parts.path.get(..512).unwrap_or(parts.path);
        DecisionRecord {
            id: parts.id,
            revision: parts.revision,
            verdict,
            reason,
            rule: decision.decisive().map(rule_name),
            detail: decision.detail(),
            caller,
            ms_request_id: parts.ms_request_id,
            ms_correlation_id: parts.ms_correlation_id,
            method: parts.method,
            path,
            operation: parts.operation,
            class: request.map(|request| request.class.as_str()),
            customer: request.and_then(|request| request.customer),
            unread: request.and_then(|request| request.unread).map(|resource| resource.as_str()),
            lines: lines
                .iter()
                .take(most)
                .map(|line| LineRecord {
                    at: &line.at,
                    products: match &line.product {
                        Product::Unknown => &[],
                        Product::Named { ids, .. } => ids,
                    },
                })
                .collect(),
            resellers: resellers
                .iter()
                .take(most)
                .map(|reseller| ResellerRecord { id: reseller.id, at: &reseller.at })
                .collect(),
            needs: needs(parts),
            met: met(parts),
            findings: decision
                .findings()
                .iter()
                .filter(|finding| finding.outcome != Outcome::Met)
                .map(|finding| FindingRecord {
                    rule: rule_name(finding),
                    need: finding.need,
                    outcome: outcome(finding.outcome),
                    effect: finding.effect.as_str(),
                    // "All lines" is said by leaving them out.
                    lines: match finding.lines.iter().count() == lines.len() {
                        true => Vec::new(),
                        false => finding.lines.iter().take(most).collect(),
                    },
                })
                .collect(),
            truncated: lines_max.is_some(),
            duration_us: parts.duration_us,
        }
    }
}

/// The rules that found nothing but being met.
fn met<'a>(parts: &DecisionParts<'a>) -> Vec<&'a str> {
    let findings = parts.decision.findings();
    let mut met = Vec::with_capacity(findings.len());
    for (at, finding) in findings.iter().enumerate() {
        // Findings of one rule stand together.
        let is_first = at == 0 || findings[at - 1].rule != finding.rule;
        let of_rule = findings[at..].iter().take_while(|other| other.rule == finding.rule);
        if is_first && of_rule.clone().all(|other| other.outcome == Outcome::Met) {
            met.push(parts.policy.rules[finding.rule].name.as_str());
        }
    }
    met
}

fn needs(parts: &DecisionParts<'_>) -> Vec<NeedRecord> {
    let Some((needs, statuses)) = parts.statuses else { return Vec::new() };
    let record = |(need, answer): (&Need, &crate::policy::agreement::Answer)| NeedRecord {
        agreement: need.key.agreement,
        party: need.key.party.kind().as_str(),
        id: need.key.party,
        status: answer.last.map_or("unknown", |fact| fact.status.as_str()),
        accepted_at: answer.last.and_then(|fact| match fact.status {
            Status::Accepted { at } => at,
            _ => None,
        }),
        age_s: answer.last.map(|fact| parts.at.duration_since(fact.asked_at).as_secs()),
        source: answer.last.map(|fact| fact.source),
        failure: answer.failure.map(|failure| failure.as_str()),
    };
    needs.iter().zip(&statuses.answers).map(record).collect()
}

/// The word for what was found.
pub fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Met => "met",
        Outcome::Unmet(reason) => reason.as_str(),
        Outcome::Unknown(failure) => failure.as_str(),
        Outcome::Waived(_) => "waived",
    }
}

/// What became of a request after it was allowed.
#[derive(Serialize)]
pub struct OutcomeRecord<'a> {
    /// The decision's id.
    pub id: &'a str,
    /// The upstream's status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The ids of the orders it answered with.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub orders: &'a [String],
    /// Why there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<&'static str>,
    /// Whether the answer reached its end.
    pub complete: bool,
    /// From the verdict to the end of the answer, in microseconds.
    pub duration_us: u64,
}

/// A configuration that was put in force.
#[derive(Serialize)]
pub struct RevisionRecord<'a> {
    /// Its revision.
    pub revision: &'a str,
    /// The version of the program.
    pub version: &'a str,
    /// What it judges by.
    pub policy: &'a serde_json::Value,
}

/// Refusals of unidentified callers that were not recorded one by one.
#[derive(Serialize)]
pub struct SummaryRecord {
    /// How many.
    pub refused: u64,
}
