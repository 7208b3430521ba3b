//! Operations: from configuration to endpoints and their routes.

use crate::config::node::{Node, Value};
use crate::config::policy::learning;
use crate::config::policy::places::{pattern, product};
use crate::config::read::{Reader, quoted};
use crate::policy::learning::Learning;
use crate::policy::operation::{
    Allowed, Change, Changes, Class, CustomerAt, Endpoint, Locations, Method, Operation, OperationId,
    Resource, Shape,
};
use crate::policy::router::{Router, Segment, parse_template};

/// Operations, endpoints and routes while they are read.
pub struct Operations {
    /// Every operation so far.
    pub operations: Vec<Operation>,
    /// Every endpoint so far.
    pub endpoints: Vec<Endpoint>,
    /// Every route so far.
    pub router: Router,
    /// What answers tell, by operation.
    pub learning: Vec<(OperationId, Learning)>,
}

const CLASSES: &[&str] =
    &["purchase", "increase", "change", "draft", "wind_down", "administration", "cure", "read"];

impl Operations {
    /// Reads `operations` and `customer_paths`.
    pub fn read(reader: &Reader, operations: Option<&Node>, customer_paths: Option<&Node>) -> Operations {
        let built_in = OperationId::BUILT_IN
            .iter()
            .map(|(name, class)| Operation { name: (*name).to_owned(), class: *class })
            .collect();
        let mut read = Operations {
            operations: built_in,
            endpoints: Vec::new(),
            router: Router::default(),
            learning: Vec::new(),
        };
        if let Some(node) = operations {
            reader.list(node, |item| {
                read.operation(reader, item);
                Some(())
            });
        }
        if let Some(node) = customer_paths {
            reader.list(node, |item| {
                read.customer_path(reader, item);
                Some(())
            });
        }
        read
    }

    fn operation(&mut self, reader: &Reader, node: &Node) -> Option<()> {
        let section = reader.section(node)?;
        let name = section.require("name", |node| reader.text(node));
        let routes = section.require("match", |node| reader.list(node, |item| route(reader, item)));
        let class = section.require("class", |node| reader.choice(node, Class::parse, CLASSES));
        let lines = section.get("lines", |node| reader.list(node, |item| pattern(reader, item)));
        let products = section.get("product", |node| reader.list(node, |item| product(reader, item)));
        let resellers = section.get("resellers", |node| reader.list(node, |item| pattern(reader, item)));
        let neutral = section.get("neutral", |node| reader.list(node, |item| reader.text(item)));
        let reads = section.get("reads", |node| {
            let names: Vec<&str> = Resource::ALL.iter().map(|resource| resource.as_str()).collect();
            reader.choice(node, Resource::parse, &names)
        });
        let body = section.get("body", |node| {
            let parse = |text: &str| match text {
                "required" => Some(true),
                "optional" => Some(false),
                _ => None,
            };
            reader.choice(node, parse, &["required", "optional"])
        });
        let wiped = section.get("wiped", |node| reader.list(node, |item| reader.text(item)));
        let read_only = section.get("read_only", |node| reader.list(node, |item| reader.text(item)));
        let customer_node = section.node("customer");
        let shapes_node = section.node("shapes");
        let changes_node = section.node("changes");
        let learns_node = section.node("learns");
        section.finish();

        let (name, routes, class) = (name?, routes?, class?);
        let operation = self.add(reader, node, name, class)?;
        let customer = match customer_node {
            None => customer_of(reader, node, &routes, class)?,
            Some(node) => match &node.value {
                Value::Text(text) if text == "none" => CustomerAt::Nowhere,
                _ => CustomerAt::Body(pattern(reader, node)?),
            },
        };
        let shapes = match shapes_node {
            Some(node) => reader.list(node, |item| self.shape(reader, item, class))?,
            None => Vec::new(),
        };
        let changes = match changes_node {
            Some(node) => reader.list(node, |item| self.changes(reader, item, class))?,
            None => Vec::new(),
        };
        if reads.is_none()
            && let Some(node) = changes_node
        {
            let hint = "add `reads: subscription`".to_owned();
            reader.error(node.span, "changes show only beside what is there", Some(hint));
        }
        if let Some(node) = learns_node
            && let Some(learning) = learning::learning(reader, node, &customer)
        {
            self.learning.push((operation, learning));
        }
        if shapes.len() > 32 {
            reader.error(node.span, "an operation has at most 32 shapes", None);
            return None;
        }
        let locations = Locations {
            customer,
            lines: lines.unwrap_or_default(),
            products: products.unwrap_or_default(),
            resellers: resellers.unwrap_or_default(),
        };
        let body_required = body.unwrap_or(
            !locations.lines.is_empty()
                || !shapes.is_empty()
                || matches!(locations.customer, CustomerAt::Body(_)),
        );
        let endpoint = self.endpoints.len();
        self.endpoints.push(Endpoint {
            operation,
            class,
            shapes,
            neutral: neutral.unwrap_or_default(),
            replaces: routes.iter().any(|(method, _)| *method == Method::Put),
            locations,
            reads,
            changes,
            wiped: wiped.unwrap_or_default(),
            read_only: read_only.unwrap_or_default(),
            body_required,
        });
        for (method, template) in &routes {
            if let Err(taken) = self.router.insert(*method, template, endpoint) {
                let other = &self.operations[self.endpoints[taken].operation.index()].name;
                let message = format!("`{other}` has the same method and path already");
                let hint = "give one of them `shapes`, or override it by its name".to_owned();
                reader.error(node.span, message, Some(hint));
            }
        }
        Some(())
    }

    fn shape(&mut self, reader: &Reader, node: &Node, default: Class) -> Option<Shape> {
        let section = reader.section(node)?;
        let name = section.require("name", |node| reader.text(node));
        let class = section.require("class", |node| reader.choice(node, Class::parse, CLASSES));
        let members = section.require("members", |node| members(reader, node));
        section.finish();
        let (name, class, members) = (name?, class?, members?);
        if class > default {
            let message = format!("the shape is stronger than its operation, which is `{default}`");
            reader.error(
                node.span,
                message,
                Some("a shape is a weaker reading: raise the operation's class".to_owned()),
            );
            return None;
        }
        Some(Shape { operation: self.add(reader, node, name, class)?, class, members })
    }

    fn changes(&mut self, reader: &Reader, node: &Node, default: Class) -> Option<Changes> {
        let section = reader.section(node)?;
        let name = section.require("name", |node| reader.text(node));
        let class = section.require("class", |node| reader.choice(node, Class::parse, CLASSES));
        let members = section.require("members", |node| changed_members(reader, node));
        section.finish();
        let (name, class, members) = (name?, class?, members?);
        if class > default {
            let message = format!("the change is stronger than its operation, which is `{default}`");
            reader.error(node.span, message, Some("raise the operation's class".to_owned()));
            return None;
        }
        Some(Changes { operation: self.add(reader, node, name, class)?, class, members })
    }

    fn customer_path(&mut self, reader: &Reader, node: &Node) -> Option<()> {
        let text = reader.text(node)?;
        let Some(template) = parse_template(&text) else {
            reader.error(node.span, format!("`{text}` is no path template"), None);
            return None;
        };
        let customer = customer_in(&template);
        if customer == CustomerAt::Nowhere {
            reader.error(node.span, format!("`{text}` has no segment `{{customer}}`"), None);
            return None;
        }
        self.router.insert_customer_path(&template, self.endpoints.len());
        self.endpoints.push(Endpoint {
            operation: OperationId::UNLISTED,
            class: Class::Purchase,
            shapes: Vec::new(),
            neutral: Vec::new(),
            replaces: false,
            locations: Locations::of_customer(customer),
            reads: None,
            changes: Vec::new(),
            wiped: Vec::new(),
            read_only: Vec::new(),
            body_required: false,
        });
        Some(())
    }

    fn add(&mut self, reader: &Reader, node: &Node, name: String, class: Class) -> Option<OperationId> {
        let plain = !name.is_empty()
            && name.len() <= 64
            && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'));
        if !plain {
            let hint = "a name has 1 to 64 lower-case letters, digits, `.`, `_` and `-`".to_owned();
            reader.error(node.span, format!("`{name}` is no name of an operation"), Some(hint));
            return None;
        }
        if self.operations.iter().any(|known| known.name == name) {
            reader.error(node.span, format!("an operation named `{name}` is there already"), None);
            return None;
        }
        let Ok(number) = u16::try_from(self.operations.len()) else {
            reader.error(node.span, "there are more than 65535 operations", None);
            return None;
        };
        self.operations.push(Operation { name, class });
        Some(OperationId(number))
    }
}

fn route(reader: &Reader, node: &Node) -> Option<(Method, Vec<Segment>)> {
    let text = reader.text(node)?;
    let parsed = text.split_once(' ').and_then(|(method, template)| {
        let method = Method::parse(method).filter(|method| *method != Method::Options)?;
        Some((method, parse_template(template.trim())?))
    });
    if parsed.is_none() {
        let message = format!(
            "`{text}` is no method and path, expected such as `POST /v1/customers/{{customer}}/orders`"
        );
        reader.error(node.span, message, None);
    }
    parsed
}

/// The customer's place in the templates, where no key names another.
fn customer_of(
    reader: &Reader,
    node: &Node,
    routes: &[(Method, Vec<Segment>)],
    class: Class,
) -> Option<CustomerAt> {
    let mut places = routes.iter().map(|(_, template)| customer_in(template));
    let first = places.next().unwrap_or(CustomerAt::Nowhere);
    if places.any(|place| place != first) {
        reader.error(node.span, "`{customer}` stands in the same place in every `match`", None);
        return None;
    }
    if first == CustomerAt::Nowhere && class.is_gated() {
        let hint = "add `{customer}` to the path, or `customer: /pointer` into the body, or `customer: none`"
            .to_owned();
        reader.error(node.span, "a judged operation says where its customer is", Some(hint));
        return None;
    }
    Some(first)
}

fn customer_in(template: &[Segment]) -> CustomerAt {
    let is_customer = |segment: &Segment| matches!(segment, Segment::Parameter(name) if name == "customer");
    template.iter().position(is_customer).map_or(CustomerAt::Nowhere, CustomerAt::Segment)
}

fn changed_members(reader: &Reader, node: &Node) -> Option<Vec<(String, Change)>> {
    let read = reader.map(node)?.iter().map(|(key, value)| {
        let change = match &value.value {
            Value::Text(text) if text == "lowered" => Change::Lowered,
            _ => Change::To(allowed(reader, value, &["any", "lowered"])?),
        };
        Some((key.text.clone(), change))
    });
    read.collect()
}

fn allowed(reader: &Reader, value: &Node, words: &[&str]) -> Option<Allowed> {
    match &value.value {
        Value::Text(text) if text == "any" => Some(Allowed::Any),
        Value::List(_) => Some(Allowed::OneOf(reader.list(value, |item| reader.text(item))?)),
        _ => {
            let hint = "a list of values such as `[suspended, deleted]`".to_owned();
            let message = format!("expected {} or a list of values", quoted(words));
            reader.error(value.span, message, Some(hint));
            None
        }
    }
}

fn members(reader: &Reader, node: &Node) -> Option<Vec<(String, Allowed)>> {
    let mut members = Vec::new();
    for (key, value) in reader.map(node)? {
        members.push((key.text.clone(), allowed(reader, value, &["any"])?));
    }
    if members.is_empty() {
        reader.error(node.span, "a shape has at least one member", None);
        return None;
    }
    Some(members)
}
