//! The report as one page: no script, nothing from elsewhere, for a phone as for a desk.

use std::collections::BTreeSet;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::facts::{BoxFacts, Image, Member, Promotion, Report};
use crate::model::{Digest, escape, is_plain, size};

const STYLE: &str = include_str!("page.css");
/// What the page may load: nothing but the style that stands in it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// Writes the page.
pub fn render(report: &Report) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { "Boxes in " (report.registry) }
                style { (PreEscaped(STYLE)) }
            }
            body { main {
                h1 { "Boxes in " code { (report.registry) } }
                p.soft { "as of " time datetime=(report.now) { (moment(&report.now)) } }
                nav {
                    a href="#boxes" { "Boxes" } a href="#promotions" { "Promotions" }
                    a href="#leases" { "Leases" } a href="#clean" { "What clean would do" }
                    a href="#tags" { "All tags" }
                }
                (totals(report))
                section #boxes { h2 { "Boxes" } (graph(report)) }
                section #promotions { h2 { "Promotions" } (promotions(report)) }
                section #leases { h2 { "Leases" } (leases(report)) }
                section #clean { h2 { "What clean would do" } (going(report)) }
                section #tags { h2 { "All tags" } (tags(report)) }
            } }
        }
    };
    // Nothing hides on a page, or turns its direction, that a terminal would be spared.
    let mut out = String::new();
    for c in page.into_string().chars() {
        if c == '\n' || is_plain(c) { out.push(c) } else { escape(&mut out, c) }
    }
    out
}

fn totals(report: &Report) -> Markup {
    let totals = &report.totals;
    let tiles = [
        ("boxes", report.boxes.len().to_string()),
        ("tags", totals.tags.to_string()),
        ("images", totals.images.to_string()),
        ("stored", size(totals.bytes)),
        ("to be freed", size(totals.freed)),
    ];
    html! {
        dl.totals #totals data-bytes=(totals.bytes) data-freed=(totals.freed) {
            @for (name, value) in tiles { div data-total=(name) { dt { (name) } dd { (value) } } }
        }
    }
}

/// The graph as a tree: a box stands below the first of its parents, and names the others.
fn graph(report: &Report) -> Markup {
    let largest = report.boxes.iter().map(|one| one.bytes).max().unwrap_or(0).max(1);
    let roots = report.boxes.iter().filter(|one| one.parents.is_empty());
    html! {
        p.soft { "Each box stands below the one it is built on; the bar is its size, the strong part what no other box has." }
        ul.tree { @for one in roots { (branch(report, one, largest)) } }
    }
}

fn branch(report: &Report, one: &BoxFacts, largest: u64) -> Markup {
    let children = report.boxes.iter().filter(|child| child.parents.first() == Some(&one.name));
    let children: Vec<&BoxFacts> = children.collect();
    let others = one.parents.iter().skip(1).map(String::as_str).collect::<Vec<_>>().join(", ");
    let (own, shared) = (one.own_bytes, one.bytes.saturating_sub(one.own_bytes));
    html! {
        li data-box=(one.name) {
            div {
                div.row {
                    strong { (one.name) }
                    @if one.repository != one.name { code.soft { (one.repository) } }
                    @if !others.is_empty() { span.soft { "also on " (others) } }
                }
                div.bar role="img" aria-label={ (size(own)) " own, " (size(shared)) " shared" } {
                    i style={ "width:" (percent(own, largest)) "%" } {}
                    i.shared style={ "width:" (percent(shared, largest)) "%" } {}
                }
                div.facts {
                    span { (size(one.bytes)) } span { (size(own)) " own" }
                    a href={ "#tags-" (one.repository) } { (count(one.tags, "tag")) }
                    span { (count(one.images, "image")) }
                }
            }
            @if !children.is_empty() { ul { @for child in children { (branch(report, child, largest)) } } }
        }
    }
}

fn promotions(report: &Report) -> Markup {
    html! {
        @if report.promotions.is_empty() { p.soft { "Nothing has been promoted." } }
        @for (index, one) in report.promotions.iter().enumerate() {
            @let moved = one.boxes.iter().filter(|member| member.before.as_ref() != Some(&member.digest)).count();
            details open[index == 0] data-promotion={ (one.tag) "." (one.seq) } {
                summary {
                    code { (one.tag) } " "
                    span.soft {
                        "promotion " (one.seq) ", " (moment(&one.promoted)) ", "
                        (moved) " of " (boxes(one.boxes.len())) " moved"
                    }
                }
                (promotion(one))
            }
        }
    }
}

fn promotion(one: &Promotion) -> Markup {
    html! {
        p.soft {
            "by run " code { (one.run) }
            @if let Some(revision) = &one.revision { " from " code title=(revision) { (revision.get(..12).unwrap_or(revision)) } }
        }
        table {
            thead { tr { th { "box" } th { "now" } th { "before" } } }
            tbody { @for Member { name, digest, before } in &one.boxes {
                tr {
                    td { strong { (name) } }
                    td data-label="now" { (short(Some(digest))) }
                    td data-label="before" {
                        @if before.as_ref() == Some(digest) { "the same" } @else { (short(before.as_ref())) }
                    }
                }
            } }
        }
    }
}

fn leases(report: &Report) -> Markup {
    html! {
        @if report.leases.is_empty() { p.soft { "No run holds a lease." } }
        @else {
            table {
                thead { tr { th { "run" } th { "taken" } th { "until" } th.n { "keys" } th { "over" } } }
                tbody { @for one in &report.leases {
                    tr data-lease=(one.run) {
                        td { code { (one.run) } @if one.attempt > 1 { " attempt " (one.attempt) } }
                        td data-label="taken" { (moment(&one.taken)) }
                        td data-label="until" { (moment(&one.until)) }
                        td.n data-label="keys" { (one.keys.len()) }
                        td { div.bar role="img" aria-label={ (one.gone) "% over" } {
                            i.shared style={ "width:" (one.gone) "%" } {}
                        } }
                    }
                } }
            }
        }
    }
}

fn going(report: &Report) -> Markup {
    let count = report.going().count();
    html! {
        @if count == 0 { p.soft { "Nothing: everything is kept." } }
        @else {
            p { (self::count(count, "tag")) " would go, and free " (size(report.totals.freed)) "." }
            table {
                thead { tr { th { "tag" } th { "what" } th.n { "own size" } th { "why" } } }
                tbody { @for one in report.going() {
                    tr data-going={ (one.repository) ":" (one.tag) } {
                        td { code { (one.repository) ":" (one.tag) } }
                        td.go { (one.action) }
                        td.n data-label="own size" { (size(one.own_bytes)) }
                        td.soft { (one.reason) }
                    }
                } }
            }
        }
    }
}

fn tags(report: &Report) -> Markup {
    let repositories: BTreeSet<&str> = report.images.iter().map(|one| one.repository.as_str()).collect();
    html! {
        @for name in repositories {
            @let of_it: Vec<&Image> = report.images.iter().filter(|one| one.repository == name).collect();
            details data-repository=(name) {
                summary { code { (name) } " " span.soft { (count(of_it.len(), "tag")) } }
                // A browser opens what is closed around the place that a link leads to.
                table id={ "tags-" (name) } {
                    thead { tr { th { "tag" } th { "digest" } th.n { "size" } th.n { "own" } th { "clean" } } }
                    tbody { @for one in of_it {
                        tr data-tag=(one.tag) {
                            td { code { (one.tag) } }
                            td { (short(one.digest.as_ref())) }
                            td.n data-label="size" { (size(one.bytes)) }
                            td.n data-label="own" { (size(one.own_bytes)) }
                            td {
                                span class=(if one.action == "keep" { "keep" } else { "go" }) { (one.action) }
                                " " span.soft { (one.reason) }
                            }
                        }
                    } }
                }
            }
        }
    }
}

fn short(digest: Option<&Digest>) -> Markup {
    html! {
        @match digest {
            Some(digest) => code title=(digest) { (digest.short()) },
            None => "nothing",
        }
    }
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

fn boxes(number: usize) -> String {
    if number == 1 { "1 box".to_owned() } else { format!("{number} boxes") }
}

fn percent(part: u64, whole: u64) -> u64 {
    (u128::from(part) * 100 / u128::from(whole)).min(100) as u64
}

/// Turns `2026-11-21T07:44:00Z` into what people read.
fn moment(rfc3339: &str) -> String {
    match rfc3339.get(..16) {
        Some(minute) => format!("{} UTC", minute.replacen('T', " ", 1)),
        None => rfc3339.to_owned(),
    }
}
