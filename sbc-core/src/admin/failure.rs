//! What a client is told when something is refused: JSON-RPC code, stable reason, message.

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $code:literal;)+) => {
        /// Why a request was refused. The names are stable: programs may match on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Reason {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// As written in `error.data.reason`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// As written in `error.code`.
            pub fn code(self) -> i32 {
                match self { $(Self::$variant => $code,)+ }
            }
        }
    };
}

reasons! {
    /// The line is not JSON.
    ParseError = "parse_error", -32700;
    /// The line is JSON but no JSON-RPC 2.0 request.
    InvalidRequest = "invalid_request", -32600;
    /// No such method.
    UnknownMethod = "unknown_method", -32601;
    /// The method does not take these parameters.
    InvalidParams = "invalid_params", -32602;
    /// The daemon failed: a bug, worth a report.
    Internal = "internal", -32603;
    /// The client speaks another major version of the protocol.
    ProtocolMismatch = "protocol_mismatch", -32001;
    /// No call has that id (any more).
    NoSuchCall = "no_such_call", -32002;
    /// No trunk has that name.
    NoSuchTrunk = "no_such_trunk", -32003;
    /// The daemon cannot answer now: a shard is busy or it is ending.
    Unavailable = "unavailable", -32004;
    /// Too many clients are connected. The connection is closed.
    TooManyClients = "too_many_clients", -32005;
    /// The request line is too long. The connection is closed.
    LineTooLong = "line_too_long", -32006;
    /// No complete request came for too long. The connection is closed.
    IdleTimeout = "idle_timeout", -32007;
    /// That address is not banned.
    NoSuchBan = "no_such_ban", -32020;
    /// No limit has that name.
    NoSuchLimit = "no_such_limit", -32021;
    /// A certificate, a key or a list of CAs cannot be used; the old ones stay.
    BadCertificate = "bad_certificate", -32008;
    /// A configuration is wrong, or cannot take the place of the one that runs; that stays.
    BadConfig = "bad_config", -32009;
    /// The configuration is not what a change was meant for.
    Conflict = "conflict", -32010;
}

/// A refusal: the `error` of a response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// JSON-RPC error code.
    pub code: i32,
    /// What is wrong and what to do, for people.
    pub message: String,
    /// For programs.
    #[serde(default)]
    pub data: FailureData,
}

/// The `data` of an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureData {
    /// One of [`Reason`]'s names; a later daemon may have more.
    #[serde(default)]
    pub reason: String,
}

impl Failure {
    /// A refusal for `reason`.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        let data = FailureData {
            reason: reason.as_str().into(),
        };
        Self {
            code: reason.code(),
            message: message.into(),
            data,
        }
    }

    /// Which known reason it is.
    pub fn reason(&self) -> Option<Reason> {
        Reason::ALL
            .iter()
            .copied()
            .find(|r| r.as_str() == self.data.reason)
    }
}
