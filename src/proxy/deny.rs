//! Denials: a problem response (RFC 9457) that is at the same time a Partner Center fault.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, Response, StatusCode};
use jiff::Timestamp;
use serde::Serialize;

use crate::policy::Policy;
use crate::policy::agreement::{Absence, Failure, MCA, MPA, PartnerIds, Party, PartyKind, STANDING, Status};
use crate::policy::decision::{Decision, Effect, Finding, Need, Outcome, Verdict};
use crate::policy::facts::{Caller, Request};
use crate::policy::operation::{Class, Method};
use crate::policy::reason::Reason;
use crate::policy::role::{GLOBAL_ADMIN, NameSet};
use crate::policy::rule::{Phase, Rule};
use crate::proxy::data::{self, Told};
use crate::proxy::exchange::AnswerBody;
use crate::proxy::headers::{DECISION, MS_CORRELATION_ID, MS_REQUEST_ID};
use crate::proxy::messages::Language;

/// Where a global administrator signs the partner agreement.
const MPA_ACTION: &str = "https://partner.microsoft.com/dashboard/account/v3/settings/agreements";
/// Where a global administrator of the customer accepts the customer agreement.
const MCA_ACTION: &str = "https://admin.microsoft.com/AdminPortal/Home?ref=/BillingAccounts/agreement";

/// What a denial is made of.
pub struct Denial<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The decision.
    pub decision: &'a Decision,
    /// Its id.
    pub id: &'a str,
    /// The caller, where it is known.
    pub caller: Option<&'a Caller>,
    /// The method.
    pub method: &'a str,
    /// True where the caller's token leaves a role claim out.
    pub roles_left_out: bool,
    /// The request, where it was read.
    pub request: Option<&'a Request>,
    /// What was needed.
    pub needs: &'a [Need],
    /// The caller's language.
    pub language: Language<'a>,
    /// When the request came.
    pub at: Timestamp,
}

#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: String,
    status: u16,
    detail: String,
    code: u32,
    description: String,
    data: Vec<String>,
    source: &'static str,
    decision_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<ProblemFinding<'a>>,
}

#[derive(Serialize)]
struct ProblemFinding<'a> {
    rule: &'a str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    agreement: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    party: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lines: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_at: Option<String>,
    who: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
}

/// The answer to a denied request. `received` are the headers it came with.
pub fn answer(denial: &Denial<'_>, received: &HeaderMap) -> Response<AnswerBody> {
    let reason = match denial.decision.verdict() {
        Verdict::Deny(reason) => reason,
        Verdict::Allow => Reason::Internal,
    };
    let problem = problem(denial, reason);
    let body = serde_json::to_vec(&problem).expect("a problem is plain data");
    let mut response = Response::new(AnswerBody::own(Bytes::from(body)));
    *response.status_mut() = StatusCode::from_u16(problem.status).expect("reasons have statuses");
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(DECISION, HeaderValue::from_str(denial.id).expect("an id is plain text"));
    if reason == Reason::AmbiguousRequest {
        // Where a request ends is in doubt: nothing behind it is read. Over HTTP/2 this is not sent.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(seconds) = problem.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    let challenge = match reason {
        Reason::TokenMissing => Some("Bearer"),
        Reason::TokenInvalid => Some("Bearer error=\"invalid_token\""),
        Reason::TokenExpired => Some("Bearer error=\"invalid_token\", error_description=\"expired\""),
        _ => None,
    };
    if let Some(challenge) = challenge {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    for name in [MS_REQUEST_ID, MS_CORRELATION_ID] {
        if let Some(value) = received.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    response
}

fn problem<'a>(denial: &Denial<'a>, reason: Reason) -> Problem<'a> {
    let decision = denial.decision;
    let told: Vec<&Finding> =
        decision.findings().iter().filter(|finding| finding.effect == Effect::Deny).collect();
    let is_told = reason.is_about_agreements() || reason == Reason::RoleMissing;
    let detail = match decision.decisive().filter(|_| is_told) {
        // It is said first that no order is on its way, or a program would repeat the request to find out.
        Some(finding) if reason == Reason::AgreementUnrecorded => {
            let nothing = denial.language.text("detail.nothing_ordered", &[]);
            format!("{nothing} {}", finding_text(denial, finding))
        }
        Some(finding) => finding_text(denial, finding),
        None => {
            let text = denial.language.text(&format!("detail.{reason}{}", left_open(denial, reason)), &[]);
            match decision.detail() {
                // The exact fault is of use to the author of the client.
                Some(found) => format!("{text} ({found})"),
                None => text,
            }
        }
    };
    let findings: Vec<ProblemFinding> = told.iter().map(|finding| problem_finding(denial, finding)).collect();
    let data = told.iter().zip(&findings).map(|(finding, shown)| Told {
        what: finding_text(denial, finding),
        lines: finding.lines,
        who: shown.who.clone(),
        action: shown.action.clone(),
    });
    Problem {
        r#type: format!("urn:countersign:{}", reason.as_str().replace('_', "-")),
        title: denial.language.text(&format!("title.{reason}"), &[]),
        status: reason.status(denial.policy.unrecorded_status),
        description: detail.clone(),
        detail,
        code: denial.policy.fault_code(decision, reason),
        data: data::texts(denial.language, denial.request.map_or(&[], |request| &request.lines), data),
        source: "Countersign",
        decision_id: denial.id,
        retry_after: retry_after(decision, reason),
        findings,
    }
}

/// The variant of a reason's text that says what may have come of a request without an answer.
fn left_open(denial: &Denial<'_>, reason: Reason) -> &'static str {
    if !matches!(reason, Reason::UpstreamInterrupted | Reason::UpstreamInvalid | Reason::UpstreamTimeout) {
        return "";
    }
    let class = denial.request.map_or(Class::Read, |request| request.class);
    match class {
        Class::Change | Class::Increase | Class::Purchase => "",
        Class::Read => ".read",
        _ if Method::parse(denial.method).is_some_and(Method::is_read) => ".read",
        // A draft orders nothing: its checkout does.
        Class::Draft | Class::WindDown | Class::Administration | Class::Cure => ".change",
    }
}

/// Seconds after which asking again may help. A look-up that was only too slow goes on, and may be over by then.
fn retry_after(decision: &Decision, reason: Reason) -> Option<u32> {
    match decision.decisive().map(|finding| finding.outcome) {
        Some(Outcome::Unknown(Failure::Deadline | Failure::NotAsked)) => Some(2),
        _ => reason.retry_after(),
    }
}

fn problem_finding<'a>(denial: &Denial<'a>, finding: &Finding) -> ProblemFinding<'a> {
    let key = finding.need.map(|need| denial.needs[need].key);
    let lines = denial.request.map_or(&[][..], |request| &request.lines);
    let (who, action) = who(denial.policy, denial.caller, denial.language, finding, key.map(|key| key.party));
    ProblemFinding {
        rule: &denial.policy.rules[finding.rule].name,
        reason: finding.outcome.reason().as_str(),
        agreement: key.map(|key| key.agreement.to_string()),
        party: key.map(|key| key.party.kind().as_str()),
        id: key.and_then(|key| shown(denial, &key.party)),
        lines: finding.lines.iter().filter_map(|line| Some(lines.get(line)?.at.as_str())).collect(),
        observed_at: finding.fact.map(|fact| fact.observed_at.to_string()),
        who,
        action,
    }
}

/// An answer names nothing that its caller did not send: a reseller is not told who bills it.
pub fn shown_id(caller: Option<&Caller>, party: &Party) -> Option<String> {
    let hidden = matches!(party, Party::Partner(_)) && caller.is_some_and(Caller::is_reseller);
    (!hidden).then(|| party.to_string())
}

/// The id of a party as it is told to the caller. Whom a cart names that was read here, a reseller may not have put there.
fn shown(denial: &Denial<'_>, party: &Party) -> Option<String> {
    let was_read = denial.request.is_some_and(|request| request.read.is_some());
    let is_hidden = denial.caller.is_some_and(|caller| {
        let is_other = |ids: &PartnerIds| ids.tenant != Some(caller.partner.tenant);
        was_read && caller.is_reseller() && matches!(party, Party::Reseller(ids) if is_other(ids))
    });
    if is_hidden { None } else { shown_id(denial.caller, party) }
}

/// What a finding says, in the caller's language.
fn finding_text(denial: &Denial<'_>, finding: &Finding) -> String {
    let Some(need) = finding.need else {
        return match finding.outcome {
            Outcome::Unknown(Failure::Unread) => denial.language.text("detail.never_read", &[]),
            Outcome::Unknown(_) => denial.language.text("detail.unread", &[]),
            _ => role_text(denial, finding),
        };
    };
    let key = denial.needs[need].key;
    let absence = match finding.fact.map(|fact| fact.status) {
        Some(Status::Missing(absence)) => absence,
        _ => Absence::NotAccepted,
    };
    let group = match finding.outcome.reason() {
        Reason::AgreementMissing if absence != Absence::NotAccepted => absence.as_str(),
        Reason::AgreementMissing => "missing",
        Reason::AgreementTooOld => "too_old",
        Reason::AgreementUnrecorded => "unrecorded",
        _ => "unknown",
    };
    let party = shown(denial, &key.party).unwrap_or_else(|| {
        let hidden = if key.party.kind() == PartyKind::Partner { "billing_partner" } else { "named_there" };
        denial.language.text(&format!("detail.{hidden}"), &[])
    });
    let since = denial.policy.rules[finding.rule]
        .requires
        .as_ref()
        .and_then(|requirement| requirement.accepted_since)
        .map_or_else(String::new, |since| since.strftime("%Y-%m-%d").to_string());
    let agreement = agreement_name(denial.language, key.agreement.as_str());
    let fill = [("party", party.as_str()), ("agreement", agreement.as_str()), ("since", since.as_str())];
    let (agreement, kind) = (key.agreement, key.party.kind());
    // A standing is not signed: an agreement may have texts of its own.
    let own = format!("detail.{agreement}.{group}.{kind}");
    match denial.language.find(&own) {
        Some(_) => denial.language.text(&own, &fill),
        None => denial.language.text(&format!("detail.{group}.{kind}"), &fill),
    }
}

/// Which roles would do, and why a caller in many groups may seem to have none.
fn role_text(denial: &Denial<'_>, finding: &Finding) -> String {
    let accepted = denial.policy.rules[finding.rule].roles.unwrap_or(NameSet::EMPTY);
    let accepted: Vec<&str> = denial.policy.roles.of(accepted).collect();
    let text = denial.language.text("detail.role_missing", &[("roles", &accepted.join(", "))]);
    match denial.roles_left_out {
        true => format!("{text} {}", denial.language.text("detail.groups_overage", &[])),
        false => text,
    }
}

/// True where a finding is about whoever a resource names that could not be read.
fn is_unread(finding: &Finding) -> bool {
    finding.need.is_none() && matches!(finding.outcome, Outcome::Unknown(_))
}

/// An agreement's name in the caller's language; one without a text is called by its name in configuration.
pub fn agreement_name(language: Language<'_>, agreement: &str) -> String {
    language.find(&format!("agreement.{agreement}")).unwrap_or(agreement).to_owned()
}

/// Who can act on a finding, and where. Only a global administrator is told where to sign the partner agreement.
pub fn who(
    policy: &Policy,
    caller: Option<&Caller>,
    language: Language<'_>,
    finding: &Finding,
    party: Option<Party>,
) -> (String, Option<String>) {
    if is_unread(finding) {
        let is_never = finding.outcome == Outcome::Unknown(Failure::Unread);
        return (language.text(if is_never { "who.never_read" } else { "who.unread" }, &[]), None);
    }
    let Some((party, requirement)) = party.zip(policy.rules[finding.rule].requires.as_ref()) else {
        return (language.text("who.role", &[]), None);
    };
    // Whoever would sign may have signed: only what is definitely missing names a signer.
    match finding.outcome.reason() {
        Reason::AgreementUnrecorded => return (language.text("who.unrecorded", &[]), None),
        Reason::AgreementUnknown => return (language.text("who.unknown", &[]), None),
        _ => {}
    }
    let is_admin = caller
        .is_some_and(|caller| policy.roles.find(GLOBAL_ADMIN).is_some_and(|admin| caller.roles.meets(admin)));
    let is_own = match party {
        Party::Partner(_) => caller.is_none_or(|caller| !caller.is_reseller()),
        Party::Reseller(ids) => caller.is_some_and(|caller| ids.tenant == Some(caller.partner.tenant)),
        Party::Customer(_) => false,
    };
    match (requirement.agreement, party.kind()) {
        (MPA, _) if is_own && is_admin => {
            (language.text("who.mpa.global_admin", &[]), Some(MPA_ACTION.to_owned()))
        }
        (MPA, PartyKind::Reseller) if !is_own => (language.text("who.mpa.reseller", &[]), None),
        (MPA, _) => (language.text("who.mpa.other", &[]), None),
        (MCA, PartyKind::Customer) => (language.text("who.mca.customer", &[]), Some(MCA_ACTION.to_owned())),
        (STANDING, PartyKind::Reseller) => (language.text("who.standing", &[]), None),
        (agreement, _) => {
            let info = policy.agreements.iter().find(|info| info.name == agreement);
            (language.text("who.agreement", &[]), info.and_then(|info| info.action.clone()))
        }
    }
}

/// True where a rule is in force already: then it is a draft that it was not held against.
fn is_due(rule: &Rule, denial: &Denial<'_>) -> bool {
    denial.request.is_some_and(|request| request.class == Class::Draft)
        && rule.phase(denial.at) == Phase::Enforced
}

/// The notice of an allowed request: what will be required soon, and which waivers end soon. A header value is ASCII,
/// so letters outside it are percent-encoded as UTF-8.
pub fn notice(denial: &Denial<'_>) -> Option<HeaderValue> {
    let mut texts: Vec<String> = Vec::new();
    for finding in denial.decision.findings().iter().filter(|finding| finding.effect == Effect::Notice) {
        let rule = &denial.policy.rules[finding.rule];
        // About an agreement of a party, or about the caller's roles.
        let key = finding.need.map(|need| denial.needs[need].key);
        let agreement =
            key.map_or_else(String::new, |key| agreement_name(denial.language, key.agreement.as_str()));
        let party = key.map_or_else(String::new, |key| {
            denial.language.text(&format!("notice.party.{}", key.party.kind()), &[])
        });
        let day = |at: jiff::Timestamp| at.strftime("%Y-%m-%d").to_string();
        let (text_key, since, until) = match finding.outcome {
            Outcome::Waived(until) if key.is_none() => ("notice.waiver_role", String::new(), day(until)),
            Outcome::Waived(until) => ("notice.waiver", String::new(), day(until)),
            _ if is_unread(finding) => ("notice.unread_resellers", String::new(), String::new()),
            _ if is_due(rule, denial) => ("notice.draft", String::new(), String::new()),
            _ if key.is_none() => {
                ("notice.role", rule.enforce_from.map_or_else(String::new, day), String::new())
            }
            _ => ("notice.missing", rule.enforce_from.map_or_else(String::new, day), String::new()),
        };
        let fill = [
            ("agreement", agreement.as_str()),
            ("party", party.as_str()),
            ("since", since.as_str()),
            ("until", until.as_str()),
        ];
        let text = format!("{}: {}", rule.name, denial.language.text(text_key, &fill));
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    if let Some((request, notice)) = denial.request.and_then(|request| Some((request, request.notice?))) {
        let operation = &denial.policy.operations[request.operation.index()].name;
        texts.push(format!("{operation}: {}", denial.language.text(&format!("notice.{notice}"), &[])));
    }
    if texts.is_empty() {
        return None;
    }
    const OUTSIDE: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS.add(b'%');
    let text = percent_encoding::utf8_percent_encode(&texts.join("; "), OUTSIDE).to_string();
    HeaderValue::from_str(&text).ok()
}
