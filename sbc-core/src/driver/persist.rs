//! The configuration file, replaced as a whole.
//!
//! In: its path and a text. Out: a file that holds either the old text or the new one, whenever the process or the
//! machine stops: the new one is written beside it, is on the disk before it takes the name, and the name is on the disk
//! before anybody is told.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

/// Put `text` in the place of the file at `path`, of which the owner and the permissions stay.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    // The file itself, where the path is a link to it.
    let path = fs::canonicalize(path)?;
    let before = fs::metadata(&path)?;
    let new_path = beside(&path);
    let written = write(&new_path, &before, text);
    let renamed = written.and_then(|()| fs::rename(&new_path, &path));
    if let Err(error) = renamed {
        // It is ours, and of no use to anybody.
        let _ = fs::remove_file(&new_path);
        return Err(error);
    }
    if let Err(error) = sync_directory(&path) {
        // It has the name. A machine that stops now may have the old one, which is whole, too.
        tracing::warn!(
            "{}: its directory cannot be brought to the disk: {error}",
            path.display()
        );
    }
    Ok(())
}

fn write(path: &Path, like: &fs::Metadata, text: &str) -> io::Result<()> {
    // One that an end in the middle has left behind.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let ours = file.metadata()?;
    if (ours.uid(), ours.gid()) != (like.uid(), like.gid()) {
        fchown(&file, Some(like.uid()), Some(like.gid()))?;
    }
    file.set_permissions(fs::Permissions::from_mode(like.mode() & 0o7777))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Where the new text is written first: in the same directory, because a name moves within one file system only.
pub(super) fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

/// Have the name of the file at `path` on the disk.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

/// Add a line to the file at `path`, and have it on the disk.
pub(super) fn append(path: &Path, line: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    file.write_all(format!("{line}\n").as_bytes())?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_and_links_stay() {
        let directory = std::env::temp_dir().join(format!("sbcd-persist-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        let (file, link) = (directory.join("sbc.toml"), directory.join("link.toml"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        // What another process has left.
        fs::write(beside(&file), "half of").unwrap();
        replace(&link, "new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(!beside(&file).exists());
        append(&directory.join("log"), "one").unwrap();
        append(&directory.join("log"), "two").unwrap();
        assert_eq!(fs::read_to_string(directory.join("log")).unwrap(), "one\ntwo\n");
        assert!(replace(&directory.join("nothing"), "x").is_err());
        fs::remove_dir_all(&directory).unwrap();
    }
}
