//! Those who are told of a sync's problems: channels of Slack, and any address that takes JSON. Topics of SNS are told
//! by the functions on AWS, which have what that needs.

mod slack;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use domain::alert_settings::{Alerts, Channel};
use domain::config::SecretSource;
use domain::fault::Fault;
use domain::ports::Notifier;

/// The longest time for a request: nobody waits long for an alert to be taken.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Makes a notifier of a topic: from its ARN (none: the stack's own) and the notifier's name. `None`: not here.
pub type Topics<'a> = &'a (dyn Fn(Option<&str>, String) -> Option<Arc<dyn Notifier>> + Sync);

/// Opens everybody whom these settings tell. Whoever cannot be opened (a secret is missing) is left out, with the
/// fault: to be logged, and no reason to end anything.
pub async fn open(
    alerts: &Alerts,
    secrets: &dyn SecretSource,
    topics: Topics<'_>,
) -> (Vec<Arc<dyn Notifier>>, Vec<Fault>) {
    let (mut notifiers, mut faults) = (Vec::new(), Vec::new());
    for channel in alerts.channels() {
        let name = channel.name();
        let opened: Result<Option<Arc<dyn Notifier>>, Fault> = match channel {
            Channel::Slack(settings) => slack::open(settings, name, secrets).await.map(Some),
            Channel::Webhook(settings) => webhook::open(settings, name, secrets).await.map(Some),
            Channel::Sns(settings) => Ok(topics(settings.topic.as_deref(), name)),
        };
        match opened {
            Ok(notifier) => notifiers.extend(notifier),
            Err(fault) => faults.push(fault),
        }
    }
    (notifiers, faults)
}

/// Opens everybody whom the settings of `sync` tell. Whoever cannot be opened is logged and left out: no run fails
/// because of that.
pub async fn open_available(
    sync: &str,
    alerts: &Alerts,
    secrets: &dyn SecretSource,
    topics: Topics<'_>,
) -> Vec<Arc<dyn Notifier>> {
    let (notifiers, faults) = open(alerts, secrets, topics).await;
    for fault in faults {
        tracing::warn!(sync, code = fault.code.as_str(), "somebody cannot be told of problems: {}", fault.what);
    }
    notifiers
}
