//! What the tests share: doubles that record what they got and can be told how to fail, and the servers
//! that a test needs. Nothing here is part of the product.

pub mod binary;
pub mod double;
pub mod postgres;
pub mod project;
pub mod slack;
pub mod watched;
