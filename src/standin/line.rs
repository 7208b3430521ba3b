//! Line: the listening socket, which can be closed for a while.

use std::future;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

/// Connections that wait to be accepted; a load run opens all of its connections at once.
const BACKLOG: u32 = 4096;

/// What is to become of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Closed, for good or for that long; open connections are dropped.
    Pause(Option<Duration>),
    /// Open again, at the same address.
    Resume,
}

/// Told what came of a wish.
type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// The wishes in the order they were made.
pub type Wishes = UnboundedReceiver<(Wish, Done)>;

/// The side that wishes.
pub struct Line {
    // Without a bound: wishes come one by one, each from a caller that waits for it.
    wishes: UnboundedSender<(Wish, Done)>,
    cuts: watch::Sender<()>,
}

impl Line {
    /// A line and the wishes that will come over it.
    pub fn new() -> (Line, Wishes) {
        let (wishes, receiver) = unbounded_channel();
        (Line { wishes, cuts: watch::Sender::new(()) }, receiver)
    }

    /// Blocks until a wish is fulfilled.
    ///
    /// # Errors
    /// When the address cannot be taken again, or when nobody serves any more.
    pub fn wait_for(&self, wish: Wish) -> io::Result<()> {
        let (sender, receiver) = sync_channel(1);
        self.send(wish, move |result| drop(sender.send(result)));
        receiver.recv().unwrap_or_else(|_| Err(nobody_serves()))
    }

    /// The same without blocking.
    ///
    /// # Errors
    /// Those of [`Line::wait_for`].
    pub async fn fulfilled(&self, wish: Wish) -> io::Result<()> {
        let (sender, receiver) = oneshot::channel();
        self.send(wish, move |result| drop(sender.send(result)));
        receiver.await.unwrap_or_else(|_| Err(nobody_serves()))
    }

    /// Changes whenever all open connections are to be dropped.
    pub fn cuts(&self) -> watch::Receiver<()> {
        self.cuts.subscribe()
    }

    /// Drops all open connections.
    pub fn cut(&self) {
        self.cuts.send_replace(());
    }

    fn send(&self, wish: Wish, done: impl FnOnce(io::Result<()>) + Send + 'static) {
        // An unsent wish drops its `done`, which its caller takes for an error.
        let _ = self.wishes.send((wish, Box::new(done)));
    }
}

fn nobody_serves() -> io::Error {
    io::Error::other("the thread of the stand-in has ended")
}

/// The side that listens.
pub struct Port {
    address: SocketAddr,
    state: State,
}

enum State {
    Open(TcpListener),
    /// Bound but not listening: connecting is refused, and nobody else is given the port.
    Closed {
        socket: TcpSocket,
        until: Option<Instant>,
    },
    /// Given up, after an error.
    Lost,
}

impl Port {
    /// Listens on an address; port 0 takes a free one. To be called within a runtime.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn open(address: SocketAddr) -> io::Result<Port> {
        let listener = bound(address)?.listen(BACKLOG)?;
        Ok(Port { address: listener.local_addr()?, state: State::Open(listener) })
    }

    /// The address, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Does what was wished for; what is so already is changed no further, but for the end of a pause.
    ///
    /// # Errors
    /// When the address cannot be taken again.
    pub fn obey(&mut self, wish: Wish) -> io::Result<()> {
        match wish {
            Wish::Resume => self.reopen(),
            Wish::Pause(lasting) => {
                let socket = match std::mem::replace(&mut self.state, State::Lost) {
                    State::Closed { socket, .. } => socket,
                    open => {
                        // The port is free only once the listener is gone.
                        drop(open);
                        bound(self.address)?
                    }
                };
                let until = lasting.map(|lasting| Instant::now() + lasting);
                self.state = State::Closed { socket, until };
                Ok(())
            }
        }
    }

    /// The next connection; there is none while the line is closed.
    ///
    /// # Errors
    /// When a connection is gone already, when handles are short, or when the end of a pause finds the address taken.
    pub async fn accept(&mut self) -> io::Result<TcpStream> {
        if let State::Closed { until: Some(until), .. } = &self.state {
            tokio::time::sleep_until(*until).await;
            self.reopen()?;
        }
        match &self.state {
            State::Open(listener) => Ok(listener.accept().await?.0),
            State::Closed { .. } | State::Lost => future::pending().await,
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        let socket = match std::mem::replace(&mut self.state, State::Lost) {
            State::Open(listener) => {
                self.state = State::Open(listener);
                return Ok(());
            }
            State::Closed { socket, .. } => socket,
            State::Lost => bound(self.address)?,
        };
        self.state = State::Open(socket.listen(BACKLOG)?);
        Ok(())
    }
}

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net;

    use crate::standin::testing::{connect, exchange, order, send, start};

    #[test]
    fn a_pause_refuses_connections_and_drops_the_open_ones() {
        let standin = start();
        let (mut idle, mut hanging) = (connect(&standin), connect(&standin));
        exchange(&mut idle, &order(""));
        hanging.write_all(order("hang").as_bytes()).unwrap();
        standin.wait_for_requests(2, crate::standin::testing::PATIENCE);
        for _ in 0..2 {
            standin.pause();
            let refused = net::TcpStream::connect(standin.address()).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        }
        for stream in [&mut idle, &mut hanging] {
            // Either an end or a reset; both say that the connection is gone.
            assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
        }
        for _ in 0..2 {
            standin.resume();
            assert_eq!(exchange(&mut connect(&standin), &order("")).status(), 201);
        }
    }

    #[test]
    fn a_pause_over_http_ends_by_itself() {
        let standin = start();
        let mut other = connect(&standin);
        exchange(&mut other, &order(""));
        let reply = send(&standin, "POST", "/.standin/pause", r#"{"seconds":60}"#);
        assert_eq!(reply.status(), 204);
        assert!(net::TcpStream::connect(standin.address()).is_err());
        assert_eq!(other.read(&mut [0]).unwrap_or(0), 0);
        standin.resume();
        assert_eq!(send(&standin, "POST", "/.standin/pause", r#"{"seconds":0}"#).status(), 204);
        // The end of the pause is due at once, but nobody says when it has come.
        let started = std::time::Instant::now();
        while net::TcpStream::connect(standin.address()).is_err() {
            assert!(started.elapsed() < crate::standin::testing::PATIENCE);
        }
        assert_eq!(exchange(&mut connect(&standin), &order("")).status(), 201);
    }
}
