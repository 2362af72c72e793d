//! `hailo-clip watch`. The fake has that prompt win which the picture's bytes spell.

use std::{
    fs,
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout, Command, Stdio},
};

use crate::{fake::Fake, notify::Notify};

/// A watch that runs.
pub(crate) struct Watch {
    pub(crate) child: Child,
    out: Lines<BufReader<ChildStdout>>,
    pub(crate) err: Lines<BufReader<ChildStderr>>,
}

impl Watch {
    pub(crate) fn start(fake: &Fake, arguments: &[&str]) -> Self {
        Self::spawn(fake.bus.command(&[&["watch"], arguments].concat()))
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap()).lines();
        let err = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, out, err }
    }

    /// The next change, without its time.
    #[track_caller]
    pub(crate) fn change(&mut self) -> String {
        let line = self.out.next().expect("the watch goes on").unwrap();
        line.split_once('\t').unwrap().1.to_owned()
    }

    #[track_caller]
    pub(crate) fn complaint(&mut self) -> String {
        self.err.next().expect("the watch goes on").unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Ends it as systemd does; it has nothing more to say.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        self.signal("TERM");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        assert_eq!(self.out.next().map(Result::unwrap), None);
        assert_eq!(self.err.next().map(Result::unwrap), None);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Puts a picture into the folder as a camera should: whole, by a rename.
fn place(fake: &Fake, name: &str, content: &str) {
    let part = fake.file("part", content);
    fs::rename(part, fake.bus.folder.path().join(name)).unwrap();
}

#[test]
fn a_change_in_a_folder_is_told_once() {
    let fake = Fake::start();
    fake.file("yard/old.jpg", "empty");
    let mut watch = Watch::start(&fake, &["yard", "empty", "person", "--interval", "1h"]);
    assert_eq!(watch.change(), "yard\t0.5000\tempty\t");
    place(&fake, "yard/1.jpg", "empty");
    place(&fake, "yard/2.jpg", "person");
    assert_eq!(watch.change(), "yard\t0.5000\tperson\tempty");
    // Written over in place, in two steps.
    place(&fake, "yard/2.jpg", "empty");
    assert_eq!(watch.change(), "yard\t0.5000\tempty\tperson");
    watch.stop();
}

#[test]
fn a_change_has_to_hold_and_to_be_certain() {
    let fake = Fake::start();
    fake.file("shots", "a\nb\na\na\nb\nb\na\na\n");
    let command = "sh -c 'head -n 1 shots | tr -d \"\\n\"; sed -i 1d shots'";
    let arguments = ["--command", command, "a", "b", "--interval", "10ms", "--hold", "2", "--json"];
    let mut watch = Watch::start(&fake, &arguments);
    for (prompt, previous) in [("a", None), ("b", Some("a")), ("a", Some("b"))] {
        let line: serde_json::Value = serde_json::from_str(&watch.out.next().unwrap().unwrap()).unwrap();
        assert_eq!(line["prompt"], prompt);
        assert_eq!(line["previous"].as_str(), previous);
        assert_eq!(
            (&line["source"], &line["score"], &line["model"]),
            (&"sh".into(), &0.5.into(), &"fake".into())
        );
    }
    assert!(watch.complaint().contains("sh: sh wrote nothing; trying again"));
    watch.stop();
}

#[test]
fn a_program_is_told_of_each_change_one_at_a_time() {
    let fake = Fake::start();
    fake.file("yard/1.jpg", "a");
    let note = "echo \"$HAILO_CLIP_PREVIOUS>$HAILO_CLIP_PROMPT $HAILO_CLIP_SCORE $HAILO_CLIP_SOURCE\"; \
                test $HAILO_CLIP_PROMPT = a";
    let arguments = ["yard", "a", "b", "--shell", "--exec", note, "--interval", "1h", "--label", "my yard"];
    let mut watch = Watch::start(&fake, &arguments);
    watch.change();
    assert_eq!(watch.complaint(), ">a 0.5 my yard");
    place(&fake, "yard/2.jpg", "b");
    watch.change();
    assert_eq!(watch.complaint(), "a>b 0.5 my yard");
    assert_eq!(watch.complaint(), "hailo-clip: sh failed (exit status: 1)");
    watch.stop();
}

#[test]
fn a_program_that_hangs_is_ended() {
    let fake = Fake::start();
    fake.file("yard/1.jpg", "a");
    let arguments = ["yard", "a", "b", "--exec", "sleep 600", "--exec-timeout", "50ms", "--interval", "1h"];
    let mut watch = Watch::start(&fake, &arguments);
    assert_eq!(watch.complaint(), "hailo-clip: sleep was ended after 50ms");
    watch.change();
    watch.stop();
}

#[test]
fn a_signal_tells_of_a_change() {
    let fake = Fake::start();
    fake.file("yard/1.jpg", "a");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut signals = runtime.block_on(async {
        let connection = zbus::connection::Builder::address(fake.bus.address.as_str()).build().await.unwrap();
        let rule = zbus::MatchRule::builder()
            .msg_type(zbus::message::Type::Signal)
            .interface("org.hailo.Clip1.Watch")
            .build()
            .unwrap();
        zbus::MessageStream::for_match_rule(rule, &connection, None).await.unwrap()
    });
    let mut watch = Watch::start(&fake, &["yard", "a", "b", "--signal", "--interval", "1h"]);
    watch.change();
    let message = runtime.block_on(futures_util::StreamExt::next(&mut signals)).unwrap().unwrap();
    assert_eq!(message.header().member().unwrap(), "Changed");
    assert_eq!(message.header().path().unwrap(), "/org/hailo/Clip1/Watch");
    let body: (String, String, f64, String) = message.body().deserialize().unwrap();
    assert_eq!(body, ("yard".to_owned(), "a".to_owned(), 0.5, String::new()));
    watch.stop();
}

#[test]
fn a_service_that_restarts_does_not_end_the_watch() {
    let fake = Fake::start();
    fake.file("yard/1.jpg", "a");
    fake.leave();
    let mut watch = Watch::start(&fake, &["yard", "a", "b", "--interval", "1h"]);
    let line = watch.complaint();
    assert!(line.contains("not running") && line.contains("the watch goes on"), "{line}");
    fake.come_back();
    assert_eq!(watch.change(), "yard\t0.5000\ta\t");
    assert_eq!(watch.complaint(), "hailo-clip: the service answers again");
    watch.stop();
}

#[test]
fn systemd_is_told() {
    let fake = Fake::start();
    fake.file("yard/1.jpg", "a");
    let socket = fake.bus.folder.path().join("notify");
    let notify = Notify::bind(&socket);
    let mut command = fake.bus.command(&["watch", "yard", "a", "b", "--interval", "1h"]);
    command.env("NOTIFY_SOCKET", &socket);
    let mut watch = Watch::spawn(command);
    assert!(notify.next().unwrap().contains("READY=1"));
    watch.change();
    assert!(notify.next().unwrap().contains("STATUS=a (0.50) since "));
    watch.stop();
    assert!(notify.next().unwrap().contains("STOPPING=1"));
}

#[test]
fn wrong_arguments_are_told() {
    let fake = Fake::start();
    fake.file("yard/1.jpg", "a");
    for (arguments, problem) in [
        (&["yard", "a"][..], "at least two prompts"),
        (&["missing", "a", "b"], "neither a folder nor"),
        (&["--command", "a 'b", "a", "b"], "a quote without its end"),
        (&["yard", "a", "b", "--interval", "soon"], "not a time such as"),
        (&["http://u:secret@/", "a", "b"], "the URL has no host"),
    ] {
        let err = fake.run(&[&["watch"], arguments].concat()).failure(2);
        assert!(err.contains(problem) && !err.contains("secret"), "{err}");
    }
}
