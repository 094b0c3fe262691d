//! Which controllers this host has, of which version, and where this process is in each.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What a cgroup can limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Controller {
    Cpu,
    CpuAccounting,
    CpuSet,
    Memory,
    Pids,
    Io,
    Devices,
    Freezer,
}

impl Controller {
    pub(crate) const ALL: [Self; 8] = [
        Self::Cpu,
        Self::CpuAccounting,
        Self::CpuSet,
        Self::Memory,
        Self::Pids,
        Self::Io,
        Self::Devices,
        Self::Freezer,
    ];

    /// Its name among the mount options of version 1.
    fn v1_name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::CpuAccounting => "cpuacct",
            Self::CpuSet => "cpuset",
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Io => "blkio",
            Self::Devices => "devices",
            Self::Freezer => "freezer",
        }
    }

    /// Its name in `cgroup.controllers` of version 2. Accounting and freezing are always there; devices are eBPF's.
    pub(crate) fn v2_name(self) -> Option<&'static str> {
        match self {
            Self::Cpu => Some("cpu"),
            Self::CpuSet => Some("cpuset"),
            Self::Memory => Some("memory"),
            Self::Pids => Some("pids"),
            Self::Io => Some("io"),
            Self::CpuAccounting | Self::Freezer | Self::Devices => None,
        }
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.v1_name())
    }
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// What of it concerns us.
    pub(crate) controllers: Vec<Controller>,
    /// Where it is mounted.
    pub(crate) mount: PathBuf,
    /// The directory of the cgroup this process is in.
    pub(crate) own: PathBuf,
    /// What it was mounted with.
    pub(crate) options: String,
}

/// Every hierarchy of the host that has a controller we use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) v1: Vec<Hierarchy>,
    /// Present also when it has no controllers (hybrid hosts).
    pub(crate) v2: Option<Hierarchy>,
}

impl Layout {
    /// Reads it from `/proc/self`.
    pub(crate) fn of_this_process() -> io::Result<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
        let membership = std::fs::read_to_string("/proc/self/cgroup")?;
        let mut layout = Self::parse(&mounts, &membership);
        if let Some(v2) = &mut layout.v2 {
            let names = std::fs::read_to_string(v2.own.join("cgroup.controllers")).unwrap_or_default();
            v2.controllers = parse_v2_controllers(&names);
            if !v2.controllers.is_empty() {
                // They come with the kernel's core on version 2, if anything is controlled there at all.
                v2.controllers.extend([Controller::CpuAccounting, Controller::Freezer]);
            }
        }
        Ok(layout)
    }

    /// Whether a controller is there, in either version.
    pub(crate) fn has(&self, controller: Controller) -> bool {
        self.v1.iter().chain(&self.v2).any(|hierarchy| hierarchy.controllers.contains(&controller))
    }

    fn parse(mountinfo: &str, membership: &str) -> Self {
        let mut layout = Self::default();
        for mount in mountinfo.lines().filter_map(Mount::parse) {
            match mount.kind {
                "cgroup" => layout.add_v1(&mount, membership),
                "cgroup2" if layout.v2.is_none() => {
                    let own = membership.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
                    let own = mount.locate(own);
                    let options = mount.options.to_owned();
                    layout.v2 = Some(Hierarchy { controllers: Vec::new(), mount: mount.at, own, options });
                }
                _ => {}
            }
        }
        layout
    }

    fn add_v1(&mut self, mount: &Mount<'_>, membership: &str) {
        let names: Vec<&str> = mount.options.split(',').collect();
        let controllers: Vec<Controller> =
            Controller::ALL.into_iter().filter(|c| names.contains(&c.v1_name()) && !self.has(*c)).collect();
        let Some(first) = controllers.first() else { return };
        let own = membership.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (names, path) = (fields.next()?, fields.next()?);
            names.split(',').any(|name| name == first.v1_name()).then_some(path)
        });
        let own = mount.locate(own.unwrap_or("/"));
        let options = mount.options.to_owned();
        self.v1.push(Hierarchy { controllers, mount: mount.at.clone(), own, options });
    }
}

fn parse_v2_controllers(names: &str) -> Vec<Controller> {
    let names: Vec<&str> = names.split_whitespace().collect();
    Controller::ALL.into_iter().filter(|c| c.v2_name().is_some_and(|name| names.contains(&name))).collect()
}

/// One line of `mountinfo`.
struct Mount<'a> {
    root: &'a str,
    at: PathBuf,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    /// Fields: see proc_pid_mountinfo(5).
    fn parse(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (root, at) = (before.next()?, before.next()?);
        let mut after = after.split(' ');
        let (kind, options) = (after.next()?, after.nth(1)?);
        Some(Self { root, at: PathBuf::from(at), kind, options })
    }

    /// Where the cgroup `path` is in the file system, this mount showing the part below its root.
    fn locate(&self, path: &str) -> PathBuf {
        let below = Path::new(path).strip_prefix(self.root).unwrap_or(Path::new("")).to_path_buf();
        if below.as_os_str().is_empty() {
            self.at.clone()
        } else {
            self.at.join(below.strip_prefix("/").unwrap_or(&below))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
22 27 0:21 / /proc rw,relatime - proc proc rw
";

    #[test]
    fn finds_own_group_in_each_hierarchy_of_a_hybrid_host() {
        let layout = Layout::parse(HYBRID, "4:memory:/a/b\n1:cpu,cpuacct:/\n0::/x\n");
        assert_eq!(layout.v1.len(), 2);
        assert_eq!(layout.v1[0].controllers, [Controller::Cpu, Controller::CpuAccounting]);
        assert_eq!(layout.v1[0].own, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(layout.v1[1].own, Path::new("/sys/fs/cgroup/memory/a/b"));
        assert_eq!(layout.v2.as_ref().map(|v2| v2.own.as_path()), Some(Path::new("/sys/fs/cgroup/unified/x")));
        assert!(layout.has(Controller::Memory) && !layout.has(Controller::Pids));
    }

    #[test]
    fn a_mount_of_a_part_of_the_hierarchy_is_looked_at_from_its_root() {
        let mounts = "30 1 0:26 /docker/7 /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        let layout = Layout::parse(mounts, "0::/docker/7/inner\n");
        assert_eq!(layout.v2.map(|v2| v2.own), Some(PathBuf::from("/sys/fs/cgroup/inner")));
    }

    #[test]
    fn version_two_names_only_controllers_we_use() {
        assert_eq!(parse_v2_controllers("cpuset cpu io memory hugetlb pids rdma\n").len(), 5);
        assert!(parse_v2_controllers("hugetlb\n").is_empty());
    }
}
