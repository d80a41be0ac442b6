//! Reads what digests need, to the end: children, subjects and recorded bases.
//!
//! What cannot be read or understood is an error, for nobody knows what it keeps. What is
//! needed by something that stands but is itself gone keeps nothing.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt};

use crate::exec::clean::error::CleanError;
use crate::exec::image::labels::{Unread, labels};
use crate::exec::pace;
use crate::model::{Descriptor, Digest, Document, MediaType, RawManifest, Repository, is_throwaway};
use crate::port::RegistryReader;
use crate::retention::Node;

/// A digest to be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wanted {
    pub digest: Digest,
    /// The repository it stands in; any of them if that is not known.
    pub home: Option<Repository>,
    /// Whether a tag was just seen on it, so that it must be there.
    pub is_tagged: bool,
}

/// A digest that was read.
struct Read {
    digest: Digest,
    node: Node,
    waiting: Vec<Wanted>,
}

/// Reads manifests and what they say.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub registry: &'a dyn RegistryReader,
    pub repositories: &'a [Repository],
}

impl Reader<'_> {
    /// Adds what stands and what that needs to `nodes`, to the end; what is there is not read again.
    pub async fn nodes(
        &self,
        nodes: &mut BTreeMap<Digest, Node>,
        mut waiting: BTreeSet<Wanted>,
    ) -> Result<(), CleanError> {
        let mut asked: BTreeSet<Wanted> = BTreeSet::new();
        waiting.retain(|wanted| !nodes.contains_key(&wanted.digest));
        let mut fresh: Vec<Digest> = Vec::new();
        while !waiting.is_empty() {
            asked.extend(waiting.iter().cloned());
            let read: Vec<Option<Read>> = futures_util::stream::iter(std::mem::take(&mut waiting))
                .map(|wanted| self.node(wanted))
                .buffer_unordered(pace::REQUESTS)
                .try_collect()
                .await?;
            for Read { digest, node, waiting: more } in read.into_iter().flatten() {
                waiting.extend(more);
                fresh.push(digest.clone());
                nodes.insert(digest, node);
            }
            waiting.retain(|wanted| !nodes.contains_key(&wanted.digest) && !asked.contains(wanted));
        }
        // An index has no labels: its manifests say what its key is, and those of an index in it.
        for index in fresh.into_iter().rev() {
            let Some(node) = nodes.get(&index).filter(|node| node.key.is_none()) else { continue };
            let said =
                node.children.iter().filter_map(|child| nodes.get(child)).find(|child| child.key.is_some());
            if let Some((key, generation)) = said.map(|child| (child.key.clone(), child.generation))
                && let Some(node) = nodes.get_mut(&index)
            {
                (node.key, node.generation) = (key, generation);
            }
        }
        Ok(())
    }

    /// Reads a digest; nothing if it is only needed, and gone.
    async fn node(&self, wanted: Wanted) -> Result<Option<Read>, CleanError> {
        let Wanted { digest, home, is_tagged } = wanted;
        let homes = home.as_ref().map_or(self.repositories, std::slice::from_ref);
        for repository in homes {
            if let Some(raw) = self.registry.get(repository, &digest.clone().into()).await? {
                return self.read_node(repository, &raw).await.map(Some);
            }
        }
        match home {
            Some(repository) if is_tagged => {
                Err(CleanError::Unreadable { repository, digest, why: "it is tagged, but gone".to_owned() })
            }
            _ => Ok(None),
        }
    }

    async fn read_node(&self, repository: &Repository, raw: &RawManifest) -> Result<Read, CleanError> {
        let digest = raw.digest().clone();
        let unreadable = |why: String| CleanError::Unreadable {
            repository: repository.clone(),
            digest: digest.clone(),
            why,
        };
        let beside = |digest: &Digest| Wanted {
            digest: digest.clone(),
            home: Some(repository.clone()),
            is_tagged: false,
        };
        let mut waiting: Vec<Wanted> = Vec::new();
        let mut node = Node::default();
        let subject = match raw.document().map_err(|error| unreadable(error.to_string()))? {
            Document::Image(image) => {
                node.is_throwaway = is_throwaway(&image);
                let labels = match labels(self.registry, repository, &image).await {
                    Ok(labels) => labels,
                    Err(Unread::Registry(error)) => return Err(error.into()),
                    Err(Unread::Broken(why)) => return Err(unreadable(why)),
                };
                (node.key, node.generation) = (labels.key, labels.generation);
                // A base may stand in any repository.
                let bases = labels.parents.into_values();
                waiting.extend(bases.map(|digest| Wanted { digest, home: None, is_tagged: false }));
                image.subject
            }
            Document::Index(index) => {
                // What is no manifest, as in a build cache, has nothing below it.
                let is_manifest = |child: &&Descriptor| child.media_type.parse::<MediaType>().is_ok();
                let children = index.manifests.iter().filter(is_manifest);
                node.children = children.map(|child| child.digest.clone()).collect();
                waiting.extend(node.children.iter().map(beside));
                index.subject
            }
        };
        node.subject = subject.map(|subject| subject.digest);
        waiting.extend(node.subject.iter().map(beside));
        node.needs = waiting.iter().map(|wanted| wanted.digest.clone()).collect();
        Ok(Read { digest, node, waiting })
    }
}
