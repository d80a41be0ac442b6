//! One list of cases, run on the registry in memory, on a real one over HTTP and on the embedded one, so that the
//! model on which everything else is tested cannot drift from what it models.
//!
//! A case takes a `&dyn Registry` and the host to name, so a further registry is one more
//! line at the end of `contract!`. The real ones are processes of docker-registry, started by
//! `scripts/registry`; where that cannot be, the tests fail.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cases;
mod copies;
mod restricted;
mod transfers;

use cases::*;
use copies::*;
use transfers::*;

macro_rules! on_memory_and_real {
    ($memory:ident $real:ident: $($case:ident)*) => {
        mod $memory {
            $(#[tokio::test]
            async fn $case() {
                crate::$case(&boxwright::adapter::memory::MemoryRegistry::new(), "memory.example").await;
            })*
        }

        mod $real {
            $(#[tokio::test]
            async fn $case() {
                let server = boxwright_testing::process::Server::start(&[]);
                crate::$case(&boxwright_testing::process::client(), &server.host).await;
            })*
        }
    };
}

macro_rules! contract {
    ($($case:ident)*) => {
        on_memory_and_real! { memory docker_registry: $($case)* }

        mod embedded {
            use boxwright::adapter::embedded::{EmbeddedServer, PortChoice};

            $(#[tokio::test]
            async fn $case() {
                let home = tempfile::tempdir().unwrap();
                let server = EmbeddedServer::start(home.path(), PortChoice::Any, None).await.unwrap();
                let credentials = boxwright::adapter::credentials::Credentials::given(
                    &server.addr().to_string(),
                    server.credential(),
                );
                crate::$case(&boxwright_testing::process::client_with(credentials), &server.addr().to_string()).await;
            })*
        }
    };
}

contract! {
    what_is_absent_is_none
    bytes_come_back_as_they_were
    docker_types_keep_their_type
    records_are_taken_in
    retagging_raw_bytes_keeps_the_digest
    a_digest_can_be_put_without_a_tag
    the_last_writer_of_a_tag_wins
    a_delete_takes_all_tags_along
    a_child_can_be_deleted_under_its_index
    missing_parts_are_refused
    what_is_no_manifest_is_refused
    many_at_once
    blobs_of_any_size_stream_both_ways
    a_blob_that_is_not_what_it_says_is_refused
    blobs_are_mounted_from_another_repository
    referrers_are_listed
    an_image_is_copied_with_all_it_needs
    a_tag_goes_alone
    a_tag_goes_and_its_image_stays_without_any
}

// What docker-registry does and the specification leaves open. The embedded registry shares
// blobs between repositories, and refuses manifests that nobody could read.
on_memory_and_real! { memory_as_measured docker_registry_as_measured:
    bytes_that_are_no_text_are_kept
    blobs_belong_to_a_repository
}
