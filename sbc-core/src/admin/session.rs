//! The daemon's side of one connection, without the connection: bytes in, steps out.

use super::{
    failure::{Failure, Reason},
    frame::{Lines, REQUEST_BYTES_MAX},
    method::{Answer, Request},
    protocol::PROTOCOL,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Pairs a request with its response; chosen by the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Id {
    /// A number without a fraction.
    Number(i64),
    /// Any text.
    Text(String),
}

/// What to do for a client, in order. A response to [`Step::Run`] must be sent before the next
/// step is taken, so a client has one request in work at a time.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Run the request, then send [`response`] of its outcome; nothing if `id` is `None` (the
    /// client wants no answer).
    Run {
        /// The request's id.
        id: Option<Id>,
        /// What is asked.
        request: Request,
    },
    /// Send this line.
    Answer(Vec<u8>),
    /// Send this line and close.
    Close(Vec<u8>),
}

/// One client's conversation.
#[derive(Debug)]
pub struct Session {
    lines: Lines,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            lines: Lines::new(REQUEST_BYTES_MAX),
        }
    }
}

impl Session {
    /// Bytes arrived. Take all steps before adding more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.lines.push(bytes);
    }

    /// The next step; `None`: read more.
    pub fn next_step(&mut self) -> Option<Step> {
        loop {
            let line = match self.lines.next_line()? {
                Ok(line) => line,
                Err(too_long) => {
                    let message = format!("{too_long}; send one request per line");
                    return Some(Step::Close(response(
                        None,
                        &Err(Failure::new(Reason::LineTooLong, message)),
                    )));
                }
            };
            // People type blank lines; that is no mistake worth an answer.
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match read(line) {
                Ok((id, Ok(request))) => return Some(Step::Run { id, request }),
                // JSON-RPC: a request without id is never answered, not even when it is wrong.
                Ok((None, Err(_))) => continue,
                Ok((id, Err(failure))) => return Some(Step::Answer(response(id, &Err(failure)))),
                Err(failure) => return Some(Step::Answer(response(None, &Err(failure)))),
            }
        }
    }
}

/// Outer error: not a request at all. Inner error: a request that cannot be run.
fn read(line: &[u8]) -> Result<(Option<Id>, Result<Request, Failure>), Failure> {
    let invalid =
        |what: &str| Failure::new(Reason::InvalidRequest, format!("no JSON-RPC 2.0 request: {what}"));
    let value: Value = serde_json::from_slice(line)
        .map_err(|e| Failure::new(Reason::ParseError, format!("not JSON: {e}")))?;
    let Value::Object(mut envelope) = value else {
        return Err(invalid(match value {
            Value::Array(_) => "batches are not supported; send one request per line",
            _ => "expected an object like {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}",
        }));
    };
    let id = match envelope.remove("id") {
        None => None,
        Some(id) => {
            Some(serde_json::from_value(id).map_err(|_| invalid("id must be a string or an integer"))?)
        }
    };
    let request = if envelope.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        Err(invalid("\"jsonrpc\":\"2.0\" is missing"))
    } else if let Some(method) = envelope.get("method").and_then(Value::as_str).map(str::to_owned) {
        Request::parse(&method, envelope.remove("params").unwrap_or_default()).and_then(check)
    } else {
        Err(invalid("\"method\" is missing or no string"))
    };
    Ok((id, request))
}

/// What needs no look at the daemon to be refused.
fn check(request: Request) -> Result<Request, Failure> {
    match &request {
        Request::Hello(hello) if hello.protocol.major != PROTOCOL.major => Err(Failure::new(
            Reason::ProtocolMismatch,
            format!(
                "the client speaks admin protocol {}, this daemon {}; use the sbc-ctl of the same release",
                hello.protocol, PROTOCOL
            ),
        )),
        Request::LimitsSet(set) => set.check().map(|()| request),
        _ => Ok(request),
    }
}

/// A response line, line end included.
pub fn response(id: Option<Id>, outcome: &Result<Answer, Failure>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Response<'a> {
        jsonrpc: &'static str,
        id: Option<Id>,
        #[serde(flatten)]
        outcome: Outcome<'a>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    enum Outcome<'a> {
        Result(&'a Answer),
        Error(&'a Failure),
    }
    let outcome = match outcome {
        Ok(answer) => Outcome::Result(answer),
        Err(failure) => Outcome::Error(failure),
    };
    let mut line = serde_json::to_vec(&Response { jsonrpc: "2.0", id, outcome }).unwrap_or_else(|_| {
        // Unreachable while every key of an answer is a string; a client must still get a line.
        br#"{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"answer cannot be written","data":{"reason":"internal"}}}"#.to_vec()
    });
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::protocol::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn steps(input: &[u8]) -> Vec<Step> {
        let mut session = Session::default();
        session.push(input);
        std::iter::from_fn(|| session.next_step()).collect()
    }

    fn one_answer(input: &str) -> Value {
        match &steps(format!("{input}\n").as_bytes())[..] {
            [Step::Answer(line) | Step::Close(line)] => serde_json::from_slice(line).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pipelined_requests_come_out_in_order() {
        let input = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}\r\n\n{\"jsonrpc\":\"2.0\",\"id\":\"b\",\"method\":\"stats\",\"params\":{}}\n";
        assert_eq!(
            steps(input),
            [
                Step::Run {
                    id: Some(Id::Number(1)),
                    request: Request::Status(GetStatus {})
                },
                Step::Run {
                    id: Some(Id::Text("b".into())),
                    request: Request::Stats(GetStats {})
                },
            ]
        );
    }

    #[test]
    fn refusals_carry_id_code_and_reason() {
        for (input, id, reason) in [
            ("{nonsense", json!(null), Reason::ParseError),
            ("\u{1}\u{0}\u{7f}", json!(null), Reason::ParseError),
            ("42", json!(null), Reason::InvalidRequest),
            ("[]", json!(null), Reason::InvalidRequest),
            (
                r#"{"jsonrpc":"2.0","id":{},"method":"status"}"#,
                json!(null),
                Reason::InvalidRequest,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1.5,"method":"status"}"#,
                json!(null),
                Reason::InvalidRequest,
            ),
            (
                r#"{"jsonrpc":"1.0","id":7,"method":"status"}"#,
                json!(7),
                Reason::InvalidRequest,
            ),
            (r#"{"jsonrpc":"2.0","id":7}"#, json!(7), Reason::InvalidRequest),
            (
                r#"{"jsonrpc":"2.0","id":7,"method":3}"#,
                json!(7),
                Reason::InvalidRequest,
            ),
            (
                r#"{"jsonrpc":"2.0","id":"x","method":"reboot"}"#,
                json!("x"),
                Reason::UnknownMethod,
            ),
            (
                r#"{"jsonrpc":"2.0","id":7,"method":"drain","params":{"on":1}}"#,
                json!(7),
                Reason::InvalidParams,
            ),
            (
                r#"{"jsonrpc":"2.0","id":7,"method":"hello","params":{"protocol":"2.0"}}"#,
                json!(7),
                Reason::ProtocolMismatch,
            ),
            (
                r#"{"jsonrpc":"2.0","id":7,"method":"limits.set","params":{"changes":[]}}"#,
                json!(7),
                Reason::InvalidParams,
            ),
        ] {
            let answer = one_answer(input);
            assert_eq!(answer["jsonrpc"], "2.0");
            assert_eq!(answer["id"], id, "{input}");
            assert_eq!(answer["error"]["code"], reason.code(), "{input}");
            assert_eq!(answer["error"]["data"]["reason"], reason.as_str(), "{input}");
            assert_eq!(answer.get("result"), None);
        }
    }

    #[test]
    fn another_minor_version_is_welcome() {
        let input =
            b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"hello\",\"params\":{\"protocol\":\"1.99\"}}\n";
        assert!(matches!(
            &steps(input)[..],
            [Step::Run {
                request: Request::Hello(_),
                ..
            }]
        ));
    }

    #[test]
    fn deep_nesting_is_refused() {
        let answer = one_answer(&"[".repeat(60_000));
        assert_eq!(answer["error"]["data"]["reason"], "parse_error");
    }

    #[test]
    fn a_request_without_id_is_run_and_never_answered() {
        assert!(matches!(
            &steps(b"{\"jsonrpc\":\"2.0\",\"method\":\"status\"}\n")[..],
            [Step::Run { id: None, .. }]
        ));
        assert_eq!(steps(b"{\"jsonrpc\":\"2.0\",\"method\":\"reboot\"}\n"), []);
    }

    #[test]
    fn a_line_too_long_closes() {
        let mut session = Session::default();
        let mut closed = 0;
        for _ in 0..100 {
            session.push(&[b'x'; 4096]);
            while let Some(step) = session.next_step() {
                let Step::Close(line) = step else {
                    panic!("{step:?}")
                };
                let answer: Value = serde_json::from_slice(&line).unwrap();
                assert_eq!(answer["error"]["data"]["reason"], "line_too_long");
                closed += 1;
            }
        }
        assert_eq!(closed, 1);
    }

    fn request_like() -> impl Strategy<Value = String> {
        let scalar = prop_oneof![
            Just("null".to_string()),
            any::<i64>().prop_map(|n| n.to_string()),
            any::<f64>().prop_map(|n| n.to_string()),
            "\"[a-z.0-9]{0,12}\"",
            Just("{}".to_string()),
            Just("[1]".to_string()),
        ];
        let key = prop_oneof![
            Just("jsonrpc"),
            Just("id"),
            Just("method"),
            Just("params"),
            Just("on"),
            Just("limit"),
            Just("changes"),
        ];
        let method = proptest::sample::select(crate::admin::method::METHODS);
        (method, proptest::collection::vec((key, scalar), 0..5)).prop_map(|(method, pairs)| {
            let mut line = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{method}\",\"params\":{{");
            line.push_str(
                &pairs
                    .iter()
                    .map(|(k, v)| format!("\"{k}\":{v}"))
                    .collect::<Vec<_>>()
                    .join(","),
            );
            line.push_str("}}\n");
            line
        })
    }

    proptest! {
        #[test]
        fn any_bytes_give_whole_answer_lines(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            for step in steps(&bytes) {
                if let Step::Answer(line) | Step::Close(line) = step {
                    prop_assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1);
                    prop_assert!(serde_json::from_slice::<Value>(&line).unwrap()["error"]["data"]["reason"].is_string());
                }
            }
        }

        #[test]
        fn every_line_with_an_id_gives_one_step(line in request_like()) {
            prop_assert_eq!(steps(line.as_bytes()).len(), 1);
        }

        #[test]
        fn damaged_requests_never_panic(line in request_like(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = line.into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes.push(b'\n');
            steps(&bytes);
        }
    }
}
