//! Endpoints: how the requests of one route are read, and where their facts are.

use crate::policy::operation::{Class, OperationId, Resource};
use crate::policy::pattern::Pattern;
use crate::policy::shape::{Changes, Member, Shape};

/// A route: one path template with its methods, and how its requests are read.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The operation of a request that no shape covers.
    pub operation: OperationId,
    /// The class of that.
    pub class: Class,
    /// Weaker readings, at most 32.
    pub shapes: Vec<Shape>,
    /// Members that may stand beside those of any shape with such a value, and then change nothing.
    pub neutral: Vec<Member>,
    /// True where a top-level `null` says no more than a member that is left out.
    pub nulls_absent: bool,
    /// The top-level member that repeats the last segment of the path.
    pub repeats_id: Option<String>,
    /// True where its requests say all of a resource (PUT), so that what is left out is changed too.
    pub replaces: bool,
    /// The places of its facts.
    pub locations: Locations,
    /// The resource that would have to be read to know more.
    pub reads: Option<Resource>,
    /// The number of the path's last segments that stand below that resource; none where the path names it.
    pub reads_above: usize,
    /// True where it is about something that may name resellers and can not be read.
    pub names_unseen: bool,
    /// Readings of members that no shape lists.
    pub changes: Vec<Changes>,
    /// Members of the resource that are gone when they are left out.
    pub wiped: Vec<String>,
    /// Members that only the upstream sets: what is sent of them changes nothing.
    pub read_only: Vec<String>,
    /// True where a request without a body can not be read.
    pub body_required: bool,
}

/// The place that names a request's customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CustomerAt {
    /// Nowhere: the operation has none.
    Nowhere,
    /// In the segment of that number.
    Segment(usize),
    /// In the body.
    Body(Pattern),
}

/// The places of a request's facts in its path and body.
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
    /// True where the body has to be read before the verdict.
    pub fn is_judged(&self) -> bool {
        self.class.is_gated()
    }
}
