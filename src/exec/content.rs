//! What a promotion promotes: the images of boxes, or those of another promotion.

use super::build::probe;
use super::keys::Keyed;
use super::ledger::Ledger;
use super::promote::{PromoteError, record_tag};
use super::{Ports, Setting};
use crate::model::{ContentTag, Key, RecordTag, Repository, SetName, SetRecord, Source, Tag};
use crate::plan::{Action, Member, Rollback, State, plan};
use crate::port::Reference;

/// What is promoted.
#[derive(Debug, Clone, Copy)]
pub enum Content<'a> {
    /// The images of these boxes, which are the whole set, parents first.
    Boxes(&'a [Keyed]),
    /// The images of another promotion, by their digests.
    Set(&'a Rollback),
}

impl Content<'_> {
    pub(super) fn keys(&self) -> Vec<Key> {
        match self {
            Self::Boxes(boxes) => boxes.iter().map(|keyed| keyed.wanted.key().clone()).collect(),
            Self::Set(taken) => taken.set.boxes.iter().map(|member| member.key.clone()).collect(),
        }
    }

    pub(super) fn source<'a>(&'a self, setting: &'a Setting) -> &'a Source {
        match self {
            Self::Boxes(_) => &setting.source,
            Self::Set(taken) => &taken.set.source,
        }
    }

    pub(super) fn from(&self) -> Option<SetName> {
        match self {
            Self::Boxes(_) => None,
            // What was never promoted, but is copied, has no count.
            Self::Set(taken) => Some(taken.set.name()).filter(|name| name.seq > 0),
        }
    }

    pub(super) fn copied(&self) -> Option<String> {
        match self {
            Self::Boxes(_) => None,
            Self::Set(taken) => taken.copied.clone(),
        }
    }

    pub(super) fn withdrawn(&self) -> Option<Source> {
        match self {
            Self::Boxes(_) => None,
            Self::Set(taken) => taken.withdrawn.clone(),
        }
    }

    /// Resolves what is promoted to digests, once, and looks at what stands under the tag.
    pub(super) async fn resolve(
        &self,
        ports: Ports<'_>,
        setting: &Setting,
        ledger: Ledger<'_>,
        tag: &Tag,
    ) -> Result<Vec<Member>, PromoteError> {
        match self {
            Self::Boxes(boxes) => of_boxes(ports, setting, boxes, tag).await,
            Self::Set(taken) => of_set(ports, ledger, &taken.set, tag).await,
        }
    }
}

/// Resolves boxes by their keys, and checks that they were built on each other.
async fn of_boxes(
    ports: Ports<'_>,
    setting: &Setting,
    boxes: &[Keyed],
    tag: &Tag,
) -> Result<Vec<Member>, PromoteError> {
    let seen = probe(ports, setting, boxes).await?;
    let wanted: Vec<_> = boxes.iter().map(|keyed| keyed.wanted.clone()).collect();
    let rows = plan(&wanted, &seen);
    let missing: Vec<_> = rows.iter().filter(|row| row.action != Action::Use).collect();
    if let Some(first) = missing.first() {
        let names = missing.iter().map(|row| row.name.clone()).collect();
        return Err(PromoteError::Missing { names, why: first.reason.clone() });
    }
    let read = boxes.iter().map(|keyed| async {
        let want = &keyed.wanted;
        let now = ports.registry.head(&want.repository, &tag.clone().into()).await?;
        let Some((State::Present { digest, .. }, generation)) =
            seen.get(&want.name).map(|seen| (&seen.state, seen.generation))
        else {
            let names = vec![want.name.clone()];
            return Err(PromoteError::Missing { names, why: "was not probed".to_owned() });
        };
        Ok(Member {
            name: want.name.clone(),
            repository: want.repository.clone(),
            tag: want.tag.with_generation(generation),
            digest: digest.clone(),
            now,
        })
    });
    futures_util::future::try_join_all(read).await
}

/// Looks at the images of another promotion: each has to be there, and not condemned.
async fn of_set(
    ports: Ports<'_>,
    ledger: Ledger<'_>,
    set: &SetRecord,
    tag: &Tag,
) -> Result<Vec<Member>, PromoteError> {
    let read = set.boxes.iter().map(|member| async move {
        let missing = |why: String| PromoteError::Missing { names: vec![member.name.clone()], why };
        let content_tag = ContentTag::read(&member.content_tag)
            .ok_or_else(|| missing(format!("its record names the tag {}", member.content_tag)))?;
        let repository = Repository::new(ledger.repository().host(), &member.repository)
            .map_err(|error| missing(error.to_string()))?;
        let over = RecordTag::Over { key: member.key.clone(), generation: content_tag.generation() };
        let digest = Reference::Digest(member.digest.clone());
        if ledger.has(&record_tag(ledger, over)?).await? {
            return Err(missing(format!("{} was condemned by clean", member.digest)));
        }
        if ports.registry.head(&repository, &digest).await?.is_none() {
            return Err(missing(format!("{} is gone from {repository}", member.digest)));
        }
        let now = ports.registry.head(&repository, &tag.clone().into()).await?;
        Ok(Member {
            name: member.name.clone(),
            repository,
            tag: content_tag,
            digest: member.digest.clone(),
            now,
        })
    });
    futures_util::future::try_join_all(read).await
}
