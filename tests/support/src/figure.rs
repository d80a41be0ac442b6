//! Figures: what a test that passes counted. A harness shows nothing of such a test, so each is
//! left below the target directory, from where `scripts/figures` shows it.

use std::path::Path;

/// Leaves lines under a name, each of which begins with its count, in `CARGO_TARGET_TMPDIR`.
pub fn figure(directory: &str, name: &str, lines: &str) {
    let directory = Path::new(directory).join("figures");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join(name), format!("{}\n", lines.trim_end())).unwrap();
    eprintln!("{}", lines.trim_end());
}
