//! The log's way out: a thread of its own, so that a full disk or a stuck reader never stops judging.

use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// The most events that wait to be written; what comes beyond is lost.
const EVENTS_WAITING_MAX: usize = 4_096;

/// How long the last events may take to be written when the program ends.
const FINISH_MAX: Duration = Duration::from_secs(1);

enum Message {
    Event(Vec<u8>),
    Finish(SyncSender<()>),
}

/// Hands events to the thread that writes them to standard error.
#[derive(Clone)]
pub struct LogWriter(SyncSender<Message>);

impl LogWriter {
    /// Starts the thread.
    pub fn start() -> LogWriter {
        let (sender, messages) = sync_channel(EVENTS_WAITING_MAX);
        let write = move || {
            for message in messages {
                match message {
                    // Nobody can be told that nobody listens.
                    Message::Event(event) => drop(io::stderr().write_all(&event)),
                    Message::Finish(done) => drop(done.try_send(())),
                }
            }
        };
        // Without the thread there is no log, which is no reason not to run.
        let _ = std::thread::Builder::new().name("log".to_owned()).spawn(write);
        LogWriter(sender)
    }

    /// Waits for what was handed over so far, but not for ever.
    pub fn finish(&self) {
        let (done, finished) = sync_channel(1);
        if self.0.try_send(Message::Finish(done)).is_ok() {
            let _ = finished.recv_timeout(FINISH_MAX);
        }
    }
}

impl Write for LogWriter {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let _ = self.0.try_send(Message::Event(event.to_vec()));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for LogWriter {
    type Writer = LogWriter;

    fn make_writer(&'w self) -> LogWriter {
        self.clone()
    }
}
