//! Which files a configuration was made of, and what they held: so that somebody can look again.
//!
//! Contents are compared, not dates: what a mounted ConfigMap or Secret shows changes when a symbolic link far up the path
//! does, and a file that is copied may keep its date.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// Files by name, each with the SHA-256 of what it held; `None`: it could not be read, or was no regular file. Those are
/// not opened: a pipe can be read once.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Files(BTreeMap<PathBuf, Option<[u8; 32]>>);

impl Files {
    /// Looks at a file, if that did not happen already. Called before the file is read for what is in it: whatever changes
    /// from then on is seen the next time.
    pub(super) fn note(&mut self, path: &Path) {
        if !self.0.contains_key(path) {
            self.0.insert(path.to_owned(), hash(path));
        }
    }

    /// What a file held.
    pub(super) fn held(&self, path: &Path) -> Option<[u8; 32]> {
        self.0.get(path).copied().flatten()
    }

    /// Their names.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }

    /// What the same files hold now. Blocks.
    #[must_use]
    pub fn look_again(&self) -> Self {
        Self(self.0.keys().map(|path| (path.clone(), hash(path))).collect())
    }

    /// Those that hold something else than they did, or that were not looked at then.
    pub fn changed_since<'f>(&'f self, earlier: &'f Self) -> impl Iterator<Item = &'f Path> {
        self.0.iter().filter(|(path, held)| earlier.0.get(*path) != Some(held)).map(|(path, _)| path.as_path())
    }
}

fn hash(path: &Path) -> Option<[u8; 32]> {
    let read = || -> io::Result<Option<[u8; 32]>> {
        if !fs::metadata(path)?.is_file() {
            return Ok(None);
        }
        let mut file = File::open(path)?;
        let (mut hash, mut room) = (Sha256::new(), zeroize::Zeroizing::new([0; 8192]));
        loop {
            match file.read(&mut room[..])? {
                0 => return Ok(Some(hash.finalize().into())),
                length => hash.update(room.get(..length).unwrap_or_default()),
            }
        }
    };
    read().ok().flatten()
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn content_counts_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("one"), "1").unwrap();
        let mut files = Files::default();
        for name in ["one", "none", "."] {
            files.note(&path(name));
        }
        let now = || files.look_again();
        let changed = |now: &Files| now.changed_since(&files).map(Path::to_owned).collect::<Vec<_>>();
        assert_eq!(now(), files);
        // Written again, and another file under the same name.
        fs::write(path("one"), "1").unwrap();
        assert_eq!(now(), files);
        fs::write(path("other"), "1").unwrap();
        fs::rename(path("other"), path("one")).unwrap();
        assert_eq!(now(), files);
        fs::write(path("one"), "2").unwrap();
        assert_eq!(changed(&now()), [path("one")]);
        fs::remove_file(path("one")).unwrap();
        fs::write(path("none"), "").unwrap();
        assert_eq!(changed(&now()), [path("none"), path("one")]);
    }

    #[test]
    fn a_link_far_up_the_path_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (name, text) in [("v1", "old"), ("v2", "new")] {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join("key"), text).unwrap();
        }
        symlink("v1", path("..data")).unwrap();
        symlink("..data/key", path("key")).unwrap();
        let mut files = Files::default();
        files.note(&path("key"));
        symlink("v2", path("..next")).unwrap();
        fs::rename(path("..next"), path("..data")).unwrap();
        assert_ne!(files.look_again(), files);
    }

    #[test]
    fn what_a_file_held_is_not_shown() {
        let mut files = Files::default();
        files.note(Path::new("/nonexistent"));
        assert_eq!(format!("{files:?}"), r#"{"/nonexistent"}"#);
    }
}
