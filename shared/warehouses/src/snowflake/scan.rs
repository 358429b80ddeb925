//! Rows out of the JSON of a partition, as its bytes come: `{"data":[["1",null],…]}`, or the list alone. Nothing is
//! made of the JSON but the cells themselves.

use std::sync::Arc;

use domain::row::RowBatch;
use domain::value::Value;
use memchr::memchr2;

use super::decode::{self, CellScratch};
use super::types::CellDecoder;

/// A single row may have this many bytes of JSON.
const MAX_ROW_BYTES: usize = 128 * 1024 * 1024;

/// Reads one partition.
pub(super) struct RowScanner {
    decoders: Arc<[CellDecoder]>,
    /// Bytes that came and are not read yet, from `at` on.
    pending: Vec<u8>,
    at: usize,
    place: ScanPlace,
    /// Rows that were read.
    rows: u64,
    /// So many of the first rows are known from an earlier attempt.
    skip: u64,
    /// A row is not tried again before this many bytes are there: a large one would be read over and over.
    enough: usize,
    scratch: CellScratch,
    unescaped: Vec<u8>,
}

/// Where in the JSON the scanner is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ScanPlace {
    /// Before the list of rows.
    Before,
    /// Within it.
    Rows,
    /// After it.
    After,
}

/// What there is to do after some bytes were read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scanned {
    /// The batch is full.
    Full,
    /// More bytes are needed.
    Hungry,
    /// The list has ended.
    End,
}

/// What a cell or a row came to.
enum Step {
    /// It ends here.
    To(usize),
    /// It is not whole yet.
    Partial,
}

type ScanResult<T> = Result<T, &'static str>;

impl RowScanner {
    pub(super) fn new(decoders: Arc<[CellDecoder]>, skip: u64) -> Self {
        Self {
            decoders,
            pending: Vec::new(),
            at: 0,
            place: ScanPlace::Before,
            rows: 0,
            skip,
            enough: 0,
            scratch: CellScratch::default(),
            unescaped: Vec::new(),
        }
    }

    /// Takes the next bytes.
    pub(super) fn feed(&mut self, piece: &[u8]) {
        self.pending.drain(..self.at);
        self.at = 0;
        self.pending.extend_from_slice(piece);
    }

    /// Rows that were read so far, known ones included.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Reads rows into `batch`. The error is the end of a sentence.
    pub(super) fn scan(&mut self, batch: &mut RowBatch) -> ScanResult<Scanned> {
        if self.place == ScanPlace::Before && !self.find_list()? {
            return Ok(Scanned::Hungry);
        }
        while self.place == ScanPlace::Rows {
            if batch.is_full() {
                return Ok(Scanned::Full);
            }
            let Some(at) = self.next_not_blank(self.at) else { return Ok(Scanned::Hungry) };
            match self.pending[at] {
                b',' => self.at = at + 1,
                b']' => (self.at, self.place) = (at + 1, ScanPlace::After),
                b'[' => {
                    if self.pending.len() < self.enough {
                        return Ok(Scanned::Hungry);
                    }
                    let before = batch.len();
                    match self.row(at, batch)? {
                        Step::To(end) => {
                            (self.at, self.enough) = (end, 0);
                            self.rows += 1;
                        }
                        Step::Partial => {
                            batch.truncate(before);
                            if self.pending.len() - at > MAX_ROW_BYTES {
                                return Err("a row is larger than 128 MiB");
                            }
                            self.feed(&[]);
                            self.enough = self.pending.len() * 2;
                            return Ok(Scanned::Hungry);
                        }
                    }
                }
                _ => return Err("the list of rows holds something else than rows"),
            }
        }
        Ok(Scanned::End)
    }

    /// True when no byte more can complete the row that was begun: reads it although it would wait for more.
    pub(super) fn finish(&mut self, batch: &mut RowBatch) -> ScanResult<Scanned> {
        self.enough = 0;
        self.scan(batch)
    }

    /// Goes to the first row; `false` when more bytes are needed.
    fn find_list(&mut self) -> ScanResult<bool> {
        let Some(first) = self.next_not_blank(0) else { return Ok(false) };
        match self.pending[first] {
            b'[' => self.at = first + 1,
            b'{' => match list_of(&self.pending, first)? {
                Some(at) => self.at = at,
                None => return Ok(false),
            },
            _ => return Err("the answer is no JSON"),
        }
        self.place = ScanPlace::Rows;
        Ok(true)
    }

    fn next_not_blank(&self, from: usize) -> Option<usize> {
        self.pending[from..].iter().position(|b| !b.is_ascii_whitespace()).map(|at| from + at)
    }

    /// Reads the row that begins at `from`.
    fn row(&mut self, from: usize, batch: &mut RowBatch) -> ScanResult<Step> {
        let keep = self.rows >= self.skip;
        let mut at = from + 1;
        let mut column = 0;
        loop {
            let Some(next) = self.next_not_blank(at) else { return Ok(Step::Partial) };
            match self.pending[next] {
                b']' if column == self.decoders.len() => return Ok(Step::To(next + 1)),
                b',' if column > 0 => {
                    let Some(next) = self.next_not_blank(next + 1) else { return Ok(Step::Partial) };
                    at = next;
                }
                b']' => return Err("a row has less cells than there are columns"),
                _ if column == 0 => at = next,
                _ => return Err("a row is no list of cells"),
            }
            if column >= self.decoders.len() {
                return Err("a row has more cells than there are columns");
            }
            match self.cell(at, self.decoders[column], keep.then_some(&mut *batch))? {
                Step::To(end) => at = end,
                Step::Partial => return Ok(Step::Partial),
            }
            column += 1;
        }
    }

    /// Reads the cell that begins at `from`.
    fn cell(&mut self, from: usize, decoder: CellDecoder, batch: Option<&mut RowBatch>) -> ScanResult<Step> {
        let rest = &self.pending[from..];
        if rest[0] != b'"' {
            let Some(length) = rest.iter().position(|b| matches!(b, b',' | b']')) else { return Ok(Step::Partial) };
            let bare = rest[..length].trim_ascii();
            if let Some(batch) = batch {
                match bare {
                    b"null" => batch.push(Value::Null),
                    bare => batch.push(decode::value(decoder, bare, &mut self.scratch)),
                }
            }
            return Ok(Step::To(from + length));
        }
        let Some(found) = memchr2(b'"', b'\\', &rest[1..]).map(|at| at + 1) else { return Ok(Step::Partial) };
        if rest[found] == b'"' {
            if let Some(batch) = batch {
                batch.push(decode::value(decoder, &rest[1..found], &mut self.scratch));
            }
            return Ok(Step::To(from + found + 1));
        }
        let Some(length) = unescape(&rest[1..], &mut self.unescaped)? else { return Ok(Step::Partial) };
        if let Some(batch) = batch {
            batch.push(decode::value(decoder, &self.unescaped, &mut self.scratch));
        }
        Ok(Step::To(from + 1 + length))
    }
}

/// Where the rows of `{…, "data": [` begin; `None` when that is not there yet. Other members are passed over.
fn list_of(json: &[u8], from: usize) -> ScanResult<Option<usize>> {
    let (mut at, mut depth) = (from + 1, 1);
    let mut last: &[u8] = b"";
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => {
                let start = at + 1;
                let mut end = start;
                loop {
                    let Some(found) = memchr2(b'"', b'\\', &json[end..]).map(|found| end + found) else {
                        return Ok(None);
                    };
                    if json[found] == b'"' {
                        last = &json[start..found];
                        at = found;
                        break;
                    }
                    end = found + 2;
                    if end > json.len() {
                        return Ok(None);
                    }
                }
            }
            b'[' if depth == 1 && last == b"data" => return Ok(Some(at + 1)),
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Err("the answer holds no rows");
        }
        at += 1;
    }
    Ok(None)
}

/// The text up to its closing quote, escapes resolved, and the length with the quote; `None` when it is not whole.
fn unescape(text: &[u8], out: &mut Vec<u8>) -> ScanResult<Option<usize>> {
    out.clear();
    let mut at = 0;
    loop {
        let Some(found) = memchr2(b'"', b'\\', &text[at..]).map(|found| at + found) else { return Ok(None) };
        out.extend_from_slice(&text[at..found]);
        if text[found] == b'"' {
            return Ok(Some(found + 1));
        }
        let Some(escape) = text.get(found + 1) else { return Ok(None) };
        at = found + 2;
        match escape {
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'r' => out.push(b'\r'),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'"' | b'\\' | b'/' => out.push(*escape),
            b'u' => {
                let Some(first) = unit(text, at) else { return Ok(None) };
                let first = first?;
                at += 4;
                let character = match first {
                    0xd800..=0xdbff => {
                        if text.len() < at + 6 {
                            return Ok(None);
                        }
                        let low = unit(text, at + 2).transpose()?.filter(|low| (0xdc00..=0xdfff).contains(low));
                        match low {
                            Some(low) if &text[at..at + 2] == b"\\u" => {
                                at += 6;
                                char::from_u32(0x10000 + ((first - 0xd800) << 10) + (low - 0xdc00))
                            }
                            _ => None,
                        }
                    }
                    first => char::from_u32(first),
                };
                // Half a character cannot be text.
                let mut buffer = [0; 4];
                out.extend_from_slice(character.unwrap_or('\u{fffd}').encode_utf8(&mut buffer).as_bytes());
            }
            _ => return Err("a text has an escape that JSON does not know"),
        }
    }
}

/// Four hexadecimal digits.
fn unit(text: &[u8], at: usize) -> Option<ScanResult<u32>> {
    let digits = text.get(at..at + 4)?;
    let value = digits.iter().try_fold(0, |value, byte| Some(value * 16 + char::from(*byte).to_digit(16)?));
    Some(value.ok_or("a text has an escape that JSON does not know"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan_in(pieces: &[&[u8]], columns: usize, skip: u64) -> ScanResult<Vec<Vec<String>>> {
        let mut scanner = RowScanner::new(vec![CellDecoder::Text; columns].into(), skip);
        let (mut out, mut ended) = (Vec::new(), false);
        for (at, piece) in pieces.iter().enumerate() {
            scanner.feed(piece);
            loop {
                let mut batch = RowBatch::new(columns);
                let last = at + 1 == pieces.len();
                let scanned = if last { scanner.finish(&mut batch)? } else { scanner.scan(&mut batch)? };
                out.extend(batch.rows().map(|r| (0..columns).map(|c| format!("{:?}", r.value(c))).collect::<Vec<_>>()));
                ended |= scanned == Scanned::End;
                if scanned != Scanned::Full {
                    break;
                }
            }
        }
        if ended { Ok(out) } else { Err("not ended") }
    }

    #[test]
    fn rows_are_found_however_the_bytes_are_cut() {
        let texts = [
            r#"{"code":"1","x":{"data":[["no","no"]]},"data":[["a",null],[ "b\"\\\n\u00e9\ud83c\udf0a" , "]},[" ],["",7]],"y":[1]}"#,
            r#"[["a",null],[ "b\"\\\n\u00e9\ud83c\udf0a" , "]},[" ],["",7]]"#,
        ];
        for text in texts {
            let whole = scan_in(&[text.as_bytes()], 2, 0).unwrap();
            assert_eq!(whole.len(), 3);
            assert_eq!(whole[0], ["Text(\"a\")", "Null"]);
            assert_eq!(whole[1], ["Text(\"b\\\"\\\\\\né🌊\")", "Text(\"]},[\")"]);
            assert_eq!(whole[2], ["Text(\"\")", "Text(\"7\")"]);
            for cut in 0..text.len() {
                let pieces = [&text.as_bytes()[..cut], &text.as_bytes()[cut..]];
                assert_eq!(scan_in(&pieces, 2, 0).unwrap(), whole, "cut at {cut}");
            }
            let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(scan_in(&single, 2, 0).unwrap(), whole);
            assert_eq!(scan_in(&[text.as_bytes()], 2, 2).unwrap(), whole[2..], "rows that are known are passed over");
        }
        assert!(scan_in(&[b"[]"], 2, 0).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_list_of_rows_is_told() {
        for (text, part) in [
            ("<html>", "no JSON"),
            ("{\"code\":\"1\"}", "no rows"),
            ("[[\"a\"]]", "less cells"),
            ("[[\"a\",\"b\",\"c\"]]", "more cells"),
            ("[7]", "something else"),
            ("[[\"\\x\",\"b\"]]", "escape"),
            ("[[\"a\",\"b\"]", "not ended"),
            ("[[\"a\",\"b", "not ended"),
        ] {
            assert!(scan_in(&[text.as_bytes()], 2, 0).unwrap_err().contains(part), "{text}");
        }
    }
}
