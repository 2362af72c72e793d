//! `hailo-clip watch` and a camera on the network.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, mpsc},
    thread,
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer};

use crate::{fake::Fake, watch::Watch};

/// The camera's end of a connection, encrypted or not.
trait Connection: Read + Write + Send {}
impl<T: Read + Write + Send> Connection for T {}

/// A camera that answers each request as the next of `answers` says, and tells what it was sent.
fn camera(answers: Vec<&'static str>) -> (String, mpsc::Receiver<String>) {
    camera_with(answers, |connection| Box::new(connection))
}

/// As [`camera`], over TLS; and the certificate that it shows, which nobody has signed.
fn tls_camera(answers: Vec<&'static str>) -> (String, mpsc::Receiver<String>, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let (address, requests) = camera_with(answers, move |connection| {
        Box::new(StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), connection))
    });
    (address.replace("127.0.0.1", "localhost"), requests, cert.pem())
}

fn camera_with(
    answers: Vec<&'static str>,
    accept: impl Fn(TcpStream) -> Box<dyn Connection> + Send + 'static,
) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, requests) = mpsc::channel();
    thread::spawn(move || {
        let mut stalled = Vec::new();
        let mut answers = answers.into_iter();
        for connection in listener.incoming() {
            let mut connection = BufReader::new(accept(connection.unwrap()));
            let mut request = String::new();
            while !request.ends_with("\r\n\r\n") {
                if connection.read_line(&mut request).unwrap_or(0) == 0 {
                    break;
                }
            }
            if request.is_empty() {
                // Whoever connected did not like the certificate.
                continue;
            }
            let _ = sender.send(request);
            let Some(answer) = answers.next() else { continue };
            let head = |status: &str, length: usize| {
                format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
            };
            let reply = match answer {
                "stall" => {
                    stalled.push(connection);
                    continue;
                }
                "500" => head("500 Oh", 2) + "no",
                "401" => head("401 Who", 0),
                "truncated" => head("200 OK", 100) + "a",
                picture => head("200 OK", picture.len()) + picture,
            };
            let _ = connection.get_mut().write_all(reply.as_bytes());
            let _ = connection.get_mut().flush();
        }
    });
    (address, requests)
}

#[test]
fn a_camera_that_fails_is_told_once_and_told_when_it_is_back() {
    let fake = Fake::start();
    let answers = vec!["a", "500", "500", "b", "stall", "b", "truncated", "b", "401", "broken", "a"];
    let (address, requests) = camera(answers);
    let url = format!("http://user:secret@{address}/snap.jpg?key=hidden");
    let arguments = [&*url, "a", "b", "--interval", "10ms", "--source-timeout", "1s"];
    let mut watch = Watch::start(&fake, &arguments);
    let title = format!("http://{address}/snap.jpg");
    assert_eq!(watch.change(), format!("{title}\t0.5000\ta\t"));
    let request = requests.recv().unwrap();
    assert!(request.starts_with("GET /snap.jpg?key=hidden HTTP/1.1\r\n"), "{request}");
    assert!(request.to_ascii_lowercase().contains("authorization: basic dxnlcjpzzwnyzxq="), "{request}");
    assert!(!request.contains("user:secret@"), "{request}");

    let back = format!("hailo-clip: {title}: pictures come again");
    assert_eq!(watch.complaint(), format!("hailo-clip: {title}: HTTP 500; trying again"));
    assert_eq!(watch.complaint(), back);
    assert_eq!(watch.change(), format!("{title}\t0.5000\tb\ta"));
    assert_eq!(watch.complaint(), format!("hailo-clip: {title}: no picture within 1s; trying again"));
    assert_eq!(watch.complaint(), back);
    let cut = watch.complaint();
    assert!(cut.starts_with(&format!("hailo-clip: {title}: ")), "{cut}");
    assert_eq!(watch.complaint(), back);
    assert_eq!(
        watch.complaint(),
        format!("hailo-clip: {title}: HTTP 401; it refuses the credentials; trying again")
    );
    assert!(watch.complaint().contains("not a picture that the service can decode"));
    assert_eq!(watch.complaint(), back);
    assert_eq!(watch.change(), format!("{title}\t0.5000\ta\tb"));
    watch.signal("INT");
    assert_eq!(watch.child.wait().unwrap().code(), Some(0));
    let mut rest = String::new();
    for line in watch.err.by_ref() {
        rest += &line.unwrap();
    }
    assert!(!rest.contains("secret") && !rest.contains("hidden"), "{rest}");
}

#[test]
fn a_camera_with_a_certificate_that_the_system_trusts() {
    let fake = Fake::start();
    let (address, requests, certificate) = tls_camera(vec!["a", "b"]);
    fs::write(fake.bus.folder.path().join("trusted.pem"), certificate).unwrap();
    let url = format!("https://user:secret@{address}/snap.jpg");
    let mut command = fake.bus.command(&["watch", &*url, "a", "b", "--interval", "10ms"]);
    command.env("SSL_CERT_FILE", fake.bus.folder.path().join("trusted.pem"));
    let mut watch = Watch::spawn(command);
    let title = format!("https://{address}/snap.jpg");
    assert_eq!(watch.change(), format!("{title}\t0.5000\ta\t"));
    assert_eq!(watch.change(), format!("{title}\t0.5000\tb\ta"));
    assert!(requests.recv().unwrap().to_ascii_lowercase().contains("authorization: basic dxnlcjpzzwnyzxq="));
}

/// Neither a picture nor a password goes to a camera that might be another one, unless that is asked for.
#[test]
fn a_camera_with_a_certificate_of_its_own_making() {
    let fake = Fake::start();
    let (address, requests, _) = tls_camera(vec!["a"]);
    let (_, _, other) = tls_camera(vec![]);
    fs::write(fake.bus.folder.path().join("trusted.pem"), other).unwrap();
    let url = format!("https://user:secret@{address}/snap.jpg");
    let watch = |more: &[&str]| {
        let arguments = [&["watch", &*url, "a", "b", "--interval", "10ms"], more].concat();
        let mut command = fake.bus.command(&arguments);
        command.env("SSL_CERT_FILE", fake.bus.folder.path().join("trusted.pem"));
        Watch::spawn(command)
    };
    let mut refusing = watch(&[]);
    let said = refusing.complaint();
    assert!(said.contains("certificate") && said.contains("--insecure"), "{said}");
    assert!(!said.contains("secret"), "{said}");
    drop(refusing);
    assert!(requests.try_recv().is_err(), "nothing was asked of it");

    let mut insecure = watch(&["--insecure"]);
    assert_eq!(insecure.change(), format!("https://{address}/snap.jpg\t0.5000\ta\t"));
}
