//! PEM files: certificate chains, keys, and the CAs that are trusted.

use super::TlsError;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
};
use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
};

/// Largest file that is read: thousands of CA certificates fit.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// A certificate chain, our own first, and its key.
pub(super) struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

pub(super) fn identity(owner: &str, certificate: &Path, key: &Path) -> Result<Identity, TlsError> {
    let chain = certificates(owner, "tls.certificate", certificate)?;
    let error = |what| TlsError {
        owner: owner.to_owned(),
        key: "tls.key",
        path: key.to_owned(),
        what,
    };
    let text = read(key).map_err(|e| error(unreadable(&e)))?;
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|e| {
        error(match e {
            pem::Error::NoItemsFound if text.windows(9).any(|part| part == b"ENCRYPTED") => {
                "the key is encrypted, and nobody is there to type the passphrase: store it \
                 without one (`openssl pkey`) and let only this user read it"
                    .to_owned()
            }
            pem::Error::NoItemsFound => {
                "there is no private key in it; expected a PEM file with a PRIVATE KEY".to_owned()
            }
            other => format!("it is no PEM file: {other}"),
        })
    })?;
    Ok(Identity { chain, key })
}

/// The CAs in a file.
pub(super) fn roots(owner: &str, key: &'static str, path: &Path) -> Result<RootCertStore, TlsError> {
    let key = if key == "ca" { "tls.ca" } else { "tls.client_ca" };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(owner, key, path)? {
        roots.add(certificate).map_err(|e| TlsError {
            owner: owner.to_owned(),
            key,
            path: path.to_owned(),
            what: format!("one of its certificates cannot be a CA: {e}"),
        })?;
    }
    Ok(roots)
}

fn certificates(
    owner: &str,
    key: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let error = |what| TlsError {
        owner: owner.to_owned(),
        key,
        path: path.to_owned(),
        what,
    };
    let text = read(path).map_err(|e| error(unreadable(&e)))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(error(
            "there is no certificate in it; expected a PEM file with BEGIN CERTIFICATE".to_owned(),
        )),
        Ok(found) => Ok(found),
        Err(e) => Err(error(format!("it is no PEM file: {e}"))),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too large"));
    }
    Ok(text)
}

fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!("cannot be read: {error}; let the user that sbcd runs as read it")
        }
        _ => format!("cannot be read: {error}"),
    }
}

/// The permissions of a key that others than its owner and group may read.
pub(super) fn readable_by_others(key: &Path) -> Option<u32> {
    let mode = key.metadata().ok()?.mode() & 0o777;
    (mode & 0o004 != 0).then_some(mode)
}
