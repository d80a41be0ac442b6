//! The least work that any client can do, to be timed beside boxwright (`scripts/bench`).
//!
//! ```text
//! limit files DIR N SIZE     writes N files of SIZE bytes, 100 in a directory
//! limit hash DIR             two threads that list, read and hash; nothing is sorted or kept
//! limit stat DIR             two threads that list and stat
//! limit tree FILE            one file in chunks of 8 MiB, on two threads
//! limit head URL...          one HEAD per URL on kept connections, up to 32 at once
//! limit retag TAG URL...     one GET per URL and one PUT of what came under TAG, likewise
//! limit use DIR TAG URL...   what a build that finds everything cannot do without: list and stat
//!                            DIR, put an artefact under the URL TAG and read it back, then head
//! limit delay MS ADDRESS     forwards a port to ADDRESS, so much later each way; prints the port
//! limit race ROUNDS          runs the commands on stdin in turn, ROUNDS times each; one
//!                            `NAME<TAB>COMMAND` a line, out come `NAME<TAB>MEDIAN<TAB>PEAK`:
//!                            seconds, and resident KiB as seen every millisecond
//! ```
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

const THREADS: usize = 2;

fn main() {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let text = |index: usize| arguments[index].to_str().unwrap().to_owned();
    let urls = |from: usize| -> Vec<String> { (from..arguments.len()).map(text).collect() };
    match arguments[0].to_str().unwrap() {
        "files" => files(Path::new(&arguments[1]), text(2).parse().unwrap(), text(3).parse().unwrap()),
        "hash" => walk(Path::new(&arguments[1]), true),
        "stat" => walk(Path::new(&arguments[1]), false),
        "tree" => tree(Path::new(&arguments[1])),
        "head" => runtime().block_on(head(&urls(1))),
        "retag" => runtime().block_on(retag(&text(1), &urls(2))),
        "use" => {
            walk(Path::new(&arguments[1]), false);
            runtime().block_on(async {
                put(&text(2)).await;
                head(&[text(2)]).await;
                head(&urls(3)).await;
            });
        }
        "delay" => runtime().block_on(delay(text(1).parse().unwrap(), text(2).parse().unwrap())),
        "race" => race(text(1).parse().unwrap()),
        other => panic!("no limit is named {other}"),
    }
}

/// Writes files that do not compress and are all different, the same ones each time.
fn files(root: &Path, count: usize, size: usize) {
    let mut state = 1_u64;
    let mut bytes = vec![0; size + 8];
    for word in bytes.chunks_mut(8) {
        // Knuth's MMIX generator.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        word.copy_from_slice(&state.to_be_bytes()[..word.len()]);
    }
    for index in 0..count {
        let directory = root.join(format!("m{:03}/p{:05}", index / 2500, index / 100));
        if index % 100 == 0 {
            std::fs::create_dir_all(&directory).unwrap();
        }
        bytes[..8].copy_from_slice(&(index as u64).to_be_bytes());
        std::fs::write(directory.join(format!("file_{index:07}.rs")), &bytes[..size]).unwrap();
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Directories that wait, each with its path, and how many threads are at work.
#[derive(Default)]
struct Waiting {
    state: Mutex<(Vec<CString>, usize)>,
    changed: Condvar,
}

fn walk(root: &Path, hash: bool) {
    let waiting = Waiting::default();
    waiting.state.lock().unwrap().0.push(CString::new(root.as_os_str().as_bytes()).unwrap());
    let (files, bytes) = (AtomicUsize::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut buffer = vec![0; 256 << 10];
                while let Some(path) = next(&waiting) {
                    let (more_files, more_bytes) = list(&path, hash, &waiting, &mut buffer);
                    files.fetch_add(more_files, Ordering::Relaxed);
                    bytes.fetch_add(more_bytes, Ordering::Relaxed);
                    waiting.state.lock().unwrap().1 -= 1;
                    waiting.changed.notify_all();
                }
            });
        }
    });
    println!("{} files, {} bytes", files.into_inner(), bytes.into_inner());
}

fn next(waiting: &Waiting) -> Option<CString> {
    let mut state = waiting.state.lock().unwrap();
    loop {
        if let Some(path) = state.0.pop() {
            state.1 += 1;
            return Some(path);
        }
        if state.1 == 0 {
            return None;
        }
        state = waiting.changed.wait(state).unwrap();
    }
}

fn list(path: &CString, hash: bool, waiting: &Waiting, buffer: &mut [u8]) -> (usize, u64) {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(CWD, path, flags | OFlags::DIRECTORY, Mode::empty()).unwrap();
    let (mut files, mut bytes) = (0, 0);
    for entry in Dir::read_from(&directory).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type() {
            FileType::Directory if entry.file_name() != c"." && entry.file_name() != c".." => {
                let below = [path.to_bytes(), b"/", entry.file_name().to_bytes()].concat();
                waiting.state.lock().unwrap().0.push(CString::new(below).unwrap());
                waiting.changed.notify_one();
            }
            FileType::RegularFile if hash => {
                files += 1;
                let file = rustix::fs::openat(&directory, entry.file_name(), flags, Mode::empty()).unwrap();
                bytes += read(file, buffer);
            }
            FileType::RegularFile => {
                files += 1;
                let stat = rustix::fs::statat(&directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW);
                bytes += u64::try_from(stat.unwrap().st_size).unwrap();
            }
            _ => {}
        }
    }
    (files, bytes)
}

fn read(file: OwnedFd, buffer: &mut [u8]) -> u64 {
    let mut file = File::from(file);
    let (mut hasher, mut bytes) = (Sha256::new(), 0);
    loop {
        let count = file.read(buffer).unwrap();
        if count == 0 {
            std::hint::black_box(hasher.finalize());
            return bytes;
        }
        bytes += count as u64;
        hasher.update(&buffer[..count]);
    }
}

fn tree(path: &Path) {
    const CHUNK: u64 = 8 << 20;
    let file = File::open(path).unwrap();
    let size = file.metadata().unwrap().len();
    let at = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut buffer = vec![0; 256 << 10];
                loop {
                    let start = at.fetch_add(CHUNK, Ordering::Relaxed);
                    if start >= size {
                        return;
                    }
                    let mut hasher = Sha256::new();
                    let mut done = start;
                    while done < size.min(start + CHUNK) {
                        let count = file.read_at(&mut buffer, done).unwrap();
                        hasher.update(&buffer[..count]);
                        done += count as u64;
                    }
                    std::hint::black_box(hasher.finalize());
                }
            });
        }
    });
    println!("{size} bytes");
}

/// A kept connection that speaks bare HTTP/1.1.
struct Connection<'a> {
    host: &'a str,
    stream: TcpStream,
}

impl<'a> Connection<'a> {
    async fn open(host: &'a str) -> Self {
        let stream = TcpStream::connect(host).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { host, stream }
    }

    /// Sends a request, `more` being further header lines, and gives the answer's head and body.
    async fn ask(&mut self, method: &str, path: &str, more: &str, body: &[u8]) -> (String, Vec<u8>) {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n{more}\r\n", self.host);
        self.stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
        let mut answer = Vec::new();
        let end = loop {
            if let Some(at) = answer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.stream.read_buf(&mut answer).await.unwrap() > 0, "{path}: cut off");
        };
        let rest = answer.split_off(end);
        let head = String::from_utf8(answer).unwrap();
        if method == "HEAD" {
            return (head, Vec::new());
        }
        let length = head
            .lines()
            .find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
        let length: usize = length.unwrap().parse().unwrap();
        let mut body = rest;
        while body.len() < length {
            assert!(self.stream.read_buf(&mut body).await.unwrap() > 0, "{path}: cut off");
        }
        (head, body)
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn accept() -> String {
    format!("accept: application/vnd.oci.image.index.v1+json, {MANIFEST}\r\n")
}

fn put_headers(length: usize) -> String {
    format!("content-type: {MANIFEST}\r\ncontent-length: {length}\r\n")
}

fn split(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("http://").unwrap();
    rest.split_at(rest.find('/').unwrap())
}

/// Does `work` for each URL: each connection takes the next one when it is done with one.
async fn each(urls: &[String], work: impl AsyncFn(&mut Connection, &str) -> bool) {
    const CONNECTIONS: usize = 32;
    let (next, found) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let at_work = (0..CONNECTIONS.min(urls.len())).map(async |_| {
        let mut connection = None;
        while let Some(url) = urls.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (host, path) = split(url);
            if connection.is_none() {
                connection = Some(Connection::open(host).await);
            }
            let is_done = work(connection.as_mut().unwrap(), path).await;
            found.fetch_add(usize::from(is_done), Ordering::Relaxed);
        }
    });
    futures_util::future::join_all(at_work).await;
    println!("{} of {}", found.into_inner(), urls.len());
}

async fn head(urls: &[String]) {
    let headers = accept();
    each(urls, async |connection, path| {
        connection.ask("HEAD", path, &headers, b"").await.0.starts_with("HTTP/1.1 200")
    })
    .await;
}

/// Reads each manifest and writes it under another tag of its repository.
async fn retag(tag: &str, urls: &[String]) {
    let headers = accept();
    each(urls, async |connection, path| {
        let (head, manifest) = connection.ask("GET", path, &headers, b"").await;
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
        let to = format!("{}/{tag}", path.rsplit_once('/').unwrap().0);
        let (head, _) = connection.ask("PUT", &to, &put_headers(manifest.len()), &manifest).await;
        assert!(head.starts_with("HTTP/1.1 201"), "{to}: {head}");
        true
    })
    .await;
}

/// Puts the smallest artefact there is; its one blob must stand.
async fn put(url: &str) {
    let empty = "{\"mediaType\":\"application/vnd.oci.empty.v1+json\",\"size\":2,\
         \"digest\":\"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\"}";
    let body = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{MANIFEST}\",\"artifactType\":\"application/x\",\
         \"config\":{empty},\"layers\":[{empty}]}}"
    );
    let (host, path) = split(url);
    let mut connection = Connection::open(host).await;
    let (head, _) = connection.ask("PUT", path, &put_headers(body.len()), body.as_bytes()).await;
    assert!(head.starts_with("HTTP/1.1 201"), "{url}: {head}");
}

/// Forwards connections; every piece of data arrives so many milliseconds after it was sent, in
/// each direction.
async fn delay(milliseconds: u64, to: SocketAddr) {
    let late = Duration::from_millis(milliseconds);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    std::io::stdout().flush().unwrap();
    loop {
        let (near, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            // A handshake takes a round trip as well.
            tokio::time::sleep(2 * late).await;
            let far = TcpStream::connect(to).await.unwrap();
            for stream in [&near, &far] {
                stream.set_nodelay(true).unwrap();
            }
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            tokio::spawn(later(late, near_in, far_out));
            tokio::spawn(later(late, far_in, near_out));
        });
    }
}

/// Pieces of at most 64 KiB that may be under way at once, in one direction of a connection.
const ON_THE_WAY: usize = 1024;

async fn later(late: Duration, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let (send, mut receive) = tokio::sync::mpsc::channel::<(tokio::time::Instant, Vec<u8>)>(ON_THE_WAY);
    tokio::spawn(async move {
        while let Some((due, bytes)) = receive.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let due = tokio::time::Instant::now() + late;
        if send.send((due, buffer[..count].to_vec())).await.is_err() {
            return;
        }
    }
}

/// Runs commands in turn, so that what else the machine does meets all of them alike.
fn race(rounds: usize) {
    let input = std::io::read_to_string(std::io::stdin()).unwrap();
    let commands: Vec<(&str, &str)> = input.lines().map(|line| line.split_once('\t').unwrap()).collect();
    let mut runs = vec![Vec::new(); commands.len()];
    let mut peaks = vec![0; commands.len()];
    // The first round warms caches up and does not count.
    for round in 0..=rounds {
        for (index, (name, command)) in commands.iter().enumerate() {
            let (seconds, peak) = run(name, command);
            if round > 0 {
                runs[index].push(seconds);
            }
            peaks[index] = peak.max(peaks[index]);
        }
    }
    for ((name, _), (runs, peak)) in commands.iter().zip(runs.iter_mut().zip(peaks)) {
        runs.sort_by(f64::total_cmp);
        println!("{name}\t{:.4}\t{peak}", runs[runs.len() / 2]);
    }
}

fn run(name: &str, command: &str) -> (f64, u64) {
    let mut words = command.split(' ');
    // A shell costs a millisecond; only what needs one gets one.
    let mut program = if command.contains(['|', '>', ';', '$']) {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]);
        shell
    } else {
        let mut program = Command::new(words.next().unwrap());
        program.args(words);
        program
    };
    let program = program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let mut child = program.spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut peak = 0;
            while !ended.load(Ordering::Relaxed) {
                let text = std::fs::read_to_string(&status).unwrap_or_default();
                let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
                let size = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
                peak = peak.max(size.unwrap_or(0));
                std::thread::sleep(Duration::from_millis(1));
            }
            peak
        });
        let result = child.wait().unwrap();
        let seconds = start.elapsed().as_secs_f64();
        ended.store(true, Ordering::Relaxed);
        assert!(result.success(), "{name}: {result}: {command}");
        (seconds, watch.join().unwrap())
    })
}
