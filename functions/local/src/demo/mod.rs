//! wip
use domain::fault::Fault;
/// wip
pub async fn run(_: Option<&std::path::Path>, _: &crate::output::Out) -> Result<std::process::ExitCode, Fault> {
    Ok(std::process::ExitCode::SUCCESS)
}
