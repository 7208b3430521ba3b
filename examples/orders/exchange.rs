//! Exchange: one request on a kept connection, and the status of its answer.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The longest that an answer is waited for.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// No connection: the gateway does not run.
pub const DOWN: u16 = 0;
/// A connection that ended before its answer.
pub const LOST: u16 = 1;

/// Sends a request and reads its answer, on a new connection if there is none. The status is `DOWN` or `LOST` where no
/// answer comes.
pub async fn exchange(address: SocketAddr, connection: &mut Option<TcpStream>, order: &str) -> u16 {
    // One that was closed while nothing was asked on it can not be used again.
    if connection.as_ref().is_some_and(
        |stream| !matches!(stream.try_read(&mut [0]), Err(why) if why.kind() == ErrorKind::WouldBlock),
    ) {
        *connection = None;
    }
    let exchanged = async {
        if connection.is_none() {
            let Ok(stream) = TcpStream::connect(address).await else { return (DOWN, true) };
            let _ = stream.set_nodelay(true);
            *connection = Some(stream);
        }
        let stream = connection.as_mut().expect("it was opened above");
        let answered = async {
            stream.write_all(order.as_bytes()).await?;
            read_answer(stream).await
        };
        answered.await.unwrap_or((LOST, true))
    };
    let (status, is_last) = timeout(ANSWER_MAX, exchanged).await.unwrap_or((LOST, true));
    if is_last {
        *connection = None;
    }
    status
}

/// The status of an answer that says how long it is, and whether the connection ends with it.
async fn read_answer(stream: &mut TcpStream) -> std::io::Result<(u16, bool)> {
    let mut read = Vec::with_capacity(4096);
    let cut = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    loop {
        if stream.read_buf(&mut read).await? == 0 {
            return Err(cut());
        }
        let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
        let field = |name: &str| head.split("\r\n").find_map(|line| line.strip_prefix(name)).map(str::trim);
        let length: usize = field("content-length:").and_then(|text| text.parse().ok()).ok_or_else(cut)?;
        while read.len() < end + 4 + length {
            if stream.read_buf(&mut read).await? == 0 {
                return Err(cut());
            }
        }
        let status = head.get(9..12).and_then(|text| text.parse().ok()).ok_or_else(cut)?;
        return Ok((status, field("connection:") == Some("close")));
    }
}
