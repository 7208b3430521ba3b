//! `countersign run`: the gateway until a signal stops it.

use std::path::Path;

use jiff::Timestamp;
use tracing_subscriber::EnvFilter;

use crate::app::{App, file_loader};
use crate::cli::exit::{Exit, colour, give_up};
use crate::config::{self, Log};

/// Runs the gateway.
pub fn run(path: &Path) -> Exit {
    let loaded = match config::load(path, Timestamp::now()) {
        Ok(loaded) => loaded,
        Err(error) => return give_up(&error),
    };
    eprint!("{}", loaded.report(colour(&std::io::stderr())));
    let Some(settings) = loaded.settings else { return Exit::No };
    start_log(&settings.log);
    match App::start(settings, file_loader(path.to_owned()), true) {
        Ok(app) => {
            tracing::info!(address = %app.address, admin = %app.admin_address, "listening");
            app.wait();
            Exit::Yes
        }
        Err(error) => give_up(&error),
    }
}

fn start_log(log: &Log) {
    let filter = EnvFilter::new(&log.level);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match log.json {
        true => builder.json().flatten_event(true).init(),
        false => builder.init(),
    }
}
