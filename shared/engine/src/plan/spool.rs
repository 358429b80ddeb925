//! The spool: mapped records waiting for the plan, in memory up to a limit, then in a temporary file.
//!
//! Records are kept apart by the first bits of their hash. They are read back in the order of their hashes,
//! so a plan that sends most of them reads one part after the other, each in one piece, and a plan that sends
//! few reads only those. The file has no name: nothing is left of it whatever happens to the process.
//! All calls block: use it from a blocking thread.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use domain::cells::Cells;
use domain::fault::{Code, Fault};
use domain::key::KeyHash;

/// Parts of the spool, as a power of two.
const PART_BITS: u8 = 6;

/// Bytes by hash and offset, in memory or in a file.
pub struct Spool {
    limit: usize,
    folder: PathBuf,
    parts: Vec<SpoolPart>,
    /// Bytes in all parts' buffers.
    buffered: usize,
    file: Option<File>,
    /// Bytes in the file.
    flushed: u64,
    /// Most records will be read: read whole parts.
    dense: bool,
    /// What was read last: the part it is of, the offset there, the bytes.
    window: (usize, u64, Vec<u8>),
}

#[derive(Default)]
struct SpoolPart {
    /// Everything while in memory; the end of it once there is a file.
    buffer: Vec<u8>,
    /// Pieces in the file: offset in the part, offset in the file, length.
    pieces: Vec<(u64, u64, usize)>,
    /// Bytes in the file.
    flushed: u64,
}

impl Spool {
    /// An empty spool that keeps up to `limit` bytes in memory.
    pub fn new(limit: usize, folder: &Path) -> Self {
        let parts = (0..1 << PART_BITS).map(|_| SpoolPart::default()).collect();
        Self {
            limit,
            folder: folder.to_owned(),
            parts,
            buffered: 0,
            file: None,
            flushed: 0,
            dense: false,
            window: (0, 0, Vec::new()),
        }
    }

    /// Appends a record. Returns its offset, to be read by together with the hash.
    pub fn append(&mut self, hash: &KeyHash, record: &[u8]) -> Result<u64, Fault> {
        let part = &mut self.parts[hash.bucket(PART_BITS) as usize];
        let offset = part.flushed + part.buffer.len() as u64;
        part.buffer.extend_from_slice(record);
        self.buffered += record.len();
        if self.buffered >= self.limit {
            self.flush().map_err(|e| unusable(&self.folder, &e))?;
        }
        Ok(offset)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            std::fs::create_dir_all(&self.folder)?;
            self.file = Some(tempfile::tempfile_in(&self.folder)?);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        for part in self.parts.iter_mut().filter(|p| !p.buffer.is_empty()) {
            file.write_all(&part.buffer)?;
            part.pieces.push((part.flushed, self.flushed, part.buffer.len()));
            self.flushed += part.buffer.len() as u64;
            part.flushed += part.buffer.len() as u64;
            part.buffer.clear();
        }
        self.buffered = 0;
        Ok(())
    }

    /// Ends the writing.
    pub fn finish(&mut self) -> Result<(), Fault> {
        if self.file.is_some() {
            self.flush().map_err(|e| unusable(&self.folder, &e))?;
            self.parts.iter_mut().for_each(|p| p.buffer = Vec::new());
        }
        Ok(())
    }

    /// Says whether most records will be read (in the order of their hashes) or few.
    pub fn expect(&mut self, dense: bool) {
        self.dense = dense;
    }

    /// Reads `len` bytes of the record of this hash from `offset`, after [`Spool::finish`].
    pub fn read(&mut self, hash: &KeyHash, offset: u64, len: usize) -> Result<&[u8], Fault> {
        let number = hash.bucket(PART_BITS) as usize;
        let end = offset + len as u64;
        if self.file.is_none() {
            let bytes = self.parts[number].buffer.get(offset as usize..end as usize);
            return bytes.ok_or_else(|| unusable(&self.folder, &io::ErrorKind::UnexpectedEof.into()));
        }
        let (part, start, bytes) = &self.window;
        if *part != number || offset < *start || end > *start + bytes.len() as u64 {
            let range = if self.dense { (0, self.parts[number].flushed as usize) } else { (offset, len) };
            self.fill(number, range).map_err(|e| unusable(&self.folder, &e))?;
        }
        let from = (offset - self.window.1) as usize;
        self.window.2.get(from..from + len).ok_or_else(|| unusable(&self.folder, &io::ErrorKind::UnexpectedEof.into()))
    }

    /// Reads a range of a part into the window.
    fn fill(&mut self, number: usize, (offset, len): (u64, usize)) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        let window = &mut self.window;
        (window.0, window.1) = (number, offset);
        window.2.clear();
        window.2.resize(len, 0);
        let pieces = &self.parts[number].pieces;
        let first = pieces.partition_point(|(start, _, piece)| start + *piece as u64 <= offset);
        let mut filled = 0;
        for (start, place, piece) in &pieces[first..] {
            if filled == len {
                break;
            }
            let skip = (offset + filled as u64 - start) as usize;
            let take = (piece - skip).min(len - filled);
            file.seek(SeekFrom::Start(place + skip as u64))?;
            file.read_exact(&mut window.2[filled..filled + take])?;
            filled += take;
        }
        if filled == len { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// Key and fields of a spooled record.
pub fn split(record: &[u8]) -> (Cells<'_>, Cells<'_>) {
    let len = record.get(..4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes) as usize;
    let rest = record.get(4..).unwrap_or_default();
    let (key, fields) = rest.split_at(len.min(rest.len()));
    (Cells(key), Cells(fields))
}

fn unusable(folder: &Path, error: &io::Error) -> Fault {
    Fault::new(
        Code::SpoolUnusable,
        format!("The temporary file for records in {} cannot be used: {error}.", folder.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_from_memory_and_from_the_file() {
        for (limit, dense) in [(usize::MAX, false), (100_000, false), (100_000, true)] {
            let folder = tempfile::tempdir().unwrap();
            let mut spool = Spool::new(limit, folder.path());
            let mut places = Vec::new();
            for i in 0..60_000u32 {
                let hash = KeyHash::of(&i.to_le_bytes());
                let record = [&i.to_le_bytes()[..], &[7; 9]].concat();
                places.push((hash, spool.append(&hash, &record).unwrap(), i));
            }
            spool.finish().unwrap();
            spool.expect(dense);
            places.sort();
            for (hash, at, i) in places.iter().step_by(if dense { 1 } else { 97 }) {
                assert_eq!(spool.read(hash, *at, 13).unwrap()[..4], i.to_le_bytes());
            }
            assert!(spool.read(&places[0].0, 1 << 30, 1).is_err());
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_a_clear_fault() {
        let mut spool = Spool::new(1, Path::new("/proc/no-such-folder"));
        let fault = spool.append(&KeyHash([0; 12]), &[1]).unwrap_err();
        assert_eq!(fault.code, Code::SpoolUnusable);
        assert!(fault.what.contains("/proc/no-such-folder"));
    }
}
