//! The writer: cold start only.

fn main() {}
