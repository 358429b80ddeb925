//! The command line's words.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Sync what changed in your warehouse to the tools people work in, and only that.
#[derive(Debug, Parser)]
#[command(name = "sluice", version, arg_required_else_help = true, after_help = AFTER)]
pub struct Cli {
    /// The project folder, with connections.yaml and syncs/.
    #[arg(long, global = true, default_value = ".", value_name = "DIR")]
    pub project: PathBuf,
    /// Print JSON for machines.
    #[arg(long, global = true)]
    pub json: bool,
    /// Log what happens to standard error; twice for more.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Act on this stack on AWS instead of this machine. Account and region are found as by every AWS tool.
    #[arg(long, global = true, value_name = "NAME")]
    pub stack: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER: &str = "\
Exit codes: 0 all accepted, 3 delivered with rejected, held or invalid records, 4 blocked by a guard,
            2 wrong usage, 1 any other failure.

Begin with `sluice demo`, or with `sluice init` in an empty folder.";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a project folder with an example that runs.
    Init,
    /// Validate syncs and look at both ends, without reading rows or writing anything.
    Check {
        /// Only this sync.
        sync: Option<String>,
    },
    /// Plan a run and stop before sending: what would change, with samples, and the plan's hash.
    Plan {
        /// The sync.
        sync: String,
        /// Read everything even if the sync has a cursor.
        #[arg(long)]
        full: bool,
    },
    /// Run a sync: find what changed and deliver it.
    Run {
        /// The sync.
        sync: String,
        /// Send this plan although a guard trips. The hash is in the output of `sluice plan`.
        #[arg(long, value_name = "PLAN_HASH")]
        approve: Option<String>,
        /// Read everything even if the sync has a cursor.
        #[arg(long)]
        full: bool,
    },
    /// Make a stack have the project's syncs and their schedules. Shows what will change, and asks.
    Apply {
        /// Only these syncs.
        syncs: Vec<String>,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        /// Remove syncs that the stack has and the project does not.
        #[arg(long)]
        prune: bool,
    },
    /// Stop the schedule of a sync on AWS. What it misses is not made up.
    Pause {
        /// The sync.
        sync: String,
    },
    /// Let the schedule of a paused sync go on.
    Resume {
        /// The sync.
        sync: String,
    },
    /// Run a sync on AWS now, paused or not.
    Trigger {
        /// The sync.
        sync: String,
        /// Send this plan although a guard trips. The hash is in the output of `sluice plan`.
        #[arg(long, value_name = "PLAN_HASH")]
        approve: Option<String>,
        /// Read everything even if the sync has a cursor.
        #[arg(long)]
        full: bool,
        /// Wait until the run is over, and show its report.
        #[arg(long)]
        wait: bool,
    },
    /// Take a sync out of a stack: its schedule and its definition.
    Delete {
        /// The sync.
        sync: String,
        /// Also forget what was delivered: a sync of this name then sends everything again.
        #[arg(long)]
        state: bool,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// List the newest runs of a sync.
    Runs {
        /// The sync.
        sync: String,
        /// How many.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Explain one record: what is stored, what the model says now, what would happen and why.
    Explain {
        /// The sync.
        sync: String,
        /// The key; of several columns: the values separated by commas, or a JSON array.
        key: String,
    },
    /// Records that could not be delivered.
    #[command(subcommand, name = "dead-letters")]
    DeadLetters(DeadLettersCommand),
    /// What is known of a sync's records, and changing that.
    #[command(subcommand)]
    State(StateCommand),
    /// The rate and the pauses of a connection.
    #[command(subcommand)]
    Limits(LimitsCommand),
    /// What goes between dbt and the project.
    #[command(subcommand)]
    Dbt(DbtCommand),
    /// Print the JSON Schema of the sync file (or of a model's file, or of connections.yaml).
    Schema {
        /// Print the schema of connections.yaml instead.
        #[arg(long)]
        connections: bool,
        /// Print the schema of models/NAME.yaml instead.
        #[arg(long, conflicts_with = "connections")]
        models: bool,
    },
    /// See it work on sample data, without an account anywhere.
    Demo {
        /// Keep the demo's project in this folder instead of a temporary one.
        #[arg(long, value_name = "DIR")]
        keep: Option<PathBuf>,
        /// Send to a double of this service instead of an HTTP endpoint and a database.
        #[arg(long, value_name = "NAME")]
        destination: Option<DemoDestination>,
        /// Read from a double of this warehouse instead of a file, into HubSpot's double or that of --destination.
        #[arg(long, value_name = "NAME")]
        warehouse: Option<DemoWarehouse>,
    },
}

/// What goes between dbt and the project.
#[derive(Debug, Subcommand)]
pub enum DbtCommand {
    /// Print the exposures of the syncs that read models of dbt, for a file beside the models.
    Exposures {
        /// Write nothing: end with 1 when this file holds something else.
        #[arg(long, value_name = "FILE")]
        check: Option<PathBuf>,
    },
}

/// A warehouse that the demo can read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum DemoWarehouse {
    /// Snowflake, by its SQL API.
    Snowflake,
    /// Google BigQuery, by its JSON API.
    Bigquery,
    /// Databricks, by its Statement Execution API.
    Databricks,
    /// Amazon Redshift, by its Data API.
    Redshift,
    /// Amazon Athena, by files in S3.
    Athena,
}

/// A service that the demo can send to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum DemoDestination {
    /// Customers become contacts of HubSpot.
    Hubspot,
    /// Customers become contacts of Salesforce.
    Salesforce,
}

/// What to do with the state of a sync.
#[derive(Debug, Subcommand)]
pub enum StateCommand {
    /// Show what is known: of which place, in which mode, how many records.
    Show {
        /// The sync.
        sync: String,
    },
    /// Have records sent by the next run, whatever was accepted before: these, or all.
    Resend {
        /// The sync.
        sync: String,
        /// Only these keys, as plans and reports show them.
        keys: Vec<String>,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Say that the destination's new place is the old one under another name.
    SamePlace {
        /// The sync.
        sync: String,
    },
    /// Forget what was delivered: the next run sends everything, and deletes nothing that was sent before.
    Forget {
        /// The sync.
        sync: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Let a sync that was given another name go on with its state.
    Rename {
        /// The name that the state has.
        sync: String,
        /// The name that it is to have.
        name: String,
    },
}

/// What to do with the limits of a connection.
#[derive(Debug, Subcommand)]
pub enum LimitsCommand {
    /// Show when the next request may be sent.
    Show {
        /// The connection.
        connection: String,
    },
    /// End the pause that a destination asked for, and let the next run send at once.
    Lift {
        /// The connection.
        connection: String,
    },
}

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub enum DeadLettersCommand {
    /// List them, newest first.
    List {
        /// The sync.
        sync: String,
        /// How many.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Let the next run send them again, from the current rows.
    Retry {
        /// The sync.
        sync: String,
        /// Only these keys, as `list` shows them.
        keys: Vec<String>,
    },
    /// Print them as JSON lines, records included.
    Export {
        /// The sync.
        sync: String,
    },
}

impl DeadLettersCommand {
    /// The sync.
    pub fn sync(&self) -> &str {
        match self {
            DeadLettersCommand::List { sync, .. }
            | DeadLettersCommand::Retry { sync, .. }
            | DeadLettersCommand::Export { sync } => sync,
        }
    }
}
