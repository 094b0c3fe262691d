//! Waits until the pool has what the next start takes.

use std::time::Duration;

use anyhow::Result;
use hearth_benches::connection::Connection;
use hearth_benches::function;
use serde_json::Value;
use tokio::time::Instant;

/// How often the fleet is asked; workers tell of their pools within half a second.
const POLL: Duration = Duration::from_millis(50);
/// Longest wait for one sandbox; a call that then meets an empty pool is counted as such.
const PATIENCE: Duration = Duration::from_secs(10);

/// What all pools of the platform hold together when nothing is taken from them.
#[derive(Debug)]
pub(super) struct Pool {
    full: u64,
}

impl Pool {
    /// Waits for a pool that is being filled; nothing to wait for where it is of `size` 0.
    pub(super) async fn of(control: &mut Connection, size: u32) -> Result<Self> {
        let mut full = 0;
        if size > 0 {
            let until = Instant::now() + PATIENCE;
            // What is full, only its worker knows: it is when it grows no more.
            let mut level = 0;
            while Instant::now() < until && level < 10 {
                tokio::time::sleep(POLL).await;
                let now = ready(&function::fleet(control).await?);
                level = if now > full { 0 } else { level + 1 };
                full = full.max(now);
            }
        }
        Ok(Self { full })
    }

    /// Resolves when it is full again.
    pub(super) async fn filled(&self, control: &mut Connection) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while self.full > 0 && Instant::now() < until && ready(&function::fleet(control).await?) < self.full {
            // The API has no event for this.
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}

/// Sandboxes that wait in the pools of all workers.
fn ready(fleet: &Value) -> u64 {
    let pools = fleet["workers"].as_array().into_iter().flatten().flat_map(|worker| worker["pooled"].as_array());
    pools.flatten().filter_map(|pool| pool["ready"].as_u64()).sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pools_of_all_workers_count() {
        let pools = |ready: [u64; 2]| json!({"pooled": [{"ready": ready[0]}, {"ready": ready[1]}]});
        assert_eq!(ready(&json!({"workers": [pools([1, 2]), pools([0, 4]), {}]})), 7);
        assert_eq!(ready(&json!({})), 0);
    }
}
