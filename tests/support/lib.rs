//! What the tests share: doubles that record what they got and can be told how to fail, and the servers
//! that a test needs. Nothing here is part of the product.

pub mod aws;
pub mod binary;
pub mod double;
pub mod dynamodb;
pub mod mysql;
pub mod openssl;
pub mod page;
pub mod postgres;
pub mod project;
pub mod proxy;
pub mod slack;
pub mod watched;
