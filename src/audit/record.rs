//! Records: what is written of decisions, their outcomes, loaded configurations and refused floods.

use std::borrow::Cow;
use std::net::IpAddr;

use jiff::Timestamp;

use crate::audit::line::{Object, object, text};
use crate::policy::Policy;
use crate::policy::agreement::{Absence, Answer, Party, Status, Statuses};
use crate::policy::decision::{Decision, Finding, Need, Outcome, Verdict};
use crate::policy::facts::{Caller, Line, Product, Request};
use crate::policy::id::Guid;

/// The longest record, in bytes.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;

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
    /// Reads what the token of a denied request says. It is called for records that are written only: the token of a
    /// refusal that is counted instead is not read again.
    pub found: &'a dyn Fn() -> Option<Found<'a>>,
}

/// The parts of a denied request's token that help to see why it was denied.
#[derive(Clone, Debug, Default)]
pub struct Found<'a> {
    /// The tenant that it proves and that no entry lists.
    pub tenant: Option<Guid>,
    /// The issuer of a token that proves nothing.
    pub iss: Option<String>,
    /// Its audiences.
    pub aud: Vec<String>,
    /// The key that it names.
    pub kid: Option<String>,
    /// The roles of a caller that lacks one.
    pub roles: Vec<&'a str>,
    /// The values of its role claims that mean none.
    pub unmatched: Vec<String>,
    /// The roles that would do.
    pub accepted: Vec<&'a str>,
    /// True where its token leaves a role claim out.
    pub incomplete: bool,
}

/// Writes the record of a decision, with all that is needed to make it again. With `lines_max`, lines and resellers
/// beyond it are left out and the record says so.
pub fn write_decision(
    lines: &mut Vec<u8>,
    place: Place,
    parts: &DecisionParts<'_>,
    lines_max: Option<usize>,
) {
    let decision = parts.decision;
    let most = lines_max.unwrap_or(usize::MAX);
    let mut record = begin(lines, place);
    record.text("id", parts.id);
    record.text("revision", parts.revision);
    match decision.verdict() {
        Verdict::Allow => record.text("verdict", "allow"),
        Verdict::Deny(reason) => {
            record.text("verdict", "deny");
            record.text("reason", reason.as_str());
        }
    }
    let rule_name = |finding: &Finding| parts.policy.rules[finding.rule].name.as_str();
    record.some_text("rule", decision.decisive().map(rule_name));
    record.some_text("detail", decision.detail());
    if let Some(found) = (parts.found)() {
        record.object("found", |record| write_found(record, &found));
    }
    record.object("caller", |caller| write_caller(caller, parts));
    record.some_text("ms_request_id", parts.ms_request_id);
    record.some_text("ms_correlation_id", parts.ms_correlation_id);
    record.text("method", parts.method);
    record.text("path", &recorded_path(parts.path));
    record.text("operation", parts.operation);
    if let Some(request) = parts.request {
        record.text("class", request.class.as_str());
        record.some_guid("customer", request.customer);
        record.some_text("read", request.read.map(|resource| resource.as_str()));
        record.some_text("unread", request.unread.map(|resource| resource.as_str()));
        record.some_text("unread_because", request.unread_because.map(|failure| failure.as_str()));
        record.some_text("notice", request.notice.map(|notice| notice.as_str()));
        record.list("lines", request.lines.iter().take(most), write_line);
        record.list("resellers", request.resellers.iter().take(most), |line, reseller| {
            object(line, |object| {
                object.plain("id", reseller.id);
                object.text("at", &reseller.at);
            });
        });
    }
    if let Some((needs, statuses)) = parts.statuses {
        record.list("needs", needs.iter().zip(&statuses.answers), |line, (need, answer)| {
            object(line, |object| write_need(object, need, answer, parts.at));
        });
    }
    record.list("met", met(parts), text);
    let all_lines = parts.request.map_or(0, |request| request.lines.len());
    let unmet = decision.findings().iter().filter(|finding| finding.outcome != Outcome::Met);
    record.list("findings", unmet, |line, finding| {
        object(line, |object| {
            object.text("rule", rule_name(finding));
            if let Some(need) = finding.need {
                object.number("need", need as u64);
            }
            object.text("outcome", outcome(finding.outcome));
            object.text("effect", finding.effect.as_str());
            // "All lines" is said by leaving them out.
            if finding.lines.iter().count() != all_lines {
                object.list("lines", finding.lines.iter().take(most), |line, number| {
                    line.extend_from_slice(number.to_string().as_bytes());
                });
            }
        });
    });
    if lines_max.is_some() {
        record.flag("truncated", true);
    }
    record.number("duration_us", parts.duration_us);
    record.end();
    lines.push(b'\n');
}

/// The longest path that is recorded whole, in bytes.
const PATH_BYTES_MAX: usize = 512;
/// The longest segment of a path that is recorded whole, in bytes: no id is longer, a token in the wrong place is.
const SEGMENT_BYTES_MAX: usize = 100;
/// How much of a longer one is.
const SEGMENT_BYTES_KEPT: usize = 8;

/// A path as it is recorded.
fn recorded_path(path: &str) -> Cow<'_, str> {
    // Most paths are shorter than what a segment may be.
    if path.len() <= SEGMENT_BYTES_MAX {
        return Cow::Borrowed(path);
    }
    if path.split('/').all(|segment| segment.len() <= SEGMENT_BYTES_MAX) {
        return Cow::Borrowed(&path[..path.floor_char_boundary(PATH_BYTES_MAX)]);
    }
    let mut short = String::new();
    for (at, segment) in path.split('/').enumerate() {
        if at > 0 {
            short.push('/');
        }
        match segment.len() <= SEGMENT_BYTES_MAX {
            true => short.push_str(segment),
            false => short.extend([&segment[..segment.floor_char_boundary(SEGMENT_BYTES_KEPT)], "~"]),
        }
    }
    short.truncate(short.floor_char_boundary(PATH_BYTES_MAX));
    Cow::Owned(short)
}

/// Who sent the request, as far as it is known; never the token.
fn write_caller(record: &mut Object<'_>, parts: &DecisionParts<'_>) {
    if let Some(caller) = parts.caller {
        record.some_guid("partner", Some(caller.partner.tenant));
        record.some_guid("billing", caller.is_reseller().then_some(caller.billing.tenant));
        record.list("roles", parts.policy.roles.of(caller.roles), text);
    }
    record.some_text("oid", parts.oid);
    record.some_text("appid", parts.appid);
    record.plain("address", parts.address);
}

fn write_found(record: &mut Object<'_>, found: &Found<'_>) {
    record.some_guid("tenant", found.tenant);
    record.some_text("iss", found.iss.as_deref());
    record.list("aud", &found.aud, |line, aud| text(line, aud));
    record.some_text("kid", found.kid.as_deref());
    record.list("roles", found.roles.iter().copied(), text);
    record.list("unmatched", &found.unmatched, |line, value| text(line, value));
    record.list("accepted", found.accepted.iter().copied(), text);
    if found.incomplete {
        record.flag("incomplete", true);
    }
}

fn write_line(line: &mut Vec<u8>, of: &Line) {
    object(line, |object| {
        object.text("at", &of.at);
        if let Product::Named { ids, .. } = &of.product {
            object.list("products", ids, |line, id| text(line, id));
        }
    });
}

fn write_need(record: &mut Object<'_>, need: &Need, answer: &Answer, at: Timestamp) {
    record.text("agreement", need.key.agreement.as_str());
    record.text("party", need.key.party.kind().as_str());
    match need.key.party {
        Party::Customer(tenant) => record.some_guid("id", Some(tenant)),
        party => record.plain("id", party),
    }
    record.text("status", answer.last.map_or("unknown", |fact| fact.status.as_str()));
    if let Some(fact) = &answer.last {
        if let Status::Accepted { at: Some(accepted), .. } = fact.status {
            record.plain("accepted_at", accepted);
        }
        if let Status::Missing(absence) = fact.status
            && absence != Absence::NotAccepted
        {
            record.text("absence", absence.as_str());
        }
        record.number("age_s", at.duration_since(fact.asked_at).as_secs().max(0) as u64);
        record.text("source", fact.source.as_str());
    }
    record.some_text("failure", answer.failure.map(|failure| failure.as_str()));
}

/// The rules that found nothing but being met.
fn met<'a>(parts: &DecisionParts<'a>) -> impl Iterator<Item = &'a str> {
    let (findings, rules) = (parts.decision.findings(), &parts.policy.rules);
    // Findings of one rule stand together.
    findings
        .chunk_by(|left, right| left.rule == right.rule)
        .filter(|of_rule| of_rule.iter().all(|finding| finding.outcome == Outcome::Met))
        .map(|of_rule| rules[of_rule[0].rule].name.as_str())
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
pub struct OutcomeRecord<'a> {
    /// The decision's id.
    pub id: &'a str,
    /// The upstream's status.
    pub status: Option<u16>,
    /// The ids of the orders it answered with.
    pub orders: &'a [String],
    /// Why there is no answer.
    pub failure: Option<&'static str>,
    /// True where the answer reached its end.
    pub complete: bool,
    /// From the verdict to the end of the answer, in microseconds.
    pub duration_us: u64,
}

/// Writes the outcome of an exchange.
pub fn write_outcome(lines: &mut Vec<u8>, place: Place, outcome: &OutcomeRecord<'_>) {
    let mut record = begin(lines, place);
    record.text("id", outcome.id);
    if let Some(status) = outcome.status {
        record.number("status", status);
    }
    record.list("orders", outcome.orders, |line, id| text(line, id));
    record.some_text("failure", outcome.failure);
    record.flag("complete", outcome.complete);
    record.number("duration_us", outcome.duration_us);
    record.end();
    lines.push(b'\n');
}

/// A configuration that was put in force: its revision, the version of the program, and what it judges by.
pub fn write_revision(
    lines: &mut Vec<u8>,
    place: Place,
    revision: &str,
    version: &str,
    policy: &serde_json::Value,
) {
    let mut record = begin(lines, place);
    record.text("revision", revision);
    record.text("version", version);
    record.json("policy", policy);
    record.end();
    lines.push(b'\n');
}

/// Refusals of unidentified callers that were not recorded one by one.
pub fn write_summary(lines: &mut Vec<u8>, place: Place, refused: u64) {
    let mut record = begin(lines, place);
    record.number("refused", refused);
    record.end();
    lines.push(b'\n');
}

/// What an operator did to facts by hand.
pub struct AdminRecord<'a> {
    /// `refresh` or `forget`.
    pub action: &'a str,
    /// Of which agreement.
    pub agreement: &'a str,
    /// The party, by tenant or MPN id.
    pub party: &'a str,
    /// From where.
    pub address: IpAddr,
}

/// Writes what an operator did.
pub fn write_admin(lines: &mut Vec<u8>, place: Place, admin: &AdminRecord<'_>) {
    let mut record = begin(lines, place);
    record.text("action", admin.action);
    record.text("agreement", admin.agreement);
    record.text("party", admin.party);
    record.plain("address", admin.address);
    record.end();
    lines.push(b'\n');
}

/// Begins a record: its kind, its place in its lane, and when it was made.
fn begin<'l>(lines: &'l mut Vec<u8>, place: Place) -> Object<'l> {
    let mut record = Object::begin(lines);
    record.text("kind", place.kind);
    record.number("lane", place.lane as u64);
    record.number("seq", place.seq);
    record.plain("time", format_args!("{:.3}", place.at));
    record
}

/// Where a record stands.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its kind.
    pub kind: &'static str,
    /// The lane that writes it.
    pub lane: usize,
    /// Its number in the lane.
    pub seq: u64,
    /// When it was made.
    pub at: Timestamp,
}
