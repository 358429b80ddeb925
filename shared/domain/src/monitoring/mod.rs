//! Monitoring: which problems a sync has, and which of them people are alerted of.
//!
//! - [`health`]: what no run can tell, because there is none: starts that are overdue, runs that are stuck, data that
//!   grow old.
//! - [`cost`]: what a run used of the warehouse, beside what runs use.
//! - [`decide`]: what is new and what is over, once for each change; [`alert`] is what people get, in the words of
//!   [`text`].
//!
//! Not here: who is alerted, and of what (the `alerts` of a sync file, [`crate::alert_settings`]); sending, which is a
//! [`crate::ports::Notifier`]'s.

pub mod alert;
pub mod cost;
pub mod decide;
pub mod health;
pub mod text;
