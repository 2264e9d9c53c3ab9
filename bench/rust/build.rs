//! Compiles the C++ peer if simdjson is installed (Debian: libsimdjson-dev); otherwise the output says that it is missing.

use std::path::Path;

fn main() {
    println!("cargo:rustc-check-cfg=cfg(simdjson)");
    println!("cargo:rerun-if-changed=src/simdjson.cpp");
    let headers = ["/usr/include/simdjson.h", "/usr/local/include/simdjson.h", "/opt/homebrew/include/simdjson.h"];
    // Also paths that do not exist: simdjson may be installed before the next build.
    headers.iter().for_each(|path| println!("cargo:rerun-if-changed={path}"));
    let header = headers.into_iter().find(|path| Path::new(path).exists());
    let Some(header) = header else {
        println!("cargo:warning=simdjson.h was not found: the C++ peer is left out (Debian: libsimdjson-dev)");
        return;
    };
    let text = std::fs::read_to_string(header).expect("a header that exists can be read");
    let version = text.lines().find_map(|line| line.strip_prefix("#define SIMDJSON_VERSION "));
    println!("cargo:rustc-env=SIMDJSON_VERSION={}", version.unwrap_or("of unknown version").trim_matches('"'));
    // On-demand picks its instructions when it is compiled, so it gets all that this machine has: the best case.
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .opt_level(3)
        .flag("-march=native")
        .flag("-fno-exceptions")
        .define("NDEBUG", None)
        .file("src/simdjson.cpp")
        .compile("krakpot_simdjson");
    println!("cargo:rustc-link-lib=simdjson");
    println!("cargo:rustc-cfg=simdjson");
}
