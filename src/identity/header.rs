//! The header of a token: its algorithm and its key.

use jsonwebtoken::Algorithm;

use crate::extract::json::{Document, Value};
use crate::identity::claim;
use crate::identity::fault::TokenFault::{self, Invalid};
use crate::identity::keys::ALGORITHMS;

/// Types of a token for an API, compared without regard to case; `application/` may be left out (RFC 7515 section 4.1.9,
/// RFC 9068 section 2.1).
const TYPES: [&str; 4] = ["JWT", "application/jwt", "at+jwt", "application/at+jwt"];

/// Algorithm and key id of a header that asks for nothing unusual.
pub fn read<'d>(header: &'d Document<'_>) -> Result<(Algorithm, Option<&'d str>), TokenFault> {
    // What these ask for is not done here, and a reader that ignores `crit` reads another token than was signed.
    // `jku`, `x5u`, `x5c` and `x5t` are no part of it: several identity providers put them into every token. They may be
    // ignored (RFC 7515 section 4.1), and are: nothing is fetched from there, and no key is taken from there.
    if ["crit", "b64", "zip", "enc", "jwk"].iter().any(|name| header.member(0, name).is_some()) {
        return Err(Invalid("the token's header asks for what is not accepted"));
    }
    let algorithm = claim::text(header, "alg")
        .and_then(|name| ALGORITHMS.iter().find(|(known, _)| *known == name))
        .ok_or(Invalid("the token's algorithm is not accepted"))?;
    if let Some(node) = claim::member(header, "typ") {
        let accepted = matches!(&header.node(node).value, Value::Text(text)
            if TYPES.iter().any(|known| text.eq_ignore_ascii_case(known)));
        if !accepted {
            return Err(Invalid("the token is of another type"));
        }
    }
    let kid = match claim::member(header, "kid").map(|node| &header.node(node).value) {
        None => None,
        Some(Value::Text(text)) => Some(text.as_ref()),
        Some(_) => return Err(Invalid("the token's key id is no text")),
    };
    Ok((algorithm.1, kid))
}
