//! `hearth doctor`: what this machine can run, how well functions would be separated, and what to do about the rest.
//!
//! It tells, and so exits with 0 whatever it found; scripts ask `--chosen`.

use std::path::PathBuf;

use clap::Args;
use hearth_domain::Runtime;
use hearth_microvm::jail::enter_rootless;
use hearth_microvm::probe::{self, Finding, Installation, Report, Verdict};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::output::{Output, line};
use crate::serve::{VMM, beside_this_program};

/// Tries what this machine allows; leaves nothing behind.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Write only what `--isolation auto` takes here: kvm, jail, or none
    #[arg(long)]
    chosen: bool,
    /// What microVMs boot from [guest-images beside hearth]
    #[arg(long, value_name = "DIR", env = "HEARTH_GUEST_IMAGES")]
    guest_images: Option<PathBuf>,
    /// How the result is written
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl Doctor {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        // As `hearth up` does it, so that what is found holds there, too. Where it fails, namespaces are found missing.
        let rootless = enter_rootless();
        let report = probe::examine(&Installation {
            vmm: Some(beside_this_program(VMM)),
            guest_images: Some(self.guest_images.unwrap_or_else(|| beside_this_program("guest-images"))),
            cgroup_parent: None,
        });
        let chosen = report.choose(None).ok();
        if self.chosen {
            line(&chosen.map_or_else(|| "none".into(), |isolation| isolation.to_string()))?;
            return Ok(Exit::Success);
        }
        let user = match &rootless {
            Ok(false) => "root".to_owned(),
            Ok(true) => "an ordinary user, with a user namespace of its own".to_owned(),
            Err(error) => format!("an ordinary user: {error}: {}", error.source),
        };
        let told = Told { report, chosen: chosen.map(|isolation| isolation.to_string()), user, runtimes: runtimes()? };
        match self.output {
            Output::Json => line(&format!("{:#}", told.for_machines()))?,
            Output::Table => line(told.for_people().trim_end())?,
        }
        Ok(Exit::Success)
    }
}

/// What functions can be written in here.
fn runtimes() -> Result<Vec<Runtime>, Failure> {
    // Where workers look for what is compiled, too.
    let shim = beside_this_program("hearth-shim");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let found = runtime.and_then(|runtime| runtime.block_on(hearth_worker::runtimes_of_this_host(shim.parent())));
    found.map_err(|error| Failure::new(Exit::Unavailable, format!("look for this host's languages: {error}")))
}

/// What there is to tell.
struct Told {
    report: Report,
    chosen: Option<String>,
    user: String,
    runtimes: Vec<Runtime>,
}

impl Told {
    fn for_machines(&self) -> Value {
        let list = |findings: &[Finding]| findings.iter().map(document).collect::<Vec<_>>();
        json!({
            "chosen": self.chosen,
            "user": self.user,
            "runtimes": self.runtimes.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "jail": list(&self.report.jail),
            "kvm": list(&self.report.kvm),
        })
    }

    /// Why it is no microVM, if it is none.
    fn why(&self) -> String {
        let against: Vec<_> = self.report.against_kvm().into_iter().map(|found| found.what).collect();
        if against.is_empty() { String::new() } else { format!(" (not kvm, because of: {})", against.join(", ")) }
    }

    fn for_people(&self) -> String {
        let mut text = format!("running as {}\n", self.user);
        text.push_str(&section("jail: namespaces, control groups, seccomp, no capabilities", &self.report.jail));
        text.push_str(&section("kvm: a microVM for each environment", &self.report.kvm));
        let names: Vec<String> = self.runtimes.iter().map(ToString::to_string).collect();
        text.push_str(&format!(
            "\nruntimes on this host's programs (microVMs have those of their images): {}\n",
            names.join(", ")
        ));
        text.push_str(&match &self.chosen {
            Some(isolation) => format!("\nisolation chosen by `--isolation auto`: {isolation}{}\n", self.why()),
            None => "\nisolation chosen by `--isolation auto`: none, so that `hearth up` refuses to start.\n\
                     Do what stands at \"missing\" above; or run with `--isolation process`, which is NO SECURITY \
                     BOUNDARY:\nfunctions can then read and harm what this user can.\n"
                .to_owned(),
        });
        let loose = self.report.unenforced();
        // In a microVM its own kernel and size hold all but the share of the processors.
        if self.chosen.as_deref() == Some("jail") && !loose.is_empty() {
            let names: Vec<String> = loose.into_iter().map(|limit| limit.what).collect();
            text.push_str(&format!("not enforced here: {}\n", names.join(", ")));
        }
        text
    }
}

fn section(title: &str, findings: &[Finding]) -> String {
    let mut text = format!("\n{title}\n");
    for found in findings {
        text.push_str(&format!("  {:<8} {:<33} {}\n", word(found.verdict), found.what, found.seen));
        if !found.remedy.is_empty() {
            text.push_str(&format!("  {:<8} {:<33} → {}\n", "", "", found.remedy));
        }
    }
    text
}

fn document(found: &Finding) -> Value {
    json!({ "what": found.what, "verdict": word(found.verdict), "seen": found.seen, "remedy": found.remedy })
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "good",
        Verdict::Limited => "limited",
        Verdict::Missing => "missing",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(verdict: Verdict, chosen: Option<&str>) -> Told {
        let finding = Finding { what: "memory limit", verdict, seen: "EPERM".into(), remedy: "run as root".into() };
        let report = Report { jail: vec![finding], kvm: Vec::new() };
        Told {
            report,
            chosen: chosen.map(ToOwned::to_owned),
            user: "root".into(),
            runtimes: vec![Runtime::Python { minor: 11 }],
        }
    }

    #[test]
    fn what_is_loose_and_what_is_missing_is_said_with_its_remedy() {
        let loose = told(Verdict::Limited, Some("jail")).for_people();
        assert!(loose.contains("limited  memory limit                      EPERM\n"), "{loose}");
        assert!(loose.contains("→ run as root") && loose.contains("not enforced here: memory limit"), "{loose}");
        assert!(!loose.contains("not kvm"), "{loose}");
        assert!(loose.contains("of their images): python3.11\n"), "{loose}");
        let nothing = told(Verdict::Missing, None).for_people();
        assert!(nothing.contains("NO SECURITY BOUNDARY") && !nothing.contains("not enforced here"), "{nothing}");
    }

    #[test]
    fn what_keeps_from_microvms_is_said_beside_the_choice() {
        let mut slow = told(Verdict::Good, Some("jail"));
        let (what, seen) = ("speed of guests", "1 million instructions a second".into());
        slow.report.kvm.push(Finding { what, verdict: Verdict::Limited, seen, remedy: "hardware".into() });
        let text = slow.for_people();
        assert!(text.contains("auto`: jail (not kvm, because of: speed of guests)"), "{text}");
    }

    #[test]
    fn machines_get_the_choice_and_every_finding() {
        let document = told(Verdict::Missing, None).for_machines();
        assert_eq!(document["chosen"], Value::Null);
        assert_eq!(document["jail"][0]["verdict"], "missing");
    }
}
