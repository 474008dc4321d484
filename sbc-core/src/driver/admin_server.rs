//! The admin socket: accepts clients on the control thread and runs their requests one by one.
//!
//! In: a path, a file mode and a [`Handler`]. A client may be slow, silent, malformed or many; it
//! costs a bounded amount of memory and of the control thread's time, and no other client waits
//! longer than its fair turn. Shards do not notice: they see only paced requests.

use crate::{
    admin::{
        failure::{Failure, Reason},
        method::{Answer, Request},
        protocol::{HelloResult, PROTOCOL},
        session::{Session, Step, response},
    },
    config::prepare_directory,
};
use socket2::{Domain, SockAddr, Socket, Type};
use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{
            fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
            net::UnixListener as StdListener,
        },
    },
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::Mutex,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};

/// Runs requests. On the control thread only, so it needs no locks.
pub trait Handler: 'static {
    /// Run `request` of `peer` and say what came of it.
    fn handle(&self, peer: Peer, request: Request) -> impl Future<Output = Result<Answer, Failure>>;
}

/// Bounds that keep clients from hurting the daemon and each other.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Most clients at a time; one more is told so and closed.
    pub clients_max: usize,
    /// How long a client may take to send its next whole request.
    pub idle: Duration,
    /// How long a client may take to read an answer.
    pub write: Duration,
    /// How long a request may take.
    pub request: Duration,
    /// Units of work ([`Request::cost`]) per second that all clients together may cause.
    pub units_per_second: u32,
    /// Units that may come at once after a pause.
    pub units_burst: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            clients_max: 64,
            idle: Duration::from_secs(60),
            write: Duration::from_secs(10),
            request: Duration::from_secs(10),
            units_per_second: 2000,
            units_burst: 500,
        }
    }
}

/// Why the admin socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody answers there.
    #[error(
        "admin socket {}: another sbcd is running with it; stop that one, or give this one its own [admin] socket",
        .0.display()
    )]
    InUse(PathBuf),
    /// A file of another kind must not be removed.
    #[error("admin socket {}: the path exists and is not a socket; remove it, or set [admin] socket to another path", .0.display())]
    NotASocket(PathBuf),
    /// The kernel has room for 107 bytes.
    #[error("admin socket {}: the path is longer than the 107 bytes a Unix socket may have; set [admin] socket to a shorter one", .0.display())]
    TooLong(PathBuf),
    /// The operating system refused.
    #[error("admin socket {}: cannot {action}: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The bound socket. Its file goes when this is dropped.
#[derive(Debug)]
pub struct AdminSocket {
    listener: StdListener,
    path: PathBuf,
    /// Device and inode of our socket file: another process may have replaced it.
    file: (u64, u64),
    /// Held as long as the socket is, so that two daemons started at once cannot both find the
    /// other's socket stale. The lock file stays: removing it would open that gap again.
    _lock: File,
}

impl AdminSocket {
    /// Listen on `path`, with permissions `mode` from the first moment on. A socket file that
    /// nobody listens on any more is replaced.
    pub fn bind(path: &Path, mode: u32) -> Result<Self, BindError> {
        let at = |action| {
            move |source| BindError::Io {
                action,
                path: path.to_owned(),
                source,
            }
        };
        if path.as_os_str().len() > SUN_PATH_MAX {
            return Err(BindError::TooLong(path.to_owned()));
        }
        prepare_directory(path).map_err(at("prepare its directory"))?;
        let lock = lock(path)?;
        remove_stale(path)?;

        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).map_err(at("make it"))?;
        // The file inherits the socket's mode (less the umask), so it is never wider than `mode`.
        let socket = File::from(OwnedFd::from(socket));
        socket
            .set_permissions(Permissions::from_mode(mode))
            .map_err(at("set its mode"))?;
        let socket = Socket::from(OwnedFd::from(socket));
        socket
            .bind(&SockAddr::unix(path).map_err(at("use its path"))?)
            .map_err(at("bind it"))?;
        fs::set_permissions(path, Permissions::from_mode(mode)).map_err(at("set its mode"))?;
        socket.listen(BACKLOG).map_err(at("listen on it"))?;
        let metadata = fs::symlink_metadata(path).map_err(at("look at it"))?;
        Ok(Self {
            listener: OwnedFd::from(socket).into(),
            path: path.to_owned(),
            file: (metadata.dev(), metadata.ino()),
            _lock: lock,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        let ours = |m: &fs::Metadata| (m.dev(), m.ino()) == self.file;
        if fs::symlink_metadata(&self.path).is_ok_and(|m| ours(&m)) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

const SUN_PATH_MAX: usize = 107;
const BACKLOG: i32 = 64;
/// Read at a time. A longer request takes several turns.
const READ_BYTES: usize = 8 * 1024;
/// Of a change's parameters in the log.
const LOGGED_CHARS_MAX: usize = 500;

/// Holds `PATH.lock`, or says that another process does.
fn lock(path: &Path) -> Result<File, BindError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock_path = PathBuf::from(name);
    let failed = |source| BindError::Io {
        action: "open its lock file",
        path: lock_path.clone(),
        source,
    };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&lock_path)
        .map_err(failed)?;
    // SAFETY: the descriptor is open for the length of the call and no memory is involved.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(file);
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::WouldBlock => Err(BindError::InUse(path.to_owned())),
        error => Err(failed(error)),
    }
}

/// Removes a socket file that nobody listens on.
fn remove_stale(path: &Path) -> Result<(), BindError> {
    let at = |action| {
        move |source| BindError::Io {
            action,
            path: path.to_owned(),
            source,
        }
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at("look at it")(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(BindError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    // Not blocking: a listener whose queue is full would otherwise hold up our start.
    let probe =
        Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).map_err(at("make a probe for it"))?;
    match probe.connect(&SockAddr::unix(path).map_err(at("use its path"))?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(at("remove the stale file"))
        }
        Ok(()) => Err(BindError::InUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(BindError::InUse(path.to_owned())),
        Err(error) => Err(at("see whether somebody listens on it")(error)),
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its user.
    pub uid: u32,
    /// Its process; 0: not known.
    pub pid: i32,
}

/// Serve clients until the future is dropped; that closes every connection. Must run inside
/// `tokio_uring::start` or a tokio `LocalSet`. Returns only if the socket cannot be used at all.
pub async fn serve<H: Handler>(socket: AdminSocket, handler: Rc<H>, bounds: Bounds) -> io::Error {
    let listener = match socket.listener.try_clone().and_then(UnixListener::from_std) {
        Ok(listener) => listener,
        Err(error) => return error,
    };
    let pacer = Rc::new(Pacer::new(bounds));
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if clients.len() < bounds.clients_max => {
                    let (handler, pacer) = (Rc::clone(&handler), Rc::clone(&pacer));
                    clients.spawn_local(async move { converse(stream, &*handler, &pacer, bounds).await });
                }
                Ok((stream, _)) => refuse(stream, bounds.clients_max),
                Err(error) => {
                    // Out of descriptors, most likely: others may give some back.
                    tracing::warn!("admin socket: cannot accept a client: {error}");
                    sleep(Duration::from_millis(200)).await;
                }
            },
            Some(ended) = clients.join_next(), if !clients.is_empty() => if let Err(error) = ended {
                tracing::error!("admin socket: a client's task failed: {error}");
            },
        }
    }
}

/// One line, if it fits the socket's buffer at once, and close.
fn refuse(stream: UnixStream, clients_max: usize) {
    tracing::warn!("admin socket: client refused, {clients_max} are connected");
    let failure = Failure::new(
        Reason::TooManyClients,
        format!("{clients_max} clients are connected to the admin socket; close one of them and try again"),
    );
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write_all(&response(None, &Err(failure)));
    }
}

/// One client from its first byte to its last.
async fn converse<H: Handler>(mut stream: UnixStream, handler: &H, pacer: &Pacer, bounds: Bounds) {
    let Ok(credentials) = stream.peer_cred() else {
        return;
    };
    let peer = Peer {
        uid: credentials.uid(),
        pid: credentials.pid().unwrap_or(0),
    };
    let mut session = Session::default();
    let mut chunk = [0; READ_BYTES];
    loop {
        // From the end of the last request to the end of the next one, so that a byte now and
        // then does not hold the connection for ever.
        let deadline = Instant::now() + bounds.idle;
        let step = loop {
            if let Some(step) = session.next_step() {
                break step;
            }
            match timeout_at(deadline, stream.read(&mut chunk)).await {
                Ok(Ok(0) | Err(_)) => return,
                Ok(Ok(n)) => session.push(chunk.get(..n).unwrap_or_default()),
                Err(_) => {
                    let message = format!(
                        "no whole request for {} s; connect again",
                        bounds.idle.as_secs_f32()
                    );
                    break Step::Close(response(None, &Err(Failure::new(Reason::IdleTimeout, message))));
                }
            }
            pacer.take(1).await;
        };
        let (line, close) = match step {
            Step::Run { id, request } => {
                pacer.take(request.cost()).await;
                let outcome = run(handler, peer, request, bounds).await;
                if id.is_none() {
                    continue;
                }
                (response(id, &outcome), false)
            }
            Step::Answer(line) => {
                pacer.take(1).await;
                (line, false)
            }
            Step::Close(line) => (line, true),
        };
        match timeout(bounds.write, stream.write_all(&line)).await {
            Ok(Ok(())) if !close => {}
            Ok(_) => return,
            Err(_) => {
                tracing::warn!(
                    peer.uid,
                    peer.pid,
                    "admin socket: client closed, it does not read its answers"
                );
                return;
            }
        }
    }
}

/// Run one request; a change is logged with who asked for it and what came of it.
async fn run<H: Handler>(
    handler: &H,
    peer: Peer,
    request: Request,
    bounds: Bounds,
) -> Result<Answer, Failure> {
    if let Request::Hello(hello) = &request {
        tracing::debug!(peer.uid, peer.pid, client = hello.client, "admin client");
        let version = env!("CARGO_PKG_VERSION").to_owned();
        return Ok(Answer::Hello(HelloResult {
            protocol: PROTOCOL,
            version,
        }));
    }
    let change = request.is_change().then(|| {
        let params: String = request
            .shown_params()
            .to_string()
            .chars()
            .take(LOGGED_CHARS_MAX)
            .collect();
        (request.method(), params)
    });
    let outcome = timeout(bounds.request, handler.handle(peer, request))
        .await
        .unwrap_or_else(|_| {
            let message = "the request took too long; see the log, and try again";
            Err(Failure::new(Reason::Unavailable, message))
        });
    if let Some((method, params)) = change {
        match &outcome {
            Ok(_) => tracing::info!(peer.uid, peer.pid, "admin: {method} {params}"),
            Err(failure) => tracing::warn!(peer.uid, peer.pid, "admin: {method} {params} refused: {failure}"),
        }
    }
    outcome
}

/// Shares a rate of work among clients in the order they ask, so that a flood from some only
/// makes them wait for their turns.
#[derive(Debug)]
struct Pacer {
    /// When the work taken so far is paid for. tokio's mutex queues in order: that is the fairness.
    paid: Mutex<Instant>,
    unit: Duration,
    credit: Duration,
}

impl Pacer {
    fn new(bounds: Bounds) -> Self {
        let unit = Duration::from_secs(1) / bounds.units_per_second.max(1);
        Self {
            paid: Mutex::new(Instant::now()),
            unit,
            credit: unit * bounds.units_burst,
        }
    }

    async fn take(&self, units: u32) {
        let mut paid = self.paid.lock().await;
        let now = Instant::now();
        let floor = now.checked_sub(self.credit).unwrap_or(now);
        *paid = (*paid).max(floor) + self.unit * units;
        if *paid > now {
            sleep_until(*paid).await;
        }
    }
}
