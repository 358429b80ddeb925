//! The dead letter of a record whose delivery failed: what it was, and the destination's last words about it.

use domain::batch::BatchRecord;
use domain::bucket::DeliveryFailure;
use domain::clock::Millis;
use domain::dead_letter::DeadLetter;
use domain::key::display_key;

use super::attempt::Attempt;

impl Attempt<'_> {
    pub(super) fn dead_letter(
        &self,
        record: &BatchRecord<'_>,
        failure: &DeliveryFailure,
        detail: String,
        now: Millis,
    ) -> DeadLetter {
        let mut json = Vec::new();
        self.header.layout.write_json(record.fields, &mut json);
        DeadLetter {
            sync: self.header.sync.clone(),
            hash: record.hash,
            key: display_key(record.key),
            op: self.header.op,
            kind: failure.kind,
            code: failure.code.clone(),
            detail,
            at: now,
            run: self.header.run.clone(),
            attempts: self.state.attempts,
            record: serde_json::from_slice(&json).unwrap_or_default(),
        }
    }
}
