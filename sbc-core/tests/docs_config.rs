//! `docs/CONFIG.md` is what the code says. `UPDATE_DOCS=1 cargo test -p sbc-core --test docs_config`
//! writes it anew.

use std::{env, fs, path::Path};

#[test]
fn the_reference_has_not_drifted() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/CONFIG.md");
    let expected = sbc_core::config::reference();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&page, &expected).unwrap();
    }
    let found = fs::read_to_string(&page).unwrap_or_default();
    let differing = found.lines().zip(expected.lines()).position(|(a, b)| a != b);
    assert!(
        found == expected,
        "docs/CONFIG.md differs from the options in the code, first in line {}; write it anew with\n\
         UPDATE_DOCS=1 cargo test -p sbc-core --test docs_config",
        differing.map_or(found.lines().count().min(expected.lines().count()), |n| n) + 1
    );
}
