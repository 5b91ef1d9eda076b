//! What a gateway that was taken over could do with files: nothing. A debugger makes its threads call what an attacker would.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::process::Program;
use crate::reload::REFUSED;
use crate::stage::{Gateway, RELOADED, Stage, write};
use crate::support::jwks_of;

const HIDDEN: &str = "a file of the configuration may not be read; where its own permissions allow it, the sandbox does not: it was made of \
                      the files that were named at the start. Restart, or start with --may-read and its folder";

const HIDDEN_SINCE: &str =
    "the sandbox hides this file, which came after the start: without it, no host or no new key is found. Restart";

impl Stage {
    /// A gateway whose sandbox is as these arguments want it.
    async fn gateway_in_sandbox(&self, sandbox: &[&str]) -> Gateway {
        let file = self.configured(|_| {});
        let arguments = [&["serve", "--config", file], sandbox].concat();
        let gateway = Gateway::of(Program::start(self.folder.path(), &arguments, &[])).await;
        gateway.program.says("ready").await;
        gateway
    }
}

/// What each thread of a process gets for each of the calls.
fn called_by_each_thread(process: u32, calls: &[String]) -> Vec<Vec<i64>> {
    let folder = tempfile::tempdir().unwrap();
    let shim = folder.path().join("debugger.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lifecycle/debugger.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&shim).args([source, "-ldl"]);
    assert!(compiler.status().expect("a C compiler, which the cryptography needs too").success());
    let mut debugger = Command::new("gdb");
    debugger.env("LD_PRELOAD", &shim);
    // Without the program's own symbols: the C library's names are all that it needs.
    debugger.args(["--nx", "--batch", "-readnever", "-p", &process.to_string()]);
    // While one thread calls, the others would go on, and begin new ones.
    debugger.args(["-ex", "set scheduler-locking on"]);
    for call in calls {
        debugger.args(["-ex", &format!("thread apply all -q print {call}")]);
    }
    let output = debugger.stdin(Stdio::null()).output().expect("gdb, which tests/install installs");
    let said = String::from_utf8_lossy(&output.stdout);
    let result = |line: &str| line.strip_prefix('$')?.split(" = ").nth(1)?.parse().ok();
    let results: Vec<i64> = said.lines().filter_map(result).collect();
    let threads = 1 + said.matches("[New LWP").count();
    assert_eq!(results.len(), threads * calls.len(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(threads >= 5, "{said}");
    results.chunks(threads).map(<[i64]>::to_vec).collect()
}

/// What a call comes to: 0, or the number of its error.
fn error_of(call: &str) -> String {
    format!("(({call}) == -1 ? *((int *(*)(void)) __errno_location)() : 0)")
}

fn opened(path: &Path, flags: i32) -> String {
    error_of(&format!("((int(*)(const char *, int, int)) open64)(\"{}\", {flags}, 0600)", path.display()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_taken_over_can_do_nothing_with_files() {
    let stage = Stage::set().await;
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("secret"), "of somebody else").unwrap();
    let read = libc_flags::READ;
    let remove = error_of(&format!("((int(*)(const char *)) unlink)(\"{}\")", stage.file("spare").display()));
    fs::write(stage.file("spare"), "").unwrap();
    let start = "((int(*)(const char *)) system)(\"true\")".to_owned();
    let own = opened(&stage.file("server.key"), read);
    let forbidden = [
        opened(&elsewhere.path().join("secret"), read),
        opened(Path::new("/etc/passwd"), read),
        opened(elsewhere.path(), read),
        opened(&stage.file("made"), libc_flags::CREATE),
        opened(&stage.file("server.key"), libc_flags::WRITE),
        error_of(&format!("((int(*)(int, int)) kill)({}, 0)", std::process::id())),
    ];

    let gateway = stage.gateway_in_sandbox(&["--sandbox", "required"]).await;
    assert_eq!(gateway.program.says("sandbox").await["state"], "whole");
    let calls = [&forbidden[..], &[remove.clone(), start.clone(), own.clone()]].concat();
    let results = called_by_each_thread(gateway.program.id(), &calls);
    let [refused @ .., started, read] = &results[..] else { panic!("{results:?}") };
    for (call, results) in calls.iter().zip(refused) {
        let wanted = if call.contains("kill") { libc_flags::EPERM } else { libc_flags::EACCES };
        assert!(results.iter().all(|result| *result == wanted), "{call}: {results:?}");
    }
    // As of a shell that could not be started.
    assert!(started.iter().all(|result| *result == 127 << 8), "{started:?}");
    // What it needs it still has.
    assert!(read.iter().all(|result| *result == 0), "{read:?}");
    assert!(stage.file("spare").exists() && !stage.file("made").exists());
    assert_eq!(gateway.status(&stage.call("/api/item")).await, 200);

    // The debugger's calls would have told.
    let gateway = stage.gateway_in_sandbox(&["--sandbox", "off"]).await;
    assert_eq!(gateway.program.line("of the sandbox", |line| line["state"] == "off").await["level"], "WARN");
    let calls = [&forbidden[..], &[start, remove]].concat();
    let results = called_by_each_thread(gateway.program.id(), &calls);
    let [allowed @ .., removed] = &results[..] else { panic!("{results:?}") };
    for (call, results) in calls.iter().zip(allowed) {
        assert!(results.iter().all(|result| *result == 0), "{call}: {results:?}");
    }
    // By the first of them.
    assert!(removed.contains(&0) && !stage.file("spare").exists(), "{removed:?}");
}

/// As Linux has them on all architectures that Rust's tier 1 knows.
mod libc_flags {
    pub const READ: i32 = 0;
    pub const WRITE: i32 = 1;
    pub const CREATE: i32 = 0o101;
    pub const EPERM: i64 = 1;
    pub const EACCES: i64 = 13;
}

#[tokio::test]
async fn a_file_elsewhere_is_not_read_and_the_log_says_what_to_do() {
    let stage = Stage::set().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let moved = elsewhere.path().join("moved.pem");
    fs::copy(stage.file("server.pem"), &moved).unwrap();
    let mut configuration = stage.configuration();
    configuration.tls = configuration.tls.replace("server.pem", moved.to_str().unwrap());

    let gateway = stage.gateway_in_sandbox(&[]).await;
    write(&stage.file("keybound.yaml"), &configuration.text());
    gateway.said(REFUSED, 1).await;
    let hidden = gateway.program.says(HIDDEN).await;
    assert_eq!((&hidden["level"], &hidden["file"]), (&json!("ERROR"), &json!(moved)));
    assert_eq!(gateway.status(&stage.call("/api/item")).await, 200);
    // What is named where it was allowed is read all the same.
    stage.changes(|configuration| configuration.routes += &stage.another_route());
    gateway.said(RELOADED, 1).await;
    assert_eq!(gateway.status(&stage.call("/new/item")).await, 200);

    let folder = elsewhere.path().to_str().unwrap();
    for sandbox in [&["--sandbox", "required", "--may-read", folder][..], &["--sandbox", "off"]] {
        let gateway = stage.gateway_in_sandbox(sandbox).await;
        write(&stage.file("keybound.yaml"), &configuration.text());
        gateway.said(RELOADED, 1).await;
        assert_eq!(gateway.status(&stage.call("/api/item")).await, 200);
    }
}

/// As certbot keeps them: links in one folder to numbered files in another.
#[tokio::test]
async fn what_links_point_to_may_change() {
    let stage = Stage::set().await;
    let (archive, keys) = (tempfile::tempdir().unwrap(), |stage: &Stage, number: u8| {
        let (certificate, key) =
            (fs::read(stage.file("server.pem")).unwrap(), fs::read(stage.file("server.key")).unwrap());
        (number, certificate, key)
    });
    let renew = |(number, certificate, key): (u8, Vec<u8>, Vec<u8>)| {
        for (name, content) in [("cert", certificate), ("privkey", key)] {
            let file = archive.path().join(format!("{name}{number}.pem"));
            fs::write(&file, content).unwrap();
            let link = stage.file(&format!("{name}.next"));
            symlink(&file, &link).unwrap();
            fs::rename(link, stage.file(&format!("{name}.pem"))).unwrap();
        }
    };
    renew(keys(&stage, 1));
    let tls = "{ certificate_file: cert.pem, key_file: privkey.pem }";
    let gateway = stage.gateway_with(|configuration| configuration.tls = tls.to_owned()).await;
    let other = Stage::set().await;
    renew(keys(&other, 2));
    let line = gateway.said(RELOADED, 1).await;
    assert_eq!(line["files"], "cert.pem, privkey.pem");
    assert_eq!(gateway.status(&stage.call("/api/item")).await, 200);
}

#[tokio::test]
async fn a_jwk_set_in_a_folder_of_its_own_may_change() {
    let stage = Stage::set().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    write(&file, &jwks_of(&[("k2", &stage.issuer_key)]).to_string());
    let keys = format!("{{ jwks_file: '{}' }}", file.display());
    let gateway = stage.gateway_with(|configuration| configuration.keys = keys).await;
    assert_eq!(gateway.status(&stage.call("/api/item")).await, 401);
    write(&file, &jwks_of(&[("k1", &stage.issuer_key)]).to_string());
    crate::eventually("the new keys", async || (gateway.status(&stage.call("/api/item")).await == 200).then_some(()))
        .await;
}

#[tokio::test]
async fn without_landlock_it_starts_unless_the_sandbox_is_required() {
    let stage = Stage::set().await;
    let file = stage.configured(|_| {});
    // As a kernel answers that was built without it.
    let run = |sandbox: &[&str]| {
        let mut command = Command::new("strace");
        // The gateway is this process's own child, and strace ends with it.
        command.args([
            "-D",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=landlock_create_ruleset",
            "-e",
            "inject=landlock_create_ruleset:error=ENOSYS",
        ]);
        command.arg(env!("CARGO_BIN_EXE_keybound")).args(["serve", "--config", file]).args(sandbox);
        command.current_dir(stage.folder.path());
        Program::run_by(&mut command, Stdio::null())
    };
    let refused = run(&["--sandbox", "required"]).ended().await;
    let wanted = "error: --sandbox required: Landlock is absent in this kernel, or in this container";
    assert_eq!((refused.code, refused.out.as_str(), refused.err.trim()), (1, "", wanted));

    let gateway = Gateway::of(run(&[])).await;
    let line = gateway.program.line("of the sandbox", |line| line["state"] == "absent").await;
    assert_eq!(
        (&line["level"], &line["message"]),
        (&json!("WARN"), &json!("sandbox: this kernel or container has no Landlock"))
    );
    gateway.program.says("ready").await;
    assert_eq!(gateway.status(&stage.call("/api/item")).await, 200);
}

#[tokio::test]
async fn what_may_be_read_must_be_there() {
    let stage = Stage::set().await;
    let file = stage.configured(|_| {});
    let ended = Program::run(stage.folder.path(), &["serve", "--config", file, "--may-read", "nowhere"]).await;
    assert_eq!(
        (ended.code, ended.err.trim()),
        (1, "error: --may-read nowhere: No such file or directory (os error 2)")
    );
}

/// As on a host where a program renames a new `/etc/hosts` into the old one's place.
#[tokio::test]
async fn a_file_of_names_that_was_replaced_is_told_once() {
    let stage = Stage::set().await;
    let file = stage.configured(|_| {});
    // Mounts of its own, which end with it.
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", env!("CARGO_BIN_EXE_keybound"), "serve", "--config", file]);
    command.current_dir(stage.folder.path());
    let gateway = Gateway::of(Program::run_by(&mut command, Stdio::null())).await;
    assert_eq!(gateway.program.says("sandbox").await["state"], "whole");
    let elsewhere = tempfile::tempdir().unwrap();
    let hosts = elsewhere.path().join("hosts");
    fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
    let process = gateway.program.id().to_string();
    let mut enter = Command::new("nsenter");
    enter.args(["--target", &process, "--user", "--mount", "--preserve-credentials", "mount", "--bind"]);
    assert!(enter.arg(&hosts).arg("/etc/hosts").status().unwrap().success());

    let line = gateway.said(HIDDEN_SINCE, 1).await;
    assert_eq!((&line["level"], &line["file"]), (&json!("ERROR"), &json!("/etc/hosts")));
    // It looks again before it sees the change.
    stage.changes(|configuration| configuration.routes += &stage.another_route());
    gateway.said(RELOADED, 1).await;
    let lines = gateway.program.lines();
    assert_eq!(lines.iter().filter(|line| line["message"] == HIDDEN_SINCE).count(), 1);
    assert_eq!(gateway.status(&stage.call("/new/item")).await, 200);
}

/// Who may remove the socket there may remove the key too.
#[tokio::test]
async fn a_socket_beside_the_configuration_stays_and_is_replaced() {
    let stage = Stage::set().await;
    let socket = stage.file("admin.sock");
    let admin = format!("unix:{}", socket.display());
    let file = stage.configured(|configuration| configuration.admin.clone_from(&admin));
    for _ in 0..2 {
        let program = Program::start(stage.folder.path(), &["serve", "--config", file], &[]);
        assert_eq!(program.says("admin listening").await["address"], admin);
        program.says("ready").await;
        let remove = error_of(&format!("((int(*)(const char *)) unlink)(\"{}\")", stage.file("server.key").display()));
        let results = called_by_each_thread(program.id(), &[remove]);
        assert!(results[0].iter().all(|result| *result == libc_flags::EACCES), "{results:?}");
        program.signal("TERM");
        assert_eq!(program.ended().await.code, 0);
        assert!(socket.exists());
    }
}

/// Such as `sops --decrypt keybound.yaml | keybound serve --config /dev/stdin`.
#[tokio::test]
async fn a_configuration_may_come_through_a_pipe() {
    let stage = Stage::set().await;
    let folder = format!("{}/server.", stage.folder.path().display());
    let file = stage.configured(|configuration| configuration.tls = configuration.tls.replace("server.", &folder));
    let mut decrypts = Command::new("cat");
    let mut decrypts = decrypts.arg(stage.file(file)).stdout(Stdio::piped()).spawn().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_keybound"));
    command.args(["serve", "--config", "/dev/stdin", "--sandbox", "required"]).current_dir(stage.folder.path());
    let gateway = Gateway::of(Program::run_by(&mut command, decrypts.stdout.take().unwrap().into())).await;
    assert!(decrypts.wait().unwrap().success());
    gateway.program.says("ready").await;
    assert_eq!(gateway.status(&stage.call("/api/item")).await, 200);
}

#[tokio::test]
async fn a_jwk_set_that_is_replaced_in_a_shared_folder_is_told() {
    let stage = Stage::set().await;
    let set = |name: &str| {
        let file = tempfile::Builder::new().tempfile_in("/tmp").unwrap();
        fs::write(file.path(), jwks_of(&[(name, &stage.issuer_key)]).to_string()).unwrap();
        file
    };
    let file = set("k1");
    let keys = format!("{{ jwks_file: '{}' }}", file.path().display());
    let gateway = stage.gateway_with(|configuration| configuration.keys = keys).await;
    let alone = "this file lies where others keep theirs: written anew it is read again, replaced it is not";
    assert_eq!(gateway.said(alone, 1).await["file"], json!(file.path()));
    set("k2").persist(file.path()).unwrap();
    assert_eq!(gateway.said(HIDDEN_SINCE, 1).await["file"], json!(file.path()));
    // The keys that it had serve.
    assert_eq!(gateway.status(&stage.call("/api/item")).await, 200);
}

#[tokio::test]
async fn authorities_in_several_folders_and_behind_links_can_be_read() {
    let stage = Stage::set().await;
    let folders = [(); 4].map(|()| tempfile::tempdir().unwrap());
    let [one, other, target, elsewhere] = folders.each_ref().map(|folder| folder.path().join("ca.pem"));
    for file in [&one, &target, &elsewhere] {
        fs::copy(stage.file("server.pem"), file).unwrap();
    }
    symlink(&target, &other).unwrap();
    let named = format!("{}:{}", folders[0].path().display(), folders[1].path().display());
    let gateway = stage.gateway_in(&[("SSL_CERT_DIR", &named)], |_| {}).await;
    gateway.program.says("ready").await;
    let calls = [one, other, target, elsewhere].map(|file| opened(&file, libc_flags::READ));
    let results = called_by_each_thread(gateway.program.id(), &calls);
    let [read @ .., hidden] = &results[..] else { panic!("{results:?}") };
    assert!(read.iter().flatten().all(|result| *result == 0), "{results:?}");
    assert!(hidden.iter().all(|result| *result == libc_flags::EACCES), "{results:?}");
}
