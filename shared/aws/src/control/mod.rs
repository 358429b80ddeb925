//! What the command needs of AWS and the functions do not: a stack's outputs, and schedules.

pub mod forget;
pub mod schedules;
pub mod stack;

pub use schedules::Schedules;
pub use stack::Stack;
