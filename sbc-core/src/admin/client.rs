//! The client's side of the protocol, without the connection: a request to a line, a line to an
//! answer.

use super::{failure::Failure, method::Method};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

/// The request line for `params`, line end included.
pub fn request<M: Method>(id: u64, params: &M) -> Vec<u8> {
    #[derive(Serialize)]
    struct Line<'a, M> {
        jsonrpc: &'static str,
        id: u64,
        method: &'static str,
        params: &'a M,
    }
    let line = Line {
        jsonrpc: "2.0",
        id,
        method: M::NAME,
        params,
    };
    let mut line = serde_json::to_vec(&line).unwrap_or_default();
    line.push(b'\n');
    line
}

/// Why a line of the daemon could not be used.
#[derive(Debug, thiserror::Error)]
pub enum BadResponse {
    /// Not a JSON-RPC response.
    #[error("the answer is no JSON-RPC 2.0 response: {0}")]
    NotAResponse(String),
    /// A response to something else.
    #[error("the answer belongs to another request")]
    WrongId,
}

/// The result or the refusal in a response line to request `id`. A refusal without id (too many
/// clients, idle too long) counts as the answer to any request. The result is as the daemon wrote
/// it, so that it can be shown with the daemon's order of keys.
pub fn response(id: u64, line: &[u8]) -> Result<Result<&RawValue, Failure>, BadResponse> {
    #[derive(Deserialize)]
    struct Line<'a> {
        jsonrpc: String,
        #[serde(default)]
        id: Value,
        #[serde(borrow, default)]
        result: Option<&'a RawValue>,
        #[serde(default)]
        error: Option<Failure>,
    }
    let wrong = |what: &str| BadResponse::NotAResponse(what.into());
    let line: Line<'_> =
        serde_json::from_slice(line).map_err(|e| BadResponse::NotAResponse(e.to_string()))?;
    if line.jsonrpc != "2.0" {
        return Err(wrong("\"jsonrpc\" is not \"2.0\""));
    }
    match (line.result, line.error) {
        (None, Some(failure)) if line.id.is_null() || line.id == id => Ok(Err(failure)),
        (Some(result), None) if line.id == id => Ok(Ok(result)),
        (Some(_), Some(_)) | (None, None) => Err(wrong("it has neither or both of result and error")),
        _ => Err(BadResponse::WrongId),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::{
        failure::Reason,
        method::{Answer, Request},
        protocol::*,
        session::{self, Session, Step},
    };

    #[test]
    fn what_the_client_writes_the_daemon_reads_and_back() {
        let mut daemon = Session::default();
        daemon.push(&request(7, &Drain { on: Some(true) }));
        let Some(Step::Run { id, request }) = daemon.next_step() else {
            panic!()
        };
        assert_eq!(request, Request::Drain(Drain { on: Some(true) }));

        let answer = Answer::Drain(DrainProgress {
            draining: true,
            calls: 3,
        });
        let line = session::response(id.clone(), &Ok(answer));
        let value = response(7, &line).unwrap().unwrap();
        assert_eq!(value.get(), r#"{"draining":true,"calls":3}"#);

        let failure = Failure::new(Reason::NoSuchCall, "gone");
        let line = session::response(id, &Err(failure.clone()));
        assert_eq!(response(7, &line).unwrap().unwrap_err(), failure);
        assert!(matches!(response(8, &line), Err(BadResponse::WrongId)));
    }

    #[test]
    fn a_refused_connection_answers_any_request() {
        let line = session::response(None, &Err(Failure::new(Reason::TooManyClients, "full")));
        assert_eq!(
            response(1, &line).unwrap().unwrap_err().reason(),
            Some(Reason::TooManyClients)
        );
    }

    #[test]
    fn other_lines_are_refused() {
        for line in [
            "",
            "{}",
            "[]",
            "HTTP/1.1 400",
            r#"{"jsonrpc":"2.0","id":1}"#,
            r#"{"jsonrpc":"1","id":1,"result":1}"#,
        ] {
            assert!(response(1, line.as_bytes()).is_err(), "{line}");
        }
    }
}
