//! A file with a secret: only its owner may read it.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// The user id of the administrator.
const ADMINISTRATOR: u32 = 0;

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
/// them may be known, and closing it now would hide that. A file of the administrator (root) may be readable for one group:
/// that is how secrets are handed to a service.
///
/// # Errors
/// When the file cannot be read, is open to others, or is longer than `max_bytes`.
pub fn read_private_file(path: &Path, max_bytes: u64) -> Result<String, PrivateFileError> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let mode = metadata.permissions().mode() & 0o7777;
    let forbidden = match metadata.uid() {
        ADMINISTRATOR => 0o037,
        _ => 0o077,
    };
    if mode & forbidden != 0 {
        return Err(PrivateFileError::OpenToOthers(mode));
    }
    let mut text = String::new();
    file.take(max_bytes + 1).read_to_string(&mut text)?;
    if text.len() as u64 > max_bytes {
        return Err(PrivateFileError::TooLong(max_bytes));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;

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
}
