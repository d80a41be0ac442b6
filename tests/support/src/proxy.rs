//! A proxy in front of a real registry: it passes everything on, except where a test's script
//! wants a fault. It logs every request.
//!
//! A proxy may stand for a part of the registry: with a prefix, `/v2/a/…` is the registry's
//! `/v2/PREFIX/a/…`. Locations and links are written so that the traffic stays in the proxy.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use boxwright::model::Repository;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use crate::peer::{Reply, Seen};

/// What is done to one exchange.
pub enum Fault {
    /// Nothing.
    None,
    /// The registry is not asked.
    Instead(Reply),
    /// The connection ends before the request is passed on.
    Reset,
    /// Nothing is ever said, and the request is not passed on.
    Stall,
    /// So much of the body reaches the registry, then both connections end.
    CutRequest(usize),
    /// The request is passed on after a while.
    Late(Duration),
    /// The request is passed on, and its answer is not.
    LostAnswer,
    /// The connection ends after so many bytes of the answer's body.
    CutAnswer(usize),
    /// The answer's body comes one byte at a time.
    Drip(Duration),
    /// The request is passed on twice; the second answer counts.
    Twice,
    /// The answer's body is followed by bytes that its length does not announce.
    Overlong,
    /// The answer is changed.
    Change(Box<dyn FnOnce(&mut Reply) + Send>),
}

impl Fault {
    pub fn change(change: impl FnOnce(&mut Reply) + Send + 'static) -> Self {
        Self::Change(Box::new(change))
    }
}

type Script = Arc<Mutex<dyn FnMut(&Seen, usize) -> Fault + Send>>;

/// The proxy; it ends when it is dropped.
pub struct Proxy {
    pub host: String,
    log: Arc<Mutex<Vec<Seen>>>,
    task: AbortHandle,
}

/// What a proxy stands for.
#[derive(Clone)]
struct Part {
    /// The registry's address.
    registry: String,
    prefix: String,
}

impl Proxy {
    /// Starts a proxy to `registry`; `script` gets each request's head, with the number of
    /// the requests before it.
    pub async fn start(registry: &str, script: impl FnMut(&Seen, usize) -> Fault + Send + 'static) -> Self {
        Self::to_part(registry, "", script).await
    }

    /// Starts a proxy to what stands below `prefix`.
    pub async fn to_part(
        registry: &str,
        prefix: &str,
        script: impl FnMut(&Seen, usize) -> Fault + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let log: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (script, shared): (Script, _) = (Arc::new(Mutex::new(script)), log.clone());
        let part = Part { registry: registry.to_owned(), prefix: prefix.to_owned() };
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, part.clone(), script.clone(), shared.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { host, log, task: task.abort_handle() }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.log.lock().unwrap().clone()
    }

    /// The requests as `METHOD target`.
    pub fn lines(&self) -> Vec<String> {
        self.seen().iter().map(Seen::line).collect()
    }

    pub fn repository(&self, name: &str) -> Repository {
        Repository::new(&self.host, name).unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves one connection; ends where a fault ends it.
async fn serve(stream: TcpStream, part: Part, script: Script, log: Arc<Mutex<Vec<Seen>>>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut client = BufStream::new(stream);
    let mut registry = BufStream::new(TcpStream::connect(&part.registry).await?);
    registry.get_ref().set_nodelay(true)?;
    while let Some(mut seen) = Seen::read(&mut client).await {
        let before = {
            let mut log = log.lock().unwrap();
            log.push(seen.clone());
            log.len() - 1
        };
        let fault = (script.lock().unwrap())(&seen, before);
        match fault {
            Fault::Reset => return Ok(()),
            Fault::Stall => {
                sleep(Duration::from_secs(600)).await;
                return Ok(());
            }
            Fault::CutRequest(length) => {
                let mut body = vec![0; length.min(seen.length())];
                client.read_exact(&mut body).await?;
                return part.send(&mut registry, &seen, &body).await;
            }
            _ => {}
        }
        seen.body = body_of(&mut client, &seen).await?;
        log.lock().unwrap()[before].body.clone_from(&seen.body);
        if let Fault::Instead(reply) = fault {
            write(&mut client, &reply, &seen, Body::Whole).await?;
            continue;
        }
        if let Fault::Late(time) = fault {
            sleep(time).await;
        }
        if matches!(fault, Fault::Twice) {
            part.ask(&mut registry, &seen).await?;
        }
        let mut reply = part.ask(&mut registry, &seen).await?;
        match fault {
            Fault::LostAnswer => return Ok(()),
            Fault::CutAnswer(length) => return write(&mut client, &reply, &seen, Body::Cut(length)).await,
            Fault::Overlong => return write(&mut client, &reply, &seen, Body::Overlong).await,
            Fault::Drip(pause) => write(&mut client, &reply, &seen, Body::Drip(pause)).await?,
            Fault::Change(change) => {
                change(&mut reply);
                write(&mut client, &reply, &seen, Body::Whole).await?;
            }
            _ => write(&mut client, &reply, &seen, Body::Whole).await?,
        }
    }
    Ok(())
}

impl Part {
    /// Passes a request on and reads the answer, with its places put into the proxy.
    async fn ask(&self, registry: &mut BufStream<TcpStream>, seen: &Seen) -> io::Result<Reply> {
        self.send(registry, seen, &seen.body).await?;
        let mut reply = read_reply(registry, seen.method == "HEAD").await?;
        let own = seen.header("host").unwrap_or_default();
        for (name, value) in &mut reply.headers {
            if name == "location" || name == "link" {
                *value = value.replace(&format!("//{}/", self.registry), &format!("//{own}/"));
                if !self.prefix.is_empty() {
                    *value = value.replace(&format!("/v2/{}/", self.prefix), "/v2/");
                }
            }
        }
        Ok(reply)
    }

    async fn send(&self, registry: &mut BufStream<TcpStream>, seen: &Seen, body: &[u8]) -> io::Result<()> {
        let mut head =
            format!("{} {} HTTP/1.1\r\nHost: {}\r\n", seen.method, self.target(seen), self.registry);
        for (name, value) in &seen.headers {
            if !matches!(name.as_str(), "host" | "connection" | "transfer-encoding") {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        if seen.header("content-length").is_none() && !body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        registry.write_all(head.as_bytes()).await?;
        registry.write_all(body).await?;
        registry.flush().await
    }

    fn target(&self, seen: &Seen) -> String {
        if self.prefix.is_empty() || seen.target == "/v2/" {
            return seen.target.clone();
        }
        let inside = seen.target.replacen("/v2/", &format!("/v2/{}/", self.prefix), 1);
        inside.replace("&from=", &format!("&from={}/", self.prefix))
    }
}

/// Reads a request's body, whichever way its length is told.
async fn body_of(client: &mut BufStream<TcpStream>, seen: &Seen) -> io::Result<Vec<u8>> {
    if seen.header("transfer-encoding") == Some("chunked") {
        return read_chunks(client).await;
    }
    let mut body = vec![0; seen.length()];
    client.read_exact(&mut body).await?;
    Ok(body)
}

async fn read_reply(stream: &mut BufStream<TcpStream>, is_head: bool) -> io::Result<Reply> {
    let odd = || io::Error::from(io::ErrorKind::InvalidData);
    let status = line(stream).await?.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(odd)?;
    let mut reply = Reply::new(status);
    loop {
        let line = line(stream).await?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(": ").ok_or_else(odd)?;
        reply.headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    if is_head || reply.status == 204 {
        return Ok(reply);
    }
    if reply.get("transfer-encoding") == Some("chunked") {
        reply.body = read_chunks(stream).await?;
    } else if let Some(length) = reply.get("content-length") {
        reply.body = vec![0; length.parse().map_err(|_| odd())?];
        stream.read_exact(&mut reply.body).await?;
    }
    Ok(reply)
}

async fn line(stream: &mut BufStream<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

async fn read_chunks(stream: &mut BufStream<TcpStream>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = line(stream).await?;
        let size = usize::from_str_radix(&size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
        let start = body.len();
        body.resize(start + size, 0);
        stream.read_exact(&mut body[start..]).await?;
        line(stream).await?;
        if size == 0 {
            return Ok(body);
        }
    }
}

/// How a body is sent.
enum Body {
    Whole,
    Cut(usize),
    Drip(Duration),
    Overlong,
}

async fn write(stream: &mut BufStream<TcpStream>, reply: &Reply, seen: &Seen, how: Body) -> io::Result<()> {
    let is_head = seen.method == "HEAD";
    let mut head = format!("HTTP/1.1 {} Passed\r\n", reply.status);
    for (name, value) in &reply.headers {
        let is_ours = matches!(name.as_str(), "connection" | "transfer-encoding")
            || (name == "content-length" && !is_head);
        if !is_ours {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    if !is_head && reply.status != 204 {
        head.push_str(&format!("Content-Length: {}\r\n", reply.body.len()));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    match how {
        _ if is_head => {}
        Body::Whole => stream.write_all(&reply.body).await?,
        Body::Cut(length) => stream.write_all(&reply.body[..length.min(reply.body.len())]).await?,
        Body::Overlong => {
            stream.write_all(&reply.body).await?;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await?;
        }
        Body::Drip(pause) => {
            for byte in &reply.body {
                stream.write_all(&[*byte]).await?;
                stream.flush().await?;
                sleep(pause).await;
            }
        }
    }
    stream.flush().await
}
