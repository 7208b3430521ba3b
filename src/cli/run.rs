//! `countersign run`: the gateway until a signal stops it.

use std::path::Path;

use jiff::Timestamp;
use tracing_subscriber::EnvFilter;

use crate::app::{App, file_loader};
use crate::cli::exit::{Exit, colour, complain, give_up};
use crate::cli::log::LogWriter;
use crate::config::{self, Log};

/// Runs the gateway.
pub fn run(path: &Path) -> Exit {
    let loaded = match config::load(path, Timestamp::now()) {
        Ok(loaded) => loaded,
        Err(error) => return give_up(&error),
    };
    complain(&loaded.report(colour(&std::io::stderr())));
    let Some(settings) = loaded.settings else { return Exit::No };
    let log = start_log(&settings.log);
    match App::start(settings, file_loader(path.to_owned()), true) {
        Ok(app) => {
            tracing::info!(address = %app.address, admin = %app.admin_address, "listening");
            app.wait();
            log.finish();
            Exit::Yes
        }
        Err(error) => {
            log.finish();
            give_up(&error)
        }
    }
}

fn start_log(log: &Log) -> LogWriter {
    let writer = LogWriter::start();
    let filter = EnvFilter::new(&log.level);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .log_internal_errors(false)
        .with_writer(writer.clone());
    match log.json {
        true => builder.json().flatten_event(true).init(),
        false => builder.init(),
    }
    writer
}
