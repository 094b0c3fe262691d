//! Answers in pieces, as events of a stream.

use aws_sdk_lambda::operation::invoke_with_response_stream::InvokeWithResponseStreamOutput;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{InvokeWithResponseStreamResponseEvent as Event, LogType};

use crate::Function;

/// The pieces joined, how many there were, and the event at the end.
async fn read(
    mut answer: InvokeWithResponseStreamOutput,
) -> (String, usize, aws_sdk_lambda::types::InvokeWithResponseStreamCompleteEvent) {
    let (mut bytes, mut pieces) = (Vec::new(), 0);
    while let Some(event) = answer.event_stream.recv().await.expect("an event that can be read") {
        match event {
            Event::PayloadChunk(chunk) => {
                bytes.extend_from_slice(chunk.payload().expect("a piece has bytes").as_ref());
                pieces += 1;
            }
            Event::InvokeComplete(end) => return (String::from_utf8(bytes).expect("text"), pieces, end),
            other => panic!("{other:?}"),
        }
    }
    panic!("the stream ended without its last event after {bytes:?}");
}

pub(crate) async fn pieces(function: &Function) {
    let call = function.client.invoke_with_response_stream().function_name(&function.name).log_type(LogType::Tail);
    let answer = call.payload(Blob::new("{}")).send().await.expect("it answers");
    assert_eq!((answer.status_code(), answer.executed_version()), (200, Some("$LATEST")));
    let (text, pieces, end) = read(answer).await;
    assert_eq!(text, "onetwo");
    assert!(pieces >= 2, "in {pieces} pieces");
    assert_eq!(end.error_code(), None);
    let tail = aws_smithy_types::base64::decode(end.log_result().expect("there is a tail")).expect("it is Base64");
    assert!(String::from_utf8(tail).expect("text").contains("REPORT RequestId: "));
}

pub(crate) async fn failures(function: &Function) {
    let call = function.client.invoke_with_response_stream().function_name(&function.name);
    let (text, _, end) = read(call.payload(Blob::new(r#"{"fail":true}"#)).send().await.expect("it begins")).await;
    assert_eq!(text, "one");
    assert_eq!(end.error_code(), Some("Error"));
    assert!(end.error_details().is_some_and(|told| told.contains("as asked")), "{end:?}");
}
