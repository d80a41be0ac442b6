//! Work on a graph: parents first, several at once, children of what failed not at all.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

/// How one node ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finished<T, E> {
    /// Its work was done.
    Done(T),
    /// Its work failed.
    Failed(E),
    /// It was not begun, because this node that it stands on, near or far, was not done.
    Blocked(String),
    /// It was not begun or not ended, because this node failed and that was to end all.
    Stopped(String),
}

/// Works on `nodes`, each a name and the names of its parents, at most `jobs` at once. A
/// failure ends what stands on it, or with `fail_fast` all of it.
///
/// `work` gets a node and its parents' results. After `cancel` nothing new begins and what
/// runs is dropped; nodes that had not ended are then absent from the result.
pub async fn in_order<T, E, F>(
    nodes: &[(&str, Vec<&str>)],
    jobs: usize,
    fail_fast: bool,
    work: impl Fn(String, BTreeMap<String, T>) -> F,
    cancel: &CancellationToken,
) -> BTreeMap<String, Finished<T, E>>
where
    T: Clone,
    F: Future<Output = Option<Result<T, E>>>,
{
    let mut finished: BTreeMap<String, Finished<T, E>> = BTreeMap::new();
    let mut waiting: Vec<&(&str, Vec<&str>)> = nodes.iter().collect();
    let mut running = FuturesUnordered::new();
    loop {
        waiting.retain(|(name, parents)| {
            let bad = parents
                .iter()
                .find(|parent| finished.get(**parent).is_some_and(|end| !matches!(end, Finished::Done(_))));
            if let Some(parent) = bad {
                let first = match finished.get(*parent) {
                    Some(Finished::Blocked(first)) => first.clone(),
                    _ => (*parent).to_owned(),
                };
                finished.insert((*name).to_owned(), Finished::Blocked(first));
            }
            bad.is_none()
        });
        while running.len() < jobs.max(1) {
            let is_ready = |node: &&(&str, Vec<&str>)| {
                node.1.iter().all(|parent| matches!(finished.get(*parent), Some(Finished::Done(_))))
            };
            let Some(index) = waiting.iter().position(is_ready) else { break };
            let (name, parents) = waiting.remove(index);
            let results = parents
                .iter()
                .filter_map(|parent| match finished.get(*parent) {
                    Some(Finished::Done(result)) => Some(((*parent).to_owned(), result.clone())),
                    _ => None,
                })
                .collect();
            let future = work((*name).to_owned(), results);
            running.push(async move { ((*name).to_owned(), future.await) });
        }
        let next = tokio::select! {
            biased;
            () = cancel.cancelled() => return finished,
            next = running.next() => next,
        };
        match next {
            Some((name, Some(Ok(result)))) => finished.insert(name, Finished::Done(result)),
            Some((name, Some(Err(error)))) => {
                finished.insert(name.clone(), Finished::Failed(error));
                if fail_fast {
                    for (other, _) in nodes {
                        finished.entry((*other).to_owned()).or_insert(Finished::Stopped(name.clone()));
                    }
                    return finished;
                }
                None
            }
            Some((name, None)) => finished.insert(name.clone(), Finished::Blocked(name)),
            // Nothing runs. A node that was just blocked may block others; else all is done.
            None if waiting.is_empty() => return finished,
            None => {
                let blocked = |(_, parents): &&(&str, Vec<&str>)| {
                    parents.iter().any(|parent| finished.contains_key(*parent))
                };
                if !waiting.iter().any(blocked) {
                    return finished;
                }
                None
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    async fn run(jobs: usize, fail: &str) -> (BTreeMap<String, Finished<u32, ()>>, Vec<String>) {
        let nodes = [
            ("base", vec![]),
            ("build", vec!["base"]),
            ("lint", vec!["base"]),
            ("test", vec!["build"]),
            ("docs", vec!["test", "lint"]),
        ];
        let order = Mutex::new(Vec::new());
        let work = |name: String, parents: BTreeMap<String, u32>| {
            order.lock().unwrap().push(name.clone());
            let result =
                if name == fail { Err(()) } else { Ok(1 + parents.values().max().copied().unwrap_or(0)) };
            async move {
                tokio::task::yield_now().await;
                Some(result)
            }
        };
        let finished = in_order(&nodes, jobs, false, work, &CancellationToken::new()).await;
        (finished, order.into_inner().unwrap())
    }

    #[tokio::test]
    async fn parents_come_first_and_hand_on_their_results() {
        for jobs in [1, 4] {
            let (finished, order) = run(jobs, "").await;
            assert_eq!(order[0], "base");
            assert_eq!(finished["docs"], Finished::Done(4));
            assert_eq!(finished.len(), 5);
        }
    }

    #[tokio::test]
    async fn a_failure_stops_only_what_stands_on_it() {
        let (finished, order) = run(1, "build").await;
        assert_eq!(finished["build"], Finished::Failed(()));
        assert_eq!(finished["test"], Finished::Blocked("build".to_owned()));
        assert_eq!(finished["docs"], Finished::Blocked("build".to_owned()));
        assert_eq!(finished["lint"], Finished::Done(2));
        assert!(!order.contains(&"test".to_owned()));
    }

    #[tokio::test]
    async fn a_failure_can_be_the_end_of_all() {
        let work = |name: String, _: BTreeMap<String, ()>| async move {
            if name == "slow" {
                std::future::pending::<()>().await;
            }
            Some(if name == "bad" { Err(()) } else { Ok(()) })
        };
        let nodes = [("good", vec![]), ("slow", vec![]), ("bad", vec!["good"]), ("late", vec!["good"])];
        let finished = in_order(&nodes, 2, true, work, &CancellationToken::new()).await;
        assert_eq!(finished["good"], Finished::Done(()));
        assert_eq!(finished["bad"], Finished::Failed(()));
        for name in ["slow", "late"] {
            assert_eq!(finished[name], Finished::Stopped("bad".to_owned()));
        }
    }

    #[tokio::test]
    async fn no_more_than_jobs_run_at_once() {
        let (now, most) = (Mutex::new(0), Mutex::new(0));
        let nodes: Vec<(String, Vec<&str>)> = (0..9).map(|index| (index.to_string(), vec![])).collect();
        let nodes: Vec<(&str, Vec<&str>)> =
            nodes.iter().map(|(name, parents)| (name.as_str(), parents.clone())).collect();
        let work = |_: String, _: BTreeMap<String, ()>| async {
            *now.lock().unwrap() += 1;
            let running = *now.lock().unwrap();
            {
                let mut most = most.lock().unwrap();
                *most = running.max(*most);
            }
            tokio::task::yield_now().await;
            *now.lock().unwrap() -= 1;
            Some(Ok::<(), ()>(()))
        };
        in_order(&nodes, 3, false, work, &CancellationToken::new()).await;
        assert_eq!(*most.lock().unwrap(), 3);
    }

    #[tokio::test]
    async fn cancelling_drops_what_runs() {
        let cancel = CancellationToken::new();
        let work = |name: String, _: BTreeMap<String, ()>| {
            let cancel = cancel.clone();
            async move {
                if name == "b" {
                    cancel.cancel();
                    std::future::pending::<()>().await;
                }
                Some(Ok::<(), ()>(()))
            }
        };
        let finished = in_order(&[("a", vec![]), ("b", vec!["a"])], 1, false, work, &cancel).await;
        assert_eq!(finished.keys().collect::<Vec<_>>(), ["a"]);
    }
}
