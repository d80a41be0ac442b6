//! Tag lists: complete, or an error.

use boxwright::adapter::registry::Limits;
use boxwright::port::{RegistryReader, TagList};
use boxwright_testing::peer::{Peer, Reply, client, client_with, limits, status, untrusted};

fn page(tags: &[String]) -> Reply {
    Reply::new(200).body(serde_json::json!({ "name": "a", "tags": tags }).to_string())
}

fn page_of(tags: &[&str]) -> Reply {
    page(&tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>())
}

fn names(list: &TagList) -> Vec<String> {
    list.tags.iter().map(ToString::to_string).collect()
}

/// 18
#[tokio::test]
async fn empty_lists() {
    for reply in [
        Reply::new(200).body(r#"{"name":"a","tags":null}"#),
        Reply::new(200).body(r#"{"name":"a","tags":[]}"#),
        Reply::new(200).body(r#"{"name":"a"}"#),
        Reply::new(404).body(r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#),
        Reply::new(404),
    ] {
        let peer = Peer::start(move |_, _| reply.clone()).await;
        assert_eq!(client().tags(&peer.repository()).await.unwrap(), TagList::default());
        assert_eq!(peer.lines(), ["GET /v2/a/tags/list?n=1000"]);
    }
}

#[tokio::test]
async fn what_is_no_list() {
    for body in ["", "{}", "[]", "<html>", r#"{"tags":[1]}"#, r#"{"tags":"x"}"#, "{\"tags\":[\"\u{0}\"]}"] {
        let peer = Peer::start(move |_, _| Reply::new(200).body(body)).await;
        untrusted(client().tags(&peer.repository()).await, "not a list of tags");
    }
}

/// 19: relative, and absolute on the same server.
#[tokio::test]
async fn pages_are_followed() {
    let peer = Peer::start(|seen, before| match before {
        0 => page_of(&["b"]).header("Link", r#"</v2/a/tags/list?last=b&n=1>; rel="next""#),
        1 => page_of(&["a"]).header("Link", r#"<list?last=a>; rel="next""#),
        2 => {
            let next = format!("<http://{}/v2/a/tags/list?last=c>; rel=next", seen.header("host").unwrap());
            page_of(&["c"]).header("Link", next)
        }
        _ => page_of(&[]),
    })
    .await;
    let list = client().tags(&peer.repository()).await.unwrap();
    assert_eq!(names(&list), ["a", "b", "c"]);
    assert_eq!(
        peer.lines()[1..],
        ["GET /v2/a/tags/list?last=b&n=1", "GET /v2/a/tags/list?last=a", "GET /v2/a/tags/list?last=c"]
    );
}

/// 20: another host or scheme, whatever it is called, is not asked.
#[tokio::test]
async fn pages_elsewhere_are_refused() {
    let elsewhere = Peer::unwanted().await;
    for link in [
        format!("http://{}/v2/a/tags/list", elsewhere.host),
        format!("//{}/v2/a/tags/list", elsewhere.host),
        "https://{own}/v2/a/tags/list".to_owned(),
        "http://169.254.169.254/".to_owned(),
        "http://[".to_owned(),
    ] {
        let peer = Peer::start(move |seen, _| {
            let link = link.replace("{own}", seen.header("host").unwrap());
            page_of(&["a"]).header("Link", format!("<{link}>; rel=\"next\""))
        })
        .await;
        untrusted(client().tags(&peer.repository()).await, "elsewhere");
        assert_eq!(peer.count(), 1);
    }
    assert_eq!(elsewhere.count(), 0);
}

/// 21: a full page without Link is not believed to be the last.
#[tokio::test]
async fn full_pages_go_on() {
    let all: Vec<String> = (0..2500).map(|number| format!("t{number:04}")).collect();
    let served = all.clone();
    let peer = Peer::start(move |seen, _| {
        let last = seen.target.split_once("last=").map(|(_, last)| last.to_owned());
        let from = served.iter().position(|tag| Some(tag) == last.as_ref()).map_or(0, |at| at + 1);
        page(&served[from..served.len().min(from + 1000)])
    })
    .await;
    assert_eq!(names(&client().tags(&peer.repository()).await.unwrap()), all);
    assert_eq!(peer.lines()[1], "GET /v2/a/tags/list?n=1000&last=t0999");
    assert_eq!(peer.count(), 3);
    // docker-registry 2.8.2 gives everything at a time: of 1000 tags, twice.
    for (count, requests) in [(1000, 2), (1500, 1)] {
        let some = all[..count].to_vec();
        let peer = Peer::start(move |_, _| page(&some)).await;
        assert_eq!(client().tags(&peer.repository()).await.unwrap().tags.len(), count);
        assert_eq!(peer.count(), requests);
    }
}

/// 22
#[tokio::test]
async fn circles_and_endless_lists_end() {
    let peer = Peer::start(|_, before| {
        let next = if before == 0 { "list?last=b" } else { "list?n=1000" };
        page_of(&["a", "b"]).header("Link", format!("<{next}>; rel=\"next\""))
    })
    .await;
    untrusted(client().tags(&peer.repository()).await, "circle");
    assert_eq!(peer.count(), 2);
    let peer = Peer::start(|_, before| {
        page_of(&[&format!("t{before}")]).header("Link", format!("<list?last={before}>; rel=\"next\""))
    })
    .await;
    let mut few = limits();
    few.pages = 7;
    untrusted(client_with(Default::default(), few).tags(&peer.repository()).await, "more than 7 pages");
    assert_eq!(peer.count(), 7);
    // However few they are, they are held in memory.
    let peer = Peer::start(|_, before| {
        let names = vec![format!("t{before}"), "x".repeat(15 * 1024 * 1024)];
        page(&names).header("Link", format!("<list?last={before}>; rel=\"next\""))
    })
    .await;
    let long = std::time::Duration::from_secs(600);
    let patient = Limits { deadline: long, idle: long, ..limits() };
    let registry = client_with(Default::default(), patient);
    untrusted(registry.tags(&peer.repository()).await, "longer than 67108864 bytes");
    assert_eq!(peer.count(), 5);
}

/// 23, 97
#[tokio::test]
async fn names_are_sorted_and_checked() {
    let odd = ["b", "a", "b", "../../x", "a b", "\u{1b}[2J", "-x", "../../x", ""];
    let peer = Peer::start(move |_, _| page_of(&odd)).await;
    let list = client().tags(&peer.repository()).await.unwrap();
    assert_eq!(names(&list), ["a", "b"]);
    assert_eq!(list.invalid, ["", "\\u{1b}[2J", "-x", "../../x", "a b"]);
}

/// 24, 69: half a list is none.
#[tokio::test]
async fn a_broken_page_breaks_the_list() {
    for (reply, code) in [(Reply::new(500), 500), (Reply::new(404), 404)] {
        let peer = Peer::start(move |_, before| match before {
            0 => page_of(&["a"]).header("Link", "<list?last=a>; rel=\"next\""),
            _ => reply.clone(),
        })
        .await;
        status(client().tags(&peer.repository()).await, code);
    }
    let peer = Peer::start(|_, _| page_of(&["a"]).header("Link", "<\u{e9}>; rel=\"next\"")).await;
    untrusted(client().tags(&peer.repository()).await, "Link");
}
