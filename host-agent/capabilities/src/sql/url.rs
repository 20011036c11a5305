//! The address of a database: `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…`. It is a secret as a whole, so what is wrong
//! with it is told without it.

use std::fmt;

use jiffy_model::{Host, Origin, Scheme};
use percent_encoding::percent_decode_str;
use tokio_postgres::{
    Config,
    config::{ChannelBinding, SslMode, SslNegotiation},
};

const PORT: u16 = 5432;
/// Bytes of a user's name, a password and a database's name at most.
const PART_BYTES_MAX: usize = 1024;
/// What else clients of Postgres know: told by name, because what is written there is not secret.
const REFUSED: &[&str] = &[
    "host",
    "hostaddr",
    "port",
    "user",
    "password",
    "passfile",
    "dbname",
    "service",
    "options",
    "sslcert",
    "sslkey",
    "sslrootcert",
    "sslcrl",
    "sslnegotiation",
    "target_session_attrs",
    "load_balance_hosts",
    "connect_timeout",
    "keepalives",
    "tcp_user_timeout",
    "gssencmode",
    "krbsrvname",
    "replication",
    "client_encoding",
];
const SHAPE: &str = "must be postgres://USER:PASSWORD@HOST:PORT/DATABASE, in which other characters than letters, digits and -._~ are written as %XX";

/// Whether what is said to a database is encrypted. If it is, its certificate has to be one for the host in the URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encryption {
    /// Yes, or nothing is said.
    Required,
    /// If the database can; to one that cannot, in clear if its address is not public.
    Preferred,
    /// No, if its address is not public.
    None,
}

/// A database, and as whom one asks it.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) origin: Origin,
    pub(super) encryption: Encryption,
    /// User, password and database. TLS is made before it is used.
    pub(super) config: Config,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").finish_non_exhaustive()
    }
}

impl Target {
    /// Takes a URL apart. The error is a rule, and has nothing of the URL.
    pub(super) fn parse(url: &[u8]) -> Result<Self, String> {
        let shape = || SHAPE.to_owned();
        let url = str::from_utf8(url).map_err(|_| shape())?.trim_end();
        let schemes = ["postgres://", "postgresql://"];
        let rest = schemes.iter().find_map(|scheme| url.strip_prefix(scheme));
        let rest = rest.ok_or_else(shape)?;
        if rest.contains('#') {
            return Err(shape());
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, host) = authority.rsplit_once('@').ok_or_else(shape)?;
        let (user, password) = match user.split_once(':') {
            Some((user, password)) => (decode(user)?, Some(decode(password)?)),
            None => (decode(user)?, None),
        };
        let database = decode(database)?;
        if user.is_empty() {
            return Err("must name a user".into());
        }
        let mut config = Config::new();
        config.dbname(match database.is_empty() {
            true => &user,
            false => &database,
        });
        config.user(user);
        if let Some(password) = password {
            config.password(password);
        }
        // TLS is made before Postgres is spoken.
        config.ssl_mode(SslMode::Require);
        config.ssl_negotiation(SslNegotiation::Direct);
        config.application_name("jiffy");
        let mut encryption = Encryption::Preferred;
        for parameter in query.split('&').filter(|it| !it.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match (name, value) {
                ("sslmode", "require" | "verify-full") => encryption = Encryption::Required,
                ("sslmode", "prefer") => encryption = Encryption::Preferred,
                ("sslmode", "disable") => encryption = Encryption::None,
                ("sslmode", _) => {
                    return Err(
                        "sslmode must be disable, prefer, require or verify-full, and the last two are the same".into(),
                    );
                }
                ("application_name", name) => drop(config.application_name(decode(name)?)),
                ("channel_binding", "disable") => {
                    config.channel_binding(ChannelBinding::Disable);
                }
                ("channel_binding", "prefer") => {}
                ("channel_binding", "require") => {
                    config.channel_binding(ChannelBinding::Require);
                }
                ("channel_binding", _) => {
                    return Err("channel_binding must be disable, prefer or require".into());
                }
                _ => {
                    let known = REFUSED.iter().find(|known| **known == name);
                    let which = known.map_or("a parameter", |name| name);
                    return Err(format!(
                        "it may not have {which}: only sslmode, channel_binding and application_name"
                    ));
                }
            }
        }
        Ok(Self {
            origin: origin(host)?,
            encryption,
            config,
        })
    }
}

fn origin(host: &str) -> Result<Origin, String> {
    let port = |port: &str| match port.bytes().all(|byte| byte.is_ascii_digit()) {
        true => port.parse().ok().filter(|port| *port > 0),
        false => None,
    };
    if host.contains(',') {
        return Err("must name one host".into());
    }
    // What is in brackets has colons of its own.
    let (host, port) = match host.rsplit_once(':') {
        Some((host, text)) if !text.ends_with(']') => (host, port(text)),
        _ => (host, Some(PORT)),
    };
    let host: Result<Host, _> = host.to_ascii_lowercase().parse();
    match (host, port) {
        (Ok(host), Some(port)) => Ok(Origin {
            scheme: Scheme::Tcp,
            host,
            port,
        }),
        (Err(_), _) => Err("its host must be a name of DNS or an IP address".into()),
        (_, None) => Err("its port must be 1 to 65535".into()),
    }
}

fn decode(text: &str) -> Result<String, String> {
    let escapes = text.split('%').skip(1);
    let is_escape = |rest: &str| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    let is_plain =
        |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'?' | b'#' | b'@' | b':');
    let decoded = percent_decode_str(text).decode_utf8();
    match decoded {
        Ok(decoded)
            if escapes.into_iter().all(is_escape)
                && text.bytes().all(is_plain)
                && decoded.len() <= PART_BYTES_MAX
                && !decoded.contains('\0') =>
        {
            Ok(decoded.into_owned())
        }
        _ => Err(SHAPE.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let target = Target::parse(
            b"postgresql://ada:p%40ss%2Fw@DB.Example.com:6432/shop?sslmode=require&application_name=me\n",
        );
        let target = target.expect("a URL");
        assert_eq!(target.origin.to_string(), "tcp://db.example.com:6432");
        assert_eq!(target.encryption, Encryption::Required);
        assert_eq!(target.config.get_user(), Some("ada"));
        assert_eq!(target.config.get_password(), Some(&b"p@ss/w"[..]));
        assert_eq!(target.config.get_dbname(), Some("shop"));
        assert_eq!(target.config.get_application_name(), Some("me"));
        let least = Target::parse(b"postgres://ada@[::1]").expect("a URL");
        assert_eq!(least.origin.to_string(), "tcp://[::1]:5432");
        assert_eq!(least.config.get_dbname(), Some("ada"));
        assert_eq!(least.encryption, Encryption::Preferred);
        assert_eq!(format!("{target:?}"), "Target { .. }");
    }

    #[test]
    fn what_is_refused_is_told_without_the_url() {
        for (url, rule) in [
            ("", "must be postgres://"),
            ("mysql://canary@h/d", "must be postgres://"),
            ("postgres://canary/d", "must be postgres://"),
            ("postgres://canary:c@nary@h/d", "must be postgres://"),
            ("postgres://canary:%zz@h/d", "must be postgres://"),
            ("postgres://canary:%00@h/d", "must be postgres://"),
            ("postgres://canary:c?anary@h/d", "must be postgres://"),
            ("postgres://canary:c#anary@h/d", "must be postgres://"),
            ("postgres://canary:c anary@h/d", "must be postgres://"),
            ("postgres://canary@/d", "its host"),
            ("postgres://canary@127.1/d", "its host"),
            ("postgres://canary@%2Fvar%2Frun/d", "its host"),
            ("postgres://canary@h,i/d", "one host"),
            ("postgres://canary@h:0/d", "its port"),
            ("postgres://canary@h:65536/d", "its port"),
            ("postgres://canary@h:+1/d", "its port"),
            ("postgres://:p@canary/d", "must name a user"),
            ("postgres://canary@h/d?sslmode=allow", "sslmode must be"),
            ("postgres://canary@h/d?sslmode=verify-ca", "sslmode must be"),
            (
                "postgres://canary@h/d?hostaddr=1.2.3.4",
                "may not have hostaddr",
            ),
            ("postgres://canary@h/d?host=/tmp", "may not have host"),
            ("postgres://canary@h/d?passfile=/x", "may not have passfile"),
            ("postgres://canary@h/d?options=-c", "may not have options"),
            ("postgres://canary@h/d?canary=1", "may not have a parameter"),
            (
                "postgres://canary@h/d?channel_binding=1",
                "channel_binding must be",
            ),
        ] {
            let error = Target::parse(url.as_bytes()).expect_err(url);
            assert!(
                error.contains(rule) && !error.contains("canary"),
                "{url}: {error}"
            );
        }
    }
}
