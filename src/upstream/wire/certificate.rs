//! What a certificate says, for people. Whether it is trusted is for rustls to say. Pure.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, SystemTime},
};

use yasna::{
    ASN1Result, BERReader, BERReaderSeq, Tag,
    models::{ObjectIdentifier, TaggedDerValue},
};

use super::found::Certificate;
use crate::upstream::failure::clean;

/// So many names are told.
const MAX_NAMES: usize = 100;
/// `id-at-commonName` and `id-at-organizationName` (RFC 5280, appendix A).
const COMMON_NAME: [u64; 4] = [2, 5, 4, 3];
const ORGANIZATION: [u64; 4] = [2, 5, 4, 10];
/// `id-ce-subjectAltName` (RFC 5280, 4.2.1.6), and in it the tags of a DNS name and of an address.
const ALTERNATIVE_NAMES: [u64; 4] = [2, 5, 29, 17];
const DNS_NAME: u64 = 2;
const ADDRESS: u64 = 7;
/// The tag of a certificate's extensions.
const EXTENSIONS: u64 = 3;

/// Reads a certificate in DER (RFC 5280, 4.1); none if it can't be read.
pub(in crate::upstream) fn read(der: &[u8]) -> Option<Certificate> {
    let certificate = yasna::parse_der(der, |reader| {
        reader.read_sequence(|parts| {
            let certificate = parts.next().read_sequence(content)?;
            parts.next().read_der()?; // the signature's algorithm
            parts.next().read_der()?; // the signature
            Ok(certificate)
        })
    });
    certificate.ok()?
}

fn content(parts: &mut BERReaderSeq<'_, '_>) -> ASN1Result<Option<Certificate>> {
    parts.read_optional(|version| version.read_tagged(Tag::context(0), |version| version.read_der()))?;
    parts.next().read_der()?; // the serial number
    parts.next().read_der()?; // the signature's algorithm
    let issuer = issuer(parts.next())?;
    let not_after = parts.next().read_sequence(|validity| {
        validity.next().read_der()?;
        validity.next().read_tagged_der()
    })?;
    let mut names = Vec::new();
    // the subject, its key, two numbers that nobody uses, and the extensions
    while let Some(part) = parts.read_optional(|part| part.read_tagged_der())? {
        if part.tag() == Tag::context(EXTENSIONS) {
            names = yasna::parse_der(part.value(), extensions)?;
        }
    }
    Ok(time(not_after.value()).map(|not_after| Certificate { names, issuer, not_after }))
}

/// The organisation and the common name, as far as they are there and differ.
fn issuer(name: BERReader<'_, '_>) -> ASN1Result<String> {
    let (mut organization, mut common) = (None, None);
    name.read_sequence_of(|set| {
        set.read_set_of(|attribute| {
            attribute.read_sequence(|parts| {
                let kind = parts.next().read_oid()?;
                let value = parts.next().read_tagged_der()?;
                let text = String::from_utf8_lossy(value.value()).into_owned();
                match kind {
                    kind if is(&kind, &ORGANIZATION) => organization = Some(text),
                    kind if is(&kind, &COMMON_NAME) => common = Some(text),
                    _ => {}
                }
                Ok(())
            })
        })
    })?;
    Ok(match (organization, common) {
        (Some(organization), Some(common)) if organization != common => {
            clean(&format!("{organization}, {common}"))
        }
        (Some(name), _) | (None, Some(name)) => clean(&name),
        (None, None) => "an authority without a name".to_owned(),
    })
}

/// The alternative names among the extensions.
fn extensions(extensions: BERReader<'_, '_>) -> ASN1Result<Vec<String>> {
    let mut names = Vec::new();
    extensions.read_sequence_of(|extension| {
        extension.read_sequence(|parts| {
            let kind = parts.next().read_oid()?;
            parts.read_default(false, |critical| critical.read_bool())?;
            let value = parts.next().read_bytes()?;
            if is(&kind, &ALTERNATIVE_NAMES) {
                let all = yasna::parse_der(&value, |names| {
                    names.collect_sequence_of(|name| name.read_tagged_der())
                })?;
                names = all.iter().filter_map(name).take(MAX_NAMES).collect();
            }
            Ok(())
        })
    })?;
    Ok(names)
}

fn is(kind: &ObjectIdentifier, components: &[u64]) -> bool {
    kind.components().as_slice() == components
}

fn name(name: &TaggedDerValue) -> Option<String> {
    let tag = name.tag();
    if tag == Tag::context(DNS_NAME) {
        Some(clean(&String::from_utf8_lossy(name.value())))
    } else if tag == Tag::context(ADDRESS) {
        address(name.value()).map(|address| address.to_string())
    } else {
        None
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| Ipv6Addr::from(v6).into())
}

/// `YYMMDDHHMMSSZ`, where years from 50 on are of the last century, or with four digits of the year
/// (RFC 5280, 4.1.2.5).
fn time(text: &[u8]) -> Option<SystemTime> {
    let digits = text.strip_suffix(b"Z")?;
    let numbers: Vec<u64> =
        digits.chunks_exact(2).map(|pair| str::from_utf8(pair).ok()?.parse().ok()).collect::<Option<_>>()?;
    let (year, rest) = match numbers[..] {
        [year, ref rest @ ..] if digits.len() == 12 => (year + if year < 50 { 2000 } else { 1900 }, rest),
        [century, year, ref rest @ ..] if digits.len() == 14 => (century * 100 + year, rest),
        _ => return None,
    };
    let &[month @ 1..=12, day @ 1..=31, hour, minute, second] = rest else { return None };
    let since = days(year, month, day)? * 86_400 + hour * 3600 + minute * 60 + second;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(since))
}

/// The days from 1970 to a date of the Gregorian calendar; none for one before.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    const BEFORE: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    let is_leap = leaps(year) > leaps(year.checked_sub(1)?);
    let leap_day = u64::from(is_leap && month > 2);
    let before = year.checked_sub(1970)? * 365 + leaps(year - 1) - leaps(1969);
    Some(before + BEFORE[month as usize - 1] + leap_day + day - 1)
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn times_are_read_in_both_forms() {
        let seconds = |text: &str| {
            time(text.as_bytes()).map(|at| at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs())
        };
        for (text, expected) in [
            ("700101000000Z", Some(0)),
            ("19700101000000Z", Some(0)),
            ("231114221320Z", Some(1_700_000_000)),
            ("20240229235959Z", Some(1_709_251_199)),
            ("20240301000000Z", Some(1_709_251_200)),
            ("99991231235959Z", Some(253_402_300_799)),
            ("20241301000000Z", None),
            ("500101000000Z", None),
            ("231114221320", None),
            ("2311142213Z", None),
            ("23111422132\u{e9}Z", None),
            ("", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
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
