use std::io::Read as _;
use std::sync::mpsc::{self, Receiver, Sender};

use super::*;

/// Nothing here takes longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// Takes a piece whenever the test lets it, and hands over what it took.
struct Gated {
    permits: Receiver<io::Result<()>>,
    taken: Sender<Vec<u8>>,
}

impl Write for Gated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A test that is over lets everything through.
        self.permits.recv().unwrap_or(Ok(()))?;
        let _ = self.taken.send(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn gated(bounds: Bounds) -> (Output, Sender<io::Result<()>>, Receiver<Vec<u8>>) {
    let ((permit, permits), (taken, pieces)) = (mpsc::channel(), mpsc::channel());
    (Output::start(Gated { permits, taken }, bounds).unwrap(), permit, pieces)
}

fn small() -> Bounds {
    Bounds { batch: 20, gather: Duration::from_millis(1), held: 60, patience: PATIENCE }
}

/// Waits for what another thread is bound to do.
fn until(what: &str, happens: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !happens() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

fn line(number: usize) -> Vec<u8> {
    format!("line {number:04}\n").into_bytes()
}

#[test]
fn lines_of_many_threads_stay_whole_and_in_the_order_of_each() {
    let (reader, writer) = io::pipe().unwrap();
    let output = Output::start(writer, Bounds { held: 4096, batch: 512, ..Bounds::default() }).unwrap();
    let read = std::thread::spawn(move || io::read_to_string(reader).unwrap());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let lines = output.lines().clone();
            scope.spawn(move || {
                for number in 0..5_000 {
                    lines.push(format!("{thread} {number} {}\n", "x".repeat(number % 100)).as_bytes());
                }
            });
        }
    });
    drop(output);
    let text = read.join().unwrap();
    let mut next = [0; 4];
    for line in text.lines() {
        let mut words = line.split(' ');
        let [thread, number] = [(); 2].map(|()| words.next().unwrap().parse::<usize>().unwrap());
        assert_eq!((number, words.next()), (next[thread], Some("x".repeat(number % 100).as_str())));
        next[thread] += 1;
    }
    assert_eq!(next, [5_000; 4]);
}

#[test]
fn what_waits_is_one_batch() {
    let bounds = Bounds { batch: 1000, held: 1000, ..small() };
    let (output, permit, pieces) = gated(bounds);
    output.lines().push(&line(0));
    // Held up at the door of the output while more comes.
    permit.send(Ok(())).unwrap();
    assert!(pieces.recv_timeout(PATIENCE).unwrap().starts_with(&line(0)));
    output.lines().push(&line(1));
    permit.send(Ok(())).unwrap();
    assert_eq!(pieces.recv_timeout(PATIENCE).unwrap(), line(1));
    output.lines().push(&line(2));
    output.lines().push(&line(3));
    drop(permit);
    drop(output);
    assert_eq!(pieces.iter().collect::<Vec<_>>().concat(), [line(2), line(3)].concat());
}

#[test]
fn a_line_waits_for_room_and_none_is_lost() {
    let (output, permit, pieces) = gated(small());
    let lines = output.lines().clone();
    let (said, hears) = mpsc::channel();
    let pusher = std::thread::spawn(move || {
        for number in 0..100 {
            lines.push(&line(number));
            said.send(number).unwrap();
        }
    });
    // As many as there is room for, and not one more while nothing is taken.
    let taken: Vec<usize> = (0..6).map(|_| hears.recv_timeout(PATIENCE).unwrap()).collect();
    assert_eq!(taken, [0, 1, 2, 3, 4, 5]);
    until("a line waits", || output.lines().state().awaited);
    assert!(hears.try_recv().is_err() && output.lines().state().held() == 60, "it waits");
    drop(permit);
    pusher.join().unwrap();
    drop(output);
    let all: Vec<u8> = (0..100).flat_map(line).collect();
    assert_eq!(pieces.iter().collect::<Vec<_>>().concat(), all);
}

#[test]
fn a_line_that_is_longer_than_all_that_may_wait_goes_alone() {
    let (output, permit, pieces) = gated(small());
    drop(permit);
    let long = [vec![b'x'; 500], vec![b'\n']].concat();
    output.lines().push(&long);
    output.lines().push(&line(1));
    drop(output);
    assert_eq!(pieces.iter().collect::<Vec<_>>().concat(), [long, line(1)].concat());
}

#[test]
fn an_output_that_takes_nothing_does_not_keep_the_process_from_its_end() {
    let (output, permit, pieces) = gated(Bounds { patience: Duration::from_millis(10), ..small() });
    let lines = output.lines().clone();
    let pusher = std::thread::spawn(move || (0..8).for_each(|number| lines.push(&line(number))));
    until("a line waits", || output.lines().state().awaited);
    assert!(!pusher.is_finished());
    output.ending();
    pusher.join().unwrap();
    let lines = output.lines().clone();
    let (held, lost) = {
        let state = lines.state();
        (state.held(), state.lost)
    };
    assert_eq!((held, lost), (60, 2));
    drop(output);
    assert!(pieces.try_recv().is_err());
    // Too late for more.
    lines.push(&line(9));
    assert_eq!(lines.state().lost, 3);
    drop(permit);
}

#[test]
fn when_nobody_reads_any_more_lines_are_dropped_and_nobody_waits() {
    let (reader, writer) = io::pipe().unwrap();
    let output = Output::start(writer, small()).unwrap();
    drop(reader);
    for number in 0..1_000 {
        output.lines().push(&line(number));
    }
    drop(output);
}

#[test]
fn an_error_that_passes_costs_no_more_than_its_piece() {
    let (output, permit, pieces) = gated(Bounds { batch: 10, ..small() });
    output.lines().push(&line(0));
    permit.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
    until("a line is lost", || output.lines().state().lost > 0);
    // An output that another process made non-blocking says so, and a signal interrupts.
    for kind in [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted] {
        permit.send(Err(kind.into())).unwrap();
    }
    output.lines().push(&line(1));
    drop(permit);
    let lines = output.lines().clone();
    drop(output);
    assert_eq!((lines.state().lost, pieces.iter().collect::<Vec<_>>().concat()), (1, line(1)));
}

#[test]
fn a_full_pipe_is_emptied_before_the_end() {
    let (mut reader, writer) = io::pipe().unwrap();
    // More than a pipe holds.
    let output = Output::start(writer, Bounds { patience: PATIENCE, ..Bounds::default() }).unwrap();
    let all: Vec<u8> = (0..50_000).flat_map(line).collect();
    (0..50_000).for_each(|number| output.lines().push(&line(number)));
    let end = std::thread::spawn(move || drop(output));
    let mut read = Vec::new();
    reader.read_to_end(&mut read).unwrap();
    end.join().unwrap();
    assert!(read == all, "{} of {} bytes", read.len(), all.len());
}
