//! Steering: the faults that were set from outside, by method and path.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::standin::faults::Faults;
use crate::standin::locked::locked;

/// Rules that can wait at a time.
const RULES_MAX: usize = 1024;

/// Faults for requests that ask for none themselves.
#[derive(Default)]
pub struct Steering {
    /// Without any rule a request pays for one load, not for a lock.
    any: AtomicBool,
    rules: Mutex<Vec<Rule>>,
}

struct Rule {
    method: String,
    path_part: String,
    fault: String,
    times: Option<u32>,
}

impl Steering {
    /// Adds a rule behind those that are there: requests of `method` (empty for any) whose path contains `path_part`
    /// get `fault`, `times` times or until [`Steering::clear`].
    ///
    /// # Errors
    /// What is wrong with the fault, or that there are too many rules.
    pub fn add(&self, method: &str, path_part: &str, fault: &str, times: Option<u32>) -> Result<(), String> {
        let mut faults = Faults::default();
        faults.add_all(fault)?;
        if faults == Faults::default() {
            return Err("no fault is named".to_owned());
        }
        let mut rules = locked(&self.rules);
        if rules.len() == RULES_MAX {
            return Err(format!("more than {RULES_MAX} faults are set"));
        }
        if times != Some(0) {
            rules.push(Rule {
                method: method.to_owned(),
                path_part: path_part.to_ascii_lowercase(),
                fault: fault.to_owned(),
                times,
            });
            self.any.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// The fault for a request: that of the first rule that fits, which is then used up by one.
    pub fn take(&self, method: &str, path: &str) -> Option<String> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let path = path.to_ascii_lowercase();
        let fits = |rule: &Rule| {
            (rule.method.is_empty() || rule.method.eq_ignore_ascii_case(method))
                && path.contains(&rule.path_part)
        };
        let mut rules = locked(&self.rules);
        let at = rules.iter().position(fits)?;
        let rule = &mut rules[at];
        let fault = rule.fault.clone();
        match &mut rule.times {
            Some(1) => {
                rules.remove(at);
                self.any.store(!rules.is_empty(), Ordering::Release);
            }
            Some(times) => *times -= 1,
            None => {}
        }
        Some(fault)
    }

    /// Removes all rules.
    pub fn clear(&self) {
        let mut rules = locked(&self.rules);
        rules.clear();
        self.any.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_used_up_in_their_order() {
        let steering = Steering::default();
        assert_eq!(steering.take("GET", "/v1/customers/c/agreements"), None);
        steering.add("get", "/Agreements", "status=503", Some(2)).unwrap();
        steering.add("", "/agreements", "delay=5ms, hang", None).unwrap();
        steering.add("", "/agreements", "reset", Some(0)).unwrap();
        let rows = [
            ("GET", "/v1/customers/c/orders", None),
            ("GET", "/v1/customers/c/AGREEMENTS", Some("status=503")),
            ("POST", "/v1/customers/c/agreements", Some("delay=5ms, hang")),
            ("GET", "/v1/customers/c/agreements", Some("status=503")),
            ("GET", "/v1/customers/c/agreements", Some("delay=5ms, hang")),
            ("GET", "/v1/customers/c/agreements", Some("delay=5ms, hang")),
        ];
        for (method, path, fault) in rows {
            assert_eq!(steering.take(method, path).as_deref(), fault, "{method} {path}");
        }
        steering.clear();
        assert_eq!(steering.take("GET", "/v1/customers/c/agreements"), None);
    }

    #[test]
    fn a_misspelled_fault_is_refused_when_it_is_set() {
        let steering = Steering::default();
        for fault in ["statsu=503", "", "hang, reset"] {
            assert!(steering.add("", "/", fault, None).is_err(), "{fault}");
        }
        for _ in 0..RULES_MAX {
            steering.add("", "/", "hang", None).unwrap();
        }
        assert!(steering.add("", "/", "hang", None).is_err());
    }
}
