//! Runs a workload through the server: `kv_cli serve` has its store on the file system, and a client sends the writes
//! over a socket, many at a time. It notes on the device each write before it is sent and each promise after its reply.
//!
//! One client sends everything, so the order of the log is that of the workload. A `DEL` is sent only if the key
//! exists, so each command is one write.

use crate::run::Notes;
use crate::workload::{Step, Workload};
use anyhow::{Context, Result, bail, ensure};
use fastrand::Rng;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The variable with the path of `kv_cli`.
pub(crate) const PROGRAM: &str = "REAL_DISK_KV_CLI";

const PATIENCE: Duration = Duration::from_secs(60);
/// Commands that are sent before a reply is read.
const DEPTH: usize = 12;

/// Runs all steps. Any error is a failure. `scratch` is not on the disk: the socket is there.
pub(crate) fn run(workload: &Workload, seed: u64, at: &Path, scratch: &Path, notes: Notes) -> Result<()> {
    let mut rng = Rng::with_seed(seed);
    let mut client = Client { notes, server: None, open: Vec::new(), batch_size: 1, issued: 0, acknowledged: 0, promised: 0 };
    for step in &workload.steps {
        match step {
            Step::Open { batch_size, snapshot_on_close } => {
                client.batch_size = *batch_size;
                client.server = Some(Server::start(at, scratch, *batch_size, *snapshot_on_close)?);
            }
            Step::Put(key, value) => client.add(&[&[b"SET", key, value]]),
            Step::Delete(key) => client.add(&[&[b"DEL", key]]),
            Step::Batch(operations) => {
                let mut commands: Vec<Vec<&[u8]>> = vec![vec![b"MULTI"]];
                for (key, value) in operations {
                    commands.push(match value {
                        Some(value) => vec![b"SET", key, value],
                        None => vec![b"DEL", key],
                    });
                }
                commands.push(vec![b"EXEC"]);
                client.add(&commands.iter().map(|words| &words[..]).collect::<Vec<_>>());
            }
            Step::Snapshot => {
                client.send()?;
                client.server()?.ask(&[b"SAVE"])?;
                client.promise(client.acknowledged)?;
            }
            Step::Flush | Step::BatchSize(_) => {} // the server has no command for it
            Step::Close => {
                client.send()?;
                client.close()?;
            }
        }
        if client.open.len() >= 1 + rng.usize(..DEPTH) {
            client.send()?;
        }
    }
    client.send()?;
    if client.server.is_some() { client.close() } else { Ok(()) }
}

struct Client {
    notes: Notes,
    server: Option<Server>,
    /// Writes that are not sent yet: the bytes, and how many replies come.
    open: Vec<(Vec<u8>, usize)>,
    batch_size: u64,
    issued: u64,
    acknowledged: u64,
    promised: u64,
}

impl Client {
    fn server(&mut self) -> Result<&mut Server> {
        self.server.as_mut().context("a step without a server")
    }

    fn add(&mut self, commands: &[&[&[u8]]]) {
        self.open.push((commands.iter().flat_map(|words| encoded(words)).collect(), commands.len()));
    }

    fn send(&mut self) -> Result<()> {
        let open = std::mem::take(&mut self.open);
        if open.is_empty() {
            return Ok(());
        }
        self.issued += open.len() as u64;
        self.notes.note("issued", self.issued)?;
        let bytes: Vec<u8> = open.iter().flat_map(|(bytes, _)| bytes.iter().copied()).collect();
        self.server()?.stream.write_all(&bytes)?;
        for (_, replies) in open {
            for _ in 0..replies {
                self.server()?.reply()?;
            }
            self.acknowledged += 1;
            self.promise((self.acknowledged + 1).saturating_sub(self.batch_size))?;
        }
        Ok(())
    }

    fn promise(&mut self, through: u64) -> Result<()> {
        if through > self.promised {
            self.promised = through;
            self.notes.note("promised", through)?;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        let mut server = self.server.take().context("a server")?;
        server.stream.write_all(&encoded(&[b"SHUTDOWN"]))?;
        let status = server.child.wait()?;
        ensure!(status.success(), "the server ended with {status}");
        self.promise(self.acknowledged)
    }
}

struct Server {
    child: Child,
    stream: UnixStream,
    replies: BufReader<UnixStream>,
}

impl Server {
    fn start(at: &Path, scratch: &Path, batch_size: u64, snapshot_on_close: bool) -> Result<Server> {
        let program = PathBuf::from(std::env::var_os(PROGRAM).with_context(|| format!("{PROGRAM} is not set"))?);
        let socket = scratch.join("socket");
        let _ = std::fs::remove_file(&socket);
        let mut command = Command::new(program);
        command.args(["--flush-interval", "off", "--batch", &batch_size.to_string(), "--dir"]).arg(at);
        if snapshot_on_close {
            command.arg("--snapshot-on-exit");
        }
        command.args(["serve", "--listen", "off", "--unixsocket"]).arg(&socket);
        let null = || Stdio::null();
        let child = command.stdin(null()).stdout(null()).stderr(null()).spawn().context("starting the server")?;
        let mut child = Guard(Some(child));
        let began = Instant::now();
        let stream = loop {
            if let Ok(stream) = UnixStream::connect(&socket) {
                break stream;
            }
            if let Some(status) = child.0.as_mut().context("a child")?.try_wait()? {
                bail!("the server did not start: {status}");
            }
            ensure!(began.elapsed() < PATIENCE, "the server does not listen");
            sleep(Duration::from_millis(1));
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        let replies = BufReader::new(stream.try_clone()?);
        Ok(Server { child: child.0.take().context("a child")?, stream, replies })
    }

    fn ask(&mut self, words: &[&[u8]]) -> Result<()> {
        self.stream.write_all(&encoded(words))?;
        self.reply()
    }

    /// Reads one reply, which must be no error.
    fn reply(&mut self) -> Result<()> {
        let mut line = String::new();
        self.replies.read_line(&mut line)?;
        let line = line.trim_end();
        let (kind, rest) = line.split_at_checked(1).context("the server has ended the connection")?;
        match kind {
            "-" => bail!("the server answers {line}"),
            "$" if rest != "-1" => {
                let mut bytes = vec![0; rest.parse::<usize>()? + 2];
                self.replies.read_exact(&mut bytes)?;
            }
            "*" if rest != "-1" => {
                for _ in 0..rest.parse::<usize>()? {
                    self.reply()?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ends a child that did not become a server.
struct Guard(Option<Child>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn encoded(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).bytes());
        bytes.extend(*word);
        bytes.extend(b"\r\n");
    }
    bytes
}
