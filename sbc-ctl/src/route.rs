//! `route test --config FILE`: the routes of a file that nobody runs.

use crate::{error::Error, print, show};
use sbc_core::{
    admin::{protocol::TestRoute, route::report},
    config,
};
use std::{path::Path, time::SystemTime};

/// Print which way the configuration in `file` sends the call.
pub(crate) fn test_file(file: &Path, test: &TestRoute, json: bool) -> Result<(), Error> {
    let (snapshot, _) = config::load(file)?.compile()?;
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let report = report(&snapshot, test, now.as_secs()).map_err(Error::Refused)?;
    match json {
        true => print(&format!("{}\n", serde_json::json!(report))),
        false => print(&show::route(&report)),
    }
}
