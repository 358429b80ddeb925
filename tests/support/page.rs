//! Where a test lets log records and metrics be written, to read them afterwards.
#![allow(clippy::unwrap_used, reason = "what is written is lines of JSON, or the test fails")]

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// Everything that was written; a clone writes on the same.
#[derive(Clone, Default)]
pub struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// As lines of JSON. What was read is gone.
    pub fn lines(&self) -> Vec<Value> {
        let written = std::mem::take(&mut *self.0.lock().unwrap());
        String::from_utf8(written).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The sum of a metric over all lines.
    pub fn sum(&self, metric: &str) -> f64 {
        self.text().lines().filter_map(|line| serde_json::from_str::<Value>(line).unwrap()[metric].as_f64()).sum()
    }
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
