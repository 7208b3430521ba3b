//! Patterns: where in a body something is found, as JSON pointers with `*` and a leading `**`.

use std::fmt;

/// One step of a [`Pattern`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The member of that name, compared without regard to case.
    Member(String),
    /// Every element of an array.
    Each,
}

/// Where in a body values are found: `/lineItems/*`, `/customerId`, `**/participants/*/value`; empty for the body itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// Whether the first step may stand at any depth.
    pub anywhere: bool,
    /// The steps from there.
    pub steps: Vec<Step>,
}

impl Pattern {
    /// Reads a pattern; `None` when it is malformed. `~0` and `~1` stand for `~` and `/` as in RFC 6901.
    pub fn parse(text: &str) -> Option<Pattern> {
        let (anywhere, rest) = match text.strip_prefix("**") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if rest.is_empty() {
            return (!anywhere).then(|| Pattern { anywhere, steps: Vec::new() });
        }
        let steps = rest.strip_prefix('/')?.split('/').map(|step| match step {
            "" | "**" => None,
            "*" => Some(Step::Each),
            name => Some(Step::Member(name.replace("~1", "/").replace("~0", "~"))),
        });
        let steps = steps.collect::<Option<Vec<Step>>>()?;
        // A leading `**/*` would mean every element of every array: nothing says what it is.
        if anywhere && steps.first() == Some(&Step::Each) {
            return None;
        }
        Some(Pattern { anywhere, steps })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.anywhere {
            f.write_str("**")?;
        }
        for step in &self.steps {
            match step {
                Step::Each => f.write_str("/*")?,
                Step::Member(name) => write!(f, "/{}", name.replace('~', "~0").replace('/', "~1"))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_read_and_print_alike() {
        for text in
            ["", "/lineItems/*", "/a/b", "**/partnerIdOnRecord", "**/participants/*/value", "/a~1b/~0c"]
        {
            assert_eq!(Pattern::parse(text).unwrap().to_string(), text);
        }
        for text in ["a", "/", "/a/", "//a", "**", "**/*", "/a/**/b", "**a"] {
            assert_eq!(Pattern::parse(text), None, "{text}");
        }
    }
}
