//! `rollback`: promote again what stood under a tag before.

use super::args::{Global, Rollback};
use super::confirm::Confirm;
use super::error::CliError;
use super::promote::{believe, carry_out, channel_of, tell_aside};
use super::session::{self, Session};
use super::terminal::Terminal;
use crate::exec::{Ledger, PromoteError, PromoteOptions, PromotionSource, history};
use crate::plan::rollback;

pub async fn run(options: &Rollback, global: &Global, terminal: Terminal) -> Result<u8, CliError> {
    let loaded = session::load(global)?;
    let tag = &options.tag;
    let channel = channel_of(&loaded, tag)?;
    let session = Session::open_to_write(&loaded, global, options.writing.push).await?;
    let confirm = Confirm::new(format!("boxwright rollback {tag}"), options.confirming, terminal);
    confirm.may_write(&session, "a rollback")?;
    let ledger = Ledger::new(session.ports().registry, &session.setting.ledger);
    let past = history(ledger, tag).await.map_err(PromoteError::from)?;
    tell_aside(&past, terminal);
    let Some(back) = rollback(&past.sets, &past.unfinished) else {
        let why = "nothing else was promoted before, so there is nothing to go back to";
        return Err(PromoteError::NoSet { name: tag.to_string(), why }.into());
    };
    believe(&session, &loaded, &past, &back.set).await?;
    let kept = past.sets.first().into_iter().flat_map(|set| &set.boxes);
    for member in kept.filter(|member| !back.set.boxes.iter().any(|other| other.name == member.name)) {
        let name = &member.name;
        terminal.say(&format!("{name} stays as it is: it was no part of {}", back.set.name()));
    }
    let promote_options = PromoteOptions {
        tag: tag.clone(),
        channel: channel.name.clone(),
        immutable: channel.immutable,
        // Going back is what was asked for.
        allow_older: true,
        keep: Some(channel.keep.clone()),
        shown: None,
        apply: true,
    };
    let content = PromotionSource::Recorded(&back);
    let code = carry_out(&session, content, None, promote_options, &confirm, global, terminal).await?;
    session.close(false).await?;
    Ok(code)
}
