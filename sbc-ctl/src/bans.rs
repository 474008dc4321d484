//! `bans`: arguments and tables.

use crate::{
    error::Error,
    show::{Plain, duration},
};
use clap::Subcommand;
use sbc_core::admin::bans::{AddBan, BanList};

#[derive(Debug, Subcommand)]
pub(crate) enum BansCommand {
    /// Ban an address, on all shards at once
    Add {
        /// IP address; of IPv6, its network of 64 bits is banned
        address: String,
        /// How long, like 90s, 10m, 1h or 7d
        #[arg(long = "for", value_name = "TIME", default_value = "1h")]
        time: String,
        /// Why, for whoever reads the list
        #[arg(long)]
        reason: Option<String>,
    },
    /// End a ban now
    Lift {
        /// IP address
        address: String,
    },
}

/// The request for a ban of `address`.
pub(crate) fn add(address: String, time: &str, reason: Option<String>) -> Result<AddBan, Error> {
    Ok(AddBan {
        address,
        for_s: seconds(time)?,
        reason,
    })
}

fn seconds(text: &str) -> Result<u64, Error> {
    let wrong = || Error::Usage(format!("{text:?}: expected a time like 90s, 10m, 1h or 7d"));
    let unit = text.chars().last().ok_or_else(wrong)?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    number.checked_mul(factor).ok_or_else(wrong)
}

pub(crate) fn list(list: &BanList) -> String {
    if list.bans.is_empty() {
        return "nobody is banned\n".to_owned();
    }
    let mut t = Plain::new(&["ADDRESS", "FOR", "COUNT>", "EVIDENCE", "SINCE>", "ENDS IN>"]);
    for ban in &list.bans {
        t.row([
            ban.address.as_str(),
            &ban.offence,
            &ban.count.to_string(),
            if ban.evidence.is_empty() {
                "-"
            } else {
                &ban.evidence
            },
            &duration(ban.age_ms),
            &duration(ban.expires_in_ms),
        ]);
    }
    let mut text = t.finish();
    if list.evicted > 0 {
        text.push_str(&format!(
            "{} bans gave way to others before their end: there is room for {}\n",
            list.evicted, list.capacity
        ));
    }
    text
}

pub(crate) fn lifted(list: &BanList) -> String {
    let line = |ban: &sbc_core::admin::bans::BanStatus| format!("{} is not banned any more\n", ban.address);
    list.bans.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        for (text, s) in [("90s", 90), ("10m", 600), ("1h", 3600), ("7d", 604_800)] {
            assert_eq!(seconds(text).unwrap(), s);
        }
        for text in [
            "",
            "5",
            "h",
            "-1h",
            "1w",
            "1.5h",
            "99999999999999999999d",
            "9999999999999999999d",
            "5é",
        ] {
            assert!(seconds(text).is_err(), "{text:?}");
        }
    }
}
