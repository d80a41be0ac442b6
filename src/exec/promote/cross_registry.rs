//! Promotion to another registry, or to other repositories of the same one: the images are
//! copied, then promoted there, with a ledger of its own.

use tokio_util::sync::CancellationToken;

use crate::exec::event::{Emit, Event};
use crate::exec::image::attached::Copier;
use crate::exec::ledger::Ledger;
use crate::exec::ledger::lease::{release, take_lease};
use crate::exec::promote::content::PromotionSource;
use crate::exec::promote::error::{PromoteError, PromoteOptions, PromoteReport};
use crate::exec::promote::promote;
use crate::exec::promote::resolve::{planned, record};
use crate::exec::setting::{RegistryPorts, RunContext};
use crate::model::{Purpose, Repository, Timestamp};
use crate::plan::{Member, Promotion, Rollback, Step, StepState};
use crate::port::{RegistryReader, RegistryWriter};

/// Promotes a set to where `target` says. Content goes first, tags follow, the set record in the
/// target's ledger comes last; a copy that was cut off goes on where it stopped.
///
/// Leases keep the images on both sides until the target's plan record stands. When `cancel` is
/// cancelled no tag moves any more, and what was copied by then need not be copied again.
pub async fn promote_to(
    ports: RegistryPorts<'_>,
    setting: &RunContext,
    target: &RunContext,
    content: PromotionSource<'_>,
    options: &PromoteOptions,
    emit: Emit<'_>,
    cancel: &CancellationToken,
) -> Result<PromoteReport, PromoteError> {
    let mut leases = Vec::new();
    if options.apply {
        // Where we may only read, whoever may write keeps them.
        let keys = content.keys();
        leases.extend(take_lease(ports, setting, Purpose::Promoting, keys, emit).await?);
    }
    let done = carry_over(ports, setting, target, content, options, emit, cancel).await;
    release(ports, setting, &leases, emit).await;
    done
}

async fn carry_over(
    ports: RegistryPorts<'_>,
    setting: &RunContext,
    target: &RunContext,
    content: PromotionSource<'_>,
    options: &PromoteOptions,
    emit: Emit<'_>,
    cancel: &CancellationToken,
) -> Result<PromoteReport, PromoteError> {
    let here = Ledger::new(ports.registry, &setting.ledger);
    let there = Ledger::new(ports.registry, &target.ledger);
    // The past that matters is that of the target.
    let resolved = content.resolve(ports.registry, setting, here.tombstones()).await;
    let (_, resolved) = resolved.map_err(|error| error.in_channel(content, &options.channel))?;
    let in_target = |member: Member| Ok((member.clone(), in_target(setting, target, member)?));
    let members = resolved.iter().map(|one| in_target(one.member(None)));
    let members: Vec<(Member, Repository)> = members.collect::<Result<_, PromoteError>>()?;
    let taken = as_set(setting, content, options, &members);
    if !options.apply {
        return plan_only(ports.registry, target, there, &members, &taken, options).await;
    }
    let held = take_lease(ports, target, Purpose::Promoting, content.keys(), emit).await?;
    let copied = async {
        match &held {
            Some(_) => copy(ports.writer()?, &members, emit).await,
            None => Err(PromoteError::ReadOnly),
        }
    };
    let copied = tokio::select! {
        biased;
        () = cancel.cancelled() => Err(PromoteError::stopped(&options.tag)),
        copied = copied => copied,
    };
    let done = match copied {
        Ok(()) => promote(ports, target, PromotionSource::Recorded(&taken), options, emit, cancel).await,
        Err(error) => Err(error),
    };
    release(ports, target, held.as_slice(), emit).await;
    done
}

/// The set as it would be promoted here; one that comes from a promotion has its count.
fn as_set(
    setting: &RunContext,
    content: PromotionSource<'_>,
    options: &PromoteOptions,
    members: &[(Member, Repository)],
) -> Rollback {
    let step = |(member, to): &(Member, Repository)| {
        let member = Member { repository: to.clone(), ..member.clone() };
        Step { member, before: None, state: StepState::Move }
    };
    let steps = members.iter().map(step).collect();
    let planned = Promotion { steps, seq: 0, is_recorded: false, is_resumed: false };
    let mut set = record(setting, content, options, &planned, Timestamp::default());
    if let Some(from) = content.from() {
        (set.tag, set.seq) = (from.tag, from.seq);
    }
    Rollback { copied: Some(setting.registry.clone()), ..Rollback::of(set) }
}

/// What stands below a path here stands below the target's path there.
fn in_target(setting: &RunContext, target: &RunContext, member: Member) -> Result<Repository, PromoteError> {
    let name = member.repository.to_string();
    let name = name.strip_prefix(&setting.registry).and_then(|name| name.strip_prefix('/'));
    let to = Repository::new(&target.registry, name.unwrap_or(member.repository.name()));
    to.map_err(|error| PromoteError::missing(vec![member.name], error.to_string()))
}

async fn copy(
    registry: &dyn RegistryWriter,
    members: &[(Member, Repository)],
    emit: Emit<'_>,
) -> Result<(), PromoteError> {
    for (member, to) in members {
        let failed = |source| PromoteError::Copy { name: member.name.clone(), source };
        emit(Event::Pushing { name: member.name.clone(), reference: format!("{to}@{}", member.digest) });
        let copier = Copier::new(registry, &member.repository, to).await.map_err(failed)?;
        copier.image(&member.digest, &member.tag.tag()).await.map_err(failed)?;
    }
    Ok(())
}

async fn plan_only(
    registry: &dyn RegistryReader,
    target: &RunContext,
    there: Ledger<'_>,
    members: &[(Member, Repository)],
    taken: &Rollback,
    options: &PromoteOptions,
) -> Result<PromoteReport, PromoteError> {
    let mut moved = Vec::new();
    for (member, to) in members {
        let now = registry.head(to, &options.tag.clone().into()).await?;
        moved.push(Member { repository: to.clone(), now, ..member.clone() });
    }
    let past = there.past(&options.tag).await?;
    let promotion = planned(target, there, PromotionSource::Recorded(taken), moved, &past, options).await?;
    let (seq, was_done) = (promotion.seq, promotion.is_done());
    Ok(PromoteReport { seq, was_done, moved: Vec::new(), promotion })
}
