//! Which addresses a destination may have: what a name resolves to is filtered here, and the connection is
//! made to an address that passed. Not here: anything about names, which prove nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Host;

use super::error::SendError;

/// How long preflight waits for an answer of the resolver.
const LOOKUP: Duration = Duration::from_secs(10);

/// An address that must not be connected to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{host} is the {kind} address {address}, which is refused; set `allow_private: true` on the connection if that is meant"
)]
pub struct BlockedAddress {
    /// The host as the URL has it.
    pub host: String,
    /// The address it stands for.
    pub address: IpAddr,
    /// What kind of address that is.
    pub kind: &'static str,
}

/// Why an address is refused, in a word or two; `None` when it is public.
pub fn refused(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => refused_v4(v4),
        IpAddr::V6(v6) => refused_v6(v6),
    }
}

fn refused_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [0, ..] => Some("unspecified"),
        [127, ..] => Some("loopback"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some("private"),
        [100, 64..=127, ..] => Some("private (carrier-grade NAT)"),
        [169, 254, ..] => Some("link-local"),
        [192, 0, 0, _] | [198, 18..=19, ..] | [240..=255, ..] => Some("reserved"),
        [224..=239, ..] => Some("multicast"),
        _ => None,
    }
}

fn refused_v6(address: Ipv6Addr) -> Option<&'static str> {
    let v4 = |high: u16, low: u16| refused_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("unspecified"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("loopback"),
        // IPv4 in IPv6 is what the IPv4 address is: compatible, mapped, translated, NAT64, 6to4.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => v4(high, low),
        [0x64, 0xff9b, 1, ..] => Some("private (local NAT64)"),
        [0x2001, 0, ..] => Some("tunnelled (Teredo)"),
        [0x100, 0, 0, 0, ..] => Some("reserved"),
        [0xfc00..=0xfdff, ..] => Some("private"),
        [0xfe80..=0xfebf, ..] => Some("link-local"),
        [0xfec0..=0xfeff, ..] => Some("private (site-local)"),
        [0xff00..=0xffff, ..] => Some("multicast"),
        _ => None,
    }
}

/// Checks an address that stands in the URL itself: the client connects to it without asking the resolver.
pub(super) fn check_literal(url: &Url, allow_private: bool) -> Result<(), BlockedAddress> {
    let address = match url.host() {
        Some(Host::Ipv4(v4)) => IpAddr::V4(v4),
        Some(Host::Ipv6(v6)) => IpAddr::V6(v6),
        _ => return Ok(()),
    };
    passes(&address.to_string(), address, allow_private)
}

fn passes(host: &str, address: IpAddr, allow_private: bool) -> Result<(), BlockedAddress> {
    match refused(address) {
        Some(kind) if !allow_private => Err(BlockedAddress { host: host.to_owned(), address, kind }),
        _ => Ok(()),
    }
}

/// The addresses of a name that may be connected to. Refused ones are left out; when none is left, the
/// first refusal is the answer.
fn filter(
    host: &str,
    found: impl Iterator<Item = SocketAddr>,
    allow_private: bool,
) -> Result<Vec<SocketAddr>, BlockedAddress> {
    let (mut kept, mut first) = (Vec::new(), None);
    for address in found {
        match passes(host, address.ip(), allow_private) {
            Ok(()) => kept.push(address),
            Err(refusal) => first = first.or(Some(refusal)),
        }
    }
    match first {
        Some(refusal) if kept.is_empty() => Err(refusal),
        _ => Ok(kept),
    }
}

/// Resolves the URL's host now and returns the addresses that a request would be sent to.
pub(super) async fn look_up(url: &Url, allow_private: bool) -> Result<Vec<IpAddr>, SendError> {
    check_literal(url, allow_private).map_err(|refusal| SendError::Address { detail: refusal.to_string() })?;
    let name = match url.host() {
        Some(Host::Ipv4(v4)) => return Ok(vec![IpAddr::V4(v4)]),
        Some(Host::Ipv6(v6)) => return Ok(vec![IpAddr::V6(v6)]),
        Some(Host::Domain(name)) => name,
        None => return Err(SendError::Address { detail: "the URL has no host".into() }),
    };
    let unresolved = |why: String| SendError::Dns { detail: format!("{name} cannot be resolved: {why}") };
    let found = tokio::time::timeout(LOOKUP, tokio::net::lookup_host((name, 0)))
        .await
        .map_err(|_| unresolved("the resolver does not answer".into()))?
        .map_err(|e| unresolved(e.to_string()))?;
    let kept =
        filter(name, found, allow_private).map_err(|refusal| SendError::Address { detail: refusal.to_string() })?;
    Ok(kept.iter().map(SocketAddr::ip).collect())
}

/// The resolver of the client: what it leaves out cannot be connected to.
pub(super) struct Filtered {
    pub(super) allow_private: bool,
    /// Hosts of proxies, which are where the environment says they are.
    pub(super) proxies: Vec<String>,
}

impl Resolve for Filtered {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private || self.proxies.iter().any(|host| host == name.as_str());
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let kept = filter(name.as_str(), found, allow_private)?;
            let addresses: Addrs = Box::new(kept.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_address_that_is_not_public_is_refused() {
        for (url, kind) in [
            ("http://127.0.0.1/", "loopback"),
            ("http://127.1/", "loopback"),
            ("http://127.0.0.1./", "loopback"),
            ("http://2130706433/", "loopback"),
            ("http://0x7f000001/", "loopback"),
            ("http://0x7f.1/", "loopback"),
            ("http://0177.0.0.1/", "loopback"),
            ("http://127.255.255.254/", "loopback"),
            ("http://[::1]/", "loopback"),
            ("http://[::ffff:127.0.0.1]/", "loopback"),
            ("http://[::127.0.0.1]/", "loopback"),
            ("http://[::ffff:0:127.0.0.1]/", "loopback"),
            ("http://[64:ff9b::7f00:1]/", "loopback"),
            ("http://[2002:7f00:1::]/", "loopback"),
            ("http://0.0.0.0/", "unspecified"),
            ("http://0/", "unspecified"),
            ("http://0.1.2.3/", "unspecified"),
            ("http://[::]/", "unspecified"),
            ("http://169.254.169.254/latest/meta-data", "link-local"),
            ("http://2852039166/", "link-local"),
            ("http://[::ffff:a9fe:a9fe]/", "link-local"),
            ("http://[64:ff9b::169.254.169.254]/", "link-local"),
            ("http://[fe80::1]/", "link-local"),
            ("http://[febf::1]/", "link-local"),
            ("http://10.0.0.1/", "private"),
            ("http://10.255.255.255/", "private"),
            ("http://172.16.0.1/", "private"),
            ("http://172.31.255.255/", "private"),
            ("http://192.168.0.1/", "private"),
            ("http://[::ffff:10.0.0.1]/", "private"),
            ("http://[fc00::1]/", "private"),
            ("http://[fd00:ec2::254]/", "private"),
            ("http://[fec0::1]/", "private (site-local)"),
            ("http://100.64.0.1/", "private (carrier-grade NAT)"),
            ("http://100.127.255.255/", "private (carrier-grade NAT)"),
            ("http://[64:ff9b:1::1]/", "private (local NAT64)"),
            ("http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/", "tunnelled (Teredo)"),
            ("http://224.0.0.1/", "multicast"),
            ("http://239.255.255.255/", "multicast"),
            ("http://[ff02::1]/", "multicast"),
            ("http://192.0.0.1/", "reserved"),
            ("http://198.18.0.1/", "reserved"),
            ("http://198.19.255.255/", "reserved"),
            ("http://240.0.0.1/", "reserved"),
            ("http://255.255.255.255/", "reserved"),
            ("http://[100::1]/", "reserved"),
        ] {
            let parsed = Url::parse(url).unwrap();
            assert_eq!(check_literal(&parsed, false).unwrap_err().kind, kind, "{url}");
            assert_eq!(check_literal(&parsed, true), Ok(()), "{url}");
        }
    }

    #[test]
    fn public_addresses_pass() {
        for url in [
            "http://1.1.1.1/",
            "http://9.255.255.255/",
            "http://11.0.0.1/",
            "http://100.63.255.255/",
            "http://100.128.0.1/",
            "http://126.255.255.255/",
            "http://128.0.0.1/",
            "http://169.253.255.255/",
            "http://169.255.0.1/",
            "http://172.15.255.255/",
            "http://172.32.0.1/",
            "http://192.167.255.255/",
            "http://192.169.0.1/",
            "http://223.255.255.255/",
            "http://[2606:4700::1111]/",
            "http://[::ffff:1.1.1.1]/",
            "http://[64:ff9b::1.1.1.1]/",
            "http://[2002:101:101::]/",
            "http://a-name-is-checked-when-it-is-resolved.test/",
        ] {
            assert_eq!(check_literal(&Url::parse(url).unwrap(), false), Ok(()), "{url}");
        }
    }

    #[test]
    fn only_the_public_addresses_of_a_name_are_left() {
        let of = |list: &[&str], allow| {
            filter(
                "h.test",
                list.iter().map(|a| SocketAddr::new(a.parse().unwrap(), 0)).collect::<Vec<_>>().into_iter(),
                allow,
            )
        };
        assert_eq!(
            of(&["10.0.0.1", "1.1.1.1", "::1"], false).unwrap(),
            [SocketAddr::new("1.1.1.1".parse().unwrap(), 0)]
        );
        assert_eq!(of(&["10.0.0.1", "1.1.1.1", "::1"], true).unwrap().len(), 3);
        let refusal = of(&["10.0.0.1", "::1"], false).unwrap_err().to_string();
        assert!(
            refusal.contains("h.test") && refusal.contains("10.0.0.1") && refusal.contains("`allow_private: true`"),
            "{refusal}"
        );
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_loopback_is_refused() {
        let url = Url::parse("http://localhost:1/").unwrap();
        assert!(
            matches!(look_up(&url, false).await, Err(SendError::Address { detail }) if detail.contains("loopback"))
        );
        assert!(look_up(&url, true).await.unwrap().iter().all(|a| a.is_loopback()));
    }
}
