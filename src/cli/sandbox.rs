//! What `keybound serve` takes from itself before it hears a client: every file that it does not need (Landlock,
//! landlock(7)). Whoever takes the process over can read no other file, change none, start no program and signal nobody.
//!
//! A rule names an inode, and can only be taken away, never added: so folders are allowed, not files. In the folders of
//! the configuration's files a renewed certificate finds its place, by a new name or by a symbolic link; folders that
//! programs share, such as `/etc`, are not allowed as a whole.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use keybound::accept::Address;
use keybound::config::Files;
use keybound::gateway::Settings;
use keybound::keys::KeySource;
use landlock::{
    ABI, Access as _, AccessFs, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _,
    RulesetStatus, Scope,
};

/// Folders in which everybody keeps something: of these, a file is allowed by itself.
const SHARED: [&str; 24] = [
    "/", "/bin", "/boot", "/dev", "/etc", "/etc/pki", "/etc/ssl", "/home", "/lib", "/lib64", "/media", "/mnt", "/opt",
    "/proc", "/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var", "/var/lib", "/var/run",
];

/// Where the C library looks for addresses of names (getaddrinfo(3)).
const NAMES: [&str; 6] =
    ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf", "/etc/services"];

/// What else a gateway asks its system for, none of it secret: modules that the C library loads when it is first asked for
/// a name; figures of this process; what a container may use; what links to the system's authorities point to.
const SYSTEM: [&str; 11] = [
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/etc/ld.so.cache",
    "/proc/self",
    "/proc/stat",
    "/sys/fs/cgroup",
    "/sys/devices/system/cpu",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
];

/// Whether there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Wanted {
    /// As much of it as this kernel has; what is missing is logged.
    Auto,
    /// Do not start without all that `keybound` asks for.
    Required,
    /// None.
    Off,
}

/// What may still be done with files.
#[derive(Debug, Args)]
pub struct SandboxArgs {
    /// Whether the process gives up all files but those of its configuration (Landlock, Linux 5.13 or newer).
    #[arg(long, value_enum, default_value_t = Wanted::Auto, value_name = "WHEN")]
    sandbox: Wanted,
    /// A file or folder that a later configuration may name, and none does now. Repeatable.
    #[arg(long, value_name = "PATH")]
    may_read: Vec<PathBuf>,
}

/// What a process needs of the file system.
#[derive(Debug, Default, PartialEq, Eq)]
struct Needs {
    read: BTreeSet<PathBuf>,
    /// Folders in which it makes sockets and removes them.
    sockets: BTreeSet<PathBuf>,
}

impl Needs {
    fn of(files: &Files, settings: &Settings, may_read: &[PathBuf]) -> anyhow::Result<Self> {
        let mut needs = Self::default();
        let of_issuers = settings.issuers.iter().filter_map(|issuer| match &issuer.source {
            KeySource::File(path) => Some(path.as_path()),
            KeySource::Discover | KeySource::Uri(_) => None,
        });
        for file in files.paths().chain(of_issuers).chain(NAMES.map(Path::new)) {
            needs.read_file(file)?;
        }
        let authorities = openssl_probe::probe();
        if let Some(file) = &authorities.cert_file {
            needs.read_file(file)?;
        }
        needs.read.extend(authorities.cert_dir);
        needs.read.extend(SYSTEM.map(PathBuf::from));
        needs.read.extend(may_read.iter().cloned());
        if let Address::Unix(path) = &settings.admin.address {
            needs.sockets.extend(absolute(path)?.parent().map(Path::to_owned));
        }
        Ok(needs)
    }

    /// Allows the folder in which its name is, and that in which it is itself: behind a symbolic link they differ, and
    /// either may show another file tomorrow.
    fn read_file(&mut self, file: &Path) -> anyhow::Result<()> {
        let name = absolute(file)?;
        // What is not there, or not yet, has a name all the same.
        for path in [fs::canonicalize(&name).ok(), Some(name)].into_iter().flatten() {
            let folder = path.parent().filter(|folder| !is_shared(folder)).map(Path::to_owned);
            self.read.insert(folder.unwrap_or(path));
        }
        Ok(())
    }
}

fn is_shared(folder: &Path) -> bool {
    SHARED.iter().any(|shared| folder == Path::new(shared)) || folder.parent() == Some(Path::new("/home"))
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("{} has no absolute path", path.display()))
}

/// What the process gave up. To be kept for as long as it runs.
#[derive(Debug)]
pub struct Sandbox {
    state: State,
    /// What a name leads to must stay the inode that the rule is about: of what is in `/proc` another one is made when
    /// nobody holds the last.
    _held: Vec<PathFd>,
}

/// How much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Off,
    Absent,
    /// An older kernel than this program knows.
    Part,
    Whole,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Absent => "absent",
            Self::Part => "part",
            Self::Whole => "whole",
        })
    }
}

impl SandboxArgs {
    /// Gives up what `settings`, made of `files`, do not need. For the calling thread and all that it will start: to be
    /// called while it is the only one.
    ///
    /// # Errors
    /// The sandbox is required and cannot be had, or a path that may be read is not there.
    pub fn enter(&self, files: &Files, settings: &Settings) -> anyhow::Result<Sandbox> {
        if self.sandbox == Wanted::Off {
            return Ok(Sandbox { state: State::Off, _held: Vec::new() });
        }
        for path in &self.may_read {
            fs::metadata(path).with_context(|| format!("--may-read {}", path.display()))?;
        }
        let sandbox =
            restrict(&Needs::of(files, settings, &self.may_read)?).context("the sandbox cannot be entered")?;
        let fits = self.sandbox == Wanted::Auto || sandbox.state == State::Whole;
        ensure!(fits, "--sandbox required: Landlock is {} in this kernel, or in this container", sandbox.state);
        Ok(sandbox)
    }
}

/// Never asks for less than it could have.
fn restrict(needs: &Needs) -> anyhow::Result<Sandbox> {
    let mut rules = Ruleset::default().handle_access(AccessFs::from_all(ABI::V5))?.scope(Scope::Signal)?.create()?;
    let mut held = Vec::new();
    for (paths, folder, file) in [
        (&needs.read, AccessFs::ReadFile | AccessFs::ReadDir, AccessFs::ReadFile.into()),
        (&needs.sockets, AccessFs::MakeSock | AccessFs::RemoveFile, BitFlags::EMPTY),
    ] {
        for path in paths {
            // What is not there is not allowed, should it come.
            let (Ok(found), Ok(place)) = (fs::metadata(path), PathFd::new(path)) else { continue };
            rules = rules.add_rule(PathBeneath::new(&place, if found.is_dir() { folder } else { file }))?;
            held.push(place);
        }
    }
    let state = match rules.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => State::Whole,
        RulesetStatus::PartiallyEnforced => State::Part,
        RulesetStatus::NotEnforced => State::Absent,
    };
    Ok(Sandbox { state, _held: held })
}

impl Sandbox {
    /// Tells how much of it there is.
    pub fn log(&self) {
        let state = self.state;
        match state {
            State::Whole => tracing::info!(%state, "sandbox"),
            State::Part => tracing::info!(%state, "sandbox: a newer kernel could take more from this process"),
            State::Absent => tracing::warn!(%state, "sandbox: this kernel or container has no Landlock"),
            State::Off => tracing::warn!(%state, "sandbox: this process may read whatever its user may"),
        }
    }

    /// Tells which of the files that a configuration names it keeps from being read.
    pub fn explain(&self, files: &Files) {
        for file in files.paths().filter(|file| self.hides(file)) {
            tracing::error!(
                file = %file.display(),
                "a file of the configuration may not be read; where its own permissions allow it, the sandbox does not: it was \
                 made of the files that were named at the start. Restart, or start with --may-read and its folder"
            );
        }
    }

    /// Tells, once, which files by which names get addresses were put in place of those that were there at the start, and
    /// cannot be read. `told` is what was hidden when this was last asked.
    pub fn tell_hidden_names(&self, told: &mut Vec<&'static str>) {
        let hidden: Vec<_> = NAMES.into_iter().filter(|name| self.hides(Path::new(name))).collect();
        for file in hidden.iter().filter(|file| !told.contains(file)) {
            tracing::error!(
                file,
                "the sandbox hides this new file from the C library, which resolves names without it. Restart"
            );
        }
        *told = hidden;
    }

    fn hides(&self, file: &Path) -> bool {
        let there = matches!(self.state, State::Part | State::Whole);
        there && File::open(file).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn allowed_for(file: &Path) -> Vec<PathBuf> {
        let mut needs = Needs::default();
        needs.read_file(file).unwrap();
        needs.read.into_iter().collect()
    }

    #[test]
    fn a_folder_of_its_own_is_allowed_and_a_shared_one_is_not() {
        for (file, allowed) in [
            ("/etc/keybound/keybound.yaml", "/etc/keybound"),
            ("/etc/keybound.yaml", "/etc/keybound.yaml"),
            ("/etc/ssl/api.pem", "/etc/ssl/api.pem"),
            ("/keybound.yaml", "/keybound.yaml"),
            ("/config/keybound.yaml", "/config"),
            ("/root/keybound.yaml", "/root/keybound.yaml"),
            ("/home/somebody/keybound.yaml", "/home/somebody/keybound.yaml"),
            ("/home/somebody/keybound/keybound.yaml", "/home/somebody/keybound"),
            ("/run/credentials/keybound.service/tls.key", "/run/credentials/keybound.service"),
            ("/run/secrets/tls.key", "/run/secrets"),
        ] {
            assert_eq!(allowed_for(Path::new(file)), [Path::new(allowed)], "{file}");
        }
        let here = std::env::current_dir().unwrap();
        assert_eq!(allowed_for(Path::new("keybound.yaml")), [here.as_path()]);
        assert_eq!(allowed_for(Path::new("config/keybound.yaml")), [here.join("config")]);
    }

    #[test]
    fn both_ends_of_a_link_are_allowed() {
        let (names, archive) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let [names, archive] = [&names, &archive].map(|folder| fs::canonicalize(folder).unwrap());
        fs::write(archive.join("key1.pem"), "").unwrap();
        symlink(archive.join("key1.pem"), names.join("key.pem")).unwrap();
        let mut wanted = [names.clone(), archive];
        wanted.sort();
        assert_eq!(allowed_for(&names.join("key.pem")), wanted);
    }
}
