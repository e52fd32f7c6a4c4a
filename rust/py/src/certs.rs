//! Certificates for development: a CA made on the spot and one certificate signed by it.

use std::time::{Duration, SystemTime};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};

/// Clocks of other machines may be slow.
const BEFORE: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

struct Made {
    ca: String,
    certificate: String,
    key: String,
}

fn make(names: Vec<String>, days: u32) -> Result<Made, rcgen::Error> {
    let now = SystemTime::now();
    let dated = |params: &mut CertificateParams, name: &str| {
        params.not_before = (now - BEFORE).into();
        params.not_after = (now + DAY * days).into();
        params.distinguished_name.push(DnType::CommonName, name);
    };
    let new_key = || KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256);

    let mut ca = CertificateParams::default();
    dated(&mut ca, "tquic development CA");
    // RFC 5280 section 4.2.1.9: it signs end entities and no other CA.
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca_key = new_key()?;
    let ca_certificate = ca.self_signed(&ca_key)?;

    let name = names.first().cloned().unwrap_or_default();
    let mut leaf = CertificateParams::new(names)?;
    dated(&mut leaf, &name);
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    leaf.use_authority_key_identifier_extension = true;
    let key = new_key()?;
    let certificate = leaf.signed_by(&key, &Issuer::new(ca, ca_key))?;
    Ok(Made { ca: ca_certificate.pem(), certificate: certificate.pem(), key: key.serialize_pem() })
}

/// A new CA and a certificate for `names` (host names and addresses) signed by it, ECDSA P-256,
/// good for `days` from now. Gives (CA, certificate, private key of the certificate) as PEM text;
/// the CA's own key is thrown away, so that nothing else can ever be signed with it.
#[pyfunction]
pub fn make_certificates(
    py: Python<'_>,
    names: Vec<String>,
    days: u32,
) -> PyResult<(String, String, String)> {
    if names.is_empty() || days == 0 {
        return Err(PyValueError::new_err("a certificate needs a name and at least one day"));
    }
    let shown = names.join(", ");
    let made = py.detach(|| make(names, days)).map_err(|error| {
        PyValueError::new_err(format!("no certificate can be made for {shown}: {error}"))
    })?;
    Ok((made.ca, made.certificate, made.key))
}
