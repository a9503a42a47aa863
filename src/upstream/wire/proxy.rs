//! The proxy on the way to a server: which one, and the tunnel through it.
//!
//! Each sentence says that it was the proxy, and where it is told what to do: `upstream.proxy`, or the
//! environment's variable.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{target::Target, tls};
use crate::config::{self, Environment, ProxyKind, ProxyUrl, Secret, Template, TemplateError};

mod connect;
mod environment;
#[cfg(feature = "fuzzing")]
pub(in crate::upstream) mod fuzzing;
mod socks;

/// The proxy of one attempt. Without `Debug`: it may hold a password.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::upstream) struct Proxy {
    url: ProxyUrl,
    /// The environment's variable that names it; none where the configuration does.
    variable: Option<&'static str>,
}

/// A user name and a password, in bytes as they go over the wire.
pub(in crate::upstream) type Login = (Vec<u8>, Vec<u8>);

impl Proxy {
    /// The proxy for `target`, if there is one. `configured` is read afresh: a password that was
    /// renewed is used by the next attempt.
    ///
    /// # Errors
    /// The key or variable that can't be used, and why; never its value.
    pub(in crate::upstream) fn choose(
        configured: &config::Proxy,
        target: &Target,
        environment: &Environment,
        render: impl FnOnce(&Template) -> Result<Secret, TemplateError>,
    ) -> Result<Option<Proxy>, String> {
        match configured {
            config::Proxy::Off => Ok(None),
            config::Proxy::Url(template) => {
                let url = render(template).map_err(|why| format!("upstream.proxy: {why}"))?;
                Proxy::parse(&url, None).map(Some)
            }
            config::Proxy::Environment => match environment::proxy(target, environment)? {
                Some((variable, url)) => Proxy::parse(&url, Some(variable)).map(Some),
                None => Ok(None),
            },
        }
    }

    fn parse(url: &Secret, variable: Option<&'static str>) -> Result<Proxy, String> {
        match ProxyUrl::parse(url.expose()) {
            Ok(url) => Ok(Proxy { url, variable }),
            Err(why) => Err(format!("{} {why}", place(variable))),
        }
    }

    /// What it is called in a sentence, without its login.
    pub(in crate::upstream) fn name(&self) -> String {
        match self.variable {
            Some(variable) => format!("the proxy {} (from {variable})", self.url),
            None => format!("the proxy {}", self.url),
        }
    }

    /// The user name and the password, if it wants them.
    pub(in crate::upstream) fn login(&self) -> Option<&Login> {
        self.url.login.as_ref()
    }

    pub(in crate::upstream) fn host(&self) -> &str {
        &self.url.host
    }

    pub(in crate::upstream) fn port(&self) -> u16 {
        self.url.port
    }

    /// Asks for a tunnel to `target` on a new connection to the proxy. Returns what came through the
    /// tunnel already; it is read first.
    ///
    /// # Errors
    /// What the proxy does or doesn't do: the end of a sentence that begins with its name.
    pub(in crate::upstream) async fn tunnel<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        target: &Target,
    ) -> Result<Vec<u8>, String> {
        let (login, place) = (self.url.login.as_ref(), place(self.variable));
        match self.url.kind {
            ProxyKind::Http => connect::tunnel(stream, target, login, &place).await,
            ProxyKind::Socks5 => {
                // nothing is read beyond the proxy's own words
                socks::tunnel(stream, target, login, &place).await.map(|()| Vec::new())
            }
        }
    }
}

/// Where the proxy's URL is set, for those who must change it.
fn place(variable: Option<&'static str>) -> String {
    match variable {
        Some(variable) => format!("the environment's {variable}"),
        None => "upstream.proxy".to_owned(),
    }
}

/// A connection that ends or breaks before the tunnel is there: the end of a sentence.
fn broke(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            "ended the connection instead of answering".to_owned()
        }
        _ => format!("can't be talked to: {}", tls::explain(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Template;

    const S5: &str = "socks5://me:${env:PW}@proxy:9050";

    fn chosen(configured: &config::Proxy, variables: &[(&str, &str)]) -> Result<Option<String>, String> {
        let environment = Environment::fixed(variables.iter().copied());
        let target = Target::parse("wss://server/").unwrap();
        let proxy =
            Proxy::choose(configured, &target, &environment, |template| template.resolve_in(&environment))?;
        Ok(proxy.map(|proxy| proxy.name()))
    }

    #[test]
    fn the_configuration_goes_before_the_environment() {
        let variables = [("https_proxy", "http://me:SECRET@env:1/"), ("PW", "SECRET")];
        let configured = config::Proxy::Url(Template::parse(S5).unwrap());
        assert_eq!(chosen(&config::Proxy::Off, &variables), Ok(None));
        assert_eq!(chosen(&configured, &variables), Ok(Some("the proxy socks5://proxy:9050".to_owned())));
        assert_eq!(
            chosen(&config::Proxy::Environment, &variables),
            Ok(Some("the proxy http://env:1 (from https_proxy)".to_owned()))
        );
        assert_eq!(chosen(&config::Proxy::Environment, &[]), Ok(None));
    }

    #[test]
    fn any_password_fits_into_a_placeholder() {
        let environment = Environment::fixed([("PW", "a/b@c:d%41 é")]);
        let configured = config::Proxy::Url(Template::parse_url(S5).unwrap());
        let target = Target::parse("wss://server/").unwrap();
        let resolve = |template: &Template| template.resolve_in(&environment);
        let proxy = Proxy::choose(&configured, &target, &environment, resolve).unwrap().unwrap();
        let (user, password) = proxy.login().expect("it logs in");
        assert_eq!((&user[..], &password[..]), (&b"me"[..], "a/b@c:d%41 é".as_bytes()));
    }

    #[test]
    fn what_can_not_be_used_is_told_by_its_name() {
        let configured = config::Proxy::Url(Template::parse(S5).unwrap());
        assert_eq!(
            chosen(&configured, &[]),
            Err("upstream.proxy: `${env:PW}` is not set in the environment: set it where wsfan runs, in a unit by `Environment=`".to_owned())
        );
        let literal = config::Proxy::Url(Template::literal("socks5://me@proxy:9050/SECRET"));
        let error = chosen(&literal, &[]).unwrap_err();
        assert!(
            error.starts_with("upstream.proxy has something after the port") && !error.contains("SECRET"),
            "{error}"
        );
        let variables = [("HTTPS_PROXY", "https://me:SECRET@env/")];
        let error = chosen(&config::Proxy::Environment, &variables).unwrap_err();
        assert!(error.starts_with("the environment's HTTPS_PROXY begins with https://"), "{error}");
        assert!(!error.contains("SECRET"), "{error}");
    }
}
