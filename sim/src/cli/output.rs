//! Standard output and standard error. A reader that has gone, as `hermesh run ... | head` has, is no error; a full
//! disk is one.

use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// Why standard output is not whole.
static LOSS: Mutex<Option<io::Error>> = Mutex::new(None);

/// Prints to standard output; colours only to a terminal.
pub(super) fn out(text: &str) {
    let mut stdout = anstream::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    if let Err(error) = written
        && error.kind() != ErrorKind::BrokenPipe
    {
        LOSS.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
}

/// Why what was printed is not whole, if it is not.
pub(super) fn loss() -> Option<io::Error> {
    LOSS.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Prints to standard error; colours only to a terminal.
pub(super) fn err(text: &str) {
    let mut stderr = anstream::stderr().lock();
    let _reader_gone = stderr.write_all(text.as_bytes());
}

/// Prints one JSON value.
pub(super) fn json(value: &Value) {
    out(&format!("{value:#}\n"));
}

/// How wide standard output is, if it is a terminal.
pub(super) fn width() -> Option<usize> {
    terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0))
}

/// Whether people watch standard error.
pub(super) fn is_watched() -> bool {
    io::stderr().is_terminal()
}
