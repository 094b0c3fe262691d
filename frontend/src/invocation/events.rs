//! Runs the attempts of asynchronous events on the invocation path that HTTP calls take.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hearth_domain::FunctionResponse;
use hearth_store::catalog::FunctionState;
use hearth_store::event::Event;

use crate::asynchronous::{EventInvoker, Outcome, Run};
use crate::concurrency::Concurrency;
use crate::invocation::{Answer, Invocation, Invoker};
use crate::resolution::{Resolved, Resolver};
use crate::specs::Specs;
use crate::validation::Qualifier;

/// Looks an event's function up and invokes it.
pub(crate) struct EventRuns {
    pub(crate) resolver: Resolver,
    pub(crate) concurrency: Concurrency,
    pub(crate) specs: Arc<Specs>,
    pub(crate) invoker: Arc<Invoker>,
    pub(crate) capacity_wait: Duration,
}

#[async_trait]
impl EventInvoker for EventRuns {
    async fn invoke_event(&self, event: &Event) -> Outcome {
        let qualifier = match &event.alias {
            Some(alias) => Qualifier::Alias(alias.to_string()),
            None => Qualifier::Version(event.version),
        };
        let record = match self.resolver.resolve(&event.account, &event.name, Some(&qualifier)).await {
            Ok(Some(Resolved { record, .. })) => record,
            Ok(None) => return Outcome::NoFunction,
            Err(failure) => return deferred(failure),
        };
        match self.concurrency.limits(&event.account, &event.name).await {
            Ok(limits) if limits.reserved == Some(0) => return Outcome::NoConcurrency,
            Ok(_) => {}
            Err(failure) => return deferred(failure),
        }
        if record.state != FunctionState::Active {
            return deferred(format!("the function is in state {:?}", record.state));
        }
        let answer = self.invoker.invoke(Invocation {
            request_id: event.request_id.clone(),
            function: self.specs.of(&record),
            payload: event.payload.clone(),
            invoked_arn: event.invoked_arn.clone(),
            // Lambda passes it to synchronous invocations only (API reference, Invoke, `ClientContext`).
            client_context: None,
            trace_id: None,
            log_tail: false,
            capacity_wait: self.capacity_wait,
            times: None,
        });
        let executed_version = record.function.version;
        match answer.await {
            Ok(Answer { response: FunctionResponse::Success(document), .. }) => {
                Outcome::Succeeded(Run { executed_version, document })
            }
            Ok(Answer { response: FunctionResponse::Error(error), .. }) => {
                Outcome::FunctionError(Run { executed_version, document: error.document })
            }
            Err(error) => deferred(error),
        }
    }
}

fn deferred(reason: impl ToString) -> Outcome {
    Outcome::Deferred { reason: reason.to_string() }
}
