//! A copy of Redis' append-only file, to put Redis back to what it was at a moment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// Where Redis keeps the parts of its append-only file, below its directory.
const FILES: &str = "appendonlydir";
/// Where the copy is, beside it.
const COPY: &str = "appendonlydir-of-before";
/// How often a copy is begun again because Redis rewrote its file meanwhile.
const MAX_ATTEMPTS: u32 = 20;

/// The append-only file of one moment. Everything that Redis had answered by then is in it: Redis writes its file before it
/// answers.
#[derive(Debug)]
pub(in crate::chaos) struct AppendOnlyCopy {
    files: PathBuf,
    copy: PathBuf,
}

impl AppendOnlyCopy {
    /// Copies the append-only file of a Redis that runs in this directory.
    ///
    /// # Errors
    /// When it cannot be copied, or Redis rewrites it all the time.
    pub(in crate::chaos) fn take(directory: &Path) -> anyhow::Result<Self> {
        let copy = Self {
            files: directory.join(FILES),
            copy: directory.join(COPY),
        };
        for _ in 0..MAX_ATTEMPTS {
            if copy.is_taken().unwrap_or(false) {
                return Ok(copy);
            }
        }
        bail!("{} could not be copied as a whole", copy.files.display())
    }

    /// Copies every part. Reports whether they belong together: of the same parts, only the newest grows.
    fn is_taken(&self) -> anyhow::Result<bool> {
        if self.copy.exists() {
            std::fs::remove_dir_all(&self.copy)?;
        }
        std::fs::create_dir(&self.copy)?;
        let before = manifests(&self.files)?;
        for part in std::fs::read_dir(&self.files)? {
            let part = part?;
            std::fs::copy(part.path(), self.copy.join(part.file_name()))?;
        }
        Ok(before == manifests(&self.files)? && before == manifests(&self.copy)?)
    }

    /// Replaces the append-only file of the Redis, which does not run, by the copy. Returns how many bytes it is shorter or
    /// longer.
    ///
    /// # Errors
    /// When the files cannot be replaced.
    pub(in crate::chaos) fn put_back(self) -> anyhow::Result<u64> {
        let of_now = length(&self.files)?;
        let replaced = std::fs::remove_dir_all(&self.files).and_then(|()| std::fs::rename(&self.copy, &self.files));
        replaced.with_context(|| format!("replacing {}", self.files.display()))?;
        Ok(of_now.abs_diff(length(&self.files)?))
    }
}

/// Returns the manifests, which name the parts.
fn manifests(directory: &Path) -> anyhow::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for part in std::fs::read_dir(directory)? {
        let path = part?.path();
        if let Some(name) = path
            .file_name()
            .filter(|_| path.extension().is_some_and(|end| end == "manifest"))
        {
            found.insert(PathBuf::from(name), std::fs::read(&path)?);
        }
    }
    Ok(found)
}

fn length(directory: &Path) -> anyhow::Result<u64> {
    let mut total = 0;
    for part in std::fs::read_dir(directory)? {
        total += part?.metadata()?.len();
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn put_back_file_is_the_one_of_the_copy() {
        let directory = std::env::temp_dir().join(format!("append-only-{}", uuid::Uuid::new_v4().simple()));
        let files = directory.join(FILES);
        std::fs::create_dir_all(&files).unwrap();
        let part = files.join("appendonly.aof.1.incr.aof");
        std::fs::write(
            files.join("appendonly.aof.manifest"),
            "file appendonly.aof.1.incr.aof seq 1 type i\n",
        )
        .unwrap();
        std::fs::write(&part, "before").unwrap();
        let copy = AppendOnlyCopy::take(&directory).unwrap();
        std::fs::write(&part, "before, and after").unwrap();
        std::fs::write(files.join("appendonly.aof.2.incr.aof"), "new").unwrap();
        assert_eq!(copy.put_back().unwrap(), 14);
        assert_eq!(std::fs::read_to_string(&part).unwrap(), "before");
        assert_eq!(std::fs::read_dir(&files).unwrap().count(), 2);
        assert!(!directory.join(COPY).exists());
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
