//! Serving: one acceptor, one worker thread per core, each connection handed to the least loaded worker.

mod connection;
mod context;
mod watched;

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc;

pub use connection::serve;
pub use context::{Load, Settings, WorkerContext};

/// What a worker is told.
enum Message {
    Connection(TcpStream, SocketAddr),
    Drain,
}

/// What serves the connections of one worker. It lives on the worker's thread and need not be `Send`.
pub trait Worker: 'static {
    /// Serves one connection until it ends.
    fn connection(
        &self,
        context: Rc<WorkerContext>,
        stream: tokio::net::TcpStream,
        peer: SocketAddr,
    ) -> impl Future<Output = ()> + 'static;

    /// Called about every quarter of a second.
    fn tick(&self) {}

    /// Called when the last connection has ended, before the worker ends.
    fn finish(&self) -> impl Future<Output = ()> {
        std::future::ready(())
    }
}

/// Observes what the acceptor does.
pub trait Observer: Send + Sync + 'static {
    /// A connection was accepted, or refused because there are too many.
    fn accepted(&self, taken: bool);
}

/// A running listener with its workers.
pub struct Server {
    address: SocketAddr,
    socket: Socket,
    stopping: Arc<AtomicBool>,
    workers: Vec<(mpsc::UnboundedSender<Message>, thread::JoinHandle<()>)>,
    acceptor: Option<thread::JoinHandle<()>>,
}

impl Server {
    /// Binds and starts. `worker` makes the code of each worker on that worker's thread.
    pub fn start<W: Worker>(
        settings: &Settings,
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
            let (started, start) = std::sync::mpsc::channel();
            let thread = thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
                let _alive = AbortUnlessDone("a worker");
                let runtime = match runtime() {
                    Ok(runtime) => runtime,
                    Err(error) => return drop(started.send(Err(error))),
                };
                let _ = started.send(Ok(()));
                let context = Rc::new(WorkerContext::new(number, seat_load, limits));
                runtime.block_on(work(context, Rc::new(make(number)), receiver));
            })?;
            start.recv().unwrap_or_else(|_| Err(io::Error::other("a worker did not start")))?;
            seats.push((sender.clone(), load));
            workers.push((sender, thread));
        }
        let stopping = Arc::new(AtomicBool::new(false));
        let listener: TcpListener = socket.try_clone()?.into();
        let (stop, connections_max) = (Arc::clone(&stopping), settings.connections_max);
        let acceptor = thread::Builder::new().name("acceptor".to_owned()).spawn(move || {
            let _alive = AbortUnlessDone("the acceptor");
            accept(&listener, &stop, &seats, connections_max, observer.as_ref());
        })?;
        Ok(Server { address, socket, stopping, workers, acceptor: Some(acceptor) })
    }

    /// The bound address.
    pub fn address(&self) -> SocketAddr {
        self.address
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

fn accept(
    listener: &TcpListener,
    stopping: &AtomicBool,
    seats: &[Seat],
    connections_max: usize,
    observer: &dyn Observer,
) {
    while !stopping.load(Ordering::Acquire) {
        let (stream, peer) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(_) if stopping.load(Ordering::Acquire) => return,
            Err(error) => {
                // A connection that is gone already is nobody's fault; descriptors that ran out come back as
                // connections end, so neither may end the loop, and neither may spin it.
                tracing::warn!(%error, "a connection could not be accepted");
                if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) {
                    thread::park_timeout(Duration::from_millis(50));
                }
                continue;
            }
        };
        let open: usize = seats.iter().map(|(_, load)| load.connections.load(Ordering::Relaxed)).sum();
        let taken = open < connections_max;
        observer.accepted(taken);
        if !taken {
            continue;
        }
        let (sender, load) = seats
            .iter()
            .min_by_key(|(_, load)| {
                (load.requests.load(Ordering::Relaxed), load.connections.load(Ordering::Relaxed))
            })
            .expect("there is a worker");
        let prepared = stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true));
        if prepared.is_ok() {
            load.connections.fetch_add(1, Ordering::Relaxed);
            // A worker that is gone has ended the process.
            let _ = sender.send(Message::Connection(stream, peer));
        }
    }
}

async fn work<W: Worker>(
    context: Rc<WorkerContext>,
    worker: Rc<W>,
    mut messages: mpsc::UnboundedReceiver<Message>,
) {
    let mut ticks = tokio::time::interval(Duration::from_millis(250));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = messages.recv() => match message {
                Some(Message::Connection(stream, peer)) => open(&context, &worker, stream, peer),
                Some(Message::Drain) | None => context.drain(),
            },
            _ = ticks.tick() => {
                context.end_overdue();
                worker.tick();
            }
        }
        if context.is_draining() {
            break;
        }
    }
    while context.load.connections.load(Ordering::Relaxed) > 0 {
        ticks.tick().await;
        while let Ok(Message::Connection(stream, peer)) = messages.try_recv() {
            open(&context, &worker, stream, peer);
        }
        context.drain();
        context.end_overdue();
        worker.tick();
    }
    worker.finish().await;
}

fn open<W: Worker>(context: &Rc<WorkerContext>, worker: &Rc<W>, stream: TcpStream, peer: SocketAddr) {
    let counted = Counted(Arc::clone(&context.load));
    let stream = match tokio::net::TcpStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => {
            tracing::warn!(%error, "a connection could not be registered");
            return;
        }
    };
    let (context, worker) = (Rc::clone(context), Rc::clone(worker));
    tokio::task::spawn_local(async move {
        let _counted = counted;
        worker.connection(context, stream, peer).await;
    });
}

/// Counts a connection as open until it is dropped.
struct Counted(Arc<Load>);

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
