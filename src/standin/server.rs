//! Server: takes connections and serves them, all of them on the one thread it runs on.

use std::fmt;
use std::sync::{Arc, Mutex};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};

use crate::standin::exchange;
use crate::standin::line::{Port, Wish, Wishes};
use crate::standin::locked::locked;
use crate::standin::shared::Shared;
use crate::standin::wire::Takeover;

/// Serves connections until `stopped` resolves, which it does when its sender is dropped.
pub async fn run(
    mut port: Port,
    shared: Arc<Shared>,
    mut wishes: Wishes,
    mut stopped: oneshot::Receiver<()>,
) {
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            Some((wish, done)) = wishes.recv() => {
                let result = port.obey(wish);
                if let Wish::Pause(_) = wish {
                    shared.line.cut();
                }
                done(result);
            }
            accepted = port.accept() => match accepted {
                Ok(stream) => {
                    tokio::spawn(serve(stream, Arc::clone(&shared), shared.line.cuts()));
                }
                // Of one connection, or of the process being short of handles: others go on, and may give some back.
                Err(_) => tokio::task::yield_now().await,
            },
        }
    }
}

/// Where a request leaves the answer that has to be given by hand.
type TakeoverSlot = Arc<Mutex<Option<Takeover>>>;

async fn serve(mut stream: TcpStream, shared: Arc<Shared>, mut cuts: watch::Receiver<()>) {
    loop {
        // Answers are small and go out in one write; waiting for more to send would only delay them.
        let _ = stream.set_nodelay(true);
        let slot = TakeoverSlot::default();
        let service = service_fn(|request| {
            let (shared, slot) = (Arc::clone(&shared), Arc::clone(&slot));
            async move {
                match exchange::answer(request, &shared).await {
                    Ok(response) => Ok(response),
                    Err(takeover) => {
                        *locked(&slot) = Some(takeover);
                        // Gives the connection a turn to flush what it still holds, like a `100 Continue`.
                        tokio::task::yield_now().await;
                        Err(TakenOver)
                    }
                }
            }
        });
        let mut connection =
            http1::Builder::new().header_read_timeout(None).serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            _ = cuts.changed() => return,
            // An error says either that the other side broke off, which is its business, or that a request took over.
            _ = &mut connection => {}
        }
        let taken = locked(&slot).take();
        let Some(takeover) = taken else { return };
        if let Some(lasting) = takeover.pause() {
            // An error says that the address is lost, which the caller will see for itself.
            let _ = shared.line.fulfilled(Wish::Pause(Some(lasting))).await;
            // This connection still has its answer to give.
            cuts.mark_unchanged();
        }
        let parts = connection.into_parts();
        tokio::select! {
            _ = cuts.changed() => return,
            played = takeover.play(parts.io.into_inner(), parts.read_buf) => match played {
                Ok(Some(reusable)) => stream = reusable,
                Ok(None) | Err(_) => return,
            },
        }
    }
}

/// Tells the HTTP library to let go of the connection.
#[derive(Debug)]
struct TakenOver;

impl fmt::Display for TakenOver {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("answered by hand")
    }
}

impl std::error::Error for TakenOver {}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use crate::standin::testing::{PATIENCE, connect, exchange, order, read_reply, start};

    #[test]
    fn an_order_goes_over_a_connection_that_stays_open() {
        let standin = start();
        let mut stream = connect(&standin);
        for _ in 0..2 {
            let reply = exchange(&mut stream, &order(""));
            assert_eq!(reply.status(), 201);
            assert_eq!(reply.field("ms-requestid"), Some("r-1"));
            assert!(reply.field("ms-correlationid").is_some());
            let media_type = Some("application/json; charset=utf-8");
            assert_eq!(reply.field("content-type"), media_type);
            assert_eq!(reply.json()["referenceCustomerId"], "c");
        }
    }

    #[test]
    fn a_body_is_asked_for_where_the_caller_waits_for_it() {
        let standin = start();
        let mut stream = connect(&standin);
        let head = "POST /v1/customers/c/carts HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\
                    Content-Length: 2\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        assert_eq!(read_reply(&mut stream, false).status(), 100);
        assert_eq!(exchange(&mut stream, "{}").status(), 201);
    }

    #[test]
    fn a_hanging_request_does_not_keep_the_others_waiting() {
        let standin = start();
        let mut hanging = connect(&standin);
        hanging.write_all(order("hang").as_bytes()).unwrap();
        assert!(standin.wait_for_requests(1, PATIENCE));
        standin.release();
        assert_eq!(exchange(&mut connect(&standin), &order("")).status(), 201);
        // Dropping the stand-in ends it at last, without an answer.
        drop(standin);
        let mut rest = Vec::new();
        let _ = hanging.read_to_end(&mut rest);
        assert!(rest.is_empty());
    }
}
