//! The console, seen from both ends.

use std::io::{Read, Seek};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

fn written(mut file: &File) -> String {
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

fn output(rate: RateLimit, max_bytes: u64) -> (Output, File) {
    let file = tempfile::tempfile().unwrap();
    (Output::new(file.try_clone().unwrap(), rate, max_bytes).unwrap(), file)
}

fn say(output: &mut Output, text: &str, now_s: u64) {
    text.bytes().for_each(|byte| output.put(byte, Duration::from_secs(now_s)));
}

#[test]
fn lines_come_out_whole_and_the_last_one_at_the_end() {
    let file = tempfile::tempfile().unwrap();
    let mut console = Console::new(file.try_clone().unwrap().into(), || {}).unwrap();
    b"hello\nthere".iter().for_each(|byte| console.write(0, &[*byte]));
    assert_eq!(written(&file), "hello\n");
    drop(console);
    assert_eq!(written(&file), "hello\nthere");
}

#[test]
fn a_flood_is_dropped_and_the_loss_is_told() {
    let (mut output, file) = output(RateLimit { burst: 8, per_second: 4 }, 1000);
    for _ in 0..5 {
        say(&mut output, "abc\n", 0);
    }
    assert_eq!(written(&file), "abc\nabc\n");
    say(&mut output, "def\n", 1);
    assert_eq!(written(&file), "abc\nabc\n[12 bytes dropped]\ndef\n");
    assert_eq!(output.dropped_bytes, 12);
}

#[test]
fn a_patient_guest_does_not_fill_a_disk_either() {
    let (mut output, file) = output(RateLimit { burst: 100, per_second: 100 }, 10);
    for second in 0..5 {
        say(&mut output, "1234\n", second);
    }
    assert_eq!(written(&file), "1234\n1234\n");
    assert_eq!(output.dropped_bytes, 15);
}

#[test]
fn a_line_without_an_end_is_cut() {
    let (mut output, file) = output(OUTPUT_RATE, OUTPUT_MAX_BYTES);
    say(&mut output, &"x".repeat(LINE_MAX_BYTES + 1), 0);
    assert_eq!(written(&file).len(), LINE_MAX_BYTES);
    assert!(output.line.len() <= LINE_MAX_BYTES);
}

#[test]
fn a_reader_that_does_not_read_costs_bytes_and_no_time() {
    let (reader, writer) = UnixStream::pair().unwrap();
    assert!(Console::new(writer.try_clone().unwrap().into(), || {}).is_err(), "it may block");
    writer.set_nonblocking(true).unwrap();
    let mut output = Output::new(File::from(OwnedFd::from(writer)), OUTPUT_RATE, u64::MAX).unwrap();
    (0..4000).for_each(|second| say(&mut output, &"y".repeat(LINE_MAX_BYTES), second));
    assert!(output.dropped_bytes > 0);
    drop(reader);
    let before = output.dropped_bytes;
    say(&mut output, &"z".repeat(LINE_MAX_BYTES), 4000);
    assert_eq!(output.dropped_bytes, before + LINE_MAX_BYTES as u64);
}

#[test]
fn registers_answer_and_odd_accesses_do_nothing() {
    let interrupts = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&interrupts);
    let count = move || {
        seen.fetch_add(1, Ordering::Relaxed);
    };
    let file = tempfile::tempfile().unwrap();
    let mut console = Console::new(file.try_clone().unwrap().into(), count).unwrap();
    console.write(7, &[0x5a]);
    console.write(1, &[2]);
    assert_eq!(interrupts.load(Ordering::Relaxed), 1, "the transmitter is empty");
    console.write(0, &[1, 2, 3, 4]);
    console.write(u64::MAX, &[1]);
    let (mut wide, mut scratch) = ([9; 4], [0]);
    console.read(0, &mut wide);
    console.read(7, &mut scratch);
    assert_eq!((wide, scratch), ([0; 4], [0x5a]));
    assert_eq!((console.dropped_bytes(), written(&file)), (0, String::new()));
}
