//! The directory in each hierarchy that holds a launcher's groups.

use std::io;
use std::path::{Path, PathBuf};

use super::directory::{self, Directory};
use super::group::Group;
use super::layout::{Controller, Hierarchy, Layout};

/// Devices every program may open, as the version 1 controller writes them: null, zero, full, random, urandom.
const DEVICES: [&str; 5] = ["c 1:3 rw", "c 1:5 rw", "c 1:7 rw", "c 1:8 rw", "c 1:9 rw"];
/// Whose processes go into a leaf beside the groups, because on version 2 an inner group holds none.
const SUPERVISOR: &str = "supervisor";

/// A launcher's own directory in every hierarchy.
pub(crate) struct Parent {
    /// Version 1: one directory for each hierarchy that could be written.
    v1: Vec<(Vec<Controller>, Directory)>,
    /// Where this process's threads were before.
    home: Vec<PathBuf>,
    /// Version 2, if it has controllers and could be written.
    v2: Option<(Vec<Controller>, Directory)>,
}

impl Parent {
    /// Where the directories called `name` would be, to be written down before they exist.
    pub(crate) fn paths(layout: &Layout, below: Option<&Path>, name: &str) -> Vec<PathBuf> {
        let used = layout.v1.iter().chain(layout.v2.iter().filter(|v2| !v2.controllers.is_empty()));
        used.flat_map(|hierarchy| candidates(hierarchy, below)).map(|base| base.join(name)).collect()
    }

    /// Makes the directories, beneath `below` of each hierarchy or else beneath this process's own groups. A hierarchy
    /// that can't be written is left out: [`Self::controllers`] tells what there is.
    pub(crate) fn create(layout: &Layout, below: Option<&Path>, name: &str) -> Self {
        let mut parent = Self { v1: Vec::new(), home: Vec::new(), v2: None };
        for hierarchy in &layout.v1 {
            let made = candidates(hierarchy, below).find_map(|base| create_v1(hierarchy, &base, name).ok());
            if let Some(directory) = made {
                parent.v1.push((hierarchy.controllers.clone(), directory));
                parent.home.push(hierarchy.own.clone());
            }
        }
        if let Some(hierarchy) = layout.v2.as_ref().filter(|v2| !v2.controllers.is_empty()) {
            parent.v2 = candidates(hierarchy, below).find_map(|base| create_v2(hierarchy, &base, name).ok());
        }
        parent
    }

    /// What groups made here are limited by.
    pub(crate) fn controllers(&self) -> Vec<Controller> {
        self.v1.iter().chain(&self.v2).flat_map(|(controllers, _)| controllers.iter().copied()).collect()
    }

    /// Makes a group for one sandbox, without limits as yet.
    pub(crate) fn group(&self, name: &str) -> io::Result<Group> {
        let mut v1 = Vec::with_capacity(self.v1.len());
        for (controllers, parent) in &self.v1 {
            let directory = Directory::create(parent.path().join(name))?;
            if controllers.contains(&Controller::CpuSet) {
                inherit_cpuset(parent, &directory)?;
            }
            v1.push((controllers.clone(), directory));
        }
        let v2 = match &self.v2 {
            Some((controllers, parent)) => Some((controllers.clone(), Directory::create(parent.path().join(name))?)),
            None => None,
        };
        Group::new(v1, v2)
    }

    /// Moves the calling thread back to where the process is (version 1 only).
    pub(crate) fn leave(&self) -> io::Result<()> {
        self.home.iter().try_for_each(|home| std::fs::write(home.join("tasks"), "0"))
    }

    /// Removes the directories, where nothing is left in them.
    pub(crate) fn remove(&self) {
        for (_, directory) in self.v1.iter().chain(&self.v2) {
            let _ = std::fs::remove_dir(directory.path());
        }
    }
}

/// Where a launcher's directory may be, best first.
fn candidates(hierarchy: &Hierarchy, below: Option<&Path>) -> impl Iterator<Item = PathBuf> {
    let configured = below.map(|path| hierarchy.mount.join(path.strip_prefix("/").unwrap_or(path)));
    // Where an earlier launcher of this process stepped aside, the group above is the one to use.
    let own = if hierarchy.own.ends_with(SUPERVISOR) { hierarchy.own.parent() } else { Some(hierarchy.own.as_path()) };
    let own = own.unwrap_or(&hierarchy.mount).to_path_buf();
    let own = [own, hierarchy.mount.clone()].into_iter().filter(move |_| below.is_none());
    configured.into_iter().chain(own)
}

fn create_v1(hierarchy: &Hierarchy, base: &Path, name: &str) -> io::Result<Directory> {
    let above = Directory::open(base.to_path_buf())?;
    let directory = create_or_open(base.join(name))?;
    match prepare_v1(hierarchy, &above, &directory) {
        Ok(()) => Ok(directory),
        Err(error) => {
            // An ordinary user may make a group of devices, but not say which.
            let _ = std::fs::remove_dir(directory.path());
            Err(error)
        }
    }
}

fn prepare_v1(hierarchy: &Hierarchy, above: &Directory, directory: &Directory) -> io::Result<()> {
    if hierarchy.controllers.contains(&Controller::CpuSet) {
        inherit_cpuset(above, directory)?;
    }
    if hierarchy.controllers.contains(&Controller::Devices) {
        directory.write("devices.deny", "a")?;
        DEVICES.iter().try_for_each(|device| directory.write("devices.allow", device))?;
    }
    if hierarchy.controllers.contains(&Controller::Memory) {
        // Kernels before 5.11 may have flat accounting; later ones know nothing else than this.
        let _ = directory.write_if_there("memory.use_hierarchy", "1");
    }
    Ok(())
}

fn create_v2(hierarchy: &Hierarchy, base: &Path, name: &str) -> io::Result<(Vec<Controller>, Directory)> {
    let above = Directory::open(base.to_path_buf())?;
    if above.read("cgroup.type").is_ok() && base == hierarchy.own {
        step_aside(&above)?;
    }
    let directory = create_or_open(base.join(name))?;
    let mut controllers = vec![Controller::CpuAccounting, Controller::Freezer];
    for controller in &hierarchy.controllers {
        let Some(switch) = controller.v2_name().map(|name| format!("+{name}")) else { continue };
        // One by one: a controller that can't be had here doesn't take the others with it.
        let on = above.write("cgroup.subtree_control", &switch);
        if on.and_then(|()| directory.write("cgroup.subtree_control", &switch)).is_ok() {
            controllers.push(*controller);
        }
    }
    if controllers.contains(&Controller::Memory) {
        Ok((controllers, directory))
    } else {
        Err(not_delegated(&directory))
    }
}

/// On version 2 a group that hands controllers down holds no process itself. Moves this process into a leaf, if it is
/// alone in its group; others are not ours to move.
fn step_aside(own: &Directory) -> io::Result<()> {
    let me = std::process::id().to_string();
    let listed = own.read("cgroup.procs")?;
    if listed.lines().any(|pid| pid != me) {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, "other processes are in this cgroup"));
    }
    if listed.is_empty() {
        return Ok(());
    }
    create_or_open(own.path().join(SUPERVISOR))?.write("cgroup.procs", &me)
}

fn not_delegated(directory: &Directory) -> io::Error {
    let _ = std::fs::remove_dir(directory.path());
    io::Error::new(io::ErrorKind::PermissionDenied, "the memory controller is not delegated")
}

fn create_or_open(path: PathBuf) -> io::Result<Directory> {
    match Directory::create(path.clone()) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Directory::open(path),
        other => other,
    }
}

/// A new version 1 cpuset is empty, and nothing can be in it until it is filled.
fn inherit_cpuset(from: &Directory, to: &Directory) -> io::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if directory::is_blank(&to.read(file)?) {
            to.write(file, from.read(file)?.trim())?;
        }
    }
    Ok(())
}
