//! Operations: from configuration to endpoints and their routes.

use crate::config::node::{Node, Value};
use crate::config::policy::learning;
use crate::config::policy::listed::{CLASSES, Listed, ShapeNames};
use crate::config::policy::places::{pattern, product};
use crate::config::policy::shapes;
use crate::config::read::Reader;
use crate::policy::endpoint::{CustomerAt, Endpoint, Locations};
use crate::policy::learning::Learning;
use crate::policy::operation::{Class, Method, Operation, OperationId, Resource};
use crate::policy::router::{Router, Segment, parse_template};
use crate::policy::shape::Shape;

/// Operations, endpoints and routes while they are read.
pub struct Operations<'n> {
    /// Every operation so far.
    pub listed: Listed<'n>,
    /// Every endpoint so far.
    pub endpoints: Vec<Endpoint>,
    /// Every route so far.
    pub router: Router,
    /// What answers tell, by operation.
    pub learning: Vec<(OperationId, Learning)>,
}

impl<'n> Operations<'n> {
    /// Reads `operations` and `customer_paths`.
    pub fn read(
        reader: &Reader,
        operations: Option<&Node>,
        customer_paths: Option<&Node>,
        names: ShapeNames<'n>,
    ) -> Operations<'n> {
        let built_in = OperationId::BUILT_IN
            .iter()
            .map(|(name, class)| Operation { name: (*name).to_owned(), class: *class })
            .collect();
        let mut read = Operations {
            listed: Listed { names, operations: built_in },
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
        let neutral = section.get("neutral", |node| shapes::neutral(self.listed.names, reader, node));
        let nulls = section.get("nulls", |node| {
            let parse = |text: &str| match text {
                "absent" => Some(true),
                "present" => Some(false),
                _ => None,
            };
            reader.choice(node, parse, &["absent", "present"])
        });
        let repeats_id = section.get("repeats_id", |node| reader.text(node));
        let reads = section.get("reads", |node| {
            let names: Vec<&str> = Resource::ALL.iter().map(|resource| resource.as_str()).collect();
            reader.choice(node, Resource::parse, &names)
        });
        let reads_above = section.get("reads_above", |node| reader.number(node, 1..=8));
        let names_unseen = section.get("names_unseen", |node| reader.flag(node));
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
        let operation = self.listed.add(reader, node, name, class)?;
        let repeats_nothing = repeats_id.as_ref().is_some_and(String::is_empty);
        let names_resource =
            |(_, template): &(Method, Vec<Segment>)| matches!(template.last(), Some(Segment::Parameter(_)));
        if repeats_id.is_some() && (repeats_nothing || !routes.iter().all(names_resource)) {
            let hint = "only a path that ends in a parameter names the resource".to_owned();
            reader.error(node.span, "`repeats_id` has nothing to repeat", Some(hint));
        }
        let methods = |wanted: &[Method]| routes.iter().all(|(method, _)| wanted.contains(method));
        let is_done_below = methods(&[Method::Post]);
        if reads.is_some() && !is_done_below && !methods(&[Method::Patch, Method::Put]) {
            let hint = "either `POST` to something below it, or `PATCH` and `PUT` of itself".to_owned();
            reader.error(node.span, "what `reads` names stands in one place", Some(hint));
        }
        if reads == Some(Resource::Cart) && !is_done_below {
            reader.error(node.span, "a cart is read for what is done below it, with `POST`", None);
        }
        let shortest = routes.iter().map(|(_, template)| template.len()).min().unwrap_or(0);
        if reads_above.is_some_and(|above| !is_done_below || reads.is_none() || above >= shortest) {
            let hint = "how many segments of a `POST` stand below what `reads` names".to_owned();
            reader.error(node.span, "`reads_above` has nothing to count", Some(hint));
        }
        let reads_above = if is_done_below { reads_above.unwrap_or(1) } else { 0 };
        let customer = match customer_node {
            None => customer_of(reader, node, &routes, class)?,
            Some(node) => match &node.value {
                Value::Text(text) if text == "none" => CustomerAt::Nowhere,
                _ => CustomerAt::Body(pattern(reader, node)?),
            },
        };
        let shapes = match shapes_node {
            Some(node) => reader.list(node, |item| shapes::shape(&mut self.listed, reader, item, class))?,
            None => Vec::new(),
        };
        let changes = match changes_node {
            Some(node) => reader.list(node, |item| shapes::changes(&mut self.listed, reader, item, class))?,
            None => Vec::new(),
        };
        if reads.is_none()
            && let Some(node) = changes_node
        {
            let hint = "add `reads: subscription`".to_owned();
            reader.error(node.span, "changes show only beside what is there", Some(hint));
        }
        let asks_resource = shapes.iter().any(Shape::asks_resource);
        if reads.is_none() && asks_resource {
            let hint = "add `reads` with the resource that it asks".to_owned();
            reader.error(node.span, "a shape asks a resource that is not read", Some(hint));
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
            nulls_absent: nulls.unwrap_or(false),
            repeats_id,
            replaces: routes.iter().any(|(method, _)| *method == Method::Put),
            locations,
            reads,
            reads_above,
            names_unseen: names_unseen.unwrap_or(false),
            changes,
            wiped: wiped.unwrap_or_default(),
            read_only: read_only.unwrap_or_default(),
            body_required,
        });
        for (method, template) in &routes {
            if let Err(taken) = self.router.insert(*method, template, endpoint) {
                let other = &self.listed.operations[self.endpoints[taken].operation.index()].name;
                let message = format!("`{other}` has the same method and path already");
                let hint = "give one of them `shapes`, or override it by its name".to_owned();
                reader.error(node.span, message, Some(hint));
            }
        }
        Some(())
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
            nulls_absent: false,
            repeats_id: None,
            replaces: false,
            locations: Locations::of_customer(customer),
            reads: None,
            reads_above: 0,
            names_unseen: false,
            changes: Vec::new(),
            wiped: Vec::new(),
            read_only: Vec::new(),
            body_required: false,
        });
        Some(())
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
