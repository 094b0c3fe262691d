//! The host names of URLs: `ID.lambda-url.REGION.DOMAIN`.

use std::net::IpAddr;

use super::URL_ID_CHARS;

const LABEL: &str = "lambda-url";

/// The id in a `Host`, if it is that of a URL. The domain may be any: a proxy in front may have one of its own.
#[must_use]
pub fn url_id_of(host: &str) -> Option<String> {
    let mut labels = host.split('.');
    let id = labels.next()?.to_ascii_lowercase();
    let is_id = id.len() == URL_ID_CHARS && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let is_url = labels.next().is_some_and(|label| label.eq_ignore_ascii_case(LABEL)) && labels.next().is_some();
    (is_id && is_url).then_some(id)
}

/// The URL with this id, under the scheme and authority by which clients reach this platform. An address has no names
/// below it, so `localhost` takes its place: its subdomains are the machine itself (RFC 6761, section 6.3).
#[must_use]
pub fn url_of(id: &str, region: &str, base: &str) -> String {
    let (scheme, authority) = base.split_once("://").unwrap_or(("http", base));
    let authority = authority.trim_end_matches('/');
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => (host, Some(port)),
        _ => (authority, None),
    };
    let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    let domain = if is_address || host.is_empty() { "localhost" } else { host };
    match port {
        Some(port) => format!("{scheme}://{id}.{LABEL}.{region}.{domain}:{port}/"),
        None => format!("{scheme}://{id}.{LABEL}.{region}.{domain}/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "abcdefghijklmnopqrstuvwxyz012345";

    #[test]
    fn a_url_is_known_by_its_host() {
        for domain in ["localhost:9000", "on.aws", "example.com", "LOCALHOST"] {
            let host = format!("{ID}.lambda-url.us-east-1.{domain}");
            assert_eq!(url_id_of(&host).as_deref(), Some(ID));
            assert_eq!(url_id_of(&host.to_uppercase()).as_deref(), Some(ID));
        }
        for other in ["localhost:9000", "127.0.0.1", "", "x.lambda-url.us-east-1.localhost", &format!("{ID}.other.x.y")]
        {
            assert_eq!(url_id_of(other), None, "{other}");
        }
        assert_eq!(url_id_of(&format!("{ID}.lambda-url")), None);
        assert_eq!(url_id_of(&format!("{}é.lambda-url.r.d", &ID[..30])), None);
    }

    #[test]
    fn a_url_lies_below_the_address_of_the_platform() {
        for (base, url) in [
            ("http://127.0.0.1:9000", "http://ID.lambda-url.eu-west-1.localhost:9000/"),
            ("http://[::1]:9000", "http://ID.lambda-url.eu-west-1.localhost:9000/"),
            ("localhost:80", "http://ID.lambda-url.eu-west-1.localhost:80/"),
            ("https://faas.example.com/", "https://ID.lambda-url.eu-west-1.faas.example.com/"),
        ] {
            assert_eq!(url_of("ID", "eu-west-1", base), url);
        }
    }

    #[test]
    fn what_is_given_out_is_known_again() {
        let url = url_of(ID, "us-east-1", "http://127.0.0.1:9000");
        let host = url.trim_start_matches("http://").trim_end_matches('/');
        assert_eq!(url_id_of(host).as_deref(), Some(ID));
    }
}
