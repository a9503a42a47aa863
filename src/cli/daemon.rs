//! Which daemon a client command talks to. What was named is never left for another.

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use super::{
    failure::{Failure, Outcome, explain, note},
    reach::Way,
};
use crate::{
    client::Client,
    config::{Config, Environment, Format, Grant, Listener},
    service::own_grant,
};

/// The daemon's config, unless another is named.
pub(super) const CONFIG: &str = "/etc/wsfan/wsfan.toml";
/// Where a daemon that systemd started has its socket, unless configured.
const SYSTEM_SOCKET: &str = "/run/wsfan/wsfan.sock";

/// How every client command is told where the daemon is.
#[derive(Debug, Default, clap::Args)]
pub(super) struct DaemonArgs {
    /// The daemon that runs this config file [default: /etc/wsfan/wsfan.toml, if there]
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["socket", "instance"])]
    config: Option<PathBuf>,
    /// The daemon's socket [default: $WSFAN_SOCKET, else what the config names]
    #[arg(short, long, value_name = "PATH", conflicts_with = "instance")]
    socket: Option<PathBuf>,
    /// The instance of this name: the daemon of wsfan@NAME.service, with /etc/wsfan/NAME.toml
    #[arg(short, long, value_name = "NAME")]
    instance: Option<Instance>,
}

/// The name of an instance: what stands behind the `@` of its unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Instance(String);

/// The file that a daemon runs, and what it is read in: an instance's, whatever else is named by default.
pub(super) fn file_of(config: &Path, instance: Option<&Instance>) -> (PathBuf, Environment) {
    match instance {
        Some(instance) => (instance.config(), instance.environment()),
        None => (config.to_owned(), Environment::process()),
    }
}

/// The right that a command needs; it prefers a listener that gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Nothing,
    Receive,
    Send,
    Control,
}

impl Instance {
    /// Its config file.
    fn config(&self) -> PathBuf {
        format!("/etc/wsfan/{}.toml", self.0).into()
    }

    /// What a listener without a path goes by: the runtime directory of its unit.
    fn environment(&self) -> Environment {
        Environment::fixed([("RUNTIME_DIRECTORY", &*self.runtime())])
    }

    /// The runtime directory that its unit has.
    fn runtime(&self) -> String {
        format!("/run/wsfan-{}", self.0)
    }
}

impl FromStr for Instance {
    type Err = String;

    fn from_str(name: &str) -> Result<Instance, String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte);
        if name.is_empty() || name.len() > 64 || name.starts_with(['.', '-']) || !name.bytes().all(plain) {
            return Err(
                "write what stands behind the `@` of wsfan@NAME.service: at most 64 letters, digits, \
                        `_`, `-`, `.` and `:`, and no path"
                    .to_owned(),
            );
        }
        Ok(Instance(name.to_owned()))
    }
}

impl DaemonArgs {
    /// Connects to the daemon.
    pub(super) fn connect(&self, need: Need) -> Outcome<Client> {
        self.way(need)?.connect()
    }

    /// The way to the daemon, which may not be there yet.
    pub(super) fn way(&self, need: Need) -> Outcome<Way> {
        let (way, warning) = self.way_in(need, &Environment::process(), Path::new(CONFIG))?;
        if let Some(warning) = warning {
            note(warning);
        }
        Ok(way)
    }

    /// Connects to the daemon by any socket of the config that was named: one that hasn't read it yet may have
    /// no more than one of them.
    pub(super) fn connect_to_any(&self, need: Need) -> Outcome<Client> {
        let first = self.connect(need);
        let (Err(_), Some(file)) = (&first, &self.config) else { return first };
        let Ok(config) = Config::load(file) else { return first };
        let envelopes = config.listeners.into_iter().filter(|listener| listener.format == Format::Envelope);
        let mut ways = envelopes.map(|listener| Way::to(listener.path).running(file.clone()));
        ways.find_map(|way| way.connect().ok()).map_or(first, Ok)
    }

    /// Whether the config that was named can't be used.
    pub(super) fn names_a_bad_config(&self) -> bool {
        let instance = self.instance.as_ref().map(Instance::config).filter(|file| file.exists());
        self.config.as_ref().or(instance.as_ref()).is_some_and(|file| Config::load(file).is_err())
    }

    /// As [`DaemonArgs::way`], with the process's environment and the path of the daemon's config given; and what
    /// to warn of.
    fn way_in(&self, need: Need, environment: &Environment, config: &Path) -> Outcome<(Way, Option<String>)> {
        if let Some(socket) = &self.socket {
            return Ok((Way::to(socket.clone()), None));
        }
        if let Some(instance) = &self.instance {
            return of_instance(instance, &instance.config(), need);
        }
        if let Some(file) = &self.config {
            let socket = from_config(&load(file, environment)?, file, need)?;
            // a path that was left out depends on who runs the daemon, which may not be us
            let or = (socket == Config::default_socket(environment)).then(|| PathBuf::from(SYSTEM_SOCKET));
            return Ok((Way::to(socket).running(file.clone()).or_if_it_runs_that(or), None));
        }
        if let Some(socket) = environment.var("WSFAN_SOCKET").filter(|socket| !socket.is_empty()) {
            return Ok((Way::to(socket.into()), None));
        }
        let default = Config::default_socket(environment);
        let mut warning = None;
        if fs::File::open(config).is_ok() {
            match Config::load_in(config, environment) {
                Ok(loaded) => {
                    let socket = from_config(&loaded, config, need)?;
                    let or = (socket == default).then(|| PathBuf::from(SYSTEM_SOCKET));
                    return Ok((Way::to(socket).or(or), None));
                }
                // nobody named it, and a daemon that refused it may well be running: to see that is what
                // `status` is for
                Err(_) => {
                    warning = Some(format!(
                        "{0} is bad, and the default socket is tried: see `wsfan check --config {0}`, or name \
                         the daemon's socket with --socket",
                        config.display()
                    ));
                }
            }
        }
        Ok((Way::to(default).or(Some(SYSTEM_SOCKET.into())), warning))
    }
}

/// The way to an instance with this config file. Who may use its socket needn't be able to read its file.
fn of_instance(instance: &Instance, file: &Path, need: Need) -> Outcome<(Way, Option<String>)> {
    let mut warning = None;
    let socket = match fs::read_to_string(file) {
        Err(_) => None,
        Ok(text) => match Config::parse(&text, &instance.environment()) {
            Ok(config) => Some(from_config(&config, file, need)?),
            Err(_) => {
                warning = Some(format!(
                    "{0} is bad, and the instance's default socket is tried: see `wsfan check --config {0}`",
                    file.display()
                ));
                None
            }
        },
    };
    let socket = socket.unwrap_or_else(|| Config::default_socket(&instance.environment()));
    Ok((Way::to(socket).running(file.to_owned()), warning))
}

fn load(file: &Path, environment: &Environment) -> Outcome<Config> {
    Config::load_in(file, environment).map_err(|error| {
        let error = explain(&error);
        Failure::config(format!("{error}\nmend the config, or name the daemon's socket with --socket"))
    })
}

fn from_config(config: &Config, file: &Path, need: Need) -> Outcome<PathBuf> {
    // what a rule gives is of no use where none decides
    let grant = |listener: &Listener| match need {
        Need::Nothing => listener.grant.clone(),
        _ => own_grant(listener),
    };
    let listener = best(&config.listeners, need, grant).ok_or_else(|| {
        Failure::config(format!(
            "{} has no listener with format = \"envelope\", which this command needs: add one",
            file.display()
        ))
    })?;
    Ok(listener.path.clone())
}

/// The first envelope listener with the right, as `grant` says what each gives us, else the first envelope listener:
/// the daemon's own user has every right on each.
fn best(listeners: &[Listener], need: Need, grant: impl Fn(&Listener) -> Grant) -> Option<&Listener> {
    let mut envelopes = listeners.iter().filter(|listener| listener.format == Format::Envelope).peekable();
    let first = envelopes.peek().copied();
    envelopes
        .find(|listener| match need {
            Need::Nothing => true,
            Need::Receive => grant(listener).rights.receive,
            Need::Send => grant(listener).rights.send,
            Need::Control => grant(listener).rights.control,
        })
        .or(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::failure::CONFIG as CONFIG_IS_BAD,
        config::{ListenerRule, Rights},
    };

    fn listener(path: &str, format: Format, rights: &str) -> Listener {
        Listener {
            path: path.into(),
            mode: 0o660,
            owner: None,
            group: None,
            format,
            grant: Grant {
                rights: Rights {
                    receive: rights.contains('r'),
                    send: rights.contains('s'),
                    control: rights.contains('c'),
                },
                ..Grant::default()
            },
            rules: Vec::new(),
            max_clients: 1,
            privileged: true,
            max_clients_per_user: None,
            max_line: 1,
            answers: false,
            slow_client: None,
            linger: std::time::Duration::ZERO,
        }
    }

    #[test]
    fn the_listener_with_the_right_is_preferred() {
        let listeners = [
            listener("/raw", Format::Raw, "rsc"),
            listener("/read", Format::Envelope, "r"),
            listener("/send", Format::Envelope, "s"),
        ];
        let all = |listener: &Listener| listener.grant.clone();
        let path = |need| best(&listeners, need, all).unwrap().path.to_str().unwrap();
        assert_eq!(path(Need::Nothing), "/read");
        assert_eq!(path(Need::Receive), "/read");
        assert_eq!(path(Need::Send), "/send");
        assert_eq!(path(Need::Control), "/read");
        assert_eq!(best(&listeners[..1], Need::Nothing, all), None);
    }

    #[test]
    fn a_rule_for_us_decides() {
        let uid = rustix::process::geteuid().as_raw();
        let mut listeners = [listener("/a", Format::Envelope, "r"), listener("/b", Format::Envelope, "r")];
        listeners.iter_mut().for_each(|listener| listener.privileged = false);
        let rule = |user: u32, rights: &str| ListenerRule {
            users: vec![user.to_string()],
            groups: Vec::new(),
            grant: listener("", Format::Envelope, rights).grant,
        };
        listeners[0].rules = vec![rule(uid + 1, "rsc")];
        listeners[1].rules = vec![rule(uid + 1, "r"), rule(uid, "s"), rule(uid, "rsc")];
        let path = |need| best(&listeners, need, own_grant).unwrap().path.to_str().unwrap();
        assert_eq!((path(Need::Send), path(Need::Receive)), ("/b", "/a"));
        assert_eq!(path(Need::Control), "/a", "the first that fits decides");
    }

    #[test]
    fn a_bad_config_stops_only_who_named_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("wsfan.toml");
        let runtime = Environment::fixed([("XDG_RUNTIME_DIR", "/run/user/7")]);
        let default = Way::to("/run/user/7/wsfan.sock".into()).or(Some(SYSTEM_SOCKET.into()));
        let found = |args: &DaemonArgs| args.way_in(Need::Nothing, &runtime, &file);
        let unnamed = DaemonArgs::default();
        let named = DaemonArgs { config: Some(file.clone()), ..DaemonArgs::default() };

        assert_eq!(found(&unnamed), Ok((default.clone(), None)), "there is none");
        assert_eq!(found(&named).unwrap_err().code(), CONFIG_IS_BAD);

        for bad in ["[upstream]\nurl = 7\n[outbox]\nttl = 7\n", "no TOML", "\u{0}"] {
            fs::write(&file, bad).unwrap();
            let (way, warning) = found(&unnamed).unwrap();
            assert_eq!(way, default);
            let warning = warning.unwrap();
            assert!(!warning.contains('\n') && warning.contains("wsfan check --config /"), "{warning}");
            assert_eq!(found(&named).unwrap_err().code(), CONFIG_IS_BAD);
        }

        let upstream = "[upstream]\nurl = \"ws://a/\"\n";
        fs::write(&file, format!("{upstream}[[listener]]\npath = \"/a\"\n")).unwrap();
        assert_eq!(found(&unnamed), Ok((Way::to("/a".into()), None)));
        assert_eq!(found(&named), Ok((Way::to("/a".into()).running(file.clone()), None)));
        // right, but of no use: the default socket isn't the daemon's either
        fs::write(&file, format!("{upstream}[[listener]]\nformat = \"raw\"\n")).unwrap();
        assert_eq!(found(&unnamed).unwrap_err().code(), CONFIG_IS_BAD);
    }

    #[test]
    fn the_environment_goes_before_the_daemons_config() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("wsfan.toml");
        fs::write(&file, "bad").unwrap();
        let environment = Environment::fixed([("WSFAN_SOCKET", "/env")]);
        let found = |args: DaemonArgs| args.way_in(Need::Nothing, &environment, &file);
        assert_eq!(found(DaemonArgs::default()), Ok((Way::to("/env".into()), None)));
        let socket = DaemonArgs { socket: Some("/s".into()), ..DaemonArgs::default() };
        assert_eq!(found(socket), Ok((Way::to("/s".into()), None)));
    }

    #[test]
    fn a_config_that_was_named_has_its_own_default_socket_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("wsfan.toml");
        fs::write(&file, "[upstream]\nurl = \"ws://a/\"\n").unwrap();
        let named = DaemonArgs { config: Some(file.clone()), ..DaemonArgs::default() };
        let environment = Environment::process();
        // what it says of the system's daemon is only true if that runs this very file
        let (way, _) = named.way_in(Need::Send, &environment, Path::new("/nonexistent")).unwrap();
        let own = Way::to(Config::default_socket(&environment)).running(file.clone());
        assert_eq!(way, own.or_if_it_runs_that(Some(SYSTEM_SOCKET.into())));
    }

    #[test]
    fn an_instance_is_its_file_and_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.toml");
        let instance: Instance = "a".parse().unwrap();
        assert_eq!(instance.config(), Path::new("/etc/wsfan/a.toml"));
        let found = || of_instance(&instance, &file, Need::Nothing).unwrap();
        let own = Way::to("/run/wsfan-a/wsfan.sock".into()).running(file.clone());
        assert_eq!(found(), (own.clone(), None), "it can't be read");
        fs::write(&file, "[upstream]\nurl = \"ws://a/\"\n").unwrap();
        assert_eq!(found(), (own.clone(), None));
        fs::write(&file, "[upstream]\nurl = \"ws://a/\"\n[[listener]]\npath = \"/x\"\n").unwrap();
        assert_eq!(found(), (Way::to("/x".into()).running(file.clone()), None));
        fs::write(&file, "bad").unwrap();
        let (way, warning) = found();
        assert!(way == own && warning.is_some());
    }

    #[test]
    fn an_instance_is_run_where_its_clients_look_for_it() {
        let instance: Instance = "a".parse().unwrap();
        let (file, environment) = file_of(Path::new(CONFIG), Some(&instance));
        assert_eq!(file, Path::new("/etc/wsfan/a.toml"));
        let config = Config::parse("upstream.url = \"ws://h/\"", &environment).unwrap();
        let way = Way::to(config.listeners[0].path.clone()).running("/nonexistent".into());
        assert_eq!(of_instance(&instance, Path::new("/nonexistent"), Need::Nothing).unwrap(), (way, None));
        assert_eq!(config.listeners[0].path, Path::new("/run/wsfan-a/wsfan.sock"));
        let (file, environment) = file_of(Path::new("/c.toml"), None);
        assert_eq!(file, Path::new("/c.toml"));
        assert_eq!(Config::default_socket(&environment), Config::default_socket(&Environment::process()));
    }

    #[test]
    fn an_instances_name_is_no_path() {
        for name in ["a", "feed-2", "a.b", "x:y_z"] {
            assert!(name.parse::<Instance>().is_ok(), "{name}");
        }
        for name in ["", "a/b", "..", ".", "-x", "a b", "a\n", "ä", &"x".repeat(65)] {
            assert!(name.parse::<Instance>().is_err(), "{name}");
        }
    }
}
