//! Serving: one acceptor, one worker thread per core, each connection handed to the least loaded worker.

mod addresses;
mod chunks;
mod connection;
mod context;
mod event;
mod fault;
mod framing;
mod movement;
mod settings;
mod state;
mod stream;
mod watched;

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ipnet::IpNet;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc;

use crate::server::addresses::{Addresses, Place};
use crate::server::stream::Stream;
use crate::tls;

pub use connection::{Accepted, serve};
pub use context::{Load, WorkerContext};
pub use event::{Event, Observer};
pub use fault::Fault;
pub use framing::{Framing, HeadLimits};
pub use settings::Settings;

/// How many connections beyond the bound are told so; those beyond them are closed without an answer.
const REFUSED_MAX: usize = 256;

/// What a worker is told.
enum Message {
    Connection(Seated),
    Drain,
}

/// A connection on its way to its worker. It counts as open until it is dropped.
struct Seated {
    socket: TcpStream,
    peer: SocketAddr,
    is_admitted: bool,
    _counted: Counted,
    _refused: Option<Counted>,
    _place: Option<Place>,
}

/// What serves the connections of one worker. It lives on the worker's thread and need not be `Send`.
pub trait Worker: 'static {
    /// Serves one connection until it ends.
    fn connection(
        &self,
        context: Rc<WorkerContext>,
        accepted: Accepted,
    ) -> impl Future<Output = ()> + 'static;

    /// Called about every quarter of a second.
    fn tick(&self) {}

    /// Called when the last connection has ended, before the worker ends.
    fn finish(&self) -> impl Future<Output = ()> {
        std::future::ready(())
    }
}

/// A running listener with its workers.
pub struct Server {
    address: SocketAddr,
    socket: Socket,
    stopping: Arc<AtomicBool>,
    workers: Vec<(mpsc::UnboundedSender<Message>, thread::JoinHandle<()>)>,
    acceptor: Option<thread::JoinHandle<()>>,
    loads: Vec<Arc<Load>>,
}

impl Server {
    /// Binds and starts. `worker` makes the code of each worker on that worker's thread.
    pub fn start<W: Worker>(
        settings: &Settings,
        tls: Option<Arc<tls::server::Live>>,
        observer: Arc<dyn Observer>,
        worker: impl Fn(usize) -> W + Send + Sync + Clone + 'static,
    ) -> io::Result<Server> {
        let socket = bind(settings.address)?;
        let address = socket.local_addr()?.as_socket().expect("an internet socket has such an address");
        let mut workers = Vec::with_capacity(settings.workers);
        let mut seats = Vec::with_capacity(settings.workers);
        for number in 0..settings.workers {
            let (sender, receiver) = mpsc::unbounded_channel();
            let load = Arc::new(Load::default());
            let (make, limits, seat_load) = (worker.clone(), settings.clone(), Arc::clone(&load));
            let (observer, tls) = (Arc::clone(&observer), tls.clone());
            let (started, start) = std::sync::mpsc::channel();
            let thread = thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
                let _alive = AbortUnlessDone("a worker");
                let runtime = match runtime() {
                    Ok(runtime) => runtime,
                    Err(error) => return drop(started.send(Err(error))),
                };
                let _ = started.send(Ok(()));
                let context = Rc::new(WorkerContext::new(number, seat_load, limits, observer));
                let floor = Rc::new(Floor { context, worker: make(number), tls });
                runtime.block_on(work(floor, receiver));
            })?;
            start.recv().unwrap_or_else(|_| Err(io::Error::other("a worker did not start")))?;
            seats.push((sender.clone(), load));
            workers.push((sender, thread));
        }
        let stopping = Arc::new(AtomicBool::new(false));
        let listener: TcpListener = socket.try_clone()?.into();
        let loads = seats.iter().map(|(_, load)| Arc::clone(load)).collect();
        let door = Door {
            seats,
            connections_max: settings.connections_max,
            addresses: Addresses::new(settings.connections_per_address_max),
            uncounted: settings.uncounted.clone(),
            refused: Arc::default(),
            observer,
        };
        let stop = Arc::clone(&stopping);
        let acceptor = thread::Builder::new().name("acceptor".to_owned()).spawn(move || {
            let _alive = AbortUnlessDone("the acceptor");
            accept(&listener, &stop, &door);
        })?;
        Ok(Server { address, socket, stopping, workers, acceptor: Some(acceptor), loads })
    }

    /// The bound address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        self.loads.iter().map(|load| load.connections.load(Ordering::Relaxed)).sum()
    }

    /// Takes no new connection, lets requests in flight finish and waits for the workers to end.
    pub fn drain(mut self) {
        self.stopping.store(true, Ordering::Release);
        // On Linux this wakes the blocking accept.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        for (sender, _) in &self.workers {
            let _ = sender.send(Message::Drain);
        }
        for (sender, thread) in self.workers.drain(..) {
            drop(sender);
            let _ = thread.join();
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // A successor process can bind before this one has drained.
    socket.set_reuse_port(address.port() != 0)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket)
}

/// The runtime of a worker: it never hands a task to another thread.
fn runtime() -> io::Result<tokio::runtime::LocalRuntime> {
    tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build_local(Default::default())
}

type Seat = (mpsc::UnboundedSender<Message>, Arc<Load>);

/// Where connections come in: who may enter, and where they are seated.
struct Door {
    seats: Vec<Seat>,
    connections_max: usize,
    addresses: Addresses,
    uncounted: Vec<IpNet>,
    /// Connections that are open only to be refused.
    refused: Arc<Load>,
    observer: Arc<dyn Observer>,
}

impl Door {
    fn enter(&self, socket: TcpStream, peer: SocketAddr) {
        let open: usize = self.seats.iter().map(|(_, load)| load.connections.load(Ordering::Relaxed)).sum();
        let (place, within) = self.addresses.enter(peer.ip(), &self.uncounted);
        let refused = self.refused.connections.load(Ordering::Relaxed);
        let is_admitted = open - refused.min(open) < self.connections_max && within;
        if !is_admitted && refused >= REFUSED_MAX {
            return self.observer.note(Event::Dropped);
        }
        self.observer.note(if is_admitted { Event::Accepted } else { Event::Refused });
        let (sender, load) = self
            .seats
            .iter()
            .min_by_key(|(_, load)| {
                (load.requests.load(Ordering::Relaxed), load.connections.load(Ordering::Relaxed))
            })
            .expect("there is a worker");
        if socket.set_nonblocking(true).and_then(|()| socket.set_nodelay(true)).is_ok() {
            let _counted = Counted::new(load);
            let _refused = (!is_admitted).then(|| Counted::new(&self.refused));
            // Who is only told that there are too many takes no place of those who are served.
            let _place = is_admitted.then_some(place);
            let seated = Seated { socket, peer, is_admitted, _counted, _refused, _place };
            // A worker that is gone has ended the process.
            let _ = sender.send(Message::Connection(seated));
        }
    }
}

fn accept(listener: &TcpListener, stopping: &AtomicBool, door: &Door) {
    while !stopping.load(Ordering::Acquire) {
        match listener.accept() {
            Ok((socket, peer)) => door.enter(socket, peer),
            Err(_) if stopping.load(Ordering::Acquire) => return,
            Err(error) => {
                // A connection that is gone already is nobody's fault; descriptors that ran out come back as
                // connections end, so neither may end the loop, and neither may spin it.
                tracing::warn!(%error, "a connection could not be accepted");
                if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) {
                    thread::park_timeout(Duration::from_millis(50));
                }
            }
        }
    }
}

/// What a worker thread works with.
struct Floor<W> {
    context: Rc<WorkerContext>,
    worker: W,
    tls: Option<Arc<tls::server::Live>>,
}

async fn work<W: Worker>(floor: Rc<Floor<W>>, mut messages: mpsc::UnboundedReceiver<Message>) {
    let context = &floor.context;
    let mut ticks = tokio::time::interval(Duration::from_millis(250));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = messages.recv() => match message {
                Some(Message::Connection(seated)) => open(&floor, seated),
                Some(Message::Drain) | None => context.drain(),
            },
            _ = ticks.tick() => {
                context.end_overdue();
                floor.worker.tick();
            }
        }
        if context.is_draining() {
            break;
        }
    }
    // Over HTTP/2 requests are tasks of their own, and may outlast their connection for a moment.
    while context.load.connections.load(Ordering::Relaxed) + context.load.requests.load(Ordering::Relaxed) > 0
    {
        ticks.tick().await;
        while let Ok(Message::Connection(seated)) = messages.try_recv() {
            open(&floor, seated);
        }
        context.drain();
        context.end_overdue();
        floor.worker.tick();
    }
    floor.worker.finish().await;
}

fn open<W: Worker>(floor: &Rc<Floor<W>>, seated: Seated) {
    let floor = Rc::clone(floor);
    tokio::task::spawn_local(async move {
        let Seated { socket, peer, is_admitted, _counted, _refused, _place } = seated;
        let socket = match tokio::net::TcpStream::from_std(socket) {
            Ok(socket) => socket,
            Err(error) => return tracing::warn!(%error, "a connection could not be registered"),
        };
        let Some(stream) = secure(&floor, socket).await else {
            return floor.context.observer.note(Event::HandshakeFailed);
        };
        floor.worker.connection(Rc::clone(&floor.context), Accepted { stream, peer, is_admitted }).await;
    });
}

/// Does the TLS handshake, where there is one to do.
async fn secure<W>(floor: &Floor<W>, socket: tokio::net::TcpStream) -> Option<Stream> {
    let Some(tls) = &floor.tls else { return Some(Stream::Plain(socket)) };
    let handshake = tokio::time::timeout(floor.context.limits.header_timeout, tls.accept(socket));
    match handshake.await {
        Ok(Ok(stream)) => Some(Stream::Tls(Box::new(stream))),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a handshake failed");
            None
        }
        Err(_) => None,
    }
}

/// Counts a connection as open until it is dropped.
struct Counted(Arc<Load>);

impl Counted {
    fn new(load: &Arc<Load>) -> Counted {
        load.connections.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(load))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A half-dead gateway is worse than a dead one: a thread that must not end ends the process.
pub struct AbortUnlessDone(pub &'static str);

impl Drop for AbortUnlessDone {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!(what = self.0, "a thread died, ending the process");
            std::process::abort();
        }
    }
}
