//! Where the admin socket is when the configuration does not say: the same answer for `sbcd`,
//! which binds it, and `sbc-ctl`, which looks for it.

use std::{
    env, fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

/// The default path of the admin socket for the user that the process runs as.
///
/// Root: `/run/sbcd/sbcd.sock`. Anybody else: `$XDG_RUNTIME_DIR/sbcd.sock` when that directory
/// exists, else `/tmp/sbcd-<uid>/admin.sock`.
pub fn default_socket() -> PathBuf {
    socket_for(user_id(), env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from))
}

/// Every place where a running `sbcd` may have its socket, the likeliest first: the default of
/// this user, then that of a `sbcd` run as a service.
pub fn socket_candidates() -> Vec<PathBuf> {
    let mut places = vec![default_socket()];
    let service = PathBuf::from(SERVICE_SOCKET);
    if !places.contains(&service) {
        places.push(service);
    }
    places
}

/// Make the directory of `socket` when it does not exist, for this user only (0700).
///
/// A directory below `/tmp` could have been made by somebody else, who could then put a socket of
/// his own there: one that is a symbolic link, belongs to another user or is writable by others
/// is refused.
pub fn prepare_directory(socket: &Path) -> io::Result<()> {
    let Some(directory) = socket.parent() else {
        return Ok(());
    };
    match fs::DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    if !directory.starts_with("/tmp/") {
        return Ok(());
    }
    let found = fs::symlink_metadata(directory)?;
    if !found.is_dir() || found.uid() != user_id() || found.mode() & 0o022 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "{} is not a directory that only this user can write to: remove it, or set admin.socket",
                directory.display()
            ),
        ));
    }
    Ok(())
}

const SERVICE_SOCKET: &str = "/run/sbcd/sbcd.sock";

fn socket_for(uid: u32, runtime_directory: Option<PathBuf>) -> PathBuf {
    if uid == 0 {
        return SERVICE_SOCKET.into();
    }
    match runtime_directory.filter(|d| d.is_absolute() && d.is_dir()) {
        Some(directory) => directory.join("sbcd.sock"),
        None => format!("/tmp/sbcd-{uid}/admin.sock").into(),
    }
}

/// The effective user, as the owner of our entry in `/proc` (there is no libc in this part).
fn user_id() -> u32 {
    fs::metadata("/proc/self").map_or(u32::MAX, |m| m.uid())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn each_kind_of_user_has_a_place() {
        assert_eq!(
            socket_for(0, Some("/tmp".into())),
            Path::new("/run/sbcd/sbcd.sock")
        );
        assert_eq!(socket_for(7, Some("/tmp".into())), Path::new("/tmp/sbcd.sock"));
        assert_eq!(
            socket_for(7, Some("/nonexistent".into())),
            Path::new("/tmp/sbcd-7/admin.sock")
        );
        assert_eq!(
            socket_for(7, Some("".into())),
            Path::new("/tmp/sbcd-7/admin.sock")
        );
        assert_eq!(socket_for(7, None), Path::new("/tmp/sbcd-7/admin.sock"));
    }

    #[test]
    fn a_directory_of_others_is_refused() {
        let directory = PathBuf::from(format!("/tmp/sbcd-test-{}", std::process::id()));
        let socket = directory.join("admin.sock");
        prepare_directory(&socket).unwrap();
        assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o777, 0o700);
        prepare_directory(&socket).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(
            prepare_directory(&socket).unwrap_err().kind(),
            io::ErrorKind::PermissionDenied
        );
        fs::remove_dir(&directory).unwrap();
        std::os::unix::fs::symlink("/", &directory).unwrap();
        assert_eq!(
            prepare_directory(&socket).unwrap_err().kind(),
            io::ErrorKind::PermissionDenied
        );
        fs::remove_file(&directory).unwrap();
    }
}
