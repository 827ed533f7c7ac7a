//! TLS on a connection, by rustls. The certificate of the server is always checked.

use super::wire::Stream;
use anyhow::{Context, bail};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

/// What is trusted, and who this client is.
#[derive(Clone, Debug)]
pub(crate) struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Trusts the authorities in `authorities`, or those of the system. `identity` is a certificate and its key.
    pub(crate) fn new(authorities: Option<&Path>, identity: Option<(&Path, &Path)>) -> anyhow::Result<Tls> {
        let mut roots = RootCertStore::empty();
        match authorities {
            Some(path) => {
                for certificate in certificates(path)? {
                    roots.add(certificate).with_context(|| format!("{}: not a certificate of an authority", path.display()))?;
                }
            }
            None => {
                // Some of a system may be unreadable; the others count.
                let (found, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                if found == 0 {
                    bail!("this system has no certificates of authorities; name one: --tls-ca FILE");
                }
            }
        }
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let builder = builder.with_webpki_verifier(verifier);
        Ok(Tls(Arc::new(match identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let of_key = || format!("{}: the private key cannot be used", key.display());
                let private = PrivateKeyDer::from_pem_file(key).with_context(of_key)?;
                builder.with_client_auth_cert(certificates(certificate)?, private).with_context(of_key)?
            }
        })))
    }

    /// Puts TLS on a stream to the server of this name, which may be an address. The handshake is done with the first
    /// bytes.
    pub(super) fn put_on(&self, stream: TcpStream, host: &str) -> io::Result<Encrypted> {
        let name = ServerName::try_from(host.to_string()).map_err(io::Error::other)?;
        let session = ClientConnection::new(Arc::clone(&self.0), name).map_err(io::Error::other)?;
        Ok(Encrypted { stream, session })
    }
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let unreadable = || format!("{}: cannot be read as certificates in PEM", path.display());
    let found = CertificateDer::pem_file_iter(path).with_context(unreadable)?;
    let found = found.collect::<Result<Vec<_>, _>>().with_context(unreadable)?;
    if found.is_empty() {
        bail!("{}: there is no certificate in it (PEM)", path.display());
    }
    Ok(found)
}

pub(super) struct Encrypted {
    stream: TcpStream,
    session: ClientConnection,
}

impl Stream for Encrypted {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(out) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            let count = self.session.read_tls(&mut self.stream)?;
            if let Err(error) = self.session.process_new_packets() {
                // The other end is told why.
                let _ = self.push();
                return Err(io::Error::new(ErrorKind::InvalidData, error));
            }
            if count == 0 {
                return match self.session.reader().read(out) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
                    read => read,
                };
            }
        }
    }

    /// Takes as many bytes as there is room for. They leave when the stream takes them.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.session.writer().write(bytes)? {
            0 if !bytes.is_empty() => {
                self.push()?;
                Err(ErrorKind::WouldBlock.into())
            }
            count => Ok(count),
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    fn has_unsent(&self) -> bool {
        self.session.wants_write()
    }

    fn push(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            self.session.write_tls(&mut self.stream)?;
        }
        Ok(())
    }
}
