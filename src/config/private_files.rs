//! Files and directories below `data_dir`, and files with secrets: only their owner may read them.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

pub use order_router_client::config::private_file::{PrivateFileError, read_private_file};

/// The mode of a directory of data.
const DIRECTORY_MODE: u32 = 0o700;
/// The mode of a file of data.
const FILE_MODE: u32 = 0o600;

/// Creates a directory and its missing parents for their owner alone. One that exists is closed to others; its parents
/// that exist stay as they are.
///
/// # Errors
/// When the file system refuses.
pub fn create_private_directory(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)?;
    close_to_others(path, DIRECTORY_MODE)
}

/// Opens a file for reading and writing, and creates it for its owner alone if it is missing. One that exists is closed to
/// others.
///
/// # Errors
/// When the file system refuses.
pub fn open_private_file(path: &Path) -> std::io::Result<File> {
    open_with(path, OpenOptions::new().read(true).write(true))
}

/// Opens a file for appending, as [`open_private_file`] does.
///
/// # Errors
/// When the file system refuses.
pub fn append_to_private_file(path: &Path) -> std::io::Result<File> {
    open_with(path, OpenOptions::new().append(true))
}

fn open_with(path: &Path, options: &mut OpenOptions) -> std::io::Result<File> {
    let file = options.create(true).truncate(false).mode(FILE_MODE).open(path)?;
    close_to_others(path, FILE_MODE)?;
    Ok(file)
}

/// Sets a mode where more is allowed: by another umask, or an earlier version of the program.
fn close_to_others(path: &Path, mode: u32) -> std::io::Result<()> {
    let found = std::fs::metadata(path)?.permissions().mode();
    if found & 0o077 == 0 {
        return Ok(());
    }
    std::fs::set_permissions(path, Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn new_and_existing_data_is_closed_to_others() {
        let root = tempfile::tempdir().unwrap();
        std::fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
        let (parent, directory) = (root.path().join("a"), root.path().join("a/b"));
        create_private_directory(&directory).unwrap();
        assert_eq!([root.path(), &parent, &directory].map(mode), [0o755, 0o700, 0o700]);
        let file = directory.join("file");
        std::fs::write(&file, "kept").unwrap();
        for path in [&directory, &file] {
            std::fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
        }
        create_private_directory(&directory).unwrap();
        open_private_file(&file).unwrap();
        append_to_private_file(&directory.join("log")).unwrap();
        assert_eq!(
            [&directory, &file, &directory.join("log")].map(|path| mode(path)),
            [0o700, 0o600, 0o600]
        );
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
    }
}
