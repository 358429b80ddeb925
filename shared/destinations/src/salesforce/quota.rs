//! What the day still has, held against what a plan needs.

use domain::finding::Finding;
use domain::job::PlannedLoad;
use domain::mode::Mode;
use domain::outcome::WriteError;
use serde_json::Value;

use super::SalesforceDestination;

/// Requests of a job, at most where nothing takes long: create, upload, start, three looks, three results.
const OF_A_JOB: u64 = 9;

impl SalesforceDestination {
    /// Requests that a plan takes, if nothing goes wrong.
    pub(super) fn requests(&self, load: PlannedLoad) -> u64 {
        let most = self.limits.batch_records.max(1) as u64;
        if self.by_jobs(load) {
            let job = self.config.job_records.max(1) as u64;
            // Where a record id is not remembered, a part goes by collections after all.
            return (load.writes.div_ceil(job) + load.deletes.div_ceil(job)) * OF_A_JOB;
        }
        let looked_up = u64::from(load.mode == Mode::Update);
        load.writes.div_ceil(most) * (1 + looked_up) + load.deletes.div_ceil(most)
    }

    /// A finding when the day has not enough left: an error when it cannot be, a warning when it takes most of it.
    pub(super) async fn room_for(&self, load: PlannedLoad) -> Result<Option<Finding>, WriteError> {
        let needed = self.requests(load);
        // The replies of preflight told how much is left; only when that may be tight is it worth asking for more.
        if self
            .session
            .left()
            .is_some_and(|left| left > self.config.keep_requests.saturating_add(needed.saturating_mul(4)))
        {
            return Ok(None);
        }
        let reply = self.session.get("/limits").await?;
        let json: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let number = |name: &str, part: &str| json.get(name)?.get(part)?.as_u64();
        let (Some(left), Some(most)) = (number("DailyApiRequests", "Remaining"), number("DailyApiRequests", "Max"))
        else {
            return Ok(None);
        };
        let free = left.saturating_sub(self.config.keep_requests);
        let kept = if self.config.keep_requests > 0 {
            format!(", {} of which are kept for others", self.config.keep_requests)
        } else {
            String::new()
        };
        let tell = |what: &str| {
            format!("the plan needs about {needed} requests and {what}: {left} of {most} a day are left{kept}")
        };
        if needed > free {
            let fix = "run it later (requests come back over 24 hours), send less (a filter in the model's SQL, `rollout`), or lower `jobs_above`";
            return Ok(Some(Finding::error(&self.about, tell("the org has fewer"), fix)));
        }
        Ok((needed * 2 > free).then(|| {
            Finding::warning(&self.about, tell("takes most of what the org has"), "other programs may find none left")
        }))
    }
}
