//! Who trusts whom, and what is said when one does not.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

mod common;

use std::sync::Arc;

use common::{Authority, NAME, NOW, Pair, client, self_signed_ca, server};
use rcgen::ExtendedKeyUsagePurpose;
use tquic_crypto::session::{ClientAuth, ConfigError, ServerIdentity};
use tquic_crypto::{ClientConfig, ServerConfig, Session, TlsError};
use tquic_wire::Version;

fn error_of_client(client: &ClientConfig, server: &ServerConfig) -> (u8, String) {
    let TlsError { alert, reason } = Pair::new(client, server).run().unwrap_err().client();
    (alert, reason)
}

fn with_certificate(identity: &common::Identity) -> ServerConfig {
    ServerConfig::builder()
        .certificate(identity.chain.as_bytes(), identity.key.as_bytes())
        .unwrap()
        .alpn(&["h3"])
        .build()
        .unwrap()
}

#[test]
fn wrong_ca() {
    let client = client(&Authority::new("one")).build().unwrap();
    let server = server(&Authority::new("other")).build().unwrap();
    let expected = "the certificate is not signed by a trusted CA";
    assert_eq!(error_of_client(&client, &server), (48, expected.to_owned()));
}

/// RFC 9114 section 3.1.
#[test]
fn wrong_name() {
    let ca = Authority::new("CA");
    let client = client(&ca).build().unwrap();
    let server = with_certificate(&ca.server(&["a.example", "*.b.example", "192.0.2.1"]));
    let (alert, reason) = error_of_client(&client, &server);
    assert_eq!(alert, 42);
    assert_eq!(
        reason,
        "the certificate is for a.example, *.b.example, 192.0.2.1, not for server.example"
    );
}

#[test]
fn wrong_dates() {
    let ca = Authority::new("CA");
    let server = server(&ca).build().unwrap();
    let late = client(&ca).clock(Arc::new(|| NOW + 365 * 86_400)).build().unwrap();
    let expected = "the certificate expired on 2026-01-01".to_owned();
    assert_eq!(error_of_client(&late, &server), (45, expected));
    let early = client(&ca).clock(Arc::new(|| NOW - 365 * 86_400)).build().unwrap();
    let expected = "the certificate is not valid before 2025-01-01".to_owned();
    assert_eq!(error_of_client(&early, &server), (45, expected));
}

#[test]
fn wrong_purpose() {
    let ca = Authority::new("CA");
    let client = client(&ca).build().unwrap();
    let server = with_certificate(&ca.issue(&[NAME], ExtendedKeyUsagePurpose::ClientAuth));
    let (alert, reason) = error_of_client(&client, &server);
    assert_eq!(alert, 43);
    assert!(reason.contains("not meant for this purpose"), "{reason}");
}

#[test]
fn a_self_signed_certificate() {
    let identity = self_signed_ca(&[NAME]);
    let server = with_certificate(&identity);
    let trusting = |now: u64| {
        ClientConfig::builder()
            .roots(identity.chain.as_bytes())
            .unwrap()
            .alpn(&["h3"])
            .clock(Arc::new(move || now))
            .build()
            .unwrap()
    };
    Pair::connected(&trusting(NOW), &server);
    // Its dates and names count still.
    assert_eq!(error_of_client(&trusting(NOW + 365 * 86_400), &server).0, 45);
    let session = Session::client(&trusting(NOW), Version::V1, "other.example", Vec::new());
    let mut pair = Pair::new(&trusting(NOW), &server);
    pair.client = common::End::new(session.unwrap());
    assert_eq!(pair.run().unwrap_err().client().alert, 42);
    // Another one of the same kind is not trusted.
    let (alert, _) = error_of_client(&trusting(NOW), &with_certificate(&self_signed_ca(&[NAME])));
    assert!(alert == 48 || alert == 46, "{alert}");
}

#[test]
fn no_verification() {
    let client = ClientConfig::builder().insecure_no_verification().alpn(&["h3"]).build().unwrap();
    Pair::connected(&client, &server(&Authority::new("any")).build().unwrap());
    Pair::connected(&client, &with_certificate(&self_signed_ca(&["any.example"])));
}

#[test]
fn der_works_too() {
    let ca = Authority::new("CA");
    let client = ClientConfig::builder()
        .roots(&ca.der())
        .unwrap()
        .alpn(&["h3"])
        .clock(Arc::new(|| NOW))
        .build()
        .unwrap();
    Pair::connected(&client, &server(&ca).build().unwrap());
}

#[test]
fn ip_addresses_are_names() {
    let ca = Authority::new("CA");
    let client = client(&ca).build().unwrap();
    let server = with_certificate(&ca.server(&["192.0.2.1", "2001:db8::1"]));
    for (address, good) in [("192.0.2.1", true), ("2001:db8::1", true), ("192.0.2.2", false)] {
        let mut pair = Pair::new(&client, &server);
        let session = Session::client(&client, Version::V1, address, Vec::new()).unwrap();
        pair.client = common::End::new(session);
        assert_eq!(pair.run().is_ok(), good, "{address}");
    }
}

#[test]
fn certificates_by_name() {
    let ca = Authority::new("CA");
    let (one, two) = (ca.server(&["one.example"]), ca.server(&["*.two.example"]));
    let server = ServerConfig::builder()
        .certificate(one.chain.as_bytes(), one.key.as_bytes())
        .unwrap()
        .certificate(two.chain.as_bytes(), two.key.as_bytes())
        .unwrap()
        .alpn(&["h3"])
        .build()
        .unwrap();
    let client = client(&ca).build().unwrap();
    for (name, good) in [("one.example", true), ("a.two.example", true), ("three.example", false)] {
        let mut pair = Pair::new(&client, &server);
        let session = Session::client(&client, Version::V1, name, Vec::new()).unwrap();
        pair.client = common::End::new(session);
        assert_eq!(pair.run().is_ok(), good, "{name}");
        assert_eq!(pair.server.session.server_name(), Some(name));
    }
}

#[test]
fn names_decide_before_what_certificates_say() {
    let ca = Authority::new("CA");
    let wide = ca.server(&["*.wide.example", "*.two.example", "other.org"]);
    let (exact, starred) = (ca.server(&["*.two.example"]), ca.server(&["*.two.example"]));
    let found = ca.server(&["found.org"]);
    let bytes = |identity: &common::Identity| identity.chain.clone().into_bytes();
    let der = |identity: &common::Identity| {
        use rustls_pki_types::pem::PemObject;
        rustls_pki_types::CertificateDer::from_pem_slice(&bytes(identity)).unwrap().to_vec()
    };
    let looked_up = ServerIdentity::new(&bytes(&found), found.key.as_bytes(), None).unwrap();
    let server = ServerConfig::builder()
        .certificate(&bytes(&wide), wide.key.as_bytes())
        .unwrap()
        .certificate_for("*.Two.example", &bytes(&starred), starred.key.as_bytes(), None)
        .unwrap()
        .certificate_for("a.two.example", &bytes(&exact), exact.key.as_bytes(), None)
        .unwrap()
        .lookup(Arc::new(move |name| (name == "found.org").then(|| looked_up.clone())))
        .alpn(&["h3"])
        .build()
        .unwrap();
    let client = client(&ca).build().unwrap();
    for (name, expected) in [
        ("A.two.example", Some(&exact)),
        ("b.two.example", Some(&starred)),
        ("b.wide.example", Some(&wide)),
        ("found.org", Some(&found)),
        ("other.org", Some(&wide)),
        ("lost.org", None),
    ] {
        let mut pair = Pair::new(&client, &server);
        let session = Session::client(&client, Version::V1, name, Vec::new()).unwrap();
        pair.client = common::End::new(session);
        assert_eq!(pair.run().is_ok(), expected.is_some(), "{name}");
        let shown = pair.client.session.peer_certificates().next().map(<[u8]>::to_vec);
        assert_eq!(shown, expected.map(der), "{name}");
    }
    let error = ServerConfig::builder().certificate_for("*", &bytes(&wide), b"", None);
    assert!(error.map(drop).unwrap_err().to_string().contains("no host name"));
}

#[test]
fn names_need_not_be_checked() {
    let (ca, other) = (Authority::new("CA"), Authority::new("other"));
    let server = with_certificate(&ca.server(&["any.example"]));
    let lax = client(&ca).check_hostname(false).build().unwrap();
    Pair::connected(&lax, &server);
    let lax = client(&other).check_hostname(false).build().unwrap();
    assert_eq!(error_of_client(&lax, &server).0, 48);
    let own = self_signed_ca(&["any.example"]);
    let lax = ClientConfig::builder()
        .roots(own.chain.as_bytes())
        .unwrap()
        .alpn(&["h3"])
        .clock(Arc::new(|| NOW))
        .check_hostname(false);
    Pair::connected(&lax.build().unwrap(), &with_certificate(&own));
}

#[test]
fn pins() {
    let ca = Authority::new("CA");
    let server = server(&ca).build().unwrap();
    let (alert, reason) = error_of_client(&client(&ca).pins(&[[7; 32]]).build().unwrap(), &server);
    assert_eq!(alert, 46);
    let pin = reason.strip_prefix("the public key is not pinned: it is sha256//").unwrap();
    assert_eq!((pin.len(), pin.ends_with('=')), (44, true));
    let pin = pin_from_base64(pin);
    Pair::connected(&client(&ca).pins(&[[7; 32], pin]).build().unwrap(), &server);
    // Without any CA, the pin decides alone.
    let alone = client(&ca).insecure_no_verification();
    Pair::connected(&alone.pins(&[pin]).build().unwrap(), &server);
    let alone = client(&ca).insecure_no_verification().pins(&[[7; 32]]).build().unwrap();
    assert_eq!(error_of_client(&alone, &server).0, 46);
    // A pin does not make up for trust.
    let stranger = client(&Authority::new("other")).pins(&[pin]).build().unwrap();
    assert_eq!(error_of_client(&stranger, &server).0, 48);
}

fn pin_from_base64(text: &str) -> [u8; 32] {
    let digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    for group in text.as_bytes().chunks(4) {
        let digit = |&c: &u8| digits.find(char::from(c)).unwrap_or(0) as u32;
        let bits = group.iter().fold(0, |bits, c| bits << 6 | digit(c));
        bytes.extend(&bits.to_be_bytes()[1..]);
    }
    bytes[..32].try_into().unwrap()
}

#[test]
fn client_certificates() {
    let (ca, other) = (Authority::new("CA"), Authority::new("other"));
    let asking = |auth| server(&ca).client_auth(auth, ca.pem().as_bytes()).unwrap();
    let required = asking(ClientAuth::Required).build().unwrap();
    let optional = asking(ClientAuth::Optional).build().unwrap();
    let showing = |identity: &common::Identity| {
        client(&ca)
            .certificate(identity.chain.as_bytes(), identity.key.as_bytes())
            .unwrap()
            .build()
            .unwrap()
    };

    let known = showing(&ca.client("client.example"));
    for server in [&required, &optional] {
        let pair = Pair::connected(&known, server);
        assert_eq!(pair.server.session.peer_certificates().count(), 1);
    }
    let nothing = client(&ca).build().unwrap();
    let error = Pair::new(&nothing, &required).run().unwrap_err().server();
    assert_eq!(error.alert, 116);
    assert_eq!(error.reason, "the client sent no certificate, but one is required");
    let pair = Pair::connected(&nothing, &optional);
    assert_eq!(pair.server.session.peer_certificates().count(), 0);

    let unknown = showing(&other.client("client.example"));
    for server in [&required, &optional] {
        let error = Pair::new(&unknown, server).run().unwrap_err().server();
        assert_eq!(error.alert, 48);
        assert_eq!(error.reason, "the certificate is not signed by a trusted CA");
    }
}

#[test]
fn configurations_that_cannot_work() {
    let ca = Authority::new("CA");
    let reason = |error: ConfigError| error.to_string();
    let identity = ca.server(&[NAME]);
    let (chain, key) = (identity.chain.as_bytes(), identity.key.as_bytes());

    let error = ClientConfig::builder().alpn(&["h3"]).build().unwrap_err();
    assert!(reason(error).contains("no CA certificates"));
    let error = client(&ca).alpn::<&str>(&[]).build().unwrap_err();
    assert!(reason(error).contains("ALPN"));
    let error = client(&ca).alpn(&[""]).build().unwrap_err();
    assert!(reason(error).contains("1 to 255"));
    let error = client(&ca).suites(&[]).build().unwrap_err();
    assert!(reason(error).contains("cipher suite"));
    let error = client(&ca).groups(&[]).build().unwrap_err();
    assert!(reason(error).contains("group"));
    let error = ClientConfig::builder().roots(key).map(drop).unwrap_err();
    assert!(reason(error).contains("no certificate"));
    let error = client(&ca).roots(b"not DER").map(drop).unwrap_err();
    assert!(reason(error).contains("CA is neither PEM nor DER"));
    let error = client(&ca).roots(b"0 DER").unwrap().build().unwrap_err();
    assert!(reason(error).contains("CA certificate cannot be read"));
    let error = ServerConfig::builder().alpn(&["h3"]).build().unwrap_err();
    assert!(reason(error).contains("needs a certificate"));
    let error = ServerConfig::builder().certificate(chain, chain).map(drop).unwrap_err();
    assert!(reason(error).contains("no private key"));
    let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n";
    let error = ServerConfig::builder().certificate(chain, encrypted).map(drop).unwrap_err();
    assert!(reason(error).contains("give its password"));
    let other = ca.server(&[NAME]);
    let mixed = ServerConfig::builder().certificate(chain, other.key.as_bytes()).unwrap();
    let error = mixed.alpn(&["h3"]).build().unwrap_err();
    assert!(reason(error).contains("does not belong to the certificate"));
    let mixed = client(&ca).certificate(chain, other.key.as_bytes()).unwrap();
    let error = mixed.build().unwrap_err();
    assert!(reason(error).contains("does not belong to the certificate"));

    let error = Session::client(&client(&ca).build().unwrap(), Version::V1, "no name", Vec::new());
    let error = error.unwrap_err();
    assert_eq!(error.alert, 80);
    assert!(error.reason.contains("neither a host name nor an IP address"));
}
