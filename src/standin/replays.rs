//! Replays: answers that are given again to a used `MS-RequestId`, as Partner Center does with its idempotency key.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use http::HeaderValue;

use crate::standin::answer::Answer;
use crate::standin::locked::locked;

/// Answers that are kept at most; later ones are not.
const ANSWERS_MAX: usize = 1024;

/// Answers to writes by the id of their request.
#[derive(Default)]
pub struct Replays {
    /// While it is off a request pays for one load, not for a lock.
    on: AtomicBool,
    answers: Mutex<HashMap<HeaderValue, Answer>>,
}

impl Replays {
    /// Begins to replay, or forgets what was kept.
    pub fn set(&self, on: bool) {
        self.on.store(on, Ordering::Release);
        locked(&self.answers).clear();
    }

    /// The answer that the id was given before, or the one that is made now.
    pub fn answer(&self, id: &HeaderValue, make: impl FnOnce() -> Answer) -> Answer {
        if !self.on.load(Ordering::Acquire) {
            return make();
        }
        let mut answers = locked(&self.answers);
        if let Some(answer) = answers.get(id) {
            return answer.clone();
        }
        let answer = make();
        if answer.status.is_success() && answers.len() < ANSWERS_MAX {
            answers.insert(id.clone(), answer.clone());
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use http::StatusCode;

    #[test]
    fn a_used_id_has_its_first_good_answer_while_replays_are_on() {
        let replays = Replays::default();
        let (id, other) = (HeaderValue::from_static("a"), HeaderValue::from_static("b"));
        let said = |id: &HeaderValue, status: u16| {
            replays.answer(id, || Answer::empty(StatusCode::from_u16(status).unwrap())).status.as_u16()
        };
        assert_eq!((said(&id, 201), said(&id, 200)), (201, 200));
        replays.set(true);
        assert_eq!((said(&id, 503), said(&id, 201), said(&id, 200), said(&other, 200)), (503, 201, 201, 200));
        replays.set(false);
        assert_eq!(said(&id, 200), 200);
    }
}
