//! The methods: one list that yields the request and answer enums, the client's types and the
//! names that `docs/ADMIN.md` must cover.

use super::{
    audit::*,
    bans::*,
    failure::{Failure, Reason},
    protocol::*,
    provision::*,
    registrations::{ListRegistrations, Registrations},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Parameters of a method, tied to the method's name and the type of its answer.
pub trait Method: Serialize + DeserializeOwned {
    /// As written in `method`.
    const NAME: &'static str;
    /// What comes back.
    type Answer: Serialize + DeserializeOwned;
}

macro_rules! methods {
    ($($name:literal => $variant:ident($params:ident) -> $answer:ident,)+) => {
        /// Names of all methods.
        pub const METHODS: &[&str] = &[$($name,)+];

        /// A request as the daemon sees it: parsed and of the right types.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Request {
            $(#[doc = concat!("`", $name, "`")] $variant($params),)+
        }

        /// The result of a request.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(untagged)]
        pub enum Answer {
            $(#[doc = concat!("Answer to `", $name, "`")] $variant($answer),)+
        }

        impl Request {
            /// Reads `params` for `method`.
            pub fn parse(method: &str, params: Value) -> Result<Self, Failure> {
                match method {
                    $($name => Ok(Self::$variant(read_params($name, params)?)),)+
                    _ => Err(Failure::new(
                        Reason::UnknownMethod,
                        format!("no method {:?}; there are: {}", shorten(method), METHODS.join(", ")),
                    )),
                }
            }

            /// The method's name.
            pub fn method(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name,)+ }
            }

            /// The parameters as JSON.
            pub fn params(&self) -> Value {
                match self { $(Self::$variant(params) => serde_json::to_value(params).unwrap_or_default(),)+ }
            }
        }

        impl Answer {
            /// Reads a `result` of `method`.
            pub fn parse(method: &str, result: Value) -> Result<Self, serde_json::Error> {
                match method {
                    $($name => Ok(Self::$variant(serde_json::from_value(result)?)),)+
                    _ => Err(serde::de::Error::custom("no such method")),
                }
            }
        }

        $(
            impl Method for $params {
                const NAME: &'static str = $name;
                type Answer = $answer;
            }
        )+
    };
}

methods! {
    "hello" => Hello(Hello) -> HelloResult,
    "status" => Status(GetStatus) -> Status,
    "calls.list" => CallsList(ListCalls) -> Calls,
    "calls.show" => CallsShow(ShowCall) -> CallDetail,
    "calls.hangup" => CallsHangup(HangupCall) -> HungUp,
    "trunks.list" => TrunksList(ListTrunks) -> Trunks,
    "registrations.list" => RegistrationsList(ListRegistrations) -> Registrations,
    "route.test" => RouteTest(TestRoute) -> RouteReport,
    "limits.show" => LimitsShow(ShowLimits) -> Limits,
    "limits.set" => LimitsSet(SetLimits) -> Limits,
    "stats" => Stats(GetStats) -> Stats,
    "shards" => Shards(ListShards) -> Shards,
    "audit" => Audit(RunAudit) -> Audit,
    "bans.list" => BansList(ListBans) -> BanList,
    "bans.add" => BansAdd(AddBan) -> BanList,
    "bans.lift" => BansLift(LiftBan) -> BanList,
    "drain" => Drain(Drain) -> DrainProgress,
    "log.level" => LogLevel(SetLogLevel) -> LogLevelResult,
    "tls.show" => TlsShow(ShowTls) -> Certificates,
    "tls.reload" => TlsReload(ReloadTls) -> Certificates,
    "config.reload" => ConfigReload(ReloadConfig) -> Applied,
    "config.diff" => ConfigDiff(DiffConfig) -> Difference,
    "config.apply" => ConfigApply(ApplyConfig) -> Applied,
    "config.edit" => ConfigEdit(EditConfig) -> Applied,
    "trunk.sheet" => TrunkSheet(ShowSheet) -> Sheet,
}

impl Request {
    /// Whether it changes something: such requests are logged with the client's credentials.
    pub fn is_change(&self) -> bool {
        match self {
            Self::CallsHangup(_) | Self::LimitsSet(_) | Self::TlsReload(_) => true,
            Self::ConfigReload(_) | Self::ConfigApply(_) | Self::ConfigEdit(_) => true,
            Self::BansAdd(_) | Self::BansLift(_) => true,
            Self::Drain(drain) => drain.on.is_some(),
            Self::LogLevel(set) => set.level.is_some(),
            _ => false,
        }
    }

    /// The parameters as JSON, without secrets: for the log.
    pub fn shown_params(&self) -> Value {
        match self {
            Self::ConfigEdit(edit) => serde_json::to_value(edit.masked()).unwrap_or_default(),
            other => other.params(),
        }
    }

    /// How much work it is, in units of about a plain request: what the daemon paces clients by.
    pub fn cost(&self) -> u32 {
        match self {
            Self::CallsList(list) => 1 + list.rows() / 100,
            Self::RegistrationsList(_) => 10,
            // All calls are gone through, several times.
            Self::Audit(_) => 200,
            // They read every file.
            Self::TlsReload(_) | Self::ConfigReload(_) | Self::ConfigApply(_) => 100,
            Self::ConfigEdit(_) | Self::ConfigDiff(_) => 5,
            _ => 1,
        }
    }
}

fn read_params<'de, T: Deserialize<'de>>(method: &str, params: Value) -> Result<T, Failure> {
    let params = match params {
        Value::Null => Value::Object(serde_json::Map::new()),
        object @ Value::Object(_) => object,
        _ => {
            return Err(Failure::new(
                Reason::InvalidParams,
                format!("params of {method} must be an object with named parameters"),
            ));
        }
    };
    T::deserialize(params)
        .map_err(|e| Failure::new(Reason::InvalidParams, format!("params of {method}: {e}")))
}

/// What a client wrote, cut to what fits an error message.
pub fn shorten(text: &str) -> &str {
    let end = text.char_indices().nth(60).map_or(text.len(), |(at, _)| at);
    &text[..end]
}

impl SetLimits {
    /// Checks everything that can be checked without knowing the trunks.
    pub fn check(&self) -> Result<(), Failure> {
        let invalid = |what: String| Err(Failure::new(Reason::InvalidParams, what));
        if self.changes.is_empty() || self.changes.len() > LIMIT_CHANGES_MAX {
            return invalid(format!("limits.set takes 1 to {LIMIT_CHANGES_MAX} changes"));
        }
        for change in &self.changes {
            let scope = change.scope();
            if change.limit.is_some() && (change.trunk.is_some() || change.direction.is_some()) {
                return invalid(format!("{scope} is no trunk's: leave trunk and direction out"));
            }
            match (&change.trunk, change.direction) {
                (Some(_), None) => {
                    return invalid(format!(
                        "limit of trunk {scope}: say which with direction inbound, outbound or both"
                    ));
                }
                (None, Some(_)) => return invalid("the global limit has no direction: leave it out".into()),
                _ => {}
            }
            if change.cps.is_none() && change.burst.is_none() && change.channels.is_none() {
                return invalid(format!(
                    "limit {scope}: nothing to change; give cps, burst or channels"
                ));
            }
            for (key, value, max) in [
                ("cps", change.cps, CPS_MAX),
                ("burst", change.burst, CPS_MAX),
                ("channels", change.channels, CHANNELS_MAX),
            ] {
                if value.is_some_and(|v| v > max) {
                    return invalid(format!(
                        "limit {scope}: {key} must be at most {max} (0: no limit)"
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Highest rate and burst a limit can be set to, as in the configuration.
pub const CPS_MAX: u32 = 1_000_000;
/// Most channels a limit can be set to, as in the configuration.
pub const CHANNELS_MAX: u32 = 10_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_method_parses_its_own_parameters() {
        for (method, params) in [
            ("hello", json!({"protocol": "1.0"})),
            ("status", json!(null)),
            (
                "calls.list",
                json!({"after": {"shard": 1, "slot": 7}, "limit": 5, "trunk": "carrier"}),
            ),
            ("calls.show", json!({"id": "x"})),
            ("calls.hangup", json!({"id": "x"})),
            ("trunks.list", json!({})),
            (
                "registrations.list",
                json!({"trunk": "carrier", "after": {"trunk": "carrier", "user": "a"}, "limit": 5}),
            ),
            ("limits.show", json!({"trunk": "carrier"})),
            ("limits.set", json!({"changes": [{"cps": 0, "channels": 5}]})),
            ("stats", json!({})),
            ("shards", json!({})),
            ("audit", json!({})),
            ("bans.list", json!({})),
            (
                "bans.add",
                json!({"address": "192.0.2.1", "for_s": 60, "reason": "noise"}),
            ),
            ("bans.lift", json!({"address": "192.0.2.1"})),
            ("drain", json!({"on": true})),
            ("log.level", json!({"level": "debug"})),
            ("tls.show", json!({})),
            ("tls.reload", json!({})),
            ("config.reload", json!({})),
            ("config.diff", json!({"file": "/x"})),
            ("config.apply", json!({"file": "/x", "revision": "0"})),
            (
                "config.edit",
                json!({"edits": [{"action": "set", "kind": "limits", "values": [{"key": "cps", "value": "1"}]}]}),
            ),
            ("trunk.sheet", json!({"trunk": "carrier"})),
        ] {
            let request = Request::parse(method, params.clone()).unwrap();
            assert_eq!(request.method(), method);
            let again = Request::parse(method, request.params()).unwrap();
            assert_eq!(again, request, "{method} survives a round trip");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (method, params, reason, says) in [
            ("callz", json!({}), Reason::UnknownMethod, "calls.list"),
            ("status", json!([1]), Reason::InvalidParams, "must be an object"),
            (
                "status",
                json!({"verbose": true}),
                Reason::InvalidParams,
                "verbose",
            ),
            ("calls.show", json!({}), Reason::InvalidParams, "id"),
            ("calls.list", json!({"limit": -1}), Reason::InvalidParams, "-1"),
            (
                "log.level",
                json!({"level": "loud"}),
                Reason::InvalidParams,
                "debug",
            ),
            (
                "hello",
                json!({"protocol": "one"}),
                Reason::InvalidParams,
                "MAJOR.MINOR",
            ),
        ] {
            let failure = Request::parse(method, params).unwrap_err();
            assert_eq!(failure.reason(), Some(reason));
            assert!(failure.message.contains(says), "{method}: {}", failure.message);
        }
        let long = Request::parse(&"é".repeat(10_000), json!({})).unwrap_err();
        assert!(long.message.len() < 500);
    }

    #[test]
    fn limits_that_make_no_sense_are_refused() {
        let change = LimitChange {
            channels: Some(1),
            ..Default::default()
        };
        let of = |changes| SetLimits { changes }.check();
        assert_eq!(of(vec![change.clone()]), Ok(()));
        let trunk = Some("carrier".to_string());
        for bad in [
            vec![],
            vec![change.clone(); LIMIT_CHANGES_MAX + 1],
            vec![LimitChange::default()],
            vec![LimitChange {
                trunk,
                ..change.clone()
            }],
            vec![LimitChange {
                direction: Some(Direction::Both),
                ..change.clone()
            }],
            vec![LimitChange {
                cps: Some(CPS_MAX + 1),
                ..change.clone()
            }],
            vec![LimitChange {
                channels: Some(CHANNELS_MAX + 1),
                ..change.clone()
            }],
        ] {
            let failure = of(bad).unwrap_err();
            assert_eq!(failure.reason(), Some(Reason::InvalidParams));
        }
    }

    #[test]
    fn only_changes_are_logged_as_changes() {
        let changes = |method, params| Request::parse(method, params).unwrap().is_change();
        assert!(changes("calls.hangup", json!({"id": "x"})));
        assert!(changes("limits.set", json!({"changes": []})));
        assert!(changes("drain", json!({"on": false})));
        assert!(changes("log.level", json!({"level": "warn"})));
        assert!(changes("tls.reload", json!({})));
        assert!(!changes("tls.show", json!({})));
        assert!(!changes("drain", json!({})));
        assert!(!changes("log.level", json!({})));
        assert!(!changes("status", json!({})));
    }
}
