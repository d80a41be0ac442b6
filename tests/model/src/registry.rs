//! The registry of the model: a PUT stores and then links, a DELETE unlinks, lists and then
//! untags each, a write may be seen late, and nothing is compared before it is swapped.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use boxwright::model::{ContentTag, Digest, Generation, Key, Repository, Tag};

/// An image, by the order in which it was built.
pub type Id = u8;

/// How many generations a key may have here; a run that needs more is given up.
pub const GENERATIONS: usize = 3;
/// The most images of a run of the model.
const IMAGES: usize = 12;

/// In the place of a lease's keys: something that cannot be read.
pub const GARBAGE: u8 = 0x80;

/// What may be seen late.
pub const LEASES: u8 = 1;
pub const MARKERS: u8 = 2;
pub const TAGS: u8 = 4;
pub const RECORDS: u8 = 8;

/// What an image is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Image {
    pub key: u8,
    pub generation: u8,
    /// What it was built on.
    pub base: Option<Id>,
    /// What has no tag and belongs to it: a child, or what refers to it.
    pub part: Option<Id>,
    /// Whether it is a stranger's, without labels.
    pub is_foreign: bool,
    pub is_stored: bool,
}

impl Image {
    /// Returns an image that a stranger puts in the place of a key's.
    pub fn of_stranger(key: u8) -> Self {
        Self { key, generation: 0, base: None, part: None, is_foreign: true, is_stored: true }
    }
}

/// A name that holds something, and what a reader may still see there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cell<T> {
    pub now: Option<T>,
    old: Option<Option<T>>,
}

impl<T> Default for Cell<T> {
    fn default() -> Self {
        Self { now: None, old: None }
    }
}

impl<T: Clone + PartialEq> Cell<T> {
    pub fn holding(value: T) -> Self {
        Self { now: Some(value), old: None }
    }

    fn set(&mut self, value: Option<T>, is_late: bool) {
        if is_late && self.now != value && self.old.is_none() {
            self.old = Some(self.now.clone());
        }
        self.now = value;
    }

    /// What a reader may see.
    pub fn reads(&self) -> Vec<Option<T>> {
        let old = self.old.clone().filter(|old| *old != self.now);
        std::iter::once(self.now.clone()).chain(old).collect()
    }
}

/// A tag in a box's repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum At {
    Content(u8, u8),
    Main(u8),
}

/// A tombstone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mark {
    pub day: u8,
    pub image: Option<Id>,
    pub part: Option<Id>,
    /// Which run of which sweeper wrote it.
    pub by: (u8, u8),
    /// When a sweep first saw it, and whether that sweep had written it.
    pub seen: Option<(u8, bool)>,
}

/// A plan or set record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rec {
    pub by: u8,
    pub boxes: Vec<RecBox>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RecBox {
    pub key: u8,
    pub generation: u8,
    pub wanted: Id,
    pub before: Option<Id>,
}

/// A request that the server is at work on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Request {
    Store(At, Id),
    Link(At, Id),
    Unlink(Id),
    List(Id),
    Untag(Vec<At>),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Store {
    pub images: Vec<Image>,
    pub content: Vec<[Cell<Id>; GENERATIONS]>,
    pub main: Vec<Cell<Id>>,
    pub foreign: Vec<Option<Id>>,
    /// Leases by slot: the keys they cover, as bits.
    pub leases: Vec<Cell<u8>>,
    /// Whether a slot's lease has not ended.
    pub is_live: Vec<bool>,
    /// What sweepers have claimed: keys, as bits.
    pub claims: Vec<Cell<u8>>,
    pub tombstones: Vec<[Cell<Mark>; GENERATIONS]>,
    pub plans: Vec<Cell<Rec>>,
    pub sets: Vec<Cell<Rec>>,
    /// What goes on though its client is gone.
    pub orphans: Vec<Request>,
    /// Which writes may be seen late.
    pub late: u8,
}

impl Store {
    pub fn new([keys, boxes, slots, sweepers, promotions]: [usize; 5], late: u8) -> Self {
        Self {
            images: Vec::new(),
            content: vec![Default::default(); keys],
            main: vec![Cell::default(); boxes],
            foreign: vec![None; boxes],
            leases: vec![Cell::default(); slots],
            is_live: vec![false; slots],
            claims: vec![Cell::default(); sweepers],
            tombstones: vec![Default::default(); keys],
            plans: vec![Cell::default(); promotions],
            sets: vec![Cell::default(); promotions],
            orphans: Vec::new(),
            late,
        }
    }

    pub fn has(&self, id: Id) -> bool {
        self.images[usize::from(id)].is_stored
    }

    pub fn image(&self, id: Id) -> &Image {
        &self.images[usize::from(id)]
    }

    /// Tells whether an image, what it stands on and its part are there.
    pub fn is_whole(&self, id: Id) -> bool {
        let Image { base, part, .. } = *self.image(id);
        self.has(id) && base.into_iter().chain(part).all(|needed| self.is_whole(needed))
    }

    /// The images that are there and hold a part together.
    pub fn holders(&self, part: Id) -> impl Iterator<Item = Id> + '_ {
        let all = 0..self.images.len() as Id;
        all.filter(move |id| self.has(*id) && self.image(*id).part == Some(part))
    }

    /// Adds an image that is not stored yet.
    pub fn build(&mut self, key: u8, generation: u8, base: Option<Id>, is_reproducible: bool) -> Id {
        let image = Image { key, generation, base, part: None, is_foreign: false, is_stored: false };
        let same = |old: &Image| Image { is_stored: false, ..old.clone() } == image;
        if is_reproducible && let Some(at) = self.images.iter().position(same) {
            return at as Id;
        }
        self.add(image)
    }

    pub fn add(&mut self, image: Image) -> Id {
        assert!(self.images.len() < IMAGES);
        self.images.push(image);
        (self.images.len() - 1) as Id
    }

    pub fn cell(&self, at: At) -> &Cell<Id> {
        match at {
            At::Content(key, generation) => &self.content[usize::from(key)][usize::from(generation)],
            At::Main(of) => &self.main[usize::from(of)],
        }
    }

    fn link(&mut self, at: At, id: Option<Id>) {
        let is_late = self.late & TAGS != 0;
        match at {
            At::Content(key, generation) => {
                self.content[usize::from(key)][usize::from(generation)].set(id, is_late);
            }
            At::Main(of) => self.main[usize::from(of)].set(id, is_late),
        }
    }

    /// Moves a tag as a stranger would, seen at once.
    pub fn hold(&mut self, at: At, id: Id) {
        let late = std::mem::replace(&mut self.late, 0);
        self.link(at, Some(id));
        self.late = late;
    }

    /// The images that tags point to.
    pub fn tagged(&self) -> impl Iterator<Item = Id> + '_ {
        self.tags().map(|(_, id)| id)
    }

    fn tags(&self) -> impl Iterator<Item = (At, Id)> + '_ {
        let content = self.content.iter().enumerate().flat_map(|(key, cells)| {
            let of =
                move |(at, cell): (usize, &Cell<Id>)| Some((At::Content(key as u8, at as u8), cell.now?));
            cells.iter().enumerate().filter_map(of)
        });
        let main = self.main.iter().enumerate();
        content.chain(main.filter_map(|(of, cell)| Some((At::Main(of as u8), cell.now?))))
    }

    /// Does one step of a request; returns what is left of it.
    pub fn serve(&mut self, request: Request) -> Option<Request> {
        match request {
            Request::Store(at, id) => {
                self.images[usize::from(id)].is_stored = true;
                Some(Request::Link(at, id))
            }
            Request::Link(at, id) => {
                self.link(at, Some(id));
                None
            }
            Request::Unlink(id) => {
                // What is not there is answered at once.
                std::mem::take(&mut self.images[usize::from(id)].is_stored).then_some(Request::List(id))
            }
            Request::List(id) => {
                let listed: Vec<At> = self.tags().filter(|(_, held)| *held == id).map(|(at, _)| at).collect();
                (!listed.is_empty()).then_some(Request::Untag(listed))
            }
            // A tag that was moved since it was listed is hit as well.
            Request::Untag(mut listed) => {
                let at = listed.remove(0);
                self.link(at, None);
                (!listed.is_empty()).then_some(Request::Untag(listed))
            }
        }
    }

    pub fn lease(&mut self, slot: u8, keys: Option<u8>) {
        let slot = usize::from(slot);
        self.is_live[slot] = keys.is_some();
        self.leases[slot].set(keys, self.late & LEASES != 0);
    }

    pub fn claim(&mut self, sweeper: usize, keys: Option<u8>) {
        self.claims[sweeper].set(keys, self.late & LEASES != 0);
    }

    pub fn mark(&mut self, key: u8, generation: u8, mark: Option<Mark>) {
        let is_late = self.late & MARKERS != 0;
        self.tombstones[usize::from(key)][usize::from(generation)].set(mark, is_late);
    }

    pub fn plan(&mut self, seq: usize, rec: Rec) {
        let is_late = self.late & RECORDS != 0;
        self.plans[seq].set(Some(rec), is_late);
    }

    pub fn set(&mut self, seq: usize, rec: Rec) {
        let is_late = self.late & RECORDS != 0;
        self.sets[seq].set(Some(rec), is_late);
    }

    /// Lets everybody see what was written so far.
    pub fn settle(&mut self) {
        self.content.iter_mut().flatten().for_each(|cell| cell.old = None);
        self.main.iter_mut().for_each(|cell| cell.old = None);
        self.leases.iter_mut().chain(&mut self.claims).for_each(|cell| cell.old = None);
        self.tombstones.iter_mut().flatten().for_each(|cell| cell.old = None);
        self.plans.iter_mut().chain(&mut self.sets).for_each(|cell| cell.old = None);
    }

    /// Every way in which a reader may see the whole registry.
    pub fn views(&self) -> Vec<Store> {
        let mut views = vec![Store { orphans: Vec::new(), ..self.clone() }];
        fn split<T: Clone + PartialEq>(views: &mut Vec<Store>, of: impl Fn(&mut Store) -> &mut Cell<T>) {
            let mut more = Vec::new();
            for view in views.iter_mut() {
                let cell = of(view);
                if let Some(old) = cell.old.take().filter(|old| *old != cell.now) {
                    let mut other = view.clone();
                    of(&mut other).now = old;
                    more.push(other);
                }
            }
            views.extend(more);
        }
        for key in 0..self.content.len() {
            for generation in 0..GENERATIONS {
                split(&mut views, |view| &mut view.content[key][generation]);
                split(&mut views, |view| &mut view.tombstones[key][generation]);
            }
        }
        (0..self.main.len()).for_each(|of| split(&mut views, |view| &mut view.main[of]));
        (0..self.leases.len()).for_each(|slot| split(&mut views, |view| &mut view.leases[slot]));
        (0..self.claims.len()).for_each(|at| split(&mut views, |view| &mut view.claims[at]));
        for seq in 0..self.plans.len() {
            split(&mut views, |view| &mut view.plans[seq]);
            split(&mut views, |view| &mut view.sets[seq]);
        }
        views
    }
}

/// The product's names for the model's numbers.
pub struct Names {
    pub keys: Vec<Key>,
    digests: Vec<Digest>,
    content: Vec<Vec<Tag>>,
    pub main: Tag,
    pub foreign: Tag,
    boxes: Vec<String>,
}

pub static NAMES: LazyLock<Names> = LazyLock::new(|| {
    let keys: Vec<Key> = (0..4_u8).map(|key| Key::of(&[key])).collect();
    let tag = |key: &Key, generation| {
        ContentTag::new(None, key.clone(), Generation(generation as u32)).unwrap().tag()
    };
    let content = keys.iter().map(|key| (0..GENERATIONS).map(|at| tag(key, at)).collect()).collect();
    Names {
        digests: (0..IMAGES as u8).map(|id| Digest::of(&[id])).collect(),
        content,
        keys,
        main: "main".parse().unwrap(),
        foreign: "somebody-elses".parse().unwrap(),
        boxes: (0..2).map(|of| format!("box-{of}")).collect(),
    }
});

impl Names {
    pub fn digest(&self, id: Id) -> Digest {
        self.digests[usize::from(id)].clone()
    }

    pub fn id(&self, digest: &Digest) -> Id {
        self.digests.iter().position(|one| one == digest).unwrap() as Id
    }

    pub fn key(&self, key: u8) -> Key {
        self.keys[usize::from(key)].clone()
    }

    pub fn tag(&self, key: u8, generation: u8) -> Tag {
        self.content[usize::from(key)][usize::from(generation)].clone()
    }

    /// The model's key of a product's one.
    pub fn key_of(&self, key: &Key) -> u8 {
        self.keys.iter().position(|one| one == key).unwrap() as u8
    }

    pub fn box_name(&self, of: u8) -> String {
        self.boxes[usize::from(of)].clone()
    }

    pub fn repository(&self, of: u8) -> Repository {
        Repository::new("r.example", &self.boxes[usize::from(of)]).unwrap()
    }

    /// What an image says it was built on.
    pub fn parents(&self, store: &Store, id: Id) -> BTreeMap<Key, Digest> {
        let base = store.image(id).base;
        base.map(|base| (self.key(store.image(base).key), self.digest(base))).into_iter().collect()
    }
}
