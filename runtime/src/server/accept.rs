//! Taking connections from a listener, whatever the kernel is short of just now.

use std::fmt;
use std::io;
use std::time::Duration;

use nix::errno::Errno;
use tokio::time::Instant;

use crate::{Address, Listener, Runtime, Stream};

/// Go's `net/http` waits this long after an error that may pass, twice as long after the next one, and so on.
const FIRST_WAIT: Duration = Duration::from_millis(5);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

crate::event! {
    /// A server cannot take a connection just now, most often for want of file descriptors; it tries again.
    AcceptFailed = "conn.accept.failed" {
        /// Where it listens.
        local: Address,
        error: String,
        retry_in_ms: u64,
    }
}

/// A listener for servers that are to outlive a shortage of files or memory and clients that give up in the queue.
pub struct Acceptor {
    rt: Runtime,
    listener: Box<dyn Listener>,
    /// The wait after the next shortage.
    wait: Duration,
    /// The end of the present one.
    until: Option<Instant>,
}

impl Acceptor {
    /// Takes connections from `listener`.
    #[must_use]
    pub fn new(rt: &Runtime, listener: Box<dyn Listener>) -> Self {
        Self { rt: rt.clone(), listener, wait: FIRST_WAIT, until: None }
    }

    /// The next connection. A shortage is waited out, 5 ms at first and up to a second while it lasts; each wait is an
    /// [`AcceptFailed`] event. Dropping the future neither loses a connection nor cuts a wait short.
    ///
    /// # Errors
    /// If the listener is beyond hope.
    pub async fn accept(&mut self) -> io::Result<Box<dyn Stream>> {
        loop {
            if let Some(until) = self.until {
                tokio::time::sleep_until(until).await;
                self.until = None;
            }
            match self.listener.accept().await {
                Ok(stream) => {
                    self.wait = FIRST_WAIT;
                    return Ok(stream);
                }
                Err(error) => match Outlook::of(&error) {
                    Outlook::OneConnection => {}
                    Outlook::Shortage => {
                        self.rt.emit(AcceptFailed {
                            local: self.listener.local_address(),
                            error: error.to_string(),
                            retry_in_ms: self.wait.as_millis().try_into().unwrap_or(u64::MAX),
                        });
                        self.until = Some(Instant::now() + self.wait);
                        self.wait = (2 * self.wait).min(LONGEST_WAIT);
                    }
                    Outlook::Hopeless => return Err(error),
                },
            }
        }
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Acceptor({})", self.listener.local_address())
    }
}

/// What an error of `accept` leaves to be hoped for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outlook {
    /// It is the error of a connection that died in the queue; the next one may be well.
    OneConnection,
    /// Someone must give something back first.
    Shortage,
    Hopeless,
}

impl Outlook {
    /// Linux, `accept(2)`: errors that are pending on the new connection come out here.
    fn of(error: &io::Error) -> Self {
        use io::ErrorKind::{
            ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted, NetworkDown,
            NetworkUnreachable, OutOfMemory, TimedOut, WouldBlock,
        };
        match error.kind() {
            ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted => return Self::OneConnection,
            HostUnreachable | NetworkDown | NetworkUnreachable => return Self::OneConnection,
            OutOfMemory | TimedOut | WouldBlock => return Self::Shortage,
            _ => {}
        }
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EPROTO | Errno::EHOSTDOWN | Errno::ENONET | Errno::ENOPROTOOPT) => Self::OneConnection,
            // A firewall's word on one connection, or on all.
            Some(Errno::EPERM) => Self::Shortage,
            Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS) => Self::Shortage,
            _ => Self::Hopeless,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use futures::FutureExt as _;
    use futures::future::BoxFuture;

    use super::*;

    /// Fails as told, then has nobody to hand out.
    struct Faulty(VecDeque<io::Error>);

    impl Listener for Faulty {
        fn accept(&mut self) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
            match self.0.pop_front() {
                Some(error) => Box::pin(std::future::ready(Err(error))),
                None => Box::pin(std::future::pending()),
            }
        }

        fn local_address(&self) -> Address {
            Address::Unix("faulty".into())
        }
    }

    fn out_of_files() -> io::Error {
        io::Error::from_raw_os_error(Errno::EMFILE as i32)
    }

    fn acceptor(errors: impl IntoIterator<Item = io::Error>) -> Acceptor {
        Acceptor::new(&crate::os::runtime(), Box::new(Faulty(errors.into_iter().collect())))
    }

    #[tokio::test(start_paused = true)]
    async fn a_shortage_is_waited_out_longer_and_longer() {
        let broken = || io::Error::from(io::ErrorKind::InvalidInput);
        let mut acceptor = acceptor((0..10).map(|_| out_of_files()).chain([broken()]));
        let begin = Instant::now();
        let error = acceptor.accept().await.map(drop).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "what is no shortage ends it");
        // 5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000 ms.
        assert_eq!(begin.elapsed(), Duration::from_millis(1275 + 2000));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_died_in_the_queue_costs_no_time() {
        let died = [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset, io::ErrorKind::Interrupted];
        let mut acceptor = acceptor(died.map(io::Error::from).into_iter().chain([io::ErrorKind::NotFound.into()]));
        let begin = Instant::now();
        assert_eq!(acceptor.accept().await.map(drop).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn who_stops_waiting_does_not_cut_the_wait_short() {
        let mut acceptor = acceptor([out_of_files(), io::ErrorKind::NotFound.into()]);
        let begin = Instant::now();
        for _ in 0..3 {
            assert!(acceptor.accept().now_or_never().is_none());
        }
        assert_eq!(acceptor.accept().await.map(drop).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(begin.elapsed(), FIRST_WAIT);
    }
}
