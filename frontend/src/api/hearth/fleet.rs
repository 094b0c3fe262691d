//! `GET /hearth/v1/workers`: the fleet as worker manager and placement see it.

use std::time::Duration;

use axum::response::Response;
use hearth_protocol::placement::{FleetWorker, WorkerCondition};
use hearth_protocol::worker_manager::{Fleet, HeldSlot};
use serde::Serialize;

use super::super::call::Call;
use super::super::{Api, json};
use crate::errors::ApiError;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FleetView {
    workers: Vec<WorkerView>,
    slots: Vec<SlotView>,
    /// Calls that wait for a slot.
    waiting: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WorkerView {
    id: String,
    url: String,
    condition: &'static str,
    isolation: String,
    runtimes: Vec<String>,
    silent_ms: u64,
    memory_mb: u64,
    reserved_mb: u64,
    used_mb: u64,
    milli_cpus: u64,
    used_milli_cpus: u64,
    max_slots: u32,
    slots: usize,
    pooled: Vec<PoolView>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PoolView {
    runtime: String,
    memory_mb: u32,
    ready: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SlotView {
    id: String,
    worker: String,
    function: String,
    version: String,
    busy: bool,
    idle_ms: u64,
    lease_usable_ms: u64,
}

impl Api {
    pub(in super::super) async fn hearth_workers(&self, _call: Call) -> Result<Response, ApiError> {
        json(200, &FleetView::from(self.deps.manager.fleet().await?))
    }
}

impl From<Fleet> for FleetView {
    fn from(fleet: Fleet) -> Self {
        Self {
            workers: fleet.workers.into_iter().map(WorkerView::from).collect(),
            slots: fleet.slots.into_iter().map(SlotView::from).collect(),
            waiting: fleet.waiting,
        }
    }
}

impl From<FleetWorker> for WorkerView {
    fn from(worker: FleetWorker) -> Self {
        let report = worker.report;
        let pool = |pooled: hearth_protocol::placement::PooledCount| PoolView {
            runtime: pooled.runtime.to_string(),
            memory_mb: pooled.memory_mb,
            ready: pooled.ready,
        };
        Self {
            id: report.worker.id.to_string(),
            url: report.worker.url.to_string(),
            condition: match worker.condition {
                WorkerCondition::Ready => "ready",
                WorkerCondition::Avoided => "avoided",
                WorkerCondition::Draining => "draining",
                WorkerCondition::Lost => "lost",
            },
            isolation: report.isolation.to_string(),
            runtimes: report.runtimes.iter().map(ToString::to_string).collect(),
            silent_ms: millis(worker.silent_for),
            memory_mb: report.capacity.memory_mb,
            reserved_mb: worker.reserved_mb,
            used_mb: report.load.memory_mb,
            milli_cpus: report.capacity.milli_cpus,
            used_milli_cpus: report.load.milli_cpus,
            max_slots: report.capacity.max_slots,
            slots: report.slots.len(),
            pooled: report.pooled.into_iter().map(pool).collect(),
        }
    }
}

impl From<HeldSlot> for SlotView {
    fn from(slot: HeldSlot) -> Self {
        Self {
            id: slot.lease.slot.to_string(),
            worker: slot.worker.to_string(),
            function: slot.function.name.to_string(),
            version: slot.function.version.to_string(),
            busy: slot.busy,
            idle_ms: millis(slot.idle_for),
            lease_usable_ms: millis(slot.lease.usable_for),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
