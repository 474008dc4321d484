//! Where the system refuses io_uring (as the usual container profile does) the daemon runs on system
//! calls and says why, unless the configuration insists.
#![cfg(all(feature = "driver", target_os = "linux"))]

use std::{
    io::{self, BufRead, BufReader},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, Stdio},
};

/// Make `io_uring_setup` fail with EPERM in this process and what it executes.
fn forbid_io_uring() -> io::Result<()> {
    let statement = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let mut filter = [
        // The system call's number is the first word of what a filter sees.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            0,
            1,
            libc::SYS_io_uring_setup as u32,
        ),
        statement(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
        ),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the program and its statements are live while the kernel copies them.
    let installed = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const program,
            ) == 0
    };
    if installed {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The daemon with `backend` configured, on addresses of its own.
fn daemon(net: u8, backend: &str) -> (Command, PathBuf) {
    let directory = std::env::temp_dir().join(format!("sbcd-refused-{net}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let config = directory.join("sbcd.toml");
    let text = format!(
        r#"
        [[listener]]
        name = "main"
        address = "127.79.{net}.1:5060"
        [media]
        address = "127.79.{net}.1"
        ports = "20000-20999"
        [[trunk]]
        name = "carrier"
        hosts = ["127.79.{net}.2"]
        [shards]
        count = 1
        backend = "{backend}"
        [admin]
        socket = "{}"
        "#,
        directory.join("admin.sock").display()
    );
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sbcd"));
    command
        .arg("--config")
        .arg(&config)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // SAFETY: the filter is made on the stack, and prctl is async-signal-safe.
    unsafe { command.pre_exec(forbid_io_uring) };
    (command, directory)
}

#[test]
fn auto_falls_back_and_says_why() {
    let (mut command, directory) = daemon(1, "auto");
    let mut child = command.spawn().unwrap();
    let greeting: Vec<String> = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap)
        .take_while(|line| !line.contains("sbc-ctl"))
        .collect();
    // SAFETY: the child has not been waited for, so its id is still its own.
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGTERM) };
    let status = child.wait().unwrap();
    std::fs::remove_dir_all(directory).unwrap();
    let line = greeting
        .iter()
        .find(|line| line.contains("I/O"))
        .expect("a line about I/O");
    assert!(
        line.contains("syscall: no io_uring: io_uring_setup is not permitted (seccomp"),
        "{line}"
    );
    // The control thread has found its way without io_uring, too.
    assert_eq!(status.code(), Some(0));
}

#[test]
fn io_uring_configured_fails_to_start_and_says_why() {
    let (mut command, directory) = daemon(2, "io_uring");
    let output = command.output().unwrap();
    std::fs::remove_dir_all(directory).unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("io_uring_setup is not permitted"), "{text}");
    assert!(text.contains("use \"auto\" or \"syscall\""), "{text}");
    assert_eq!(output.status.code(), Some(3));
}
