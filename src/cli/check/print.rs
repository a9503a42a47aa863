//! `wsfan check --print`: the config with its profile's settings in it.

use super::super::format::clean;
use crate::config::Merged;

/// The config's text, below a comment that says of what it was made.
pub(super) fn text(name: &str, merged: &Merged) -> String {
    let name = clean(name);
    let below = match &merged.profile {
        Some(profile) if *profile == name => String::new(),
        Some(profile) => format!(", with the profile {profile} below it"),
        None => ", which has no profile".to_owned(),
    };
    let masked = match merged.is_masked {
        true => {
            "# Where *** stands (0 for a number), there is what looks like a secret: write `${credential:NAME}` or \
             `${file:PATH}` there.\n"
        }
        false => "",
    };
    format!("# {name}{below}\n{masked}\n{}", merged.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_comment_names_file_and_profile_and_stays_a_comment() {
        for (name, profile, is_masked, head) in [
            ("/etc/a.toml", Some("okx"), false, "# /etc/a.toml, with the profile okx below it\n\na = 1\n"),
            ("/etc/a.toml", None, false, "# /etc/a.toml, which has no profile\n\na = 1\n"),
            ("okx", Some("okx"), false, "# okx\n\na = 1\n"),
            ("x\ny = 2", Some("okx"), false, "# x\\ny = 2, with the profile okx below it\n\na = 1\n"),
        ] {
            let merged =
                Merged { profile: profile.map(str::to_owned), text: "a = 1\n".to_owned(), is_masked };
            assert_eq!(text(name, &merged), head);
        }
        let merged = Merged { profile: None, text: "a = 1\n".to_owned(), is_masked: true };
        let printed = text("/c", &merged);
        assert!(printed.contains("\n# Where *** stands"), "{printed}");
        assert_eq!(printed.parse::<toml::Table>().unwrap().len(), 1, "{printed}");
    }
}
