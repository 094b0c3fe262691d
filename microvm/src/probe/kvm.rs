//! What microVMs need: KVM that answers, guests that run at the processor's speed, `hearth-vmm` and something to boot.

mod speed;

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use kvm_ioctls::{Cap, Kvm};

use super::{Finding, Installation, Verdict};
use crate::kvm::manifest::{Manifest, ManifestError};
use crate::sys;

/// The one version of KVM's interface there is (Documentation/virt/kvm/api.rst).
const API_VERSION: i32 = 12;
/// What of KVM a machine uses.
const CAPABILITIES: [(Cap, &str); 8] = [
    (Cap::Irqchip, "IRQCHIP"),
    (Cap::Irqfd, "IRQFD"),
    (Cap::Ioeventfd, "IOEVENTFD"),
    (Cap::UserMemory, "USER_MEMORY"),
    (Cap::ExtCpuid, "EXT_CPUID"),
    (Cap::MpState, "MP_STATE"),
    (Cap::VcpuEvents, "VCPU_EVENTS"),
    (Cap::AdjustClock, "ADJUST_CLOCK"),
];

/// `jail` is what was found of the walls that `hearth-vmm` needs around it.
pub(super) fn findings(installation: &Installation, jail: &[Finding]) -> Vec<Finding> {
    let mut findings = vec![processor()];
    match open() {
        Ok(kvm) => findings.extend([device(&kvm), speed::finding(&kvm)]),
        Err(finding) => findings.push(finding),
    }
    findings.extend([walls(jail), monitor(installation.vmm.as_deref()), images(installation.guest_images.as_deref())]);
    findings
}

fn processor() -> Finding {
    const WHAT: &str = "hardware virtualisation";
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    match virtualisation(&info) {
        Some(flag) => Finding::good(WHAT, format!("the CPU has {flag}")),
        // What decides is how /dev/kvm does without.
        None => Finding::limited(
            WHAT,
            "the CPU shows neither vmx nor svm",
            "switch it on in the firmware, or choose an instance type with nested virtualisation",
        ),
    }
}

fn open() -> Result<Kvm, Finding> {
    match OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        Ok(device) => Ok(sys::kvm::of_device(device.into())),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(Finding::missing("/dev/kvm", error.to_string(), "add this user to the group kvm"))
        }
        Err(error) => Err(Finding::missing("/dev/kvm", error.to_string(), "modprobe kvm_intel or kvm_amd")),
    }
}

fn device(kvm: &Kvm) -> Finding {
    const WHAT: &str = "/dev/kvm";
    let version = kvm.get_api_version();
    if version != API_VERSION {
        let seen = format!("has version {version} of its interface, not {API_VERSION}");
        return Finding::missing(WHAT, seen, "use Linux 5.14 or later with its own KVM");
    }
    let missing = CAPABILITIES.iter().filter(|(capability, _)| !kvm.check_extension(*capability));
    let missing: Vec<_> = missing.map(|(_, name)| *name).collect();
    if missing.is_empty() {
        Finding::good(WHAT, format!("opens, and has all {} capabilities that are needed", CAPABILITIES.len()))
    } else {
        let seen = format!("opens, but lacks {}", missing.join(", "));
        Finding::missing(WHAT, seen, "use Linux 5.14 or later with its own KVM")
    }
}

/// A microVM's process is jailed, too.
fn walls(jail: &[Finding]) -> Finding {
    const WHAT: &str = "jail around hearth-vmm";
    match jail.iter().find(|found| found.verdict == Verdict::Missing) {
        Some(found) => Finding::missing(WHAT, format!("{}: {}", found.what, found.seen), &found.remedy),
        None => Finding::good(WHAT, "all walls stand"),
    }
}

fn monitor(path: Option<&Path>) -> Finding {
    const WHAT: &str = "hearth-vmm";
    const REMEDY: &str = "it belongs beside hearth: `make build` puts it there";
    match path {
        Some(path) if path.is_file() => Finding::good(WHAT, path.display().to_string()),
        Some(path) => Finding::missing(WHAT, format!("{} is not there", path.display()), REMEDY),
        None => Finding::missing(WHAT, "its place is not known", REMEDY),
    }
}

fn images(directory: Option<&Path>) -> Finding {
    const WHAT: &str = "guest kernel and images";
    const REMEDY: &str = "make them with `cargo xtask guest-image`, or name their directory with --guest-images";
    let Some(directory) = directory else { return Finding::missing(WHAT, "their directory is not known", REMEDY) };
    match Manifest::read(directory) {
        Ok(Manifest { images, .. }) if images.is_empty() => Finding::missing(WHAT, "a kernel, but no image", REMEDY),
        Ok(manifest) => {
            let names: Vec<_> = manifest.images.iter().map(|image| image.name.as_str()).collect();
            let kernel = format!("Linux {}", manifest.kernel.release);
            Finding::good(WHAT, format!("{kernel}; {} (in {})", names.join(", "), directory.display()))
        }
        Err(ManifestError::Unreadable { path, source }) => {
            Finding::missing(WHAT, format!("{}: {source}", path.display()), REMEDY)
        }
        Err(ManifestError::Invalid { path, reason }) => {
            Finding::missing(WHAT, format!("{}: {reason}", path.display()), REMEDY)
        }
    }
}

fn virtualisation(cpuinfo: &str) -> Option<&'static str> {
    let flags = cpuinfo.lines().find_map(|line| line.strip_prefix("flags")?.split_once(':'))?.1;
    ["vmx", "svm"].into_iter().find(|wanted| flags.split_whitespace().any(|flag| flag == *wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_whole_words() {
        assert_eq!(virtualisation("processor\t: 0\nflags\t\t: fpu svm_lock vmx sse\n"), Some("vmx"));
        assert_eq!(virtualisation("flags\t\t: fpu svm_lock\n"), None);
        assert_eq!(virtualisation(""), None);
    }

    #[test]
    fn what_is_not_installed_is_told_with_what_installs_it() {
        let nowhere = Installation::default();
        let found = findings(&nowhere, &[]);
        let missing = |what: &str| found.iter().any(|found| found.what == what && found.verdict == Verdict::Missing);
        assert!(missing("hearth-vmm") && missing("guest kernel and images"));
        let walls = walls(&[Finding::missing("namespaces", "EPERM", "sysctl")]);
        assert_eq!((walls.verdict, walls.remedy.as_str()), (Verdict::Missing, "sysctl"));
    }
}
