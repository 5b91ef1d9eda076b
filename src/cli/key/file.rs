//! New files, whole or not at all; private ones are never readable by others, not even for a moment.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
#[cfg(unix)]
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Its owner: mode 0600.
    Owner,
    /// Whom the umask lets: mode 0644.
    Everyone,
}

/// Whether [`write`] could put a file there. Does not reserve the place.
///
/// # Errors
/// A file exists and `force` is not set, or what exists is not a regular file.
pub fn check_vacant(path: &Path, force: bool) -> anyhow::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(_) if !force => bail!("{} exists; --force replaces it", path.display()),
        // A device or a link is somebody's arrangement, and replacing it would undo that.
        Ok(found) if !found.is_file() => bail!("{} is not a regular file", path.display()),
        _ => Ok(()),
    }
}

/// Makes a file, or with `force` replaces one.
///
/// # Errors
/// What [`check_vacant`] refuses, and what the system says.
pub fn write(path: &Path, content: &[u8], access: Access, force: bool) -> anyhow::Result<()> {
    Draft::write(path, content, access, force)?.keep()
}

/// A file that is written and vanishes again unless it is kept, so that several come to be together or not at all.
pub struct Draft<'p> {
    path: &'p Path,
    /// Where it lies: in its place, or beside what it replaces.
    lies: PathBuf,
    kept: bool,
}

impl<'p> Draft<'p> {
    /// Writes it; with `force`, what is in its place stays there for now.
    ///
    /// # Errors
    /// As [`write`].
    pub fn write(path: &'p Path, content: &[u8], access: Access, force: bool) -> anyhow::Result<Self> {
        let cannot_write = || format!("cannot write {}", path.display());
        check_vacant(path, force)?;
        let lies = if force { beside(path) } else { path.to_owned() };
        let mut file = create(&lies, access).with_context(cannot_write)?;
        // From here on there is something to take away.
        let draft = Self { path, lies, kept: false };
        file.write_all(content).with_context(cannot_write)?;
        Ok(draft)
    }

    /// Puts it in its place for good.
    ///
    /// # Errors
    /// What the system says; then it is gone, and what was there is there.
    pub fn keep(mut self) -> anyhow::Result<()> {
        if self.lies != self.path {
            fs::rename(&self.lies, self.path).with_context(|| format!("cannot write {}", self.path.display()))?;
        }
        self.kept = true;
        Ok(())
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.kept {
            // There is nobody to tell that it stays.
            let _ = fs::remove_file(&self.lies);
        }
    }
}

/// Whether both name one file, there or not.
pub fn are_same(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Some((fs::canonicalize(folder).ok()?, path.file_name()?.to_owned()))
    };
    one == other || place(one).is_some_and(|one| place(other) == Some(one))
}

fn create(path: &Path, access: Access) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    options.mode(match access {
        Access::Owner => 0o600,
        Access::Everyone => 0o644,
    });
    #[cfg(not(unix))]
    let _ = access;
    options.open(path)
}

/// A name in the same folder, so that renaming stays within one file system.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_private_file_is_its_owners_even_when_it_replaces_an_open_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        write(&path, b"one", Access::Owner, false).unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"one".to_vec(), 0o600));
        assert!(write(&path, b"two", Access::Owner, false).unwrap_err().to_string().contains("--force"));
        assert_eq!(fs::read(&path).unwrap(), b"one");

        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        write(&path, b"three", Access::Owner, true).unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"three".to_vec(), 0o600));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn a_draft_that_is_not_kept_leaves_everything_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        fs::write(&old, b"mine").unwrap();
        for (path, force) in [(&old, true), (&new, false), (&new, true)] {
            drop(Draft::write(path, b"x", Access::Owner, force).unwrap());
            assert_eq!(fs::read(&old).unwrap(), b"mine");
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        }
        // Not its own file: it was never made.
        assert!(Draft::write(&old, b"x", Access::Owner, false).is_err());
        assert_eq!(fs::read(&old).unwrap(), b"mine");
    }

    #[test]
    fn one_file_has_several_names() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("below");
        fs::create_dir(&below).unwrap();
        let file = folder.path().join("file");
        assert!(are_same(Path::new("x"), Path::new("./x")));
        assert!(are_same(&file, &below.join("../file")));
        assert!(!are_same(&file, &below.join("file")));
        assert!(!are_same(&file, Path::new("file")));
        assert!(are_same(Path::new("nowhere/x"), Path::new("nowhere/x")));
    }

    #[test]
    fn what_is_no_regular_file_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        fs::write(&target, b"mine").unwrap();
        symlink(&target, &link).unwrap();
        for path in [folder.path(), &link, Path::new("/dev/null")] {
            assert!(write(path, b"x", Access::Owner, true).is_err(), "{}", path.display());
        }
        assert_eq!(fs::read(&target).unwrap(), b"mine");
    }
}
