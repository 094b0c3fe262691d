//! Requests from the service model: each member missing, right, nearly right or of another kind altogether.

use std::fmt::Write;

use axum::body::Body;
use hearth_frontend::model::{Member, OPERATIONS, Operation, Place, Shape};
use hearth_frontend::routes;
use http::Request;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::{Map, Value, json};

use crate::platform::{ACCOUNT, ROLE, signed_bytes, zip_base64};

/// Functions; the first two always exist at the start of a round.
pub(super) const NAMES: [&str; 4] = ["f0", "f1", "f2", "some_name-3"];
/// Deepest structures that are filled.
const DEPTH: usize = 5;

/// One request before it is signed.
pub(super) struct RawRequest {
    pub(super) operation: &'static str,
    method: &'static str,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

/// Makes them.
pub(super) struct Generator {
    random: StdRng,
    zips: Vec<String>,
    served: Vec<&'static Operation>,
}

impl RawRequest {
    /// None if no HTTP client could send it.
    pub(super) fn signed(&self) -> Option<Request<Body>> {
        signed_bytes(self.method, &self.target, &self.headers, &self.body)
    }
}

impl std::fmt::Debug for RawRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body: String = String::from_utf8_lossy(&self.body).chars().take(2_000).collect();
        write!(f, "{} {} {} {:?} {body}", self.operation, self.method, self.target, self.headers)
    }
}

impl Generator {
    pub(super) fn new(random: StdRng) -> Self {
        let is_served = |name: &str| routes().any(|route| route.name == name && route.is_served());
        let served = OPERATIONS.iter().filter(|operation| is_served(operation.name)).collect();
        Self { random, zips: ["one", "two"].map(zip_base64).to_vec(), served }
    }

    pub(super) fn request(&mut self) -> RawRequest {
        // Three of four ask for something that is served; half of all are meant to be right.
        let operation = if self.chance(0.75) {
            self.served.choose(&mut self.random).copied().unwrap()
        } else {
            OPERATIONS.choose(&mut self.random).unwrap()
        };
        let wrongness = if self.chance(0.5) { 0.0 } else { 0.3 };
        let target = self.target(operation, wrongness);
        let headers = self.headers(operation, wrongness);
        let body = self.body(operation, wrongness);
        RawRequest { operation: operation.name, method: operation.method, target, headers, body }
    }

    fn chance(&mut self, likelihood: f64) -> bool {
        self.random.random_bool(likelihood)
    }

    fn pick<'a>(&mut self, values: &[&'a str]) -> &'a str {
        values.choose(&mut self.random).unwrap()
    }

    fn target(&mut self, operation: &Operation, wrongness: f64) -> String {
        let mut target = String::new();
        for segment in operation.path.split('/').skip(1) {
            target.push('/');
            match segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}')) {
                None => target.push_str(segment),
                Some(label) => {
                    let member = operation.members.iter().find(|member| member.place == Place::Path(label)).unwrap();
                    let value = self.text_of(member.name, member.shape, wrongness);
                    target.push_str(&self.encoded(&value, wrongness));
                }
            }
        }
        let mut pairs: Vec<String> = operation.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        for member in operation.members {
            let Place::Query(name) = member.place else { continue };
            for _ in 0..self.times(member, wrongness) {
                let value = self.text_of(member.name, member.shape, wrongness);
                pairs.push(format!("{name}={}", self.encoded(&value, wrongness)));
            }
        }
        if self.chance(wrongness / 10.0) {
            pairs.push(self.pick(&["", "=", "&&", "Qualifier", "x=%zz", "%51ualifier=1", "Marker=%00"]).to_owned());
        }
        if !pairs.is_empty() {
            let _ = write!(target, "?{}", pairs.join("&"));
        }
        target
    }

    fn headers(&mut self, operation: &Operation, wrongness: f64) -> Vec<(String, Vec<u8>)> {
        let mut headers = Vec::new();
        for member in operation.members {
            let Place::Header(name) = member.place else { continue };
            for _ in 0..self.times(member, wrongness).min(1) {
                headers.push((name.to_owned(), self.text_of(member.name, member.shape, wrongness).into_bytes()));
            }
        }
        if self.chance(wrongness / 5.0) {
            let value = self.pick(&["", "text/plain", "application/json; charset=utf-16", "\u{e9}"]);
            headers.push(("content-type".to_owned(), value.as_bytes().to_vec()));
        }
        headers
    }

    /// How often a member stands in a request.
    fn times(&mut self, member: &Member, wrongness: f64) -> usize {
        match self.random.random::<f64>() {
            absent if absent < Self::absence(member, wrongness) => 0,
            doubled if doubled > 1.0 - wrongness / 10.0 => 2,
            _ => 1,
        }
    }

    /// How likely it is missing: who means to be right sends little that is not asked for.
    fn absence(member: &Member, wrongness: f64) -> f64 {
        match (member.required, wrongness > 0.0) {
            (true, _) => wrongness / 4.0,
            (false, true) => 0.6,
            (false, false) => 0.88,
        }
    }

    fn body(&mut self, operation: &Operation, wrongness: f64) -> Vec<u8> {
        if operation.payload.is_some() {
            return self.payload(wrongness);
        }
        if !operation.members.iter().any(|member| member.place == Place::Body) {
            return if self.chance(wrongness / 3.0) { b"{\"what\":1}".to_vec() } else { Vec::new() };
        }
        let document = self.structure(operation.members, DEPTH, wrongness);
        let text = document.to_string();
        if self.chance(wrongness / 3.0) { self.broken(&text) } else { text.into_bytes() }
    }

    fn payload(&mut self, wrongness: f64) -> Vec<u8> {
        if self.chance(wrongness) {
            self.broken("{\"a\":[1,2,{\"b\":null}]}")
        } else {
            self.pick(&["", "{}", "null", "[1]", "\"text\"", "1e3", " {\"a\": 1} "]).as_bytes().to_vec()
        }
    }

    /// JSON no longer.
    fn broken(&mut self, text: &str) -> Vec<u8> {
        let middle = (0..=text.len() / 2).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        match self.random.random_range(0..9) {
            0 => text[..middle].into(),
            1 => [text.as_bytes(), b"}"].concat(),
            2 => [&text.as_bytes()[..middle], b"\xff\xfe", &text.as_bytes()[middle..]].concat(),
            3 => format!("{{\"Layers\":{}", "[".repeat(3_000)).into_bytes(),
            4 => format!("{{\"Surprise\":{}{}}}", "{\"a\":".repeat(2_000), "}".repeat(2_000)).into_bytes(),
            5 => b"{\"Timeout\":1e999,\"MemorySize\":99999999999999999999}".to_vec(),
            6 => text
                .replacen('{', "{\"FunctionName\":\"f0\",\"FunctionName\":1,\"Name\":\"a\",\"Name\":\"b\",", 1)
                .into_bytes(),
            7 => self.pick(&["[]", "7", "\"\"", "true", "nul", "\u{feff}{}", "{\"\\ud800\":1}"]).as_bytes().to_vec(),
            _ => vec![0; 64],
        }
    }

    fn structure(&mut self, members: &'static [Member], depth: usize, wrongness: f64) -> Value {
        let mut document = Map::new();
        for member in members.iter().filter(|member| member.place == Place::Body) {
            if self.times(member, wrongness) > 0 {
                document.insert(member.name.to_owned(), self.value(member.name, member.shape, depth, wrongness));
            }
        }
        if self.chance(wrongness / 10.0) {
            document.insert(self.odd_text(), json!({ "surprise": [1, null] }));
        }
        Value::Object(document)
    }

    fn value(&mut self, name: &str, shape: &'static Shape, depth: usize, wrongness: f64) -> Value {
        if self.chance(wrongness / 5.0) {
            return self.other_type();
        }
        match shape {
            Shape::Text(_) | Shape::Timestamp => Value::String(self.text_of(name, shape, wrongness)),
            Shape::Blob => Value::String(self.blob(wrongness)),
            Shape::Integer(_) | Shape::Long(_) | Shape::Double(_) => {
                let text = self.text_of(name, shape, wrongness);
                serde_json::from_str(&text).unwrap_or(Value::String(text))
            }
            Shape::Boolean => json!(self.chance(0.5)),
            Shape::List(_) | Shape::Map(_) | Shape::Structure(_) if depth == 0 => Value::Null,
            Shape::List(list) => {
                let most = if self.chance(wrongness / 5.0) { 40 } else { 2 };
                let count = self.random.random_range(0..=most);
                (0..count).map(|_| self.value(name, list.member, depth - 1, wrongness)).collect()
            }
            Shape::Map(map) => {
                let count = self.random.random_range(0..=2);
                let entries = (0..count).map(|_| {
                    let key = self.text_of("Key", map.key, wrongness);
                    (key, self.value(name, map.value, depth - 1, wrongness))
                });
                Value::Object(entries.collect())
            }
            Shape::Structure(members) => self.structure(members, depth - 1, wrongness),
        }
    }

    fn other_type(&mut self) -> Value {
        let values = [
            json!(null),
            json!(true),
            json!(-1),
            json!(1.5),
            json!(u64::MAX),
            json!("text"),
            json!([]),
            json!([[]]),
            json!({}),
            json!({ "Variables": [1] }),
        ];
        values.choose(&mut self.random).unwrap().clone()
    }

    fn blob(&mut self, wrongness: f64) -> String {
        if self.chance(wrongness / 2.0) {
            return self.pick(&["", "!", "AAAA", "UEsDBA==", "UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="]).to_owned();
        }
        self.zips.choose(&mut self.random).unwrap().clone()
    }

    /// A scalar as text, for the query and the path as well.
    fn text_of(&mut self, name: &str, shape: &Shape, wrongness: f64) -> String {
        if self.chance(wrongness / 2.0) {
            return self.odd_text();
        }
        match shape {
            Shape::Text(text) if !text.values.is_empty() => self.pick(text.values).to_owned(),
            Shape::Integer(range) | Shape::Long(range) => self.whole(range.min, range.max, wrongness),
            Shape::Double(_) => self.pick(&["0", "0.5", "1", "1.0", "2.5"]).to_owned(),
            Shape::Boolean => self.pick(&["true", "false"]).to_owned(),
            Shape::List(list) => self.text_of(name, list.member, wrongness),
            _ => self.likely(name).to_owned(),
        }
    }

    fn whole(&mut self, min: Option<i64>, max: Option<i64>, wrongness: f64) -> String {
        let (min, max) = (min.unwrap_or(0), max.unwrap_or(1_000));
        let within = self.random.random_range(min..=max);
        let odd = [min - 1, max + 1, 0, -1, i64::from(i32::MAX), i64::MAX, i64::MIN, min, max];
        if self.chance(wrongness) { odd.choose(&mut self.random).unwrap().to_string() } else { within.to_string() }
    }

    /// What such a member often says.
    fn likely(&mut self, name: &str) -> String {
        let function = if self.chance(0.9) { self.pick(&NAMES[..2]) } else { self.pick(&NAMES) };
        let arn = format!("arn:aws:lambda:us-east-1:{ACCOUNT}:function:{function}");
        match name {
            "FunctionName" => match self.random.random_range(0..16) {
                0 => arn,
                1 => format!("{ACCOUNT}:function:{function}"),
                2 => format!("{function}:{}", self.pick(&["1", "$LATEST", "prod"])),
                3 => format!("arn:aws:lambda:eu-west-1:{ACCOUNT}:function:{function}"),
                _ => function.to_owned(),
            },
            "Qualifier" => self.pick(&["$LATEST", "1", "1", "prod", "77"]).to_owned(),
            "Name" => self.pick(&["prod", "beta"]).to_owned(),
            "FunctionVersion" => self.pick(&["1", "2", "$LATEST"]).to_owned(),
            "Role" => ROLE.to_owned(),
            "Handler" => "app.handler".to_owned(),
            "Runtime" => self.pick(&["python3.11", "provided.al2023", "nodejs20.x", "cobol"]).to_owned(),
            "Resource" | "Destination" | "TargetArn" => arn,
            "Layers" | "LayerVersionArn" => format!("arn:aws:lambda:us-east-1:{ACCOUNT}:layer:tools:1"),
            "LayerName" => "tools".to_owned(),
            "Key" => self.pick(&["1", "2", "STAGE", "hearth:isolation"]).to_owned(),
            "Principal" => self.pick(&["*", "s3.amazonaws.com", "111111111111"]).to_owned(),
            "Action" => self.pick(&["lambda:InvokeFunction", "lambda:GetLayerVersion"]).to_owned(),
            "ClientContext" => self.pick(&["e30=", "bm90IGpzb24=", "%%%"]).to_owned(),
            _ => self.pick(&["abc", "s1", "000000000000", "/mnt/x"]).to_owned(),
        }
    }

    fn odd_text(&mut self) -> String {
        match self.random.random_range(0..14) {
            0 => String::new(),
            1 => "x".repeat(self.random.random_range(60..300)),
            2 => "y".repeat(20_000),
            3 => "äöü \u{1f980} \u{202e}".to_owned(),
            4 => "\u{0}\u{1}\n\r\t".to_owned(),
            5 => "a/b/../c".to_owned(),
            6 => "'; DROP TABLE functions; --".to_owned(),
            7 => "arn:aws:lambda:::".to_owned(),
            8 => "18446744073709551616".to_owned(),
            9 => "-0".to_owned(),
            10 => "%2e%2e%2f".to_owned(),
            11 => "${jndi:ldap://x}".to_owned(),
            12 => ":".repeat(self.random.random_range(1..9)),
            _ => "$LATEST:1".to_owned(),
        }
    }

    /// Percent-encoded; now and then by somebody who does not know how.
    fn encoded(&mut self, value: &str, wrongness: f64) -> String {
        if self.chance(wrongness / 6.0) {
            return self.pick(&["%", "%zz", "%f", "%ff%fe", "%00", "%c0%af", "..", "%2F", "a%2Fb"]).to_owned();
        }
        let everything = self.chance(0.2);
        let mut encoded = String::new();
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() && !everything || matches!(byte, b'-' | b'_' | b'.' | b':') {
                encoded.push(char::from(byte));
            } else {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
        encoded
    }
}
