//! What to try after the demo.

use std::path::Path;

use serde_json::json;

use super::project::{CRM, PRODUCT};
use super::sample::BLOCKED;
use crate::output::Out;

/// Prints commands that work on the kept project, or how to keep one.
pub fn print(kept: Option<&Path>, plan_hash: &str, out: &Out) {
    let Some(folder) = kept else {
        let command = "sluice demo --keep ./demo";
        out.value(&json!({ "step": "next", "commands": [command] }));
        return out.line(format!("Next: {command}   keeps the project, to look around in it."));
    };
    let (shown, rejected) = (quoted(folder), BLOCKED[0]);
    let sluice = format!("sluice --project {shown}");
    let commands = [
        (format!("{sluice} dead-letters list {CRM}"), "the records that the endpoint rejected"),
        (format!("{sluice} runs {CRM}"), "the runs of a sync"),
        (format!("{sluice} plan {PRODUCT}"), "what an empty model would delete, and why it may not"),
        (
            format!("{sluice} run {PRODUCT} --approve {plan_hash}"),
            "delete all of it after all: this plan, and no other",
        ),
    ];
    let restored = [
        (
            format!(
                "sqlite3 {} 'insert into customers select * from customers_before'",
                quoted(&folder.join("warehouse.db"))
            ),
            "bring the rows back",
        ),
        (format!("{sluice} run {PRODUCT}"), "what is missing in the product is sent again"),
        (format!("{sluice} explain {CRM} {rejected}"), "why a rejected record is held"),
    ];
    let all: Vec<&String> = commands.iter().chain(&restored).map(|(command, _)| command).collect();
    out.value(&json!({ "step": "next", "folder": folder.display().to_string(), "commands": all }));
    out.line(format!(
        "The project is kept in {shown}. Its HTTP endpoint ended with the demo; all of this works without it:"
    ));
    print_all(&commands, out);
    out.line("With the rows back in the model:");
    print_all(&restored, out);
}

fn print_all(commands: &[(String, &str)], out: &Out) {
    for (command, about) in commands {
        out.line(format!("  {command}\n      {about}"));
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text.chars().all(|c| c.is_alphanumeric() || "/._-+@:".contains(c));
    if plain { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
