//! Exit codes, and how a command gives up.

use std::io::IsTerminal;
use std::process::ExitCode;

/// What a command answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Yes.
    Yes,
    /// No: invalid, denied, a case failed.
    No,
    /// There is no answer: usage, something unreadable, a fault.
    None,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Yes => 0,
            Exit::No => 1,
            Exit::None => 2,
        })
    }
}

/// Prints a line. A reader that has gone, as of `| head`, is no fault of ours.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stdout().lock(), $($text)*);
    }};
}
pub(crate) use say;

/// Prints to standard error, where there is a reader.
pub fn complain(text: &str) {
    use std::io::Write;
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Whether a stream shows colours.
pub fn colour(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Tells the operator why there is no answer.
pub fn give_up(why: &str) -> Exit {
    complain(&format!("countersign: {why}\n"));
    Exit::None
}
