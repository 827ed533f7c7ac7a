//! Connections with certificates.

use crate::common::Store;
use crate::servers::Served;
use predicates::prelude::*;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// A certificate that has signed itself, and its key, as files in PEM.
fn identity(store: &Store, name: &str, host: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed([host.to_string()]).unwrap();
    let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
    std::fs::write(store.path(&certificate), made.cert.pem()).unwrap();
    std::fs::write(store.path(&key), made.signing_key.serialize_pem()).unwrap();
    (certificate, key)
}

fn certificate(store: &Store, name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(store.path(name)).unwrap()
}

/// TLS in front of a server. With `clients`, only the client with this certificate comes in. Returns the address.
fn in_front(served: &Served, (name, key): &(String, String), clients: Option<&str>) -> String {
    let store = &served.store;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let mut roots = RootCertStore::empty();
            roots.add(certificate(store, name)).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let key = PrivateKeyDer::from_pem_file(store.path(key)).unwrap();
    let config = Arc::new(builder.with_single_cert(vec![certificate(store, name)], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, server) = (listener.local_addr().unwrap().to_string(), served.address.clone());
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let (config, server) = (Arc::clone(&config), TcpStream::connect(&server).unwrap());
            std::thread::spawn(move || pump(StreamOwned::new(ServerConnection::new(config).unwrap(), client), &server));
        }
    });
    address
}

/// Copies both ways until one end closes.
fn pump(mut client: StreamOwned<ServerConnection, TcpStream>, server: &TcpStream) -> std::io::Result<()> {
    client.sock.set_nonblocking(true)?;
    server.set_nonblocking(true)?;
    loop {
        let up = copy(&mut client, &mut &*server)?;
        let down = copy(&mut &*server, &mut client)?;
        client.flush().or_else(|error| if error.kind() == ErrorKind::WouldBlock { Ok(()) } else { Err(error) })?;
        if !up && !down {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn copy(from: &mut impl Read, to: &mut impl Write) -> std::io::Result<bool> {
    let mut bytes = [0; 16 << 10];
    let count = match from.read(&mut bytes) {
        Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
        Ok(count) => count,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut rest = &bytes[..count];
    while !rest.is_empty() {
        match to.write(rest) {
            Ok(count) => rest = &rest[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

#[test]
fn a_store_behind_tls() {
    let served = Served::new(&["--batch", "100"]);
    let identity = identity(&served.store, "server", "127.0.0.1");
    let address = in_front(&served, &identity, None);
    let cli = |words: &[&str]| {
        let mut cli = served.store.cli();
        cli.args(["connect", &address, "--tls", "--tls-ca", "server.pem"]).args(words);
        cli
    };
    cli(&["PUT", "a", "1"]).assert().success().stdout("OK\n");
    // Requests and replies that are longer than any buffer.
    let long = "v".repeat(3_000_000);
    let lines: String = (0..500).map(|n| format!("PUT key{n:03} {n}\n")).collect();
    let script = format!("BEGIN\n{lines}PUT long {long}\nCOMMIT\nGET long\nSIZE\n");
    let said = cli(&[]).write_stdin(script).assert().success().stderr("").get_output().stdout.clone();
    assert!(said.ends_with(format!("QUEUED\nOK\n{long}\n502\n").as_bytes()));
    cli(&["BENCH", "20", "--threads", "2"]).assert().success();
    cli(&["KEYS", "key", "LIMIT", "2"]).assert().success().stdout("key000\nkey001\n");
}

#[test]
fn a_certificate_that_is_not_trusted_is_refused() {
    let served = Served::new(&[]);
    let right = identity(&served.store, "server", "127.0.0.1");
    identity(&served.store, "other", "127.0.0.1");
    let address = in_front(&served, &right, None);
    let connect = |words: &[&str]| {
        let mut cli = served.store.cli();
        cli.args(["connect", &address]).args(words).args(["PUT", "a", "1"]);
        cli.assert().code(3).stdout("")
    };
    connect(&["--tls", "--tls-ca", "other.pem"]).stderr(predicate::str::contains("gave no greeting: invalid peer certificate"));
    // Some machines know no authority at all.
    let system = predicate::str::contains("to name the authority that signed its certificate: --tls-ca FILE");
    connect(&["--tls"]).stderr(system.or(predicate::str::contains("no certificates of authorities; name one: --tls-ca FILE")));
    connect(&[]).stderr(predicate::str::ends_with("; nothing was done; if the server wants TLS: --tls\n"));
    connect(&["--tls", "--tls-ca", "none.pem"])
        .stderr(predicate::str::contains("none.pem: cannot be read as certificates in PEM"));
    connect(&["--tls", "--tls-ca", "server.key"]).stderr(predicate::str::contains("there is no certificate in it (PEM)"));

    let named = identity(&served.store, "named", "db.example");
    let address = in_front(&served, &named, None);
    let mut cli = served.store.cli();
    cli.args(["connect", &address, "--tls", "--tls-ca", "named.pem", "SIZE"]);
    cli.assert().code(3).stderr(predicate::str::contains("not valid for name"));
    assert_eq!(served.says(&["SIZE"]), "0\n");
}

#[test]
fn a_client_shows_its_certificate() {
    let served = Served::new(&[]);
    let server = identity(&served.store, "server", "127.0.0.1");
    let (client, key) = identity(&served.store, "client", "client");
    let address = in_front(&served, &server, Some(&client));
    let cli = |words: &[&str]| {
        let mut cli = served.store.cli();
        cli.args(["connect", &address, "--tls", "--tls-ca", "server.pem"]).args(words).arg("SIZE");
        cli
    };
    cli(&["--tls-cert", &client, "--tls-key", &key]).assert().success().stdout("0\n");
    cli(&[]).assert().code(3).stderr(predicate::str::contains("gave no greeting: "));
    cli(&["--tls-cert", &client, "--tls-key", "server.key"])
        .assert()
        .code(3)
        .stderr(predicate::str::contains("server.key: the private key cannot be used"));
}

#[test]
fn options_that_do_not_fit_together() {
    let store = Store::new();
    for (words, said) in [
        (&["127.0.0.1:1", "--tls-ca", "x"][..], "--tls"),
        (&["127.0.0.1:1", "--tls", "--tls-cert", "x"], "--tls-key"),
        (&["unix:/s", "--tls"], "a Unix socket does not leave this machine"),
    ] {
        store.cli().arg("connect").args(words).assert().code(2).stderr(predicate::str::contains(said));
    }
}
