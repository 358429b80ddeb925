//! The extractor: cold start only.

fn main() {}
