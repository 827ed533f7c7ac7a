//! The options of `kv_cli serve`.

use super::values::interval;
use clap::ValueEnum;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// Address to listen on; repeatable. off: only the Unix socket [default: 127.0.0.1:6379]
    #[arg(long, value_name = "ADDRESS", value_parser = listen_address)]
    listen: Vec<Listen>,

    /// Also listen on a Unix socket at this path, for the user of this process
    #[arg(long, value_name = "PATH")]
    pub(crate) unixsocket: Option<PathBuf>,

    /// The most connections at a time
    #[arg(long, value_name = "N", default_value = "10000", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) max_clients: u32,

    /// Close connections that send nothing for this time (0 or off: never)
    #[arg(long, value_name = "TIME", default_value = "off", value_parser = interval)]
    pub(crate) timeout: Duration,

    /// Ask after this time of silence whether the other end still exists (0 or off: never)
    #[arg(long, value_name = "TIME", default_value = "300s", value_parser = interval)]
    pub(crate) tcp_keepalive: Duration,

    /// File whose first line is the password of the user default. KV_PASSWORD is the password itself
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,

    /// Speak TLS on every --listen address: the certificate of the server, and those between it and the root, as PEM.
    /// SIGHUP reads the files again
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// The private key of --tls-cert, as PEM without a password
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Only clients with a certificate of one of these authorities can connect
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_client_ca: Option<PathBuf>,

    /// Also serve /metrics, /health and /ready over HTTP at this address
    #[arg(long, value_name = "ADDRESS", value_parser = http_address)]
    pub(crate) metrics: Option<SocketAddr>,

    /// What to do when the log has failed and no write is accepted any more
    #[arg(long, value_name = "WHAT", default_value = "exit")]
    pub(crate) on_poison: Then,

    /// Answer a command as if it did not exist, for example FLUSHALL, or CONFIG|SET for a subcommand; repeatable
    #[arg(long, value_name = "COMMAND")]
    pub(crate) disable: Vec<String>,

    /// How events are written on stderr
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,

    /// How long the end may wait for connections
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = interval)]
    pub(crate) shutdown_timeout: Duration,
}

/// A value of `--on-poison`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Then {
    /// Answer what was read, then end with status 4
    Exit,
    /// Stay, and only read
    Stay,
}

/// A value of `--log-format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line of words and name=value
    Text,
    /// One object to a line
    Json,
}

/// A value of `--listen`.
#[derive(Clone, Copy, Debug)]
enum Listen {
    Off,
    At(SocketAddr),
}

fn http_address(text: &str) -> Result<SocketAddr, String> {
    match listen_address(text) {
        Ok(Listen::At(address)) => Ok(address),
        _ => Err("expected an address and a port, for example 127.0.0.1:9121".into()),
    }
}

fn listen_address(text: &str) -> Result<Listen, String> {
    if text == "off" {
        return Ok(Listen::Off);
    }
    let address = text.parse().or_else(|_| text.replace("localhost:", "127.0.0.1:").parse());
    address.map(Listen::At).map_err(|_| "expected an address and a port, for example 127.0.0.1:6379 or [::1]:6379, or off".into())
}

impl ServeArgs {
    /// The addresses to listen on.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        match &*self.listen {
            [] => vec![SocketAddr::from(([127, 0, 0, 1], 6379))],
            given => given.iter().filter_map(|listen| if let Listen::At(at) = listen { Some(*at) } else { None }).collect(),
        }
    }
}
