//! Progress bars while a run works: on a terminal only, on standard error.

use std::sync::Arc;
use std::time::Duration;

use engine::RunProgress;
use engine::progress::Phase;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::thousands;

/// Bars for several runs at once.
pub struct Bars(MultiProgress);

/// Redraws a bar until it is dropped.
pub struct Bar {
    bar: ProgressBar,
    task: tokio::task::JoinHandle<()>,
}

impl Bars {
    /// Bars on standard error; hidden when it is no terminal, or when machines read the output.
    pub fn new(hidden: bool) -> Self {
        let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        Self(MultiProgress::with_draw_target(target))
    }

    /// A bar for a run.
    pub fn watch(&self, sync: &str, meter: Arc<RunProgress>) -> Bar {
        let bar = self.0.add(ProgressBar::no_length());
        // The templates are constant, and a bar without its style is still a bar.
        let reading = ProgressStyle::with_template("{spinner} {prefix:24} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let sending = ProgressStyle::with_template("{spinner} {prefix:24} {wide_bar} {pos}/{len} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(reading);
        bar.set_prefix(sync.to_owned());
        let task = tokio::spawn({
            let bar = bar.clone();
            let mut switched = false;
            async move {
                loop {
                    match meter.phase() {
                        Phase::Preparing => bar.set_message("checking both ends"),
                        Phase::Reading => bar.set_message(format!("reading: {} rows", thousands(meter.rows()))),
                        Phase::Comparing => bar.set_message(format!("comparing {} rows", thousands(meter.rows()))),
                        Phase::Sending => {
                            if !switched {
                                bar.set_style(sending.clone());
                                switched = true;
                            }
                            bar.set_length(meter.planned());
                            bar.set_position(meter.settled());
                            bar.set_message(format!("{} requests", thousands(meter.requests())));
                        }
                    }
                    bar.tick();
                    tokio::time::sleep(Duration::from_millis(80)).await;
                }
            }
        });
        Bar { bar, task }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.task.abort();
        self.bar.finish_and_clear();
    }
}
