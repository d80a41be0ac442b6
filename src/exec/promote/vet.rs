//! Whether what a promotion's record names may be promoted.
//!
//! Whoever may push can write a record. So one is only a pointer: what it names is taken where the
//! configuration and the registry say the same. Its repositories are those of configured boxes, and
//! no other is asked for anything. Its images carry the labels of the key and the generation that it
//! names, as those must whose tags a build takes. And each stands, or is known to have stood, where
//! boxwright puts images: under its content tag, under the tag that the record is of, or, by what
//! the next promotion of that tag saw before it moved it, there until then. Whoever can forge that
//! can move the tags themselves. And they are of one set: what an image says that it stands on is
//! what the record names for that.

use futures_util::future::try_join_all;

use crate::config::BoxSpec;
use crate::exec::image::labels::{Inspected, Labels, Unread, inspect};
use crate::exec::promote::error::PromoteError;
use crate::exec::setting::RunContext;
use crate::model::{ContentTag, Digest, PromotedImage, PromotionRecord, RecordTag, Repository};
use crate::port::{Reference, RegistryReader};

/// Checks a promotion that is to be promoted again; `next` is the one after it, of the same tag.
pub async fn vet(
    registry: &dyn RegistryReader,
    setting: &RunContext,
    set: &PromotionRecord,
    next: Option<&PromotionRecord>,
    boxes: &[BoxSpec],
) -> Result<(), PromoteError> {
    // All are looked up before the first is asked for.
    let places = set.boxes.iter().map(|member| Ok((member, place(setting, set, member, boxes)?)));
    let places: Vec<_> = places.collect::<Result<_, PromoteError>>()?;
    let labels = try_join_all(places.into_iter().map(async |(member, (repository, spec))| {
        let before = next.into_iter().flat_map(|next| &next.boxes);
        let is_known = before
            .filter(|one| one.repository == member.repository)
            .any(|one| one.before.as_ref() == Some(&member.digest));
        let labels = image(registry, set, member, &repository, spec).await?;
        if is_known || stands(registry, set, member, &repository).await? {
            return Ok((member, labels));
        }
        let why = format!(
            "{} stands neither under {} nor under {}, and the promotion after it did not find it there",
            member.digest, member.content_tag, set.tag
        );
        Err(doubt(set, member, why))
    }))
    .await?;
    labels.iter().try_for_each(|(member, labels)| stands_on(set, member, labels))
}

/// Checks that the box images that an image stands on are those of the same record: a promotion is
/// of what its channel's boxes stand on as well, be it reserved for other channels.
fn stands_on(set: &PromotionRecord, member: &PromotedImage, labels: &Labels) -> Result<(), PromoteError> {
    let is_another = |digest: &&Digest| !set.boxes.iter().any(|one| one.digest == **digest);
    match labels.parents.values().find(is_another) {
        None => Ok(()),
        Some(digest) => {
            Err(doubt(set, member, format!("it stands on {digest}, which is none of the record's")))
        }
    }
}

/// Returns where an image is kept, if a box of the configuration has its images there.
fn place<'a>(
    setting: &RunContext,
    set: &PromotionRecord,
    member: &PromotedImage,
    boxes: &'a [BoxSpec],
) -> Result<(Repository, &'a BoxSpec), PromoteError> {
    let of = |spec: &'a BoxSpec| Some((Repository::new(&setting.registry, &spec.repository).ok()?, spec));
    let mut all =
        boxes.iter().filter_map(of).filter(|(repository, _)| repository.name() == member.repository);
    let first = all.next();
    let named = all.find(|(_, spec)| spec.name == member.name);
    first.as_ref().filter(|(_, spec)| spec.name == member.name).cloned().or(named).or(first).ok_or_else(
        || doubt(set, member, format!("no box of the configuration has its images in {}", member.repository)),
    )
}

/// Reads the labels of an image, which is one of the key and the generation that the record names.
async fn image(
    registry: &dyn RegistryReader,
    set: &PromotionRecord,
    member: &PromotedImage,
    repository: &Repository,
    spec: &BoxSpec,
) -> Result<Labels, PromoteError> {
    let tag = ContentTag::read(&member.content_tag).filter(|tag| *tag.key() == member.key);
    let Some(tag) = tag else {
        let why = format!("{} is no tag of key {}", member.content_tag, member.key);
        return Err(doubt(set, member, why));
    };
    let at = Reference::from(member.digest.clone());
    let labels = match inspect(registry, repository, &at, &spec.platform).await {
        Ok(Some(Inspected { labels, .. })) => labels,
        Ok(None) => {
            let (name, repository) = (member.name.clone(), repository.clone());
            return Err(PromoteError::Gone { name, repository, digest: member.digest.clone() });
        }
        Err(Unread::Registry(error)) => return Err(error.into()),
        Err(Unread::Broken(why)) => return Err(doubt(set, member, why)),
    };
    let why = match (&labels.key, labels.generation) {
        (key, _) if key.as_ref() != Some(tag.key()) => "another key",
        (_, generation) if generation != Some(tag.generation()) => "another generation",
        _ => return Ok(labels),
    };
    Err(doubt(set, member, format!("the labels of {} hold {why} than {}", member.digest, member.content_tag)))
}

/// Tells whether the image stands where boxwright puts images.
async fn stands(
    registry: &dyn RegistryReader,
    set: &PromotionRecord,
    member: &PromotedImage,
    repository: &Repository,
) -> Result<bool, PromoteError> {
    for tag in [&member.content_tag, &set.tag] {
        if registry.head(repository, &tag.clone().into()).await?.as_ref() == Some(&member.digest) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn doubt(set: &PromotionRecord, member: &PromotedImage, why: String) -> PromoteError {
    let record = RecordTag::Set { tag: set.tag.clone(), seq: set.seq }.to_string();
    PromoteError::Doubtful { record, name: member.name.clone(), why }
}
