//! Connecting to databases, once: settings, TLS, timeouts. Used by warehouses and destinations of the same kind.
