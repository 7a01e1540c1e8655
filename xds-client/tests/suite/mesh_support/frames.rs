//! An HTTP/2 server made of single frames, for what a whole one never does at will.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hermesh_runtime::{Runtime, Stream, TaskGuard};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// What comes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// RST_STREAM with REFUSED_STREAM.
    Refuse,
    /// GOAWAY that names no stream as processed; the connection is closed.
    GoAway,
    /// `a`, as the echo backends answer.
    Answer,
}

pub(crate) struct FrameServer {
    pub(crate) address: SocketAddr,
    requests: Arc<AtomicUsize>,
    _task: TaskGuard,
}

impl FrameServer {
    /// Plays `script`, a reply for each request on whatever connection; then it answers.
    pub(crate) async fn start(rt: &Runtime, script: impl IntoIterator<Item = Reply>) -> Self {
        let mut listener = rt.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_address().tcp().unwrap();
        let requests: Arc<AtomicUsize> = Arc::default();
        let script: Arc<Mutex<VecDeque<Reply>>> = Arc::new(Mutex::new(script.into_iter().collect()));
        let (tasks, counter) = (rt.clone(), Arc::clone(&requests));
        let task = rt.spawn("frame server", async move {
            while let Ok(stream) = listener.accept().await {
                let (script, counter) = (Arc::clone(&script), Arc::clone(&counter));
                let next = move || {
                    counter.fetch_add(1, Ordering::SeqCst);
                    script.lock().unwrap().pop_front().unwrap_or(Reply::Answer)
                };
                tasks.spawn("frame connection", async move { drop(serve(stream, next).await) });
            }
        });
        Self { address, requests, _task: task.abort_on_drop() }
    }

    /// How many requests came so far.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

const PREFACE: usize = 24;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const REFUSED_STREAM: [u8; 4] = [0, 0, 0, 7];

async fn serve(mut stream: Box<dyn Stream>, next: impl Fn() -> Reply) -> std::io::Result<()> {
    stream.read_exact(&mut [0; PREFACE]).await?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, id @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload).await?;
        let is_whole_request = (kind == HEADERS || kind == DATA) && flags & END_STREAM != 0;
        if !is_whole_request {
            continue;
        }
        let id = u32::from_be_bytes(id);
        match next() {
            Reply::Refuse => stream.write_all(&frame(RST_STREAM, 0, id, &REFUSED_STREAM)).await?,
            Reply::GoAway => {
                stream.write_all(&frame(GOAWAY, 0, 0, &[0; 8])).await?;
                return stream.shutdown().await;
            }
            Reply::Answer => {
                let headers = [&[0x88][..], &literal("content-type", "application/grpc")].concat();
                stream.write_all(&frame(HEADERS, END_HEADERS, id, &headers)).await?;
                stream.write_all(&frame(DATA, 0, id, b"\0\0\0\0\x03\x0a\x01a")).await?;
                let trailers = literal("grpc-status", "0");
                stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, id, &trailers)).await?;
            }
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = (payload.len() as u32).to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header field with a name of its own and not to be remembered (RFC 7541, section 6.2.2).
fn literal(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}
