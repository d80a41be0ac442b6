//! `init`
use super::args::Init;
use super::error::CliError;
use super::terminal::Terminal;
pub async fn run(_: &Init, _: Terminal) -> Result<u8, CliError> {
    Ok(0)
}
