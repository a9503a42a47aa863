//! What a certificate says, for people. Whether it is trusted is for rustls to say.

use std::net::IpAddr;

use x509_cert::{
    Certificate as X509,
    der::{
        Decode,
        oid::{
            ObjectIdentifier,
            db::rfc4519::{CN, O},
        },
    },
    ext::pkix::{SubjectAltName, name::GeneralName},
    name::Name,
};

use super::found::Certificate;
use crate::upstream::failure::clean;

/// So many names are told.
const MAX_NAMES: usize = 100;

/// Reads a certificate in DER (RFC 5280, 4.1); none if it can't be read.
pub(in crate::upstream) fn read(der: &[u8]) -> Option<Certificate> {
    let certificate = X509::from_der(der).ok()?;
    let content = certificate.tbs_certificate();
    let names = content.get_extension::<SubjectAltName>().ok()?.map_or_else(Vec::new, |(_, names)| names.0);
    Some(Certificate {
        names: names.iter().filter_map(name).take(MAX_NAMES).collect(),
        issuer: issuer(content.issuer()),
        not_after: content.validity().not_after.to_system_time(),
    })
}

/// The organisation and the common name, as far as they are there and differ.
fn issuer(name: &Name) -> String {
    let part = |kind: ObjectIdentifier| {
        let attribute = name.iter().find(|attribute| attribute.oid == kind)?;
        Some(String::from_utf8_lossy(attribute.value.value()).into_owned())
    };
    match (part(O), part(CN)) {
        (Some(organization), Some(common)) if organization != common => {
            clean(&format!("{organization}, {common}"))
        }
        (Some(name), _) | (None, Some(name)) => clean(&name),
        (None, None) => "an authority without a name".to_owned(),
    }
}

fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(clean(name.as_str())),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, Issuer, KeyPair, date_time_ymd};

    use super::*;

    fn issued(organisation: Option<&str>, common: &str) -> Vec<u8> {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.distinguished_name.push(DnType::CommonName, common);
        if let Some(name) = organisation {
            authority.distinguished_name.push(DnType::OrganizationName, name);
        }
        let issuer = Issuer::new(authority, KeyPair::generate().unwrap());
        let names = ["a.example", "*.b.example", "127.0.0.1", "::1"].map(str::to_owned);
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = date_time_ymd(2027, 1, 2);
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &issuer).unwrap().der().to_vec()
    }

    #[test]
    fn names_issuer_and_end_are_told() {
        let certificate = read(&issued(Some("Ours"), "R3")).unwrap();
        assert_eq!(certificate.names, ["a.example", "*.b.example", "127.0.0.1", "::1"]);
        assert_eq!(certificate.issuer, "Ours, R3");
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_798_848_000);
        assert_eq!(certificate.not_after, end);
        assert_eq!(read(&issued(None, "R\u{1b}3")).unwrap().issuer, "R 3");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(at in 0_usize..600, byte: u8) {
            let mut der = issued(None, "R3");
            if let Some(there) = der.get_mut(at) {
                *there = byte;
            }
            let _ = read(&der);
            let _ = read(&der[..at.min(der.len())]);
        }
    }
}
