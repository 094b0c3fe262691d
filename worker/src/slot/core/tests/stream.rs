//! Answers in pieces: what passes, and what a hostile sandbox can't do.

use hearth_domain::stream::{STREAM_CHUNK_MAX_BYTES, STREAM_WINDOW, stream_cost};
use hearth_guest_protocol::{ResponseChunk, ResponseEnd, ResponseStart, StreamCredit, host_message};

use super::*;

fn start(id: &str) -> guest_message::Kind {
    let content_type = "text/plain".to_owned();
    guest_message::Kind::ResponseStart(ResponseStart { request_id: id.into(), content_type })
}

fn chunk(id: &str, bytes: usize) -> guest_message::Kind {
    guest_message::Kind::ResponseChunk(ResponseChunk { request_id: id.into(), data: vec![1; bytes].into() })
}

fn end(id: &str, error: Option<GuestError>) -> guest_message::Kind {
    guest_message::Kind::ResponseEnd(ResponseEnd { request_id: id.into(), error })
}

/// A slot on which `r-1`, whose answer is wanted as it comes, runs since 200 ms.
fn streaming() -> (SlotCore, Recorder) {
    let (mut core, mut out) = idle();
    core.on_invoke(at(200), invoke("r-1"), true, &mut out).unwrap();
    core.check_invariants();
    out.sent.clear();
    (core, out)
}

fn credits(out: &mut Recorder) -> Vec<u64> {
    let sent = std::mem::take(&mut out.sent);
    sent.into_iter()
        .map(|message| match message.kind {
            Some(host_message::Kind::StreamCredit(StreamCredit { amount, .. })) => amount,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn pieces_pass_and_the_end_is_the_answer() {
    let (mut core, mut out) = streaming();
    core.on_guest(at(210), start("r-1"), &mut out);
    core.on_guest(at(211), chunk("r-1", 3), &mut out);
    assert!(out.answers.is_empty());
    core.on_guest(at(220), end("r-1", None), &mut out);
    let content_type = "text/plain".to_owned();
    assert_eq!(out.pieces, [StreamPiece::Start { content_type }, StreamPiece::Chunk(vec![1; 3].into())]);
    assert_eq!(out.answers.len(), 1);
    assert_eq!(out.answers[0].response, FunctionResponse::Success(Bytes::new()));
    assert_eq!(out.answers[0].slot, SlotOutcome::Reusable);
    assert_eq!(core.state(), SlotState::Idle);
    core.check_invariants();
}

#[test]
fn an_error_within_it_leaves_the_environment_sound() {
    let (mut core, mut out) = streaming();
    core.on_guest(at(210), start("r-1"), &mut out);
    let error = GuestError { error_type: "Oh".into(), document: "{}".into() };
    core.on_guest(at(220), end("r-1", Some(error)), &mut out);
    assert_eq!(error_type(&out.answers[0]), "Oh");
    assert_eq!(core.state(), SlotState::Idle);
}

#[test]
fn a_whole_answer_will_do() {
    let (mut core, mut out) = streaming();
    core.on_guest(at(210), response("r-1", Outcome::Payload("x".into())), &mut out);
    assert_eq!(out.answers[0].response, FunctionResponse::Success("x".into()));
    assert!(out.pieces.is_empty());
}

#[test]
fn a_timeout_within_it_is_the_call_s_error() {
    let (mut core, mut out) = streaming();
    core.on_guest(at(210), start("r-1"), &mut out);
    let deadline = core.deadline().unwrap();
    core.on_deadline(Now { moment: deadline, unix_ms: 0 }, &mut out);
    assert_eq!(error_type(&out.answers[0]), "Sandbox.Timedout");
    assert_eq!(core.state(), SlotState::Gone);
}

#[test]
fn credit_is_given_as_the_caller_takes() {
    let (mut core, mut out) = streaming();
    core.on_guest(at(210), start("r-1"), &mut out);
    let largest = stream_cost(STREAM_CHUNK_MAX_BYTES);
    let fit = STREAM_WINDOW / largest;
    for _ in 0..fit {
        core.on_guest(at(211), chunk("r-1", STREAM_CHUNK_MAX_BYTES), &mut out);
    }
    core.on_taken(largest, &mut out);
    assert_eq!(credits(&mut out), [], "a little is not worth a message");
    core.on_taken(fit * largest, &mut out);
    assert_eq!(credits(&mut out), [fit * largest]);
    assert_eq!(core.stream_taken(), fit * largest);
    core.on_guest(at(212), chunk("r-1", STREAM_CHUNK_MAX_BYTES), &mut out);
    assert!(out.answers.is_empty());
}

#[test]
fn what_no_shim_would_say_ends_the_slot() {
    let hostile: [&[guest_message::Kind]; 9] = [
        &[chunk("r-1", 1)],
        &[end("r-1", None)],
        &[start("r-2")],
        &[start("r-1"), start("r-1")],
        &[start("r-1"), chunk("r-1", 0)],
        &[start("r-1"), chunk("r-1", STREAM_CHUNK_MAX_BYTES + 1)],
        &[start("r-1"), chunk("r-2", 1)],
        &[start("r-1"), response("r-1", Outcome::Payload("x".into()))],
        &vec![chunk("r-1", STREAM_CHUNK_MAX_BYTES); 17],
    ];
    for messages in hostile {
        let (mut core, mut out) = streaming();
        if messages.len() == 17 {
            core.on_guest(at(205), start("r-1"), &mut out);
        }
        for message in messages {
            core.on_guest(at(210), message.clone(), &mut out);
        }
        assert_eq!(error_type(&out.answers[0]), "Sandbox.Failure", "{:?}", messages[0]);
        assert_eq!((core.state(), out.answers.len()), (SlotState::Gone, 1));
    }
    let (mut core, mut out) = running();
    core.on_guest(at(210), start("r-1"), &mut out);
    assert_eq!(error_type(&out.answers[0]), "Sandbox.Failure", "nobody asked for a stream");
}
