//! A signal to the process begins its shutdown instead of ending it. In a process of its own: signals are for all.

use hearth_daemon::{ShutdownSignal, ShutdownSignals};

#[tokio::test]
async fn sigterm_and_sigint_are_heard() {
    let mut signals = ShutdownSignals::listen().unwrap();
    for (name, expected) in [("-TERM", ShutdownSignal::Terminate), ("-INT", ShutdownSignal::Interrupt)] {
        let this_process = std::process::id().to_string();
        assert!(std::process::Command::new("kill").args([name, &this_process]).status().unwrap().success());
        assert_eq!(signals.next().await, expected);
    }
}
