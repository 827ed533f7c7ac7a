//! TLS: who is let in, what is answered to others, and files that are read again.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use kv_server::{Error, Options, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Running, command, start_with};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const HANG: Duration = Duration::from_secs(60);

/// An authority that signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate and its key, as PEM.
    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_string()]).unwrap().signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// The files of a server, in a directory of their own.
struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    /// Those of a server whose certificate comes from `authority`.
    fn of(authority: &Authority) -> Files {
        let files = Files { dir: tempfile::tempdir().unwrap() };
        files.write(authority);
        files
    }

    fn write(&self, authority: &Authority) {
        let (certificate, key) = authority.sign("localhost");
        fs::write(self.path("cert.pem"), certificate).unwrap();
        fs::write(self.path("key.pem"), key).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn tls(&self) -> Tls {
        Tls { cert: self.path("cert.pem"), key: self.path("key.pem"), client_ca: None }
    }

    /// Only clients of this authority are let in.
    fn tls_for_clients_of(&self, authority: &Authority) -> Tls {
        fs::write(self.path("ca.pem"), authority.0.pem()).unwrap();
        Tls { client_ca: Some(self.path("ca.pem")), ..self.tls() }
    }
}

/// A client that trusts `authority`, and shows this certificate.
fn connect(
    address: SocketAddr,
    authority: &Authority,
    own: Option<&(String, String)>,
) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.0.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let config = match own {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => {
            let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            config.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    };
    let connection = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(HANG)).unwrap();
    StreamOwned::new(connection, stream)
}

/// Sends commands in one piece, and reads as many bytes as `wanted` has.
fn asked(stream: &mut (impl Read + Write), commands: &[&[&str]], wanted: &str) -> io::Result<String> {
    let bytes: Vec<u8> = commands.iter().flat_map(|words| command(words)).collect();
    stream.write_all(&bytes)?;
    let mut replies = vec![0; wanted.len()];
    stream.read_exact(&mut replies)?;
    Ok(String::from_utf8_lossy(&replies).into_owned())
}

fn ping(stream: &mut (impl Read + Write)) -> io::Result<String> {
    asked(stream, &[&["PING"]], "+PONG\r\n")
}

/// A server, and the lines of its events.
fn start(options: Options) -> (Running, Receiver<String>) {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    (start_with(options.log(move |event| drop(tell.lock().unwrap().send(event.to_string())))), told)
}

/// The next event of this name.
fn event(told: &Receiver<String>, name: &str) -> String {
    let name = format!(" event={name}");
    loop {
        let line = told.recv_timeout(HANG).unwrap_or_else(|_| panic!("no{name}"));
        if line.split_once(&name).is_some_and(|(_, rest)| rest.is_empty() || rest.starts_with(' ')) {
            return line;
        }
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn commands_and_long_values_come_through() {
    let authority = Authority::new();
    let files = Files::of(&authority);
    let (server, told) = start(Options::default().tls(files.tls()));
    assert!(event(&told, "started").contains(" tls=yes"));
    let mut client = connect(server.address, &authority, None);
    let long = "x".repeat(3 << 20);
    let wanted = format!("+OK\r\n${}\r\n{long}\r\n", long.len());
    assert!(asked(&mut client, &[&["SET", "long", &long], &["GET", "long"]], &wanted).unwrap() == wanted);
    // The end is told, so it is no cut. A cut would be an error here.
    client.write_all(&command(&["QUIT"])).unwrap();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"+OK\r\n");
    assert_eq!(server.engine.get("long").unwrap().map(|value| value.len()), Some(long.len()));
}

#[test]
fn a_client_that_sends_much_before_it_reads_is_answered() {
    let authority = Authority::new();
    let files = Files::of(&authority);
    let (server, _told) = start(Options::default().tls(files.tls()));
    let value = "v".repeat(1 << 20);
    server.engine.put("a", &*value).unwrap();
    let mut client = connect(server.address, &authority, None);
    // 16 MiB of replies fill every buffer between the two before the first is read.
    for _ in 0..16 {
        client.write_all(&command(&["GET", "a"])).unwrap();
    }
    let wanted = format!("${}\r\n{value}\r\n", value.len());
    for n in 0..16 {
        let mut reply = vec![0; wanted.len()];
        client.read_exact(&mut reply).unwrap();
        assert!(reply == wanted.as_bytes(), "reply {n}");
    }
}

#[test]
fn only_clients_of_the_authority_are_let_in() {
    let (authority, other) = (Authority::new(), Authority::new());
    let files = Files::of(&authority);
    let (server, told) = start(Options::default().tls(files.tls_for_clients_of(&authority)));
    assert!(event(&told, "started").contains(" tls=\"with client certificates\""));
    let (known, unknown) = (authority.sign("client"), other.sign("client"));
    for (own, why) in [(None, "no certificate"), (Some(&unknown), "certificate")] {
        ping(&mut connect(server.address, &authority, own)).unwrap_err();
        let line = event(&told, "handshakes_failed");
        assert!(line.contains("count=1 ") && line.to_lowercase().contains(why), "{line}");
    }
    assert_eq!(ping(&mut connect(server.address, &authority, Some(&known))).unwrap(), "+PONG\r\n");
    assert!(server.engine.is_empty());
}

#[test]
fn plain_text_to_a_tls_address_is_cut() {
    let authority = Authority::new();
    let files = Files::of(&authority);
    let (server, told) = start(Options::default().tls(files.tls()).max_clients(1));
    let mut plain = TcpStream::connect(server.address).unwrap();
    plain.set_read_timeout(Some(HANG)).unwrap();
    plain.write_all(b"SET a 1\r\n").unwrap();
    let mut answer = Vec::new();
    // An alert of TLS and the end, or a reset.
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"+") && !answer.starts_with(b"-"), "{answer:?}");
    assert!(event(&told, "handshakes_failed").contains("count=1 "));
    assert!(server.engine.is_empty());
    // It gives its place back, soon: there is room for one connection.
    while ping(&mut connect(server.address, &authority, None)).is_err() {}
}

#[test]
fn a_reload_counts_for_new_connections() {
    let (first, second) = (Authority::new(), Authority::new());
    let files = Files::of(&first);
    let (server, told) = start(Options::default().tls(files.tls()));
    let mut before = connect(server.address, &first, None);
    ping(&mut before).unwrap();

    files.write(&second);
    ping(&mut connect(server.address, &first, None)).expect("files that change change nothing by themselves");
    server.handle.reload_tls().unwrap();
    event(&told, "tls_reloaded");
    ping(&mut connect(server.address, &first, None)).expect_err("the certificate of the first authority is not used any more");
    ping(&mut connect(server.address, &second, None)).unwrap();
    ping(&mut before).expect("an open connection goes on");
}

#[test]
fn a_reload_that_fails_keeps_the_files_before() {
    let (authority, other) = (Authority::new(), Authority::new());
    let files = Files::of(&authority);
    let (server, told) = start(Options::default().tls(files.tls()));
    // A new certificate whose key has not been written yet.
    let key = read(&files.path("key.pem"));
    files.write(&other);
    fs::write(files.path("key.pem"), key).unwrap();
    let Err(Error::Tls { file, .. }) = server.handle.reload_tls() else { panic!("they do not fit together") };
    assert!(file.contains("cert.pem") && file.contains("key.pem"), "{file}");
    let line = event(&told, "tls_reload_failed");
    assert!(line.contains("cert.pem") && line.contains("then=\"the files before stay in use\""), "{line}");
    ping(&mut connect(server.address, &authority, None)).unwrap();
}

#[test]
fn files_that_cannot_be_used_are_named_at_the_start() {
    let authority = Authority::new();
    let files = Files::of(&authority);
    let (certificate, key) = (read(&files.path("cert.pem")), read(&files.path("key.pem")));
    let cases = [
        ("cert.pem", key.as_str(), "it is no PEM file with a certificate in it"),
        ("key.pem", certificate.as_str(), "it is no PEM file with a private key without a password in it"),
        ("cert.pem", "-----BEGIN CERTIFICATE-----\nMIIB", "a section of this PEM file has no proper begin or end"),
        ("ca.pem", "", "it is no PEM file with a certificate in it"),
    ];
    for (name, text, wanted) in cases {
        let tls = files.tls_for_clients_of(&authority);
        let before = read(&files.path(name));
        fs::write(files.path(name), text).unwrap();
        let said = Options::default().tls(tls).check().unwrap_err().to_string();
        assert_eq!(said, format!("TLS cannot use {}: {wanted}", files.path(name).display()));
        fs::write(files.path(name), before).unwrap();
    }
    let missing = Tls { key: files.path("none"), ..files.tls() };
    let said = Options::default().tls(missing).check().unwrap_err().to_string();
    assert!(said.contains("none: ") && said.contains("os error 2"), "{said}");
}

#[test]
fn client_certificates_protect_an_open_address() {
    let authority = Authority::new();
    let files = Files::of(&authority);
    let open = || Options::default().listen([([0, 0, 0, 0], 0).into()]);
    let is_unprotected = |options: Options| matches!(options.check(), Err(Error::Unprotected { .. }));
    assert!(is_unprotected(open()));
    assert!(is_unprotected(open().tls(files.tls())), "everybody can speak TLS");
    open().tls(files.tls_for_clients_of(&authority)).check().unwrap();
    open().tls(files.tls()).password("secret").check().unwrap();
}

#[test]
fn the_socket_of_this_machine_speaks_no_tls() {
    let authority = Authority::new();
    let files = Files::of(&authority);
    let socket = files.path("socket");
    let (_server, _told) = start(Options::default().tls(files.tls()).unix_socket(&socket));
    let mut local = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    assert_eq!(ping(&mut local).unwrap(), "+PONG\r\n");
}
