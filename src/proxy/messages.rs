//! Texts of answers, in the caller's language.

use std::collections::HashMap;

use http::HeaderMap;
use http::header::{ACCEPT_LANGUAGE, HeaderName};

/// The caller's language, as SDKs of Partner Center send it.
pub const X_LOCALE: HeaderName = HeaderName::from_static("x-locale");
/// The language of the binary's texts, and the last resort of every other.
pub const FALLBACK: &str = "en";

/// The texts of one language, by key.
pub type Texts = HashMap<String, String>;

/// The texts of every language.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// By language, in lower case.
    pub languages: HashMap<String, Texts>,
    /// The language of callers that ask for none that is there.
    pub default: String,
}

/// The texts in one language, as an answer needs them.
#[derive(Clone, Copy, Debug)]
pub struct Language<'c> {
    /// Its name.
    pub name: &'c str,
    texts: Option<&'c Texts>,
    fallback: Option<&'c Texts>,
}

impl Catalogue {
    /// The caller's language: `X-Locale`, then `Accept-Language` (RFC 9110 section 12.5.4), then the default.
    pub fn choose(&self, headers: &HeaderMap) -> Language<'_> {
        let header = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
        let preferred = wanted(header(X_LOCALE)).into_iter().chain(wanted(header(ACCEPT_LANGUAGE)));
        let known = |tag: String| {
            let primary = tag.split('-').next().unwrap_or("").to_owned();
            [tag, primary].into_iter().find_map(|tag| self.languages.get_key_value(&tag))
        };
        let chosen =
            preferred.filter_map(known).next().or_else(|| self.languages.get_key_value(&self.default));
        let fallback = self.languages.get(FALLBACK);
        match chosen {
            Some((name, texts)) => Language { name, texts: Some(texts), fallback },
            None => Language { name: FALLBACK, texts: None, fallback },
        }
    }
}

/// Language tags in order of preference, in lower case; at most eight of them.
fn wanted(header: &str) -> Vec<String> {
    let mut tags: Vec<(u32, String)> = header
        .split(',')
        .take(8)
        .filter_map(|item| {
            let mut parts = item.split(';');
            let tag = parts.next()?.trim().to_ascii_lowercase();
            let quality = parts
                .find_map(|part| part.trim().strip_prefix("q="))
                .map_or(Some(1.0), |quality| quality.parse::<f32>().ok())?;
            let usable = !tag.is_empty() && tag != "*" && quality > 0.0;
            usable.then_some(((quality * 1000.0) as u32, tag))
        })
        .collect();
    tags.sort_by_key(|(quality, _)| std::cmp::Reverse(*quality));
    tags.into_iter().map(|(_, tag)| tag).collect()
}

impl Language<'_> {
    /// The text of a key with its places filled in; a key without a text stands for itself.
    pub fn text(&self, key: &str, fill: &[(&str, &str)]) -> String {
        let text = self.find(key).unwrap_or(key);
        let mut filled = String::with_capacity(text.len() + 64);
        let mut rest = text;
        // One pass, so that what is filled in is never itself filled in.
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            let Some((name, behind)) = after.split_once('}') else {
                rest = after;
                filled.push('{');
                continue;
            };
            match fill.iter().find(|(known, _)| *known == name) {
                Some((_, value)) => filled.push_str(value),
                None => {
                    filled.push('{');
                    filled.push_str(name);
                    filled.push('}');
                }
            }
            rest = behind;
        }
        filled.push_str(rest);
        filled
    }

    /// The text of a key, if there is one.
    pub fn find(&self, key: &str) -> Option<&str> {
        let own = self.texts.and_then(|texts| texts.get(key));
        own.or_else(|| self.fallback.and_then(|texts| texts.get(key))).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> Catalogue {
        let texts = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect::<Texts>()
        };
        Catalogue {
            languages: HashMap::from([
                ("en".to_owned(), texts(&[("a", "{x} is {y}"), ("b", "only English")])),
                ("fr".to_owned(), texts(&[("a", "{x} est {y}")])),
                ("pt-br".to_owned(), texts(&[("a", "{x} seja {y}")])),
            ]),
            default: "en".to_owned(),
        }
    }

    #[test]
    fn the_caller_chooses_the_language() {
        let catalogue = catalogue();
        for (locale, accept, expected) in [
            ("", "", "en"),
            ("fr-FR", "en", "fr"),
            ("en-US,en-US", "fr", "en"),
            ("", "de, fr;q=0.5, en;q=0.4", "fr"),
            ("", "en;q=0.1, fr;q=0.9", "fr"),
            ("", "fr;q=0, en", "en"),
            ("", "pt-BR", "pt-br"),
            ("xx", "*", "en"),
            ("", ";;q=,,q=nan", "en"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("x-locale", locale.parse().unwrap());
            headers.insert("accept-language", accept.parse().unwrap());
            assert_eq!(catalogue.choose(&headers).name, expected, "{locale} / {accept}");
        }
    }

    #[test]
    fn places_are_filled_once() {
        let catalogue = catalogue();
        let mut headers = HeaderMap::new();
        headers.insert("x-locale", "fr".parse().unwrap());
        let french = catalogue.choose(&headers);
        assert_eq!(french.text("a", &[("x", "{y}"), ("y", "1")]), "{y} est 1");
        assert_eq!(french.text("b", &[]), "only English");
        assert_eq!(french.text("c", &[]), "c");
    }
}
