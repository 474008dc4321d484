//! One connection to the daemon: finding its socket, agreeing on the protocol, calling methods.

use crate::error::{Attempt, Error};
use sbc_core::{
    admin::{
        client::{request, response},
        frame::RESPONSE_BYTES_MAX,
        method::Method,
        protocol::{Hello, PROTOCOL},
    },
    config::socket_candidates,
};
use std::{
    env, fs,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::{fs::MetadataExt, net::UnixStream},
    path::{Path, PathBuf},
    time::Duration,
};

/// Longer than the daemon lets any request take.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// A connection whose daemon speaks our protocol.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<UnixStream>,
    next_id: u64,
}

impl Connection {
    /// Connect to the socket named on the command line or in the environment, or else to the
    /// first of the usual ones where a daemon answers.
    pub(crate) fn open(socket: Option<PathBuf>) -> Result<Self, Error> {
        let named = socket.or_else(|| {
            env::var_os("SBC_SOCKET")
                .filter(|s| !s.is_empty())
                .map(PathBuf::from)
        });
        let candidates = named.map_or_else(socket_candidates, |path| vec![path]);
        let mut attempts = Vec::new();
        for path in candidates {
            match UnixStream::connect(&path) {
                Ok(stream) => return Self::agree(stream),
                Err(error) => attempts.push(Attempt {
                    why: explain(&path, &error),
                    path,
                }),
            }
        }
        Err(Error::NotReachable(attempts))
    }

    fn agree(stream: UnixStream) -> Result<Self, Error> {
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        stream.set_write_timeout(Some(ANSWER_WITHIN))?;
        let mut connection = Self {
            stream: BufReader::new(stream),
            next_id: 1,
        };
        let client = Some(concat!("sbc-ctl ", env!("CARGO_PKG_VERSION")).to_owned());
        connection.call(&Hello {
            protocol: PROTOCOL,
            client,
        })?;
        Ok(connection)
    }

    /// Call a method: its result as it came, and as the type it should be.
    pub(crate) fn call<M: Method>(&mut self, params: &M) -> Result<(String, M::Answer), Error> {
        let id = self.next_id;
        self.next_id += 1;
        let lost = |why: io::Error| Error::Lost {
            method: M::NAME,
            why: plain(&why),
        };
        // A daemon that refuses the connection closes it right after saying why, maybe before it
        // has read the request: what it said matters more than that writing failed.
        let written = self.stream.get_mut().write_all(&request(id, params));
        let line = match (self.line(), written) {
            (Ok(line), _) => line,
            (Err(error), Ok(())) => return Err(lost(error)),
            (Err(_), Err(error)) => return Err(lost(error)),
        };
        let bad = |why: String| Error::Answer { method: M::NAME, why };
        let result = response(id, &line).map_err(|e| bad(e.to_string()))??;
        let answer = serde_json::from_str(result.get()).map_err(|e| bad(e.to_string()))?;
        Ok((result.get().to_owned(), answer))
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        // Bounded: what listens on the socket need not be sbcd.
        let most = RESPONSE_BYTES_MAX as u64 + 1;
        (&mut self.stream).take(most).read_until(b'\n', &mut line)?;
        match line.last() {
            Some(b'\n') => Ok(line),
            _ if line.len() > RESPONSE_BYTES_MAX => Err(io::Error::other("it sent more than any answer has")),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            format!("no answer within {} s", ANSWER_WITHIN.as_secs())
        }
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
            "it closed the connection".into()
        }
        _ => error.to_string(),
    }
}

fn explain(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".into(),
        io::ErrorKind::ConnectionRefused => "nobody listens on it (sbcd ended without removing it?)".into(),
        io::ErrorKind::PermissionDenied => match fs::metadata(path) {
            Ok(m) => format!(
                "permission denied: it belongs to user {} and group {} and has mode {:04o}; \
                 run as that user, or change [admin] mode",
                m.uid(),
                m.gid(),
                m.mode() & 0o7777
            ),
            Err(_) => {
                "permission denied: its directory may not be entered; run as the user that sbcd runs as"
                    .into()
            }
        },
        _ => error.to_string(),
    }
}
