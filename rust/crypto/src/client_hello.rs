//! A look into a TLS `ClientHello` before a session exists.
//!
//! A server must know the client's `version_information` before it chooses the QUIC version and
//! makes the session (RFC 9368 section 2.3), but only the session parses TLS. Here just the
//! structure is checked, as far as it is needed; the session checks the rest.

use tquic_wire::{DecodeError, Reader};

/// The longest `ClientHello` that is looked at, in bytes. Post-quantum ones have about 1,800.
pub const MAX_LEN: usize = 16_384;

const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const QUIC_TRANSPORT_PARAMETERS: u16 = 0x39;

/// What a `ClientHello` says that a server wants to know early. Nothing of it is authenticated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientHello<'a> {
    /// The QUIC transport parameters, undecoded; QUIC clients always send them.
    pub transport_parameters: Option<&'a [u8]>,
    /// The host name that the client wants (RFC 6066 section 3), unchecked.
    pub server_name: Option<&'a [u8]>,
    /// The client asks for the compatibility mode of TLS 1.3 (RFC 8446 appendix D.4).
    pub is_compatible: bool,
    alpn: &'a [u8],
}

impl<'a> ClientHello<'a> {
    /// The application protocols that the client offers, in its order (RFC 7301).
    pub fn alpn(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut r = Reader::new(self.alpn);
        // The list was checked when it was found.
        std::iter::from_fn(move || vector8(&mut r).ok())
    }
}

/// How far a `ClientHello` has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// More bytes are needed.
    Incomplete,
    /// The whole message is there.
    Complete(ClientHello<'a>),
}

/// Why bytes are not a `ClientHello`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAClientHello(&'static str);

impl std::fmt::Display for NotAClientHello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for NotAClientHello {}

impl From<DecodeError> for NotAClientHello {
    fn from(_: DecodeError) -> Self {
        Self("the ClientHello is cut short inside")
    }
}

/// Reads the `ClientHello` at the front of `crypto`, the bytes of the client's first CRYPTO frames
/// in order and without a gap. Costs little enough to be called again as more arrive.
///
/// # Errors
///
/// If the bytes cannot become a `ClientHello`. Give them to a session anyway to get the right TLS
/// alert, or drop the packet.
pub fn parse(crypto: &[u8]) -> Result<Progress<'_>, NotAClientHello> {
    if crypto.first().is_some_and(|ty| *ty != CLIENT_HELLO) {
        return Err(NotAClientHello("the first TLS message is not a ClientHello"));
    }
    let Some((&[_, len @ ..], rest)) = crypto.split_first_chunk::<4>() else {
        return Ok(Progress::Incomplete);
    };
    let len = len.into_iter().fold(0, |len, byte| len << 8 | usize::from(byte));
    if len > MAX_LEN {
        return Err(NotAClientHello("the ClientHello is longer than 16 KiB"));
    }
    match rest.get(..len) {
        Some(body) => message(body).map(Progress::Complete),
        None => Ok(Progress::Incomplete),
    }
}

/// RFC 8446 section 4.1.2.
fn message(body: &[u8]) -> Result<ClientHello<'_>, NotAClientHello> {
    let mut r = Reader::new(body);
    r.bytes(2 + 32)?; // legacy_version, random
    let is_compatible = !vector8(&mut r)?.is_empty(); // legacy_session_id
    vector16(&mut r)?; // cipher_suites
    vector8(&mut r)?; // legacy_compression_methods
    let mut extensions = Reader::new(vector16(&mut r)?);
    if !r.is_empty() {
        return Err(NotAClientHello("there are bytes behind the ClientHello's extensions"));
    }
    let (mut parameters, mut name, mut alpn) = (None, None, None);
    while !extensions.is_empty() {
        let ty = extensions.u16()?;
        let data = vector16(&mut extensions)?;
        let slot = match ty {
            QUIC_TRANSPORT_PARAMETERS => &mut parameters,
            SERVER_NAME => &mut name,
            ALPN => &mut alpn,
            _ => continue,
        };
        // RFC 8446 section 4.2: no extension twice.
        if slot.replace(data).is_some() {
            return Err(NotAClientHello("an extension occurs twice in the ClientHello"));
        }
    }
    Ok(ClientHello {
        transport_parameters: parameters,
        is_compatible,
        server_name: name.map(host_name).transpose()?.flatten(),
        alpn: alpn.map(protocols).transpose()?.unwrap_or_default(),
    })
}

/// RFC 6066 section 3: a list of names, of which only the type 0, `host_name`, was ever defined.
fn host_name(data: &[u8]) -> Result<Option<&[u8]>, NotAClientHello> {
    let mut list = Reader::new(vector16(&mut Reader::new(data))?);
    while !list.is_empty() {
        let ty = list.u8()?;
        let name = vector16(&mut list)?;
        if ty == 0 {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// RFC 7301 section 3.1: a list of names of 1 to 255 bytes.
fn protocols(data: &[u8]) -> Result<&[u8], NotAClientHello> {
    let list = vector16(&mut Reader::new(data))?;
    let mut r = Reader::new(list);
    while !r.is_empty() {
        if vector8(&mut r)?.is_empty() {
            return Err(NotAClientHello("an application protocol has no name"));
        }
    }
    Ok(list)
}

/// Bytes behind a length of one byte.
fn vector8<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let len = r.u8()?;
    r.bytes(usize::from(len))
}

/// Bytes behind a length of two bytes.
fn vector16<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let len = r.u16()?;
    r.bytes(usize::from(len))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::test_util::hex;
    use crate::vectors;

    /// The `ClientHello` of RFC 9001 appendix A.2, without the CRYPTO frame's header.
    fn sample() -> Vec<u8> {
        hex(vectors::V1_CLIENT_PAYLOAD)[4..].to_vec()
    }

    /// The sample with one more extension at the end.
    fn with_extension(ty: u16, data: &[u8]) -> Vec<u8> {
        let mut hello = sample();
        let extensions = 4 + 2 + 32 + 1 + 2 + 4 + 2;
        hello.extend_from_slice(&ty.to_be_bytes());
        hello.extend_from_slice(&(data.len() as u16).to_be_bytes());
        hello.extend_from_slice(data);
        let len = (hello.len() - extensions - 2) as u16;
        hello[extensions..extensions + 2].copy_from_slice(&len.to_be_bytes());
        let len = (hello.len() - 4) as u16;
        hello[2..4].copy_from_slice(&len.to_be_bytes());
        hello
    }

    #[test]
    fn the_sample_of_rfc_9001() {
        let hello = sample();
        let Ok(Progress::Complete(parsed)) = parse(&hello) else { panic!("not complete") };
        assert_eq!(parsed.server_name, Some(&b"example.com"[..]));
        assert_eq!(parsed.alpn().collect::<Vec<_>>(), [b"alpn"]);
        let parameters = parsed.transport_parameters.unwrap();
        assert_eq!(parameters[..10], hex("0408ffffffffffffffff"));
        assert_eq!(parameters.len(), 0x32);
    }

    #[test]
    fn every_shorter_prefix_is_incomplete() {
        let hello = sample();
        for len in 0..hello.len() {
            assert_eq!(parse(&hello[..len]), Ok(Progress::Incomplete));
        }
        let longer = [&hello[..], &[0, 0, 0]].concat();
        assert_eq!(parse(&longer), parse(&hello));
    }

    #[test]
    fn refused() {
        let reason = |bytes: &[u8]| parse(bytes).unwrap_err().to_string();
        assert!(reason(&[2]).contains("not a ClientHello"));
        assert!(reason(&[1, 1, 0, 0]).contains("16 KiB"));
        assert!(reason(&with_extension(0x39, b"")).contains("twice"));
        assert!(reason(&with_extension(16, b"")).contains("twice"));
        let mut cut = sample();
        cut[3] -= 1;
        assert!(reason(&cut).contains("cut short"));
        let mut trailing = sample();
        trailing[3] += 1;
        trailing.push(0);
        assert!(reason(&trailing).contains("behind"));
    }

    #[test]
    fn unknown_extensions_are_skipped() {
        let hello = with_extension(0x0a0a, b"grease");
        let Ok(Progress::Complete(parsed)) = parse(&hello) else { panic!("not complete") };
        assert!(parsed.transport_parameters.is_some());
    }

    #[test]
    fn lists_are_checked() {
        assert_eq!(protocols(&[0, 3, 2, b'h', b'3']).map(<[u8]>::len), Ok(3));
        assert!(protocols(&[0, 1, 0]).is_err());
        assert!(protocols(&[0, 2, 2, b'h']).is_err());
        assert!(protocols(&[0]).is_err());
        assert_eq!(host_name(&[0, 0]), Ok(None));
        assert_eq!(host_name(&[0, 8, 7, 0, 1, b'x', 0, 0, 1, b'a']), Ok(Some(&b"a"[..])));
        assert!(host_name(&[0, 4, 0, 0, 9, b'a']).is_err());
    }

    proptest! {
        #[test]
        fn random_bytes_do_not_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn damaged_samples_do_not_panic(
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut: prop::sample::Index,
        ) {
            let mut hello = sample();
            for (at, byte) in damage {
                let at = at.index(hello.len());
                hello[at] = byte;
            }
            hello.truncate(cut.index(hello.len() + 1));
            if let Ok(Progress::Complete(parsed)) = parse(&hello) {
                parsed.alpn().for_each(drop);
            }
        }
    }
}
