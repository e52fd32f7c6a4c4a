use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV6};

use proptest::prelude::*;

use super::*;

const LIFETIMES: TokenLifetimes = TokenLifetimes { retry: 15, address: 1000 };

fn key() -> TokenKey {
    TokenKey::new(&[5; 32])
}

fn client() -> SocketAddr {
    "192.0.2.7:4433".parse().unwrap()
}

fn retry_token() -> RetryToken {
    RetryToken {
        original_dcid: ConnectionId::new(b"original").unwrap(),
        retry_scid: ConnectionId::new(b"of the retry").unwrap(),
        issued: 100,
    }
}

fn open(client: SocketAddr, now: u64, token: &[u8]) -> Result<Token, TokenError> {
    key().open(Version::V1, client, now, &LIFETIMES, token)
}

/// RFC 9000 section 8.1.1.
#[test]
fn retry() {
    let sealed = key().seal_retry([3; 16], Version::V1, client(), &retry_token());
    assert_eq!(open(client(), 100, &sealed), Ok(Token::Retry(retry_token())));
    assert_eq!(open(client(), 115, &sealed), Ok(Token::Retry(retry_token())));
    // A clock that is a little behind.
    assert_eq!(open(client(), 98, &sealed), Ok(Token::Retry(retry_token())));
    let expired = Err(TokenError::Expired(TokenKind::Retry));
    assert_eq!(open(client(), 116, &sealed), expired);
    let other = Err(TokenError::OtherAddress(TokenKind::Retry));
    assert_eq!(open("192.0.2.7:4434".parse().unwrap(), 100, &sealed), other);
    assert_eq!(open("192.0.2.8:4433".parse().unwrap(), 100, &sealed), other);
    assert_eq!(open("[2001:db8::7]:4433".parse().unwrap(), 100, &sealed), other);
}

#[test]
fn address() {
    let sealed = key().seal_address([3; 16], Version::V1, client().ip(), 100);
    let good = Ok(Token::Address(AddressToken { id: [3; 16], issued: 100 }));
    assert_eq!(open(client(), 1100, &sealed), good);
    // Any port: the client has a new one on every connection.
    assert_eq!(open("192.0.2.7:1".parse().unwrap(), 100, &sealed), good);
    let expired = Err(TokenError::Expired(TokenKind::Address));
    assert_eq!(open(client(), 1101, &sealed), expired);
    let other = Err(TokenError::OtherAddress(TokenKind::Address));
    assert_eq!(open("192.0.2.8:4433".parse().unwrap(), 100, &sealed), other);
}

#[test]
fn an_ipv4_client_on_an_ipv6_socket() {
    let mapped: Ipv6Addr = Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped();
    let mapped = SocketAddr::V6(SocketAddrV6::new(mapped, 4433, 0, 0));
    let sealed = key().seal_retry([3; 16], Version::V1, mapped, &retry_token());
    assert_eq!(open(client(), 100, &sealed), Ok(Token::Retry(retry_token())));
}

#[test]
fn other_key_or_version() {
    let sealed = key().seal_address([3; 16], Version::V1, client().ip(), 100);
    let other = TokenKey::new(&[6; 32]);
    let opened = other.open(Version::V1, client(), 100, &LIFETIMES, &sealed);
    assert_eq!(opened, Err(TokenError::NotOurs));
    let opened = key().open(Version::V2, client(), 100, &LIFETIMES, &sealed);
    assert_eq!(opened, Err(TokenError::NotOurs));
}

#[test]
fn replayed() {
    let mut filter = ReplayFilter::new(LIFETIMES.address, 100);
    let sealed = key().seal_address([3; 16], Version::V1, client().ip(), 100);
    for (now, expected) in [(100, true), (101, false), (600, false), (1100, false)] {
        let Ok(Token::Address(token)) = open(client(), now, &sealed) else { panic!("not opened") };
        assert_eq!(filter.first_use(&token.id, now), expected);
    }
}

/// Tokens tell a watcher nothing, not even their kind or that two are for the same client.
#[test]
fn opaque() {
    let one = key().seal_address([3; 16], Version::V1, client().ip(), 100);
    let two = key().seal_address([4; 16], Version::V1, client().ip(), 100);
    let same = one[16..].iter().zip(&two[16..]).filter(|(a, b)| a == b).count();
    assert!(same < 8, "{same} equal bytes");
}

proptest! {
    #[test]
    fn round_trip(
        random: [u8; 16],
        ip: IpAddr,
        port: u16,
        issued: u64,
        odcid in prop::collection::vec(any::<u8>(), 0..=20),
        scid in prop::collection::vec(any::<u8>(), 0..=20),
    ) {
        let token = RetryToken {
            original_dcid: ConnectionId::new(&odcid).unwrap(),
            retry_scid: ConnectionId::new(&scid).unwrap(),
            issued,
        };
        let client = SocketAddr::new(ip, port);
        let sealed = key().seal_retry(random, Version::V2, client, &token);
        let opened = key().open(Version::V2, client, issued, &LIFETIMES, &sealed);
        prop_assert_eq!(opened, Ok(Token::Retry(token)));
    }

    /// RFC 9000 section 8.1.4.
    #[test]
    fn tampered(at: prop::sample::Index, bit in 0..8_u32, cut: prop::sample::Index) {
        let sealed = key().seal_retry([3; 16], Version::V1, client(), &retry_token());
        let mut damaged = sealed.clone();
        let at = at.index(damaged.len());
        damaged[at] ^= 1 << bit;
        prop_assert_eq!(open(client(), 100, &damaged), Err(TokenError::NotOurs));
        let cut = cut.index(sealed.len());
        prop_assert_eq!(open(client(), 100, &sealed[..cut]), Err(TokenError::NotOurs));
    }

    #[test]
    fn garbage(token: Vec<u8>) {
        prop_assert_eq!(open(client(), 100, &token), Err(TokenError::NotOurs));
    }
}
