//! What is known of a request beside who asks for what (IAM user guide, "AWS global condition context keys"; Service
//! Authorization Reference, "Condition keys for AWS Lambda").

use std::net::SocketAddr;

use hearth_daemon::Clock;
use hearth_domain::Version;
use http::header::USER_AGENT;

use super::asked::Asked;
use super::resource::Resource;
use super::{Api, Call};
use crate::calendar::AmzDate;
use crate::errors::ApiError;
use crate::policy::Context;
use crate::validation::Named;

impl Api {
    pub(super) async fn context(&self, call: &Call, asked: &Asked, resource: &Resource) -> Result<Context, ApiError> {
        let mut context = call.caller.context();
        add_request(&mut context, call);
        add_asked(&mut context, asked);
        if let Some(named) = Named::read(&resource.arn).filter(|_| resource.arn.contains(":function:")) {
            let function = self.deps.catalog.get(&resource.account, &named.name, Version::Latest).await?;
            for (key, value) in function.iter().flat_map(|function| &function.tags) {
                context.add(&format!("aws:ResourceTag/{key}"), value);
            }
        }
        Ok(context)
    }
}

fn add_request(context: &mut Context, call: &Call) {
    let now_s = i64::try_from(Clock::unix_ms() / 1_000).unwrap_or(i64::MAX);
    context.add("aws:CurrentTime", now_s.to_string());
    context.add("aws:EpochTime", AmzDate::from_unix(now_s).unix_s().to_string());
    // TLS ends before Hearth, if there is any.
    context.add("aws:SecureTransport", "false");
    if let Some(agent) = call.parts.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()) {
        context.add("aws:UserAgent", agent);
    }
    if let Some(peer) = call.parts.extensions.get::<SocketAddr>() {
        context.add("aws:SourceIp", peer.ip().to_canonical().to_string());
    }
    if call.route.path.contains("/tags/") {
        let query = call.parts.uri.query().unwrap_or_default();
        for pair in query.split('&').filter_map(|pair| pair.strip_prefix("tagKeys=")) {
            context.add("aws:TagKeys", String::from_utf8_lossy(&crate::sigv4::decoded(pair)));
        }
    }
}

fn add_asked(context: &mut Context, asked: &Asked) {
    for layer in asked.layers.as_array().into_iter().flatten().filter_map(|layer| layer.as_str()) {
        context.add("lambda:Layer", layer);
    }
    for (key, value) in asked.tags().into_iter().flatten() {
        context.add("aws:TagKeys", key);
        context.add(&format!("aws:RequestTag/{key}"), value.as_str().unwrap_or_default());
    }
    for auth_type in [&asked.auth_type, &asked.function_url_auth_type].into_iter().filter_map(|value| value.as_str()) {
        context.add("lambda:FunctionUrlAuthType", auth_type);
    }
    if let Some(principal) = asked.principal.as_str() {
        context.add("lambda:Principal", principal);
    }
    if let Some(function) = asked.function_name() {
        context.add("lambda:FunctionArn", function);
    }
}
