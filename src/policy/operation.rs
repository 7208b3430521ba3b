//! Operations: what a request is, from its method, its path and the shape of its body.

use crate::policy::agreement::named_enum;

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
        /// The transfer that is accepted or changed.
        Transfer = "transfer",
        /// The order that is changed.
        Order = "order",
    }
}
