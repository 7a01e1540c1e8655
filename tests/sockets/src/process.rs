//! [`Process`]: obeys orders on whatever sockets its [`Runtime`] has.

use std::collections::BTreeMap;
use std::future::{pending, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use futures::future::BoxFuture;
use hermesh_runtime::{Address, Listener, Runtime, Stream};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::Mutex as Turn;
use tokio::time::{sleep, timeout};

use crate::order::Order;

/// Longer than a busy kernel needs for a packet on loopback.
const LATE: Duration = Duration::from_millis(20);

/// When an operation that is not over is called pending.
#[derive(Clone, Copy, Debug)]
pub enum Patience {
    /// Once the kernel's events were asked for so often and 20 ms have passed: what one process does on loopback is
    /// there for the other when the call returns, unless the kernel is so busy that it hands it to a thread of its own.
    Polls(u32),
    /// After this time, which is a simulated one.
    Time(Duration),
}

impl Patience {
    /// What is expected to end may take so long; it never does, unless something is broken.
    fn bound(self) -> Duration {
        match self {
            Self::Polls(_) => Duration::from_secs(20),
            Self::Time(_) => Duration::from_secs(600),
        }
    }

    async fn end(self) {
        match self {
            Self::Polls(polls) => {
                for _ in 0..polls {
                    // Between two polls of a task that yields, tokio asks the kernel for events.
                    tokio::task::yield_now().await;
                }
                sleep(LATE).await;
            }
            Self::Time(time) => sleep(time).await,
        }
    }
}

/// A process with sockets.
pub struct Process {
    runtime: Runtime,
    patience: Patience,
    sockets: Sockets,
    under_way: BTreeMap<(String, String), BoxFuture<'static, String>>,
    over: BTreeMap<(String, String), String>,
}

/// Open sockets by name.
type Sockets = Arc<Mutex<BTreeMap<String, Socket>>>;

enum Socket {
    Listener(Arc<Turn<Box<dyn Listener>>>, Address),
    Connection(Connection),
    /// Held open, and nothing else.
    Crowd {
        _streams: Vec<Box<dyn Stream>>,
    },
}

#[derive(Clone)]
struct Connection {
    local: Address,
    peer: Address,
    reader: Arc<Turn<Reader>>,
    writer: Arc<Turn<Writer>>,
}

struct Reader {
    half: ReadHalf<Box<dyn Stream>>,
    read: usize,
}

struct Writer {
    half: WriteHalf<Box<dyn Stream>>,
    written: usize,
}

impl Process {
    /// A process without sockets.
    #[must_use]
    pub fn new(runtime: Runtime, patience: Patience) -> Self {
        let sockets = Sockets::default();
        Self { runtime, patience, sockets, under_way: BTreeMap::new(), over: BTreeMap::new() }
    }

    /// Goes on with what is under way; never ends.
    pub async fn run(&mut self) {
        self.drive(pending()).await
    }

    /// Does as told. With `wait`, an operation gets the time it needs; without, it is seen whether it is over already.
    /// In either case one that is not over goes on, and `finish` tells of its end.
    pub async fn obey(&mut self, order: &str, wait: bool) -> String {
        let Some(order) = Order::read(order) else {
            return format!("no such order: {order}");
        };
        match order {
            Order::Finish { verb, name } => self.answer((verb, name), wait).await,
            Order::Abandon { verb, name } => {
                let dropped = self.under_way.remove(&(verb, name)).is_some();
                if dropped { "ok" } else { "nothing is under way" }.to_owned()
            }
            Order::Close { name } => {
                self.under_way.retain(|(_, of), _| *of != name);
                let closed = lock(&self.sockets).remove(&name);
                if closed.is_some() { "ok".to_owned() } else { no(&name) }
            }
            order => {
                let key = key(&order);
                if self.under_way.contains_key(&key) {
                    return format!("busy: {} of {} is under way", key.0, key.1);
                }
                let operation = perform(self.runtime.clone(), Arc::clone(&self.sockets), self.patience, order);
                self.over.remove(&key);
                self.under_way.insert(key.clone(), Box::pin(operation));
                self.answer(key, wait).await
            }
        }
    }

    async fn answer(&mut self, key: (String, String), wait: bool) -> String {
        let patience = self.patience;
        if wait {
            let _ = timeout(patience.bound(), self.drive_until_over(&key)).await;
        } else {
            // The operation first: what is over when patience ends is over.
            let mut end = Box::pin(patience.end());
            poll_fn(|context| {
                self.poll_operations(context);
                if self.over.contains_key(&key) { Poll::Ready(()) } else { end.as_mut().poll(context) }
            })
            .await;
        }
        self.over.remove(&key).unwrap_or_else(|| "pending".to_owned())
    }

    async fn drive_until_over(&mut self, key: &(String, String)) {
        poll_fn(|context| {
            self.poll_operations(context);
            if self.over.contains_key(key) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await
    }

    async fn drive(&mut self, until: impl Future<Output = ()>) {
        let mut until = std::pin::pin!(until);
        poll_fn(|context| {
            self.poll_operations(context);
            until.as_mut().poll(context)
        })
        .await
    }

    fn poll_operations(&mut self, context: &mut std::task::Context<'_>) {
        let over = &mut self.over;
        self.under_way.retain(|key, operation| match operation.as_mut().poll(context) {
            Poll::Ready(answer) => {
                over.insert(key.clone(), answer);
                false
            }
            Poll::Pending => true,
        });
    }
}

/// Under which verb and socket an operation can be finished.
fn key(order: &Order) -> (String, String) {
    let (verb, name) = match order {
        Order::Connect { name, .. } | Order::ConnectMany { name, .. } => ("connect", name.as_str()),
        Order::Accept { listener, .. } | Order::AcceptMany { listener } => ("accept", listener.as_str()),
        Order::Write { name, .. }
        | Order::WriteVectored { name, .. }
        | Order::WriteUntilPending { name }
        | Order::WriteUntilFailed { name }
        | Order::Shutdown { name } => ("write", name.as_str()),
        Order::Read { name, .. } | Order::ReadToEnd { name } => ("read", name.as_str()),
        _ => ("other", ""),
    };
    (verb.to_owned(), name.to_owned())
}

async fn perform(runtime: Runtime, sockets: Sockets, patience: Patience, order: Order) -> String {
    let done = match order {
        Order::Listen { at, name } => listen(&runtime, &sockets, at, name).await,
        Order::Connect { to, name } => match runtime.connect(to).await {
            Ok(stream) => Ok(keep(&sockets, name, stream)),
            Err(error) => Err(error),
        },
        Order::ConnectMany { to, name } => return connect_many(&runtime, &sockets, patience, &to, name).await,
        Order::Accept { listener, name } => match self::listener(&sockets, &listener) {
            None => return no(&listener),
            Some((listener, _)) => {
                let accepted = listener.lock().await.accept().await;
                accepted.map(|stream| keep(&sockets, name, stream))
            }
        },
        Order::AcceptMany { listener } => return accept_many(&sockets, patience, &listener).await,
        Order::Remove { path } => runtime.remove(file(path)).await.map(ok),
        Order::Rename { from, to } => runtime.rename(file(from), file(to)).await.map(ok),
        Order::Link { target, link } => runtime.symlink(file(target), file(link)).await.map(ok),
        Order::File { path } => runtime.write(file(path), "text", 0o644).await.map(ok),
        Order::Folder { path } => runtime.create_dir_all(file(path), 0o755).await.map(ok),
        Order::ListenerAddress { name } => match listener(&sockets, &name) {
            None => return no(&name),
            Some((_, address)) => Ok(address.to_string()),
        },
        Order::Finish { .. } | Order::Abandon { .. } | Order::Close { .. } => unreachable!("`obey` does it"),
        Order::Write { ref name, .. }
        | Order::WriteVectored { ref name, .. }
        | Order::WriteUntilPending { ref name }
        | Order::WriteUntilFailed { ref name }
        | Order::Read { ref name, .. }
        | Order::ReadToEnd { ref name }
        | Order::Shutdown { ref name }
        | Order::LocalAddress { ref name }
        | Order::PeerAddress { ref name } => {
            let connection = match lock(&sockets).get(name) {
                Some(Socket::Connection(connection)) => connection.clone(),
                _ => return no(name),
            };
            on_connection(connection, patience, order).await
        }
    };
    done.unwrap_or_else(|error| words(&error))
}

async fn on_connection(connection: Connection, patience: Patience, order: Order) -> io::Result<String> {
    match order {
        Order::LocalAddress { .. } => return Ok(connection.local.to_string()),
        Order::PeerAddress { .. } => return Ok(connection.peer.to_string()),
        Order::Read { bytes, .. } => return connection.reader.lock().await.read(bytes).await,
        Order::ReadToEnd { .. } => return Ok(connection.reader.lock().await.read_to_end().await),
        _ => {}
    }
    let mut writer = connection.writer.lock().await;
    match order {
        Order::Write { bytes, .. } => {
            let goal = writer.written + bytes;
            while writer.written < goal {
                let parts = [goal - writer.written];
                writer.write(&parts).await?;
            }
            Ok(ok(()))
        }
        Order::WriteVectored { parts, .. } => writer.write(&parts).await.map(|bytes| format!("{bytes} bytes")),
        Order::WriteUntilPending { .. } => writer.write_until_pending(patience).await,
        Order::WriteUntilFailed { .. } => loop {
            writer.write(&[1]).await?;
            patience.end().await;
        },
        _ => writer.half.shutdown().await.map(ok),
    }
}

impl Reader {
    /// Reads so many bytes; tells why, if they are fewer.
    async fn read(&mut self, bytes: usize) -> io::Result<String> {
        let mut buffer = vec![0; bytes.min(CHUNK)];
        let mut count = 0;
        while count < bytes {
            let room = (bytes - count).min(CHUNK);
            match self.half.read(&mut buffer[..room]).await {
                Ok(0) if count == 0 => return Ok("end of file".to_owned()),
                Ok(0) => return Ok(format!("{count} bytes, then end of file")),
                Ok(some) => {
                    if let Some(at) = self.check(&buffer[..some]) {
                        return Ok(format!("byte {at} is not what was written"));
                    }
                    count += some;
                }
                Err(error) if count == 0 => return Err(error),
                Err(error) => return Ok(format!("{count} bytes, then {}", words(&error))),
            }
        }
        Ok(format!("{count} bytes"))
    }

    async fn read_to_end(&mut self) -> String {
        match self.read(usize::MAX).await {
            Ok(answer) => answer,
            Err(error) => words(&error),
        }
    }

    /// Counts what was read; answers with the first byte that is not the writer's.
    fn check(&mut self, bytes: &[u8]) -> Option<usize> {
        let wrong = bytes.iter().zip(self.read..).find(|(byte, at)| **byte != content(*at));
        self.read += bytes.len();
        wrong.map(|(_, at)| at)
    }
}

impl Writer {
    /// One call that writes parts of these sizes; what is more than a call takes at once is left out.
    async fn write(&mut self, parts: &[usize]) -> io::Result<usize> {
        let mut at = self.written;
        let mut buffers = Vec::new();
        for part in parts {
            let end = at + (*part).min(CHUNK);
            buffers.push((at..end).map(content).collect::<Vec<u8>>());
            at = end;
        }
        let slices: Vec<IoSlice<'_>> = buffers.iter().map(|buffer| IoSlice::new(buffer)).collect();
        let half = &mut self.half;
        let written = match slices.as_slice() {
            [one] => poll_fn(|context| Pin::new(&mut *half).poll_write(context, one)).await?,
            several => poll_fn(|context| Pin::new(&mut *half).poll_write_vectored(context, several)).await?,
        };
        self.written += written;
        Ok(written)
    }

    async fn write_until_pending(&mut self, patience: Patience) -> io::Result<String> {
        let before = self.written;
        loop {
            let mut end = Box::pin(patience.end());
            let mut write = Box::pin(self.write(&[CHUNK]));
            let written = poll_fn(|context| match write.as_mut().poll(context) {
                Poll::Ready(written) => Poll::Ready(Some(written)),
                Poll::Pending => end.as_mut().poll(context).map(|()| None),
            })
            .await;
            drop(write);
            match written {
                Some(written) => written?,
                None if self.written == before => return Ok("pending".to_owned()),
                None => return Ok(format!("{} bytes", self.written - before)),
            };
        }
    }
}

async fn listen(runtime: &Runtime, sockets: &Sockets, at: Address, name: String) -> io::Result<String> {
    let listener = runtime.listen(at).await?;
    let address = listener.local_address();
    let answer = format!("ok at {address}");
    lock(sockets).insert(name, Socket::Listener(Arc::new(Turn::new(listener)), address));
    Ok(answer)
}

async fn connect_many(runtime: &Runtime, sockets: &Sockets, patience: Patience, to: &Address, name: String) -> String {
    let mut streams = Vec::new();
    let why = loop {
        match within(patience, runtime.connect(to.clone())).await {
            None => break "pending".to_owned(),
            Some(Err(error)) => break words(&error),
            Some(Ok(stream)) => streams.push(stream),
        }
    };
    let answer = format!("{} connections, then {why}", streams.len());
    lock(sockets).insert(name, Socket::Crowd { _streams: streams });
    answer
}

async fn accept_many(sockets: &Sockets, patience: Patience, name: &str) -> String {
    let Some((listener, _)) = listener(sockets, name) else {
        return no(name);
    };
    let mut listener = listener.lock().await;
    let mut streams = Vec::new();
    while let Some(accepted) = within(patience, listener.accept()).await {
        match accepted {
            Ok(stream) => streams.push(stream),
            Err(error) => return format!("{} connections, then {}", streams.len(), words(&error)),
        }
    }
    let answer = format!("{} connections", streams.len());
    lock(sockets).insert(format!("{name}'s crowd"), Socket::Crowd { _streams: streams });
    answer
}

async fn within<T>(patience: Patience, mut future: BoxFuture<'_, T>) -> Option<T> {
    let mut end = Box::pin(patience.end());
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => end.as_mut().poll(context).map(|()| None),
    })
    .await
}

fn keep(sockets: &Sockets, name: String, stream: Box<dyn Stream>) -> String {
    let (local, peer) = (stream.local_address(), stream.peer_address());
    let (reader, writer) = tokio::io::split(stream);
    let reader = Arc::new(Turn::new(Reader { half: reader, read: 0 }));
    let writer = Arc::new(Turn::new(Writer { half: writer, written: 0 }));
    lock(sockets).insert(name, Socket::Connection(Connection { local, peer, reader, writer }));
    ok(())
}

type SharedListener = Arc<Turn<Box<dyn Listener>>>;

fn listener(sockets: &Sockets, name: &str) -> Option<(SharedListener, Address)> {
    match lock(sockets).get(name) {
        Some(Socket::Listener(listener, address)) => Some((Arc::clone(listener), address.clone())),
        _ => None,
    }
}

/// How much one call moves.
const CHUNK: usize = 64 * 1024;

/// What every writer writes at this position of a stream; no two spans of it are the same for long.
fn content(at: usize) -> u8 {
    let mixed = (at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 56) as u8
}

/// The error as the standard library words it.
fn words(error: &io::Error) -> String {
    error.kind().to_string()
}

fn file(path: Address) -> std::path::PathBuf {
    match path {
        Address::Unix(path) => path,
        Address::Tcp(address) => panic!("{address} is no file"),
    }
}

fn ok((): ()) -> String {
    "ok".to_owned()
}

fn no(name: &str) -> String {
    format!("no socket `{name}`")
}

fn lock(sockets: &Sockets) -> std::sync::MutexGuard<'_, BTreeMap<String, Socket>> {
    sockets.lock().expect("nothing panics while it holds the table")
}
