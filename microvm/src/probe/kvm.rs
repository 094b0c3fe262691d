//! What microVMs need.

use std::fs::{self, OpenOptions};
use std::io;

use super::Finding;

pub(super) fn findings() -> Vec<Finding> {
    vec![
        processor(),
        device(),
        Finding::missing("microVM monitor", "not in this version of Hearth", "use --isolation jail"),
    ]
}

fn processor() -> Finding {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    match virtualisation(&info) {
        Some(flag) => Finding::good("hardware virtualisation", format!("the CPU has {flag}")),
        None if cfg!(target_arch = "x86_64") => Finding::missing(
            "hardware virtualisation",
            "the CPU shows neither vmx nor svm",
            "switch it on in the firmware, or choose an instance type with nested virtualisation",
        ),
        None => Finding::good("hardware virtualisation", "every CPU of this architecture has it"),
    }
}

fn device() -> Finding {
    match OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        Ok(_) => Finding::good("/dev/kvm", "opens"),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Finding::missing("/dev/kvm", error.to_string(), "add this user to the group kvm")
        }
        Err(error) => Finding::missing("/dev/kvm", error.to_string(), "modprobe kvm_intel or kvm_amd"),
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
}
