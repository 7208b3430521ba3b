//! Problems: what is wrong with a configuration, where, and what would be right instead.

use std::fmt::Write;
use std::path::PathBuf;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// A place in one of the texts that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Number of the text among the sources.
    pub source: usize,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Length in characters; zero where it is not known.
    pub length: usize,
}

impl Span {
    /// A place without a length.
    pub fn at(source: usize, line: u64, column: u64) -> Span {
        Span { source, line: line.max(1) as usize, column: column.max(1) as usize, length: 0 }
    }
}

/// A text that problems point into.
#[derive(Clone, Debug)]
pub struct SourceText {
    /// The file it came from; a preset of the binary has a name in angle brackets.
    pub path: PathBuf,
    /// The text.
    pub text: String,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// It works, but perhaps not as meant.
    Warning,
}

/// One problem.
#[derive(Clone, Debug)]
pub struct Problem {
    /// How bad.
    pub severity: Severity,
    /// Where, as far as it has a place.
    pub span: Option<Span>,
    /// What was found and what was expected.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

/// Writes problems with their places, the lines concerned and hints.
pub fn render(problems: &[Problem], sources: &[SourceText], colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut text = String::new();
    for problem in problems {
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(problem.message.as_str());
        let mut group = match problem.span.and_then(|span| Some((span, sources.get(span.source)?))) {
            Some((span, source)) => {
                let (start, end) = offsets(&source.text, span);
                let path = source.path.display().to_string();
                let snippet = Snippet::source(source.text.as_str())
                    .path(path)
                    .annotation(AnnotationKind::Primary.span(start..end));
                title.element(snippet)
            }
            None => annotate_snippets::Group::with_title(title),
        };
        if let Some(hint) = &problem.hint {
            group = group.element(Level::HELP.message(hint.as_str()));
        }
        writeln!(text, "{}\n", renderer.render(&[group])).expect("writing to a string");
    }
    text
}

/// The byte range of a place, cut at the end of its line.
fn offsets(text: &str, span: Span) -> (usize, usize) {
    let start_of_line = text.split_inclusive('\n').take(span.line - 1).map(str::len).sum::<usize>();
    let line = text[start_of_line..].lines().next().unwrap_or("");
    let byte_of = |column: usize| line.char_indices().nth(column).map_or(line.len(), |(at, _)| at);
    let start = byte_of(span.column - 1);
    let end = byte_of(span.column - 1 + span.length.max(1)).max(start);
    (start_of_line + start, start_of_line + end)
}
