//! Prints what this host allows: what `hearth doctor` shows about sandboxes. `--rootless` first becomes root of a
//! namespace of its own.

fn main() {
    if std::env::args().any(|arg| arg == "--rootless") {
        println!("entered: {:?}", hearth_microvm::jail::enter_rootless());
    }
    let report = hearth_microvm::probe::examine(&Default::default());
    for found in report.jail.iter().chain(&report.kvm) {
        println!("{:<8} {:<32} {} {}", format!("{:?}", found.verdict), found.what, found.seen, found.remedy);
    }
    println!("free choice: {:?}", report.choose(None).map_err(|error| error.to_string()));
}
