//! Values only: parse, print, compare. No I/O, no clock, no environment.
//!
//! Each value has private fields and one parser, so that a string from outside becomes a
//! value once, at the edge, and is trusted from there on.

mod archive;
mod chunk;
mod converted;
mod digest;
mod entry;
mod failure;
mod grammar;
mod image;
mod keep;
mod key;
mod manifest;
mod platform;
mod provider;
mod record;
mod repository;
mod run;
mod secret;
mod set;
mod sighting;
mod source;
mod stored;
mod tag;
mod text;
mod throwaway;
mod time;
mod undo;
mod ustar;

pub use archive::{
    ArchiveError, ArchivedBox, Contents, DOCKER_FILE, INDEX_FILE, LAYOUT_FILE, Member, blob_path, children,
    read_index,
};
pub use chunk::{CHUNK, FileHasher};
pub use converted::oci_form;
pub use digest::{Digest, DigestError};
pub use entry::{Entry, EntryKind, RelPath, RelPathError};
pub use failure::{AnyError, ErrorKind, Explained, Explanation};
pub use grammar::is_who;
pub use image::{ImageName, ImageNameError};
pub use keep::{Keep, RefRule, Rules, Share, ShareError, may_hold, spelled, version};
pub use key::{Generation, Key, KeyError, KeyHasher};
pub use manifest::{
    Descriptor, Document, Image, Index, MANIFEST_LIMIT, ManifestError, MediaType, RawManifest,
};
pub use platform::{Platform, PlatformError};
pub use provider::{Provider, ecr_account};
pub use record::{
    EMPTY_BLOB, Lease, Part, Purpose, Record, RecordError, RecordTag, RunBox, RunRecord, TaggedDigest,
    Tombstone, empty_digest,
};
pub use repository::{Repository, RepositoryError, is_loopback};
pub use run::{RunId, RunIdError};
pub use secret::{SecretSource, SecretValue};
pub use set::{PlanRecord, PromotedImage, PromotionId, PromotionRecord, UntagNotice, last_count};
pub use sighting::{Place, Sighting};
pub use source::Source;
pub use stored::StoredInputs;
pub use tag::{ContentTag, Tag, TagError};
pub use text::{chain, escape, excerpt, is_plain, output_line, printable, size, width};
pub use throwaway::{is_throwaway, throwaway};
pub use time::{Span, SpanError, Timestamp};
pub use undo::{KeptManifest, UNDO_LIMIT, UndoRecord};
pub use ustar::{BLOCK, TarError, TarHeader, TarKind, tar_padding};
