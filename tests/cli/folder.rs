//! A folder's index: what is asked for, kept and asked for again. And the files of rows.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::{
    fake::{Fake, Refusal},
    skip::skipped,
};

fn embed(fake: &Fake) -> String {
    let finished = fake.run(&["embed", "image", "-r", "photos", "-o", "out.jsonl"]);
    assert_eq!(finished.code, Some(0), "{}", finished.err);
    finished.err
}

/// Pictures of these names and contents, and where they are.
fn photos<const COUNT: usize>(fake: &Fake, names: [&str; COUNT]) -> [String; COUNT] {
    names.map(|name| {
        let path = format!("photos/{name}.jpg");
        fake.file(&path, name);
        path
    })
}

/// The pictures that were asked for since the last look, in order.
fn asked(fake: &Fake) -> Vec<String> {
    let images = fake.calls().into_iter().filter(|call| !call.image.is_empty());
    let mut images: Vec<String> = images.map(|call| String::from_utf8(call.image).unwrap()).collect();
    images.sort();
    images
}

fn out(fake: &Fake, name: &str) -> Vec<u8> {
    fs::read(fake.bus.folder.path().join(name)).unwrap()
}

fn rows(fake: &Fake) -> Vec<serde_json::Value> {
    let text = String::from_utf8(out(fake, "out.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn index(fake: &Fake) -> PathBuf {
    let folder = fs::read_dir(fake.bus.folder.path().join("cache/hailo-clip/index")).unwrap();
    let mut paths = folder.map(|entry| entry.unwrap().path());
    paths.find(|path| path.extension().is_some_and(|end| end == "index")).unwrap()
}

#[test]
fn only_new_and_changed_pictures_are_asked_for() {
    let fake = Fake::start();
    fake.file("photos/a.jpg", "1");
    fake.file("photos/sub/b.jpg", "22");
    assert_eq!(embed(&fake), "");
    assert_eq!(asked(&fake), ["1", "22"]);
    assert_eq!(embed(&fake), "");
    assert_eq!(asked(&fake), [""; 0]);

    fake.file("photos/a.jpg", "333");
    fake.file("photos/c.jpg", "4444");
    embed(&fake);
    assert_eq!(asked(&fake), ["333", "4444"]);

    // A new name is no new picture, and what has gone has no row.
    let photos = fake.bus.folder.path().join("photos");
    fs::rename(photos.join("sub/b.jpg"), photos.join("z.jpg")).unwrap();
    fs::remove_file(photos.join("c.jpg")).unwrap();
    embed(&fake);
    assert_eq!(asked(&fake), [""; 0]);
    let rows = rows(&fake);
    assert_eq!(
        rows.iter().map(|row| row["path"].as_str().unwrap()).collect::<Vec<_>>(),
        ["photos/a.jpg", "photos/z.jpg"]
    );
    assert_eq!(rows[0]["embedding"], serde_json::json!([3.0, 0.1, -0.25]));
    assert_eq!((&rows[1]["size"], &rows[1]["model"]), (&2.into(), &"fake".into()));
    assert!(rows[1]["mtime_ns"].is_i64());
}

#[test]
fn what_was_answered_before_a_kill_is_not_asked_for_again() {
    let fake = Fake::start();
    photos(&fake, ["a", "b", "c"]);
    fake.file("photos/d.jpg", "silent");
    let arguments = ["embed", "image", "photos", "-o", "out.jsonl", "--jobs", "4"];
    let mut child = fake.bus.command(&arguments).stderr(Stdio::null()).spawn().unwrap();
    // Three are in the index once the file has three records behind its head.
    for _ in 0..4 {
        fake.next_call();
    }
    let length = |count: u64| 8 + 3 + 5 + 28 + 12 * u64::from(count > 0);
    let head = || {
        fs::read(index(&fake)).ok().map(|bytes| 8 + u32::from_le_bytes(bytes[..4].try_into().unwrap()) as u64)
    };
    while head().is_none_or(|head| fs::metadata(index(&fake)).unwrap().len() < head + 3 * length(1)) {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    asked(&fake);

    fake.file("photos/d.jpg", "d");
    embed(&fake);
    assert_eq!(asked(&fake), ["d"]);
    assert_eq!(rows(&fake).len(), 4);
}

#[test]
fn an_interrupt_says_what_is_kept() {
    let fake = Fake::start();
    fake.file("photos/a.jpg", "a");
    fake.file("photos/b.jpg", "silent");
    let arguments = ["embed", "image", "photos", "-o", "out.jsonl", "--jobs", "1"];
    let mut child = fake.bus.command(&arguments).stderr(Stdio::piped()).spawn().unwrap();
    while fake.next_call().image != b"silent" {}
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-s", "INT", &pid]).status().unwrap().success());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(
        said,
        "hailo-clip: interrupted; 1 of 2 pictures are in the index, the same command goes on from there\n"
    );
    assert!(!fake.bus.folder.path().join("out.jsonl").exists());
}

#[test]
fn what_is_no_picture_has_no_row_and_is_asked_once() {
    let fake = Fake::start();
    fake.file("photos/a.jpg", "a");
    fake.file("photos/b.jpg", "broken");
    fake.file("photos/empty.jpg", "");
    for asked_for in [vec!["a", "broken"], vec![]] {
        let err = fake.run(&["embed", "image", "photos", "-o", "out.npy"]).failure(1);
        assert_eq!(
            err,
            "hailo-clip: photos/b.jpg: not a picture that the service can decode (JPEG, PNG, WebP, GIF, BMP, TIFF)\n\
             hailo-clip: photos/empty.jpg: empty\n"
        );
        assert_eq!(asked(&fake), asked_for);
        assert_eq!(out(&fake, "out.npy").len(), 128 + 12);
        let label: serde_json::Value = serde_json::from_slice(&out(&fake, "out.npy.jsonl")).unwrap();
        assert_eq!((&label["row"], &label["path"]), (&0.into(), &"photos/a.jpg".into()));
    }
}

#[test]
fn another_model_or_backend_is_said_and_indexed_anew() {
    let fake = Fake::start();
    fake.file("photos/a.jpg", "a");
    embed(&fake);
    asked(&fake);
    fake.become_other("fake", "hailo");
    let err = embed(&fake);
    assert!(
        err.contains(
            "photos was indexed with fake on cpu, 3 dimensions; indexing it anew with fake on hailo"
        ),
        "{err}"
    );
    assert_eq!(asked(&fake), ["a"]);
    assert_eq!(rows(&fake)[0]["backend"], "hailo");
}

/// Somebody has put other weights under the name.
#[test]
fn another_model_of_the_same_name_is_another_model() {
    let fake = Fake::start();
    fake.file("photos/a.jpg", "a");
    fake.set_digest("0123456789abcdef");
    embed(&fake);
    embed(&fake);
    assert_eq!(asked(&fake), ["a"]);
    fake.set_digest("fedcba9876543210");
    let err = embed(&fake);
    assert!(
        err.contains(
            "photos was indexed with fake (01234567) on cpu, 3 dimensions; \
             indexing it anew with fake (fedcba98) on cpu, 3 dimensions"
        ),
        "{err}"
    );
    assert_eq!(asked(&fake), ["a"]);
}

/// The embedding of the picture during which the model changed is of nobody knows whom.
#[test]
fn a_model_that_changes_in_between_leaves_no_mixture() {
    let fake = Fake::start();
    fake.file("photos/a.jpg", "a");
    fake.file("photos/b.jpg", "b");
    fake.when_read(|script, image| {
        if image == b"b" {
            script.become_other("other", "cpu");
        }
    });
    let err = fake.run(&["embed", "image", "photos", "-o", "out.jsonl", "--jobs", "1"]).err;
    assert!(err.contains("the service changed from fake on cpu, 3 dimensions to other on cpu"), "{err}");
    let rows = rows(&fake);
    assert!(rows.len() == 2 && rows.iter().all(|row| row["model"] == "other"), "{rows:?}");
    assert_eq!(asked(&fake), ["a", "a", "b", "b"]);
}

#[test]
fn a_file_that_changes_while_it_is_read_is_read_again() {
    let fake = Fake::start();
    let path = fake.file("photos/a.jpg", "first");
    fake.when_read(move |_, image| {
        if image == b"first" {
            fs::write(&path, "the second").unwrap();
        }
    });
    embed(&fake);
    assert_eq!(asked(&fake), ["first", "the second"]);
    assert_eq!(rows(&fake)[0]["embedding"][0], 10.0);
}

#[test]
fn a_service_that_goes_and_comes_back_is_waited_for() {
    let fake = Fake::start();
    fake.file("photos/a.jpg", "a");
    fake.file("photos/b.jpg", "b");
    fake.file("photos/c.jpg", "c");
    for _ in 0..3 {
        fake.refuse(Refusal::QueueFull("8 requests wait".to_owned()));
    }
    embed(&fake);
    asked(&fake);

    fake.file("photos/a.jpg", "silent");
    let arguments = ["embed", "image", "photos", "-o", "out.jsonl", "--jobs", "1", "--timeout", "0.2"];
    fake.file("photos/d.jpg", "d");
    // The first picture is out of time, and the service gone when the second is sent.
    let mut child = fake.bus.command(&arguments).stderr(Stdio::piped()).spawn().unwrap();
    while fake.next_call().image != b"silent" {}
    fake.leave();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.next().unwrap();
    assert!(line.contains("not running") && line.ends_with("waiting for the service"), "{line}");
    fake.come_back();
    assert_eq!(lines.next().unwrap(), "hailo-clip: the service answers again");
    assert!(lines.next().unwrap().contains("photos/a.jpg: no answer within"));
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(asked(&fake), ["d"]);
}

#[test]
fn a_queue_that_is_full_for_long_is_waited_for() {
    let fake = Fake::start();
    let pictures = photos(&fake, ["a", "b", "c", "d"]);
    let mut once = Some(());
    fake.when_read(move |script, image| {
        if image == b"b" && once.take().is_some() {
            script.set_full(true);
        }
    });
    let arguments = ["embed", "image", "photos", "-o", "out.jsonl", "--jobs", "2", "--timeout", "1"];
    let mut child = fake.bus.command(&arguments).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.next().unwrap();
    assert!(line.contains("busy") && line.ends_with("waiting for the service"), "{line}");
    fake.set_full(false);
    assert_eq!(lines.next().unwrap(), "hailo-clip: the service answers again");
    assert_eq!(lines.next(), None);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let paths: Vec<_> = rows(&fake).iter().map(|row| row["path"].clone()).collect();
    assert_eq!(paths, pictures);
    asked(&fake);
    embed(&fake);
    assert_eq!(asked(&fake), [""; 0], "all of it is in the index");
}

#[test]
fn a_service_that_loads_its_model_anew_is_waited_for() {
    let fake = Fake::start();
    let pictures = photos(&fake, ["a", "b", "c", "d"]);
    let mut once = Some(());
    fake.when_read(move |script, image| {
        if image == b"c" && once.take().is_some() {
            script.fall_into("loading");
        }
    });
    let arguments = ["embed", "image", "photos", "-o", "out.jsonl", "--jobs", "2"];
    let child = fake.bus.command(&arguments).stderr(Stdio::piped()).spawn().unwrap();
    while fake.next_call().image != b"c" {}
    fake.set_state("ready");
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(0), String::new()));
    let paths: Vec<_> = rows(&fake).iter().map(|row| row["path"].clone()).collect();
    assert_eq!(paths, pictures);
}

#[test]
fn a_service_that_was_never_there_is_not_waited_for() {
    let fake = Fake::start();
    fake.file("photos/a.jpg", "a");
    fake.leave();
    let err = fake.run(&["embed", "image", "photos", "-o", "out.jsonl"]).failure(3);
    assert!(err.contains("not running"), "{err}");
}

#[test]
fn a_folder_that_is_empty_today_keeps_its_index() {
    let fake = Fake::start();
    fake.file("photos/a.jpg", "a");
    embed(&fake);
    asked(&fake);
    let photos = fake.bus.folder.path().join("photos");
    fs::rename(photos.join("a.jpg"), fake.bus.folder.path().join("elsewhere")).unwrap();
    let err = fake.run(&["embed", "image", "photos", "-o", "out.jsonl"]).failure(1);
    assert_eq!(err, "hailo-clip: photos: no pictures in this folder\n");
    fs::rename(fake.bus.folder.path().join("elsewhere"), photos.join("a.jpg")).unwrap();
    embed(&fake);
    assert_eq!(asked(&fake), [""; 0]);
}

#[test]
fn the_index_is_for_its_owner_alone() {
    let fake = Fake::start();
    fake.file("photos/a.jpg", "a");
    embed(&fake);
    let index = index(&fake);
    assert_eq!(fs::metadata(&index).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(index.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn two_runs_do_not_write_at_once() {
    let fake = Fake::start();
    fake.file("photos/a.jpg", "after go");
    let arguments = ["embed", "image", "photos", "-o", "out.jsonl"];
    let mut first = fake.bus.command(&arguments).stderr(Stdio::null()).spawn().unwrap();
    while fake.next_call().image.is_empty() {}
    let mut second = fake.bus.command(&arguments).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(second.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("another hailo-clip works on this folder"), "{line}");
    fake.file("go.jpg", "go");
    fake.run(&["embed", "image", "go.jpg"]).success();
    assert!(first.wait().unwrap().success() && second.wait().unwrap().success());
    assert_eq!(asked(&fake), ["go"]);
}

#[test]
fn folders_and_single_pictures_go_into_one_file() {
    let fake = Fake::start();
    fake.file("photos/a.jpg", "1");
    fake.file("one.jpg", "22");
    fake.run(&["embed", "image", "one.jpg", "photos", "-o", "out.jsonl"]).success();
    assert_eq!(rows(&fake).iter().map(|row| &row["path"]).collect::<Vec<_>>(), ["one.jpg", "photos/a.jpg"]);
    let err = fake.run(&["embed", "image", "one.jpg", "-o", "out.csv"]).failure(2);
    assert!(err.contains("FILE.npy, FILE.jsonl or FILE.parquet"), "{err}");
}

/// Another implementation reads the file. `make parquet-reader` brings it.
#[test]
fn pyarrow_reads_the_table() {
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/target/parquet-reader/bin/python");
    if !PathBuf::from(python).exists() {
        return skipped("pyarrow's reading of the table", "test");
    }
    let fake = Fake::start();
    fake.file("photos/a.jpg", "1");
    fake.file("photos/猫.jpg", "22");
    fs::write(fake.bus.folder.path().join("in"), "stdin").unwrap();
    let mut command = fake.bus.command(&["embed", "image", "photos", "-", "-o", "out.parquet"]);
    command.stdin(fs::File::open(fake.bus.folder.path().join("in")).unwrap());
    assert!(command.status().unwrap().success());
    let script = "import json, pyarrow.parquet as p; t = p.read_table('out.parquet'); \
                  m = p.read_metadata('out.parquet').metadata[b'hailo-clip.model'].decode(); \
                  print(json.dumps([str(t.schema.field('embedding').type), m, \
                  t.select(['path', 'size', 'embedding', 'backend']).to_pylist()]))";
    let read =
        Command::new(python).args(["-c", script]).current_dir(fake.bus.folder.path()).output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let read: serde_json::Value = serde_json::from_slice(&read.stdout).unwrap();
    let tenth = f64::from(0.1_f32);
    let row = |path, size: Option<u32>, length: f64| serde_json::json!({"path": path, "size": size, "embedding": [length, tenth, -0.25], "backend": "cpu"});
    assert_eq!(read[0], "list<element: float not null>");
    assert_eq!(read[1], "fake");
    assert_eq!(
        read[2],
        serde_json::json!([
            row("photos/a.jpg", Some(1), 1.0),
            row("photos/猫.jpg", Some(2), 2.0),
            row("-", None, 5.0)
        ])
    );
}
