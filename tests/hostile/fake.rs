//! A server that notes what it is shown, and a registry of that kind.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

/// One request.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `GET /v2/…`, with the query.
    pub line: String,
    /// What was shown.
    pub authorization: Option<String>,
}

/// How it wants to be shown who asks.
#[derive(Debug, Clone)]
pub enum Wants {
    Password,
    /// A token of the service at this address; empty is its own.
    Token(String),
    /// Nothing: it sends everybody to this address.
    Elsewhere(String),
    /// Nothing: it serves this text.
    Nobody(&'static str),
}

/// The server; what is shown to it is shown to whoever runs it.
pub struct Fake {
    pub host: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    pub fn start(wants: Wants) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (note, own) = (Arc::clone(&seen), host.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut writer, note, own, wants) =
                    (stream.unwrap(), Arc::clone(&note), own.clone(), wants.clone());
                std::thread::spawn(move || {
                    let mut lines = BufReader::new(writer.try_clone().unwrap()).lines().map_while(Result::ok);
                    let Some(first) = lines.next() else { return };
                    let line = first.rsplit_once(' ').map_or(first.clone(), |(line, _)| line.to_owned());
                    let mut authorization = None;
                    for header in lines.by_ref().take_while(|line| !line.is_empty()) {
                        if let Some((name, value)) = header.split_once(": ")
                            && name.eq_ignore_ascii_case("authorization")
                        {
                            authorization = Some(value.to_owned());
                        }
                    }
                    let answer = answer(&wants, &own, &line, authorization.as_deref());
                    note.lock().unwrap().push(Seen { line, authorization });
                    let _ = writer.write_all(answer.as_bytes());
                });
            }
        });
        Self { host, seen }
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Forgets them.
    pub fn forget(&self) {
        self.seen.lock().unwrap().clear();
    }

    /// What was shown in requests whose line holds `part`.
    pub fn shown_for(&self, part: &str) -> Vec<String> {
        let of = self.seen().into_iter().filter(|seen| seen.line.contains(part));
        of.filter_map(|seen| seen.authorization).collect()
    }

    /// Everything that it was shown.
    pub fn shown(&self) -> Vec<String> {
        self.shown_for("")
    }
}

fn answer(wants: &Wants, own: &str, line: &str, authorization: Option<&str>) -> String {
    let date = "Mon, 30 Nov 2026 00:00:00 GMT";
    let reply = |status: &str, headers: &str, body: &str| {
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\nDate: {date}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        )
    };
    let is_token = line.split(' ').nth(1).is_some_and(|path| path.starts_with("/token"));
    if is_token {
        return reply("200 OK", "Content-Type: application/json\r\n", r#"{"token":"t0ken-of-the-fake"}"#);
    }
    let let_in = match wants {
        Wants::Password => authorization.is_some_and(|text| text.starts_with("Basic ")),
        Wants::Token(_) => authorization.is_some_and(|text| text.starts_with("Bearer ")),
        Wants::Elsewhere(to) => return reply("307 Temporary Redirect", &format!("Location: {to}\r\n"), ""),
        Wants::Nobody(text) => return reply("200 OK", "Content-Type: text/plain\r\n", text),
    };
    if let_in {
        let body = r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#;
        return reply("404 Not Found", "Content-Type: application/json\r\n", body);
    }
    let challenge = match wants {
        Wants::Token(realm) if realm.is_empty() => {
            format!("Bearer realm=\"http://{own}/token\",service=\"fake\"")
        }
        Wants::Token(realm) => format!("Bearer realm=\"{realm}\",service=\"fake\""),
        _ => "Basic realm=\"fake\"".to_owned(),
    };
    let body = r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#;
    let headers = format!("WWW-Authenticate: {challenge}\r\nContent-Type: application/json\r\n");
    reply("401 Unauthorized", &headers, body)
}
