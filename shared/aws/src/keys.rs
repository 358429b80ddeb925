//! Every key of the one table: its partition key `pk` and its sort key `sk`, both text. Nothing else names a key.

/// The partition key's attribute.
pub const PK: &str = "pk";
/// The sort key's attribute.
pub const SK: &str = "sk";

// ---------------------------------------------------------------------------------------------------
// Definitions

/// Partition of the current item of every sync, so that one Query lists them all. Sort key: the sync's name.
pub fn current_definitions() -> String {
    "definitions".into()
}

/// Partition of a sync's definitions. Sort key: the version.
pub fn definition_versions(sync: &str) -> String {
    format!("definition#{sync}")
}

/// What the partitions of a sync's records begin with (where it ends with `#`) or are: digests first, then buckets,
/// records in doubt, dead letters and their order. For forgetting a sync.
pub fn state_partitions(sync: &str) -> [String; 5] {
    [format!("m#{sync}#"), format!("b#{sync}#"), format!("d#{sync}"), format!("x#{sync}"), format!("y#{sync}")]
}
