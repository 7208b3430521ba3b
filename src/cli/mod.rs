//! The command line. Exit codes: 0 yes, 1 no (invalid, denied, a case failed), 2 no answer (usage, unreadable).

mod check;
#[cfg(feature = "demo")]
mod demo;
mod exit;
mod explain;
mod log;
mod run;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cli::exit::Exit;
use crate::config::DEFAULT_PATH;

/// A compliance gateway in front of the ordering APIs of the Microsoft CSP programme.
#[derive(Parser)]
#[command(name = "countersign", version, max_term_width = 100)]
struct Arguments {
    /// The configuration file.
    #[arg(long, global = true, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway. SIGHUP reloads the configuration, SIGTERM drains and stops.
    Run,
    /// Read the configuration and report every problem with its place.
    Check,
    /// Show what every rule finds in a request, and the verdict.
    Explain(Box<explain::Arguments>),
    /// Run policy cases and show which rules they cover.
    Test(test::Arguments),
    /// Show the gateway at work against a stand-in ordering API, with a fresh key and real requests.
    #[cfg(feature = "demo")]
    Demo(demo::Arguments),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::None.into() } else { Exit::Yes.into() };
        }
    };
    let exit = match arguments.command {
        Command::Run => run::run(&arguments.config),
        Command::Check => check::check(&arguments.config),
        Command::Explain(explain) => explain::explain(&arguments.config, &explain),
        Command::Test(test) => test::test(&arguments.config, &test),
        #[cfg(feature = "demo")]
        Command::Demo(demo) => demo::demo(&demo),
    };
    exit.into()
}
