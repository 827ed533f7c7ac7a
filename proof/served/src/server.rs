//! The server as a child process.

use crate::client::{Client, Reply};
use anyhow::{Context, Result, bail, ensure};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// What is started.
pub(crate) struct Program {
    pub(crate) kv: PathBuf,
    pub(crate) options: Vec<String>,
}

/// A running server. Dropping it kills it.
pub(crate) struct Server {
    child: Child,
    pub(crate) socket: PathBuf,
    log: PathBuf,
}

impl Program {
    /// Starts the server of the store in `dir`, with these options. Checkpoints come often, so that kills meet them.
    fn run(&self, dir: &Path, options: &[&OsStr]) -> Result<Server> {
        let (socket, log) = (dir.join("socket"), dir.join("server.log"));
        fs::create_dir_all(dir.join("store"))?;
        let child = Command::new(&self.kv)
            .args(["--checkpoint-log", "256KiB", "--dir"])
            .arg(dir.join("store"))
            .arg("serve")
            .args(options)
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("starting {}", self.kv.display()))?;
        Ok(Server { child, socket, log })
    }

    /// Starts the server of the store in `dir`, on a socket in it.
    pub(crate) fn spawn(&self, dir: &Path) -> Result<Server> {
        let socket = dir.join("socket");
        let _ = fs::remove_file(&socket);
        self.run(dir, &["--listen".as_ref(), "off".as_ref(), "--unixsocket".as_ref(), socket.as_ref()])
    }

    /// Starts the server on a port of this machine, without a socket in the file system, and with these options.
    pub(crate) fn start_tcp(&self, dir: &Path, options: &[&OsStr]) -> Result<(Server, SocketAddr)> {
        let mut server = self.run(dir, &[&["--listen".as_ref(), "127.0.0.1:0".as_ref()], options].concat())?;
        let began = Instant::now();
        loop {
            let log = server.log()?;
            let address = log.split_whitespace().find_map(|word| word.strip_prefix("listen="));
            if let Some(address) = address.and_then(|address| address.parse().ok()) {
                return Ok((server, address));
            }
            if let Some(status) = server.child.try_wait()? {
                bail!("the server ended with {status}: {log}");
            }
            ensure!(began.elapsed() < PATIENCE, "the server does not say where it listens: {log}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Starts the server and waits until it answers.
    pub(crate) fn start(&self, dir: &Path) -> Result<Server> {
        let mut server = self.spawn(dir)?;
        let began = Instant::now();
        loop {
            let answers = Client::connect(&server.socket).and_then(|mut client| client.ask(&[b"PING"]));
            if answers.is_ok_and(|reply| reply == Reply::Simple("PONG".into())) {
                return Ok(server);
            }
            if let Some(status) = server.child.try_wait()? {
                bail!("the server ended with {status}: {}", fs::read_to_string(&server.log)?.trim_end());
            }
            ensure!(began.elapsed() < PATIENCE, "the server does not answer: {}", fs::read_to_string(&server.log)?);
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Server {
    /// What it has written to its standard error.
    pub(crate) fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(&self.log)?).into_owned())
    }

    /// The memory that it has, in bytes.
    pub(crate) fn resident(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("the server has ended")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
    }

    pub(crate) fn open_files(&self) -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }

    /// Kills it with SIGKILL.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
