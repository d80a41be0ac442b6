//! Import: an archive's images, loaded into the engine, or pushed under the build protocol as
//! if they had just been built.
//!
//! What is pushed has the key that this checkout computes: an archive of another revision, or
//! one whose images say another key than their tags, changes nothing.

use futures_util::stream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::exec::archive::pack::{Blobs, PackError, pack};
use crate::exec::build::build_from;
use crate::exec::build::error::{BuildError, BuildOptions};
use crate::exec::build::from_archive::labels_of;
use crate::exec::build::job::Origin;
use crate::exec::build::outcome::{BuildReport, Outcome};
use crate::exec::event::{Emit, Event};
use crate::exec::keys::ResolvedBox;
use crate::exec::setting::{RegistryPorts, RunContext};
use crate::model::{ArchivedBox, ErrorKind, Explained, Explanation, Key, Span};
use crate::port::{Archive, BlobStream, EngineError, ImageStore};

/// Why an archive was not imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// An image is not what its tag says.
    #[error("box {name} of the archive cannot be used: {why}")]
    Image { name: String, why: String },
    /// The archive holds a box that the configuration does not have.
    #[error("the archive holds a box `{name}`, and no such box is declared here")]
    Undeclared { name: String },
    /// The archive holds an image for other inputs than those that are here.
    #[error("the archive holds {name} with key {archived}, and the inputs here have key {wanted}")]
    OtherKey { name: String, archived: Key, wanted: Key },
    /// The registry takes no writes from here; nothing was pushed.
    #[error("this registry takes no push from here: {why}")]
    ReadOnly {
        /// What it said of the first box.
        why: String,
    },
    /// The protocol could not be begun or ended.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The engine did not take it.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The archive could not be read again.
    #[error(transparent)]
    Pack(#[from] PackError),
}

impl Explained for ImportError {
    fn explain(&self) -> Explanation<'_> {
        let nothing = "nothing of the archive was used";
        match self {
            Self::Build(error) => error.explain(),
            Self::Engine(error) => error.explain(),
            Self::Pack(error) => Explanation { hint: Some(nothing.to_owned()), ..error.explain() },
            Self::Image { .. } => ErrorKind::Failed.hint(nothing),
            Self::Undeclared { .. } => ErrorKind::Refused.into(),
            Self::OtherKey { .. } => ErrorKind::Refused.hint(
                "`import --push` takes boxes of this very revision; without --push they are loaded into the engine",
            ),
            Self::ReadOnly { .. } => {
                ErrorKind::Refused.hint("without --push the images are loaded into the engine")
            }
        }
    }
}

/// Loads all images into the engine under the names they were exported by.
pub async fn load(engine: &dyn ImageStore, archive: &dyn Archive, emit: Emit<'_>) -> Result<(), ImportError> {
    let contents = archive.contents();
    for (one, image) in contents.images() {
        labels_of(archive, one, image)
            .await
            .map_err(|why| ImportError::Image { name: one.name.clone(), why })?;
    }
    let references: Vec<String> = contents.boxes().iter().map(ArchivedBox::reference).collect();
    let (sink, pieces) = mpsc::channel(4);
    let total = contents.size();
    let told = |sent| emit(Event::Moved { what: "loading", sent, total });
    let packing = async {
        let packed = pack(contents, &archive as &dyn Blobs, &sink, &told).await;
        if packed.is_err() {
            // The engine must not take what came so far for a whole archive.
            let _ = sink.send(Err(std::io::ErrorKind::InvalidData.into())).await;
        }
        drop(sink);
        packed
    };
    let tar: BlobStream<'static, std::io::Error> = Box::pin(stream::unfold(pieces, |mut pieces| async {
        let piece = pieces.recv().await?;
        Some((piece, pieces))
    }));
    let (packed, loaded) = tokio::join!(packing, engine.load(&references, tar));
    match packed {
        // The engine ended first: it knows why.
        Err(PackError::Closed) | Ok(()) => Ok(loaded?),
        Err(error) => Err(error.into()),
    }
}

/// Pushes what is missing of `boxes`, which are parents first and complete, from the archive.
pub async fn push(
    ports: RegistryPorts<'_>,
    setting: &RunContext,
    boxes: &[ResolvedBox],
    archive: &dyn Archive,
    emit: Emit<'_>,
    cancel: &CancellationToken,
) -> Result<BuildReport, ImportError> {
    for one in archive.contents().boxes() {
        let name = one.name.clone();
        let Some(keyed) = boxes.iter().find(|keyed| keyed.wanted.name == name) else {
            return Err(ImportError::Undeclared { name });
        };
        let (archived, wanted) = (one.tag.key().clone(), keyed.wanted.key().clone());
        if archived != wanted {
            return Err(ImportError::OtherKey { name, archived, wanted });
        }
    }
    // What is here already need not be waited for.
    let options = BuildOptions { jobs: 2, wait: Span::default(), no_cache: false, fail_fast: false };
    let origin = Origin::Archive(archive);
    let report = build_from(ports, setting, boxes, &options, origin, emit, cancel).await?;
    let mut outcomes = report.boxes.values().map(|report| &report.outcome);
    match outcomes.find_map(|outcome| match outcome {
        Outcome::Forbidden(why) => Some(why.clone()),
        _ => None,
    }) {
        Some(why) => Err(ImportError::ReadOnly { why }),
        None => Ok(report),
    }
}
