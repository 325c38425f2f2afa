//! Finds programs.

use std::path::{Path, PathBuf};

use anyhow::bail;

/// Where `make setup` installs the pinned servers, relative to the top of the repository.
const TOOLS_DIRECTORY: &str = ".tools/bin";

/// Returns the path of a server's program: the pinned one of the current directory or of the repository that this binary
/// was built in, else the one on the search path.
///
/// # Errors
/// When there is none; the text says how to install it.
pub(in crate::cli) fn find_server(name: &str) -> anyhow::Result<PathBuf> {
    let mut directories: Vec<PathBuf> = std::env::current_dir().into_iter().collect();
    if let Ok(program) = std::env::current_exe() {
        directories.extend(program.ancestors().skip(1).map(Path::to_path_buf));
    }
    let pinned = directories
        .into_iter()
        .map(|directory| directory.join(TOOLS_DIRECTORY).join(name))
        .find(|path| path.is_file());
    match pinned.or_else(|| find_on_path(name)) {
        Some(program) => Ok(program),
        None => {
            bail!("{name} is not installed: run `make setup` in the repository of order-router, or put it on the PATH")
        }
    }
}

/// Returns the first program of this name on the search path.
pub(in crate::cli) fn find_on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_for_a_missing_program_says_what_to_do() {
        let error = find_server("no-such-server").unwrap_err().to_string();
        assert!(error.contains("make setup"), "{error}");
        assert!(find_on_path("sh").is_some());
    }
}
