//! Cross-origin resource sharing: what browsers are told (developer guide, "Cross-origin resource sharing (CORS)"; Fetch
//! standard, "CORS protocol").
//!
//! The settings of the URL win over headers that the function sets itself.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::{Deserialize, Serialize};

const ANY: &str = "*";

/// The settings, spelled as the API spells them (service model: `Cors`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Cors {
    /// Whether cookies and the like may be sent along.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_credentials: Option<bool>,
    /// Request headers that scripts may set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_headers: Option<Vec<String>>,
    /// Methods that scripts may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_methods: Option<Vec<String>>,
    /// Origins whose scripts may call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_origins: Option<Vec<String>>,
    /// Response headers that scripts may read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expose_headers: Option<Vec<String>>,
    /// How long a browser may keep this, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<u32>,
}

impl Cors {
    /// Whether a request only asks what it may: then the platform answers it, and the function does not run.
    #[must_use]
    pub fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
        method == Method::OPTIONS && headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// The headers of the answer to a preflight; none for an origin or a method that is not allowed.
    #[must_use]
    pub fn preflight(&self, request: &HeaderMap) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let Some(origin) = self.allowed_origin(request) else { return headers };
        let asked = request.get(ACCESS_CONTROL_REQUEST_METHOD).and_then(|method| method.to_str().ok());
        let methods = self.allow_methods.as_deref().unwrap_or_default();
        let allowed = |asked: &str| methods.iter().any(|method| method == ANY || method.eq_ignore_ascii_case(asked));
        if !asked.is_some_and(allowed) {
            return headers;
        }
        self.set_origin(origin, &mut headers);
        set(&mut headers, ACCESS_CONTROL_ALLOW_METHODS, &methods.join(","));
        set(&mut headers, ACCESS_CONTROL_ALLOW_HEADERS, &list(self.allow_headers.as_deref()));
        if let Some(max_age) = self.max_age {
            set(&mut headers, ACCESS_CONTROL_MAX_AGE, &max_age.to_string());
        }
        headers
    }

    /// Puts into a response what belongs there, in place of what the function may have put there.
    pub fn apply(&self, request: &HeaderMap, response: &mut HeaderMap) {
        for name in [
            ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_ALLOW_CREDENTIALS,
            ACCESS_CONTROL_ALLOW_METHODS,
            ACCESS_CONTROL_ALLOW_HEADERS,
            ACCESS_CONTROL_EXPOSE_HEADERS,
            ACCESS_CONTROL_MAX_AGE,
        ] {
            response.remove(name);
        }
        let Some(origin) = self.allowed_origin(request) else { return };
        self.set_origin(origin, response);
        set(response, ACCESS_CONTROL_EXPOSE_HEADERS, &list(self.expose_headers.as_deref()));
    }

    fn allowed_origin<'a>(&self, request: &'a HeaderMap) -> Option<&'a str> {
        let origin = request.get(ORIGIN)?.to_str().ok()?;
        let allowed = self.allow_origins.as_deref().unwrap_or_default();
        allowed.iter().any(|known| known == ANY || known.eq_ignore_ascii_case(origin)).then_some(origin)
    }

    /// `*` is no answer to a request with credentials (Fetch standard, "CORS check"), so those get their origin back.
    fn set_origin(&self, origin: &str, headers: &mut HeaderMap) {
        let credentials = self.allow_credentials == Some(true);
        let any = self.allow_origins.iter().flatten().any(|known| known == ANY);
        set(headers, ACCESS_CONTROL_ALLOW_ORIGIN, if any && !credentials { ANY } else { origin });
        if !any || credentials {
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
        if credentials {
            set(headers, ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        }
    }
}

fn list(names: Option<&[String]>) -> String {
    names.unwrap_or_default().join(",")
}

/// Nothing is said where there is nothing to say, or what was configured can't be said.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let (false, Ok(value)) = (value.is_empty(), HeaderValue::from_str(value)) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cors(origins: &[&str]) -> Cors {
        let owned = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect());
        Cors {
            allow_credentials: None,
            allow_headers: owned(&["x-one", "x-two"]),
            allow_methods: owned(&["GET", "POST"]),
            allow_origins: owned(origins),
            expose_headers: owned(&["x-seen"]),
            max_age: Some(300),
        }
    }

    fn request(origin: &str, method: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, origin.parse().unwrap());
        headers.insert(ACCESS_CONTROL_REQUEST_METHOD, method.parse().unwrap());
        headers
    }

    fn told(headers: &HeaderMap) -> Vec<(&str, &str)> {
        let mut told: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        told.sort_unstable();
        told
    }

    #[test]
    fn a_preflight_is_told_what_is_allowed() {
        let asked = request("https://a.example", "POST");
        assert!(Cors::is_preflight(&Method::OPTIONS, &asked));
        assert!(!Cors::is_preflight(&Method::OPTIONS, &HeaderMap::new()));
        assert!(!Cors::is_preflight(&Method::GET, &asked));
        let expected = [
            ("access-control-allow-headers", "x-one,x-two"),
            ("access-control-allow-methods", "GET,POST"),
            ("access-control-allow-origin", "*"),
            ("access-control-max-age", "300"),
        ];
        assert_eq!(told(&cors(&["*"]).preflight(&asked)), expected);
        assert_eq!(told(&cors(&["*"]).preflight(&request("https://a.example", "DELETE"))), []);
        assert_eq!(told(&cors(&["https://b.example"]).preflight(&asked)), []);
    }

    #[test]
    fn a_response_says_who_may_read_it_and_the_settings_win() {
        let mut response = HeaderMap::new();
        response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, "https://evil.example".parse().unwrap());
        let settings = Cors { allow_credentials: Some(true), ..cors(&["https://a.example"]) };
        settings.apply(&request("https://a.example", "GET"), &mut response);
        let expected = [
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-origin", "https://a.example"),
            ("access-control-expose-headers", "x-seen"),
            ("vary", "Origin"),
        ];
        assert_eq!(told(&response), expected);
        let mut response = HeaderMap::new();
        response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, "*".parse().unwrap());
        settings.apply(&request("https://b.example", "GET"), &mut response);
        assert_eq!(told(&response), []);
    }

    proptest! {
        /// An origin that is not allowed is never told that it is.
        #[test]
        fn strangers_are_told_nothing(origin in "https://[a-z]{1,8}\\.example", credentials: bool) {
            let settings = Cors { allow_credentials: Some(credentials), ..cors(&["https://the-one.example"]) };
            prop_assert!(settings.preflight(&request(&origin, "GET")).is_empty());
        }

        /// With credentials no answer is a star.
        #[test]
        fn credentials_and_the_star_never_meet(origin in "https://[a-z]{1,8}\\.example") {
            let settings = Cors { allow_credentials: Some(true), ..cors(&["*"]) };
            let told = settings.preflight(&request(&origin, "GET"));
            prop_assert_eq!(told[ACCESS_CONTROL_ALLOW_ORIGIN].to_str().unwrap(), origin);
        }
    }
}
