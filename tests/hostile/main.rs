//! boxwright under attack: the program itself, real registries, a real git, and what somebody
//! hostile can put before them.
//!
//! | file | who attacks |
//! | --- | --- |
//! | `credentials` | a repository that wants the registry's password, or an address inside |
//! | `git` | a repository, or a git, that is not what it looks like |
//! | `files` | links, pipes and huge files where a file is read |
//! | `environment` | a CI that does not say whose change it runs |
//! | `inputs` | nobody: Dockerfiles and contexts that are odd, and that the engine takes |
//! | `promotions` | whoever may push: records that would promote, or bring back, another's image |
//! | `pusher` | whoever may push, as seen by somebody who did not write the defences: images and tags, not records alone |
//! | `records` | whoever may push: records that would have the cron delete |
//! | `parsers` | inputs made to never end |
//! | `printed` | names that would draw on the terminal |
//! | `neighbour` | another build on the same engine, another user of the same machine |
//! | `stranger` | any of these: attempts of somebody who wrote none of the answers |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod credentials;
mod environment;
mod fake;
mod files;
mod git;
mod inputs;
mod neighbour;
mod parsers;
mod printed;
mod promotions;
mod pusher;
mod records;
mod stranger;
