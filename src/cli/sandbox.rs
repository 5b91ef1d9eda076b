//! What `keybound serve` takes from itself before it hears a client: the content of every file that it does not need
//! (Landlock, landlock(7)). Whoever takes the process over can read no other file, write none, start none as a program and
//! signal nobody.
//!
//! A rule names an inode, and can only be taken away, never added: so folders are allowed, not files. In the folders of
//! the configuration's files a renewed certificate finds its place, by a new name or by a symbolic link; folders that
//! programs share, such as `/etc`, are not allowed as a whole.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::{env, fmt, io};

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use keybound::accept::{Address, LocalListener, PassedSockets};
use keybound::config::Files;
use keybound::gateway::Settings;
use keybound::keys::KeySource;
use landlock::{
    ABI, Access as _, AccessFs, PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus,
    Scope,
};

/// Folders in which everybody keeps something: of these, a file is allowed by itself.
const SHARED: &str = "/ /bin /boot /dev /dev/shm /etc /etc/pki /etc/pki/tls /etc/pki/tls/private /etc/ssl /etc/ssl/private /home /lib \
    /lib64 /media /mnt /opt /proc /root /run /run/secrets /run/user /sbin /srv /sys /tmp /usr /usr/lib /usr/local /usr/local/etc \
    /usr/share /var /var/lib /var/run /var/run/secrets /var/tmp";

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
#[derive(Debug, Default)]
struct Needs {
    read: BTreeSet<PathBuf>,
    /// Of these, files that are allowed by themselves.
    alone: BTreeSet<PathBuf>,
    /// The folder in which it makes a socket.
    socket: Option<PathBuf>,
    /// Whether it may remove it in the end: nothing but the socket is there.
    removes: bool,
}

impl Needs {
    fn of(files: &Files, settings: &Settings, passed: &PassedSockets, may_read: &[PathBuf]) -> anyhow::Result<Self> {
        let mut needs = Self::default();
        let shared = Shared::find();
        let key_files = key_files(settings);
        for file in files.paths().chain(key_files.iter().map(PathBuf::as_path)) {
            needs.read_file(file, &shared)?;
        }
        let admin = &settings.admin.address;
        if let (Address::Unix(path), false) = (admin, passed.has(admin)) {
            let folder = folder_of(&absolute(path)?);
            needs.removes = !shared.has(&folder) && !needs.read.contains(&folder);
            needs.socket = Some(folder);
        }
        // From here on, what is not the configuration's.
        let alone = needs.alone.clone();
        for name in NAMES {
            needs.read_file(Path::new(name), &shared)?;
        }
        for file in authorities() {
            needs.read_file(&file, &shared)?;
        }
        needs.read.extend(SYSTEM.map(PathBuf::from));
        needs.read.extend(may_read.iter().cloned());
        Ok(Self { alone, ..needs })
    }

    /// Allows the folder in which its name is, and that in which it is itself: behind a symbolic link they differ, and
    /// either may show another file tomorrow.
    fn read_file(&mut self, file: &Path, shared: &Shared) -> anyhow::Result<()> {
        let name = absolute(file)?;
        let name = folder_of(&name).join(name.file_name().unwrap_or_default());
        // What is not there, or not yet, has a name all the same.
        for path in [fs::canonicalize(&name).ok(), Some(name)].into_iter().flatten() {
            match path.parent() {
                Some(folder) if !shared.has(folder) => self.read.insert(folder.to_owned()),
                _ => self.alone.insert(path.clone()) | self.read.insert(path),
            };
        }
        Ok(())
    }
}

/// Those of the shared folders that are here, by their true names.
struct Shared {
    folders: BTreeSet<PathBuf>,
    homes: PathBuf,
}

impl Shared {
    fn find() -> Self {
        let truly = |name: &str| fs::canonicalize(name).unwrap_or_else(|_| name.into());
        Self { folders: SHARED.split_ascii_whitespace().map(truly).collect(), homes: truly("/home") }
    }

    fn has(&self, folder: &Path) -> bool {
        self.folders.contains(folder) || folder.parent() == Some(&self.homes)
    }
}

/// Without links and `..`, if it is there.
fn folder_of(path: &Path) -> PathBuf {
    let folder = path.parent().unwrap_or(path);
    fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned())
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("{} has no absolute path", path.display()))
}

/// JWK sets, which somebody else than the configuration reads again.
pub fn key_files(settings: &Settings) -> Vec<PathBuf> {
    let files = settings.issuers.iter().filter_map(|issuer| match &issuer.source {
        KeySource::File(path) => Some(path.clone()),
        KeySource::Discover | KeySource::Uri(_) => None,
    });
    files.collect()
}

/// The files of certificate authorities that the system trusts, where rustls-native-certs looks.
fn authorities() -> Vec<PathBuf> {
    let probed = openssl_probe::probe();
    let named = env::var_os("SSL_CERT_DIR").map(|folders| env::split_paths(&folders).collect());
    let folders: Vec<PathBuf> = named.unwrap_or(probed.cert_dir);
    let within = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    probed.cert_file.into_iter().chain(within.map(|entry| entry.path())).collect()
}

/// What the process gave up. To be kept for as long as it runs.
#[derive(Debug)]
pub struct Sandbox {
    state: State,
    /// Files of the configuration that are allowed by themselves.
    alone: BTreeSet<PathBuf>,
    key_files: Vec<PathBuf>,
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
    pub fn enter(&self, files: &Files, settings: &Settings, passed: &PassedSockets) -> anyhow::Result<Sandbox> {
        if self.sandbox == Wanted::Off {
            return Ok(Sandbox { state: State::Off, alone: BTreeSet::new(), key_files: Vec::new(), _held: Vec::new() });
        }
        for path in &self.may_read {
            fs::metadata(path).with_context(|| format!("--may-read {}", path.display()))?;
        }
        let needs = Needs::of(files, settings, passed, &self.may_read)?;
        if let (Address::Unix(path), Some(_), false) = (&settings.admin.address, &needs.socket, needs.removes) {
            LocalListener::clear(path);
        }
        let (state, held) = restrict(&needs).context("the sandbox cannot be entered")?;
        let fits = self.sandbox == Wanted::Auto || state == State::Whole;
        ensure!(fits, "--sandbox required: Landlock is {state} in this kernel, or in this container");
        Ok(Sandbox { state, alone: needs.alone, key_files: key_files(settings), _held: held })
    }
}

/// Never asks for less than it could have.
fn restrict(needs: &Needs) -> anyhow::Result<(State, Vec<PathFd>)> {
    // A supervisor may be told over such a socket.
    let supervised = env::var_os("NOTIFY_SOCKET").is_some_and(|name| name.as_encoded_bytes().starts_with(b"@"));
    let scopes = if supervised { Scope::Signal.into() } else { Scope::Signal | Scope::AbstractUnixSocket };
    let mut rules = Ruleset::default().handle_access(AccessFs::from_all(ABI::V5))?.scope(scopes)?.create()?;
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    let making = if needs.removes { AccessFs::MakeSock | AccessFs::RemoveFile } else { AccessFs::MakeSock.into() };
    let mut held = Vec::new();
    for (path, access) in
        needs.read.iter().map(|path| (path, reading)).chain(needs.socket.iter().map(|path| (path, making)))
    {
        // What is not there is not allowed, should it come; what is no file, such as a pipe, needs nobody's leave.
        let (Ok(found), Ok(place)) = (fs::metadata(path), PathFd::new(path)) else { continue };
        if found.is_dir() {
            rules = rules.add_rule(PathBeneath::new(&place, access))?;
        } else if found.is_file() {
            rules = rules.add_rule(PathBeneath::new(&place, AccessFs::ReadFile))?;
        }
        held.push(place);
    }
    let state = match rules.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => State::Whole,
        RulesetStatus::PartiallyEnforced => State::Part,
        RulesetStatus::NotEnforced => State::Absent,
    };
    Ok((state, held))
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
        for file in self.alone.iter().filter(|_| self.is_there()) {
            let file = file.display();
            tracing::warn!(%file, "this file lies where others keep theirs: written anew it is read again, replaced it is not");
        }
    }

    /// From now on the JWK sets of the configuration in force are these.
    pub fn follow(&mut self, key_files: Vec<PathBuf>) {
        self.key_files = key_files;
    }

    /// Files that nobody reports when they are hidden: those by which names get addresses, and JWK sets.
    pub fn unreported(&self) -> Vec<PathBuf> {
        if !self.is_there() {
            return Vec::new();
        }
        NAMES.into_iter().map(PathBuf::from).chain(self.key_files.iter().cloned()).collect()
    }

    /// Tells which of the files that a configuration names it keeps from being read.
    pub fn explain(&self, files: &Files) {
        for file in files.paths().filter(|file| self.is_there() && is_hidden(file)) {
            tracing::error!(
                file = %file.display(),
                "a file of the configuration may not be read; where its own permissions allow it, the sandbox does not: it was \
                 made of the files that were named at the start. Restart, or start with --may-read and its folder"
            );
        }
    }

    const fn is_there(&self) -> bool {
        matches!(self.state, State::Part | State::Whole)
    }
}

/// Whether a file is there and may not be read. Blocks; what is no file, such as a pipe, is not opened.
pub fn is_hidden(file: &Path) -> bool {
    let is_file = fs::metadata(file).is_ok_and(|found| found.is_file());
    is_file && File::open(file).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::Command;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn allowed_for(file: &Path) -> Vec<PathBuf> {
        let mut needs = Needs::default();
        needs.read_file(file, &Shared::find()).unwrap();
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
            ("/run/secrets/tls.key", "/run/secrets/tls.key"),
            ("/run/secrets/keybound/tls.key", "/run/secrets/keybound"),
            ("/etc/../etc/ssl/../api.pem", "/etc/api.pem"),
            ("/usr/../tmp/api.pem", "/tmp/api.pem"),
        ] {
            assert_eq!(allowed_for(Path::new(file)), [Path::new(allowed)], "{file}");
        }
        let here = fs::canonicalize(".").unwrap();
        assert_eq!(allowed_for(Path::new("keybound.yaml")), [here.as_path()]);
        assert_eq!(allowed_for(Path::new("config/keybound.yaml")), [here.join("config")]);
    }

    #[test]
    fn a_link_to_a_shared_folder_is_that_folder() {
        let folder = tempfile::tempdir().unwrap();
        symlink("/etc", folder.path().join("etc")).unwrap();
        assert_eq!(allowed_for(&folder.path().join("etc/api.pem")), [Path::new("/etc/api.pem")]);
    }

    #[test]
    fn a_pipe_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        // Who opens it waits for somebody who writes.
        let (tell, told) = mpsc::channel();
        thread::spawn(move || tell.send(is_hidden(&pipe)));
        assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(false));
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
