//! The whole chain as it is deployed: the real functions, built and packed by the SAM CLI; the real template, deployed
//! by it to an AWS emulator; a PostgreSQL as the warehouse; an HTTP server that records as the destination. One stack,
//! one test after another, in the order of a sync's life.
//!
//! What the emulator cannot do, and is therefore not tested here: permissions (IAM is not enforced, so a missing one
//! shows only on AWS; the template's policies are linted), memory limits, KMS, alarms (they are created, and never
//! evaluated), X-Ray, VPCs, `StartMessageMoveTask` (the redrive is made by receiving and sending), and the architecture
//! (the functions run as processes of this machine).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot be set up fails, and a long one says where it is"
)]

mod life;
mod stack;

/// Everything is one test: deploying takes longer than all the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and the AWS emulator: ./tests/run"]
async fn the_chain_keeps_every_promise() {
    let mut chain = life::Chain::deploy().await;
    chain.a_schedule_fires_the_extractor_and_everything_arrives().await;
    chain.a_second_tick_sends_nothing().await;
    chain.the_watch_looks_at_every_sync().await;
    chain.pausing_stops_the_next_tick().await;
    chain.changes_and_deletes_arrive_alone().await;
    chain.one_poison_record_ends_as_a_dead_letter_and_its_neighbours_arrive().await;
    chain.one_poison_message_takes_no_other_along().await;
    chain.a_destination_that_is_slow_and_down_gets_everything_within_its_quota().await;
    chain.an_event_of_another_system_starts_its_sync().await;
    chain.a_rotated_secret_fails_no_run().await;
    chain.a_redriven_message_of_an_older_run_changes_nothing().await;
    chain.a_writer_killed_in_the_middle_loses_nothing().await;
    chain.the_state_explains_itself().await;
}
