//! The limiter of a connection in the table: `n`, when its next slot begins, in microseconds since 1970.
//!
//! The decisions are `domain::limiter`'s. Each is written over the very number it was made from, so writers together
//! keep the rate; a write whose answer is lost wastes its slots and gives none out twice.

use domain::clock::Millis;
use domain::config::RateLimit;
use domain::fault::Fault;
use domain::limiter::{self, Lease, LimiterState};

use super::DynamoState;
use super::errors;
use super::item::{get_number, number};
use super::table::Written;
use crate::keys;

/// Attempts against other writers; each fails only because another succeeded.
const MAX_ATTEMPTS: u32 = 200;

impl DynamoState {
    pub(super) async fn lease_slots(
        &self,
        connection: &str,
        limit: RateLimit,
        now_micros: i64,
        want: u32,
    ) -> Result<Lease, Fault> {
        let decide = |state| limiter::lease(state, limit, now_micros, want);
        self.change_limiter(connection, decide).await
    }

    pub(super) async fn pause_slots(&self, connection: &str, until: Millis) -> Result<(), Fault> {
        self.change_limiter(connection, |state| (limiter::pause(state, until), ())).await
    }

    pub(super) async fn read_limiter(&self, connection: &str) -> Result<LimiterState, Fault> {
        Ok(self
            .look(connection)
            .await?
            .map_or_else(LimiterState::default, |next_slot_micros| LimiterState { next_slot_micros }))
    }

    pub(super) async fn delete_limiter(&self, connection: &str) -> Result<(), Fault> {
        self.remember_slot(connection, None);
        self.table.batch_delete(&[keys::limiter(connection)]).await
    }

    async fn change_limiter<T>(
        &self,
        connection: &str,
        decide: impl Fn(LimiterState) -> (LimiterState, T),
    ) -> Result<T, Fault> {
        let key = keys::limiter(connection);
        // What it was when this process last looked: right most of the time, and if not, the answer says what it is.
        let mut seen = self.known_slot(connection);
        for _ in 0..MAX_ATTEMPTS {
            let state = seen.map_or_else(LimiterState::default, |next_slot_micros| LimiterState { next_slot_micros });
            let (next, decision) = decide(state);
            if seen == Some(next.next_slot_micros) && self.still(connection, next.next_slot_micros).await? {
                return Ok(decision);
            }
            let request = self
                .table
                .update(&key)
                .update_expression("SET n = :new")
                .expression_attribute_values(":new", number(next.next_slot_micros));
            let request = match seen {
                None => request.condition_expression("attribute_not_exists(n)"),
                Some(seen) => {
                    request.condition_expression("n = :old").expression_attribute_values(":old", number(seen))
                }
            };
            match self.table.write(request).await? {
                Written::Done(_) => {
                    self.remember_slot(connection, Some(next.next_slot_micros));
                    return Ok(decision);
                }
                Written::Refused(item) => seen = item.as_ref().and_then(|item| get_number(item, "n")),
            }
        }
        Err(errors::throttled(&self.table.name, "UpdateItem", "the limiter of a connection changes all the time"))
    }

    /// A decision that changes nothing holds only if what it was made from is still so.
    async fn still(&self, connection: &str, next_slot_micros: i64) -> Result<bool, Fault> {
        Ok(self.look(connection).await? == Some(next_slot_micros))
    }

    /// What is stored, which this process remembers from now on.
    async fn look(&self, connection: &str) -> Result<Option<i64>, Fault> {
        let stored = self.table.get(&keys::limiter(connection)).await?.and_then(|item| get_number(&item, "n"));
        self.remember_slot(connection, stored);
        Ok(stored)
    }
}
