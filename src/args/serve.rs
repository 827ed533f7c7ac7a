//! The options of `kv_cli serve`.

use super::interval;
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

    /// How long the end may wait for connections
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = interval)]
    pub(crate) shutdown_timeout: Duration,
}

/// A value of `--listen`.
#[derive(Clone, Copy, Debug)]
enum Listen {
    Off,
    At(SocketAddr),
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
