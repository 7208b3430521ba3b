//! Router: the endpoint of a method and path, from templates of paths.

use crate::policy::operation::Method;
use crate::policy::path::Path;

/// A tree of path templates.
#[derive(Clone, Debug, Default)]
pub struct Router {
    root: Node,
}

#[derive(Clone, Debug, Default)]
struct Node {
    literals: Vec<(String, Node)>,
    parameter: Option<Box<Node>>,
    endpoints: Vec<(Method, usize)>,
    customer_writes: Option<usize>,
}

/// A segment of a path template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// This text, in either letter case.
    Literal(String),
    /// Anything; the name is for people and for `{customer}`.
    Parameter(String),
}

/// Reads a path template such as `/v1/customers/{customer}/orders`; `None` when it is malformed.
pub fn parse_template(text: &str) -> Option<Vec<Segment>> {
    let tail = text.strip_prefix('/')?;
    let segments = tail.strip_suffix('/').unwrap_or(tail).split('/').map(|segment| {
        if let Some(name) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            return (!name.is_empty() && !name.contains(['{', '}']))
                .then(|| Segment::Parameter(name.to_owned()));
        }
        let plain = !segment.is_empty()
            && segment
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'$'))
            && segment.bytes().any(|byte| byte != b'.');
        plain.then(|| Segment::Literal(segment.to_ascii_lowercase()))
    });
    segments.collect()
}

impl Router {
    /// Adds a template for a method; the index of the one that stands there already is the error.
    pub fn insert(&mut self, method: Method, template: &[Segment], endpoint: usize) -> Result<(), usize> {
        let node = self.node(template);
        if let Some((_, taken)) = node.endpoints.iter().find(|(known, _)| *known == method) {
            return Err(*taken);
        }
        node.endpoints.push((method, endpoint));
        Ok(())
    }

    /// Says that what lies at or below a template is about the customer that the endpoint's locations name.
    pub fn insert_customer_path(&mut self, template: &[Segment], endpoint: usize) {
        self.node(template).customer_writes = Some(endpoint);
    }

    fn node(&mut self, template: &[Segment]) -> &mut Node {
        let mut node = &mut self.root;
        for segment in template {
            node = match segment {
                Segment::Parameter(_) => node.parameter.get_or_insert_default(),
                Segment::Literal(text) => {
                    let at = node.literals.iter().position(|(known, _)| known == text).unwrap_or_else(|| {
                        node.literals.push((text.clone(), Node::default()));
                        node.literals.len() - 1
                    });
                    &mut node.literals[at].1
                }
            };
        }
        node
    }

    /// The endpoint of a method and path. Literal segments win over parameters.
    pub fn find(&self, method: Method, path: &Path<'_>) -> Option<usize> {
        find(&self.root, method, path, 0)
    }

    /// The endpoint for writes below the longest customer path that the path starts with.
    pub fn find_customer_path(&self, path: &Path<'_>) -> Option<usize> {
        find_customer(&self.root, path, 0)
    }
}

fn find(node: &Node, method: Method, path: &Path<'_>, at: usize) -> Option<usize> {
    if at == path.len() {
        return node.endpoints.iter().find(|(known, _)| *known == method).map(|(_, endpoint)| *endpoint);
    }
    let segment = path.segment(at);
    let literal = node.literals.iter().find(|(text, _)| text.eq_ignore_ascii_case(segment));
    literal
        .and_then(|(_, next)| find(next, method, path, at + 1))
        .or_else(|| node.parameter.as_ref().and_then(|next| find(next, method, path, at + 1)))
}

fn find_customer(node: &Node, path: &Path<'_>, at: usize) -> Option<usize> {
    let deeper = (at < path.len()).then(|| path.segment(at)).and_then(|segment| {
        let literal = node.literals.iter().find(|(text, _)| text.eq_ignore_ascii_case(segment));
        literal
            .and_then(|(_, next)| find_customer(next, path, at + 1))
            .or_else(|| node.parameter.as_ref().and_then(|next| find_customer(next, path, at + 1)))
    });
    deeper.or(node.customer_writes)
}
