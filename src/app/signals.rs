//! Signals: which are heeded, and what they mean.

/// What a signal means.
pub enum Signal {
    /// Reload the configuration.
    Reload,
    /// Drain and stop.
    Stop,
}

/// The signals that are heeded, where any is.
pub struct Signals(Option<[tokio::signal::unix::Signal; 3]>);

impl Signals {
    /// Heeds SIGHUP, SIGTERM and SIGINT, or none.
    pub fn new(heeded: bool) -> Signals {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).expect("signal handlers can be installed");
        let kinds = [SignalKind::hangup(), SignalKind::terminate(), SignalKind::interrupt()];
        Signals(heeded.then(|| kinds.map(listen)))
    }

    /// The next one.
    pub async fn next(&mut self) -> Signal {
        match &mut self.0 {
            None => std::future::pending().await,
            Some([hangup, terminate, interrupt]) => tokio::select! {
                _ = hangup.recv() => Signal::Reload,
                _ = terminate.recv() => Signal::Stop,
                _ = interrupt.recv() => Signal::Stop,
            },
        }
    }
}
