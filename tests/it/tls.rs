//! TLS on the listener: versions, certificates that change, client certificates.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use countersign::config;
use jiff::Timestamp;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind};

use crate::authority::{Authority, Identity, connect, handshake};
use crate::http::Connection;
use crate::stage::{CUSTOMER, Stage, eventually, order, orders};

/// A stage that shows the certificate `server.pem`; `more` are further keys of `listen.tls`.
pub fn secured(authority: &Authority, more: &str, extra: &str) -> Stage {
    Stage::edited(extra, |text, folder| {
        authority.identity(1).write(folder, "server");
        std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
        std::fs::write(folder.join("crl.pem"), authority.revocations(&[])).unwrap();
        let tls = format!("tls: {{ certificate: server.pem, private_key: server.key{more} }}, workers");
        text.replacen("workers", &tls, 1)
    })
}

fn client(authority: &Authority, identity: Option<&Identity>) -> Arc<ClientConfig> {
    Arc::new(authority.client(identity, &[&TLS13, &TLS12]))
}

/// The status of an order on a connection of its own; `None` where there is no answer.
fn try_order(stage: &Stage, config: &Arc<ClientConfig>) -> Option<u16> {
    Some(try_order_and_tell(stage, config)?.0)
}

/// .. with how its handshake went. Whoever has read an answer has what it takes to resume the session.
fn try_order_and_tell(stage: &Stage, config: &Arc<ClientConfig>) -> Option<(u16, HandshakeKind)> {
    let stream = handshake(config, stage.address()).ok()?;
    let kind = stream.conn.handshake_kind()?;
    let mut connection = Connection::over(stream);
    // With TLS 1.3 a client learns only now that its certificate was refused.
    connection.try_send(&stage.request("POST", &orders(CUSTOMER), &[], order().as_bytes())).ok()?;
    connection.try_read(false).ok().map(|answer| (answer.status, kind))
}

#[test]
fn orders_pass_over_both_versions() {
    let authority = Authority::new();
    let stage = secured(&authority, "", "");
    for version in [&TLS12, &TLS13] {
        assert_eq!(try_order(&stage, &Arc::new(authority.client(None, &[version]))), Some(201));
    }
    let seen = stage.standin.recorded();
    let proto = seen[0].headers.iter().find(|(name, _)| name == "x-forwarded-proto");
    assert_eq!(proto.map(|(_, value)| value.as_slice()), Some(&b"https"[..]));
    // Whoever speaks no TLS gets no answer, and costs nobody else one.
    let mut plain = Connection::open(stage.address());
    plain.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(plain.try_read(false).is_err());
    eventually(|| stage.metric("countersign_connections_total{outcome=\"handshake_failed\"}") == 1.0);
    assert_eq!(try_order(&stage, &client(&authority, None)), Some(201));
    assert_eq!(try_order(&stage, &client(&Authority::new(), None)), None, "another authority is not trusted");
}

#[test]
fn a_changed_certificate_is_shown_and_no_connection_is_lost() {
    let authority = Authority::new();
    let stage = secured(&authority, "", "");
    let config = client(&authority, None);
    assert_eq!(stage.metric("countersign_tls_last_reload_ok"), 1.0, "those it was started with are good");
    let (mut open, first) = connect(&config, stage.address()).unwrap();
    let other = authority.identity(2);
    other.write(stage.folder.path(), "server");
    eventually(|| connect(&config, stage.address()).unwrap().1 != first);
    assert_eq!(stage.metric("countersign_tls_last_reload_ok"), 1.0);
    // A key that is not the certificate's changes nothing.
    std::fs::write(stage.path("server.key"), authority.identity(3).key).unwrap();
    eventually(|| stage.metric("countersign_tls_reloads_total{outcome=\"refused\"}") == 1.0);
    assert_eq!(stage.metric("countersign_tls_last_reload_ok"), 0.0);
    assert_eq!(stage.reload().status, 422);
    assert_eq!(try_order(&stage, &config), Some(201));
    other.write(stage.folder.path(), "server");
    assert_eq!(stage.reload().status, 200);
    open.send(&stage.request("POST", &orders(CUSTOMER), &[], order().as_bytes()));
    assert_eq!(open.read().status, 201, "the first connection goes on");
}

#[test]
fn clients_show_certificates_where_they_have_to() {
    let authority = Authority::new();
    let (good, revoked) = (authority.identity(10), authority.identity(11));
    let foreign = Authority::new().identity(12);
    for (more, without) in
        [(", client_ca: ca.pem", None), (", client_ca: ca.pem, client_certificates: optional", Some(201))]
    {
        let stage = secured(&authority, more, "");
        assert_eq!(try_order(&stage, &client(&authority, None)), without, "{more}");
        assert_eq!(try_order(&stage, &client(&authority, Some(&good))), Some(201), "{more}");
        assert_eq!(try_order(&stage, &client(&authority, Some(&foreign))), None, "{more}");
    }
    let stage = secured(&authority, ", client_ca: ca.pem, client_crl: crl.pem", "");
    // The same configuration each time: its sessions are resumed where the gateway lets them.
    let (good, revoked) = (client(&authority, Some(&good)), client(&authority, Some(&revoked)));
    for _ in 0..2 {
        assert_eq!(try_order(&stage, &good), Some(201));
        assert_eq!(try_order(&stage, &revoked), Some(201));
    }
    std::fs::write(stage.path("crl.pem"), authority.revocations(&[11])).unwrap();
    eventually(|| try_order(&stage, &revoked).is_none());
    assert_eq!(try_order(&stage, &good), Some(201));
    std::fs::write(stage.path("crl.pem"), "nothing").unwrap();
    eventually(|| stage.metric("countersign_tls_last_reload_ok") == 0.0);
    assert_eq!(try_order(&stage, &revoked), None, "the last good list stays in force");
}

/// An element of DER, of fewer than 64 KiB.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag, 0x82, (content.len() >> 8) as u8, content.len() as u8], content].concat()
}

fn pem(list: &[u8]) -> String {
    format!("-----BEGIN X509 CRL-----\n{}\n-----END X509 CRL-----\n", STANDARD.encode(list))
}

/// A revocation list without extensions, in PEM: of version 1, or of version 2 as far as it says so.
fn bare_revocations(version: &[u8]) -> String {
    let algorithm = der(0x30, &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]);
    let time = |text: &str| der(0x18, text.as_bytes());
    let times = [time("20260101000000Z"), time("29990101000000Z")].concat();
    let listed = der(0x30, &[version, &algorithm, &der(0x30, &[]), &times].concat());
    let list = der(0x30, &[listed, algorithm, der(3, &[0])].concat());
    pem(&list)
}

#[test]
fn a_revocation_list_that_can_not_be_used_says_what_it_lacks_at_its_own_line() {
    let authority = Authority::new();
    let good = authority.revocations(&[1]);
    let stage = secured(&authority, ", client_ca: ca.pem,\n    client_crl: crl.pem", "");
    let path = stage.path("countersign.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let line = 1 + text.lines().position(|line| line.contains("client_crl")).unwrap();
    for (what, list, said) in [
        (
            "version 1",
            bare_revocations(&[]),
            "revocation list 1 lacks version 2 (it is of version 1), extensions",
        ),
        ("version 2", bare_revocations(&[2, 1, 1]), "revocation list 1 lacks extensions"),
        ("the second", good.clone() + &bare_revocations(&[]), "revocation list 2 lacks version 2"),
        ("malformed", pem(&der(0x30, &[])), "crl.pem can not be used"),
        ("nothing", "nothing".to_owned(), "holds no X509 CRL in PEM form"),
    ] {
        std::fs::write(stage.path("crl.pem"), list).unwrap();
        let report = config::load_text(&path, &text, &[], Timestamp::now()).report(false);
        assert!(report.contains(said), "{what}: expected `{said}`\n{report}");
        assert!(
            report.contains(&format!("countersign.yaml:{line}:")),
            "{what}: not at line {line}\n{report}"
        );
        assert_eq!(report.contains("crl_extensions"), said.contains("lacks"), "{what}: a hint\n{report}");
    }
    std::fs::write(stage.path("crl.pem"), good).unwrap();
    let loaded = config::load_text(&path, &text, &[], Timestamp::now());
    assert!(loaded.settings.is_some(), "{}", loaded.report(false));
}

#[test]
fn sessions_go_on_across_a_new_certificate_and_not_across_other_revocation_lists() {
    let authority = Authority::new();
    for version in [&TLS12, &TLS13] {
        let stage = secured(&authority, ", client_ca: ca.pem, client_crl: crl.pem", "");
        let caller = Arc::new(authority.client(Some(&authority.identity(10)), &[version]));
        let order = || try_order_and_tell(&stage, &caller);
        assert_eq!(order(), Some((201, HandshakeKind::Full)), "{version:?}");
        assert_eq!(order(), Some((201, HandshakeKind::Resumed)), "{version:?}");

        let shown = || {
            // Somebody new each time: a session that is resumed remembers the certificate it began with.
            let anybody = Arc::new(authority.client(Some(&authority.identity(12)), &[version]));
            connect(&anybody, stage.address()).unwrap().1
        };
        let first = shown();
        authority.identity(2).write(stage.folder.path(), "server");
        eventually(|| shown() != first);
        assert_eq!(order(), Some((201, HandshakeKind::Resumed)), "{version:?}: a new certificate");

        std::fs::write(stage.path("crl.pem"), authority.revocations(&[99])).unwrap();
        eventually(|| order() == Some((201, HandshakeKind::Full)));
        assert_eq!(order(), Some((201, HandshakeKind::Resumed)), "{version:?}");
    }
}

#[test]
fn a_session_without_a_certificate_ends_where_one_is_required() {
    let authority = Authority::new();
    for version in [&TLS12, &TLS13] {
        let stage = secured(&authority, ", client_ca: ca.pem, client_certificates: optional", "");
        let caller = Arc::new(authority.client(None, &[version]));
        assert_eq!(try_order_and_tell(&stage, &caller), Some((201, HandshakeKind::Full)), "{version:?}");
        assert_eq!(try_order_and_tell(&stage, &caller), Some((201, HandshakeKind::Resumed)), "{version:?}");
        let path = stage.path("countersign.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("optional", "required")).unwrap();
        assert_eq!(stage.reload().status, 200);
        // Somebody new each time.
        eventually(|| try_order(&stage, &Arc::new(authority.client(None, &[version]))).is_none());
        assert_eq!(try_order_and_tell(&stage, &caller), None, "{version:?}: of a session from before");
    }
}
