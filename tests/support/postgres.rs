//! The PostgreSQL server that `tests/run` starts, and databases in it for single tests.
