//! The binary as a child process: its lines as they come, its end, and signals to it.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;
use tokio::sync::{Mutex as Gate, OwnedMutexGuard, watch};

use crate::in_time;

/// Ends with this value, by its own process id.
pub struct Program {
    child: Child,
    said: Arc<Mutex<Said>>,
    /// How many lines were said, and how many streams are still open.
    news: watch::Receiver<(usize, usize)>,
    /// Whether standard output is read on.
    reads: Arc<Gate<bool>>,
}

#[derive(Default, Clone)]
struct Said {
    out: Vec<String>,
    err: Vec<String>,
}

/// What a program left when it was done.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Program {
    pub fn start(folder: &Path, arguments: &[impl AsRef<OsStr>], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keybound"));
        command.current_dir(folder).env_remove("KEYBOUND_TOKEN").args(arguments).envs(environment.iter().copied());
        Self::run_by(&mut command, Stdio::null())
    }

    /// Another program that becomes the binary, with this standard input.
    pub fn run_by(command: &mut Command, input: Stdio) -> Self {
        let mut child = command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let said = Arc::<Mutex<Said>>::default();
        let (sender, news) = watch::channel((0, 2));
        let sender = Arc::new(sender);
        let (reads, always) = (Arc::new(Gate::new(true)), Arc::new(Gate::new(true)));
        listen(child.stdout.take().unwrap(), &said, &sender, &reads, |said| &mut said.out);
        listen(child.stderr.take().unwrap(), &said, &sender, &always, |said| &mut said.err);
        Self { child, said, news, reads }
    }

    /// The first log line that this fits, from the beginning; waits for it.
    pub async fn line(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let mut news = self.news.clone();
        let wait = async {
            loop {
                let open = news.borrow_and_update().1;
                if let Some(line) = self.lines().into_iter().find(&fits) {
                    return line;
                }
                assert!(open > 0, "it ended without: {what}\n{}", self.everything());
                let _ = news.changed().await;
            }
        };
        match tokio::time::timeout(crate::PATIENCE, wait).await {
            Ok(line) => line,
            Err(_) => panic!("never said: {what}\n{}", self.everything()),
        }
    }

    /// The line with this message.
    pub async fn says(&self, message: &str) -> Value {
        self.line(message, |line| line["message"] == message).await
    }

    /// All log lines so far. Whatever is on standard output must be one.
    pub fn lines(&self) -> Vec<Value> {
        let parse = |line: &String| serde_json::from_str(line).unwrap_or_else(|_| panic!("not a JSON line: {line}"));
        self.said.lock().unwrap().out.iter().map(parse).collect()
    }

    /// Waits until its output has this.
    pub async fn shows(&self, what: &str) {
        assert!(self.shows_or_ends(what, 1).await, "it ended without: {what}\n{}", self.everything());
    }

    /// Waits until its output has this so many times; false: it ended before.
    pub async fn shows_or_ends(&self, what: &str, times: usize) -> bool {
        let mut news = self.news.clone();
        let wait = async {
            loop {
                let open = news.borrow_and_update().1;
                if self.everything().matches(what).count() >= times {
                    return true;
                }
                if open == 0 {
                    return false;
                }
                let _ = news.changed().await;
            }
        };
        in_time(what, wait).await
    }

    /// Its standard input, where that was piped: once.
    pub fn input(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    /// Standard output and standard error so far.
    pub fn everything(&self) -> String {
        let said = self.said.lock().unwrap().clone();
        [said.out, said.err].concat().join("\n")
    }

    /// Nobody reads standard output while this is held, and never again when it is set to false: then it is closed
    /// after the next line.
    pub async fn hold_output(&self) -> OwnedMutexGuard<bool> {
        Arc::clone(&self.reads).lock_owned().await
    }

    /// Waits until no more than this many of its two streams are open.
    pub async fn closes(&self, open: usize) {
        let mut news = self.news.clone();
        in_time("the end of a stream", news.wait_for(|(_, still)| *still <= open)).await.unwrap();
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What the kernel says of its memory, in bytes: `VmRSS` or `VmHWM`.
    pub fn memory(&self, what: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Forgets the highest use of memory so far.
    pub fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.id()), "5").unwrap();
    }

    pub fn signal(&self, name: &str) {
        // Not reaped before `ended` or `drop`, so that the number is still this child's.
        let kill = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(status.success(), "{kill}");
    }

    /// Waits until it ends by itself.
    pub async fn ended(mut self) -> Ended {
        let mut news = self.news.clone();
        let closed = tokio::time::timeout(crate::PATIENCE, news.wait_for(|(_, open)| *open == 0)).await;
        assert!(closed.is_ok(), "still running:\n{}", self.everything());
        let status = self.child.wait().unwrap();
        let said = self.said.lock().unwrap().clone();
        let (out, err) = (said.out.join("\n"), said.err.join("\n"));
        assert!(!err.contains("panicked"), "{err}");
        let code = status.code().unwrap_or_else(|| panic!("it was killed: {status}\n{err}"));
        Ended { code, out, err }
    }

    /// Runs to its end.
    pub async fn run(folder: &Path, arguments: &[impl AsRef<OsStr>]) -> Ended {
        Self::run_with(folder, arguments, &[]).await
    }

    pub async fn run_with(folder: &Path, arguments: &[impl AsRef<OsStr>], environment: &[(&str, &str)]) -> Ended {
        in_time("the end of a command", Self::start(folder, arguments, environment).ended()).await
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(
    stream: impl Read + Send + 'static,
    said: &Arc<Mutex<Said>>,
    news: &Arc<watch::Sender<(usize, usize)>>,
    reads: &Arc<Gate<bool>>,
    side: fn(&mut Said) -> &mut Vec<String>,
) {
    let (said, news, reads) = (Arc::clone(said), Arc::clone(news), Arc::clone(reads));
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        // Not held while it reads.
        let go_on = || *reads.blocking_lock();
        while go_on() && reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
            // OpenSSL shows them; nobody else should.
            let secret = ["Master-Key:", "Resumption PSK:"].iter().any(|name| text.trim_start().starts_with(name));
            side(&mut said.lock().unwrap()).push(if secret { "(a key)".to_owned() } else { text });
            line.clear();
            news.send_modify(|(lines, _)| *lines += 1);
        }
        drop(reader);
        news.send_modify(|(_, open)| *open -= 1);
    });
}
