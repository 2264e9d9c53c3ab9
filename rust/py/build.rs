//! Tells the extension which profile it was built with, so that benchmarks can refuse one that is not the release.
#![allow(clippy::disallowed_methods, reason = "a build script: cargo tells it by the environment")]

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Cargo builds in TARGET/PROFILE/build/NAME-HASH/out. Its variable PROFILE says "release" of all that inherit it.
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    let profile = out.ancestors().nth(3).and_then(|folder| folder.file_name()).and_then(|name| name.to_str());
    println!("cargo:rustc-env=KRAKPOT_PROFILE={}", profile.unwrap_or("unknown"));
}
