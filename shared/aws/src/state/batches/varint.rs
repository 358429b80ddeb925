//! Small numbers in few bytes: seven bits to a byte, lowest first.

pub(in crate::state) fn push(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes still to be read; what is not there is `None`.
pub(in crate::state) struct VarintReader<'a>(pub(in crate::state) &'a [u8]);

impl<'a> VarintReader<'a> {
    pub(in crate::state) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    pub(in crate::state) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(in crate::state) fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for value in [0, 1, 127, 128, 300, 1 << 40, u64::MAX] {
            let mut out = Vec::new();
            push(&mut out, value);
            assert_eq!(VarintReader(&out).varint(), Some(value));
            assert_eq!(VarintReader(&out[1..]).varint().is_some(), value > 127);
        }
    }
}
