//! A function changed or was deleted: its old revisions' slots end.

use hearth_domain::Moment;
use hearth_protocol::worker_manager::RetireRequest;

use super::Router;
use super::function::FunctionIndex;

impl Router {
    /// Ends the idle slots of revisions that are not current any more. Calls that run or wait are served still; what
    /// they give back is released.
    pub fn on_retire(&mut self, now: Moment, request: &RetireRequest) {
        let name = (request.account.clone(), request.name.clone());
        let all = self.by_name.get(&name).cloned().unwrap_or_default();
        for index in all {
            let id = &self.functions[index].id;
            let asked = request.version.is_none_or(|version| version == id.version);
            if asked && request.keep.as_ref() != Some(&id.revision) {
                self.functions[index].retired = true;
                self.lower_target(now, index, 0);
                self.release_idle(now, index);
            }
        }
    }

    /// Releases every slot of the function that no call runs on and none waits for.
    pub(super) fn release_idle(&mut self, now: Moment, index: FunctionIndex) {
        let function = &mut self.functions[index];
        let mut ending: Vec<_> = std::mem::take(&mut function.idle).into_iter().map(|(_, id)| id).collect();
        if function.waiters.is_empty() {
            ending.extend(std::mem::take(&mut function.refreshing));
        }
        for id in ending {
            self.release(now, id);
        }
        self.unsettle(now, index);
    }
}
