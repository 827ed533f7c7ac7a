//! [`Tls`]: the files of TLS. [`Acceptor`]: what was read from them, for the connections that come.
//!
//! 1. Check: the options read the files before anything is opened, so that a mistake is found at the start.
//! 2. Start: the server reads them and keeps what it needs. A file that changes later changes nothing by itself.
//! 3. Reload: all files are read again. If all are good, they count for new connections, together. If one is not, the
//!    ones before stay. Open connections are not touched either way.
//!
//! A client that was refused is a figure and a reason here. The operator is told now and then, and not for each client.

use crate::error::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;

/// A client that takes longer for its handshake is cut. It counts as a connection meanwhile.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The files that a server needs for TLS, all of them PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificate of the server, and those of the authorities between it and the root.
    pub cert: PathBuf,
    /// The private key of the certificate: PKCS #8, PKCS #1 or SEC 1, without a password.
    pub key: PathBuf,
    /// The authorities that sign the certificates of clients. With them, a client without one is cut.
    pub client_ca: Option<PathBuf>,
}

impl Tls {
    /// Reads and checks the files.
    pub(crate) fn read(&self) -> Result<ServerConfig> {
        let certificates = certificates(&self.cert)?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| unreadable(&self.key, &error, "a private key without a password"))?;
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let config = config.map_err(|error| bad(&self.cert, error))?;
        let config = match &self.client_ca {
            None => config.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in self::certificates(path)? {
                    roots.add(certificate).map_err(|error| bad(path, error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                config.with_client_cert_verifier(verifier.map_err(|error| bad(path, error))?)
            }
        };
        let of_both = format!("{} with the key {}", self.cert.display(), self.key.display());
        config.with_single_cert(certificates, key).map_err(|error| Error::Tls { file: of_both, reason: error.to_string() })
    }
}

fn bad(path: &Path, reason: impl ToString) -> Error {
    Error::Tls { file: path.display().to_string(), reason: reason.to_string() }
}

fn unreadable(path: &Path, error: &pem::Error, wanted: &str) -> Error {
    match error {
        pem::Error::Io(error) => bad(path, error),
        pem::Error::NoItemsFound => bad(path, format!("it is no PEM file with {wanted} in it")),
        // Its text may have bytes of the file in it.
        pem::Error::IllegalSectionStart { .. } | pem::Error::MissingSectionEnd { .. } => {
            bad(path, "a section of this PEM file has no proper begin or end")
        }
        error => bad(path, error),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let wanted = "a certificate";
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>);
    match all {
        Ok(all) if all.is_empty() => Err(unreadable(path, &pem::Error::NoItemsFound, wanted)),
        Ok(all) => Ok(all),
        Err(error) => Err(unreadable(path, &error, wanted)),
    }
}

/// Accepts TLS connections with what was read last.
pub(crate) struct Acceptor {
    files: Tls,
    now: RwLock<TlsAcceptor>,
    refused: Mutex<Refused>,
}

/// Clients that were refused, and why the last one was.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refused {
    pub(crate) count: u64,
    pub(crate) reason: String,
}

impl Acceptor {
    pub(crate) fn new(files: Tls) -> Result<Acceptor> {
        let now = RwLock::new(acceptor(&files)?);
        Ok(Acceptor { files, now, refused: Mutex::default() })
    }

    /// Reads the files again, for connections that come from now on.
    ///
    /// # Errors
    /// One of them is not good. What was read before stays.
    pub(crate) fn reload(&self) -> Result<()> {
        let read = acceptor(&self.files)?;
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(())
    }

    /// Does the handshake. `None`: the client was refused.
    pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> Option<TlsStream<S>> {
        let acceptor = self.now.read().unwrap_or_else(PoisonError::into_inner).clone();
        let reason = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no handshake within {} s", HANDSHAKE.as_secs()),
        };
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        *refused = Refused { count: refused.count + 1, reason };
        None
    }

    pub(crate) fn refused(&self) -> Refused {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn acceptor(files: &Tls) -> Result<TlsAcceptor> {
    files.read().map(|config| TlsAcceptor::from(Arc::new(config)))
}
