//! The admin server on a real socket, with hostile clients: whatever one of them does, it is
//! answered or closed within bounds, and the next client is served.
#![cfg(feature = "driver")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the clients of this test are threads with blocking sockets"
)]

use sbc_core::{
    admin::{
        failure::{Failure, Reason},
        frame::REQUEST_BYTES_MAX,
        method::{Answer, Request},
        protocol::*,
    },
    driver::admin_server::{AdminSocket, BindError, Bounds, Handler, Peer, serve},
};
use serde_json::{Value, json};
use std::{
    cell::Cell,
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    rc::Rc,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Answers `drain` at once, hangs on `shards`, sends something big for `calls.list`.
#[derive(Default)]
struct Fake {
    in_work: Cell<u32>,
    in_work_max: Cell<u32>,
}

impl Handler for Fake {
    async fn handle(&self, _: Peer, request: Request) -> Result<Answer, Failure> {
        self.in_work.set(self.in_work.get() + 1);
        self.in_work_max
            .set(self.in_work_max.get().max(self.in_work.get()));
        tokio::task::yield_now().await;
        self.in_work.set(self.in_work.get() - 1);
        match request {
            Request::Drain(drain) => Ok(Answer::Drain(DrainProgress {
                draining: drain.on.unwrap_or(false),
                calls: u64::from(self.in_work_max.get()),
            })),
            Request::Shards(_) => std::future::pending().await,
            Request::CallsList(_) => Ok(Answer::CallsList(Calls {
                calls: vec![big_row(); 1000],
                next: None,
            })),
            _ => Err(Failure::new(Reason::NoSuchCall, "no such call")),
        }
    }
}

fn big_row() -> CallSummary {
    CallSummary {
        id: "x".repeat(2000),
        shard: 0,
        slot: 0,
        state: "answered".into(),
        from_trunk: "carrier".into(),
        to_trunk: "platform".into(),
        caller: "1".into(),
        callee: "2".into(),
        age_ms: 1,
    }
}

/// A directory of its own for each test, gone afterwards.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let place = std::env::temp_dir().join(format!("sbc-admin-{}-{n}", std::process::id()));
        fs::create_dir(&place).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o700)).unwrap();
        Self(place)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("admin.sock")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs `clients` on a thread against a server inside the daemon's runtime.
fn with_server(bounds: Bounds, clients: impl FnOnce(&Path) + Send + 'static) {
    let place = Place::new();
    let path = place.socket();
    tokio_uring::start(async {
        let socket = AdminSocket::bind(&path, 0o600).unwrap();
        let (done, finished) = tokio::sync::oneshot::channel();
        let path = path.clone();
        let clients = thread::spawn(move || {
            clients(&path);
            let _ = done.send(());
        });
        tokio::select! {
            error = serve(socket, Rc::new(Fake::default()), bounds) => panic!("server ended: {error}"),
            // An error means that the clients' thread panicked; joining it tells why.
            _ = finished => {}
        }
        if let Err(panic) = clients.join() {
            std::panic::resume_unwind(panic);
        }
    });
    assert!(!path.exists(), "the socket file goes with the server");
}

struct Client(BufReader<UnixStream>);

impl Client {
    fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self(BufReader::new(stream))
    }

    fn send(&mut self, text: &str) {
        // A server that closes may do so before it has read everything.
        let _ = self.0.get_mut().write_all(text.as_bytes());
    }

    /// The next line; `None`: closed.
    fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(serde_json::from_str(&line).unwrap()),
        }
    }

    fn ask(&mut self, id: u64, method: &str, params: Value) -> Value {
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.send(&format!("{request}\n"));
        self.line().unwrap()
    }

    fn is_served(&mut self) {
        assert_eq!(self.ask(77, "drain", json!({}))["id"], 77);
    }
}

fn reason(answer: &Value) -> &str {
    answer["error"]["data"]["reason"].as_str().unwrap()
}

#[test]
fn a_conversation() {
    with_server(Bounds::default(), |path| {
        let mut client = Client::connect(path);
        let hello = client.ask(1, "hello", json!({"protocol": "1.0", "client": "test"}));
        assert_eq!(hello["result"]["protocol"], PROTOCOL.to_string());
        assert_eq!(
            client.ask(2, "drain", json!({"on": true}))["result"]["draining"],
            true
        );
        assert_eq!(
            reason(&client.ask(3, "calls.show", json!({"id": "x"}))),
            "no_such_call"
        );
        let other = client.ask(4, "hello", json!({"protocol": "2.0"}));
        assert_eq!(reason(&other), "protocol_mismatch");
        // Refused, not closed: the client may still say something this daemon understands.
        client.is_served();
    });
}

#[test]
fn pipelined_requests_are_answered_in_order_one_at_a_time() {
    with_server(Bounds::default(), |path| {
        let mut client = Client::connect(path);
        let mut lines = String::new();
        for id in 0..50 {
            lines += &format!("{}\n", json!({"jsonrpc": "2.0", "id": id, "method": "drain"}));
        }
        client.send(&lines);
        for id in 0..50 {
            let answer = client.line().unwrap();
            assert_eq!(answer["id"], id);
            assert_eq!(answer["result"]["calls"], 1, "one in work at a time");
        }
    });
}

#[test]
fn malformed_lines_are_answered_and_the_client_goes_on() {
    with_server(Bounds::default(), |path| {
        let mut client = Client::connect(path);
        for (line, why) in [
            ("GET / HTTP/1.1\r\n", "parse_error"),
            ("{\"jsonrpc\":\"2.0\",\n", "parse_error"),
            ("\u{0}\u{1}\u{fffd}\n", "parse_error"),
            ("[]\n", "invalid_request"),
            (
                "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"reboot\"}\n",
                "unknown_method",
            ),
        ] {
            client.send(line);
            assert_eq!(reason(&client.line().unwrap()), why, "{line:?}");
        }
        client.is_served();
    });
}

#[test]
fn a_line_too_long_is_refused_and_closed() {
    with_server(Bounds::default(), |path| {
        let mut client = Client::connect(path);
        client.send(&"x".repeat(REQUEST_BYTES_MAX + 1));
        assert_eq!(reason(&client.line().unwrap()), "line_too_long");
        assert_eq!(client.line(), None, "closed");
        Client::connect(path).is_served();
    });
}

#[test]
fn one_client_too_many_is_told_so() {
    let bounds = Bounds {
        clients_max: 4,
        ..Bounds::default()
    };
    with_server(bounds, |path| {
        let mut inside: Vec<Client> = (0..4).map(|_| Client::connect(path)).collect();
        inside.iter_mut().for_each(Client::is_served);
        let mut outside = Client::connect(path);
        assert_eq!(reason(&outside.line().unwrap()), "too_many_clients");
        assert_eq!(outside.line(), None);
        inside.pop();
        // The server learns of the close a little later.
        let served = (0..100).any(|_| {
            let mut next = Client::connect(path);
            let answer = next.ask(1, "drain", json!({}));
            thread::sleep(Duration::from_millis(20));
            answer.get("result").is_some()
        });
        assert!(served, "there is room again");
    });
}

#[test]
fn a_silent_and_a_trickling_client_are_closed() {
    let bounds = Bounds {
        idle: Duration::from_millis(300),
        ..Bounds::default()
    };
    with_server(bounds, |path| {
        let mut silent = Client::connect(path);
        assert_eq!(reason(&silent.line().unwrap()), "idle_timeout");
        assert_eq!(silent.line(), None);

        let mut trickling = Client::connect(path);
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(600) {
            trickling.send(" ");
            thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(reason(&trickling.line().unwrap()), "idle_timeout");
    });
}

#[test]
fn a_client_that_does_not_read_is_closed() {
    let bounds = Bounds {
        write: Duration::from_millis(300),
        ..Bounds::default()
    };
    with_server(bounds, |path| {
        let mut lazy = Client::connect(path);
        lazy.send("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"calls.list\"}\n");
        Client::connect(path).is_served();
        // Writing fails once the server has closed; reading would let it go on, however late it is.
        let closed = (0..600).any(|_| {
            thread::sleep(Duration::from_millis(100));
            lazy.0.get_mut().write_all(b"\n").is_err()
        });
        assert!(closed);
        let mut rest = Vec::new();
        let _ = lazy.0.read_to_end(&mut rest);
        assert!(rest.len() < 1_900_000, "cut off, not waited for: {}", rest.len());
        Client::connect(path).is_served();
    });
}

#[test]
fn a_request_that_hangs_is_given_up() {
    let bounds = Bounds {
        request: Duration::from_millis(200),
        ..Bounds::default()
    };
    with_server(bounds, |path| {
        let mut client = Client::connect(path);
        client.send("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"shards\"}\n");
        Client::connect(path).is_served();
        assert_eq!(reason(&client.line().unwrap()), "unavailable");
        client.is_served();
    });
}

#[test]
fn a_flood_is_paced_and_others_get_their_turn() {
    let bounds = Bounds {
        units_per_second: 200,
        units_burst: 20,
        ..Bounds::default()
    };
    with_server(bounds, |path| {
        let request = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"drain\"}\n";
        let started = Instant::now();
        let floods: Vec<_> = (0..8)
            .map(|_| {
                let mut flood = Client::connect(path);
                thread::spawn(move || {
                    flood.send(&request.repeat(100));
                    let mut answers = 0;
                    while started.elapsed() < Duration::from_secs(1) && flood.line().is_some() {
                        answers += 1;
                    }
                    answers
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(200));
        let asked = Instant::now();
        Client::connect(path).is_served();
        // Two turns (read, request) behind at most eight others with 5 ms each.
        assert!(
            asked.elapsed() < Duration::from_millis(500),
            "waited {:?}",
            asked.elapsed()
        );
        let answers: u32 = floods.into_iter().map(|f| f.join().unwrap()).sum();
        assert!((20..=260).contains(&answers), "{answers} answers in a second");
    });
}

#[test]
fn random_bytes_from_many_clients() {
    with_server(Bounds::default(), |path| {
        let mut x: u64 = 0x2545_F491_4F6C_DD1D;
        for _ in 0..50 {
            let mut bytes = vec![0; 3000];
            for byte in &mut bytes {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                *byte = (x >> 32) as u8;
            }
            let mut stream = UnixStream::connect(path).unwrap();
            let _ = stream.write_all(&bytes);
        }
        Client::connect(path).is_served();
    });
}

#[test]
fn the_socket_is_made_with_its_mode_in_a_private_directory() {
    let place = Place::new();
    let path = place.0.join("made").join("admin.sock");
    let socket = AdminSocket::bind(&path, 0o660).unwrap();
    assert_eq!(socket.path(), path);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
    assert_eq!(
        fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777,
        0o700
    );
}

#[test]
fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
    let place = Place::new();
    let path = place.socket();
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a stale file");
    let first = AdminSocket::bind(&path, 0o600).unwrap();
    let second = AdminSocket::bind(&path, 0o600).unwrap_err();
    assert!(matches!(second, BindError::InUse(_)), "{second}");
    assert!(second.to_string().contains("another sbcd"), "{second}");
    drop(first);
    assert!(!path.exists());

    // Not ours, no lock, but somebody listens.
    let foreign = UnixListener::bind(&path).unwrap();
    let refused = AdminSocket::bind(&path, 0o600).unwrap_err();
    assert!(matches!(refused, BindError::InUse(_)), "{refused}");
    drop(foreign);
}

#[test]
fn another_file_is_never_removed() {
    let place = Place::new();
    let path = place.socket();
    fs::write(&path, "precious").unwrap();
    let refused = AdminSocket::bind(&path, 0o600).unwrap_err();
    assert!(matches!(refused, BindError::NotASocket(_)), "{refused}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");

    let long = place.0.join("x".repeat(120));
    assert!(matches!(
        AdminSocket::bind(&long, 0o600),
        Err(BindError::TooLong(_))
    ));
}

#[test]
fn a_socket_that_somebody_replaced_is_left_alone() {
    let place = Place::new();
    let path = place.socket();
    let socket = AdminSocket::bind(&path, 0o600).unwrap();
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    drop(socket);
    assert!(path.exists());
}
