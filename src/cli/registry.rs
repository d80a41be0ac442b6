//! `registry serve`: the embedded registry for as long as one wants it.

use std::sync::Arc;

use super::args::{Global, RegistryCommand};
use super::error::{CliError, exit};
use super::loaded::HOME;
use super::terminal::Terminal;
use super::{interrupt, session};
use crate::adapter::embedded::{EmbeddedServer, OnRequest, PortChoice};

/// Where the credentials of a registry that is served stand meanwhile, as a Docker configuration.
const LOGIN: &str = "login";

pub async fn run(command: &RegistryCommand, global: &Global, terminal: Terminal) -> Result<u8, CliError> {
    let RegistryCommand::Serve { port } = command;
    let cancel = interrupt::token();
    let loaded = session::load(global)?;
    let choice = port.map_or(PortChoice::Remembered, PortChoice::Fixed);
    let show: Option<OnRequest> = match terminal.verbose {
        true => Some(Arc::new(move |line: &str| terminal.say(line))),
        false => None,
    };
    let home = loaded.root.join(HOME);
    let server = EmbeddedServer::start(&home, choice, show).await?;
    let directory = home.join(LOGIN);
    let _login = server.login_in(&directory)?;
    let directory = directory.display();
    terminal.say(&format!(
        "serving until interrupted, for you alone: `docker --config {directory} pull …`, \
         `skopeo inspect --authfile {directory}/config.json …`"
    ));
    terminal.result(&format!("{}\n", server.addr()))?;
    cancel.cancelled().await;
    server.stop().await;
    Ok(exit::DONE)
}
