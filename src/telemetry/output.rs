//! The process's lines on their way to standard output.
//!
//! Enters: whole lines, from any thread. Leaves: the same lines in the same order, in batches, written by a thread of
//! its own. Never: a line inside another; a line lost in silence; more than [`Bounds::held`] bytes in memory.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// How lines are gathered and held.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes that are worth a write of their own.
    pub batch: usize,
    /// How long the first line of a batch waits for more.
    pub gather: Duration,
    /// Bytes that may wait. Beyond, whoever brings a line waits until there is room.
    pub held: usize,
    /// How long, at the end of the process, an output may take nothing before it is given up.
    pub patience: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            batch: 64 * 1024,
            gather: Duration::from_millis(25),
            held: 4 * 1024 * 1024,
            patience: Duration::from_secs(2),
        }
    }
}

/// Takes lines. Clones are the same output.
#[derive(Clone)]
pub struct Lines(Arc<Shared>);

struct Shared {
    bounds: Bounds,
    state: Mutex<State>,
    /// For the writer: there is something to do.
    filled: Condvar,
    /// For everyone else: something was written.
    written: Condvar,
}

struct State {
    waiting: Vec<u8>,
    /// Bytes that the writer took and has not written yet.
    in_hand: usize,
    /// How many pieces were written: whether anything moves.
    pieces: u64,
    writer: Writer,
    /// Somebody waits for `written`: nobody is woken for nothing.
    awaited: bool,
    life: Life,
    /// Lines that were not written.
    lost: u64,
}

#[derive(PartialEq, Eq)]
enum Writer {
    /// There was nothing to do.
    Asleep,
    /// Lets a batch gather.
    Gathering,
    /// Writes, and looks again before it sleeps.
    Busy,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Life {
    /// Lines wait for room as long as it takes.
    Open,
    /// The process is about to end: lines wait for room while the output takes anything.
    Ending,
    /// It took nothing for [`Bounds::patience`]: no line waits any more.
    Stuck,
    /// No more lines.
    Over,
    /// Nobody reads any more.
    Broken,
}

impl State {
    const fn held(&self) -> usize {
        self.waiting.len() + self.in_hand
    }
}

impl Lines {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one or more whole lines. Waits only when the output is far behind.
    pub fn push(&self, lines: &[u8]) {
        let bounds = &self.0.bounds;
        let mut state = self.state();
        // What is longer than everything that may wait goes alone.
        let full = |state: &State| state.held() > 0 && state.held() + lines.len() > bounds.held;
        while state.life <= Life::Ending && full(&state) {
            let still;
            (state, still) = self.wait(state);
            if still && state.life == Life::Ending {
                state.life = Life::Stuck;
            }
        }
        if state.life >= Life::Over || full(&state) {
            state.lost += 1;
            return;
        }
        state.waiting.extend_from_slice(lines);
        let wake = match state.writer {
            Writer::Asleep => true,
            Writer::Gathering => state.waiting.len() >= bounds.batch,
            Writer::Busy => false,
        };
        if wake {
            // Once is enough.
            state.writer = if state.writer == Writer::Asleep { Writer::Gathering } else { Writer::Busy };
        }
        drop(state);
        if wake {
            self.0.filled.notify_one();
        }
    }

    /// Waits until something changes, or for the bounds' patience: whether nothing was written meanwhile.
    fn wait<'a>(&self, mut state: MutexGuard<'a, State>) -> (MutexGuard<'a, State>, bool) {
        let before = state.pieces;
        state.awaited = true;
        let wait = self.0.written.wait_timeout(state, self.0.bounds.patience);
        let (state, waited) = wait.unwrap_or_else(PoisonError::into_inner);
        let still = waited.timed_out() && state.pieces == before;
        (state, still)
    }

    /// Swaps the batch that was written for the next one. `None` when there will be none.
    fn next(&self, mut batch: Vec<u8>) -> Option<Vec<u8>> {
        let bounds = &self.0.bounds;
        batch.clear();
        // One bad moment must not cost memory for ever.
        batch.shrink_to(4 * bounds.batch);
        let mut state = self.state();
        while state.waiting.is_empty() {
            if state.life >= Life::Over {
                return None;
            }
            state.writer = Writer::Asleep;
            state = self.0.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.writer = Writer::Gathering;
        let gathers = |state: &mut State| state.waiting.len() < bounds.batch && state.life < Life::Over;
        let wait = self.0.filled.wait_timeout_while(state, bounds.gather, gathers);
        (state, _) = wait.unwrap_or_else(PoisonError::into_inner);
        state.writer = Writer::Busy;
        std::mem::swap(&mut state.waiting, &mut batch);
        state.in_hand = batch.len();
        Some(batch)
    }

    fn wrote(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        state.pieces += 1;
        if std::mem::take(&mut state.awaited) {
            self.0.written.notify_all();
        }
    }

    fn run(&self, mut out: impl Write) {
        let mut batch = Vec::with_capacity(self.0.bounds.batch);
        let mut fails = false;
        while let Some(next) = self.next(batch) {
            batch = next;
            for piece in batch.chunks(self.0.bounds.batch) {
                match write_all(&mut out, piece) {
                    Ok(()) => {
                        fails = false;
                        self.wrote(|state| state.in_hand -= piece.len());
                    }
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                        self.wrote(|state| {
                            state.life = Life::Broken;
                            state.lost += newlines(&state.waiting) + newlines(piece);
                            (state.waiting, state.in_hand) = (Vec::new(), 0);
                        });
                        return;
                    }
                    // A full disk may have room again.
                    Err(error) => {
                        if !std::mem::replace(&mut fails, true) {
                            tell(format_args!("the log cannot be written: {error}"));
                        }
                        self.wrote(|state| {
                            state.in_hand -= piece.len();
                            state.lost += newlines(piece);
                        });
                    }
                }
            }
        }
    }
}

/// Tells the person, for want of a log. If this fails nobody is left to tell.
fn tell(what: impl Display) {
    let _ = writeln!(io::stderr(), "warning: {what}");
}

fn newlines(lines: &[u8]) -> u64 {
    lines.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

/// Like [`Write::write_all`], and patient with an output that another process made non-blocking.
fn write_all(out: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    const PAUSE: Duration = Duration::from_millis(5);
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(length) => bytes = bytes.get(length..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
            Err(error) => return Err(error),
        }
    }
    out.flush()
}

impl Write for Lines {
    /// Takes whole lines, as `tracing` writes them.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.push(lines);
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// An output with its thread. Dropped, it writes what waits, for as long as the output takes it.
pub struct Output {
    lines: Lines,
    writer: Option<JoinHandle<()>>,
}

impl Output {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has none to give.
    pub fn start(out: impl Write + Send + 'static, bounds: Bounds) -> io::Result<Self> {
        let state = State {
            waiting: Vec::with_capacity(bounds.batch),
            in_hand: 0,
            pieces: 0,
            writer: Writer::Busy,
            awaited: false,
            life: Life::Open,
            lost: 0,
        };
        let shared = Shared { bounds, state: Mutex::new(state), filled: Condvar::new(), written: Condvar::new() };
        let lines = Lines(Arc::new(shared));
        let own = lines.clone();
        let writer = std::thread::Builder::new().name("log".to_owned()).spawn(move || own.run(out))?;
        Ok(Self { lines, writer: Some(writer) })
    }

    /// Where lines go in.
    pub const fn lines(&self) -> &Lines {
        &self.lines
    }

    /// From now on no line waits for ever: an output that takes nothing must not keep the process from its end.
    pub fn ending(&self) {
        let mut state = self.lines.state();
        if state.life == Life::Open {
            state.life = Life::Ending;
            // Their patience begins now.
            self.lines.0.written.notify_all();
        }
    }

    /// Ends: true when everything that waited was written.
    fn end(&mut self) -> bool {
        let shared = &self.lines.0;
        let mut state = self.lines.state();
        if state.life < Life::Over {
            state.life = Life::Over;
        }
        shared.filled.notify_one();
        shared.written.notify_all();
        while state.life == Life::Over && state.held() > 0 {
            let still;
            (state, still) = self.lines.wait(state);
            if still {
                return false;
            }
        }
        drop(state);
        // It has nothing left to wait for.
        self.writer.take().is_none_or(|writer| writer.join().is_ok())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        let whole = self.end();
        let state = self.lines.state();
        let (lost, broken, held) = (state.lost, state.life == Life::Broken, state.held());
        drop(state);
        // Whoever closed standard output wants no log.
        if !broken && (!whole || lost > 0) {
            tell(format_args!("the log is not whole: {lost} lines found no room, {held} bytes were not taken"));
        }
    }
}

#[cfg(test)]
mod tests;
