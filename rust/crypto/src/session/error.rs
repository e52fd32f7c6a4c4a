//! What went wrong in TLS: an alert for the peer and a sentence for people.

use std::net::IpAddr;

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible, PeerMisbehaved};
use rustls_pki_types::UnixTime;
use webpki::Error as WebPkiError;

use super::verify::PinMismatch;

/// Why a TLS session failed. The connection ends with `CRYPTO_ERROR`, the code 0x100 plus `alert`
/// (RFC 9001 section 4.8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError {
    /// The TLS alert (RFC 8446 section 6), for example 48, `unknown_ca`.
    pub alert: u8,
    /// What happened, for people.
    pub reason: String,
}

impl std::fmt::Display for TlsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for TlsError {}

impl TlsError {
    /// An error of ours, not of the peer (alert 80, `internal_error`).
    pub(super) fn internal(reason: String) -> Self {
        Self { alert: AlertDescription::InternalError.into(), reason }
    }

    /// From an error of rustls and the alert it wanted to send. `alpn` is our own list.
    pub(super) fn new(error: &Error, alert: Option<AlertDescription>, alpn: &[Vec<u8>]) -> Self {
        let alert = match error {
            // RFC 8446 section 4.1.3; rustls says handshake_failure.
            Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedCipherSuite) => {
                AlertDescription::IllegalParameter
            }
            _ => alert.unwrap_or_else(|| alert_for(error)),
        };
        let alert = alert.into();
        Self { alert, reason: reason(error, alpn) }
    }
}

/// rustls leaves some alerts unsaid.
fn alert_for(error: &Error) -> AlertDescription {
    match error {
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            AlertDescription::UnexpectedMessage
        }
        Error::InvalidMessage(_) => AlertDescription::DecodeError,
        Error::PeerMisbehaved(_) => AlertDescription::IllegalParameter,
        Error::PeerIncompatible(_) => AlertDescription::HandshakeFailure,
        Error::InvalidCertificate(error) => error.clone().into(),
        Error::NoCertificatesPresented => AlertDescription::CertificateRequired,
        Error::NoApplicationProtocol => AlertDescription::NoApplicationProtocol,
        Error::DecryptError => AlertDescription::DecryptError,
        _ => AlertDescription::InternalError,
    }
}

fn reason(error: &Error, alpn: &[Vec<u8>]) -> String {
    match error {
        Error::InvalidCertificate(error) => certificate_reason(error),
        Error::NoCertificatesPresented => {
            "the client sent no certificate, but one is required".to_owned()
        }
        Error::NoApplicationProtocol => {
            let ours: Vec<_> = alpn.iter().map(|name| String::from_utf8_lossy(name)).collect();
            // The peer reads it as well: to neither end it says whose they are.
            format!("no application protocol in common with {}", ours.join(", "))
        }
        Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon) => {
            "the peer supports none of our cipher suites".to_owned()
        }
        Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon) => {
            "the peer supports none of our key-exchange groups".to_owned()
        }
        Error::PeerIncompatible(PeerIncompatible::NoSignatureSchemesInCommon) => {
            "the peer does not support the signature algorithm of our certificate".to_owned()
        }
        Error::InconsistentKeys(_) => {
            "the private key does not belong to the certificate".to_owned()
        }
        Error::DecryptError => "a TLS message does not authenticate".to_owned(),
        other => format!("TLS: {other}"),
    }
}

fn certificate_reason(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => {
            "the certificate is not signed by a trusted CA".to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<_> = presented.iter().map(|name| plain_name(name)).collect();
            let names =
                if names.is_empty() { "no name at all".to_owned() } else { names.join(", ") };
            format!("the certificate is for {names}, not for {}", expected.to_str())
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("the certificate expired on {}", date(*not_after))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("the certificate is not valid before {}", date(*not_before))
        }
        CertificateError::BadSignature => {
            "a signature of the certificate is wrong: it was damaged or forged".to_owned()
        }
        CertificateError::Revoked => "the certificate was revoked".to_owned(),
        CertificateError::InvalidPurposeContext { .. } | CertificateError::InvalidPurpose => {
            "the certificate is not meant for this purpose (its extended key usage)".to_owned()
        }
        CertificateError::Other(other) => match other.0.downcast_ref() {
            Some(WebPkiError::CaUsedAsEndEntity) => {
                "the certificate is one of a CA, not of a server or client".to_owned()
            }
            Some(WebPkiError::MaximumPathDepthExceeded) => {
                "the certificate's chain has more than 6 intermediate CAs".to_owned()
            }
            _ => match other.0.downcast_ref::<PinMismatch>() {
                Some(mismatch) => mismatch.to_string(),
                None => format!("the certificate is not acceptable: {other}"),
            },
        },
        other => format!("the certificate is not acceptable: {other}"),
    }
}

/// A name as web PKI writes it, `DnsName("example.com")`, without the kind and the quotes.
fn plain_name(name: &str) -> String {
    let Some((kind, inner)) = name.split_once('(') else { return name.to_owned() };
    let inner = inner.strip_suffix(')').unwrap_or(inner).trim_matches('"');
    if kind == "IpAddress" { plain_address(inner) } else { inner.to_owned() }
}

/// An address as RFC 5952 writes it. web PKI keeps a zero in front of `::`, leaves zeros at the end
/// out, and every run of zeros; with two runs nobody can tell which address it was.
fn plain_address(text: &str) -> String {
    let address = text.parse().or_else(|_| format!("{text}::").parse::<IpAddr>());
    address.map_or_else(|_| text.to_owned(), |address| address.to_string())
}

/// The day of a time, as year-month-day in UTC.
fn date(time: UnixTime) -> String {
    // The civil calendar from days, with years that begin in March so that the leap day is last.
    let days = time.as_secs() / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{}-{month:02}-{day:02}", era * 400 + year + next)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates() {
        let at = |secs| date(UnixTime::since_unix_epoch(Duration::from_secs(secs)));
        assert_eq!(at(0), "1970-01-01");
        assert_eq!(at(951_782_400), "2000-02-29");
        assert_eq!(at(1_709_251_199), "2024-02-29");
        assert_eq!(at(1_709_251_200), "2024-03-01");
        assert_eq!(at(4_102_444_799), "2099-12-31");
        assert_eq!(at(4_107_542_400), "2100-03-01");
    }

    #[test]
    fn names() {
        assert_eq!(plain_name("DnsName(\"a.example\")"), "a.example");
        assert_eq!(plain_name("IpAddress(192.0.2.1)"), "192.0.2.1");
        assert_eq!(plain_name("a.example"), "a.example");
        assert_eq!(plain_name("IpAddress(0::1)"), "::1");
        assert_eq!(plain_name("IpAddress(2001:db8::1)"), "2001:db8::1");
        assert_eq!(plain_name("IpAddress(2001:db8)"), "2001:db8::");
        assert_eq!(plain_name("IpAddress(0)"), "::");
        assert_eq!(plain_name("IpAddress(fe80::1::2)"), "fe80::1::2");
        assert_eq!(plain_name("IpAddress([invalid: 01, 02])"), "[invalid: 01, 02]");
    }

    #[test]
    fn alerts_that_rustls_leaves_unsaid() {
        let error = Error::InvalidMessage(rustls::InvalidMessage::InvalidCcs);
        assert_eq!(TlsError::new(&error, None, &[]).alert, 50);
        let error = TlsError::new(&Error::NoApplicationProtocol, None, &[b"h3".to_vec()]);
        assert_eq!(error.alert, 120);
        assert!(error.to_string().ends_with(" with h3"));
        assert_eq!(TlsError::new(&Error::FailedToGetCurrentTime, None, &[]).alert, 80);
    }
}
