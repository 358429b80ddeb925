//! A batch as the text of a message, and back. Three lines: what wrote it and in which version, the header as JSON, the
//! body in base64 or where in the bucket it is. A reader takes every version it knows; a writer writes the newest.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use domain::batch::{BatchHeader, Message};

const VERSION: &str = "sluicegate/1";
/// What the third line begins with when the body is elsewhere. No base64 has a colon.
const ELSEWHERE: &str = "s3:";
/// Bytes that a head has at most, but for layouts of very many fields.
const HEAD: usize = 8 * 1024;
/// What every place of a body begins with: the bucket's lifecycle rule goes by it.
const FOLDER: &str = "batches/";

/// A message that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    Whole(Message),
    /// Its body is the object of this key, of so many bytes.
    Elsewhere {
        header: BatchHeader,
        key: String,
        /// The size of the body.
        bytes: usize,
    },
}

/// The first two lines.
pub(super) fn head(header: &BatchHeader) -> Result<String, String> {
    let header = serde_json::to_string(header).map_err(|e| format!("its header cannot be written as JSON ({e})"))?;
    Ok(format!("{VERSION}\n{header}\n"))
}

/// Bytes of the text of a message with this head and a body of so many bytes.
pub(super) fn size(head: &str, body: usize) -> usize {
    head.len() + (body * 4).div_ceil(3)
}

/// Bytes of a body that fit into a text of `most` bytes with a head of no more than [`HEAD`].
pub(super) fn body_within(most: usize) -> usize {
    most.saturating_sub(HEAD) / 4 * 3
}

/// The text of a message with its body.
pub(super) fn whole(mut head: String, body: &[u8]) -> String {
    head.reserve((body.len() * 4).div_ceil(3));
    STANDARD_NO_PAD.encode_string(body, &mut head);
    head
}

/// Where the body of a batch goes that is too large for a message.
pub(super) fn key(header: &BatchHeader) -> String {
    format!("{FOLDER}{}/{:06}", header.run, header.number)
}

/// The text of a message whose body is elsewhere.
pub(super) fn pointer(head: String, key: &str, bytes: usize) -> String {
    format!("{head}{ELSEWHERE}{key}:{bytes}")
}

/// The place that the text points to, if it does.
pub(super) fn place(text: &str) -> Option<&str> {
    let (key, _) = text.splitn(3, '\n').nth(2)?.strip_prefix(ELSEWHERE)?.rsplit_once(':')?;
    // Only what is a body of a batch: a text that anyone wrote must not lead to another object.
    key.strip_prefix(FOLDER).filter(|rest| !rest.is_empty() && !rest.contains("..")).map(|_| key)
}

/// Reads a text. The error says what is wrong with it and repeats nothing of it.
pub(super) fn read(text: &str) -> Result<Read, String> {
    let mut lines = text.splitn(3, '\n');
    match lines.next() {
        Some(VERSION) => {}
        Some(line) if line.starts_with("sluicegate/") => {
            return Err("a newer version of Sluicegate wrote it: deploy the stack again, the writers are old".into());
        }
        _ => return Err("it is not from Sluicegate".into()),
    }
    let (Some(header), Some(body)) = (lines.next(), lines.next()) else { return Err("it is cut off".into()) };
    // The error of the parser repeats what it read.
    let header: BatchHeader = serde_json::from_str(header)
        .map_err(|e| format!("its header cannot be read (line {} column {} of it)", e.line(), e.column()))?;
    if !body.starts_with(ELSEWHERE) {
        let body = STANDARD_NO_PAD.decode(body).map_err(|_| "its body is damaged".to_owned())?;
        return Ok(Read::Whole(Message { header, body: body.into() }));
    }
    let bytes = body.rsplit_once(':').and_then(|(_, bytes)| bytes.parse().ok());
    match (place(text), bytes) {
        (Some(key), Some(bytes)) => Ok(Read::Elsewhere { header, key: key.to_owned(), bytes }),
        _ => Err("the place of its body cannot be read".into()),
    }
}

#[cfg(test)]
mod tests {
    use domain::layout::{Field, Layout};
    use domain::mode::Op;
    use domain::value::Type;

    use super::*;

    fn header() -> BatchHeader {
        BatchHeader {
            sync: "crm\ncontacts".into(),
            sync_version: "v1".into(),
            run: "20260102T030405.678Z-12-5f3a9c1e".into(),
            generation: 12,
            number: 7,
            op: Op::Upsert,
            records: 2,
            bucket_bits: 4,
            sample_below: 0,
            layout: Layout::new(vec![Field { name: "email".into(), kind: Type::Any, identifier: true }]),
        }
    }

    #[test]
    fn a_message_reads_back() {
        for body in [vec![], vec![0], vec![1, 2], vec![255; 1000]] {
            let head = head(&header()).unwrap();
            let expected = size(&head, body.len());
            let text = whole(head, &body);
            assert_eq!(text.len(), expected, "the size is known before the text is made");
            assert_eq!(place(&text), None);
            assert_eq!(read(&text), Ok(Read::Whole(Message { header: header(), body: body.into() })));
        }
    }

    #[test]
    fn a_pointer_reads_back() {
        let key = key(&header());
        assert_eq!(key, "batches/20260102T030405.678Z-12-5f3a9c1e/000007");
        let text = pointer(head(&header()).unwrap(), &key, 300_000);
        assert_eq!(place(&text), Some(key.as_str()));
        assert_eq!(read(&text), Ok(Read::Elsewhere { header: header(), key, bytes: 300_000 }));
    }

    #[test]
    fn what_is_wrong_is_said_and_not_repeated() {
        let head = head(&header()).unwrap();
        for (text, what) in [
            (String::new(), "not from Sluicegate"),
            ("planted-record".into(), "not from Sluicegate"),
            ("{\"planted-record\": 1}\n\n".into(), "not from Sluicegate"),
            ("sluicegate/2\nplanted-record\n".into(), "newer version"),
            ("sluicegate/1\n{}".into(), "cut off"),
            (
                "sluicegate/1\n{\"sync\": \"planted-record\", \"records\": \"planted-record\"}\n".into(),
                "header cannot be read",
            ),
            (format!("{head}planted-record!"), "body is damaged"),
            (format!("{head}s3:plans/planted-record:7"), "place of its body"),
            (format!("{head}s3:batches/../plans/planted-record:7"), "place of its body"),
            (format!("{head}s3:batches/planted-record:many"), "place of its body"),
        ] {
            let said = read(&text).unwrap_err();
            assert!(said.contains(what) && !said.contains("planted"), "{text}: {said}");
        }
    }
}
