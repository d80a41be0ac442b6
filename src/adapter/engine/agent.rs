//! Lending an ssh agent to a build (`moby.sshforward.v1`).
//!
//! A build may list the agent's keys and have it sign; whatever else it asks, such as adding,
//! removing or locking keys, is answered here with a failure, as docker's client does.

use std::io;

use bollard_buildkit_proto::moby::sshforward::v1::ssh_server::Ssh;
use bollard_buildkit_proto::moby::sshforward::v1::{BytesMessage, CheckAgentRequest, CheckAgentResponse};
use futures_util::stream::{BoxStream, unfold};
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use crate::port::AgentForward;

/// What the engine may call.
pub const METHODS: [&str; 2] = ["/moby.sshforward.v1.SSH/CheckAgent", "/moby.sshforward.v1.SSH/ForwardAgent"];
/// Where the engine says which agent it means.
const ID: &str = "buildkit.ssh.id";
/// The agent that is meant if it says nothing.
const DEFAULT: &str = "default";
/// The largest message, in bytes (OpenSSH, `AGENT_MAX_LEN`).
const LARGEST: usize = 256 * 1024;
/// SSH_AGENTC_REQUEST_IDENTITIES and SSH_AGENTC_SIGN_REQUEST (draft-ietf-sshm-ssh-agent).
const ALLOWED: [u8; 2] = [11, 13];
/// SSH_AGENT_FAILURE, with its length.
const FAILURE: [u8; 5] = [0, 0, 0, 1, 5];

/// The agent of one build.
pub struct Agent(pub AgentForward);

impl Agent {
    fn known(&self, id: &str) -> Result<(), Status> {
        let id = if id.is_empty() { DEFAULT } else { id };
        if self.0.ids.contains(id) {
            return Ok(());
        }
        Err(Status::not_found(format!("there is no ssh agent {id}")))
    }
}

fn id_in(metadata: &MetadataMap) -> &str {
    metadata.get(ID).and_then(|id| id.to_str().ok()).unwrap_or_default()
}

#[tonic::async_trait]
impl Ssh for Agent {
    type ForwardAgentStream = BoxStream<'static, Result<BytesMessage, Status>>;

    async fn check_agent(
        &self,
        request: Request<CheckAgentRequest>,
    ) -> Result<Response<CheckAgentResponse>, Status> {
        self.known(&request.into_inner().id)?;
        Ok(Response::new(CheckAgentResponse {}))
    }

    async fn forward_agent(
        &self,
        request: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Self::ForwardAgentStream>, Status> {
        self.known(id_in(request.metadata()))?;
        let agent = UnixStream::connect(&self.0.socket).await;
        let agent = agent.map_err(|error| Status::unavailable(format!("the ssh agent is gone: {error}")))?;
        let asks = request.into_inner().map(|piece| piece.map(|piece| piece.data));
        let (answers, answered) = mpsc::channel(4);
        tokio::spawn(async move {
            if let Err(error) = converse(asks, agent, &answers).await {
                // Nobody to tell if the engine is gone.
                let _ = answers.send(Err(Status::aborted(error.to_string()))).await;
            }
        });
        let answers = unfold(answered, |mut answered| async {
            let answer = answered.recv().await?;
            Some((answer, answered))
        });
        Ok(Response::new(answers.boxed()))
    }
}

/// Passes messages to the agent and its answers back, one after the other, until the build
/// has no more of them.
async fn converse(
    mut asks: impl Stream<Item = Result<Vec<u8>, Status>> + Unpin,
    mut agent: impl AsyncRead + AsyncWrite + Unpin,
    answers: &mpsc::Sender<Result<BytesMessage, Status>>,
) -> io::Result<()> {
    let mut waiting = Vec::new();
    // A stream that breaks off is a build that has ended.
    while let Some(Ok(piece)) = asks.next().await {
        waiting.extend_from_slice(&piece);
        while let Some(length) = whole(&waiting)? {
            let ask: Vec<u8> = waiting.drain(..length).collect();
            let data = match ask.get(4) {
                Some(kind) if ALLOWED.contains(kind) => answer(&mut agent, &ask).await?,
                _ => FAILURE.to_vec(),
            };
            if answers.send(Ok(BytesMessage { data })).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The length of the first message, its four bytes of length included, once all of it is here.
fn whole(waiting: &[u8]) -> io::Result<Option<usize>> {
    let Some(length) = waiting.first_chunk() else { return Ok(None) };
    let length = checked(*length)?;
    Ok((waiting.len() >= 4 + length).then_some(4 + length))
}

fn checked(length: [u8; 4]) -> io::Result<usize> {
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if (1..=LARGEST).contains(&length) {
        return Ok(length);
    }
    Err(io::Error::other(format!("{length} bytes are no message of an ssh agent")))
}

async fn answer(agent: &mut (impl AsyncRead + AsyncWrite + Unpin), ask: &[u8]) -> io::Result<Vec<u8>> {
    agent.write_all(ask).await?;
    let mut head = [0; 4];
    agent.read_exact(&mut head).await?;
    let mut answer = vec![0; checked(head)?];
    agent.read_exact(&mut answer).await?;
    Ok([&head[..], &answer].concat())
}

#[cfg(test)]
mod tests {
    use futures_util::stream::iter;
    use tokio::io::duplex;

    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 1).unwrap().to_be_bytes();
        [&length[..], &[kind], body].concat()
    }

    /// Talks in these pieces to an agent that answers each message with its kind and length.
    async fn talk(pieces: Vec<Vec<u8>>) -> (io::Result<()>, Vec<Vec<u8>>, Vec<u8>) {
        let (ours, mut theirs) = duplex(1 << 20);
        let agent = tokio::spawn(async move {
            let mut kinds = Vec::new();
            while let Ok(length) = theirs.read_u32().await {
                let mut body = vec![0; length as usize];
                theirs.read_exact(&mut body).await.unwrap();
                kinds.push(body[0]);
                theirs.write_all(&message(100 + body[0], &length.to_be_bytes())).await.unwrap();
            }
            kinds
        });
        let (to, mut from) = mpsc::channel(100);
        let result = converse(iter(pieces.into_iter().map(Ok)), ours, &to).await;
        drop(to);
        let mut answers = Vec::new();
        while let Some(answer) = from.recv().await {
            answers.push(answer.unwrap().data);
        }
        (result, answers, agent.await.unwrap())
    }

    #[tokio::test]
    async fn a_build_may_list_and_sign_and_nothing_else() {
        let asks: Vec<Vec<u8>> = (0..=40).map(|kind| message(kind, b"x")).collect();
        let (result, answers, reached) = talk(asks).await;
        result.unwrap();
        assert_eq!(reached, [11, 13]);
        assert_eq!(answers.len(), 41);
        for (kind, answer) in (0..).zip(&answers) {
            let allowed = [11, 13].contains(&kind);
            assert_eq!(*answer, if allowed { message(100 + kind, &[0, 0, 0, 2]) } else { FAILURE.to_vec() });
        }
    }

    #[tokio::test]
    async fn messages_may_come_in_any_pieces() {
        let all = [message(11, b""), message(13, &[7; 3000]), message(25, b"no")].concat();
        for size in [1, 3, 4, 5, 1000, all.len()] {
            let (result, answers, reached) = talk(all.chunks(size).map(<[u8]>::to_vec).collect()).await;
            result.unwrap();
            assert_eq!((answers.len(), reached), (3, vec![11, 13]), "pieces of {size}");
        }
    }

    #[tokio::test]
    async fn what_is_no_message_ends_it() {
        for head in [[0, 0, 0, 0], [0xff; 4]] {
            let (result, answers, reached) = talk(vec![head.to_vec()]).await;
            assert!(result.is_err() && answers.is_empty() && reached.is_empty());
        }
    }

    #[tokio::test]
    async fn only_declared_ids_are_known() {
        let ids = ["default".to_owned()].into();
        let agent = Agent(AgentForward { ids, socket: "/nowhere".into() });
        let check = |id: &str| agent.known(id).is_ok();
        assert_eq!((check(""), check("default"), check("deploy")), (true, true, false));
    }
}
