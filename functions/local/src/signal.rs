//! Ctrl-C and SIGTERM: the first stops a run cleanly, the second ends the process.

use std::time::Duration;

use engine::CancelToken;

use crate::exit;

/// Whoever terminates a process kills it some time later: a request that is not answered by then is given up.
const AFTER_TERMINATE: Duration = Duration::from_secs(8);

/// Stops at the first signal; at the second, or some time after one that terminates, ends the process.
pub async fn stop_on_signal(stop: CancelToken) {
    let Ok(signal) = wait_for_signal().await else { return };
    stop.cancel();
    let ends = match signal {
        Signal::Interrupt => wait_for_signal().await.is_ok(),
        Signal::Terminate => {
            tokio::time::timeout(AFTER_TERMINATE, wait_for_signal()).await.is_ok_and(|second| second.is_ok())
                || {
                    tracing::warn!(
                        "the destination does not answer: what was sent to it and not answered is sent again by the next run"
                    );
                    true
                }
        }
    };
    if ends {
        // What was accepted and not yet committed is sent again by the next run.
        std::process::exit(i32::from(exit::FAILED));
    }
}

/// Why a process is to stop.
enum Signal {
    Interrupt,
    Terminate,
}

#[cfg(unix)]
async fn wait_for_signal() -> std::io::Result<Signal> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| Signal::Interrupt),
        _ = terminate.recv() => Ok(Signal::Terminate),
    }
}

#[cfg(not(unix))]
async fn wait_for_signal() -> std::io::Result<Signal> {
    tokio::signal::ctrl_c().await.map(|()| Signal::Interrupt)
}
