//! Chunks: the end of a chunked body, found without decoding it (RFC 9112 section 7.1).

use crate::server::fault::Fault;

/// The most bytes of extensions of one chunk; nothing here reads them.
const EXTENSION_BYTES_MAX: u32 = 256;
/// A size of more digits is taken for another number by some readers.
const SIZE_DIGITS_MAX: u8 = 12;

/// How far a chunked body has been read.
#[derive(Clone, Copy, Debug)]
pub struct Chunks {
    at: At,
    trailer_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
enum At {
    Size { size: u64, digits: u8 },
    Extension { size: u64, bytes: u32 },
    SizeEnd { size: u64 },
    Data { left: u64 },
    DataReturn,
    DataEnd,
    TrailerStart,
    Trailer,
    TrailerEnd,
    LastEnd,
}

const SIZE: At = At::Size { size: 0, digits: 0 };

impl Default for Chunks {
    fn default() -> Chunks {
        Chunks { at: SIZE, trailer_bytes: 0 }
    }
}

impl Chunks {
    /// How many of these bytes belong to the body, and whether it has ended with them; or how many stand before a fault.
    pub fn take(
        &mut self,
        received: &[u8],
        trailer_bytes_max: usize,
    ) -> Result<(usize, bool), (usize, Fault)> {
        let mut taken = 0;
        while taken < received.len() {
            if let At::Data { left } = &mut self.at {
                let now = (received.len() - taken).min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= now as u64;
                taken += now;
                if *left == 0 {
                    self.at = At::DataReturn;
                }
                continue;
            }
            let byte = received[taken];
            self.at = match (self.at, byte) {
                (At::Size { size, digits }, byte) if byte.is_ascii_hexdigit() && digits < SIZE_DIGITS_MAX => {
                    let digit = char::from(byte).to_digit(16).expect("a hexadecimal digit");
                    At::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
                }
                (At::Size { size, digits: 1.. }, b'\r') => At::SizeEnd { size },
                (At::Size { size, digits: 1.. }, b';') => At::Extension { size, bytes: 0 },
                (At::Extension { size, .. }, b'\r') => At::SizeEnd { size },
                (At::Extension { size, bytes }, b'\t' | b' '..=b'~') if bytes < EXTENSION_BYTES_MAX => {
                    At::Extension { size, bytes: bytes + 1 }
                }
                (At::SizeEnd { size: 0 }, b'\n') => At::TrailerStart,
                (At::SizeEnd { size }, b'\n') => At::Data { left: size },
                (At::DataReturn, b'\r') => At::DataEnd,
                (At::DataEnd, b'\n') => SIZE,
                (At::TrailerStart, b'\r') => At::LastEnd,
                (At::LastEnd, b'\n') => return Ok((taken + 1, true)),
                // A trailer field that goes on in a further line has two readings.
                (At::TrailerStart, b' ' | b'\t' | b'\n') => return Err((taken, Fault::Chunk)),
                (At::Trailer, b'\r') => At::TrailerEnd,
                (At::TrailerEnd, b'\n') => At::TrailerStart,
                (At::TrailerStart | At::Trailer, byte) if byte != b'\n' => {
                    self.trailer_bytes += 1;
                    if self.trailer_bytes > trailer_bytes_max {
                        return Err((taken, Fault::HeadTooLarge));
                    }
                    At::Trailer
                }
                _ => return Err((taken, Fault::Chunk)),
            };
            taken += 1;
        }
        Ok((taken, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(text: &str) -> Result<(usize, bool), Fault> {
        Chunks::default().take(text.as_bytes(), 32).map_err(|(_, fault)| fault)
    }

    #[test]
    fn the_end_of_a_body_is_found() {
        for text in
            ["0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", "A;x=\"y\"\r\n0123456789\r\n00\r\nA: b\r\nC: d\r\n\r\n"]
        {
            assert_eq!(end(&format!("{text}GET")), Ok((text.len(), true)), "{text:?}");
            for cut in 0..text.len() {
                assert_eq!(end(&text[..cut]), Ok((cut, false)), "{:?}", &text[..cut]);
            }
        }
    }

    #[test]
    fn a_second_reading_is_a_fault() {
        let long = "a".repeat(300);
        for text in [
            "\r\n",
            ";a\r\n",
            "5 \r\nhello\r\n",
            " 5\r\nhello\r\n",
            "0x5\r\nhello\r\n",
            "-1\r\n",
            "5\nhello\r\n",
            "5\r\nhelloX\r\n",
            "5\r\nhello\n0\r\n",
            "5\r\nhello\r\r0\r\n",
            "5;a\nb\r\nhello\r\n",
            "5;a\u{0}\r\nhello\r\n",
            "0000000000005\r\nhello\r\n",
            "0\r\n\n",
            "0\r\nA: b\n\r\n",
            "0\r\n A: b\r\n\r\n",
            "0\r\nA: b\r\n c\r\n\r\n",
            &format!("5;{long}\r\nhello\r\n"),
        ] {
            assert_eq!(end(text), Err(Fault::Chunk), "{text:?}");
        }
        assert_eq!(end(&format!("0\r\nA: {long}\r\n\r\n")), Err(Fault::HeadTooLarge));
    }
}
