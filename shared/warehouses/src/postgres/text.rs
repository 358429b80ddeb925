//! Values that destinations take as text: intervals and times with a zone in the forms of ISO 8601, addresses as
//! PostgreSQL writes them. Each is written into the buffer and borrowed from there; `None`: the bytes do not fit.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use domain::value::Value;

const SECOND: u64 = 1_000_000;

fn integer<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// `P1Y2M3DT4H5M6.5S`; every part has its own sign, and nothing at all is `PT0S`.
pub(crate) fn interval<'a>(bytes: &[u8], out: &'a mut String) -> Option<Value<'a>> {
    let micros = i64::from_be_bytes(integer(bytes, 0)?);
    let days = i32::from_be_bytes(integer(bytes, 8)?);
    let months = i32::from_be_bytes(integer(bytes, 12)?);
    if bytes.len() != 16 {
        return None;
    }
    // PostgreSQL 17 writes an infinite interval as the extremes of all three.
    if matches!((micros, days, months), (i64::MAX, i32::MAX, i32::MAX) | (i64::MIN, i32::MIN, i32::MIN)) {
        return Some(Value::Unreadable("infinity"));
    }
    out.clear();
    out.push('P');
    for (count, unit) in [(months / 12, 'Y'), (months % 12, 'M'), (days, 'D')] {
        if count != 0 {
            let _ = write!(out, "{count}{unit}");
        }
    }
    if micros != 0 || out.len() == 1 {
        out.push('T');
        let sign = if micros < 0 { "-" } else { "" };
        let left = micros.unsigned_abs();
        let (hours, minutes, seconds, fraction) =
            (left / (3600 * SECOND), left / (60 * SECOND) % 60, left / SECOND % 60, left % SECOND);
        for (count, unit) in [(hours, 'H'), (minutes, 'M')] {
            if count != 0 {
                let _ = write!(out, "{sign}{count}{unit}");
            }
        }
        if fraction != 0 {
            let _ = write!(out, "{sign}{seconds}.{fraction:06}");
            out.truncate(out.trim_end_matches('0').len());
            out.push('S');
        } else if seconds != 0 || micros == 0 {
            let _ = write!(out, "{sign}{seconds}S");
        }
    }
    Some(Value::Text(out))
}

/// `12:34:56.000001+02:00`. On the wire the zone is in seconds west of Greenwich.
pub(crate) fn time_with_zone<'a>(bytes: &[u8], out: &'a mut String) -> Option<Value<'a>> {
    let micros = u64::try_from(i64::from_be_bytes(integer(bytes, 0)?)).ok()?;
    let west = i32::from_be_bytes(integer(bytes, 8)?);
    if bytes.len() != 12 {
        return None;
    }
    out.clear();
    let _ =
        write!(out, "{:02}:{:02}:{:02}", micros / (3600 * SECOND), micros / (60 * SECOND) % 60, micros / SECOND % 60);
    if !micros.is_multiple_of(SECOND) {
        let _ = write!(out, ".{:06}", micros % SECOND);
    }
    let zone = west.unsigned_abs();
    let _ = write!(out, "{}{:02}:{:02}", if west > 0 { '-' } else { '+' }, zone / 3600, zone / 60 % 60);
    if !zone.is_multiple_of(60) {
        let _ = write!(out, ":{:02}", zone % 60);
    }
    Some(Value::Text(out))
}

/// `192.0.2.1`, `192.0.2.0/24`, `2001:db8::/32`. A host's full prefix is left out, a network's never.
pub(crate) fn address<'a>(bytes: &[u8], out: &'a mut String) -> Option<Value<'a>> {
    let [family, bits, is_network, length] = integer(bytes, 0)?;
    let address = bytes.get(4..)?;
    if address.len() != usize::from(length) {
        return None;
    }
    out.clear();
    // The families are the server's own numbers: 2 for IPv4 and 3 for IPv6.
    let full = match family {
        2 => write!(out, "{}", Ipv4Addr::from(integer::<4>(address, 0)?)).map(|()| 32),
        3 => write!(out, "{}", Ipv6Addr::from(integer::<16>(address, 0)?)).map(|()| 128),
        _ => return None,
    };
    if is_network != 0 || Ok(bits) != full {
        let _ = write!(out, "/{bits}");
    }
    Some(Value::Text(out))
}

/// `08:00:2b:01:02:03`, of six bytes or eight.
pub(crate) fn hardware_address<'a>(bytes: &[u8], out: &'a mut String) -> Option<Value<'a>> {
    if bytes.len() != 6 && bytes.len() != 8 {
        return None;
    }
    out.clear();
    for (i, byte) in bytes.iter().enumerate() {
        let _ = write!(out, "{}{byte:02x}", if i == 0 { "" } else { ":" });
    }
    Some(Value::Text(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(micros: i64, days: i32, months: i32) -> Vec<u8> {
        [&micros.to_be_bytes()[..], &days.to_be_bytes(), &months.to_be_bytes()].concat()
    }

    #[test]
    fn intervals_are_iso_durations() {
        for (micros, days, months, expected) in [
            (0, 0, 0, "PT0S"),
            (14_706_500_000, 3, 14, "P1Y2M3DT4H5M6.5S"),
            (0, -1, 0, "P-1D"),
            (-1, 0, 0, "PT-0.000001S"),
            (-3_600_000_000, 2, -1, "P-1M2DT-1H"),
            (90_000_000, 0, 0, "PT1M30S"),
            (i64::MIN, 0, 0, "PT-2562047788H-54.775808S"),
        ] {
            assert_eq!(interval(&wire(micros, days, months), &mut "old".into()), Some(Value::Text(expected)));
        }
        assert_eq!(
            interval(&wire(i64::MAX, i32::MAX, i32::MAX), &mut String::new()),
            Some(Value::Unreadable("infinity"))
        );
        assert_eq!(interval(&[0; 15], &mut String::new()), None);
    }

    #[test]
    fn times_have_their_zone() {
        for (micros, west, expected) in [
            (45_296_000_001i64, -7200i32, "12:34:56.000001+02:00"),
            (0, 0, "00:00:00+00:00"),
            (86_400_000_000, 12_645, "24:00:00-03:30:45"),
        ] {
            let bytes = [&micros.to_be_bytes()[..], &west.to_be_bytes()].concat();
            assert_eq!(time_with_zone(&bytes, &mut String::new()), Some(Value::Text(expected)));
        }
        assert_eq!(time_with_zone(&[0; 8], &mut String::new()), None);
    }

    #[test]
    fn addresses_are_plain() {
        for (bytes, expected) in [
            (&[2, 32, 0, 4, 192, 0, 2, 1][..], "192.0.2.1"),
            (&[2, 24, 0, 4, 192, 0, 2, 1], "192.0.2.1/24"),
            (&[2, 32, 1, 4, 192, 0, 2, 1], "192.0.2.1/32"),
            (&[3, 128, 0, 16, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], "2001:db8::1"),
        ] {
            assert_eq!(address(bytes, &mut String::new()), Some(Value::Text(expected)));
        }
        assert_eq!(address(&[2, 32, 0, 3, 1, 2, 3], &mut String::new()), None);
        assert_eq!(
            hardware_address(&[8, 0, 0x2b, 1, 2, 3], &mut String::new()),
            Some(Value::Text("08:00:2b:01:02:03"))
        );
        assert_eq!(hardware_address(&[8], &mut String::new()), None);
    }
}
