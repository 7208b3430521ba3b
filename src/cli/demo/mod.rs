//! `countersign demo`: the gateway at work, with the shipped configuration, a fresh key and real requests.

mod requests;
mod scenes;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use crate::app::App;
use crate::cli::exit::{Exit, give_up, say};
use crate::config::node::Value;
use crate::config::{self, Loaded};
use crate::standin::{Issuer, IssuerAlgorithm, Standin};
use requests::{Asked, Fixture};

/// The shipped configuration and ledger, as they stand in the repository.
const CONFIGURATION: &str = include_str!("../../../config/countersign.yaml");
const LEDGER: &str = include_str!("../../../config/agreements.yaml");

/// Options of the demo.
#[derive(clap::Args)]
pub struct Arguments {
    /// Keep serving after the table, and print requests to paste.
    #[arg(long)]
    stay: bool,
}

/// Runs the demo.
pub fn demo(arguments: &Arguments) -> Exit {
    match Stage::set(arguments.stay) {
        Ok(stage) => stage.play(arguments.stay),
        Err(error) => give_up(&error),
    }
}

/// Everything the demo runs: the stand-in ordering API, an issuer, the gateway, and the folder with its files.
struct Stage {
    app: App,
    standin: Standin,
    issuer: Issuer,
    folder: Folder,
}

/// A folder that goes with the demo.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind in the system's folder for such files goes with it.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Stage {
    fn set(stay: bool) -> Result<Stage, String> {
        let fail = |what: &str, error: std::io::Error| format!("{what}: {error}");
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let standin = Standin::start(any_port).map_err(|error| fail("the stand-in ordering API", error))?;
        let issuer = Issuer::fresh(IssuerAlgorithm::Rs256, "demo");
        let folder = Folder(std::env::temp_dir().join(format!("countersign-demo-{}", std::process::id())));
        std::fs::create_dir_all(&folder.0).map_err(|error| fail("the demo's folder", error))?;
        let write = |name: &str, text: &str| {
            std::fs::write(folder.0.join(name), text).map_err(|error| fail("the demo's files", error))
        };
        write("keys.json", &issuer.jwks())?;
        write("agreements.yaml", LEDGER)?;
        // The stand-in takes anybody's.
        write("client-secret", "made up")?;
        write("refresh-token", "made up")?;
        scenes::furnish(&standin);
        let (path, upstream) = (folder.0.join("countersign.yaml"), standin.url());
        let loader = move |now: Timestamp| Ok::<Loaded, String>(load(&path, &upstream, now));
        let loaded = loader(Timestamp::now())?;
        let report = loaded.report(false);
        let settings = loaded.settings.ok_or(report)?;
        let app = App::start(settings, std::sync::Arc::new(loader), stay)?;
        Ok(Stage { app, standin, issuer, folder })
    }

    fn play(self, stay: bool) -> Exit {
        let fixture = Fixture { issuer: &self.issuer, gateway: self.app.address };
        say!("The gateway runs the shipped configuration at http://{}", self.app.address);
        say!("in front of a stand-in ordering API at {}, with a key made a moment ago.", self.standin.url());
        say!(
            "(The dates of rule france-mpa are moved so that its notice shows today, and what the ledger does not say"
        );
        say!("is asked for at the stand-in, which also shows carts, orders, subscriptions and transfers.)\n");
        let asked = match requests::ask_all(&fixture, &self.standin) {
            Ok(asked) => asked,
            Err(error) => return give_up(&format!("the demo's requests: {error}")),
        };
        print_table(&asked);
        let surprises = asked.iter().filter(|asked| !asked.as_expected).count();
        let audit = std::fs::read_to_string(self.folder.0.join("audit.jsonl")).unwrap_or_default();
        say!(
            "{} requests, {} reached the ordering API, {} audit records were written.",
            asked.len(),
            asked.iter().filter(|asked| asked.reached).count(),
            audit.lines().count()
        );
        if surprises > 0 {
            say!("{surprises} answers were not the expected ones (marked !).");
        }
        if stay {
            requests::print_to_paste(&fixture, self.app.admin_address, &self.folder.0);
            self.app.wait();
        } else {
            self.app.stop();
        }
        if surprises == 0 { Exit::Yes } else { Exit::No }
    }
}

/// The shipped configuration on free loopback ports, in front of the stand-in.
fn load(path: &Path, upstream: &str, now: Timestamp) -> Loaded {
    let text = |text: &str| Value::Text(text.to_owned());
    let near =
        |days: i64| (now + SignedDuration::from_hours(24 * days)).strftime("%Y-%m-%dT00:00:00Z").to_string();
    let rules = format!(
        "[{{ name: france-mpa, announce_from: {announce}, enforce_from: {enforce}, requires: {{ agreement: mpa, of: \
         partner, accepted_since: {announce}, undated: unknown }} }}]",
        announce = near(-7),
        enforce = near(30),
    );
    let parse =
        |text: &str| config::node::Node::parse(text, 0, &Default::default()).expect("the demo's YAML").value;
    let rules = parse(&rules);
    let center = parse(&format!(
        "{{ type: partner_center, url: {upstream}, partner: {partner}, token: {{ grant: refresh_token, \
         url: {upstream}/oauth2/token, client_id: demo, client_secret_file: client-secret, \
         refresh_token_file: refresh-token }} }}",
        partner = scenes::SIGNED,
    ));
    let overrides = [
        ("agreements.sources.center", center),
        ("agreements.reseller", parse("[ledger, center]")),
        ("agreements.customer", parse("[ledger, center]")),
        ("agreements.cache.file", text("facts.jsonl")),
        ("upstream.reads", text("center")),
        ("listen.address", text("127.0.0.1:0")),
        ("admin.address", text("127.0.0.1:0")),
        ("upstream.url", text(upstream)),
        ("audit.path", text("audit.jsonl")),
        ("policy.rules", rules),
    ];
    config::load_text(path, CONFIGURATION, &overrides, now)
}

fn print_table(asked: &[Asked]) {
    const WIDTHS: [usize; 3] = [34, 24, 62];
    let line = || say!("+{}+", WIDTHS.map(|width| "-".repeat(width + 2)).join("+"));
    let row = |cells: [&str; 3]| {
        let columns: [Vec<String>; 3] = std::array::from_fn(|at| wrapped(cells[at], WIDTHS[at]));
        for part in 0..columns.iter().map(Vec::len).max().unwrap_or(0) {
            let cells: [String; 3] = std::array::from_fn(|at| {
                format!("{:<width$}", columns[at].get(part).map_or("", String::as_str), width = WIDTHS[at])
            });
            say!("| {} |", cells.join(" | "));
        }
    };
    line();
    row(["asked", "came back", "why"]);
    line();
    for asked in asked {
        let mark = if asked.as_expected { "" } else { "! " };
        row([&asked.what, &format!("{mark}{}", asked.answer), &asked.why]);
        line();
    }
}

/// A text in lines of at most `width` characters, broken between words where it can be.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is a line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    let broken = |line: String| {
        let letters: Vec<char> = line.chars().collect();
        letters.chunks(width).map(|part| part.iter().collect()).collect::<Vec<String>>()
    };
    lines.into_iter().flat_map(|line| if line.is_empty() { vec![line] } else { broken(line) }).collect()
}
