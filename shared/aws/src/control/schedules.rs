//! One schedule of EventBridge Scheduler per sync, in the stack's own group, named like the sync. It calls the
//! extractor with the sync's name and the id of the tick, by which a tick that is delivered twice is recognised.

use std::collections::BTreeSet;

use aws_sdk_scheduler::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_scheduler::operation::get_schedule::GetScheduleOutput;
use aws_sdk_scheduler::types::{
    DeadLetterConfig, FlexibleTimeWindow, FlexibleTimeWindowMode, RetryPolicy, ScheduleState, Target,
};
use domain::fault::{Code, Fault};
use domain::schedule::Timed;

use crate::Clients;
use crate::control::Stack;
use crate::failure::{AwsFailure, AwsFailureKind};

/// Attempts to deliver a tick, after the first.
const RETRIES: i32 = 10;
/// A tick older than this many seconds is not delivered any more: later ones do its work.
const TICK_AGE: i32 = 3_600;

/// The schedules of a stack.
#[derive(Clone)]
pub struct Schedules {
    client: aws_sdk_scheduler::Client,
    group: String,
    extractor: String,
    role: String,
    dead_letters: String,
}

/// A schedule, as it is or as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub timed: Timed,
    pub enabled: bool,
    pub target: Call,
}

/// What a schedule calls, and how hard it tries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub function: String,
    /// The role that may call it, an ARN.
    pub role: String,
    /// What it is called with.
    pub input: String,
    /// Attempts after the first.
    pub retries: i32,
    /// The oldest tick that is delivered, in seconds.
    pub age: i32,
    /// Where ticks go that could not be delivered, an ARN.
    pub dead_letters: String,
}

impl Schedules {
    /// The schedules of this stack.
    pub fn new(clients: &Clients, stack: &Stack) -> Self {
        Self {
            client: clients.scheduler(),
            group: stack.schedule_group.clone(),
            extractor: stack.extractor_arn.clone(),
            role: stack.scheduler_role.clone(),
            dead_letters: stack.schedule_dlq.clone(),
        }
    }

    /// The schedule that a sync should have.
    pub fn wanted(&self, sync: &str, timed: &Timed, enabled: bool) -> Kept {
        // The scheduler replaces the word in brackets by an id of its own for every tick.
        let input = serde_json::json!({ "sync": sync, "tick": "<aws.scheduler.execution-id>" }).to_string();
        let target = Call {
            function: self.extractor.clone(),
            role: self.role.clone(),
            input,
            retries: RETRIES,
            age: TICK_AGE,
            dead_letters: self.dead_letters.clone(),
        };
        Kept { timed: timed.clone(), enabled, target }
    }

    /// The names of all schedules of the group.
    pub async fn names(&self) -> Result<BTreeSet<String>, Fault> {
        let mut pages = self.client.list_schedules().group_name(&self.group).into_paginator().items().send();
        let mut names = BTreeSet::new();
        while let Some(one) = pages.next().await {
            names.extend(one.map_err(|e| self.fault("listed", &e))?.name);
        }
        Ok(names)
    }

    /// The schedule of a sync, if it has one.
    pub async fn get(&self, sync: &str) -> Result<Option<Kept>, Fault> {
        match self.client.get_schedule().group_name(&self.group).name(sync).send().await {
            Ok(schedule) => Ok(Some(kept(&schedule))),
            Err(e) if e.as_service_error().is_some_and(|e| e.is_resource_not_found_exception()) => Ok(None),
            Err(e) => Err(self.fault("read", &e)),
        }
    }

    /// Makes a sync's schedule this one, whether there is one or not.
    pub async fn put(&self, sync: &str, schedule: &Kept) -> Result<(), Fault> {
        let (target, window) = (target(&schedule.target)?, window(&schedule.timed)?);
        let state = if schedule.enabled { ScheduleState::Enabled } else { ScheduleState::Disabled };
        let update = self
            .client
            .update_schedule()
            .group_name(&self.group)
            .name(sync)
            .state(state.clone())
            .target(target.clone());
        let update = update
            .schedule_expression(&schedule.timed.expression)
            .schedule_expression_timezone(&schedule.timed.timezone);
        match update.flexible_time_window(window.clone()).send().await {
            Ok(_) => return Ok(()),
            Err(e) if e.as_service_error().is_some_and(|e| e.is_resource_not_found_exception()) => {}
            Err(e) => return Err(self.fault("written", &e)),
        }
        let create = self.client.create_schedule().group_name(&self.group).name(sync).state(state).target(target);
        let create = create
            .schedule_expression(&schedule.timed.expression)
            .schedule_expression_timezone(&schedule.timed.timezone);
        create.flexible_time_window(window).send().await.map(drop).map_err(|e| self.fault("written", &e))
    }

    /// Takes a sync's schedule away. `false`: there was none.
    pub async fn remove(&self, sync: &str) -> Result<bool, Fault> {
        match self.client.delete_schedule().group_name(&self.group).name(sync).send().await {
            Ok(_) => Ok(true),
            Err(e) if e.as_service_error().is_some_and(|e| e.is_resource_not_found_exception()) => Ok(false),
            Err(e) => Err(self.fault("removed", &e)),
        }
    }

    fn fault<E: ProvideErrorMetadata>(&self, what: &str, error: &SdkError<E>) -> Fault {
        let failure = AwsFailure::of(error);
        // What the scheduler finds wrong with an expression is about nothing but the sync file.
        let words = error
            .code()
            .filter(|code| *code == "ValidationException")
            .and(error.message())
            .map(|words| format!(": {words}"))
            .unwrap_or_default();
        let fault = Fault::new(
            Code::StateUnusable,
            format!("Schedules of the group {} cannot be {what} ({failure}{words}).", self.group),
        );
        match failure.kind {
            AwsFailureKind::Missing => fault.with_next("Deploy the stack again: its schedule group is gone."),
            AwsFailureKind::Denied | AwsFailureKind::Key => fault.with_next(
                "Allow the caller scheduler:ListSchedules, GetSchedule, CreateSchedule, UpdateSchedule, DeleteSchedule, and iam:PassRole on the role.",
            ),
            AwsFailureKind::Throttled | AwsFailureKind::Unreachable | AwsFailureKind::Other => fault.with_next("Run it again; it goes on where it stopped."),
        }
    }
}

fn target(call: &Call) -> Result<Target, Fault> {
    let policy =
        RetryPolicy::builder().maximum_retry_attempts(call.retries).maximum_event_age_in_seconds(call.age).build();
    let target = Target::builder().arn(&call.function).role_arn(&call.role).input(&call.input).retry_policy(policy);
    target.dead_letter_config(DeadLetterConfig::builder().arn(&call.dead_letters).build()).build().map_err(incomplete)
}

fn window(timed: &Timed) -> Result<FlexibleTimeWindow, Fault> {
    let window = FlexibleTimeWindow::builder();
    let window = match timed.window_minutes {
        Some(minutes) => window.mode(FlexibleTimeWindowMode::Flexible).maximum_window_in_minutes(i32::from(minutes)),
        None => window.mode(FlexibleTimeWindowMode::Off),
    };
    window.build().map_err(incomplete)
}

fn incomplete(e: impl std::fmt::Display) -> Fault {
    Fault::new(Code::Internal, format!("A schedule cannot be described: {e}."))
}

fn kept(schedule: &GetScheduleOutput) -> Kept {
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let window = schedule
        .flexible_time_window()
        .filter(|w| *w.mode() == FlexibleTimeWindowMode::Flexible)
        .and_then(|w| w.maximum_window_in_minutes());
    let target = schedule.target();
    let policy = target.and_then(Target::retry_policy);
    Kept {
        timed: Timed {
            expression: text(schedule.schedule_expression()),
            timezone: text(schedule.schedule_expression_timezone()),
            window_minutes: window.and_then(|minutes| u16::try_from(minutes).ok()),
        },
        enabled: schedule.state() != Some(&ScheduleState::Disabled),
        target: Call {
            function: text(target.map(Target::arn)),
            role: text(target.map(Target::role_arn)),
            input: text(target.and_then(Target::input)),
            retries: policy.and_then(RetryPolicy::maximum_retry_attempts).unwrap_or_default(),
            age: policy.and_then(RetryPolicy::maximum_event_age_in_seconds).unwrap_or_default(),
            dead_letters: text(target.and_then(Target::dead_letter_config).and_then(DeadLetterConfig::arn)),
        },
    }
}
