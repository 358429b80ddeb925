//! The spool: mapped records waiting for the plan, in memory up to a limit, then in a temporary file.
//!
//! Written once from front to back, then read by offset. The file has no name, so nothing is left of it
//! whatever happens to the process. All calls block: use it from a blocking thread.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use domain::fault::{Code, Fault};

/// Bytes written to the file at a time.
const CHUNK: usize = 1024 * 1024;

/// Bytes by offset, in memory or in a file.
pub struct Spool {
    limit: usize,
    folder: std::path::PathBuf,
    /// Everything while in memory; the part not yet written once there is a file.
    buffer: Vec<u8>,
    file: Option<File>,
    /// Bytes in the file.
    flushed: u64,
    /// Read-ahead window: where it begins and what it holds.
    window: (u64, Vec<u8>),
}

impl Spool {
    /// An empty spool that keeps up to `limit` bytes in memory.
    pub fn new(limit: usize, folder: &Path) -> Self {
        Self { limit, folder: folder.to_owned(), buffer: Vec::new(), file: None, flushed: 0, window: (0, Vec::new()) }
    }

    /// Where the next append begins.
    pub fn position(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    /// The buffer to append to. Call [`Spool::settle`] after each record.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Moves the buffer to the file when it has grown past what it may hold.
    pub fn settle(&mut self) -> Result<(), Fault> {
        let most = if self.file.is_some() { CHUNK } else { self.limit };
        if self.buffer.len() >= most { self.flush().map_err(|e| unusable(&self.folder, &e)) } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            std::fs::create_dir_all(&self.folder)?;
            self.file = Some(tempfile::tempfile_in(&self.folder)?);
        }
        if let Some(file) = &mut self.file {
            file.write_all(&self.buffer)?;
            self.flushed += self.buffer.len() as u64;
            if self.buffer.capacity() > 2 * CHUNK {
                self.buffer = Vec::with_capacity(CHUNK + CHUNK / 4);
            }
            self.buffer.clear();
        }
        Ok(())
    }

    /// Ends the writing.
    pub fn finish(&mut self) -> Result<(), Fault> {
        if self.file.is_some() && !self.buffer.is_empty() {
            self.flush().map_err(|e| unusable(&self.folder, &e))?;
        }
        Ok(())
    }

    /// Reads `len` bytes from `offset`, after [`Spool::finish`].
    pub fn read(&mut self, offset: u64, len: usize) -> Result<&[u8], Fault> {
        if self.file.is_none() {
            let start = offset as usize;
            return self.buffer.get(start..start + len).ok_or_else(|| unusable(&self.folder, &io::ErrorKind::UnexpectedEof.into()));
        }
        let (start, window) = (self.window.0, self.window.1.len() as u64);
        if offset < start || offset + len as u64 > start + window {
            self.fill(offset, len).map_err(|e| unusable(&self.folder, &e))?;
        }
        let from = (offset - self.window.0) as usize;
        Ok(&self.window.1[from..from + len])
    }

    fn fill(&mut self, offset: u64, len: usize) -> io::Result<()> {
        // Records are read in the order of their hashes, which is no order in the file: reading ahead does not pay.
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        self.window.1.resize(len, 0);
        self.window.0 = offset;
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(&mut self.window.1).inspect_err(|_| self.window.1.clear())
    }
}

fn unusable(folder: &Path, error: &io::Error) -> Fault {
    Fault::new(Code::SpoolUnusable, format!("The temporary file for records in {} cannot be used: {error}.", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_from_memory_and_from_the_file() {
        for limit in [usize::MAX, 10] {
            let folder = tempfile::tempdir().unwrap();
            let mut spool = Spool::new(limit, folder.path());
            let mut places = Vec::new();
            for i in 0..200_000u32 {
                let at = spool.position();
                spool.buffer().extend_from_slice(&i.to_le_bytes());
                spool.buffer().extend_from_slice(&[7; 9]);
                spool.settle().unwrap();
                places.push(at);
            }
            spool.finish().unwrap();
            for i in (0..200_000u32).rev().step_by(997) {
                assert_eq!(spool.read(places[i as usize], 13).unwrap()[..4], i.to_le_bytes());
            }
            assert!(spool.read(spool.position(), 1).is_err());
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_a_clear_fault() {
        let mut spool = Spool::new(1, Path::new("/proc/no-such-folder"));
        spool.buffer().push(1);
        let fault = spool.settle().unwrap_err();
        assert_eq!(fault.code, Code::SpoolUnusable);
        assert!(fault.what.contains("/proc/no-such-folder"));
    }
}
