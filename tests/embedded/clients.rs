//! Several servers and clients, hostile ones among them, and skopeo.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use boxwright::adapter::embedded::{EmbeddedServer, PortChoice};
use boxwright::model::Digest;
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{DOCKER, Fixture, HOUR, OCI, authorization, header, image, refused};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_over_one_store_lose_nothing() {
    let one = Fixture::new().await;
    one.push_blob("a", b"{}").await;
    let two = EmbeddedServer::start(one.home.path(), PortChoice::Any, None).await.unwrap();
    let mut pushes = tokio::task::JoinSet::new();
    for n in 0..60 {
        let server = if n % 2 == 0 { &one.server } else { &two };
        let url = format!("http://{}/v2/a/manifests/t{n:02}", server.addr());
        let request = reqwest::Client::builder().no_proxy().build().unwrap().put(url);
        let request = request
            .header("authorization", authorization(server))
            .header("content-type", OCI)
            .body(image(&n.to_string()));
        pushes.spawn(async move { request.send().await.unwrap().status() });
    }
    while let Some(status) = pushes.join_next().await {
        assert_eq!(status.unwrap(), 201);
    }
    assert_eq!(one.json("/v2/a/tags/list").await["tags"].as_array().unwrap().len(), 60);
}

#[tokio::test]
async fn only_programs_on_this_machine_are_answered() {
    let fixture = Fixture::new().await;
    let rebound =
        fixture.request(Method::GET, "/v2/").header("host", "evil.example:80").send().await.unwrap();
    refused(rebound, 403, "DENIED").await;
    let page = fixture.request(Method::POST, "/v2/a/blobs/uploads/").header("origin", "http://evil.example");
    refused(page.send().await.unwrap(), 403, "DENIED").await;
    let localhost = format!("localhost:{}", fixture.server.addr().port());
    let named = fixture.request(Method::GET, "/v2/").header("host", localhost).send().await.unwrap();
    assert_eq!(named.status(), 200);
}

#[tokio::test]
async fn hostile_bytes_get_an_answer_or_a_closed_connection() {
    let fixture = Fixture::new().await;
    let addr = fixture.server.addr();
    let shown = format!("\r\nAuthorization: {}\r\n", authorization(&fixture.server));
    for (text, expect) in [
        ("GET /v2/ HTTP/1.1\r\n\r\n".to_owned(), "403"),
        ("GET /v2/ HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n".to_owned(), "403"),
        ("GET http://evil/v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), "403"),
        ("GET /v2/a/tags/list?n=%ff&last=%00&&&= HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), "400"),
        ("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), "404"),
        (format!("GET /v2/{}tags/list HTTP/1.1\r\nHost: localhost\r\n\r\n", "a/".repeat(20_000)), "400"),
        ("\0\u{1}\u{2} nonsense\r\n\r\n".to_owned(), "400"),
        (
            "PUT /v2/a/manifests/x HTTP/1.1\r\nHost: localhost\r\nContent-Type: \u{e4}\r\nContent-Length: 0\r\n\r\n"
                .to_owned(),
            "400",
        ),
    ] {
        let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
        // Whoever has the password, too.
        let text = text.replacen("\r\n", &shown, 1);
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer[9..], expect.as_bytes(), "{text:.100}");
    }
    assert_eq!(fixture.send(Method::GET, "/v2/").await.status(), 200, "it still serves");
}

#[tokio::test]
async fn an_upload_that_breaks_off_goes_on_where_it_was() {
    let fixture = Fixture::new().await;
    let place = header(&fixture.send(Method::POST, "/v2/a/blobs/uploads/").await, "location");
    let mut stream = tokio::net::TcpStream::connect(fixture.server.addr()).await.unwrap();
    let head = format!(
        "PATCH {place} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000\r\n\
         Authorization: {}\r\n\r\n",
        authorization(&fixture.server)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b'x'; 3_000_000]).await.unwrap();
    // Until a window of it has been written; the rest is lost with the connection.
    while std::fs::read_dir(fixture.registry().join("tmp"))
        .unwrap()
        .all(|file| file.unwrap().metadata().unwrap().len() == 0)
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(stream);
    let come = header(&fixture.send(Method::GET, &place).await, "range");
    let come = come.strip_prefix("0-").unwrap().parse::<usize>().unwrap() + 1;
    assert!((1..=3_000_000).contains(&come), "{come}");
    let whole = vec![b'x'; 4_000_000];
    let finish = fixture.request(Method::PUT, &format!("{place}?digest={}", Digest::of(&whole)));
    let finish = finish.header("content-range", format!("{come}-3999999")).body(whole[come..].to_vec());
    assert_eq!(finish.send().await.unwrap().status(), 201);
}

#[tokio::test]
async fn a_server_keeps_its_port_says_what_it_did_and_stops() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path().join(".boxwright");
    let lines = Arc::new(Mutex::new(Vec::new()));
    let log = {
        let lines = lines.clone();
        move |line: &str| lines.lock().unwrap().push(line.to_owned())
    };
    let server = EmbeddedServer::start(&home, PortChoice::Remembered, Some(Arc::new(log))).await.unwrap();
    let addr = server.addr();
    assert!(addr.ip().is_loopback());
    assert_eq!(std::fs::read_to_string(home.join(".gitignore")).unwrap(), "*\n");
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    let shown = authorization(&server);
    let request = format!(
        "GET /v2/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: {shown}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.read_to_end(&mut Vec::new()).await.unwrap();
    assert_eq!(*lines.lock().unwrap(), ["GET /v2/x 404"]);
    server.stop().await;
    assert!(tokio::net::TcpStream::connect(addr).await.is_err(), "stopped");
    let again = EmbeddedServer::start(&home, PortChoice::Remembered, None).await.unwrap();
    assert_eq!(again.addr(), addr);
    drop(again);
    while tokio::net::TcpStream::connect(addr).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Runs skopeo; it is part of the test environment, so its absence is a failure.
async fn skopeo(login: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new("skopeo");
    command
        .env("REGISTRY_AUTH_FILE", login)
        .args(["--insecure-policy"])
        .args(arguments)
        .env("NO_PROXY", "127.0.0.1");
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    let output = output.expect("skopeo must be installed");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Writes an image as the engine pushes it, in skopeo's `dir:` form, and returns its digest.
fn docker_image(dir: &Path) -> Digest {
    let mut tar = tar::Builder::new(Vec::new());
    let mut entry = tar::Header::new_ustar();
    entry.set_size(5);
    entry.set_mode(0o644);
    tar.append_data(&mut entry, "hello", &b"world"[..]).unwrap();
    let layer = tar.into_inner().unwrap();
    let diff = Digest::of(&layer);
    let config = json!({ "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [diff] } });
    let config = config.to_string();
    let blob = |kind: &str, bytes: &[u8]| {
        std::fs::write(dir.join(Digest::of(bytes).hex()), bytes).unwrap();
        json!({ "mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len() })
    };
    let manifest = json!({ "schemaVersion": 2, "mediaType": DOCKER,
        "config": blob("application/vnd.docker.container.image.v1+json", config.as_bytes()),
        "layers": [blob("application/vnd.docker.image.rootfs.diff.tar", &layer)] });
    let manifest = manifest.to_string();
    std::fs::write(dir.join("manifest.json"), &manifest).unwrap();
    std::fs::write(dir.join("version"), "Directory Transport Version: 1.1\n").unwrap();
    Digest::of(manifest.as_bytes())
}

#[tokio::test]
async fn skopeo_copies_over_http_and_reads_the_layout_on_disk() {
    let fixture = Fixture::new().await;
    let scratch = tempfile::tempdir().unwrap();
    let _login = fixture.server.login_in(&scratch.path().join("login")).unwrap();
    let login = scratch.path().join("login/config.json");
    let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
    std::fs::create_dir(&from).unwrap();
    let digest = docker_image(&from);
    let http = format!("docker://{}/team/base:v1.0", fixture.server.addr());
    let (from, to) = (format!("dir:{}", from.display()), format!("dir:{}", to.display()));
    let disk = |tag: &str| format!("oci:{}:team/base:{tag}", fixture.registry().display());

    skopeo(&login, &["copy", "--preserve-digests", "--dest-tls-verify=false", &from, &http]).await.unwrap();
    let seen =
        skopeo(&login, &["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &http]).await.unwrap();
    assert_eq!(seen.trim(), digest.as_str());
    skopeo(&login, &["copy", "--src-tls-verify=false", &http, &to]).await.unwrap();
    let copied = std::fs::read(scratch.path().join("to/manifest.json")).unwrap();
    assert_eq!(Digest::of(&copied), digest);

    let oci = http.replace("v1.0", "oci");
    let convert = ["copy", "--format", "oci", "--dest-tls-verify=false", &from, &oci];
    skopeo(&login, &convert).await.unwrap();
    for tag in ["v1.0", "oci"] {
        let inspected = skopeo(&login, &["inspect", &disk(tag)]).await.unwrap();
        assert!(inspected.contains("\"Architecture\": \"amd64\""), "{inspected}");
        skopeo(&login, &["copy", &disk(tag), &to]).await.unwrap();
    }
    assert!(skopeo(&login, &["inspect", &disk("none")]).await.is_err());

    // What skopeo writes into the layout is served, and what was there before still is.
    skopeo(&login, &["copy", &disk("oci"), &disk("direct")]).await.unwrap();
    assert_eq!(fixture.json("/v2/team/base/tags/list").await["tags"], json!(["direct", "oci", "v1.0"]));
    fixture.server.store().collect(HOUR, SystemTime::now() + 2 * HOUR).unwrap();
    skopeo(&login, &["copy", &disk("v1.0"), &to]).await.unwrap();
    skopeo(&login, &["copy", "--src-tls-verify=false", &http.replace("v1.0", "direct"), &to]).await.unwrap();
}
