//! Revocation lists: what one lacks that can not be used.

/// Tags of DER (X.690 section 8.1.2).
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const EXTENSIONS: u8 = 0xa0;

/// What a revocation list lacks of what every list has to have (RFC 5280 sections 5.1.2 and 5.2); `None` where it lacks
/// nothing of that, or is no revocation list.
pub fn lacking(der: &[u8]) -> Option<String> {
    let (list, _) = of_tag(der, SEQUENCE)?;
    let (mut rest, _) = of_tag(list, SEQUENCE)?;
    let mut tags = Vec::new();
    let mut version: &[u8] = &[];
    while let Some((tag, content, behind)) = element(rest) {
        if tags.is_empty() && tag == INTEGER {
            version = content;
        }
        tags.push(tag);
        rest = behind;
    }
    if !rest.is_empty() {
        return None;
    }
    let times = tags.iter().filter(|tag| [UTC_TIME, GENERALIZED_TIME].contains(tag)).count();
    let all = [
        // Version 2 is written as 1, version 1 by leaving it out.
        (version == [1], "version 2 (it is of version 1)"),
        (times == 2, "a `nextUpdate`"),
        (tags.contains(&EXTENSIONS), "extensions (authority key identifier, CRL number)"),
    ];
    let lacks: Vec<&str> = all.iter().filter(|(has, _)| !has).map(|(_, what)| *what).collect();
    (!lacks.is_empty() && times > 0).then(|| lacks.join(", "))
}

/// The content of what begins with that tag, and what follows it.
fn of_tag(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, behind) = element(der)?;
    (found == tag).then_some((content, behind))
}

/// The first element: its tag, its content, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], mut rest) = der.split_first_chunk()?;
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let (digits, behind) = rest.split_at_checked(usize::from(first & 0x7f))?;
        // Longer numbers are lengths of more than any file that is read.
        length = (digits.len() <= 4)
            .then(|| digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)))?;
        rest = behind;
    }
    let (content, behind) = rest.split_at_checked(length)?;
    Some((tag, content, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len();
        match length {
            0..0x80 => [&[tag, length as u8], content].concat(),
            _ => [&[tag, 0x82, (length >> 8) as u8, length as u8], content].concat(),
        }
    }

    #[test]
    fn a_list_is_told_what_it_lacks() {
        let (one, zero) = (der(INTEGER, &[1]), der(INTEGER, &[0]));
        let (algorithm, issuer) = (der(SEQUENCE, &[6, 1, 1]), der(SEQUENCE, &[]));
        let (this, next) = (der(UTC_TIME, b"260101000000Z"), der(GENERALIZED_TIME, b"29990101000000Z"));
        let revoked = der(SEQUENCE, &[0x30; 300]);
        let extensions = der(EXTENSIONS, &der(SEQUENCE, &[]));
        let list = |fields: &[&Vec<u8>]| {
            let fields: Vec<u8> = fields.iter().flat_map(|field| field.iter().copied()).collect();
            der(SEQUENCE, &[der(SEQUENCE, &fields), algorithm.clone(), vec![3, 1, 0]].concat())
        };
        let nothing: &[&str] = &[];
        for (what, list, lacks) in [
            ("whole", list(&[&one, &algorithm, &issuer, &this, &next, &extensions]), nothing),
            (
                "with entries",
                list(&[&one, &algorithm, &issuer, &this, &next, &revoked, &extensions]),
                nothing,
            ),
            ("version 1", list(&[&algorithm, &issuer, &this, &next, &revoked]), &["version 2", "extensions"]),
            (
                "version 1, said",
                list(&[&zero, &algorithm, &issuer, &this, &next, &extensions]),
                &["version 2"],
            ),
            ("no extensions", list(&[&one, &algorithm, &issuer, &this, &next, &revoked]), &["extensions"]),
            ("no next update", list(&[&one, &algorithm, &issuer, &this, &extensions]), &["nextUpdate"]),
            ("oldest", list(&[&algorithm, &issuer, &this]), &["version 2", "nextUpdate", "extensions"]),
            ("no list", list(&[&one, &algorithm, &issuer]), nothing),
            ("empty", Vec::new(), nothing),
            ("cut", list(&[&algorithm, &issuer, &this, &next])[..20].to_vec(), nothing),
            ("a length of nine bytes", [&[SEQUENCE, 0x89][..], &[1; 20]].concat(), nothing),
        ] {
            let found = lacking(&list);
            assert_eq!(found.is_some(), !lacks.is_empty(), "{what}: {found:?}");
            let found = found.unwrap_or_default();
            let count = found.matches("version 2").count()
                + found.matches("nextUpdate").count()
                + found.matches("extensions").count();
            assert!(lacks.iter().all(|lack| found.contains(lack)) && count == lacks.len(), "{what}: {found}");
        }
    }
}
