//! Requests of HTTP/0.9: `GET` and a path on one line, and the end of the stream.

use std::fmt;

/// Longest request line taken, in bytes. The interop runner's names have 250.
pub const MAX_REQUEST: usize = 8192;

/// Why a request cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRequest {
    /// Longer than [`MAX_REQUEST`].
    TooLong,
    /// Not `GET`, a space and a path that begins with `/`.
    Malformed,
    /// A percent sign without two hexadecimal digits, or the byte 0.
    Encoding,
    /// A path that leaves the folder, or could: `..`, a second root, a drive letter.
    Forbidden,
}

impl fmt::Display for BadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the request is longer than 8192 bytes",
            Self::Malformed => "the request is not GET and a path",
            Self::Encoding => "the path is not properly percent-encoded",
            Self::Forbidden => "the path leaves the folder",
        })
    }
}

impl std::error::Error for BadRequest {}

/// The request line for a path that is percent-encoded already, as URLs are.
pub fn request_line(path: &str) -> Vec<u8> {
    let slash = if path.starts_with('/') { "" } else { "/" };
    format!("GET {slash}{path}\r\n").into_bytes()
}

/// The parts of the path that a whole request names, as [`path_parts`] gives them.
pub fn parse(request: &[u8]) -> Result<Vec<Vec<u8>>, BadRequest> {
    if request.len() > MAX_REQUEST {
        return Err(BadRequest::TooLong);
    }
    let line = request.split(|&b| b == b'\r' || b == b'\n').next().unwrap_or_default();
    let target = line.strip_prefix(b"GET ").ok_or(BadRequest::Malformed)?;
    // Some clients add a version, as HTTP/1 does.
    let target = target.split(|&b| b == b' ').next().unwrap_or_default();
    path_parts(target)
}

/// The parts of the path of a request's target, such as `/a/b%20c?d`, under the rules of [`Root`]:
/// decoded, none of them empty, `.`, `..` or with a separator in it. No parts mean the folder
/// itself.
///
/// # Errors
///
/// If the target is no path, is not properly encoded, or leads out of the folder.
///
/// [`Root`]: super::Root
pub fn path_parts(target: &[u8]) -> Result<Vec<Vec<u8>>, BadRequest> {
    let path = target.strip_prefix(b"/").ok_or(BadRequest::Malformed)?;
    let path = path.split(|&b| b == b'?' || b == b'#').next().unwrap_or_default();
    let mut parts = Vec::new();
    for part in path.split(|&b| b == b'/') {
        // Decoded after splitting: an encoded slash is part of a name, and no name has one.
        let part = decode(part)?;
        match part.as_slice() {
            b"" | b"." => {}
            b".." => return Err(BadRequest::Forbidden),
            p if p.iter().any(|b| matches!(b, b'/' | b'\\' | b':') && !allowed(*b)) => {
                return Err(BadRequest::Forbidden);
            }
            _ => parts.push(part),
        }
    }
    // An absolute path where a relative one should be, `//etc/passwd`, reads as `etc/passwd` below
    // the folder: harmless, and what every web server does.
    Ok(parts)
}

/// Backslash and colon are letters like others where they separate nothing.
fn allowed(byte: u8) -> bool {
    cfg!(unix) && byte != b'/'
}

fn decode(part: &[u8]) -> Result<Vec<u8>, BadRequest> {
    let mut decoded = Vec::with_capacity(part.len());
    let mut rest = part.iter();
    while let Some(&byte) = rest.next() {
        let byte = match byte {
            b'%' => {
                let (high, low) = (hex(rest.next())?, hex(rest.next())?);
                high << 4 | low
            }
            other => other,
        };
        if byte == 0 {
            return Err(BadRequest::Encoding);
        }
        decoded.push(byte);
    }
    Ok(decoded)
}

fn hex(digit: Option<&u8>) -> Result<u8, BadRequest> {
    let value = digit.and_then(|&d| char::from(d).to_digit(16)).ok_or(BadRequest::Encoding)?;
    Ok(value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(request: &[u8]) -> Result<Vec<String>, BadRequest> {
        let parts = parse(request)?.into_iter();
        Ok(parts.map(|p| String::from_utf8_lossy(&p).into_owned()).collect())
    }

    #[test]
    fn ordinary_paths() {
        for (request, wanted) in [
            (&b"GET /a\r\n"[..], vec!["a"]),
            (b"GET /a\n", vec!["a"]),
            (b"GET /a", vec!["a"]),
            (b"GET /a/b.txt HTTP/1.0\r\nHost: x\r\n", vec!["a", "b.txt"]),
            (b"GET /%61%20b?query#x\r\n", vec!["a b"]),
            (b"GET /./a//b/\r\n", vec!["a", "b"]),
            (b"GET //etc/passwd\r\n", vec!["etc", "passwd"]),
            (b"GET /...\r\n", vec!["..."]),
            (b"GET /\r\n", vec![]),
        ] {
            assert_eq!(parts(request).unwrap(), wanted, "{}", String::from_utf8_lossy(request));
        }
    }

    #[test]
    fn what_is_refused() {
        for (request, error) in [
            (&b""[..], BadRequest::Malformed),
            (b"POST /a\r\n", BadRequest::Malformed),
            (b"GET a\r\n", BadRequest::Malformed),
            (b"GET\r\n", BadRequest::Malformed),
            (b"GET /%\r\n", BadRequest::Encoding),
            (b"GET /%4\r\n", BadRequest::Encoding),
            (b"GET /%zz\r\n", BadRequest::Encoding),
            (b"GET /a%00b\r\n", BadRequest::Encoding),
            (b"GET /a\0b\r\n", BadRequest::Encoding),
            (b"GET /..\r\n", BadRequest::Forbidden),
            (b"GET /a/../../b\r\n", BadRequest::Forbidden),
            (b"GET /%2e%2E/b\r\n", BadRequest::Forbidden),
            (b"GET /a%2fb\r\n", BadRequest::Forbidden),
            (b"GET /..%2f..%2fetc%2fpasswd\r\n", BadRequest::Forbidden),
        ] {
            assert_eq!(parse(request), Err(error), "{}", String::from_utf8_lossy(request));
        }
        let long = [&b"GET /"[..], &[b'a'; MAX_REQUEST]].concat();
        assert_eq!(parse(&long), Err(BadRequest::TooLong));
    }

    #[test]
    fn a_request_is_understood_as_it_was_meant() {
        assert_eq!(parts(&request_line("/a%20b/c")).unwrap(), ["a b", "c"]);
        assert_eq!(parts(&request_line("c")).unwrap(), ["c"]);
    }

    proptest! {
        #[test]
        fn no_part_can_leave_the_folder(tail in proptest::collection::vec(any::<u8>(), 0..64)) {
            for part in parse(&[&b"GET /"[..], &tail].concat()).unwrap_or_default() {
                prop_assert!(!part.is_empty() && part != b"." && part != b"..");
                prop_assert!(!part.contains(&b'/') && !part.contains(&0));
            }
        }
    }
}
