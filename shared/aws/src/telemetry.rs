//! What a function says of itself: log records as lines of JSON, and metrics as lines of CloudWatch's embedded metric
//! format, both on standard output, which Lambda sends to CloudWatch Logs. No call is made for either.
//!
//! Format:
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use domain::monitoring::health::SyncHealth;
use domain::run::{Run, Status};
use serde_json::{Map, Value, json};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

/// The namespace of every metric.
pub const NAMESPACE: &str = "Sluicegate";

/// Targets that never log below `info`, whatever the filter says: at `debug` and `trace` they repeat requests, headers
/// and bodies, and with them secrets and records.
const QUIET: [&str; 8] = ["aws_", "h2", "hyper", "hyper_util", "lambda_runtime", "reqwest", "rustls", "tokio_postgres"];

/// Logs as lines of JSON on standard output from here on. A second start in one process keeps the first.
/// A filter that cannot be read is `info`: settings refuse it before, with a better sentence.
pub fn start_logging(filter: &str) {
    let _ = tracing::subscriber::set_global_default(subscriber(filter, io::stdout));
}

/// What [`start_logging`] starts, writing anywhere.
pub fn subscriber<W>(filter: &str, writer: W) -> impl tracing::Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = filter.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    let filter = filter.with_targets(QUIET.map(|target| (target, LevelFilter::INFO)));
    // Fields stand at the top level, so that a query finds `sync` and not `fields.sync`.
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_ansi(false).with_writer(writer);
    tracing_subscriber::registry().with(lines.with_filter(filter))
}

/// Writes metrics. Every line is written whole, so that it does not mix with log records.
pub struct Metrics {
    stack: String,
    writer: Mutex<Box<dyn Write + Send>>,
}

/// One metric: its name, its unit as CloudWatch calls it, its value.
type Metric = (&'static str, &'static str, f64);

const COUNT: &str = "Count";

impl Metrics {
    /// Metrics of a stack, on standard output.
    pub fn new(stack: &str) -> Self {
        Self::with_writer(stack, io::stdout())
    }

    /// The same, written anywhere.
    pub fn with_writer(stack: &str, writer: impl Write + Send + 'static) -> Self {
        Self { stack: stack.to_owned(), writer: Mutex::new(Box::new(writer)) }
    }

    pub fn run_started(&self, sync: &str, destination: &str) {
        self.write(sync, destination, &[("RunsStarted", COUNT, 1.0)], &[]);
    }

    /// A run ended: its records by outcome, how long it took, how old the newest delivered data is (where that is
    /// known), and how it ended.
    pub fn run_closed(&self, run: &Run, destination: &str, freshness: Option<Duration>) {
        let ended = |status| f64::from(u8::from(run.status == status));
        let (tally, counts) = (&run.tally, &run.counts);
        let mut metrics = vec![
            ("RecordsAccepted", COUNT, tally.accepted() as f64),
            ("RecordsRejected", COUNT, tally.rejected as f64),
            ("RecordsSkipped", COUNT, tally.skipped as f64),
            ("RecordsExhausted", COUNT, tally.exhausted as f64),
            ("RecordsInvalid", COUNT, counts.invalid as f64),
            ("RecordsHeld", COUNT, counts.held as f64),
            ("RecordsUnsent", COUNT, tally.unsent as f64),
            ("RunsComplete", COUNT, ended(Status::Complete)),
            ("RunsPartial", COUNT, ended(Status::Partial)),
            ("RunsBlocked", COUNT, ended(Status::Blocked)),
            ("RunsIncomplete", COUNT, ended(Status::Incomplete)),
            ("RunsFailed", COUNT, ended(Status::Failed)),
        ];
        if let Some(end) = run.ended {
            metrics.push(("RunDuration", "Milliseconds", end.since(run.started).as_millis() as f64));
        }
        if let Some(freshness) = freshness {
            metrics.push(("Freshness", "Seconds", freshness.as_secs_f64()));
        }
        metrics.extend(run.usage.scanned_bytes.map(|bytes| ("WarehouseScanned", "Bytes", bytes as f64)));
        metrics.extend(run.usage.statement_millis.map(|millis| ("WarehouseTime", "Milliseconds", millis as f64)));
        let mut facts =
            vec![("Run", json!(run.id)), ("Status", json!(run.status)), ("Generation", json!(run.generation))];
        facts.extend(run.fault.as_ref().map(|fault| ("Code", json!(fault.code))));
        self.write(&run.sync, destination, &metrics, &facts);
    }

    /// A tick that started no run, and why.
    pub fn run_skipped(&self, sync: &str, destination: &str, reason_code: &str) {
        self.write(sync, destination, &[("TicksSkipped", COUNT, 1.0)], &[("Reason", json!(reason_code))]);
    }

    /// A message was handled: requests made, and times the destination asked to slow down.
    pub fn batch(&self, sync: &str, destination: &str, requests: u64, throttled: u64) {
        self.write(
            sync,
            destination,
            &[("Requests", COUNT, requests as f64), ("Throttles", COUNT, throttled as f64)],
            &[],
        );
    }

    /// A look at a sync: how old its data are and whether that is too old, and what no run can tell.
    pub fn seen(&self, sync: &str, destination: &str, seen: &SyncHealth) {
        let flag = |is: bool| f64::from(u8::from(is));
        let mut metrics = vec![
            ("FreshnessMissed", COUNT, flag(seen.freshness_missed)),
            ("RunsOverdue", COUNT, flag(seen.overdue.is_some())),
            ("RunsStalled", COUNT, flag(seen.stalled.is_some())),
        ];
        metrics.extend(seen.freshness_seconds.map(|seconds| ("Freshness", "Seconds", seconds as f64)));
        self.write(sync, destination, &metrics, &[]);
    }

    /// The watch has looked at so many syncs, and could not look at so many others.
    pub fn watched(&self, syncs: usize, faults: usize) {
        self.write_by(&[], &[("Watched", COUNT, syncs as f64), ("WatchFaults", COUNT, faults as f64)], &[]);
    }

    fn write(&self, sync: &str, destination: &str, metrics: &[Metric], facts: &[(&str, Value)]) {
        self.write_by(&[("Sync", sync), ("Destination", destination)], metrics, facts);
    }

    fn write_by(&self, by: &[(&str, &str)], metrics: &[Metric], facts: &[(&str, Value)]) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut line = line(&self.stack, by, now.as_millis() as u64, metrics, facts).to_string();
        line.push('\n');
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        // A metric that cannot be written has nowhere to be reported, and no run fails for it.
        let _ = writer.write_all(line.as_bytes()).and_then(|()| writer.flush());
    }
}

/// One line: what the metrics are, then dimensions, facts and values at the top level. The metrics are of the stack,
/// and where they are of something in it, of that too.
fn line(stack: &str, by: &[(&str, &str)], timestamp: u64, metrics: &[Metric], facts: &[(&str, Value)]) -> Value {
    let directives: Vec<_> = metrics.iter().map(|(name, unit, _)| json!({ "Name": name, "Unit": unit })).collect();
    let mut dimensions = vec![vec!["Stack"]];
    if !by.is_empty() {
        dimensions.insert(0, std::iter::once("Stack").chain(by.iter().map(|(name, _)| *name)).collect());
    }
    let directive = json!({ "Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": directives });
    let mut line = Map::new();
    line.insert("_aws".into(), json!({ "Timestamp": timestamp, "CloudWatchMetrics": [directive] }));
    line.insert("Stack".into(), json!(stack));
    line.extend(by.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
    line.extend(facts.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    line.extend(metrics.iter().map(|(name, _, value)| ((*name).to_owned(), json!(value))));
    Value::Object(line)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::clock::Millis;
    use domain::fault::{Code, Fault};
    use domain::run::{OnSuccess, Tally, Trigger};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Page {
        fn lines(&self) -> Vec<Value> {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            assert!(text.is_empty() || text.ends_with('\n'));
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        }
    }

    fn run() -> Run {
        Run {
            alerted: None,
            refused: Default::default(),
            id: "20260102T030405.678Z-12-5f3a9c1e".into(),
            sync: "crm-contacts".into(),
            sync_version: "v".into(),
            generation: 12,
            trigger: Trigger::Manual,
            status: Status::Incomplete,
            started: Millis(1_000),
            ended: Some(Millis(3_500)),
            progress: Millis(3_000),
            full: true,
            counts: domain::change::Counts { invalid: 3, held: 2, ..Default::default() },
            plan_hash: None,
            batches: Some(1),
            tally: Tally { created: 5, updated: 4, rejected: 1, unsent: 7, ..Tally::default() },
            tripped: Vec::new(),
            invalid: Vec::new(),
            fault: Some(Fault::new(Code::DestinationUnauthorized, "x")),
            usage: domain::usage::WarehouseUsage { scanned_bytes: Some(4_000), statement_millis: Some(700) },
            notes: vec![],
            on_success: OnSuccess::default(),
        }
    }

    /// What the specification demands of every line about a sync; returns the value and unit of each metric.
    fn metrics_of(line: &Value) -> Vec<(String, String, f64)> {
        metrics_by(line, &json!([["Stack", "Sync", "Destination"], ["Stack"]]))
    }

    fn metrics_by(line: &Value, dimensions: &Value) -> Vec<(String, String, f64)> {
        assert!(line["_aws"]["Timestamp"].as_u64().unwrap() > 1_600_000_000_000, "milliseconds since 1970");
        let directives = line["_aws"]["CloudWatchMetrics"].as_array().unwrap();
        assert_eq!(directives.len(), 1);
        assert_eq!(directives[0]["Namespace"], "Sluicegate");
        assert_eq!(&directives[0]["Dimensions"], dimensions);
        for dimension in dimensions[0].as_array().unwrap().iter().map(|d| d.as_str().unwrap()) {
            assert!(
                line[dimension].as_str().is_some_and(|value| !value.is_empty() && value.len() <= 1024),
                "{dimension} is a text at the top level"
            );
        }
        let metrics = directives[0]["Metrics"].as_array().unwrap();
        assert!((1..=100).contains(&metrics.len()));
        let read = metrics.iter().map(|metric| {
            let name = metric["Name"].as_str().unwrap();
            (
                name.to_owned(),
                metric["Unit"].as_str().unwrap().to_owned(),
                line[name].as_f64().unwrap_or_else(|| panic!("{name} is a number at the top level")),
            )
        });
        read.collect()
    }

    #[test]
    fn a_closed_run_is_one_line_of_the_embedded_metric_format() {
        let page = Page::default();
        Metrics::with_writer("crm", page.clone()).run_closed(&run(), "hubspot", Some(Duration::from_millis(1500)));
        let lines = page.lines();
        assert_eq!(lines.len(), 1);
        let metrics = metrics_of(&lines[0]);
        let value = |wanted: &str| {
            metrics.iter().find(|(name, ..)| name == wanted).map(|(_, unit, value)| (unit.as_str(), *value))
        };
        for (name, value_of) in [
            ("RecordsAccepted", 9.0),
            ("RecordsRejected", 1.0),
            ("RecordsInvalid", 3.0),
            ("RecordsHeld", 2.0),
            ("RecordsUnsent", 7.0),
            ("RunsIncomplete", 1.0),
            ("RunsComplete", 0.0),
            ("RunsFailed", 0.0),
        ] {
            assert_eq!(value(name), Some((COUNT, value_of)), "{name}");
        }
        assert_eq!(value("RunDuration"), Some(("Milliseconds", 2500.0)));
        assert_eq!(value("WarehouseScanned"), Some(("Bytes", 4_000.0)));
        assert_eq!(value("WarehouseTime"), Some(("Milliseconds", 700.0)));
        assert_eq!(value("Freshness"), Some(("Seconds", 1.5)));
        assert_eq!(
            (&lines[0]["Sync"], &lines[0]["Destination"], &lines[0]["Status"]),
            (&json!("crm-contacts"), &json!("hubspot"), &json!("incomplete"))
        );
        assert_eq!(
            (&lines[0]["Run"], &lines[0]["Code"]),
            (&json!("20260102T030405.678Z-12-5f3a9c1e"), &json!("destination_unauthorized"))
        );
    }

    #[test]
    fn the_other_lines_keep_the_format_too() {
        let page = Page::default();
        let metrics = Metrics::with_writer("crm", page.clone());
        metrics.run_started("s", "d");
        metrics.run_skipped("s", "d", "run_active");
        metrics.batch("s", "d", 3, 1);
        let lines = page.lines();
        let one = |name: &str, value| vec![(name.to_owned(), COUNT.to_owned(), value)];
        assert_eq!(metrics_of(&lines[0]), one("RunsStarted", 1.0));
        assert_eq!((metrics_of(&lines[1]), &lines[1]["Reason"]), (one("TicksSkipped", 1.0), &json!("run_active")));
        assert_eq!(metrics_of(&lines[2]), [one("Requests", 3.0), one("Throttles", 1.0)].concat());
    }

    #[test]
    fn the_monitor_logs_a_line_for_each_sync_and_stack() {
        let page = Page::default();
        let metrics = Metrics::with_writer("crm", page.clone());
        let overdue = Some(domain::monitoring::health::Overdue { since: None, due: Millis(1) });
        metrics.seen(
            "s",
            "d",
            &SyncHealth { freshness_seconds: Some(90), freshness_missed: true, overdue, stalled: None },
        );
        metrics.seen("paused", "d", &SyncHealth::default());
        metrics.watched(2, 1);
        let lines = page.lines();
        let count = |name: &str, value| (name.to_owned(), COUNT.to_owned(), value);
        let expected = [count("FreshnessMissed", 1.0), count("RunsOverdue", 1.0), count("RunsStalled", 0.0)];
        assert_eq!(
            metrics_of(&lines[0]),
            [&expected[..], &[("Freshness".to_owned(), "Seconds".to_owned(), 90.0)]].concat()
        );
        assert_eq!(
            metrics_of(&lines[1]),
            ["FreshnessMissed", "RunsOverdue", "RunsStalled"].map(|name| count(name, 0.0))
        );
        assert_eq!(metrics_by(&lines[2], &json!([["Stack"]])), [count("Watched", 2.0), count("WatchFaults", 1.0)]);
    }

    #[test]
    fn log_records_are_lines_of_json_without_what_repeats_requests() {
        let page = Page::default();
        let made = page.clone();
        tracing::subscriber::with_default(subscriber("trace,hyper=trace", move || made.clone()), || {
            tracing::debug!(sync = "crm-contacts", batch = 7, "handled");
            tracing::debug!(target: "aws_smithy_runtime::client", "planted-secret");
            tracing::trace!(target: "hyper::proto", "planted-secret");
            tracing::info!(target: "aws::queue", "ours");
        });
        let lines = page.lines();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(
            (&lines[0]["message"], &lines[0]["sync"], &lines[0]["batch"]),
            (&json!("handled"), &json!("crm-contacts"), &json!(7))
        );
        assert_eq!((&lines[0]["level"], &lines[1]["message"]), (&json!("DEBUG"), &json!("ours")));
        assert!(lines[0]["timestamp"].is_string());
    }

    #[test]
    fn a_filter_holds() {
        let page = Page::default();
        let made = page.clone();
        tracing::subscriber::with_default(subscriber("warn", move || made.clone()), || {
            tracing::info!("no");
            tracing::warn!("yes");
        });
        assert_eq!(page.lines().len(), 1);
    }
}
