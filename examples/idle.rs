//! Holds idle keep-alive connections to a gateway: `cargo run --release --example idle -- ADDRESS COUNT`.
//!
//! Each is opened, asked one question and answered (401) before the next. It prints a line once all are open, and holds
//! them until its standard input ends.

use std::io::{Read, Write};
use std::net::TcpStream;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(count)) = (arguments.next(), arguments.next()) else {
        return Err("usage: idle ADDRESS COUNT".into());
    };
    let count: u64 = count.parse()?;
    rlimit::increase_nofile_limit(count + 64)?;
    let mut held = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(&address)?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: gateway.example\r\n\r\n")?;
        let mut answer = [0; 4096];
        let read = stream.read(&mut answer)?;
        if !answer[..read].starts_with(b"HTTP/1.1 401 ") {
            return Err(format!("refused after {} connections", held.len()).into());
        }
        held.push(stream);
    }
    println!("{count} connections are open");
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
