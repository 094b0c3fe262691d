//! Conditions: an operator, a key, values. All of a statement's must hold.

use std::net::IpAddr;

use serde_json::Value;

use super::Context;
use super::arn::ArnPattern;
use super::date;
use super::document::PolicyError;
use super::pattern::Pattern;

/// One key under one operator.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    key: String,
    over: Over,
    if_exists: bool,
    /// The operator is the negation of its test: none of the values may fit.
    negated: bool,
    tests: Vec<Test>,
}

/// Which of a request's values must pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// No prefix: for keys with one value.
    Single,
    /// `ForAllValues:`
    All,
    /// `ForAnyValue:`
    Any,
}

/// One value of a policy, and how a value of the request is held against it.
#[derive(Debug, Clone, PartialEq)]
enum Test {
    Text {
        pattern: Pattern,
        ignore_case: bool,
    },
    Arn(Option<ArnPattern>),
    Number(Order, f64),
    Date(Order, i64),
    Bool(bool),
    Address {
        network: IpAddr,
        prefix: u8,
    },
    /// `Null`: whether the key must be absent.
    Absent(bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Equals,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    fn holds<T: PartialOrd>(self, found: &T, limit: &T) -> bool {
        match self {
            Self::Equals => found == limit,
            Self::Less => found < limit,
            Self::LessOrEqual => found <= limit,
            Self::Greater => found > limit,
            Self::GreaterOrEqual => found >= limit,
        }
    }
}

impl Condition {
    /// The conditions of a statement.
    pub(super) fn read_all(block: Option<&Value>, has_variables: bool) -> Result<Vec<Self>, PolicyError> {
        let Some(block) = block else { return Ok(Vec::new()) };
        let mut conditions = Vec::new();
        for (operator, keys) in block.as_object().ok_or_else(PolicyError::syntax)? {
            for (key, values) in keys.as_object().ok_or_else(PolicyError::syntax)? {
                conditions.push(Self::read(operator, key, values, has_variables)?);
            }
        }
        Ok(conditions)
    }

    fn read(operator: &str, key: &str, values: &Value, has_variables: bool) -> Result<Self, PolicyError> {
        let (over, name) = match operator.split_once(':') {
            None => (Over::Single, operator),
            Some(("ForAllValues", name)) => (Over::All, name),
            Some(("ForAnyValue", name)) => (Over::Any, name),
            Some(_) => return Err(unknown(operator)),
        };
        let (name, if_exists) = name.strip_suffix("IfExists").map_or((name, false), |name| (name, true));
        let (base, negated) = base_operator(name).ok_or_else(|| unknown(operator))?;
        if base == "Null" && (if_exists || over != Over::Single) {
            return Err(unknown(operator));
        }
        let tests = texts(values).ok_or_else(PolicyError::syntax)?;
        let tests = tests.iter().map(|text| {
            let wrong = || PolicyError::new(format!("Invalid value '{text}' for condition operator {operator}."));
            read_test(base, text, has_variables).ok_or_else(wrong)
        });
        let tests = tests.collect::<Result<_, _>>()?;
        Ok(Self { key: key.to_owned(), over, if_exists, negated, tests })
    }

    /// Whether it holds for a request.
    pub(super) fn holds(&self, context: &Context) -> bool {
        let found = context.all(&self.key);
        if let [Test::Absent(_), ..] = self.tests.as_slice() {
            return self.tests.contains(&Test::Absent(found.is_empty()));
        }
        if found.is_empty() {
            return self.if_exists || self.negated && self.over != Over::Any || self.over == Over::All;
        }
        let passes = |value: &String| self.tests.iter().any(|test| test.fits(value, context)) != self.negated;
        match self.over {
            Over::All => found.iter().all(passes),
            Over::Any => found.iter().any(passes),
            // A key with more than one value: the negation must hold of each.
            Over::Single if self.negated => found.iter().all(passes),
            Over::Single => found.iter().any(passes),
        }
    }
}

impl Test {
    fn fits(&self, found: &str, context: &Context) -> bool {
        match self {
            Self::Text { pattern, ignore_case } => pattern.matches(found, context, *ignore_case),
            Self::Arn(pattern) => pattern.as_ref().is_some_and(|pattern| pattern.matches(found, context)),
            Self::Number(order, limit) => found.parse().is_ok_and(|number: f64| order.holds(&number, limit)),
            Self::Date(order, limit) => date::parse(found).is_some_and(|moment| order.holds(&moment, limit)),
            Self::Bool(wanted) => found.eq_ignore_ascii_case(if *wanted { "true" } else { "false" }),
            Self::Address { network, prefix } => found.parse().is_ok_and(|address| within(address, *network, *prefix)),
            Self::Absent(_) => false,
        }
    }
}

/// An operator without its negation, and whether it was negated.
fn base_operator(name: &str) -> Option<(&str, bool)> {
    Some(match name {
        "StringNotEquals" => ("StringEquals", true),
        "StringNotEqualsIgnoreCase" => ("StringEqualsIgnoreCase", true),
        "StringNotLike" => ("StringLike", true),
        "ArnNotEquals" | "ArnNotLike" => ("ArnLike", true),
        "NumericNotEquals" => ("NumericEquals", true),
        "DateNotEquals" => ("DateEquals", true),
        "NotIpAddress" => ("IpAddress", true),
        "ArnEquals" => ("ArnLike", false),
        "StringEquals"
        | "StringEqualsIgnoreCase"
        | "StringLike"
        | "ArnLike"
        | "BinaryEquals"
        | "Bool"
        | "IpAddress"
        | "Null" => (name, false),
        _ if order(name, "Numeric").or(order(name, "Date")).is_some() => (name, false),
        _ => return None,
    })
}

fn order(operator: &str, of: &str) -> Option<Order> {
    Some(match operator.strip_prefix(of)? {
        "Equals" => Order::Equals,
        "LessThan" => Order::Less,
        "LessThanEquals" => Order::LessOrEqual,
        "GreaterThan" => Order::Greater,
        "GreaterThanEquals" => Order::GreaterOrEqual,
        _ => return None,
    })
}

/// `None` if the value has no meaning for the operator.
fn read_test(operator: &str, text: &str, has_variables: bool) -> Option<Test> {
    let boolean = || text.to_ascii_lowercase().parse().ok();
    Some(match operator {
        "StringEquals" | "BinaryEquals" => {
            Test::Text { pattern: Pattern::literal(text, has_variables), ignore_case: false }
        }
        "StringEqualsIgnoreCase" => Test::Text { pattern: Pattern::literal(text, has_variables), ignore_case: true },
        "StringLike" => Test::Text { pattern: Pattern::new(text, has_variables), ignore_case: false },
        // What is no ARN is like none.
        "ArnLike" => Test::Arn(ArnPattern::new(text, has_variables)),
        "Bool" => Test::Bool(boolean()?),
        "Null" => Test::Absent(boolean()?),
        "IpAddress" => network(text)?,
        numeric if numeric.starts_with("Numeric") => {
            let limit: f64 = text.parse().ok()?;
            Test::Number(order(numeric, "Numeric")?, limit)
        }
        dated => Test::Date(order(dated, "Date")?, date::parse(text)?),
    })
}

fn network(text: &str) -> Option<Test> {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let network: IpAddr = address.parse().ok()?;
    let longest = if network.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.map_or(Some(longest), |prefix| prefix.parse().ok())?;
    (prefix <= longest).then_some(Test::Address { network, prefix })
}

fn within(address: IpAddr, network: IpAddr, prefix: u8) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)) << 96,
        IpAddr::V6(v6) => u128::from(v6),
    };
    let differing = bits(address) ^ bits(network);
    address.is_ipv4() == network.is_ipv4() && differing.checked_shr(128 - u32::from(prefix)).unwrap_or(0) == 0
}

/// One value or a list; numbers and booleans are taken as their text.
fn texts(value: &Value) -> Option<Vec<String>> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(boolean) => Some(boolean.to_string()),
        _ => None,
    };
    match value {
        Value::Array(values) => values.iter().map(text).collect(),
        one => Some(vec![text(one)?]),
    }
}

fn unknown(operator: &str) -> PolicyError {
    PolicyError::new(format!("Invalid Condition type : {operator}."))
}
