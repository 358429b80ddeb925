//! Arrays of any dimension, as JSON.

use domain::value::Value;

use super::decode::{self, Scalar};

const MALFORMED: &str = "bytes that are no array";
const MAX_DIMENSIONS: usize = 6;

/// Appends the array as JSON: nested lists, null as `null`, elements as [`Value::write_json`] does. The error
/// says why the whole array is unreadable.
///
/// On the wire: dimensions, a flag, the type of the elements; length and lower bound of each dimension; then
/// the elements row by row, each with its length (-1 for null).
pub(crate) fn write(of: Scalar, bytes: &[u8], buffer: &mut String, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let mut rest = bytes;
    let dimensions = usize::try_from(number(&mut rest)?).map_err(|_| MALFORMED)?;
    number(&mut rest)?;
    number(&mut rest)?;
    if dimensions > MAX_DIMENSIONS {
        return Err(MALFORMED);
    }
    let mut lengths = [0usize; MAX_DIMENSIONS];
    for length in &mut lengths[..dimensions] {
        *length = usize::try_from(number(&mut rest)?).map_err(|_| MALFORMED)?;
        // A list has no other first place.
        if number(&mut rest)? != 1 {
            return Err("an array whose places do not begin at 1");
        }
    }
    if dimensions == 0 {
        out.extend_from_slice(b"[]");
    } else {
        list(of, &lengths[..dimensions], &mut rest, buffer, out)?;
    }
    if rest.is_empty() { Ok(()) } else { Err(MALFORMED) }
}

fn list(
    of: Scalar,
    lengths: &[usize],
    rest: &mut &[u8],
    buffer: &mut String,
    out: &mut Vec<u8>,
) -> Result<(), &'static str> {
    let Some((length, inner)) = lengths.split_first() else { return element(of, rest, buffer, out) };
    out.push(b'[');
    for i in 0..*length {
        if i > 0 {
            out.push(b',');
        }
        list(of, inner, rest, buffer, out)?;
    }
    out.push(b']');
    Ok(())
}

fn element(of: Scalar, rest: &mut &[u8], buffer: &mut String, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let length = number(rest)?;
    if length == -1 {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    let length = usize::try_from(length).map_err(|_| MALFORMED)?;
    let (bytes, after) = rest.split_at_checked(length).ok_or(MALFORMED)?;
    *rest = after;
    match decode::scalar(of, bytes, buffer) {
        Value::Unreadable(decode::INFINITE) => Err("an array with infinity in it"),
        Value::Unreadable(_) => Err("an array with an unreadable value in it"),
        value => {
            value.write_json(out);
            Ok(())
        }
    }
}

fn number(rest: &mut &[u8]) -> Result<i32, &'static str> {
    let (head, after) = rest.split_first_chunk().ok_or(MALFORMED)?;
    *rest = after;
    Ok(i32::from_be_bytes(*head))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(lengths: &[i32], elements: &[Option<&[u8]>]) -> Vec<u8> {
        let mut numbers = vec![lengths.len() as i32, 0, 0];
        lengths.iter().for_each(|l| numbers.extend([*l, 1]));
        let mut bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_be_bytes()).collect();
        for element in elements {
            bytes.extend(element.map_or(-1, |e| e.len() as i32).to_be_bytes());
            bytes.extend_from_slice(element.unwrap_or_default());
        }
        bytes
    }

    fn json(of: Scalar, bytes: &[u8]) -> Result<String, &'static str> {
        let mut out = Vec::new();
        write(of, bytes, &mut String::new(), &mut out).map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn arrays_become_lists() {
        let (one, two) = (1i32.to_be_bytes(), 2i32.to_be_bytes());
        assert_eq!(json(Scalar::Int4, &wire(&[], &[])), Ok("[]".into()));
        assert_eq!(json(Scalar::Int4, &wire(&[3], &[Some(&one), None, Some(&two)])), Ok("[1,null,2]".into()));
        assert_eq!(json(Scalar::Int4, &wire(&[2, 1], &[Some(&one), Some(&two)])), Ok("[[1],[2]]".into()));
        assert_eq!(
            json(Scalar::Text, &wire(&[2], &[Some("a\"é".as_bytes()), Some(b"")])),
            Ok("[\"a\\\"é\",\"\"]".into())
        );
        assert_eq!(json(Scalar::Date, &wire(&[1], &[Some(&[0; 4])])), Ok("[\"2000-01-01\"]".into()));
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        assert_eq!(
            json(Scalar::Float8, &wire(&[1], &[Some(&f64::INFINITY.to_be_bytes())])),
            Err("an array with infinity in it")
        );
        let whole = wire(&[2], &[Some(&[0; 4]), Some(&[0; 4])]);
        for cut in 0..whole.len() {
            assert_eq!(json(Scalar::Int4, &whole[..cut]), Err(MALFORMED), "{cut}");
        }
        assert_eq!(json(Scalar::Int4, &wire(&[i32::MAX, i32::MAX], &[])), Err(MALFORMED));
        assert_eq!(json(Scalar::Int4, &wire(&[0; 7], &[])), Err(MALFORMED));
        let mut from_zero = whole.clone();
        from_zero[19] = 0;
        assert_eq!(json(Scalar::Int4, &from_zero), Err("an array whose places do not begin at 1"));
    }
}
