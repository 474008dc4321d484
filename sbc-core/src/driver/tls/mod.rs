//! TLS for connections: which certificates are used where, read from files and replaced as a whole.
//!
//! In: the file names in the [`Snapshot`]. Out: [`Tls`], from which `Session`s are made. The control
//! thread reads the files; [`Shared`] hands the result to the shards, which take it up with
//! their next handshake. Connections that are open go on as they are.
//!
//! rustls does the cryptography, with `ring`. It is driven here without I/O: wire bytes in and out of
//! a `Session`, plain bytes in and out.

mod certificate;
mod files;
mod session;
#[cfg(test)]
mod tests;
mod verify;

pub(crate) use session::{Received, Session};

use crate::{
    shard::ListenerId,
    snapshot::{ClientAuth, ListenerTls, Snapshot, Target, Trunk},
    transport::Transport,
    trunk::TrunkId,
};
use certificate::Certificate;
use files::Identity;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::CryptoProvider,
    pki_types::ServerName,
    server::{NoClientAuth, danger::ClientCertVerifier},
};
use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// Sessions that can be resumed as a client.
const RESUMPTIONS: usize = 1024;

/// Why certificates cannot be used: where in the configuration, which file, what, and what to do.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{owner}: {key} {}: {what}", path.display())]
pub struct TlsError {
    owner: String,
    key: &'static str,
    path: PathBuf,
    what: String,
}

/// Every certificate of one reading of the files.
pub struct Tls {
    listeners: Vec<Option<Arc<ServerConfig>>>,
    trunks: Vec<Option<Outgoing>>,
    /// Our own certificates.
    pub certificates: Vec<Shown>,
    /// What an operator should look at: a key that others may read, a certificate that ends soon.
    pub warnings: Vec<String>,
}

/// How a trunk is connected to.
#[derive(Clone)]
struct Outgoing {
    config: Arc<ClientConfig>,
    /// `None`: its name cannot be one of a certificate.
    name: Option<ServerName<'static>>,
}

/// A certificate as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// `listener "tls"` or `trunk "carrier"`.
    pub owner: String,
    /// Its file.
    pub path: PathBuf,
    /// The names it is for.
    pub names: Vec<String>,
    /// Seconds since 1970 when it begins and ends to be valid.
    pub validity: (u64, u64),
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("certificates", &self.certificates)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Read and check all files that `snapshot` names.
    pub fn load(snapshot: &Snapshot) -> Result<Self, TlsError> {
        let mut loader = Loader::new(now());
        let speaks_tls = |listener: ListenerId| {
            let listener = snapshot.listeners.get(usize::from(listener.0));
            listener.is_some_and(|listener| listener.transport == Transport::Tls)
        };
        let any = snapshot.listeners.iter().any(|l| l.transport == Transport::Tls);
        let mut listeners = Vec::with_capacity(snapshot.listeners.len());
        for listener in &snapshot.listeners {
            listeners.push(match &listener.tls {
                Some(tls) => Some(loader.server(&listener.name, tls)?),
                None => None,
            });
        }
        let mut trunks = Vec::new();
        if any {
            for trunk in &snapshot.trunks {
                trunks.push(Some(loader.client(trunk, speaks_tls(trunk.listener))?));
            }
        }
        Ok(Self {
            listeners,
            trunks,
            certificates: loader.certificates,
            warnings: loader.warnings,
        })
    }

    /// A session with a peer that has connected to `listener`.
    pub(crate) fn accept(&self, listener: ListenerId) -> Result<Session, String> {
        let config = self
            .listeners
            .get(usize::from(listener.0))
            .and_then(Option::as_ref);
        let config = config.ok_or("the listener has no certificate")?;
        Session::server(Arc::clone(config)).map_err(|error| error.to_string())
    }

    /// A session with the peer of `trunk`, to which we connect.
    pub(crate) fn connect(&self, trunk: TrunkId) -> Result<Session, String> {
        let outgoing = self.trunks.get(usize::from(trunk.0)).and_then(Option::as_ref);
        let outgoing = outgoing.ok_or("no listener speaks TLS")?;
        let name = outgoing.name.clone();
        let name = name.ok_or("its name cannot be one of a certificate; set trunk.tls.server_name")?;
        Session::client(Arc::clone(&outgoing.config), name).map_err(|error| error.to_string())
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the driver; certificates have calendar dates"
    )]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A certificate that ends within this time is worth a warning.
const ENDS_SOON_SECONDS: u64 = 14 * 86_400;

/// Client settings differ in the CAs, and in the certificate and key that are shown.
type Sort = (Option<PathBuf>, Option<(PathBuf, PathBuf)>);

/// One reading of the files; each set of client settings is made once, however many trunks share it.
struct Loader {
    now: u64,
    provider: Arc<CryptoProvider>,
    certificates: Vec<Shown>,
    warnings: Vec<String>,
    system_roots: Option<Arc<RootCertStore>>,
    clients: HashMap<Sort, Arc<ClientConfig>>,
}

impl Loader {
    fn new(now: u64) -> Self {
        Self {
            now,
            provider: Arc::new(rustls::crypto::ring::default_provider()),
            certificates: Vec::new(),
            warnings: Vec::new(),
            system_roots: None,
            clients: HashMap::new(),
        }
    }

    fn server(&mut self, name: &str, tls: &ListenerTls) -> Result<Arc<ServerConfig>, TlsError> {
        let owner = format!("listener \"{name}\"");
        let (certificate, key) = (&*tls.certificate, &*tls.key);
        let identity = self.identity(&owner, certificate, key)?;
        let verifier: Arc<dyn ClientCertVerifier> = match &tls.client_ca {
            Some(ca) if tls.client_auth != ClientAuth::None => {
                let roots = Arc::new(files::roots(&owner, "client_ca", ca)?);
                let optional = tls.client_auth == ClientAuth::Optional;
                let verifier = verify::Clients::new(roots, optional, &self.provider);
                Arc::new(verifier.map_err(|error| TlsError {
                    owner: owner.clone(),
                    key: "tls.client_ca",
                    path: ca.clone(),
                    what: error.to_string(),
                })?)
            }
            _ => Arc::new(NoClientAuth),
        };
        let wrong = |error: rustls::Error| mismatch(&owner, certificate, &error);
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(wrong)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(identity.chain, identity.key)
            .map_err(wrong)?;
        // Tickets hold the state of a session on the peer's side: it costs nothing here, and a
        // peer that comes back may come to any shard.
        config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(wrong)?;
        config.send_tls13_tickets = 1;
        Ok(Arc::new(config))
    }

    /// `used`: the trunk's listener speaks TLS, so it will be connected to in this way.
    fn client(&mut self, trunk: &Trunk, used: bool) -> Result<Outgoing, TlsError> {
        let owner = format!("trunk \"{}\"", trunk.name);
        let tls = &trunk.peer.tls;
        let own = tls.certificate.clone().zip(tls.key.clone());
        let sort = (tls.ca.clone(), own.clone());
        let config = match self.clients.get(&sort) {
            Some(config) => Arc::clone(config),
            None => {
                let config = Arc::new(self.client_config(&owner, tls.ca.as_deref(), own.as_ref())?);
                self.clients.insert(sort, Arc::clone(&config));
                config
            }
        };
        if used && tls.ca.is_none() && self.system_roots.as_ref().is_none_or(|roots| roots.is_empty()) {
            self.warnings.push(format!(
                "{owner}: this system has no CA certificates, so nobody's certificate will be \
                 accepted: install ca-certificates, or set tls.ca"
            ));
        }
        Ok(Outgoing {
            config,
            name: server_name(trunk),
        })
    }

    fn client_config(
        &mut self,
        owner: &str,
        ca: Option<&Path>,
        own: Option<&(PathBuf, PathBuf)>,
    ) -> Result<ClientConfig, TlsError> {
        let roots = match ca {
            Some(ca) => Arc::new(files::roots(owner, "ca", ca)?),
            None => Arc::clone(self.system_roots.get_or_insert_with(|| {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                Arc::new(roots)
            })),
        };
        let nowhere = Path::new("");
        let wrong = |error: rustls::Error| mismatch(owner, own.map_or(nowhere, |(path, _)| path), &error);
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(wrong)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verify::Servers::new(roots, &self.provider)));
        let mut config = match own {
            Some((certificate, key)) => {
                let identity = self.identity(owner, certificate, key)?;
                builder
                    .with_client_auth_cert(identity.chain, identity.key)
                    .map_err(wrong)?
            }
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::in_memory_sessions(RESUMPTIONS);
        Ok(config)
    }

    /// Read a chain and its key, check what can be checked, and note it for operators.
    fn identity(&mut self, owner: &str, certificate: &Path, key: &Path) -> Result<Identity, TlsError> {
        let identity = files::identity(owner, certificate, key)?;
        if let Some(mode) = files::readable_by_others(key) {
            self.warnings.push(format!(
                "{owner}: key {} may be read by other users (mode {mode:04o}): `chmod 600` it",
                key.display()
            ));
        }
        let unusable = |what: &str| TlsError {
            owner: owner.to_owned(),
            key: "tls.certificate",
            path: certificate.to_owned(),
            what: what.to_owned(),
        };
        let first = identity.chain.first().ok_or_else(|| unusable("it is empty"))?;
        let parsed = Certificate::parse(first).ok_or_else(|| unusable("it is no X.509 certificate"))?;
        let (begin, end) = parsed.validity;
        if end < self.now {
            self.warnings.push(format!(
                "{owner}: certificate {} has expired, peers will refuse it: renew it, then `sbc-ctl tls reload`",
                certificate.display()
            ));
        } else if end < self.now + ENDS_SOON_SECONDS {
            self.warnings.push(format!(
                "{owner}: certificate {} expires in {} days: renew it, then `sbc-ctl tls reload`",
                certificate.display(),
                (end - self.now) / 86_400
            ));
        }
        if begin > self.now {
            self.warnings.push(format!(
                "{owner}: certificate {} is not valid yet: check it, and this machine's clock",
                certificate.display()
            ));
        }
        self.certificates.push(Shown {
            owner: owner.to_owned(),
            path: certificate.to_owned(),
            names: parsed.names,
            validity: parsed.validity,
        });
        Ok(identity)
    }
}

fn mismatch(owner: &str, certificate: &Path, error: &rustls::Error) -> TlsError {
    let what = match error {
        rustls::Error::InconsistentKeys(_) => {
            "the key (tls.key) is not the one of this certificate; use the pair that was issued together"
                .to_owned()
        }
        other => other.to_string(),
    };
    TlsError {
        owner: owner.to_owned(),
        key: "tls.certificate",
        path: certificate.to_owned(),
        what,
    }
}

/// The name that the certificate of a trunk's server must have (RFC 5922 §7.3): the configured one,
/// or the one that the trunk is known by before any look-up.
fn server_name(trunk: &Trunk) -> Option<ServerName<'static>> {
    let target = trunk.peer.outbound_proxy.as_ref().unwrap_or(&trunk.target);
    let name = match (&trunk.peer.tls_name, target) {
        (Some(name), _) => name.to_string(),
        (None, Target::Name(query)) => query.host.to_string(),
        (None, Target::Registered) => return None,
        (None, Target::Address(address)) => return Some(ServerName::IpAddress(address.ip().into())),
    };
    ServerName::try_from(name).ok()
}

/// The certificates in use, shared by all threads.
#[derive(Debug)]
pub struct Shared {
    /// Of the control thread alone; names the files.
    snapshot: Mutex<Arc<Snapshot>>,
    current: Mutex<Arc<Tls>>,
    /// Counts replacements, so that shards look at it without the lock.
    version: AtomicU64,
}

impl Shared {
    /// Read all files of `snapshot`.
    pub fn load(snapshot: Arc<Snapshot>) -> Result<Self, TlsError> {
        let current = Mutex::new(Arc::new(Tls::load(&snapshot)?));
        Ok(Self {
            snapshot: Mutex::new(snapshot),
            current,
            version: AtomicU64::new(0),
        })
    }

    /// What is in use.
    pub fn current(&self) -> Arc<Tls> {
        // Nothing that holds the lock can panic.
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Read all files again and use them for handshakes from now on. On an error nothing changes.
    pub fn reload(&self) -> Result<Arc<Tls>, TlsError> {
        let snapshot = Arc::clone(&self.snapshot.lock().unwrap_or_else(PoisonError::into_inner));
        let read = Arc::new(Tls::load(&snapshot)?);
        self.replace(Arc::clone(&read), snapshot);
        Ok(read)
    }

    /// Use `tls`, which is what the files of `snapshot` say, for handshakes from now on.
    pub(crate) fn replace(&self, tls: Arc<Tls>, snapshot: Arc<Snapshot>) {
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = tls;
        self.version.fetch_add(1, Ordering::Release);
    }
}

/// One shard's view of the certificates: the lock is taken only after they were replaced, and never
/// waited for.
#[derive(Debug)]
pub(crate) struct View {
    shared: Arc<Shared>,
    version: u64,
    current: Arc<Tls>,
}

impl View {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            version: shared.version.load(Ordering::Acquire),
            current: shared.current(),
            shared,
        }
    }

    pub(crate) fn current(&mut self) -> &Tls {
        let version = self.shared.version.load(Ordering::Acquire);
        if version != self.version
            && let Ok(current) = self.shared.current.try_lock()
        {
            self.current = Arc::clone(&current);
            self.version = version;
        }
        &self.current
    }
}
