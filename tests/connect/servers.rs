//! The real server, and one that answers as a test says.

use crate::common::{Shell, Store, eventually};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

/// A store that `kv_cli serve` serves.
pub(crate) struct Served {
    pub(crate) store: Store,
    pub(crate) child: Child,
    pub(crate) address: String,
}

impl Served {
    pub(crate) fn new(options: &[&str]) -> Served {
        Served::on(Store::new(), "127.0.0.1:0", options, None)
    }

    pub(crate) fn on(store: Store, listen: &str, options: &[&str], password: Option<&str>) -> Served {
        let log = std::fs::File::create(store.path("log")).unwrap();
        let mut command = store.process();
        command.args(["serve", "--listen", listen]).args(options).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        if let Some(password) = password {
            command.env("KV_PASSWORD", password);
        }
        let child = command.spawn().unwrap();
        let mut address = String::new();
        eventually("the server says where it listens", || {
            let said = std::fs::read_to_string(store.path("log")).unwrap();
            let word = |name: &str| said.split_whitespace().find_map(|word| word.strip_prefix(name)).map(str::to_string);
            address = word("listen=").filter(|address| address.contains(':')).unwrap_or_default();
            !address.is_empty()
        });
        Served { store, child, address }
    }

    pub(crate) fn cli(&self, words: &[&str]) -> assert_cmd::Command {
        let mut cli = self.store.cli();
        cli.args(["connect", &self.address]).args(words);
        cli
    }

    /// What the words say on stdout, if they succeed and say nothing else.
    pub(crate) fn says(&self, words: &[&str]) -> String {
        let output = self.cli(words).assert().success().stderr("").get_output().stdout.clone();
        String::from_utf8(output).unwrap()
    }

    /// A shell that is spoken to.
    pub(crate) fn shell(&self) -> Shell {
        Shell::with(&self.store, &["connect", &self.address])
    }

    /// SIGKILL; the store stays.
    pub(crate) fn kill(mut self) -> Store {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.store, Store::new())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a scripted server does about a request.
pub(crate) enum Answer {
    Say(&'static str),
    /// Nothing, and the connection stays.
    Silence,
    /// Nothing yet: it comes before the next answer on this connection.
    Late(&'static str),
    /// It closes the connection.
    Close,
}

/// A server that greets as the real one does, and then answers as told. It notes every request.
pub(crate) struct Scripted {
    pub(crate) address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

pub(crate) const INFO: &str =
    "kv_store_id:0123\r\nrun_id:1\r\nbatch_size:1\r\nlast_write:1\r\ndurable_write:1\r\nkeys_in_flight:0";

impl Scripted {
    pub(crate) fn new(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Scripted {
        Scripted::with(INFO, answer)
    }

    pub(crate) fn with(info: &'static str, answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (requests, answer) = (Arc::default(), Arc::new(answer));
        let noted = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (noted, answer) = (Arc::clone(&noted), Arc::clone(&answer));
                thread::spawn(move || converse(&stream, info, &noted, &*answer));
            }
        });
        Scripted { address, requests }
    }

    /// The requests behind the greeting.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn cli(&self, store: &Store, words: &[&str]) -> assert_cmd::Command {
        let mut cli = store.cli();
        cli.args(["connect", &self.address]).args(words);
        cli
    }
}

fn converse(stream: &TcpStream, info: &str, noted: &Mutex<Vec<String>>, answer: &dyn Fn(&str) -> Answer) {
    let (mut from, mut to) = (BufReader::new(stream), stream);
    let mut late = String::new();
    while let Some(request) = request(&mut from) {
        let said = match &*request {
            text if text.starts_with("HELLO") => "%1\r\n$5\r\nproto\r\n:3\r\n".to_string(),
            text if text.starts_with("INFO") => format!("={}\r\ntxt:{info}\r\n", info.len() + 4),
            text => {
                noted.lock().unwrap().push(text.to_string());
                match answer(text) {
                    Answer::Say(text) => std::mem::take(&mut late) + text,
                    Answer::Late(text) => {
                        late += text;
                        continue;
                    }
                    Answer::Silence => continue,
                    Answer::Close => return drop(stream.shutdown(std::net::Shutdown::Both)),
                }
            }
        };
        if to.write_all(said.as_bytes()).is_err() {
            return;
        }
    }
}

/// The words of one request, with blanks between them.
fn request(from: &mut impl BufRead) -> Option<String> {
    let mut text = Vec::new();
    for _ in 0..number(from, '*')? {
        let mut word = vec![0; number(from, '$')? + 2];
        from.read_exact(&mut word).ok()?;
        word.truncate(word.len() - 2);
        text.push(String::from_utf8_lossy(&word).into_owned());
    }
    Some(text.join(" "))
}

fn number(from: &mut impl BufRead, kind: char) -> Option<usize> {
    let mut line = String::new();
    from.read_line(&mut line).ok()?;
    line.trim_end().strip_prefix(kind)?.parse().ok()
}
