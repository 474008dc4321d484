//! `SCOPE KEY=VALUE…` of `limits set`.

use crate::error::Error;
use sbc_core::admin::protocol::{Direction, LimitChange, SetLimits};

const KEYS: &str = "cps, burst or channels";

/// The request for `scope` and its changes: one [`LimitChange`] for each limit that is touched.
pub(crate) fn parse(scope: &str, changes: &[String]) -> Result<SetLimits, Error> {
    let limit = scope.strip_prefix("limit:").map(str::to_owned);
    let trunk = match scope.strip_prefix("trunk:") {
        _ if limit.is_some() => None,
        Some(name) => Some(name.to_owned()),
        None if scope == "global" => None,
        None => Some(scope.to_owned()),
    };
    let mut set = SetLimits::default();
    for change in changes {
        let (key, value) = change
            .split_once('=')
            .ok_or_else(|| Error::Usage(format!("{change:?}: expected KEY=VALUE, like cps=100")))?;
        let (direction, key) = split_key(scope, trunk.is_some(), key)?;
        let value = parse_value(key, value)?;
        let at = set.changes.iter().position(|c| c.direction == direction);
        let at = at.unwrap_or_else(|| {
            set.changes.push(LimitChange {
                trunk: trunk.clone(),
                direction,
                limit: limit.clone(),
                ..LimitChange::default()
            });
            set.changes.len() - 1
        });
        let field = match key {
            "cps" => &mut set.changes[at].cps,
            "burst" => &mut set.changes[at].burst,
            "channels" => &mut set.changes[at].channels,
            _ => return Err(Error::Usage(format!("{key:?} is no limit: expected {KEYS}"))),
        };
        if field.replace(value).is_some() {
            return Err(Error::Usage(format!("{change:?}: {key} is given twice")));
        }
    }
    Ok(set)
}

fn split_key<'k>(scope: &str, of_trunk: bool, key: &'k str) -> Result<(Option<Direction>, &'k str), Error> {
    match (of_trunk, key.split_once('.')) {
        (false, None) => Ok((None, key)),
        (false, Some(_)) => Err(Error::Usage(format!(
            "{key:?}: {scope} has no directions: expected {KEYS}"
        ))),
        (true, None) => Err(Error::Usage(format!(
            "{key:?}: a trunk has three limits: expected inbound.{key}, outbound.{key} or both.{key}"
        ))),
        (true, Some((direction, key))) => Direction::ALL
            .into_iter()
            .find(|d| d.as_str() == direction)
            .map(|d| (Some(d), key))
            .ok_or_else(|| {
                Error::Usage(format!(
                    "{direction:?} is no direction: expected inbound, outbound or both"
                ))
            }),
    }
}

fn parse_value(key: &str, value: &str) -> Result<u32, Error> {
    match value {
        "unlimited" if key != "burst" => Ok(0),
        _ => value.parse().map_err(|_| {
            Error::Usage(format!(
                "{key}={value}: expected a number of at most {}, or `unlimited`",
                u32::MAX
            ))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(scope: &str, changes: &[&str]) -> Result<SetLimits, String> {
        let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
        super::parse(scope, &changes).map_err(|e| e.to_string())
    }

    #[test]
    fn one_change_for_each_limit_touched() {
        let set = parse(
            "carrier",
            &["inbound.cps=100", "both.channels=unlimited", "inbound.burst=5"],
        )
        .unwrap();
        let trunk = Some("carrier".to_owned());
        let inbound = LimitChange {
            trunk: trunk.clone(),
            direction: Some(Direction::Inbound),
            cps: Some(100),
            burst: Some(5),
            ..Default::default()
        };
        let both = LimitChange {
            trunk,
            direction: Some(Direction::Both),
            channels: Some(0),
            ..Default::default()
        };
        assert_eq!(set.changes, [inbound, both]);
        let global = parse("global", &["channels=7"]).unwrap();
        assert_eq!(
            global.changes,
            [LimitChange {
                channels: Some(7),
                ..Default::default()
            }]
        );
        let odd = parse("trunk:global", &["both.cps=1"]).unwrap();
        assert_eq!(odd.changes[0].trunk.as_deref(), Some("global"));
        let scoped = parse("limit:germany", &["cps=5"]).unwrap();
        assert_eq!(scoped.changes[0].limit.as_deref(), Some("germany"));
        assert_eq!(scoped.changes[0].trunk, None);
    }

    #[test]
    fn mistakes_say_what_was_expected() {
        for (scope, change, says) in [
            ("global", "cps", "KEY=VALUE"),
            ("global", "inbound.cps=1", "no directions"),
            (
                "limit:germany",
                "inbound.cps=1",
                "limit:germany has no directions",
            ),
            ("global", "speed=1", "cps, burst or channels"),
            ("global", "cps=-1", "a number"),
            ("global", "cps=1.5", "a number"),
            ("global", "burst=unlimited", "a number"),
            ("carrier", "cps=1", "inbound.cps"),
            ("carrier", "in.cps=1", "inbound, outbound or both"),
        ] {
            let error = parse(scope, &[change]).unwrap_err();
            assert!(error.contains(says), "{change}: {error}");
        }
        assert!(
            parse("global", &["cps=1", "cps=2"])
                .unwrap_err()
                .contains("twice")
        );
    }
}
