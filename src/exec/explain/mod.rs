//! What differs between a box and an image that stands: file by file, parent by parent, from
//! the input manifests that were stored. Nothing is written.

pub(super) mod reasons;

use std::collections::BTreeSet;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::config::{BoxSpec, ContextSource};
use crate::exec::image::labels::{Unread, inspect};
use crate::exec::keys::ResolvedBox;
use crate::exec::ledger::Ledger;
use crate::exec::ledger::inputs::InputsError;
use crate::inputs::{Change, InputManifest, Side, diff};
use crate::model::{ContentTag, Digest, ErrorKind, Explained, Explanation, Key, Platform, Repository, Tag};
use crate::port::{Reference, RegistryError, RegistryReader};

/// What a box is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Against {
    pub key: Key,
    /// The image, if it was asked for by its name.
    pub digest: Option<Digest>,
}

/// A box and what it was.
#[derive(Debug, Clone)]
pub struct Compared {
    /// The box.
    pub name: String,
    /// Its key then.
    pub old: Key,
    /// Its key now.
    pub new: Key,
    /// What differs, in the order of the manifest's sections.
    pub differences: Vec<Difference>,
}

/// One input that is not what it was.
#[derive(Debug, Clone)]
pub struct Difference {
    /// The input.
    pub change: Change,
    /// The change in words; a parent has its box's name.
    pub text: String,
    /// The value then.
    pub old: Option<String>,
    /// The value now.
    pub new: Option<String>,
    /// What differs in a parent that moved.
    pub parent: Option<Parent>,
}

/// A parent that moved.
#[derive(Debug, Clone)]
pub enum Parent {
    /// What differs in it.
    Compared(Box<Compared>),
    /// Why that cannot be told here.
    Untold(String),
}

/// Why a comparison cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The registry did not answer as needed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Stored inputs could not be read.
    #[error(transparent)]
    Inputs(#[from] InputsError),
    /// What was asked for is neither a key nor a tag nor a digest.
    #[error("`{text}` is not a tag, a key or a digest")]
    Name { text: String },
    /// No image stands there.
    #[error("{image} does not exist")]
    NoImage { image: String },
    /// The image does not say which key it was built for.
    #[error("image {repository} {at} does not tell its inputs: {why}")]
    NotOurs { repository: Repository, at: String, why: String },
    /// Its inputs were never stored.
    #[error("ledger {ledger} holds no inputs of key {key}")]
    NoInputs { ledger: Repository, key: Key },
}

impl Explained for ExplainError {
    fn explain(&self) -> Explanation<'_> {
        let against =
            "--against takes a promoted tag such as main, a content tag, a key of 32 hex digits, or a digest";
        match self {
            Self::Registry(error) => error.explain(),
            Self::Inputs(error) => error.explain(),
            Self::Name { .. } => ErrorKind::Usage.hint(against),
            Self::NoImage { .. } => ErrorKind::Missing.hint(against),
            Self::NoInputs { .. } => ErrorKind::Missing.hint(
                "inputs are stored with each image that boxwright builds; this one is older, or they could not be written then",
            ),
            Self::NotOurs { .. } => ErrorKind::Failed.into(),
        }
    }
}

/// Finds out what key is meant by a key, a content tag, or another tag or the digest of an
/// image in `repository`. The first two need no request.
pub async fn against(
    registry: &dyn RegistryReader,
    repository: &Repository,
    platform: &Platform,
    text: &str,
) -> Result<Against, ExplainError> {
    if let Ok(key) = text.parse::<Key>() {
        return Ok(Against { key, digest: None });
    }
    let at = match (text.parse::<Digest>(), text.parse::<Tag>()) {
        (Ok(digest), _) => Reference::Digest(digest),
        (_, Ok(tag)) => match ContentTag::read(&tag) {
            Some(content) => return Ok(Against { key: content.key().clone(), digest: None }),
            None => Reference::Tag(tag),
        },
        _ => return Err(ExplainError::Name { text: crate::model::printable(text, 120) }),
    };
    let not_ours =
        |why: String| ExplainError::NotOurs { repository: repository.clone(), at: at.to_string(), why };
    match inspect(registry, repository, &at, platform).await {
        Ok(Some(image)) => {
            let key = image.labels.key.ok_or_else(|| not_ours("its labels hold no key".to_owned()))?;
            Ok(Against { key, digest: Some(image.manifest.digest().clone()) })
        }
        Ok(None) => Err(ExplainError::NoImage { image: at.within(repository) }),
        Err(Unread::Registry(error)) => Err(error.into()),
        Err(Unread::Broken(why)) => Err(not_ours(why)),
    }
}

/// Compares `keyed` with what it was under `old`; `boxes` hold the boxes it stands on.
pub async fn compare(
    ledger: Ledger<'_>,
    boxes: &[ResolvedBox],
    keyed: &ResolvedBox,
    old: &Key,
) -> Result<Compared, ExplainError> {
    let mut told = BTreeSet::new();
    let compared = walk(ledger, boxes, keyed, old, &mut told).await?;
    compared.ok_or_else(|| ExplainError::NoInputs { ledger: ledger.repository.clone(), key: old.clone() })
}

/// Compares one box and, below it, its parents; nothing if the older inputs are not stored.
fn walk<'a>(
    ledger: Ledger<'a>,
    boxes: &'a [ResolvedBox],
    keyed: &'a ResolvedBox,
    old: &'a Key,
    told: &'a mut BTreeSet<(Key, Key)>,
) -> BoxFuture<'a, Result<Option<Compared>, InputsError>> {
    async move {
        let new = keyed.wanted.key();
        let mut compared = Compared {
            name: keyed.wanted.name.clone(),
            old: old.clone(),
            new: new.clone(),
            differences: Vec::new(),
        };
        if old == new {
            return Ok(Some(compared));
        }
        let Some(before) = ledger.inputs(old).await? else { return Ok(None) };
        for change in diff(&before, &keyed.manifest) {
            let (old, new) = change.values(&before, &keyed.manifest);
            let parent = match parent(&change, keyed, &before, boxes) {
                None => None,
                Some((parent, then)) if !told.insert((then.clone(), parent.wanted.key().clone())) => {
                    Some(Parent::Untold(format!("{} is told above", parent.wanted.name)))
                }
                Some((parent, then)) => Some(match walk(ledger, boxes, parent, then, told).await {
                    Ok(Some(compared)) => Parent::Compared(Box::new(compared)),
                    Ok(None) => Parent::Untold(format!("its inputs of key {then} were not stored")),
                    // A registry that does not answer ends it; what it holds of a parent need not.
                    Err(error @ (InputsError::Unusable { .. } | InputsError::NoLayer { .. })) => {
                        Parent::Untold(error.to_string())
                    }
                    Err(error) => return Err(error),
                }),
            };
            let text = say(&change, &keyed.spec);
            compared.differences.push(Difference { change, text, old, new, parent });
        }
        Ok(Some(compared))
    }
    .boxed()
}

/// The parent that a change is about, and its key then.
fn parent<'a>(
    change: &Change,
    keyed: &ResolvedBox,
    before: &'a InputManifest,
    boxes: &'a [ResolvedBox],
) -> Option<(&'a ResolvedBox, &'a Key)> {
    let Change::Parent(context, Side::Changed) = change else { return None };
    let ContextSource::Box(name) = keyed.spec.contexts.get(context)? else { return None };
    let parent = boxes.iter().find(|parent| parent.wanted.name == *name)?;
    Some((parent, before.parents.get(context)?))
}

/// A change in words. Manifests know a parent by the name that the Dockerfile gives it,
/// people by its box's.
pub(crate) fn say(change: &Change, spec: &BoxSpec) -> String {
    if let Change::Parent(context, side) = change
        && let Some(ContextSource::Box(name)) = spec.contexts.get(context)
    {
        return Change::Parent(name.clone(), *side).to_string();
    }
    change.to_string()
}
