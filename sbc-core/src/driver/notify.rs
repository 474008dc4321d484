//! Tells the service manager what state the daemon is in (`sd_notify(3)`).

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

/// Send `state`, such as `READY=1`, when a service manager asked for it; log why it failed.
pub(crate) fn notify(state: &str) {
    if let Some(path) = env::var_os("NOTIFY_SOCKET")
        && let Err(error) = send(path.as_bytes(), state)
    {
        tracing::warn!("cannot tell the service manager {state}: {error}");
    }
}

fn send(path: &[u8], state: &str) -> io::Result<()> {
    let address = match path.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path))?,
    };
    let socket = UnixDatagram::unbound()?;
    // A service manager that does not read must not hold up calls.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abstract_and_path_sockets_are_told() {
        let name = format!("sbcd-notify-{}", std::process::id());
        let receiver = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        send(format!("@{name}").as_bytes(), "READY=1").unwrap();
        let path = env::temp_dir().join(&name);
        let receiver_at_path = UnixDatagram::bind(&path).unwrap();
        let sent = send(path.as_os_str().as_bytes(), "STOPPING=1");
        std::fs::remove_file(&path).unwrap();
        sent.unwrap();
        let mut text = [0; 32];
        let len = receiver.recv(&mut text).unwrap();
        assert_eq!(&text[..len], b"READY=1");
        let len = receiver_at_path.recv(&mut text).unwrap();
        assert_eq!(&text[..len], b"STOPPING=1");
    }
}
