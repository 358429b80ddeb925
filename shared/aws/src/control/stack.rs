//! A deployed stack: the names of what is in it, from the outputs of CloudFormation. Reads only.

use aws_sdk_cloudformation::error::ProvideErrorMetadata;
use domain::fault::{Code, Fault};
use domain::finding::nearest;

use crate::Clients;
use crate::failure::{AwsFailure, AwsFailureKind};

/// A stack by its outputs, which the SAM template and the CDK construct name alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    pub name: String,
    pub table: String,
    pub bucket: String,
    /// What the queues' names begin with.
    pub queue_prefix: String,
    pub extractor: String,
    pub extractor_arn: String,
    /// The role by which schedules call the extractor, an ARN.
    pub scheduler_role: String,
    /// The group of the schedules.
    pub schedule_group: String,
    /// Where ticks go that could not be delivered, an ARN.
    pub schedule_dlq: String,
    /// Connections that have a queue and a writer.
    pub destinations: Vec<String>,
    /// Where alerts go, an ARN.
    pub alert_topic: Option<String>,
}

impl Stack {
    /// Reads a stack. Faults: `NotFound` when there is none of this name, or none that is ready.
    pub async fn read(clients: &Clients, name: &str) -> Result<Self, Fault> {
        let client = clients.cloudformation();
        let region = clients
            .config()
            .region()
            .map_or_else(|| "of no region (set AWS_REGION)".to_owned(), |r| format!("of region {r}"));
        let described = match client.describe_stacks().stack_name(name).send().await {
            Ok(described) => described,
            Err(e) => {
                let missing = e.message().is_some_and(|words| words.contains("does not exist"));
                let failure = AwsFailure::of(&e);
                return Err(if missing || failure.kind == AwsFailureKind::Missing {
                    let what =
                        format!("There is no stack `{name}` in the account {region} that the credentials lead to.");
                    Fault::new(Code::NotFound, what).with_next(self::near(&client, name).await)
                } else {
                    unreadable(name, &region, &failure)
                });
            }
        };
        let missing = || Fault::new(Code::NotFound, format!("CloudFormation describes no stack `{name}`."));
        let stack = described.stacks().first().ok_or_else(missing)?;
        let status = stack.stack_status().map_or("unknown", |s| s.as_str());
        let outputs: Vec<(&str, &str)> =
            stack.outputs().iter().filter_map(|o| Some((o.output_key()?, o.output_value()?))).collect();
        Self::of(name, status, &outputs)
    }

    /// Reads outputs. `status` is CloudFormation's, for the message.
    fn of(name: &str, status: &str, outputs: &[(&str, &str)]) -> Result<Self, Fault> {
        let get = |key: &str| outputs.iter().find(|(k, v)| *k == key && !v.is_empty()).map(|(_, v)| (*v).to_owned());
        let need = |key: &str| get(key).ok_or_else(|| without(name, status, key));
        Ok(Self {
            name: name.to_owned(),
            table: need("Table")?,
            bucket: need("Bucket")?,
            queue_prefix: need("QueuePrefix")?,
            extractor: need("Extractor")?,
            extractor_arn: need("ExtractorArn")?,
            scheduler_role: need("SchedulerRole")?,
            schedule_group: need("ScheduleGroup")?,
            schedule_dlq: need("ScheduleDlq")?,
            destinations: need("Destinations")?
                .split(',')
                .map(str::trim)
                .filter(|d| !d.is_empty())
                .map(str::to_owned)
                .collect(),
            alert_topic: get("AlertTopic"),
        })
    }
}

fn without(name: &str, status: &str, key: &str) -> Fault {
    if status.starts_with("ROLLBACK") || status.ends_with("_FAILED") || status.starts_with("DELETE") {
        let what = format!("Stack `{name}` is in the state {status}: it was not deployed, or is being removed.");
        return Fault::new(Code::NotFound, what)
            .with_next("Look at its events in CloudFormation, mend the cause, and deploy it again.");
    }
    if !status.ends_with("_COMPLETE") || status == "REVIEW_IN_PROGRESS" {
        return Fault::new(Code::NotFound, format!("Stack `{name}` is not deployed yet: it is in the state {status}."))
            .with_next(format!("wait for it: aws cloudformation wait stack-create-complete --stack-name {name}"));
    }
    Fault::new(
        Code::NotFound,
        format!("Stack `{name}` has no output `{key}`: it is not a Sluicegate stack, or one of an older release."),
    )
    .with_next("check --stack, or deploy the stack again from this release")
}

fn unreadable(name: &str, region: &str, failure: &AwsFailure) -> Fault {
    let fault = Fault::new(Code::StateUnusable, format!("Stack `{name}` {region} cannot be read ({failure})."));
    match failure.kind {
        AwsFailureKind::Denied | AwsFailureKind::Key => {
            fault.with_next("Sign in (aws sso login, AWS_PROFILE), and allow the caller cloudformation:DescribeStacks.")
        }
        AwsFailureKind::Unreachable => {
            fault.with_next("Check the network, AWS_REGION and AWS_ENDPOINT_URL, then run again.")
        }
        AwsFailureKind::Missing | AwsFailureKind::Throttled | AwsFailureKind::Other => {
            fault.with_next("Check AWS_REGION and AWS_PROFILE, then run again.")
        }
    }
}

/// What to do about a name that no stack has: the nearest, or all that look like ours.
async fn near(client: &aws_sdk_cloudformation::Client, name: &str) -> String {
    // Who may describe one stack only is told less, and nothing else.
    let Ok(all) = client.describe_stacks().send().await else { return advice(name, &[]) };
    let ours = all.stacks().iter().filter(|s| s.outputs().iter().any(|o| o.output_key() == Some("QueuePrefix")));
    let names: Vec<&str> = ours.filter_map(|s| s.stack_name()).collect();
    advice(name, &names)
}

fn advice(name: &str, ours: &[&str]) -> String {
    match nearest(name, ours.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if ours.is_empty() => "deploy a stack (see infra/README.md), or check AWS_REGION and AWS_PROFILE".into(),
        None => format!("the Sluicegate stacks there are {}; check AWS_REGION and AWS_PROFILE too", ours.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUTS: [(&str, &str); 9] = [
        ("Table", "t"),
        ("Bucket", "b"),
        ("QueuePrefix", "crm-"),
        ("Extractor", "crm-extractor"),
        ("ExtractorArn", "arn:aws:lambda:eu-west-1:000000000000:function:crm-extractor"),
        ("SchedulerRole", "arn:aws:iam::000000000000:role/r"),
        ("ScheduleGroup", "crm"),
        ("ScheduleDlq", "arn:aws:sqs:eu-west-1:000000000000:q"),
        ("Destinations", "hubspot, product"),
    ];

    #[test]
    fn outputs_become_names() {
        let stack = Stack::of("crm", "UPDATE_COMPLETE", &OUTPUTS).unwrap();
        assert_eq!(
            (stack.table.as_str(), stack.destinations, stack.alert_topic),
            ("t", vec!["hubspot".to_owned(), "product".to_owned()], None)
        );
    }

    #[test]
    fn a_stack_that_will_not_do_says_why() {
        for (status, part) in [
            ("CREATE_IN_PROGRESS", "not deployed yet"),
            ("REVIEW_IN_PROGRESS", "not deployed yet"),
            ("ROLLBACK_COMPLETE", "was not deployed"),
            ("CREATE_FAILED", "was not deployed"),
            ("CREATE_COMPLETE", "has no output `Destinations`"),
        ] {
            let fault = Stack::of("crm", status, &OUTPUTS[..8]).unwrap_err();
            assert!(fault.what.contains(part), "{status}: {fault}");
        }
        assert_eq!(advice("cmr", &["crm", "other"]), "did you mean `crm`?");
        assert!(
            advice("zzz", &["crm"]).contains("stacks there are crm") && advice("zzz", &[]).contains("infra/README.md")
        );
    }
}
