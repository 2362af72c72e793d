//! The shim against the headers of real HailoRT versions, which are not ours to ship.

use std::{env, fs, path::Path, process::Command};

/// `HAILORT_HEADERS` lists folders that hold `hailo/hailort.hpp`, separated by colons.
#[test]
#[ignore = "needs HailoRT's headers: set HAILORT_HEADERS and add --ignored"]
fn compiles_against_real_headers() {
    let folders = env::var("HAILORT_HEADERS").expect("HAILORT_HEADERS lists folders with hailo/hailort.hpp");
    let shim = Path::new(env!("CARGO_MANIFEST_DIR")).join("shim");
    let object = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shim.o");
    for include in folders.split(':') {
        assert!(Path::new(include).join("hailo/hailort.hpp").is_file(), "{include} has no hailo/hailort.hpp");
        // Tells the generations apart; the rest of the number is of no consequence here.
        let is_4 = Path::new(include).join("hailo/network_rate_calculator.hpp").is_file();
        let mut compiled = 0;
        for entry in fs::read_dir(&shim).unwrap() {
            let source = entry.unwrap().path();
            if source.extension().is_none_or(|extension| extension != "cpp") {
                continue;
            }
            let output = Command::new("c++")
                .args(["-std=c++17", "-O1", "-fPIC", "-Wall", "-Wextra", "-Wpedantic", "-Werror"])
                .arg(format!("-DHAILORT_MAJOR_VERSION={}", if is_4 { 4 } else { 5 }))
                .args([
                    "-DHAILORT_MINOR_VERSION=0",
                    "-DHAILORT_REVISION_VERSION=0",
                    "-isystem",
                    include,
                    "-c",
                ])
                .arg(&source)
                .arg("-o")
                .arg(&object)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{} against {include}:\n{said}", source.display());
            compiled += 1;
        }
        assert_eq!(compiled, 3);
        println!("{include}: compiles");
    }
}
