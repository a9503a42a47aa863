//! In which order to try a server's addresses.

use std::net::SocketAddr;

/// No more addresses are tried in one attempt; the next attempt asks the resolver again.
const MAX_ADDRESSES: usize = 16;

/// Puts addresses in the order in which to try them: the families alternate and IPv6 comes first;
/// within a family the resolver's order stays (RFC 8305, section 4). Doubles are dropped.
pub(in crate::upstream) fn interleave(addresses: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut seen = Vec::new();
    for address in addresses {
        if !seen.contains(&address) {
            seen.push(address);
        }
    }
    let (v6, v4): (Vec<_>, Vec<_>) = seen.into_iter().partition(SocketAddr::is_ipv6);
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    let mut ordered = Vec::new();
    loop {
        let pair = [v6.next(), v4.next()];
        if pair == [None, None] || ordered.len() >= MAX_ADDRESSES {
            ordered.truncate(MAX_ADDRESSES);
            return ordered;
        }
        ordered.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 443)).collect()
    }

    #[test]
    fn families_alternate_and_ipv6_is_first() {
        for (given, expected) in [
            (&[][..], &[][..]),
            (&["10.0.0.1"], &["10.0.0.1"]),
            (&["10.0.0.1", "10.0.0.2", "::1"], &["::1", "10.0.0.1", "10.0.0.2"]),
            (&["::1", "::2", "::3", "10.0.0.1"], &["::1", "10.0.0.1", "::2", "::3"]),
            (&["10.0.0.1", "10.0.0.1", "::1"], &["::1", "10.0.0.1"]),
        ] {
            assert_eq!(interleave(addresses(given)), addresses(expected));
        }
    }

    proptest! {
        #[test]
        fn nothing_is_invented_and_little_is_lost(list in prop::collection::vec(any::<(bool, u8)>(), 0..40)) {
            let given: Vec<_> = list
                .iter()
                .map(|(v6, last)| {
                    let ip = if *v6 { format!("fd00::{last:x}") } else { format!("10.0.0.{last}") };
                    SocketAddr::new(ip.parse().unwrap(), 1)
                })
                .collect();
            let ordered = interleave(given.clone());
            let mut unique = given.clone();
            unique.sort();
            unique.dedup();
            prop_assert_eq!(ordered.len(), unique.len().min(MAX_ADDRESSES));
            prop_assert!(ordered.iter().all(|address| given.contains(address)));
        }
    }
}
