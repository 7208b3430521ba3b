//! `countersign demo`.
use super::Exit;

#[derive(clap::Args)]
pub struct Arguments {}

pub fn demo(_: &Arguments) -> Exit {
    Exit::None
}
