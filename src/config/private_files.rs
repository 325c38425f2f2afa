//! Files and directories below `data_dir`, and files with secrets: only their owner may read them.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

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

/// Why the text of a private file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// The file system refuses, or the text is not UTF-8.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Others than its owner may read or write the file; holds its mode.
    #[error("its mode is {0:o}: only its owner may read it (chmod 600)")]
    OpenToOthers(u32),
    /// The file is longer than this many bytes.
    #[error("it is longer than {0} bytes")]
    TooLong(u64),
}

/// Reads the text of a file with a secret, which must be closed to others already: the secret of a file that was open to
/// them may be known, and closing it now would hide that.
///
/// # Errors
/// When the file cannot be read, is open to others, or is longer than `max_bytes`.
pub fn read_private_file(path: &Path, max_bytes: u64) -> Result<String, PrivateFileError> {
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(PrivateFileError::OpenToOthers(mode));
    }
    let mut text = String::new();
    file.take(max_bytes + 1).read_to_string(&mut text)?;
    if text.len() as u64 > max_bytes {
        return Err(PrivateFileError::TooLong(max_bytes));
    }
    Ok(text)
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
    fn a_secret_is_read_only_from_a_short_file_that_is_closed_to_others() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("secret");
        std::fs::write(&path, "12345678").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            read_private_file(&path, 8),
            Err(PrivateFileError::OpenToOthers(0o644))
        ));
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read_private_file(&path, 8).unwrap(), "12345678");
        assert!(matches!(read_private_file(&path, 7), Err(PrivateFileError::TooLong(7))));
        assert!(matches!(
            read_private_file(&root.path().join("none"), 8),
            Err(PrivateFileError::Io(_))
        ));
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
