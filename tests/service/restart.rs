//! Restarts while clients ask without pause. The test stands for systemd: it keeps the sockets open and passes
//! them to each daemon, and it starts the next one when the last has gone; the bus keeps calls meanwhile.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use hailo_clip::dbus;
use tempfile::TempDir;
use tokio::{sync::watch, time::timeout};

use crate::common::{Bus, PATIENCE, config_text, models, notify::Notify};

const RESTARTS: usize = 10;

/// What stays while daemons come and go.
struct Machine {
    folder: TempDir,
    bus: Bus,
    tcp: TcpListener,
    unix: UnixListener,
}

impl Machine {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        // The bus calls its activator, which here has nothing to do: a daemon is on its way.
        let service = format!("[D-BUS Service]\nName={}\nExec=/bin/true\n", dbus::NAME);
        fs::write(path.join("clip.service"), service).unwrap();
        let shown = path.display();
        let config = format!(
            r#"<busconfig>
                 <type>session</type>
                 <listen>unix:dir={shown}</listen>
                 <servicedir>{shown}</servicedir>
                 <policy context="default">
                   <allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/>
                 </policy>
               </busconfig>"#
        );
        fs::write(path.join("bus.conf"), config).unwrap();
        // The port of the configuration is not served: the sockets are systemd's business.
        fs::write(path.join("hailo-clip.yaml"), config_text("", false)).unwrap();
        Self {
            bus: Bus::with_config(&path.join("bus.conf")),
            tcp: TcpListener::bind("127.0.0.1:0").unwrap(),
            unix: UnixListener::bind(path.join("http.sock")).unwrap(),
            folder,
        }
    }

    fn http(&self) -> String {
        self.tcp.local_addr().unwrap().to_string()
    }

    fn http_unix(&self) -> PathBuf {
        self.folder.path().join("http.sock")
    }

    /// Starts a daemon as systemd does: sockets from descriptor 3 on, under these names.
    fn daemon(&self, names: &str) -> Command {
        let log = fs::File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let mut command = Command::new("sh");
        command
            .args(["-c", r#"exec 3<&0 4<&1 </dev/null >/dev/null; export LISTEN_PID=$$; exec "$@""#, "sh"])
            .arg(env!("CARGO_BIN_EXE_hailo-clipd"))
            .arg("--config")
            .arg(self.folder.path().join("hailo-clip.yaml"))
            .args(["--bus", &self.bus.address, "--models-dir"])
            .arg(models())
            .env("LISTEN_FDS", "2")
            .env("LISTEN_FDNAMES", names)
            .stdin(Stdio::from(OwnedFd::from(self.tcp.try_clone().unwrap())))
            .stdout(Stdio::from(OwnedFd::from(self.unix.try_clone().unwrap())))
            .stderr(log);
        command
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the daemons' log ---\n{}", self.log());
        }
    }
}

/// A daemon; ends with the value.
struct Running(Child);

impl Running {
    /// As `systemctl stop` does; waits for the end.
    fn stop(mut self) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

trait Stream: Read + Write {
    /// Whether the server has closed it meanwhile.
    fn is_closed(&self) -> bool;
}

impl Stream for TcpStream {
    fn is_closed(&self) -> bool {
        self.set_nonblocking(true).unwrap();
        let closed = matches!(self.peek(&mut [0]), Ok(0));
        self.set_nonblocking(false).unwrap();
        closed
    }
}

impl Stream for UnixStream {
    fn is_closed(&self) -> bool {
        // Used for a single request.
        false
    }
}

fn tcp(address: &str) -> Box<dyn Stream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Box::new(stream)
}

fn unix(path: &Path) -> Box<dyn Stream> {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Box::new(stream)
}

/// Asks for an embedding; whether the connection can be used again.
fn ask(stream: &mut dyn Stream) -> bool {
    let body = r#"{"text":"a red circle"}"#;
    let request = format!(
        "POST /v1/embed/text HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let (mut status, mut length, mut close) = (String::new(), 0, false);
    let mut reader = BufReader::new(stream);
    reader.read_line(&mut status).unwrap();
    assert!(status.starts_with("HTTP/1.1 200"), "{status:?}");
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim_end().to_ascii_lowercase().split_once(": ") {
            None => break,
            Some(("content-length", value)) => length = value.parse().unwrap(),
            Some(("connection", value)) => close = value == "close",
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    assert!(body.starts_with(b"{\"embedding\":["));
    !close
}

/// A client that asks without pause until told to stop, and counts its answers. The first failure ends it.
fn client(
    stop: &Arc<AtomicBool>,
    mut ask: impl FnMut() + Send + 'static,
) -> (watch::Receiver<usize>, tokio::task::JoinHandle<()>) {
    let (answers, counted) = watch::channel(0);
    let stop = Arc::clone(stop);
    let client = tokio::task::spawn_blocking(move || {
        while !stop.load(Ordering::Relaxed) {
            ask();
            answers.send_modify(|answers| *answers += 1);
        }
    });
    (counted, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost_while_the_daemon_is_restarted() {
    let machine = Machine::start();
    let start = || Running(machine.daemon("http:http-unix").spawn().unwrap());
    let mut daemon = start();
    let stop = Arc::new(AtomicBool::new(false));

    let mut clients = Vec::new();
    // Two that keep their connection, two with a connection for each request, one of them local.
    for _ in 0..2 {
        let address = machine.http();
        let mut kept: Option<Box<TcpStream>> = None;
        clients.push(client(&stop, move || {
            let mut stream = kept.take().filter(|stream| !stream.is_closed()).unwrap_or_else(|| {
                let stream = TcpStream::connect(&address).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                Box::new(stream)
            });
            kept = ask(&mut *stream).then_some(stream);
        }));
    }
    let address = machine.http();
    clients.push(client(&stop, move || {
        ask(&mut *tcp(&address));
    }));
    let path = machine.http_unix();
    clients.push(client(&stop, move || {
        ask(&mut *unix(&path));
    }));
    for _ in 0..2 {
        let connection = dbus::connect(&machine.bus.address.parse().unwrap()).await.unwrap();
        let runtime = tokio::runtime::Handle::current();
        clients.push(client(&stop, move || {
            let (name, path) = (Some(dbus::NAME), dbus::PATH);
            let texts = (["a red circle"].as_slice(),);
            let call = connection.call_method(name, path, name, "EmbedTexts", &texts);
            let reply = runtime.block_on(timeout(PATIENCE, call)).expect("an answer in time").unwrap();
            assert_eq!(reply.body().deserialize::<Vec<Vec<f64>>>().unwrap().len(), 1);
        }));
    }

    for restart in 0..=RESTARTS {
        if restart > 0 {
            tokio::task::block_in_place(|| daemon.stop());
            daemon = start();
        }
        // Everybody has been answered by this daemon: more often than requests were under way before.
        for (answers, _) in &mut clients {
            let before = *answers.borrow();
            let answered = timeout(PATIENCE, answers.wait_for(|answers| *answers >= before + 3)).await;
            if !matches!(answered, Ok(Ok(_))) {
                break;
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    for (_, client) in clients {
        client.await.expect("no request failed");
    }
    daemon.stop();
}

/// The daemon with what systemd hears of it.
fn heard(machine: &Machine, mut daemon: Command) -> (Running, Notify) {
    let path = machine.folder.path().join("notify");
    let messages = Notify::bind(&path);
    (Running(daemon.env("NOTIFY_SOCKET", &path).spawn().unwrap()), messages)
}

/// Reads messages up to the first one that begins so, and gives all.
fn messages_until(messages: &Notify, beginning: &str) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let message = messages.next().unwrap();
        let last = message.starts_with(beginning);
        all.push(message);
        if last {
            return all;
        }
    }
}

#[test]
fn sockets_are_told_apart_by_their_names() {
    let machine = Machine::start();
    let (daemon, messages) = heard(&machine, machine.daemon("metrics:http-unix"));
    let ready = messages_until(&messages, "READY=1").pop().unwrap();
    assert!(ready.contains("http.sock") && !ready.contains(&machine.http()), "{ready}");
    ask(&mut *unix(&machine.http_unix()));
    daemon.stop();
    let log = machine.log();
    assert!(log.contains("\"metrics\"") && log.contains("FileDescriptorName="), "{log}");
}

#[test]
fn systemd_sees_signs_of_life() {
    let machine = Machine::start();
    let mut command = machine.daemon("http:http");
    command.env("WATCHDOG_USEC", "100000");
    let (daemon, messages) = heard(&machine, command);
    let while_loading = messages_until(&messages, "READY=1");
    let said = |what: &str| while_loading.iter().any(|message| message.starts_with(what));
    assert!(said("EXTEND_TIMEOUT_USEC="), "{while_loading:?}");
    assert!(said("STATUS=starting: demo") || said("STATUS=loading: demo"), "{while_loading:?}");
    // More than once, so it is no single greeting.
    for _ in 0..3 {
        messages_until(&messages, "WATCHDOG=1");
    }
    daemon.stop();
    assert!(messages_until(&messages, "STOPPING=1").last().unwrap().contains("STATUS="));
}
