//! The proxies of the environment: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, in capitals or not, as
//! every other client reads them. What is on this very machine (loopback) needs none.

use std::sync::Arc;

use domain::fault::{Code, Fault};
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;
use url::Host;

use super::detail::Redactor;

/// Which requests go through which proxy.
#[derive(Debug, Clone, Default)]
pub(super) struct Proxies(Option<Arc<ProxyTable>>);

#[derive(Debug)]
struct ProxyTable {
    http: Option<Url>,
    https: Option<Url>,
    /// Leaves out what `NO_PROXY` names.
    matcher: Matcher,
}

impl Proxies {
    pub(super) fn from_environment(redactor: &Redactor) -> Result<Self, Fault> {
        Self::read(&super::settings::variable, redactor)
    }

    fn read(variable: &dyn Fn(&str) -> Option<String>, redactor: &Redactor) -> Result<Self, Fault> {
        let either = |name: &str| {
            variable(name).or_else(|| variable(&name.to_lowercase())).filter(|value| !value.trim().is_empty())
        };
        let address = |names: [&str; 2]| match names.into_iter().find_map(|name| Some((name, either(name)?))) {
            None => Ok(None),
            Some((name, text)) => parse(&text).map(Some).ok_or_else(|| {
                let what = format!("The environment variable {name} is not the address of an HTTP proxy.");
                Fault::new(Code::DestinationMisconfigured, what).with_next("write it as http://HOST:PORT, or unset it")
            }),
        };
        // Within a CGI program this variable is a header of whoever asks.
        let http = if variable("REQUEST_METHOD").is_some() { None } else { address(["HTTP_PROXY", "ALL_PROXY"])? };
        let https = address(["HTTPS_PROXY", "ALL_PROXY"])?;
        if http.is_none() && https.is_none() {
            return Ok(Self::default());
        }
        for password in [&http, &https].into_iter().flatten().filter_map(Url::password) {
            redactor.add([password, super::percent::percent_decode(password).as_str()]);
        }
        let matcher = Matcher::builder().all("http://proxy.invalid").no(either("NO_PROXY").unwrap_or_default()).build();
        Ok(Self(Some(Arc::new(ProxyTable { http, https, matcher }))))
    }

    /// Has a client send through them.
    pub(super) fn apply(&self, client: reqwest::ClientBuilder) -> reqwest::ClientBuilder {
        let Some(known) = self.0.clone() else { return client.no_proxy() };
        client.proxy(reqwest::Proxy::custom(move |url| known.of(url).cloned()))
    }

    pub(super) fn hosts(&self) -> Vec<String> {
        let known = self.0.iter().flat_map(|known| [&known.http, &known.https]).flatten();
        known.filter_map(|url| url.host_str().map(str::to_owned)).collect()
    }

    /// The proxy that a request to `url` goes through, as `HOST:PORT`.
    pub(super) fn of(&self, url: &Url) -> Option<String> {
        let proxy = self.0.as_ref()?.of(url)?;
        Some(format!("{}:{}", proxy.host_str()?, proxy.port_or_known_default()?))
    }
}

impl ProxyTable {
    fn of(&self, url: &Url) -> Option<&Url> {
        let local = match url.host()? {
            Host::Domain(name) => name == "localhost" || name.ends_with(".localhost"),
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
        };
        let asked = || self.matcher.intercept(&url.as_str().parse().ok()?);
        if local || asked().is_none() {
            return None;
        }
        if url.scheme() == "https" { self.https.as_ref() } else { self.http.as_ref() }
    }
}

fn parse(text: &str) -> Option<Url> {
    let text = text.trim();
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    Url::parse(&whole).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Proxies, Fault> {
        let find =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Proxies::read(&find, &Redactor::default())
    }

    #[test]
    fn the_usual_variables_mean_what_they_mean_elsewhere() {
        let of = |variables: &[(&str, &str)], url: &str| read(variables).unwrap().of(&Url::parse(url).unwrap());
        let both = [
            ("HTTPS_PROXY", "http://p.test:3128"),
            ("http_proxy", "q.test:8080"),
            ("NO_PROXY", "in.test, .corp.test,10.0.0.0/8"),
        ];
        for (url, expected) in [
            ("https://api.test/x", Some("p.test:3128")),
            ("http://api.test/x", Some("q.test:8080")),
            ("https://in.test/", None),
            ("https://a.in.test/", None),
            ("https://a.corp.test/", None),
            ("https://10.1.2.3/", None),
            ("https://other.test/", Some("p.test:3128")),
            ("http://127.0.0.1:1/", None),
            ("http://[::1]:1/", None),
            ("http://localhost:1/", None),
        ] {
            assert_eq!(of(&both, url).as_deref(), expected, "{url}");
        }
        assert_eq!(of(&[], "https://api.test/"), None);
        assert_eq!(of(&[("HTTPS_PROXY", " ")], "https://api.test/"), None);
        assert_eq!(of(&[("HTTPS_PROXY", "http://p.test")], "http://api.test/"), None, "of the other scheme");
        assert_eq!(of(&[("ALL_PROXY", "http://p.test")], "http://api.test/").as_deref(), Some("p.test:80"));
        assert_eq!(of(&[("NO_PROXY", "*"), ("ALL_PROXY", "http://p.test")], "http://api.test/"), None);
        assert_eq!(of(&[("HTTP_PROXY", "http://p.test"), ("REQUEST_METHOD", "GET")], "http://api.test/"), None);
    }

    #[test]
    fn one_that_is_none_is_told_without_its_password() {
        for wrong in ["socks5://user:hush@p.test", "http://", "ftp://x"] {
            let fault = read(&[("HTTPS_PROXY", wrong)]).unwrap_err().to_string();
            assert!(fault.contains("HTTPS_PROXY") && !fault.contains("hush"), "{fault}");
        }
        let redactor = Redactor::default();
        let find = |name: &str| (name == "HTTPS_PROXY").then(|| "http://user:hush%2Fhush@p.test".to_owned());
        Proxies::read(&find, &redactor).unwrap();
        assert_eq!(redactor.hide("hush/hush hush%2Fhush"), "[secret] [secret]");
    }
}
