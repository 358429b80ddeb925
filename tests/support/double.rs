//! A destination over HTTP that records what it got and can be told how to fail.
