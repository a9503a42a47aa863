//! The bridges that are compared, and how each is started.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// The versions that are installed.
const WEBSOCAT: &str = "1.14.1";
const WEBSOCKETS: &str = "17.4";
const WS: &str = "8.23.0";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bridge {
    Limit,
    Wsfan,
    /// wsfan with another `history.max_bytes`: it must not cost.
    WsfanHistory(&'static str),
    /// wsfan that names each message's topic.
    WsfanTopics,
    /// wsfan with another `listener.linger`.
    WsfanLinger(&'static str),
    Websocat,
    Python,
    Node,
}

impl Bridge {
    pub(crate) const ALL: [Bridge; 5] =
        [Bridge::Limit, Bridge::Wsfan, Bridge::Websocat, Bridge::Python, Bridge::Node];

    pub(crate) fn name(self) -> String {
        match self {
            Bridge::Limit => "limit".into(),
            Bridge::Wsfan => "wsfan".into(),
            Bridge::WsfanHistory(bytes) => format!("wsfan, {bytes} history"),
            Bridge::WsfanTopics => "wsfan, topics".into(),
            Bridge::WsfanLinger(linger) => format!("wsfan, linger {linger}"),
            Bridge::Websocat => "websocat".into(),
            Bridge::Python => "python".into(),
            Bridge::Node => "node".into(),
        }
    }

    /// Whether it is wsfan, which may lose nothing.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Bridge::Wsfan | Bridge::WsfanHistory(_) | Bridge::WsfanTopics | Bridge::WsfanLinger(_))
    }

    /// Installs what it needs, once. An error says why it is missing.
    pub(crate) fn prepare(self) -> Result<(), String> {
        match self {
            Bridge::Websocat if !websocat().exists() => {
                let root = peers().join("websocat");
                let root = root.to_str().ok_or("a path without UTF-8")?;
                run(
                    "cargo",
                    &["install", "websocat", "--version", WEBSOCAT, "--locked", "--quiet", "--root", root],
                )
            }
            Bridge::Python if !python().exists() => {
                let venv = peers().join("python");
                let venv = venv.to_str().ok_or("a path without UTF-8")?;
                run("python3", &["-m", "venv", venv])?;
                run(&format!("{venv}/bin/pip"), &["install", "--quiet", &format!("websockets=={WEBSOCKETS}")])
            }
            Bridge::Node if !node().join("node_modules/ws").exists() => {
                let prefix = node();
                fs::create_dir_all(&prefix).map_err(|error| error.to_string())?;
                let prefix = prefix.to_str().ok_or("a path without UTF-8")?;
                run(
                    "npm",
                    &[
                        "install",
                        "--silent",
                        "--no-audit",
                        "--no-fund",
                        "--prefix",
                        prefix,
                        &format!("ws@{WS}"),
                    ],
                )
            }
            _ => Ok(()),
        }
    }

    /// Starts it between the server at `port` and a socket in `directory`. `block` asks wsfan to
    /// wait for the slowest, as the others do; else it declares gaps, as it does by default.
    pub(crate) fn start(self, port: u16, directory: &Path, clients: usize, block: bool) -> Child {
        let socket = directory.join("socket");
        let url = format!("ws://127.0.0.1:{port}/");
        let mut command = match self {
            Bridge::Limit => {
                let mut command = Command::new(std::env::current_exe().expect("this program"));
                command.arg("--role=limit").arg(port.to_string()).arg(&socket).arg(clients.to_string());
                command
            }
            Bridge::Wsfan | Bridge::WsfanHistory(_) | Bridge::WsfanTopics | Bridge::WsfanLinger(_) => {
                let history = if let Bridge::WsfanHistory(bytes) = self { bytes } else { "64MiB" };
                let topics = if self == Bridge::WsfanTopics { "[topics]\npointer = \"/s\"\n" } else { "" };
                let linger = match self {
                    Bridge::WsfanLinger(linger) => format!("linger = \"{linger}\"\n"),
                    _ => String::new(),
                };
                let slow_client = if block { "block" } else { "gap" };
                let config = format!(
                    "[upstream]\nurl = \"{url}\"\nproxy = \"off\"\n[history]\nmax_bytes = \"{history}\"\nslow_client = \"{slow_client}\"\n\
                     {topics}[[listener]]\npath = \"{}\"\nmax_clients = 20000\n{linger}[log]\nlevel = \"warn\"\n",
                    socket.display()
                );
                let file = directory.join("wsfan.toml");
                fs::write(&file, config).expect("a file in the directory");
                let mut command = Command::new(wsfan());
                command.args(["run", "--config"]).arg(file);
                command
            }
            Bridge::Websocat => {
                let mut command = Command::new(websocat());
                // its queue of 16 would lose nearly all, and say nothing
                command.args(["--text", "--queue-len=1000000", "--buffer-size=1000000"]);
                command.arg(format!("unix-listen:{}", socket.display())).arg(format!("broadcast:{url}"));
                command
            }
            Bridge::Python => {
                let mut command = Command::new(python());
                command.arg(script("bridge.py")).arg(url).arg(&socket);
                command
            }
            Bridge::Node => {
                let mut command = Command::new("node");
                command.current_dir(node()).arg(script("bridge.mjs")).arg(url).arg(&socket);
                command
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.spawn().unwrap_or_else(|error| panic!("{} can't be started: {error}", self.name()))
    }
}

/// The daemon: what was built with this, or the program that `WSFAN` names.
fn wsfan() -> PathBuf {
    std::env::var_os("WSFAN").map_or_else(|| env!("CARGO_BIN_EXE_wsfan").into(), PathBuf::from)
}

fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers")
}

fn websocat() -> PathBuf {
    peers().join("websocat/bin/websocat")
}

fn python() -> PathBuf {
    peers().join("python/bin/python3")
}

fn node() -> PathBuf {
    peers().join("node")
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/fanout/peers").join(name)
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    match Command::new(program).args(arguments).stdin(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{program} {}: {status}", arguments.join(" "))),
        Err(error) => Err(format!("{program}: {error}")),
    }
}
