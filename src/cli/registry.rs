//! `registry serve`: the embedded registry for as long as one wants it.

use std::sync::Arc;

use super::args::{Global, RegistryCommand};
use super::error::{CliError, exit};
use super::interrupt;
use super::session::{self, HOME};
use super::terminal::Terminal;
use crate::adapter::embedded::{EmbeddedServer, OnRequest, PortChoice};

pub async fn run(command: &RegistryCommand, global: &Global, terminal: Terminal) -> Result<u8, CliError> {
    let RegistryCommand::Serve { port } = command;
    let cancel = interrupt::token();
    let loaded = session::load(global)?;
    let choice = port.map_or(PortChoice::Remembered, PortChoice::Fixed);
    let show: Option<OnRequest> = match terminal.verbose {
        true => Some(Arc::new(move |line: &str| terminal.say(line))),
        false => None,
    };
    let server = EmbeddedServer::start(&loaded.root.join(HOME), choice, show).await?;
    terminal.result(&format!("{}\n", server.addr()))?;
    terminal.say("serving this machine until interrupted");
    cancel.cancelled().await;
    server.stop().await;
    Ok(exit::DONE)
}
