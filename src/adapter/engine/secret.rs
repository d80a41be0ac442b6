//! Handing secrets to BuildKit (`moby.buildkit.secrets.v1`).

use std::collections::BTreeMap;

use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_server::Secrets;
use bollard_buildkit_proto::moby::buildkit::secrets::v1::{GetSecretRequest, GetSecretResponse};
use tonic::{Request, Response, Status};

use crate::model::SecretValue;

/// What the engine may call.
pub const METHOD: &str = "/moby.buildkit.secrets.v1.Secrets/GetSecret";

/// The secrets of one build, by id.
pub struct Values(pub BTreeMap<String, SecretValue>);

#[tonic::async_trait]
impl Secrets for Values {
    async fn get_secret(
        &self,
        request: Request<GetSecretRequest>,
    ) -> Result<Response<GetSecretResponse>, Status> {
        let id = request.into_inner().id;
        match self.0.get(&id) {
            Some(value) => Ok(Response::new(GetSecretResponse { data: value.expose().to_vec() })),
            // The engine goes on without, unless the mount says that it is required.
            None => Err(Status::not_found(format!("there is no secret {id}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_is_there_is_handed_over() {
        let values = Values(BTreeMap::from([("a".to_owned(), SecretValue::new(&b"\xff\0"[..]))]));
        let ask = |id: &str| Request::new(GetSecretRequest { id: id.to_owned(), ..Default::default() });
        assert_eq!(values.get_secret(ask("a")).await.unwrap().into_inner().data, b"\xff\0");
        let error = values.get_secret(ask("b")).await.unwrap_err();
        assert_eq!(error.code(), tonic::Code::NotFound);
    }
}
