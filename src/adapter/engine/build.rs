//! Building with the engine's BuildKit.

use std::collections::{BTreeSet, HashMap};

use bollard::auth::DockerCredentials;
use bollard::models::BuildInfoAux;
use bollard::query_parameters::{BuildImageOptions, BuilderVersion};
use futures_util::StreamExt;

use super::connect::DockerEngine;
use super::trace::Trace;
use super::{body, error, request};
use crate::adapter::context::tar;
use crate::model::Repository;
use crate::port::{BuildEvent, BuildRequest, EngineError, ImageId};

/// Builds; the engine cancels the build when the future is dropped, as its connection ends.
pub async fn build(
    engine: &DockerEngine,
    request: &BuildRequest,
    events: &(dyn Fn(BuildEvent) + Send + Sync),
) -> Result<ImageId, EngineError> {
    let logins = logins(engine, &request.dockerfile).await?;
    let more = more_query(request);
    let docker =
        engine.patient().await?.with_request_modifier(move |request| request::with_query(request, &more));
    let (body, failure) = body::stream(request);
    let body = bollard::body_try_stream(body);
    let mut answer = docker.build_image(options(request), Some(logins), Some(body));
    let mut trace = Trace::default();
    let mut image = None;
    let outcome = loop {
        match answer.next().await {
            None => break Ok(()),
            Some(Err(error)) => break Err(error),
            Some(Ok(info)) => match info.aux {
                Some(BuildInfoAux::BuildKit(message)) => trace.read(message, events),
                Some(BuildInfoAux::Default(id)) => image = id.id.or(image),
                None => {}
            },
        }
    };
    drop(answer);
    if let Some(error) = failure.take() {
        return Err(EngineError::Context(error));
    }
    if let Err(cause) = outcome {
        return Err(match (engine.error("build", &cause), cause) {
            (EngineError::Engine { detail, .. }, bollard::errors::Error::DockerStreamError { .. }) => {
                let step = trace.failed().unwrap_or("the Dockerfile").to_owned();
                EngineError::BuildFailed { step, detail }
            }
            (other, _) => other,
        });
    }
    let nothing = || EngineError::Engine {
        action: "build",
        detail: match trace.failed() {
            Some(step) => format!("its answer ended after {step} had failed"),
            None => "its answer ended without an image".to_owned(),
        },
    };
    let id = image.ok_or_else(nothing)?;
    id.parse()
        .map(ImageId)
        .map_err(|cause| EngineError::Engine { action: "build", detail: error::chain(&cause) })
}

fn options(request: &BuildRequest) -> BuildImageOptions {
    let map = |from: &std::collections::BTreeMap<String, String>| -> HashMap<String, String> {
        from.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    BuildImageOptions {
        dockerfile: tar::DOCKERFILE.to_owned(),
        nocache: request.no_cache,
        rm: true,
        forcerm: true,
        buildargs: Some(map(&request.args)),
        labels: Some(map(&request.labels)),
        networkmode: request.network.clone(),
        platform: request.platform.to_string(),
        target: request.target.clone().unwrap_or_default(),
        version: BuilderVersion::BuilderBuildKit,
        session: Some(request::unique()),
        ..Default::default()
    }
}

/// Several hosts, and sizes of 2 GiB and more, have no place in bollard's options.
fn more_query(request: &BuildRequest) -> Vec<(&'static str, String)> {
    let hosts = request.extra_hosts.iter().map(|host| ("extrahosts", host.clone()));
    hosts.chain(request.shm_size.map(|size| ("shmsize", size.to_string()))).collect()
}

/// Finds the logins for the registries of the images that a Dockerfile names by digest.
async fn logins(
    engine: &DockerEngine,
    dockerfile: &[u8],
) -> Result<HashMap<String, DockerCredentials>, EngineError> {
    let mut logins = HashMap::new();
    for host in hosts(&String::from_utf8_lossy(dockerfile)) {
        match engine.login(&host).await {
            Ok(Some(login)) => drop(logins.insert(host, login)),
            Ok(None) => {}
            Err(detail) => return Err(EngineError::Engine { action: "log in", detail }),
        }
    }
    Ok(logins)
}

fn hosts(dockerfile: &str) -> BTreeSet<String> {
    dockerfile
        .split(|c: char| c.is_whitespace() || c == '=' || c == ',')
        .filter_map(|word| word.split_once("@sha256:"))
        .filter_map(|(name, _)| name.parse::<Repository>().ok())
        .map(|repository| repository.host().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_registries_that_a_dockerfile_needs() {
        let text = "FROM --platform=linux/amd64 ghcr.io/o/a@sha256:00 AS a\n\
            COPY --from=127.0.0.1:5000/b@sha256:11 /x /x\n\
            RUN --mount=type=bind,from=quay.io/c@sha256:22,target=/c true\nFROM scratch\n";
        let found: Vec<_> = hosts(text).into_iter().collect();
        assert_eq!(found, ["127.0.0.1:5000", "ghcr.io", "quay.io"]);
    }
}
