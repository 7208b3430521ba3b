//! Shapes: which members of a body, with which values, make a request weaker than its endpoint by itself.

use crate::policy::agreement::named_enum;
use crate::policy::operation::{Class, OperationId};
use crate::policy::role::NameSet;

/// A member by its name, compared without regard to case, with the values that it may have.
pub type Member = (String, Allowed);

/// The values that a member may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Anything.
    Any,
    /// One of these texts (compared without regard to case), numbers (compared by value) or literals such as `false`.
    OneOf(Vec<String>),
    /// A text, a number, `true` or `false`: nothing that could hold more.
    Scalar,
    /// The text of one of the path's segments.
    Repeated,
    /// An id of the billing partner.
    BillingPartner,
    /// The tenant of a partner that is not billed.
    AnotherPartner,
    /// An object, or a list of at least one object, of which each holds these members and no others.
    Objects(Objects),
    /// Anything below which no member of these names has a value.
    Without(Vec<String>),
}

/// The objects that a member may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objects {
    /// The members of each. A null is a member that is not there.
    pub members: Vec<Member>,
    /// Those that each has to have.
    pub required: Vec<String>,
    /// The member that tells which object of the resource is the same one: what equals that object may stand there too.
    pub key: Option<String>,
}

named_enum! {
    /// The reading of a shape whose resource was not read.
    Unread {
        /// It holds: the resource could not change it.
        Holds = "holds",
        /// It holds, and the caller is told that the resource was not read.
        Notice = "notice",
        /// It does not hold.
        Strict = "strict",
    }
}

named_enum! {
    /// A notice on a request that is never gated.
    Notice {
        /// At the end of the term it buys an extension (Partner Center, "Extended service terms").
        Extension = "extension",
        /// Its further effects were not read.
        Unread = "unread",
    }
}

/// A closed body shape: a weaker reading of a request, open only to bodies that hold nothing else.
#[derive(Clone, Debug)]
pub struct Shape {
    /// The operation that a body of this shape is.
    pub operation: OperationId,
    /// Its class.
    pub class: Class,
    /// Members that all have to stand there with such a value; without them the shape covers nothing.
    pub when: Vec<Member>,
    /// Members that may stand there; `None` for any.
    pub members: Option<Vec<Member>>,
    /// Members that the resource has to hold, once it is read; the body must not contradict them.
    pub resource: Vec<Member>,
    /// Classes of products of which the resource must hold none.
    pub not_products: NameSet,
    /// Its reading where its resource was not read.
    pub unread: Unread,
    /// True where what it leaves out, and so wipes, matters nothing beside it.
    pub ignores_wiped: bool,
    /// True where it is closed to callers that are resellers and to bodies that name one.
    pub no_reseller: bool,
    /// The notice that the caller gets.
    pub notice: Option<Notice>,
}

impl Shape {
    /// True where it depends on what the resource holds.
    pub fn asks_resource(&self) -> bool {
        !self.resource.is_empty() || self.not_products != NameSet::EMPTY
    }

    /// True where a body that asks nothing may be taken for it.
    pub fn may_ask_nothing(&self) -> bool {
        self.members.is_some() && !self.asks_resource() && !self.no_reseller
    }
}

/// The value that a changed member of a resource may have come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// One of these values, or none at all where they are any.
    To(Allowed),
    /// A smaller number.
    Lowered,
}

/// A reading of changed members that no shape lists.
#[derive(Clone, Debug)]
pub struct Changes {
    /// The operation that such a request is.
    pub operation: OperationId,
    /// Its class.
    pub class: Class,
    /// True where they are told from the body alone where the resource was not read.
    pub without_reading: bool,
    /// The members that it is about.
    pub members: Vec<(String, Change)>,
}
