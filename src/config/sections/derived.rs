//! `[derived.NAME]`: values that are made of others.

use crate::config::{
    language::{
        derived::{Derived, Encoding, Function, Hash},
        names::{Names, check_name},
        uses::Use,
    },
    reader::{Item, Section},
};

const HASHES: [(&str, (Function, bool)); 8] = [
    ("sha256", (Function::Sha256, false)),
    ("sha384", (Function::Sha384, false)),
    ("sha512", (Function::Sha512, false)),
    ("sha1", (Function::Sha1, false)),
    ("hmac_sha256", (Function::Sha256, true)),
    ("hmac_sha384", (Function::Sha384, true)),
    ("hmac_sha512", (Function::Sha512, true)),
    ("hmac_sha1", (Function::Sha1, true)),
];

const ENCODINGS: [(&str, Encoding); 4] = [
    ("text", Encoding::Text),
    ("hex", Encoding::Hex),
    ("base64", Encoding::Base64),
    ("base64url", Encoding::Base64Url),
];

/// So many there are, and so many are made for one: what each doubles is soon without end.
const MAX: usize = 256;

/// Reads `[derived.NAME]` into the names, before all else that may use them. One may be made of others, wherever
/// these stand.
pub(in crate::config) fn read_all(section: Section<'_>, names: &mut Names) {
    let mut left: Vec<Item<'_>> = section.items().into_iter().filter(check_name).collect();
    if left.len() > MAX {
        return left[MAX].problem(format_args!("is one of {}, and {MAX} are the most", left.len()));
    }
    loop {
        let (ready, waiting): (Vec<_>, Vec<_>) = left.into_iter().partition(|item| !waits(item, names));
        if ready.is_empty() {
            left = waiting;
            break;
        }
        for item in &ready {
            let derived = read(item, names).filter(|derived| {
                let is_light = derived.weight() <= MAX;
                if !is_light {
                    item.problem(format_args!(
                        "is made of more than {MAX} others, counted as often as they are used"
                    ));
                }
                is_light
            });
            names.derive(item.name, derived);
        }
        left = waiting;
    }
    for item in &left {
        item.problem("is made of itself, by way of others: break the circle");
    }
}

/// Whether it is made of one that isn't read yet.
fn waits(item: &Item<'_>, names: &Names) -> bool {
    let Some(table) = item.value.as_table() else { return false };
    let texts = ["of", "key"].into_iter().filter_map(|key| table.get(key)?.get_ref().as_str());
    texts.flat_map(|text| text.split("${derived:").skip(1)).any(|rest| {
        let name = rest.split('}').next().unwrap_or_default();
        names.is_derived_later(name)
    })
}

fn read(item: &Item<'_>, names: &Names) -> Option<Derived> {
    let section = item.section();
    let template = |key| section.item(key).and_then(|item| names.text(&item, Use::Derived));
    let (of, key) = (template("of"), template("key"));
    let hash = section.one_of("hash", &HASHES);
    let key_as = section.one_of("key_as", &ENCODINGS);
    let encoding = section.one_of("as", &ENCODINGS);
    let is_keyed = matches!(hash, Some((_, true)));
    if section.item("of").is_none() && !section.is_refused() {
        section.problem(
            "of",
            "is missing: write what it is made of, such as of = \"${var:password}${capture:salt}\"",
        );
    }
    if is_keyed && section.item("key").is_none() {
        section.problem(
            "key",
            "is missing, and the hash is one with a key: write such as key = \"${credential:key}\"",
        );
    }
    for key in ["key", "key_as"] {
        // a hash that is none is told already
        let is_plain = hash.is_some() || section.item("hash").is_none();
        if is_plain && !is_keyed && section.item(key).is_some() {
            section.problem(key, "only goes with a hash that has a key, such as hash = \"hmac_sha256\"");
        }
    }
    if hash.is_some() && encoding == Some(Encoding::Text) {
        section.problem(
            "as",
            "is \"text\", which a hash's bytes aren't: write \"hex\", \"base64\" or \"base64url\"",
        );
    }
    section.finish();
    let encoding = encoding.unwrap_or(if hash.is_some() { Encoding::Hex } else { Encoding::Text });
    let hash = match hash {
        None => None,
        Some((function, false)) => Some(Hash::Plain(function)),
        Some((function, true)) => Some(Hash::Hmac(function, key?, key_as.unwrap_or(Encoding::Text))),
    };
    Some(Derived { name: item.name.to_owned(), of: of?, hash, encoding })
}
