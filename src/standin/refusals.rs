//! Refusals: the customers whose purchases were said to be refused.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::standin::locked::locked;

/// Codes by customer; ids are compared without regard to case.
#[derive(Default)]
pub struct Refusals {
    /// Without any refusal an order pays for one load, not for a lock.
    any: AtomicBool,
    codes: Mutex<HashMap<String, Codes>>,
}

#[derive(Default, Clone, Copy)]
struct Codes {
    purchase: Option<u32>,
    checkout: Option<u32>,
}

impl Refusals {
    /// Sets the code with which every purchase for a customer is refused, or that none is.
    pub fn set_purchase(&self, customer: &str, code: Option<u32>) {
        self.set(customer, |codes| codes.purchase = code);
    }

    /// Sets the code that the answer to a checkout for a customer names in place of orders, or that it has orders.
    pub fn set_checkout(&self, customer: &str, code: Option<u32>) {
        self.set(customer, |codes| codes.checkout = code);
    }

    /// The code with which a purchase for a customer is refused.
    pub fn of_purchase(&self, customer: &str) -> Option<u32> {
        self.get(customer).purchase
    }

    /// The code in the answer to a checkout for a customer.
    pub fn of_checkout(&self, customer: &str) -> Option<u32> {
        self.get(customer).checkout
    }

    fn set(&self, customer: &str, change: impl FnOnce(&mut Codes)) {
        change(locked(&self.codes).entry(customer.to_ascii_lowercase()).or_default());
        self.any.store(true, Ordering::Release);
    }

    fn get(&self, customer: &str) -> Codes {
        if !self.any.load(Ordering::Acquire) {
            return Codes::default();
        }
        locked(&self.codes).get(&customer.to_ascii_lowercase()).copied().unwrap_or_default()
    }
}

/// What the API says to a purchase that it refuses with this code (error-codes page, in other words).
pub fn description(code: u32) -> &'static str {
    match code {
        13605 => {
            "This purchase needs the Microsoft Customer Agreement: either the partner attests that the customer \
             accepted it, or the customer accepts it in the admin centre."
        }
        900_123 => "The indirect reseller of this order has not accepted the Microsoft Partner Agreement.",
        900_124 => {
            "The Microsoft Partner Agreement was not accepted for this company; a global administrator has to \
             accept it before it can buy again."
        }
        _ => "The purchase is refused.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_set_and_lifted_by_customer() {
        let refusals = Refusals::default();
        assert_eq!(refusals.of_purchase("c"), None);
        refusals.set_purchase("C", Some(13605));
        refusals.set_checkout("d", Some(900_123));
        assert_eq!((refusals.of_purchase("c"), refusals.of_checkout("c")), (Some(13605), None));
        assert_eq!((refusals.of_purchase("D"), refusals.of_checkout("D")), (None, Some(900_123)));
        refusals.set_purchase("c", None);
        assert_eq!(refusals.of_purchase("c"), None);
    }

    #[test]
    fn every_known_code_has_a_text_of_its_own() {
        let texts = [13605, 900_123, 900_124, 1].map(description);
        for (at, text) in texts.iter().enumerate() {
            assert!(!texts[..at].contains(text), "{text}");
        }
    }
}
