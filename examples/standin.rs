//! The stand-in ordering API by itself, for load runs in which agreements are asked of another process than orders.
//!
//! `cargo run --release --example standin` prints its port and serves until its standard input ends.

use countersign::standin::Standin;

fn main() -> std::io::Result<()> {
    let standin = Standin::start(([127, 0, 0, 1], 0).into())?;
    println!("{}", standin.address().port());
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}
