//! The environment, as far as HTTP is told by it: proxies.

/// A variable of the environment; `None` where it is not set or is no text.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
