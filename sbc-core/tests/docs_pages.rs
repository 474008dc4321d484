//! The documentation is complete and true, as far as a program can tell: every page is linked,
//! every link leads somewhere, every command names something that exists.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(page: &Path) -> String {
    fs::read_to_string(page).unwrap_or_else(|e| panic!("{}: {e}", page.display()))
}

/// README.md and every page below docs/.
fn pages() -> Vec<PathBuf> {
    fn walk(directory: &Path, pages: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, pages);
            } else if path.extension().is_some_and(|e| e == "md") {
                pages.push(path);
            }
        }
    }
    let mut pages = vec![root().join("README.md")];
    walk(&root().join("docs"), &mut pages);
    pages
}

/// Targets of the links in `text` that are files, without their anchors.
fn links(text: &str) -> Vec<&str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.split('#').next().unwrap())
        .filter(|target| !target.is_empty() && !target.contains("://"))
        .collect()
}

/// Lines inside ```sh fences.
fn commands(text: &str) -> Vec<&str> {
    let mut inside = false;
    text.lines()
        .filter(|line| {
            let fence = line.starts_with("```");
            if fence {
                inside = !inside && *line == "```sh";
            }
            inside && !fence && !line.trim().is_empty()
        })
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    for page in pages() {
        for link in links(&read(&page)) {
            let target = page.parent().unwrap().join(link);
            assert!(
                target.exists(),
                "{} links to {link}, which does not exist",
                page.display()
            );
        }
    }
}

#[test]
fn every_page_is_in_the_index() {
    let index = root().join("docs/README.md");
    let text = read(&index);
    let linked: Vec<_> = links(&text)
        .into_iter()
        .filter_map(|link| index.parent().unwrap().join(link).canonicalize().ok())
        .collect();
    for page in pages() {
        let page = page.canonicalize().unwrap();
        if page != index.canonicalize().unwrap() {
            assert!(
                linked.contains(&page),
                "docs/README.md has no link to {}",
                page.display()
            );
        }
    }
}

/// The word after `before` among `words`.
fn after<'a>(words: &[&'a str], before: &str) -> Option<&'a str> {
    words
        .iter()
        .position(|w| *w == before)
        .and_then(|n| words.get(n + 1))
        .copied()
}

#[test]
fn every_command_names_something_that_exists() {
    let mut checked = 0;
    for page in pages() {
        let text = read(&page);
        for command in commands(&text) {
            let words: Vec<_> = command
                .split_whitespace()
                .filter(|w| !w.contains('=') || w.starts_with('-'))
                .collect();
            let at = page.display();
            match words[0] {
                "cargo" => {
                    let fuzz = words.contains(&"fuzz");
                    let package = after(&words, "-p").unwrap_or("sbc-core");
                    let directory = root().join(package);
                    assert!(
                        directory.join("Cargo.toml").exists(),
                        "{at}: {command}: no package {package}"
                    );
                    if let Some(test) = after(&words, "--test") {
                        let tests = directory.join("tests");
                        let files = [format!("{test}.rs"), format!("{test}/main.rs")];
                        let exists = files.iter().any(|file| tests.join(file).exists());
                        assert!(exists, "{at}: {command}: no test {test}");
                    }
                    if fuzz {
                        let target = after(&words, "run").unwrap();
                        let file = root().join("fuzz/fuzz_targets").join(format!("{target}.rs"));
                        assert!(file.exists(), "{at}: {command}: no fuzz target {target}");
                    }
                    let passed = words
                        .iter()
                        .position(|w| *w == "--")
                        .map_or(&[][..], |n| &words[n + 1..]);
                    if let ("sbc-ctl" | "loadtest", Some(subcommand)) = (package, passed.first()) {
                        subcommand_exists(&directory, subcommand, &format!("{at}: {command}"));
                    }
                }
                script @ (".ci/check" | "benches/instructions.sh") => assert!(root().join(script).exists()),
                "sbc-ctl" => {
                    subcommand_exists(&root().join("sbc-ctl"), words[1], &format!("{at}: {command}"))
                }
                // Not ours.
                "sipp" | "sudo" | "systemctl" | "echo" | "socat" => {}
                // Checked by docs_commands.rs, which runs it.
                "sbcd" => {}
                other => panic!("{at}: {command}: teach this test what {other} is"),
            }
            checked += 1;
        }
    }
    assert!(checked > 15, "only {checked} commands were found");
}

/// Whether some source file of the package in `directory` declares `name` as a subcommand.
fn subcommand_exists(directory: &Path, name: &str, command: &str) {
    if name.starts_with('-') {
        return;
    }
    // clap makes `log-level` of `LogLevel`.
    let variant: String = name
        .split('-')
        .map(|part| {
            let mut chars = part.chars();
            chars
                .next()
                .map(|c| c.to_ascii_uppercase())
                .into_iter()
                .chain(chars)
                .collect::<String>()
        })
        .collect();
    let declared = fs::read_dir(directory.join("src")).unwrap().any(|file| {
        let path = file.unwrap().path();
        path.is_file()
            && read(&path).lines().any(|line| {
                line.trim_start()
                    .strip_prefix(&variant)
                    .is_some_and(|rest| rest.starts_with([',', '(', ' ']))
            })
    });
    assert!(declared, "{command}: no subcommand {name}");
}

#[test]
fn the_quick_start_is_two_commands() {
    let text = read(&root().join("README.md"));
    assert_eq!(commands(&text)[..2], ["cargo run --release", ".ci/check"]);
    for script in [".ci/run", ".ci/check"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(root().join(script)).unwrap().permissions().mode();
        assert!(mode & 0o111 != 0, "{script} cannot be executed");
    }
}
