//! Parameters of paths and queries.

/// Percent-encodes all but unreserved characters (RFC 3986, section 2.3).
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_and_versions_are_encoded() {
        assert_eq!(encoded("my-function_1"), "my-function_1");
        assert_eq!(encoded("echo:$LATEST"), "echo%3A%24LATEST");
        assert_eq!(encoded("a/ä"), "a%2F%C3%A4");
    }
}
