//! `hearth workers`: the fleet, its pools, and the slots under lease.

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use crate::api::{Api, Call};
use crate::commands::PlatformCommand;
use crate::exit::{Exit, Failure};
use crate::output::{Output, Table, line};

/// How a worker without a security boundary names its isolation.
const NO_BOUNDARY: &str = "process";

/// Shows the fleet.
#[derive(Debug, Args)]
pub(crate) struct Workers {}

/// The reply of `GET /hearth/v1/workers`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fleet {
    workers: Vec<Worker>,
    slots: Vec<Slot>,
    waiting: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Worker {
    id: String,
    condition: String,
    isolation: String,
    runtimes: Vec<String>,
    silent_ms: u64,
    memory_mb: u64,
    reserved_mb: u64,
    used_mb: u64,
    milli_cpus: u64,
    used_milli_cpus: u64,
    max_slots: u64,
    slots: u64,
    pooled: Vec<Pool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pool {
    runtime: String,
    memory_mb: u64,
    ready: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Slot {
    id: String,
    worker: String,
    function: String,
    version: String,
    busy: bool,
    idle_ms: u64,
    lease_usable_ms: u64,
}

impl PlatformCommand for Workers {
    async fn run(self, api: &Api, output: Output) -> Result<Exit, Failure> {
        let reply = api.call(Call::get("/hearth/v1/workers")).await?;
        match output {
            Output::Json => line(&format!("{:#}", reply.json::<Value>()?))?,
            Output::Table => show(&reply.json()?)?,
        }
        Ok(Exit::Success)
    }
}

fn show(fleet: &Fleet) -> Result<(), Failure> {
    line(&workers(fleet).to_string())?;
    line(&pools(fleet).to_string())?;
    line(&slots(fleet).to_string())?;
    line(&format!("calls waiting for a slot: {}", fleet.waiting))?;
    for worker in fleet.workers.iter().filter(|worker| worker.isolation == NO_BOUNDARY) {
        eprintln!("warning: {} runs functions as plain processes: that is no security boundary", worker.id);
    }
    Ok(())
}

fn workers(fleet: &Fleet) -> Table {
    let mut table = Table::new(
        &["WORKER", "CONDITION", "ISOLATION", "SLOTS", "RESERVED MB", "USED MB", "CPU", "HEARD", "RUNTIMES"],
        "no workers",
    );
    for worker in &fleet.workers {
        table.row(vec![
            worker.id.clone(),
            worker.condition.clone(),
            worker.isolation.clone(),
            format!("{}/{}", worker.slots, worker.max_slots),
            format!("{}/{}", worker.reserved_mb, worker.memory_mb),
            worker.used_mb.to_string(),
            format!("{}/{}", cpus(worker.used_milli_cpus), cpus(worker.milli_cpus)),
            format!("{} ago", seconds(worker.silent_ms)),
            worker.runtimes.join(" "),
        ]);
    }
    table
}

fn pools(fleet: &Fleet) -> Table {
    let mut table = Table::new(&["POOL", "RUNTIME", "MEMORY MB", "READY"], "no pools");
    for worker in &fleet.workers {
        for pool in &worker.pooled {
            let numbers = [pool.memory_mb.to_string(), pool.ready.to_string()];
            table.row([worker.id.clone(), pool.runtime.clone()].into_iter().chain(numbers).collect());
        }
    }
    table
}

fn slots(fleet: &Fleet) -> Table {
    let mut table = Table::new(&["SLOT", "WORKER", "FUNCTION", "STATE", "LEASE"], "no slots under lease");
    for slot in &fleet.slots {
        let state = if slot.busy { "busy".to_owned() } else { format!("idle {}", seconds(slot.idle_ms)) };
        table.row(vec![
            slot.id.clone(),
            slot.worker.clone(),
            format!("{}:{}", slot.function, slot.version),
            state,
            seconds(slot.lease_usable_ms),
        ]);
    }
    table
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

fn cpus(milli: u64) -> String {
    format!("{}.{:02}", milli / 1000, milli % 1000 / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_cut_not_rounded() {
        assert_eq!((seconds(0), seconds(1_999)), ("0.0 s".into(), "1.9 s".into()));
        assert_eq!((cpus(72), cpus(2_000)), ("0.07".into(), "2.00".into()));
    }
}
