//! Classification: which operation a request is, from the members of its body and, once it is read, from its resource.

use crate::extract::compare::same;
use crate::extract::json::{Document, Node, Value};
use crate::extract::sent::Sent;
use crate::policy::endpoint::Endpoint;
use crate::policy::facts::{Line, Product};
use crate::policy::id::{Guid, PartnerRef};
use crate::policy::operation::{Class, OperationId};
use crate::policy::role::NameSet;
use crate::policy::shape::{Allowed, Change, Changes, Member, Notice, Objects, Shape, Unread};

/// A body with what its members are held against.
pub struct Body<'a> {
    /// Its endpoint.
    pub endpoint: &'a Endpoint,
    /// The request that it came with.
    pub sent: &'a Sent<'a>,
    /// The body.
    pub document: &'a Document<'a>,
    /// True where it names a reseller anywhere.
    pub names_reseller: bool,
    /// The resource that it is about, once it is read.
    pub resource: Option<Resource<'a>>,
}

/// A resource that was read.
#[derive(Clone, Copy)]
pub struct Resource<'a> {
    /// Its text.
    pub document: &'a Document<'a>,
    /// Its lines.
    pub lines: &'a [Line],
}

/// The operation that a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The operation.
    pub operation: OperationId,
    /// The class.
    pub class: Class,
    /// The notice that its caller gets.
    pub notice: Option<Notice>,
    /// True where the resource could show that it is something else.
    pub wants_resource: bool,
}

/// One thing that a member may be; of several the strongest class holds, and of these the one that is listed first.
#[derive(Clone, Copy)]
struct Candidate {
    reading: Reading,
    order: usize,
}

impl Body<'_> {
    /// Classifies the request.
    ///
    /// Every member that says something is listed by a shape, or else by a change; one that nothing lists makes it what
    /// the endpoint is by itself, which is at least as strong as any of them. Of what is listed the strongest holds: but
    /// for the members that open a shape (`when`), no further member makes a request weaker.
    pub fn read(&self) -> Reading {
        let endpoint = self.endpoint;
        let by_itself = Reading {
            operation: endpoint.operation,
            class: endpoint.class,
            notice: None,
            wants_resource: endpoint.reads.is_some(),
        };
        if endpoint.shapes.is_empty() && endpoint.changes.is_empty() {
            return by_itself;
        }
        let open: Vec<bool> = endpoint.shapes.iter().map(|shape| self.opens(shape)).collect();
        let whole = (0..open.len()).filter(|at| open[*at] && endpoint.shapes[*at].members.is_none());
        if let Some(found) = strongest(whole.map(|at| self.by_shape(at))) {
            return found.reading;
        }
        let (mut found, mut wiped): (Option<Candidate>, Option<Candidate>) = (None, None);
        for (name, node) in self.members() {
            let Some(candidate) = self.listed(&open, name, node) else { return by_itself };
            let strongest_of = if self.is_wiped(name, node) { &mut wiped } else { &mut found };
            *strongest_of = strongest(strongest_of.take().into_iter().chain([candidate]));
        }
        let ignores_wiped =
            |found: &Candidate| endpoint.shapes.get(found.order).is_some_and(|shape| shape.ignores_wiped);
        let wiped = wiped.filter(|_| !found.as_ref().is_some_and(ignores_wiped));
        if let Some(found) = strongest(found.into_iter().chain(wiped)) {
            return found.reading;
        }
        if endpoint.replaces && self.resource.is_none() {
            return by_itself;
        }
        // Nothing is asked, so that it weighs as little as any shape does.
        let idle = (0..open.len()).filter(|at| open[*at] && endpoint.shapes[*at].may_ask_nothing());
        let weakest = idle.min_by_key(|at| endpoint.shapes[*at].class).map(|at| self.by_shape(at));
        weakest.map_or(by_itself, |weakest| weakest.reading)
    }

    /// True where a member is gone by this request: left out, or null, where that wipes it.
    fn is_wiped(&self, name: &str, at: Option<usize>) -> bool {
        let is_null = at.is_none_or(|at| self.document.node(at).value == Value::Null);
        is_null && self.endpoint.wiped.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// The members that say something: those that are sent, or that differ from the resource, and those that are wiped.
    /// A member that is wiped has no node.
    fn members(&self) -> impl Iterator<Item = (&str, Option<usize>)> {
        let sent = self.document.children(0).filter_map(|(at, node)| {
            let name: &str = node.key.as_ref();
            if self.is_absent(node) || self.is_neutral(name, at) {
                return None;
            }
            let Some(resource) = self.resource else { return Some((name, Some(at))) };
            let there = resource.document.member(0, name);
            let is_read_only = self.endpoint.read_only.iter().any(|known| known.eq_ignore_ascii_case(name));
            let differs = !same(self.document, Some(at), resource.document, there);
            (differs && !is_read_only).then_some((name, Some(at)))
        });
        let wiped = self.endpoint.wiped.iter().filter_map(|name| {
            let there = self.resource?.document.member(0, name)?;
            let is_left_out = self.document.member(0, name).is_none();
            let is_there = !same(self.document, None, self.resource?.document, Some(there));
            (is_left_out && is_there).then_some((name.as_str(), None))
        });
        sent.chain(wiped)
    }

    /// True where a top-level member counts as left out: a null, where nulls are that. In a merge patch a null removes the
    /// member (RFC 7396 section 1), and so does one whose leaving out does.
    fn is_absent(&self, node: &Node<'_>) -> bool {
        node.value == Value::Null
            && self.endpoint.nulls_absent
            && !self.sent.is_merge_patch
            && !self.endpoint.wiped.iter().any(|name| name.eq_ignore_ascii_case(&node.key))
    }

    fn is_neutral(&self, name: &str, at: usize) -> bool {
        let listed = self.endpoint.neutral.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        listed.is_some_and(|(_, allowed)| self.admits(allowed, self.document, at, None))
    }

    /// True where a shape may cover anything of this body.
    fn opens(&self, shape: &Shape) -> bool {
        if shape.no_reseller && (self.names_reseller || self.sent.caller.is_reseller()) {
            return false;
        }
        let stands = |(name, allowed): &Member| {
            let member = self.document.member(0, name);
            let member = member.filter(|at| !self.is_absent(self.document.node(*at)));
            member.is_some_and(|at| self.admits(allowed, self.document, at, None))
        };
        if !shape.when.iter().all(stands) {
            return false;
        }
        match self.resource {
            None => shape.unread != Unread::Strict,
            Some(resource) => self.resource_allows(shape, resource),
        }
    }

    /// True where the resource is what a shape asks, and the body does not say otherwise.
    fn resource_allows(&self, shape: &Shape, resource: Resource<'_>) -> bool {
        let holds = |(name, allowed): &Member| {
            let Some(there) = resource.document.member(0, name) else { return false };
            let is_so = self.admits(allowed, resource.document, there, None);
            // The member that is to change differs by its nature.
            let changes = shape.members.iter().flatten().any(|(known, _)| known.eq_ignore_ascii_case(name));
            let said = self.document.member(0, name).filter(|at| !is_empty(&self.document.node(*at).value));
            let agrees = said.is_none_or(|at| same(self.document, Some(at), resource.document, Some(there)));
            is_so && (changes || agrees)
        };
        let spares = |line: &Line| match &line.product {
            Product::Unknown => false,
            Product::Named { classes, .. } => !classes.meets(shape.not_products),
        };
        let products_fit = shape.not_products == NameSet::EMPTY
            || (!resource.lines.is_empty() && resource.lines.iter().all(spares));
        shape.resource.iter().all(holds) && products_fit
    }

    fn listed(&self, open: &[bool], name: &str, at: Option<usize>) -> Option<Candidate> {
        let shapes = &self.endpoint.shapes;
        let by_shapes = at.and_then(|at| {
            let lists = |shape: &Shape| {
                let members = shape.members.iter().flatten().chain(&shape.when);
                let mut named = members.filter(|(known, _)| known.eq_ignore_ascii_case(name));
                named.any(|(_, allowed)| self.admits(allowed, self.document, at, self.there(name)))
            };
            let listing = (0..shapes.len()).filter(|shape| open[*shape] && lists(&shapes[*shape]));
            strongest(listing.map(|shape| self.by_shape(shape)))
        });
        by_shapes.or_else(|| {
            let changes = self.endpoint.changes.iter().enumerate();
            let listing = changes.filter(|(_, changes)| self.is_change(changes, name, at));
            strongest(listing.map(|(order, changes)| {
                let reading = Reading {
                    operation: changes.operation,
                    class: changes.class,
                    notice: None,
                    wants_resource: self.endpoint.reads.is_some(),
                };
                Candidate { reading, order: shapes.len() + order }
            }))
        })
    }

    fn is_change(&self, changes: &Changes, name: &str, at: Option<usize>) -> bool {
        let at = at.filter(|at| self.document.node(*at).value != Value::Null);
        // A null of what is wiped says all that there is to say of it, whatever the resource holds.
        let is_gone =
            at.is_none() && self.endpoint.wiped.iter().any(|known| known.eq_ignore_ascii_case(name));
        if self.resource.is_none() && !changes.without_reading && !is_gone {
            return false;
        }
        changes.members.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).any(
            |(_, change)| match (change, at) {
                (Change::To(Allowed::Any | Allowed::Without(_)), None) => true,
                (Change::To(allowed), Some(at)) => self.admits(allowed, self.document, at, self.there(name)),
                (Change::Lowered, Some(at)) => self.is_lowered(name, at),
                _ => false,
            },
        )
    }

    fn is_lowered(&self, name: &str, at: usize) -> bool {
        let Some((document, there)) = self.there(name) else { return false };
        let values = (&self.document.node(at).value, &document.node(there).value);
        matches!(values, (Value::Natural(sent), Value::Natural(there)) if sent < there)
    }

    fn by_shape(&self, at: usize) -> Candidate {
        let shape = &self.endpoint.shapes[at];
        // A wind-down is not read to find that it ends less: only a shape with `unread: notice` wants its resource.
        let is_unread = self.resource.is_none() && shape.unread == Unread::Notice;
        let reading = Reading {
            operation: shape.operation,
            class: shape.class,
            notice: if is_unread { Some(Notice::Unread) } else { shape.notice },
            wants_resource: is_unread && self.endpoint.reads.is_some(),
        };
        Candidate { reading, order: at }
    }

    /// The member of the resource.
    fn there(&self, name: &str) -> Option<(&Document<'_>, usize)> {
        let document = self.resource?.document;
        document.member(0, name).map(|at| (document, at))
    }

    /// True where a value is one of those; `there` is the same member of the resource.
    fn admits(
        &self,
        allowed: &Allowed,
        document: &Document<'_>,
        at: usize,
        there: Option<(&Document<'_>, usize)>,
    ) -> bool {
        let value = &document.node(at).value;
        let billing = &self.sent.caller.billing;
        match (allowed, value) {
            (Allowed::Any, _) => true,
            (Allowed::Scalar, value) => !matches!(value, Value::Object | Value::Array),
            (Allowed::OneOf(literals), _) => literals.iter().any(|literal| is_literal(literal, value)),
            (Allowed::Repeated, Value::Text(text)) => {
                let path = self.sent.path;
                (0..path.len()).any(|at| path.segment(at).eq_ignore_ascii_case(text))
            }
            (Allowed::BillingPartner, Value::Text(text)) => {
                PartnerRef::parse(text).is_some_and(|partner| billing.is(partner))
            }
            (Allowed::AnotherPartner, Value::Text(text)) => {
                Guid::parse(text).is_some_and(|tenant| tenant != billing.tenant)
            }
            (Allowed::Objects(objects), Value::Object) => self.is_one_of(objects, document, at, there),
            (Allowed::Objects(objects), Value::Array) => {
                let mut items = document.children(at);
                let all = |(at, node): (usize, &Node<'_>)| {
                    node.value == Value::Object && self.is_one_of(objects, document, at, there)
                };
                document.children(at).next().is_some() && items.all(all)
            }
            (Allowed::Without(names), _) => {
                let end = document.node(at).end as usize;
                !(at + 1..end).map(|at| document.node(at)).any(|node| {
                    node.value != Value::Null && names.iter().any(|name| name.eq_ignore_ascii_case(&node.key))
                })
            }
            _ => false,
        }
    }

    /// True where an object holds nothing but what is allowed, or what the same object of the resource holds.
    fn is_one_of(
        &self,
        objects: &Objects,
        document: &Document<'_>,
        object: usize,
        there: Option<(&Document<'_>, usize)>,
    ) -> bool {
        let has = |name: &String| {
            document.member(object, name).is_some_and(|at| document.node(at).value != Value::Null)
        };
        let counterpart = objects.key.as_ref().zip(there).and_then(|(key, (resource, list))| {
            let mut same_key = resource.children(list).map(|(at, _)| at).filter(|other| {
                let (one, other) = (document.member(object, key), resource.member(*other, key));
                one.is_some() && other.is_some() && same(document, one, resource, other)
            });
            let only = same_key.next();
            only.filter(|_| same_key.next().is_none()).map(|at| (resource, at))
        });
        let admitted = |(at, node): (usize, &Node<'_>)| {
            let listed = objects.members.iter().find(|(name, _)| name.eq_ignore_ascii_case(&node.key));
            let is_listed = listed.is_some_and(|(_, allowed)| self.admits(allowed, document, at, None));
            let is_as_it_was = || {
                counterpart.is_some_and(|(resource, there)| {
                    same(document, Some(at), resource, resource.member(there, &node.key))
                })
            };
            node.value == Value::Null || is_listed || is_as_it_was()
        };
        objects.required.iter().all(has) && document.children(object).all(admitted)
    }
}

fn strongest(candidates: impl Iterator<Item = Candidate>) -> Option<Candidate> {
    candidates.reduce(|best, next| {
        let (class, order) = (next.reading.class, next.order);
        let is_stronger = class > best.reading.class || (class == best.reading.class && order < best.order);
        if is_stronger { next } else { best }
    })
}

fn is_literal(literal: &str, value: &Value<'_>) -> bool {
    let is_number = |number: f64| literal.parse::<f64>() == Ok(number);
    match value {
        Value::Text(text) => literal.eq_ignore_ascii_case(text),
        Value::Bool(flag) => literal == if *flag { "true" } else { "false" },
        Value::Natural(number) => is_number(*number as f64),
        Value::Number(number) => is_number(*number),
        _ => false,
    }
}

/// True where a value says nothing.
pub fn is_empty(value: &Value<'_>) -> bool {
    match value {
        Value::Null => true,
        Value::Text(text) => text.is_empty(),
        _ => false,
    }
}
