//! Handing the build context and the Dockerfile to BuildKit, as `docker build` does: the
//! engine asks for a directory, is told its entries, and asks for files by number.
//!
//! The Dockerfile is in a directory of its own, so that the context holds exactly what was
//! hashed, and `COPY .` copies exactly that.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, mpsc};

use futures_util::StreamExt;
use futures_util::stream::{BoxStream, unfold};
use tokio::sync::mpsc as channel;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::packet::{FINISH, PIECE, Packet, REQUEST, STAT};
use crate::adapter::context::root::Root;
use crate::adapter::context::send;
use crate::adapter::locked::locked;
use crate::model::{Digest, Entry, EntryKind, FileHasher, RelPath};
use crate::port::{BuildRequest, ContextError};

/// The Dockerfile's name in its directory.
pub const DOCKERFILE: &str = "Dockerfile";
/// The file that BuildKit asks for before anything else of a context.
const IGNORE: &[u8] = b".dockerignore";
/// The packets waiting at most.
const WAITING: usize = 16;

/// What is handed over, and what went wrong with it.
pub struct Offer {
    root: PathBuf,
    context: Vec<Entry>,
    dockerfile: Vec<Entry>,
    dockerfile_bytes: Vec<u8>,
    failure: Mutex<Option<ContextError>>,
    closed: CancellationToken,
}

type Answer = Result<Packet, Status>;

impl Offer {
    /// Offers a build's context and Dockerfile until `closed`.
    pub fn new(request: &BuildRequest, closed: CancellationToken) -> Self {
        let bytes = request.dockerfile.clone();
        let kind =
            EntryKind::File { digest: Digest::of(&bytes), size: bytes.len() as u64, executable: false };
        let path = RelPath::new(DOCKERFILE.as_bytes());
        Self {
            root: request.root.clone(),
            context: send::with_parents(&request.entries),
            dockerfile: path.into_iter().map(|path| Entry { path, kind: kind.clone() }).collect(),
            dockerfile_bytes: bytes,
            failure: Mutex::default(),
            closed,
        }
    }

    /// Returns a name for the context's content.
    ///
    /// The engine keeps a context it was sent under this name and asks only for what has
    /// another size or time, and all times are 0 here: so no two contents may share it.
    pub fn name(&self) -> String {
        let mut hasher = FileHasher::new();
        let mut add = |part: &[u8]| {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part);
        };
        for entry in &self.context {
            add(entry.path.as_bytes());
            match &entry.kind {
                EntryKind::File { digest, executable, .. } => {
                    add(digest.as_str().as_bytes());
                    add(&[b'f', u8::from(*executable)]);
                }
                EntryKind::Symlink { target } => {
                    add(target);
                    add(b"l");
                }
                EntryKind::Directory => add(b"d"),
            }
        }
        hasher.finish().0.hex().to_owned()
    }

    /// Takes the error that made the handing over fail, if there was one.
    pub fn failure(&self) -> Option<ContextError> {
        locked(&self.failure).take()
    }

    /// Answers one request for a directory.
    pub fn hand_over(
        self: Arc<Self>,
        request: Request<Streaming<Packet>>,
    ) -> Result<Response<BoxStream<'static, Answer>>, Status> {
        let directory = Directory::asked_for(request.metadata())?;
        let (answers, answered) = channel::channel(WAITING);
        let (asks, asked) = mpsc::channel();
        let closed = self.closed.clone();
        let listen = listen(request.into_inner(), asks, answers.clone());
        tokio::spawn(closed.clone().run_until_cancelled_owned(listen));
        tokio::task::spawn_blocking(move || {
            if let Err(error) = self.send(directory, &asked, &answers) {
                let status = Status::aborted(error.to_string());
                *locked(&self.failure) = Some(error);
                // Nobody to tell if the engine is gone.
                let _ = answers.blocking_send(Err(status));
            }
        });
        let answers = unfold(answered, |mut answered| async {
            let answer = answered.recv().await?;
            Some((answer, answered))
        });
        Ok(Response::new(answers.take_until(closed.cancelled_owned()).boxed()))
    }

    /// Tells the entries, then sends what is asked for until nobody asks any more.
    fn send(
        &self,
        directory: Directory,
        asked: &mpsc::Receiver<u32>,
        to: &channel::Sender<Answer>,
    ) -> Result<(), ContextError> {
        let send = |packet| to.blocking_send(Ok(packet)).is_ok();
        let entries = match directory {
            Directory::Context => &self.context[..],
            Directory::Dockerfile => &self.dockerfile[..],
            Directory::Ignore => {
                let at = self.context.iter().position(|entry| entry.path.as_bytes() == IGNORE);
                at.and_then(|at| self.context.get(at..=at)).unwrap_or_default()
            }
        };
        let end = Packet { kind: STAT, ..Packet::default() };
        let entry = |entry| match directory {
            Directory::Dockerfile => Packet::entry(entry).with_time_of(entry),
            Directory::Context | Directory::Ignore => Packet::entry(entry),
        };
        if !entries.iter().map(entry).chain([end]).all(send) {
            return Ok(());
        }
        let root = Root::open(&self.root)?;
        let mut buffer = vec![0; PIECE];
        for id in asked {
            let entry = usize::try_from(id).ok().and_then(|index| entries.get(index));
            let Some(Entry { path, kind: EntryKind::File { digest, size, executable } }) = entry else {
                let _ = to.blocking_send(Err(Status::invalid_argument(format!("entry {id} is no file"))));
                return Ok(());
            };
            let mut take = |piece: &[u8]| send(Packet::data(id, piece));
            let sent = match directory {
                Directory::Dockerfile => self.dockerfile_bytes.chunks(PIECE).all(take),
                _ => send::read(&root, path, (digest, *size, *executable), &mut buffer, &mut take)?,
            };
            // The end of a file is told only when all of it was what was hashed.
            if !sent || !send(Packet::data(id, b"")) {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Passes on what is asked for until the engine has all.
async fn listen(mut from: Streaming<Packet>, asks: mpsc::Sender<u32>, to: channel::Sender<Answer>) {
    while let Ok(Some(packet)) = from.message().await {
        match packet.kind {
            REQUEST if asks.send(packet.id).is_ok() => {}
            FINISH => {
                let _ = to.send(Ok(Packet { kind: FINISH, ..Packet::default() })).await;
                return;
            }
            _ => return,
        }
    }
}

/// What the engine can ask for.
#[derive(Clone, Copy)]
enum Directory {
    Context,
    Dockerfile,
    /// The context, but only its ignore file is wanted.
    Ignore,
}

impl Directory {
    fn asked_for(metadata: &MetadataMap) -> Result<Self, Status> {
        let mut wanted = metadata.get_all("followpaths").iter();
        match metadata.get("dir-name").map(|name| name.as_bytes()) {
            Some(b"dockerfile") => Ok(Self::Dockerfile),
            Some(b"context") if wanted.next().is_some_and(|path| path.as_bytes() == IGNORE) => {
                Ok(if wanted.next().is_none() { Self::Ignore } else { Self::Context })
            }
            Some(b"context") => Ok(Self::Context),
            _ => Err(Status::not_found("there is no such directory")),
        }
    }
}
