//! Operations: what a request is, from its method, its path and the shape of its body.

use crate::policy::agreement::named_enum;
use crate::policy::pattern::Pattern;

named_enum! {
    /// The kind of an operation, weakest first: what a later class needs, an earlier one never needs more of.
    Class {
        /// Only reads. Never gated.
        Read = "read",
        /// Lifts a block. Never gated.
        Cure = "cure",
        /// Changes nothing that is bought. Never gated.
        Administration = "administration",
        /// Ends or reduces a purchase. Never gated.
        WindDown = "wind_down",
        /// Prepares a purchase; judged as one, because a checkout carries no body.
        Draft = "draft",
        /// Changes a purchase without raising it.
        Change = "change",
        /// Raises a purchase.
        Increase = "increase",
        /// Buys.
        Purchase = "purchase",
    }
}

impl Class {
    /// Whether agreements may be asked for it.
    pub const fn is_gated(self) -> bool {
        matches!(self, Class::Draft | Class::Change | Class::Increase | Class::Purchase)
    }
}

/// A set of classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassSet(u8);

impl ClassSet {
    /// The set with one more class. A draft is judged wherever a purchase is.
    #[must_use]
    pub fn with(self, class: Class) -> ClassSet {
        let draft = if class == Class::Purchase { 1 << Class::Draft as u8 } else { 0 };
        ClassSet(self.0 | 1 << class as u8 | draft)
    }

    /// Whether the class is in it.
    pub fn holds(self, class: Class) -> bool {
        self.0 >> class as u8 & 1 == 1
    }
}

/// A request method that may be forwarded (RFC 9110 section 9, RFC 5789).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

impl Method {
    /// The method of that exact name; methods are case-sensitive, and any other is refused.
    pub fn parse(text: &str) -> Option<Method> {
        Some(match text {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "PATCH" => Method::Patch,
            "DELETE" => Method::Delete,
            "OPTIONS" => Method::Options,
            _ => return None,
        })
    }

    /// Whether it only reads.
    pub fn is_read(self) -> bool {
        matches!(self, Method::Get | Method::Head)
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
            Method::Options => "OPTIONS",
        }
    }
}

/// Dense number of an operation within one policy; metrics and rule indexes are arrays over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperationId(pub u16);

impl OperationId {
    /// Any GET or HEAD that no operation lists.
    pub const READ: OperationId = OperationId(0);
    /// Any write that no operation lists.
    pub const UNLISTED: OperationId = OperationId(1);
    /// OPTIONS.
    pub const OPTIONS: OperationId = OperationId(2);
    /// The gateway's own `/.countersign/` paths.
    pub const OWN: OperationId = OperationId(3);
    /// Requests refused before their operation was known.
    pub const UNKNOWN: OperationId = OperationId(4);

    /// The names and classes of these, in order.
    pub const BUILT_IN: [(&'static str, Class); 5] = [
        ("read", Class::Read),
        ("unlisted", Class::Purchase),
        ("options", Class::Read),
        ("countersign", Class::Read),
        ("unknown", Class::Purchase),
    ];

    /// As an index.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Name and class of an operation.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The name in configuration, records and metrics.
    pub name: String,
    /// Its class.
    pub class: Class,
}

named_enum! {
    /// A resource that would have to be read to know what a request does.
    Resource {
        /// The cart that is checked out.
        Cart = "cart",
        /// The subscription that is changed.
        Subscription = "subscription",
        /// The transfer that is accepted.
        Transfer = "transfer",
    }
}

/// What a value in a body shape may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Anything.
    Any,
    /// One of these texts (compared without regard to case) or literals such as `false`.
    OneOf(Vec<String>),
}

/// The value of a top-level member, as far as shapes look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar<'a> {
    /// A string.
    Text(&'a str),
    /// `true` or `false`.
    Bool(bool),
    /// Anything else.
    Other,
}

impl Allowed {
    fn admits(&self, value: Scalar<'_>) -> bool {
        let Allowed::OneOf(literals) = self else { return true };
        literals.iter().any(|literal| match value {
            Scalar::Text(text) => literal.eq_ignore_ascii_case(text),
            Scalar::Bool(flag) => literal == if flag { "true" } else { "false" },
            Scalar::Other => false,
        })
    }
}

/// A closed body shape: a weaker reading of a request, open only to bodies that hold nothing else.
#[derive(Clone, Debug)]
pub struct Shape {
    /// The operation that a body of this shape is.
    pub operation: OperationId,
    /// Its class.
    pub class: Class,
    /// The members that make it this shape.
    pub members: Vec<(String, Allowed)>,
}

/// What a changed member of a resource may have come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// One of these values.
    To(Allowed),
    /// A smaller number.
    Lowered,
}

/// What some changes of a resource are, where what is sent was held against what is there.
#[derive(Clone, Debug)]
pub struct Changes {
    /// The operation that such a request is.
    pub operation: OperationId,
    /// Its class.
    pub class: Class,
    /// The members that it is about.
    pub members: Vec<(String, Change)>,
}

/// A member that differs from what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is to be.
    pub to: Scalar<'a>,
    /// Whether it is a number that becomes smaller.
    pub is_lowered: bool,
}

/// A route: one path template with its methods, and how its requests are read.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// What a request is when no shape covers its body.
    pub operation: OperationId,
    /// The class of that.
    pub class: Class,
    /// Weaker readings, at most 32.
    pub shapes: Vec<Shape>,
    /// Members that may stand beside those of any shape and change nothing.
    pub neutral: Vec<String>,
    /// Whether its requests say all of a resource (PUT), so that what is left out is changed too.
    pub replaces: bool,
    /// Where it finds its facts.
    pub locations: Locations,
    /// What would have to be read to know more.
    pub reads: Option<Resource>,
    /// What changes are, once the resource is read, beside what shapes say.
    pub changes: Vec<Changes>,
    /// Members of the resource that are gone when they are left out.
    pub wiped: Vec<String>,
    /// Members that only the upstream sets: what is sent of them changes nothing.
    pub read_only: Vec<String>,
    /// Whether a request without a body can not be read.
    pub body_required: bool,
}

/// Where a request's customer is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CustomerAt {
    /// Nowhere: the operation has none.
    Nowhere,
    /// In the segment of that number.
    Segment(usize),
    /// In the body.
    Body(Pattern),
}

/// Where the facts of a request are found in its path and body.
#[derive(Clone, Debug)]
pub struct Locations {
    /// The customer.
    pub customer: CustomerAt,
    /// The lines; several patterns where lines nest.
    pub lines: Vec<Pattern>,
    /// Product ids, from the line; the parts of one id are joined by `:`.
    pub products: Vec<Vec<Pattern>>,
    /// Resellers, from the line, beside the members that name one anywhere.
    pub resellers: Vec<Pattern>,
}

impl Locations {
    /// Nothing but the customer.
    pub fn of_customer(customer: CustomerAt) -> Locations {
        Locations { customer, lines: Vec::new(), products: Vec::new(), resellers: Vec::new() }
    }
}

impl Endpoint {
    /// Whether the body has to be read before the verdict.
    pub fn is_judged(&self) -> bool {
        self.class.is_gated()
    }

    /// Which operation a body is, from its top-level members.
    ///
    /// A shape covers a body whose every member is one of its own or neutral. Where none covers it, it is what the
    /// endpoint is by default, which is at least as strong as every shape. Else each member weighs as much as the
    /// strongest shape that lists it, and the strongest member decides: adding a member never weakens the class.
    pub fn classify<'b>(
        &self,
        members: impl Iterator<Item = (&'b str, Scalar<'b>)>,
    ) -> (OperationId, Class, bool) {
        let default = (self.operation, self.class, true);
        if self.shapes.is_empty() {
            return default;
        }
        let mut covering = u32::MAX >> (32 - self.shapes.len() as u32);
        let mut class = None;
        for (name, value) in members {
            if self.neutral.iter().any(|neutral| neutral.eq_ignore_ascii_case(name)) {
                continue;
            }
            let mut listed = 0u32;
            for (at, shape) in self.shapes.iter().enumerate() {
                if shape.lists(name, value) {
                    listed |= 1 << at;
                    class = class.max(Some(shape.class));
                }
            }
            covering &= listed;
        }
        if class.is_none() && self.replaces {
            return default;
        }
        // Only neutral members: nothing is asked, so it weighs as little as any shape does.
        let class = class.or_else(|| self.shapes.iter().map(|shape| shape.class).min());
        let mut covering =
            self.shapes.iter().enumerate().filter(|(at, _)| covering >> at & 1 == 1).map(|(_, shape)| shape);
        let Some(first) = covering.next() else { return default };
        let named =
            std::iter::once(first).chain(covering).find(|shape| Some(shape.class) == class).unwrap_or(first);
        (named.operation, class.unwrap_or(self.class), false)
    }
}

impl Endpoint {
    /// Which operation some changes of the resource are. Each weighs as much as the strongest of what lists it, one that
    /// nothing lists as much as the endpoint by itself; the strongest decides.
    pub fn classify_changes<'b>(
        &self,
        differences: impl Iterator<Item = Difference<'b>>,
    ) -> (OperationId, Class) {
        let weakest = self.shapes.iter().min_by_key(|shape| shape.class);
        let mut found = weakest.map_or((self.operation, self.class), |shape| (shape.operation, shape.class));
        let mut is_first = true;
        for difference in differences {
            let ignored =
                |names: &[String]| names.iter().any(|name| name.eq_ignore_ascii_case(difference.name));
            if ignored(&self.neutral) || ignored(&self.read_only) {
                continue;
            }
            let by_shape = self
                .shapes
                .iter()
                .filter(|shape| shape.lists(difference.name, difference.to))
                .map(|shape| (shape.operation, shape.class));
            let by_change = self
                .changes
                .iter()
                .filter(|changes| changes.lists(&difference))
                .map(|changes| (changes.operation, changes.class));
            let listed = by_shape.chain(by_change).max_by_key(|(_, class)| *class);
            let weighs = listed.unwrap_or((self.operation, self.class));
            if is_first || weighs.1 > found.1 {
                found = weighs;
            }
            is_first = false;
        }
        found
    }
}

impl Changes {
    fn lists(&self, difference: &Difference<'_>) -> bool {
        self.members.iter().any(|(member, change)| {
            member.eq_ignore_ascii_case(difference.name)
                && match change {
                    Change::To(allowed) => allowed.admits(difference.to),
                    Change::Lowered => difference.is_lowered,
                }
        })
    }
}

impl Shape {
    fn lists(&self, name: &str, value: Scalar<'_>) -> bool {
        self.members
            .iter()
            .any(|(member, allowed)| member.eq_ignore_ascii_case(name) && allowed.admits(value))
    }
}
