//! The section `keys` of an issuer: files, or where the issuer publishes them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::Algorithm;

use crate::config::node::Node;
use crate::config::read::{Reader, Section, quoted, read_text, resolve};
use crate::config::trust;
use crate::identity::claims::IssuerKeys;
use crate::identity::issuer::IssuerName;
use crate::identity::keys::{self, LoadedKeys, VerifyingKey};
use crate::identity::ring::{Location, Origin, Ring, Settings};
use crate::tls;

const PLACES: [&str; 4] = ["jwks_url", "discovery_url", "jwks_file", "pem_file"];
/// Keys that say how a URL is asked.
const OF_URLS: [&str; 6] = ["ca_file", "insecure_plaintext", "refresh", "keep", "refetch_after", "timeout"];
/// The shortest time that can be set: below it a slip of the pen would keep a key server busy.
const TIME_MIN: Duration = Duration::from_millis(100);

/// Reads `keys`. Files are read, URLs are not asked: a configuration can be checked anywhere.
///
/// Without an issuer and its algorithms, which are then at fault themselves, problems are told all the same.
pub fn keys(
    reader: &Reader,
    node: &Node,
    folder: &Path,
    of: Option<(&IssuerName, &[Algorithm])>,
) -> Option<IssuerKeys> {
    let section = reader.section(node)?;
    let jwks_file =
        section.get("jwks_file", |node| file(reader, node, folder, |text| keys::from_jwks(text.as_bytes())));
    let pem_file = section.get("pem_file", |node| file(reader, node, folder, keys::from_pem));
    let published = published(&section, folder);
    let given = PLACES.into_iter().filter(|name| section.node(name).is_some()).collect::<Vec<_>>();
    let stray = OF_URLS.into_iter().find(|name| section.node(name).is_some());
    section.finish();
    match given[..] {
        ["jwks_url" | "discovery_url"] => {}
        [_] => {
            if let Some(stray) = stray {
                let hint = "it goes with `jwks_url` and `discovery_url`".to_owned();
                reader.error(node.span, format!("`{stray}` says nothing of a file"), Some(hint));
            }
            let held = jwks_file.or(pem_file)?;
            if let Some((_, algorithms)) = of {
                warn_of_unusable(reader, node, algorithms, &held);
            }
            return Some(IssuerKeys::Held(held));
        }
        _ => {
            reader.error(node.span, format!("expected one of {}", quoted(&PLACES)), None);
            return None;
        }
    }
    let (location, insecure_plaintext, (ca_file, authorities), times) = published?;
    let [refresh, keep, refetch_after, timeout] = times;
    if keep < refresh + timeout {
        let hint = "between two fetches the keys have to last".to_owned();
        reader.error(node.span, "`keep` has to be longer than `refresh` and `timeout`", Some(hint));
        return None;
    }
    let trust = tls::client::load(&tls::client::Settings { ca_file, identity: None });
    let tls = trust.map_err(|why| reader.error(node.span, why, None)).ok()?;
    let (issuer, algorithms) = of?;
    let origin = Origin { issuer: issuer.clone(), location, authorities, insecure_plaintext };
    let algorithms = algorithms.to_vec();
    let settings = Settings { origin, algorithms, refresh, keep, refetch_after, timeout };
    Some(IssuerKeys::Published(Arc::new(Ring::new(settings, &tls))))
}

fn file(
    reader: &Reader,
    node: &Node,
    folder: &Path,
    read: fn(&str) -> Result<LoadedKeys, String>,
) -> Option<Vec<VerifyingKey>> {
    let path = resolve(folder, &reader.text(node)?);
    let loaded = read_text(&path).map_err(|error| format!("can not be read: {error}")).and_then(|text| {
        reader.add_source(&path, &text);
        read(&text)
    });
    match loaded {
        Ok(loaded) => {
            for why in loaded.ignored {
                reader.warning(node.span, format!("{} is not used: {why}", path.display()), None);
            }
            Some(loaded.keys)
        }
        Err(why) => {
            reader.error(node.span, format!("{} {why}", path.display()), None);
            None
        }
    }
}

/// Where keys are published, whether in the clear, whom to trust, and the times of [`Settings`].
type Published = (Location, bool, (Option<PathBuf>, Option<String>), [Duration; 4]);

fn published(section: &Section<'_>, folder: &Path) -> Option<Published> {
    let reader = section.reader();
    let insecure = section.get("insecure_plaintext", |node| reader.flag(node)).unwrap_or(false);
    let set = trust::endpoint(section, "jwks_url", insecure).map(Location::KeySet);
    let discovery = trust::endpoint(section, "discovery_url", insecure).map(Location::Discovery);
    let authorities = trust::authorities(section, folder);
    let time = |name: &'static str, default: u64| {
        let given = section.get(name, |node| {
            let time = reader.duration(node)?;
            if time < TIME_MIN {
                reader.error(node.span, format!("`{name}` is at least 100ms"), None);
            }
            Some(time)
        });
        given.unwrap_or(Duration::from_secs(default))
    };
    let times =
        [time("refresh", 3600), time("keep", 24 * 3600), time("refetch_after", 30), time("timeout", 2)];
    let location = set.or(discovery)?;
    Some((location, insecure, authorities?.unzip(), times))
}

fn warn_of_unusable(reader: &Reader, node: &Node, algorithms: &[Algorithm], keys: &[VerifyingKey]) {
    let usable = |key: &VerifyingKey| key.algorithms.iter().any(|algorithm| algorithms.contains(algorithm));
    if !keys.iter().any(usable) {
        let hint = "put the issuer's public keys into its key file".to_owned();
        reader.warning(node.span, "no key fits: every token of this issuer will be refused", Some(hint));
    }
}
