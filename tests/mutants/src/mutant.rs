//! Which mutant this process is, and which it came to. Copied into the crate that is broken.

use std::fs::File;
use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

static CHOSEN: OnceLock<Option<u32>> = OnceLock::new();
static REACHED_FILE: OnceLock<Option<File>> = OnceLock::new();
static REACHED: [AtomicBool; 4096] = [const { AtomicBool::new(false) }; 4096];

/// Opens the file for what is come to, while this process still may.
pub fn begin() -> Option<&'static File> {
    let open = || File::options().append(true).create(true).open(std::env::var_os("KEYBOUND_REACHED")?).ok();
    REACHED_FILE.get_or_init(open).as_ref()
}

/// Whether it is this one.
pub fn is(number: u32) -> bool {
    if let Some(mut file) = begin()
        && REACHED.get(number as usize).is_some_and(|reached| !reached.swap(true, Ordering::Relaxed))
    {
        let _ = file.write_all(format!("{number}\n").as_bytes());
    }
    *CHOSEN.get_or_init(|| std::env::var("KEYBOUND_MUTANT").ok()?.parse().ok()) == Some(number)
}
