//! Varied traffic: a fixed number of orders of many callers, customers, resellers and products.
//!
//! Order `n` is the same in every run, but for signatures. Customers take turns; each is ordered for with four tokens of
//! one or two partners, so that with the stage's thousand customers the pairs of partner and customer repeat after 4,000
//! orders. The three lines of an order name different resellers, products and quantities.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;

use crate::exchange::exchange;

/// Tokens that a customer is ordered for with, another one in each round through the customers.
const TOKENS_PER_CUSTOMER: usize = 4;
const LINES: usize = 3;
const PRODUCTS: usize = 60;
const QUANTITIES: usize = 300;

/// Sends `count` orders on `connections` kept connections, one at a time on each.
///
/// # Errors
/// When the lists of the stage cannot be read, or an order is answered anything but 201: no further ones are sent then.
pub fn run(
    folder: &Path,
    address: SocketAddr,
    count: usize,
    connections: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let cast = Rc::new(Cast::read(folder)?);
    let next = Rc::new(Cell::new(0));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    let statuses: Result<Vec<u16>, _> = local.block_on(&runtime, async {
        let send = |_| tokio::task::spawn_local(send(address, Rc::clone(&cast), count, Rc::clone(&next)));
        let senders: Vec<_> = (0..connections).map(send).collect();
        let mut statuses = Vec::with_capacity(count);
        for sender in senders {
            statuses.extend(sender.await?);
        }
        Ok::<_, tokio::task::JoinError>(statuses)
    });
    let mut counts = BTreeMap::new();
    for status in statuses? {
        *counts.entry(status).or_insert(0usize) += 1;
    }
    match counts.get(&201) {
        Some(created) if *created == count => Ok(()),
        _ => Err(format!("expected {count} orders answered 201; orders by status: {counts:?}").into()),
    }
}

async fn send(address: SocketAddr, cast: Rc<Cast>, count: usize, next: Rc<Cell<usize>>) -> Vec<u16> {
    let mut connection = None;
    let mut statuses = Vec::with_capacity(count);
    while next.get() < count {
        let order = cast.order(next.replace(next.get() + 1));
        let status = exchange(address, &mut connection, &order).await;
        statuses.push(status);
        if status != 201 {
            next.set(count);
        }
    }
    statuses
}

/// Who takes part, as the stage lists them.
struct Cast {
    tokens: Vec<String>,
    customers: Vec<String>,
    /// MPN ids.
    resellers: Vec<String>,
}

impl Cast {
    fn read(folder: &Path) -> std::io::Result<Cast> {
        let list = |name: &str| {
            let text = std::fs::read_to_string(folder.join(name))?;
            Ok::<_, std::io::Error>(text.lines().map(str::to_owned).collect())
        };
        let (tokens, customers) = (list("varied.tokens")?, list("varied.customers")?);
        Ok(Cast { tokens, customers, resellers: list("varied.resellers")? })
    }

    /// The order of a number: head and about one kilobyte of body.
    fn order(&self, number: usize) -> String {
        let round = number / self.customers.len();
        let customer = &self.customers[number % self.customers.len()];
        let token = &self.tokens[(number + round % TOKENS_PER_CUSTOMER) % self.tokens.len()];
        let mut lines = String::new();
        for line in 0..LINES {
            // Odd steps, so that the lines of an order differ and meet other ones each time.
            let reseller = &self.resellers[(number + round + 17 * line) % self.resellers.len()];
            let product = (number + 3 * round + 19 * line) % PRODUCTS;
            let quantity = 1 + (7 * number + 101 * line) % QUANTITIES;
            let comma = if line == 0 { "" } else { "," };
            let _ = write!(
                lines,
                r#"{comma}{{"lineItemNumber":{line},"offerId":"CFQ7TTC0L{product:03X}:{:04}:CFQ7TTC0K{product:03X}","subscriptionId":null,"parentSubscriptionId":null,"friendlyName":"Seats for campaign {product}","quantity":{quantity},"termDuration":"P1Y","partnerIdOnRecord":"{reseller}","provisioningContext":{{}},"attributes":{{"objectType":"OrderLineItem"}}}}"#,
                1 + product % 4,
            );
        }
        let body = format!(
            r#"{{"id":null,"referenceCustomerId":"{customer}","billingCycle":"monthly","currencyCode":"EUR","lineItems":[{lines}],"creationDate":null,"attributes":{{"objectType":"Order"}}}}"#
        );
        format!(
            "POST /v1/customers/{customer}/orders HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nAccept: application/json\r\n\
             MS-RequestId: 4fa6dad6-a89f-4875-8247-{number:012x}\r\n\
             MS-CorrelationId: 0e93c70c-977a-4a88-9580-{number:012x}\r\nX-Locale: en-US\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}
