//! Where in the log to begin.

use std::{str::FromStr, time::Duration};

use crate::client::Place;

/// Where in the log to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    Oldest,
    Ago(Duration),
    After(Place),
}

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Start, String> {
        if text == "oldest" {
            return Ok(Start::Oldest);
        }
        if let Ok(ago) = crate::config::parse_duration(text) {
            return Ok(Start::Ago(ago));
        }
        let place = text.split_once(':').and_then(|(epoch, seq)| {
            let seq = seq.parse().ok()?;
            (!epoch.is_empty()).then(|| Start::After(Place { epoch: epoch.to_owned(), seq }))
        });
        place.ok_or_else(|| {
            "write `oldest`, a duration such as 5m, or EPOCH:SEQ with the epoch of a hello line and the seq of the last entry seen, \
             such as 9f2c51d0:41823"
                .to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let after = |epoch: &str, seq| Ok(Start::After(Place { epoch: epoch.to_owned(), seq }));
        assert_eq!("oldest".parse(), Ok(Start::Oldest));
        assert_eq!("5m".parse(), Ok(Start::Ago(Duration::from_secs(300))));
        assert_eq!("9f2c51d0:41823".parse(), after("9f2c51d0", 41823));
        for bad in ["", "newest", ":1", "9f:", "9f:x", "9f:-1"] {
            assert!(bad.parse::<Start>().is_err(), "{bad}");
        }
    }
}
