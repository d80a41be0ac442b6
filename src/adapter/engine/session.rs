//! The session of a build: a connection on which the engine asks this process for the
//! context, the Dockerfile, logins, secrets and an ssh agent (BuildKit's `session` package).

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use bollard_buildkit_proto::health::health_check_response::ServingStatus;
use bollard_buildkit_proto::health::health_server::{Health, HealthServer};
use bollard_buildkit_proto::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
};
use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_server::SecretsServer;
use bollard_buildkit_proto::moby::filesync::v1::auth_server::AuthServer;
use bollard_buildkit_proto::moby::sshforward::v1::ssh_server::SshServer;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::sync::CancellationToken;
use tonic::codegen::{BoxFuture, Service, StdError, http};
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::agent::{self, Agent};
use super::auth::Logins;
use super::packet::Packet;
use super::secret::{self, Values};
use super::sync::Offer;

/// What the engine may always call.
const METHODS: [&str; 6] = [
    DIFF_COPY,
    "/moby.filesync.v1.Auth/Credentials",
    "/moby.filesync.v1.Auth/FetchToken",
    "/moby.filesync.v1.Auth/GetTokenAuthority",
    "/moby.filesync.v1.Auth/VerifyTokenAuthority",
    "/grpc.health.v1.Health/Check",
];
const DIFF_COPY: &str = "/moby.filesync.v1.FileSync/DiffCopy";
/// The longest answer to the request that opens a session, in bytes.
const HEAD: usize = 16 << 10;

/// What the engine can ask for.
pub struct Services {
    /// Context and Dockerfile.
    pub offer: Arc<Offer>,
    /// Logins.
    pub logins: Logins,
    /// Secrets; a session without any does not offer the service.
    pub secrets: Option<Values>,
    /// The ssh agent.
    pub agent: Option<Agent>,
}

/// Opens the session `id` with the engine at `address` and serves it until `closed`.
pub async fn open(address: &str, id: &str, services: Services, closed: CancellationToken) -> io::Result<()> {
    match address.split_once("://") {
        Some(("unix", path)) => serve(UnixStream::connect(path).await?, id, services, closed).await,
        Some((_, host)) => serve(TcpStream::connect(host).await?, id, services, closed).await,
        None => Err(io::Error::other("not an address")),
    }
}

async fn serve<S>(mut stream: S, id: &str, services: Services, closed: CancellationToken) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let Services { offer, logins, secrets, agent } = services;
    let mut methods = METHODS.to_vec();
    methods.extend(secrets.as_ref().map(|_| secret::METHOD));
    methods.extend(agent.iter().flat_map(|_| agent::METHODS));
    upgrade(&mut stream, id, &offer.name(), &methods).await?;
    // A server without more to expect would close this one connection.
    let incoming = stream::iter([Ok::<_, io::Error>(stream)]).chain(stream::pending());
    let server = Server::builder()
        .add_service(HealthServer::new(Healthy))
        .add_service(AuthServer::new(logins))
        .add_service(FileSync(offer))
        .add_optional_service(secrets.map(SecretsServer::new))
        .add_optional_service(agent.map(SshServer::new));
    // How it ends is told by the build's own answer.
    tokio::spawn(
        async move { server.serve_with_incoming_shutdown(incoming, closed.cancelled_owned()).await },
    );
    Ok(())
}

/// Turns an HTTP/1.1 connection into one on which the engine speaks HTTP/2 as the client.
async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    id: &str,
    name: &str,
    methods: &[&str],
) -> io::Result<()> {
    let mut request = format!(
        "POST /session HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\
        X-Docker-Expose-Session-Uuid: {id}\r\nX-Docker-Expose-Session-Name: boxwright\r\n\
        X-Docker-Expose-Session-Sharedkey: {name}\r\n"
    );
    for method in methods {
        request += &format!("X-Docker-Expose-Session-Grpc-Method: {method}\r\n");
    }
    stream.write_all(format!("{request}\r\n").as_bytes()).await?;
    // Byte by byte: what follows the head is the engine's first frame.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
        if head.len() > HEAD {
            break;
        }
    }
    if head.starts_with(b"HTTP/1.1 101 ") {
        return Ok(());
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    Err(io::Error::other(format!("no session: {}", String::from_utf8_lossy(line))))
}

/// The service from which the engine reads directories. It is written out here because the
/// generated one cannot carry names that are not UTF-8.
#[derive(Clone)]
struct FileSync(Arc<Offer>);

impl NamedService for FileSync {
    const NAME: &'static str = "moby.filesync.v1.FileSync";
}

impl<B> Service<http::Request<B>> for FileSync
where
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let offer = DiffCopy(Arc::clone(&self.0));
        Box::pin(async move {
            if request.uri().path().eq_ignore_ascii_case(DIFF_COPY) {
                Ok(Grpc::new(ProstCodec::default()).streaming(offer, request).await)
            } else {
                Ok(Status::unimplemented("only DiffCopy").into_http())
            }
        })
    }
}

struct DiffCopy(Arc<Offer>);

impl StreamingService<Packet> for DiffCopy {
    type Response = Packet;
    type ResponseStream = BoxStream<'static, Result<Packet, Status>>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Streaming<Packet>>) -> Self::Future {
        let answer = Arc::clone(&self.0).hand_over(request);
        Box::pin(std::future::ready(answer))
    }
}

/// Answers that this end of the session is alive.
struct Healthy;

#[tonic::async_trait]
impl Health for Healthy {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() }))
    }

    async fn list(&self, _: Request<HealthListRequest>) -> Result<Response<HealthListResponse>, Status> {
        Err(Status::unimplemented("only Check"))
    }

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("only Check"))
    }
}
