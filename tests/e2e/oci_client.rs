//! oci-client, which has no code of ours, pushes to registries and reads what promotions wrote there.

use std::collections::BTreeMap;

use boxwright::adapter::credentials::{Credential, Credentials};
use boxwright::adapter::embedded::{EmbeddedServer, PortChoice};
use boxwright::exec::{Place, Target, copy};
use boxwright_testing::process::client_with;
use boxwright_testing::witness::Registry;
use boxwright_testing::world::World;
use oci_client::client::{ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::manifest::{
    ImageIndexEntry, OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageIndex,
    OciImageManifest, OciManifest,
};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};

const NOBODY: RegistryAuth = RegistryAuth::Anonymous;
const PROOF: &str = "application/vnd.example.proof";

fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::new(ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() })
}

fn at(text: String) -> Reference {
    text.parse().unwrap()
}

fn notes() -> BTreeMap<String, String> {
    [("org.example.by".to_owned(), "a \"tester\"".to_owned())].into()
}

/// Pushes an artefact of one layer that refers to `subject`.
async fn attach(
    client: &Client,
    to: &Reference,
    auth: &RegistryAuth,
    subject: OciDescriptor,
) -> OciDescriptor {
    let layers = [ImageLayer::new("it was seen", PROOF.to_owned(), None)];
    let config = Config::oci_v1("{}", None);
    let manifest = OciImageManifest {
        media_type: Some(OCI_IMAGE_MEDIA_TYPE.to_owned()),
        artifact_type: Some(PROOF.to_owned()),
        subject: Some(subject),
        ..OciImageManifest::build(&layers, &config, Some(notes()))
    };
    client.push(to, &layers, config, auth, Some(manifest)).await.unwrap();
    let (bytes, digest) = client.pull_manifest_raw(to, auth, &[OCI_IMAGE_MEDIA_TYPE]).await.unwrap();
    let (media_type, size) = (OCI_IMAGE_MEDIA_TYPE.to_owned(), bytes.len() as i64);
    OciDescriptor { media_type, digest, size, ..OciDescriptor::default() }
}

/// What is listed as attached to `image`, which names a digest.
async fn listed(client: &Client, image: &Reference) -> Vec<ImageIndexEntry> {
    client.pull_referrers(image, Some(PROOF)).await.unwrap().manifests
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_promotion_copies_and_records_reads_as_it_should() {
    let (registry, live) = (Registry::start(&[]), Registry::start(&[]));
    let world = World::chain(&registry.host);
    let built = world.boxwright(&["build", "--format", "json"]).good().boxes("digest");
    world.boxwright(&["promote", "main", "--yes"]).good();

    // This registry keeps no lists, so that who attaches something writes one under a tag.
    let client = client();
    let image = at(format!("{}/test:main", registry.host));
    let (OciManifest::Image(manifest), digest) = client.pull_manifest(&image, &NOBODY).await.unwrap() else {
        panic!("no image")
    };
    assert_eq!(digest, built[2]);
    let (bytes, _) =
        client.pull_manifest_raw(&image, &NOBODY, &[manifest.media_type.as_deref().unwrap()]).await.unwrap();
    let media_type = manifest.media_type.clone().unwrap();
    let subject = OciDescriptor { media_type, digest, size: bytes.len() as i64, ..OciDescriptor::default() };
    let proof = attach(&client, &at(format!("{}/test:proof", registry.host)), &NOBODY, subject).await;
    let entry = ImageIndexEntry {
        media_type: proof.media_type,
        digest: proof.digest.clone(),
        size: proof.size,
        platform: None,
        annotations: Some(notes()),
        artifact_type: Some(PROOF.to_owned()),
    };
    let list = OciImageIndex {
        schema_version: 2,
        media_type: Some(OCI_IMAGE_INDEX_MEDIA_TYPE.to_owned()),
        manifests: vec![entry],
        artifact_type: None,
        annotations: None,
    };
    let list_tag = built[2].replace(':', "-");
    client
        .push_manifest_list(&at(format!("{}/test:{list_tag}", registry.host)), &NOBODY, list)
        .await
        .unwrap();

    let to = format!("{}/team", live.host);
    world.without_engine(&["promote", "r1.0", "--from", "main", "--to", &to, "--yes"]).good();
    let (copied, digest) = client.pull_manifest(&at(format!("{to}/test:r1.0")), &NOBODY).await.unwrap();
    assert_eq!(digest, built[2]);
    let OciManifest::Image(copied) = copied else { panic!("no image") };
    for layer in std::iter::once(&copied.config).chain(&copied.layers) {
        // It checks the digest of what it reads.
        let mut bytes = Vec::new();
        client.pull_blob(&at(format!("{to}/test:r1.0")), layer, &mut bytes).await.unwrap();
        assert_eq!(bytes.len() as i64, layer.size);
    }
    let entries = listed(&client, &at(format!("{to}/test@{}", built[2]))).await;
    let [entry] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!((&entry.digest, entry.size), (&proof.digest, proof.size));
    assert_eq!((entry.artifact_type.as_deref(), entry.annotations.clone()), (Some(PROOF), Some(notes())));
    let found = client.pull(&at(format!("{to}/test@{}", proof.digest)), &NOBODY, vec![PROOF]).await.unwrap();
    assert_eq!(found.layers[0].data, "it was seen");

    // Records, and the list made on the way: oci-client writes of what it read the same bytes.
    let ledgers = [format!("{}/boxwright-ledger", registry.host), format!("{to}/boxwright-ledger")];
    let mut kinds = std::collections::BTreeSet::new();
    let mut documents = vec![at(format!("{to}/test:{list_tag}"))];
    for ledger in &ledgers {
        let tags = client.list_tags(&at(format!("{ledger}:any")), &NOBODY, None, None).await.unwrap().tags;
        kinds.extend(tags.iter().filter_map(|tag| Some(tag.split_once('.')?.0.to_owned())));
        documents.extend(tags.iter().map(|tag| at(format!("{ledger}:{tag}"))));
    }
    for kind in ["inputs", "run", "set"] {
        assert!(kinds.contains(kind), "{kinds:?}");
    }
    for place in documents {
        let (document, digest) = client.pull_manifest(&place, &NOBODY).await.unwrap();
        let again = Reference::with_tag(
            place.registry().to_owned(),
            place.repository().to_owned(),
            "again".to_owned(),
        );
        client.push_manifest(&again, &document).await.unwrap();
        assert_eq!(
            client.fetch_manifest_digest(&again, &NOBODY).await.unwrap(),
            digest,
            "{place}: {document}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_registry_serves_it_both_ways() {
    let home = tempfile::tempdir().unwrap();
    let server = EmbeddedServer::start(home.path(), PortChoice::Any, None).await.unwrap();
    let host = server.addr().to_string();
    let Credential::Basic { user, password } = server.credential() else { panic!("no password") };
    let auth = RegistryAuth::Basic(user.clone(), password.expose().to_owned());
    for use_monolithic_push in [false, true] {
        let plain = ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() };
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::new(ClientConfig { use_monolithic_push, ..plain });
        let name = format!("a/{use_monolithic_push}");
        let layers = [ImageLayer::oci_v1(vec![u8::from(use_monolithic_push); 3 << 20], Some(notes()))];
        let config = Config::oci_v1("{}", None);
        let image = at(format!("{host}/{name}:v1"));
        client.push(&image, &layers, config, &auth, None).await.unwrap();
        let (bytes, digest) = client.pull_manifest_raw(&image, &auth, &[OCI_IMAGE_MEDIA_TYPE]).await.unwrap();
        let media_type = OCI_IMAGE_MEDIA_TYPE.to_owned();
        let size = bytes.len() as i64;
        let subject = OciDescriptor { media_type, digest: digest.clone(), size, ..OciDescriptor::default() };
        let proof = attach(&client, &at(format!("{host}/{name}:proof")), &auth, subject).await;
        let entries = listed(&client, &at(format!("{host}/{name}@{digest}"))).await;
        let [entry] = entries.as_slice() else { panic!("{entries:?}") };
        assert_eq!((&entry.digest, entry.size), (&proof.digest, proof.size));
        assert_eq!(entry.annotations, Some(notes()));
        let other = at(format!("{host}/{name}@{}", proof.digest));
        assert!(listed(&client, &other).await.is_empty());

        // What we copy there is what it pushed.
        let ours = client_with(Credentials::given(&host, server.credential()));
        let repository = |name: &str| boxwright::model::Repository::new(&host, name).unwrap();
        let (from, to) = (repository(&name), repository(&format!("b/{use_monolithic_push}")));
        let source = Place { registry: &ours, repository: &from };
        let target = Target { registry: &ours, repository: &to };
        let tag: boxwright::model::Tag = "v1".parse().unwrap();
        copy(source, &tag.clone().into(), target, Some(&tag)).await.unwrap();
        let pulled =
            client.pull(&at(format!("{host}/{}:v1", to.name())), &auth, vec![&layers[0].media_type]).await;
        let pulled = pulled.unwrap();
        assert_eq!(pulled.digest, Some(digest));
        assert_eq!(pulled.layers[0].data, layers[0].data);
        let tags = client.list_tags(&image, &auth, None, None).await.unwrap().tags;
        assert_eq!(tags, ["proof", "v1"]);
    }
}
