//! A daemon that answers every method with the example of `docs/ADMIN.md`, and the real `sbc-ctl`
//! run against it.

use serde_json::{Value, json};
use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

const ADMIN: &str = include_str!("../../../docs/ADMIN.md");

/// Results by method, as documented.
pub(crate) fn documented() -> HashMap<String, Value> {
    let mut results = HashMap::new();
    let lines = |arrow: &'static str| {
        let lines = ADMIN.lines().filter_map(move |l| l.strip_prefix(arrow));
        lines.map(|l| serde_json::from_str::<Value>(l).unwrap())
    };
    for (request, response) in lines("→").zip(lines("←")) {
        assert_eq!(request["id"], response["id"]);
        results.insert(
            request["method"].as_str().unwrap().to_owned(),
            response["result"].clone(),
        );
    }
    assert!(results.len() > 10);
    results
}

/// A refusal.
pub(crate) fn failure(reason: &str, message: &str) -> Value {
    json!({"code": -32000, "message": message, "data": {"reason": reason}})
}

/// Says what to answer: `Ok` a result, `Err` an error object.
pub(crate) type Script = Box<dyn FnMut(&str, &Value) -> Result<Value, Value> + Send>;

/// Says what to answer, as text: keys keep their order.
pub(crate) type RawScript = Box<dyn FnMut(&str, &Value) -> String + Send>;

/// The documented answers.
pub(crate) fn by_the_book() -> Script {
    let results = documented();
    Box::new(move |method, _| Ok(results[method].clone()))
}

/// The fake daemon; lives until the test's process ends.
pub(crate) struct Daemon {
    pub(crate) directory: PathBuf,
    pub(crate) socket: PathBuf,
    /// Requests so far: method and parameters.
    pub(crate) asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Daemon {
    /// Answers with an error or a result.
    pub(crate) fn start(mut script: Script) -> Self {
        Self::listen(Box::new(move |method, params| match script(method, params) {
            Ok(result) => format!("\"result\":{result}"),
            Err(error) => format!("\"error\":{error}"),
        }))
    }

    /// Answers with results only.
    pub(crate) fn start_raw(mut script: RawScript) -> Self {
        Self::listen(Box::new(move |method, params| {
            format!("\"result\":{}", script(method, params))
        }))
    }

    fn listen(script: RawScript) -> Self {
        let directory = directory();
        let socket = directory.join("admin.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, script) = (Arc::clone(&asked), Arc::new(Mutex::new(script)));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, script) = (Arc::clone(&log), Arc::clone(&script));
                thread::spawn(move || serve(stream, &log, &script));
            }
        });
        Self {
            directory,
            socket,
            asked,
        }
    }

    /// Run `sbc-ctl` against it.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> Output {
        ctl(&self.socket, arguments)
    }

    /// Run `sbc-ctl`, which must succeed: its standard output.
    pub(crate) fn shows(&self, arguments: &[&str]) -> String {
        let output = self.ctl(arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {errors}");
        assert_eq!(errors, "");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Parameters of the last request.
    pub(crate) fn last_asked(&self) -> (String, Value) {
        self.asked.lock().unwrap().last().unwrap().clone()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn serve(stream: UnixStream, log: &Mutex<Vec<(String, Value)>>, script: &Mutex<RawScript>) {
    let mut writer = stream.try_clone().unwrap();
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        let request: Value = serde_json::from_str(&line).unwrap();
        let method = request["method"].as_str().unwrap().to_owned();
        let outcome = script.lock().unwrap()(&method, &request["params"]);
        log.lock().unwrap().push((method, request["params"].clone()));
        let id = &request["id"];
        if writeln!(writer, "{{\"jsonrpc\":\"2.0\",\"id\":{id},{outcome}}}").is_err() {
            return;
        }
    }
}

/// A directory of this test.
pub(crate) fn directory() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let directory = std::env::temp_dir().join(format!("sbc-ctl-test-{}-{n}", std::process::id()));
    fs::create_dir(&directory).unwrap();
    directory
}

/// Run `sbc-ctl --socket SOCKET ARGUMENTS`.
pub(crate) fn ctl(socket: &Path, arguments: &[&str]) -> Output {
    command()
        .arg("--socket")
        .arg(socket)
        .args(arguments)
        .output()
        .unwrap()
}

/// `sbc-ctl` without the environment of whoever runs the tests.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sbc-ctl"));
    command.env_clear();
    command
}
