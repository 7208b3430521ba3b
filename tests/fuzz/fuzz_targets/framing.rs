//! Framing: whatever arrives, and in whatever pieces, only whole requests with one reading are passed on.
#![no_main]

use countersign::server::{Fault, Framing, HeadLimits};
use libfuzzer_sys::fuzz_target;

const LIMITS: HeadLimits = HeadLimits { bytes_max: 1024, fields_max: 16 };

/// What is passed on when the bytes arrive in pieces of these sizes, in turn.
fn passed(bytes: &[u8], sizes: &[usize]) -> (Vec<u8>, u64, Option<Fault>) {
    let (mut framing, mut out, mut rest) = (Framing::default(), Vec::new(), bytes);
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (received, later) = rest.split_at((*size).clamp(1, rest.len()));
        rest = later;
        let passed = framing.take(received, &LIMITS);
        out.extend_from_slice(&passed.held);
        out.extend_from_slice(&received[..passed.taken]);
        if passed.fault.is_some() {
            return (out, framing.heads(), passed.fault);
        }
    }
    (out, framing.heads(), None)
}

/// How many requests another reader finds in what was passed on; `None` where it gives up.
fn requests(mut bytes: &[u8]) -> Option<u64> {
    let mut count = 0;
    while !bytes.is_empty() {
        let mut fields = [httparse::EMPTY_HEADER; LIMITS.fields_max];
        let mut request = httparse::Request::new(&mut fields);
        let httparse::Status::Complete(end) = request.parse(bytes).ok()? else {
            panic!("half a head was passed on: {:?}", String::from_utf8_lossy(bytes));
        };
        let head = &bytes[..end];
        assert!(head.iter().enumerate().all(|(at, byte)| *byte != b'\n' || at > 0 && head[at - 1] == b'\r'));
        count += 1;
        let values = |name: &str| {
            let of_name = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
            of_name.map(|field| field.value).collect::<Vec<_>>()
        };
        let (lengths, encodings) = (values("content-length"), values("transfer-encoding"));
        assert!(lengths.len() + encodings.len() <= 1, "a body of two lengths was passed on");
        bytes = &bytes[end..];
        if let [encoding] = encodings.as_slice() {
            assert!(encoding.eq_ignore_ascii_case(b"chunked"));
            bytes = behind_chunks(bytes)?;
        } else if let [length] = lengths.as_slice() {
            let length: u64 = std::str::from_utf8(length).unwrap().parse().unwrap();
            bytes = bytes.get(usize::try_from(length).unwrap()..).unwrap_or(&[]);
        }
    }
    Some(count)
}

/// What stands behind a chunked body; nothing where it has not ended.
fn behind_chunks(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let (start, size) = match httparse::parse_chunk_size(bytes).ok()? {
            httparse::Status::Complete(found) => found,
            httparse::Status::Partial => return Some(&[]),
        };
        bytes = &bytes[start..];
        if size > 0 {
            bytes = bytes.get(usize::try_from(size).unwrap() + 2..).unwrap_or(&[]);
            continue;
        }
        // Trailer lines, up to an empty one.
        loop {
            let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else { return Some(&[]) };
            bytes = &bytes[end + 2..];
            if end == 0 {
                return Some(bytes);
            }
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let whole = passed(bytes, &[bytes.len()]);
    for sizes in [&[1][..], &[2, 3], &[16, 1, 7], &[61]] {
        assert_eq!(passed(bytes, sizes), whole, "in pieces of {sizes:?}");
    }
    let (out, heads, _) = whole;
    assert!(bytes.starts_with(&out), "something else was passed on than arrived");
    if let Some(found) = requests(&out) {
        assert_eq!(found, heads, "{:?}", String::from_utf8_lossy(&out));
    }
});
