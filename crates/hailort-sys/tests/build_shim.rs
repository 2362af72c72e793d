//! `tools/hailo-clip-build-shim` against the simulated HailoRT: it works, and each way to fail says so.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
};

const VERSION: &str = "5.2.0";

/// An installation of HailoRT that a test may spoil, and a folder for the shim.
struct Machine {
    root: PathBuf,
}

impl Machine {
    fn new(name: &str) -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("build-shim").join(name);
        let _ = fs::remove_dir_all(&root);
        let machine = Self { root };
        let built = simulator();
        copy(&built.join("include/hailo"), &machine.prefix().join("include/hailo"));
        copy(&built.join("lib/cmake/HailoRT"), &machine.prefix().join("lib/cmake/HailoRT"));
        machine.install(&built.join(format!("lib/libhailort.so.{VERSION}")), VERSION);
        machine
    }

    /// With a library in which `code` comes before the simulator's own.
    fn with_library_of(name: &str, code: &str) -> Self {
        let machine = Self::new(name);
        machine.install_made_of(code, &objects_of_simulator());
        machine
    }

    fn prefix(&self) -> PathBuf {
        self.root.join("prefix")
    }

    fn shims(&self) -> PathBuf {
        self.root.join("shims")
    }

    fn shim(&self, version: &str) -> PathBuf {
        self.shims().join(format!("libhailo_clip_shim-{version}.so"))
    }

    /// Puts a library in place under a version's name.
    fn install(&self, library: &Path, version: &str) {
        let lib = self.prefix().join("lib");
        fs::create_dir_all(&lib).unwrap();
        let name = format!("libhailort.so.{version}");
        fs::copy(library, lib.join(&name)).unwrap();
        let _ = fs::remove_file(lib.join("libhailort.so"));
        symlink(name, lib.join("libhailort.so")).unwrap();
    }

    fn install_made_of(&self, code: &str, objects: &[PathBuf]) {
        let source = self.root.join("library.cpp");
        fs::write(&source, code).unwrap();
        let library = self.root.join("library.so");
        let linked = Command::new("c++")
            .args(["-std=c++17", "-shared", "-fPIC", "-Wl,--allow-multiple-definition"])
            .arg(format!("-Wl,-soname,libhailort.so.{VERSION}"))
            .arg("-I")
            .arg(self.prefix().join("include"))
            .arg("-o")
            .arg(&library)
            .arg(&source)
            .args(objects)
            .args(["-pthread", "-ldl"])
            .status()
            .unwrap();
        assert!(linked.success());
        self.install(&library, VERSION);
    }

    /// A copy of the shim's sources that a test may spoil.
    fn sources(&self) -> PathBuf {
        let copied = self.root.join("shim");
        copy(&repository().join("crates/hailort-sys/shim"), &copied);
        copied
    }

    fn build(&self) -> Command {
        self.build_from(&repository().join("crates/hailort-sys/shim"))
    }

    fn build_from(&self, sources: &Path) -> Command {
        let mut tool = Command::new(repository().join("tools/hailo-clip-build-shim"));
        tool.arg("--prefix").arg(self.prefix()).arg("--shim-dir").arg(self.shims());
        tool.arg("--source").arg(sources);
        // Quick to compile is good enough.
        tool.env_remove("CXX").env("CXXFLAGS", "-O0").env_remove("LDFLAGS");
        tool
    }

    /// Nothing is left of a build that failed, and what was there before stays.
    #[track_caller]
    fn is_unchanged(&self) {
        let mut left: Vec<_> = fs::read_dir(self.shims())
            .map_or_else(|_| Vec::new(), |entries| entries.map(|entry| entry.unwrap().path()).collect());
        left.retain(|path| *path != self.shim("4.20.0"));
        assert!(left.is_empty(), "{left:?}");
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The simulated HailoRT, built on first use.
fn simulator() -> PathBuf {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("hailort-sim");
    let status = Command::new("make")
        .arg("-C")
        .arg(repository().join("crates/hailort-sys/sim"))
        .arg(format!("OUT={}", out.display()))
        .arg(format!("VERSION={VERSION}"))
        .arg("library")
        .status()
        .unwrap();
    assert!(status.success(), "the simulator was not built");
    out.join(VERSION)
}

fn objects_of_simulator() -> Vec<PathBuf> {
    let objects = simulator().parent().unwrap().join(".build").join(VERSION);
    fs::read_dir(objects)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "o"))
        .collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

fn replace(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "no {from:?} in {}", path.display());
    fs::write(path, text.replace(from, to)).unwrap();
}

/// Runs the tool, which must end with `status` and one line of its own that has all of `words`.
#[track_caller]
fn fails(command: &mut Command, status: i32, words: &[&str]) -> String {
    let Output { status: ended, stderr, .. } = command.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(ended.code(), Some(status), "{stderr}");
    let said: Vec<&str> = stderr.lines().filter(|line| line.starts_with("hailo-clip-build-shim: ")).collect();
    assert_eq!(said.len(), 1, "{stderr}");
    for word in words {
        assert!(said[0].contains(word), "no {word:?} in {stderr}");
    }
    stderr
}

#[track_caller]
fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Asks whether the shim in place fits: the exit status, and the one line that is said.
#[track_caller]
fn check(command: &mut Command, status: i32, word: &str) {
    let output = command.arg("--check").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(status), "{said}");
    assert!(said.contains(word) && said.lines().count() == 1, "{said}");
}

#[test]
fn builds_a_shim_and_says_whether_it_fits() {
    let machine = Machine::new("success");
    check(&mut machine.build(), 1, "there is no shim for HailoRT 5.2.0");
    fs::create_dir_all(machine.shims()).unwrap();
    fs::write(machine.shim("4.20.0"), "old").unwrap();
    check(&mut machine.build(), 1, "libhailo_clip_shim-4.20.0.so, but HailoRT is 5.2.0");

    assert!(succeeds(&mut machine.build()).contains("libhailo_clip_shim-5.2.0.so"));
    assert!(!machine.shim("4.20.0").exists());
    assert_eq!(fs::read_dir(machine.shims()).unwrap().count(), 1);
    assert_eq!(fs::metadata(machine.shim(VERSION)).unwrap().permissions().mode() & 0o777, 0o644);
    check(&mut machine.build(), 0, "in place");
}

#[test]
fn a_shim_of_another_release_does_not_fit() {
    let machine = Machine::new("other-release");
    succeeds(&mut machine.build());
    let sources = machine.sources();
    fs::write(sources.join("extra.hpp"), "// new\n").unwrap();
    check(&mut machine.build_from(&sources), 1, "not made by this version of hailo-clip");
    succeeds(&mut machine.build_from(&sources));
    check(&mut machine.build_from(&sources), 0, "in place");
}

#[test]
fn the_library_is_found_without_the_link_for_developers() {
    let machine = Machine::new("no-link");
    fs::remove_file(machine.prefix().join("lib/libhailort.so")).unwrap();
    succeeds(&mut machine.build());
    assert!(machine.shim(VERSION).exists());
}

#[test]
fn the_shim_exports_its_functions_alone() {
    let machine = Machine::new("exports");
    succeeds(&mut machine.build());
    let output =
        Command::new("nm").args(["-D", "--defined-only"]).arg(machine.shim(VERSION)).output().unwrap();
    let symbols = String::from_utf8(output.stdout).unwrap();
    let header = fs::read_to_string(repository().join("crates/hailort-sys/shim/hailort_shim.h")).unwrap();
    let names: Vec<_> = symbols.lines().filter_map(|line| line.split_whitespace().last()).collect();
    assert!(names.len() > 20, "{symbols}");
    for name in names {
        assert!(header.contains(&format!("{name}(")), "{name}");
    }
}

#[test]
fn wrong_arguments() {
    let machine = Machine::new("arguments");
    fails(machine.build().arg("--frobnicate"), 2, &["--frobnicate", "--help"]);
    fails(machine.build().arg("--shim-dir"), 2, &["--shim-dir", "--help"]);
    assert!(succeeds(machine.build().arg("--help")).contains("Exit status"));
}

#[test]
fn no_library() {
    let machine = Machine::new("no-library");
    fs::remove_dir_all(machine.prefix().join("lib")).unwrap();
    fails(&mut machine.build(), 3, &["libhailort.so is not in", "hailo-all", "hailo-h10-all"]);
    fails(machine.build().arg("--check"), 3, &["libhailort.so is not in"]);
    machine.is_unchanged();
}

#[test]
fn no_headers_or_no_sources() {
    let machine = Machine::new("no-headers");
    fails(&mut machine.build_from(&machine.root), 4, &["sources are not in", "install hailo-clip again"]);
    fs::remove_dir_all(machine.prefix().join("include")).unwrap();
    fails(&mut machine.build(), 4, &["headers", "include"]);
    machine.is_unchanged();
}

#[test]
fn headers_and_library_of_different_versions() {
    let machine = Machine::new("mismatch");
    let version_file = machine.prefix().join("lib/cmake/HailoRT/HailoRTConfigVersion.cmake");
    replace(&version_file, VERSION, "5.1.1");
    fails(&mut machine.build(), 5, &["5.1.1", "5.2.0"]);
    machine.is_unchanged();
}

#[test]
fn a_library_that_was_renamed() {
    let machine = Machine::new("renamed");
    let library = machine.prefix().join(format!("lib/libhailort.so.{VERSION}"));
    fs::remove_dir_all(machine.prefix().join("lib/cmake")).unwrap();
    machine.install(&library, "5.3.0");
    fails(&mut machine.build(), 5, &["libhailort.so.5.3.0", "libhailort.so.5.2.0"]);

    fs::remove_file(machine.prefix().join("lib/libhailort.so")).unwrap();
    fs::copy(&library, machine.prefix().join("lib/libhailort.so")).unwrap();
    fails(&mut machine.build(), 5, &["does not carry its version"]);
    machine.is_unchanged();
}

#[test]
fn no_compiler() {
    let machine = Machine::new("no-compiler");
    fails(machine.build().env("CXX", "no-such-compiler"), 6, &["no-such-compiler", "install g++"]);
    machine.is_unchanged();
}

#[test]
fn the_compiler_fails() {
    let machine = Machine::new("compiler-error");
    fs::create_dir_all(machine.shims()).unwrap();
    fs::write(machine.shim("4.20.0"), "old").unwrap();
    replace(&machine.prefix().join("include/hailo/hailort.hpp"), "get_async_queue_size", "another_name");
    let said = fails(&mut machine.build(), 7, &["compiling model.cpp for HailoRT 5.2.0 failed"]);
    assert!(said.contains("get_async_queue_size") && said.lines().count() <= 13, "{said}");
    machine.is_unchanged();
}

#[test]
fn the_linker_fails() {
    let machine = Machine::new("link-error");
    machine.install_made_of("", &[]);
    let said = fails(&mut machine.build(), 8, &["linking the shim for HailoRT 5.2.0 failed"]);
    assert!(said.contains("undefined reference"), "{said}");
    machine.is_unchanged();
}

#[test]
fn the_new_shim_lacks_a_function() {
    let machine = Machine::new("missing-function");
    let sources = machine.sources();
    replace(&sources.join("hailort_shim.map"), "local: *;", "local: hailort_shim_model_submit; *;");
    fails(&mut machine.build_from(&sources), 9, &["the function hailort_shim_model_submit is missing"]);
    machine.is_unchanged();
}

#[test]
fn the_new_shim_has_another_interface() {
    let machine = Machine::new("other-interface");
    let sources = machine.sources();
    replace(&sources.join("hailort_shim.cpp"), "return HAILORT_SHIM_ABI;", "return 77;");
    fails(&mut machine.build_from(&sources), 9, &["its interface is number 77"]);
    machine.is_unchanged();
}

#[test]
fn the_library_says_another_version() {
    let machine = Machine::with_library_of(
        "other-version",
        r#"#include <hailo/hailort.h>
        hailo_status hailo_get_library_version(hailo_version_t *version)
        { *version = { 5, 1, 0 }; return HAILO_SUCCESS; }"#,
    );
    fails(&mut machine.build(), 9, &["the library says that it is 5.1.0"]);
    machine.is_unchanged();
}

#[test]
fn loading_crashes() {
    let machine = Machine::with_library_of(
        "crash",
        "#include <cstdlib>\n__attribute__((constructor)) static void crash() { std::abort(); }",
    );
    fails(&mut machine.build(), 9, &["loading libhailort 5.2.0 crashes"]);
    machine.is_unchanged();
}

#[test]
fn loading_hangs() {
    let machine = Machine::with_library_of(
        "hang",
        "#include <unistd.h>\n__attribute__((constructor)) static void hang() { for (;;) { pause(); } }",
    );
    fails(machine.build().env("HAILO_CLIP_TRIAL_SECONDS", "1"), 9, &["loading libhailort 5.2.0 hangs"]);
    machine.is_unchanged();
}

#[test]
fn no_permission() {
    let machine = Machine::new("no-permission");
    // Not even root can make a folder below a file.
    fs::write(machine.root.join("file"), "").unwrap();
    let mut tool = machine.build();
    tool.arg("--shim-dir").arg(machine.root.join("file/shims"));
    fails(&mut tool, 10, &["cannot be written to", "as root"]);
}

#[test]
fn the_disk_is_full() {
    let machine = Machine::new("disk-full");
    let compiler = machine.root.join("compiler");
    fs::write(
        &compiler,
        "#!/bin/sh\necho 'fatal error: error writing to x.s: No space left on device' >&2\nexit 1\n",
    )
    .unwrap();
    fs::set_permissions(&compiler, fs::Permissions::from_mode(0o755)).unwrap();
    fails(machine.build().env("CXX", compiler), 11, &["the disk is full"]);
    machine.is_unchanged();
}
