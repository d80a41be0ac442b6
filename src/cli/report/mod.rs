//! `report`: what stands where, what it takes, and what `clean` would do about it.

mod facts;
mod page;
mod weight;

use std::collections::{BTreeMap, BTreeSet};

use tokio_util::sync::CancellationToken;

use self::facts::{BoxFacts, Image, LeaseFacts, Member, Promotion, Report, Totals};
use self::weight::Weights;
use super::args::{Clean, Format, Global, Report as Options};
use super::error::{CliError, exit};
use super::promote::channel_of;
use super::session::{self, Loaded, Session};
use super::table::Table;
use super::terminal::{BOLD, DIM, NOTE, Terminal};
use super::{clean, json, whole};
use crate::exec::{self, CleanError, Ledger};
use crate::model::{Digest, Lease, PromotionRecord, Repository, Span, Tag, size};

pub async fn run(options: &Options, global: &Global, terminal: Terminal) -> Result<u8, CliError> {
    let loaded = session::load(global)?;
    let session = Session::open(&loaded, global).await?;
    let report = gather(&loaded, &session, terminal).await?;
    session.close(false).await?;
    if let Some(path) = &options.html {
        whole::write(path, &page::render(&report))?;
    }
    match (global.format, &options.html) {
        (Format::Json, _) => terminal.result(&json::text(&report))?,
        (Format::Human, None) => terminal.result(&human(&report))?,
        (Format::Human, Some(path)) => terminal.say(&format!("wrote {}", path.display())),
    }
    Ok(exit::DONE)
}

async fn gather(loaded: &Loaded, session: &Session, terminal: Terminal) -> Result<Report, CliError> {
    let ports = session.ports();
    let rehearsal = Clean::default();
    let mut options =
        clean::clean_options(loaded, session, &rehearsal, None, Span::default(), terminal).await?;
    // Nothing is written: what a write would take to show need not be waited for.
    options.settle = Span::default();
    options.is_thorough = true;
    let swept = exec::clean(ports, &session.setting, &options, &|_| {}, &CancellationToken::new()).await?;
    let mut rows = clean::rows(&swept);
    // Parts weigh with what they are parts of.
    rows.retain(|row| row.tag.is_some());
    let repositories: BTreeMap<&str, &Repository> =
        options.repositories.iter().map(|repository| (repository.name(), repository)).collect();
    let place = |row: &clean::Row| {
        let tag: Tag = row.tag.as_ref()?.parse().ok()?;
        Some(((*repositories.get(row.repository.as_str())?).clone(), tag))
    };
    let unresolved = rows.iter().filter(|row| row.digest.is_none()).filter_map(place).collect();
    let resolved = exec::resolve_tags(ports.registry, unresolved).await.map_err(CleanError::from)?;
    for row in &mut rows {
        if let (None, Some((repository, tag))) = (&row.digest, place(row)) {
            row.digest = resolved.get(&(repository.name().to_owned(), tag)).cloned();
        }
    }
    let images: BTreeSet<(Repository, Digest)> =
        rows.iter().filter_map(|row| Some((place(row)?.0, row.digest.clone()?))).collect();
    let stored = exec::stored(ports.registry, images).await.map_err(CleanError::from)?;
    let ledger = Ledger::new(ports.registry, &session.setting.ledger);
    let (leases, sets) = exec::claims(ledger, swept.now).await.map_err(CleanError::from)?;
    let held = rows
        .iter()
        .filter_map(|row| Some((row.repository.as_str(), row.digest.as_ref()?, row.action == "keep")));
    let weights = Weights::new(held, &stored);
    let boxes = loaded.project.boxes.iter().map(|spec| {
        let of_box = || rows.iter().filter(|row| row.repository == repository_of(spec, &repositories));
        let digests: BTreeSet<&Digest> = of_box().filter_map(|row| row.digest.as_ref()).collect();
        let repository = repository_of(spec, &repositories);
        BoxFacts {
            name: spec.name.clone(),
            parents: spec.parents().map(str::to_owned).collect::<BTreeSet<_>>().into_iter().collect(),
            tags: of_box().count(),
            images: digests.len(),
            bytes: weights.of_repository(repository),
            own_bytes: weights.own_of_repository(repository),
            repository: repository.to_owned(),
        }
    });
    let boxes = boxes.collect();
    let distinct: BTreeSet<&Digest> = rows.iter().filter_map(|row| row.digest.as_ref()).collect();
    let totals =
        Totals { tags: rows.len(), images: distinct.len(), bytes: weights.total(), freed: weights.freed() };
    let image = |row: &clean::Row| Image {
        repository: row.repository.clone(),
        tag: row.tag.clone().unwrap_or_default(),
        bytes: row.digest.as_ref().map_or(0, |digest| weights.of_image(digest)),
        own_bytes: row.digest.as_ref().map_or(0, |digest| weights.own_of_image(digest)),
        digest: row.digest.clone(),
        action: row.action,
        reason: row.reason.clone(),
    };
    Ok(Report {
        schema: 1,
        registry: session.setting.registry.clone(),
        now: swept.now.rfc3339(),
        totals,
        boxes,
        images: rows.iter().map(image).collect(),
        leases: leases.iter().map(|lease| lease_facts(lease, swept.now)).collect(),
        promotions: sets.iter().map(|set| promotion(set, loaded)).collect(),
    })
}

/// Returns the name that a box's repository has in its registry.
fn repository_of<'a>(
    spec: &'a crate::config::BoxSpec,
    repositories: &BTreeMap<&'a str, &'a Repository>,
) -> &'a str {
    // A registry may have a path, which is then part of every repository's name.
    let ends = |name: &&&str| {
        let rest = name.strip_suffix(spec.repository.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
    };
    repositories.keys().filter(ends).min_by_key(|name| name.len()).copied().unwrap_or(&spec.repository)
}

fn lease_facts(lease: &Lease, now: crate::model::Timestamp) -> LeaseFacts {
    let whole = lease.expiry.since(lease.taken).seconds().max(1);
    LeaseFacts {
        run: lease.run.to_string(),
        attempt: lease.attempt,
        taken: lease.taken.rfc3339(),
        until: lease.expiry.rfc3339(),
        keys: lease.keys.iter().map(ToString::to_string).collect(),
        gone: (now.since(lease.taken).seconds().min(whole) * 100) / whole,
    }
}

fn promotion(set: &PromotionRecord, loaded: &Loaded) -> Promotion {
    // The tag's own channel, whatever its record says.
    let channel = channel_of(loaded, &set.tag).ok().map(|channel| channel.name.clone());
    Promotion {
        tag: set.tag.to_string(),
        channel,
        seq: set.seq,
        promoted: set.promoted.rfc3339(),
        run: set.run.to_string(),
        revision: set.source.revision.clone(),
        boxes: set
            .boxes
            .iter()
            .map(|one| Member {
                name: one.name.clone(),
                digest: one.digest.clone(),
                before: one.before.clone(),
            })
            .collect(),
    }
}

/// The boxes of a promotion by name, as far as a line holds them; `declared` is how many there are.
fn listed(members: &[Member], declared: usize) -> String {
    const FEW: usize = 6;
    let names: Vec<&str> = members.iter().take(FEW).map(|member| member.name.as_str()).collect();
    match members.len() {
        count if count <= FEW => names.join(", "),
        count if count == declared => format!("all {count}"),
        count => format!("{} and {} more", names[..FEW - 1].join(", "), count - FEW + 1),
    }
}

fn human(report: &Report) -> String {
    let plain = anstyle::Style::new();
    let mut boxes = Table::new(&["BOX", "TAGS", "IMAGES", "SIZE", "OWN", "STANDS ON"]);
    for one in &report.boxes {
        boxes.row([
            (BOLD, one.name.clone()),
            (plain, one.tags.to_string()),
            (plain, one.images.to_string()),
            (plain, size(one.bytes)),
            (plain, size(one.own_bytes)),
            (DIM, one.parents.join(", ")),
        ]);
    }
    let mut promotions = Table::new(&["TAG", "SEQ", "PROMOTED", "RUN", "BOXES"]);
    for one in &report.promotions {
        promotions.row([
            (BOLD, one.tag.clone()),
            (plain, one.seq.to_string()),
            (plain, one.promoted.clone()),
            (DIM, one.run.clone()),
            (DIM, listed(&one.boxes, report.boxes.len())),
        ]);
    }
    let mut leases = Table::new(&["LEASED BY", "UNTIL", "KEYS"]);
    for one in &report.leases {
        leases.row([
            (BOLD, format!("{} #{}", one.run, one.attempt)),
            (plain, one.until.clone()),
            (plain, one.keys.len().to_string()),
        ]);
    }
    let mut going = Table::new(&["WOULD GO", "ACTION", "SIZE", "REASON"]);
    for one in report.going() {
        going.row([
            (BOLD, format!("{}:{}", one.repository, one.tag)),
            (NOTE, one.action.to_owned()),
            (plain, size(one.own_bytes)),
            (DIM, one.reason.clone()),
        ]);
    }
    let Totals { tags, images, bytes, freed } = &report.totals;
    let mut out = boxes.render();
    for (table, count) in [
        (promotions, report.promotions.len()),
        (leases, report.leases.len()),
        (going, report.going().count()),
    ] {
        if count > 0 {
            out.push('\n');
            out.push_str(&table.render());
        }
    }
    out + &format!("\n{tags} tags, {images} images, {}; {} would be freed\n", size(*bytes), size(*freed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_boxes_are_counted() {
        let members = |count: usize| -> Vec<Member> {
            let digest = Digest::of(b"x");
            let member = |at: usize| Member { name: format!("b{at}"), digest: digest.clone(), before: None };
            (0..count).map(member).collect()
        };
        assert_eq!(listed(&members(2), 2), "b0, b1");
        assert_eq!(listed(&members(6), 6), "b0, b1, b2, b3, b4, b5");
        assert_eq!(listed(&members(7), 7), "all 7");
        assert_eq!(listed(&members(7), 8), "b0, b1, b2, b3, b4 and 2 more");
    }

    #[test]
    fn a_box_s_repository_is_found_below_the_registry_s_path() {
        let all =
            ["team/box", "team/mybox", "team/other/box"].map(|name| Repository::new("r", name).unwrap());
        let by_name: BTreeMap<&str, &Repository> = all.iter().map(|one| (one.name(), one)).collect();
        let project = crate::config::parse("b.toml", "registry = \"r/team\"\n[box.box]\n[box.ox]\n").unwrap();
        let of = |name: &str| repository_of(project.find(name).unwrap(), &by_name);
        assert_eq!((of("box"), of("ox")), ("team/box", "ox"));
    }
}
