//! Answers with the event.

use std::convert::Infallible;

use hearth_sdk::{Context, RunError};

fn main() -> Result<(), RunError> {
    hearth_sdk::run(|event: &[u8], _context: &Context| Ok::<_, Infallible>(event.to_vec()))
}
