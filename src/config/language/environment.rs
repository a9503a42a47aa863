//! The environment that a configuration is read in.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

/// Where environment variables come from: the process, or a fixed set for tests.
#[derive(Clone)]
pub struct Environment(Option<BTreeMap<String, OsString>>);

impl Environment {
    /// The environment of this process, looked up afresh each time.
    pub fn process() -> Self {
        Self(None)
    }

    /// A fixed environment with only these variables.
    pub fn fixed<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let pairs = variables.into_iter();
        Self(Some(pairs.map(|(name, value)| (name.to_owned(), value.into())).collect()))
    }

    /// The variable's value; none if it is not set.
    pub fn var(&self, name: &str) -> Option<OsString> {
        match &self.0 {
            None => std::env::var_os(name),
            Some(fixed) => fixed.get(name).cloned(),
        }
    }

    /// This host's name: what the kernel says, or `HOSTNAME` of a fixed environment; none if it has none.
    pub(in crate::config) fn host_name(&self) -> Option<String> {
        let name = match &self.0 {
            None => std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?,
            Some(fixed) => fixed.get("HOSTNAME")?.to_str()?.to_owned(),
        };
        let name = name.trim();
        (!matches!(name, "" | "(none)")).then(|| name.to_owned())
    }

    /// The first absolute path in a variable that holds a colon list, as systemd writes them.
    pub(in crate::config) fn directory(&self, name: &str) -> Option<PathBuf> {
        let value = self.var(name)?;
        std::env::split_paths(&value).next().filter(|path| Path::is_absolute(path))
    }
}

impl fmt::Debug for Environment {
    // Values may be secrets, so only names are shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("Environment(process)"),
            Some(fixed) => f.debug_set().entries(fixed.keys()).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_the_first_absolute_one() {
        let of = |value: &str| Environment::fixed([("D", value)]).directory("D");
        assert_eq!(of("/run/a:/run/b"), Some("/run/a".into()));
        assert_eq!(of("/run/a"), Some("/run/a".into()));
        assert_eq!(of("run/a"), None);
        assert_eq!(of(""), None);
        assert_eq!(Environment::fixed([]).directory("D"), None);
    }

    #[test]
    fn debug_shows_no_value() {
        let shown = format!("{:?}", Environment::fixed([("TOKEN", "hunter2")]));
        assert_eq!(shown, "{\"TOKEN\"}");
    }
}
