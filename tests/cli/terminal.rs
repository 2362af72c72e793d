//! What a person sees: the command in a real pseudo-terminal.

use std::{
    fs::File,
    io::Read,
    os::fd::OwnedFd,
    process::{Command, Stdio},
};

use nix::pty::{Winsize, openpty};

use crate::fake::Fake;

/// What a command writes to a terminal of this many columns.
fn in_terminal(mut command: Command, columns: u16) -> String {
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(&size, None).unwrap();
    command.stdout(pty.slave.try_clone().unwrap()).stderr(pty.slave);
    let mut child = command.spawn().unwrap();
    // The command holds the terminal's ends; they close when it ends.
    drop(command);
    let output = read_to_end(pty.master);
    assert!(child.wait().unwrap().success());
    output.replace("\r\n", "\n")
}

fn read_to_end(terminal: OwnedFd) -> String {
    read_until(&mut File::from(terminal), |_| false)
}

/// Reads until there is what is looked for, or the terminal has been closed.
fn read_until(terminal: &mut File, found: impl Fn(&str) -> bool) -> String {
    let mut output = Vec::new();
    let mut chunk = [0; 4096];
    // Linux reports the closed terminal as EIO.
    while let Ok(length @ 1..) = terminal.read(&mut chunk) {
        output.extend_from_slice(&chunk[..length]);
        if found(&String::from_utf8_lossy(&output)) {
            break;
        }
    }
    String::from_utf8(output).unwrap()
}

#[test]
fn a_bar_chart_for_each_picture() {
    let fake = Fake::start();
    fake.file("cat.jpg", "one");
    fake.file("猫.jpg", "two");
    let command =
        fake.bus.command(&["classify", "cat.jpg", "猫.jpg", "--color", "never", "-p", "a cat", "猫の写真"]);
    assert_eq!(
        in_terminal(command, 41),
        "cat.jpg\n\
         \x20 a cat      50.0 %  ██████████\n\
         \x20 猫の写真   25.0 %  █████\n\
         \x20 fake on cpu, 12.5 ms\n\
         \n\
         猫.jpg\n\
         \x20 a cat      50.0 %  ██████████\n\
         \x20 猫の写真   25.0 %  █████\n\
         \x20 fake on cpu, 12.5 ms\n"
    );
}

#[test]
fn colour_is_for_those_who_want_it() {
    let fake = Fake::start();
    fake.file("cat.jpg", "one");
    let arguments = ["classify", "cat.jpg", "a cat", "a dog"];
    let coloured = in_terminal(fake.bus.command(&arguments), 80);
    assert!(coloured.contains("\x1b[32m█"), "{coloured:?}");
    let mut command = fake.bus.command(&arguments);
    command.env("NO_COLOR", "1");
    assert!(!in_terminal(command, 80).contains('\x1b'));
    let out = fake.run(&["classify", "cat.jpg", "a cat", "a dog", "--color", "always"]).success();
    assert!(!out.contains('\x1b'), "lines for programs have no colour: {out:?}");
}

#[test]
fn embeddings_are_only_hinted_at() {
    let fake = Fake::start();
    let out = in_terminal(fake.bus.command(&["embed", "text", "a cat"]), 80);
    assert_eq!(out, "a cat\n  3 values: +5.0000 +0.1000 -0.2500 …\n");
}

#[test]
fn progress_is_shown_while_results_go_elsewhere() {
    let fake = Fake::start();
    for number in 0..9 {
        fake.file(&format!("photos/{number}.jpg"), "one");
    }
    let pty = openpty(None, None).unwrap();
    let mut command = fake.bus.command(&["classify", "photos", "a cat"]);
    let status = command.stdout(Stdio::null()).stderr(pty.slave).status().unwrap();
    drop(command);
    assert!(status.success());
    let shown = read_to_end(pty.master);
    assert!(shown.contains("\r8 of 9 "), "{shown:?}");
    assert!(shown.ends_with("\r\x1b[K"), "{shown:?}");
}

/// The bar is there while pictures are asked for, says how many are done, and leaves nothing behind.
#[test]
fn a_folder_has_a_bar_until_it_is_indexed() {
    let fake = Fake::start();
    let embed = ["embed", "image", "photos", "-o", "out.jsonl"];
    let search = ["search", "photos", "four"];
    for (round, arguments) in [&embed[..], &search[..]].into_iter().enumerate() {
        for number in 0..2 {
            fake.file(&format!("photos/{round}{number}.jpg"), "one");
        }
        fake.file(&format!("photos/{round}last.jpg"), format!("after go {round}"));
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).unwrap();
        let mut command = fake.bus.command(arguments);
        command.stdout(Stdio::null()).stderr(pty.slave);
        let mut child = command.spawn().unwrap();
        drop(command);
        let mut terminal = File::from(pty.master);
        let shown = read_until(&mut terminal, |shown| shown.contains(" 2/3 "));
        assert!(shown.contains("indexing "), "{shown:?}");
        fake.file("go.jpg", format!("go {round}"));
        fake.run(&["embed", "image", "go.jpg"]).success();
        let rest = read_until(&mut terminal, |_| false);
        assert!(child.wait().unwrap().success(), "{rest:?}");
        // The cursor is at the beginning of a line that has been cleared.
        assert!(rest.ends_with("\r\x1b[2K"), "{rest:?}");
    }
}
