//! One file by HTTP: resumed where it was broken off, checked, and in place only when it is whole.
//!
//! What has come of `FILE` lies in `FILE.part`, with the server's name for that version of it (its `ETag`)
//! in `FILE.etag`. Deliberately not here: which files make a model.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use sha2::{Digest, Sha256};
use ureq::{
    Agent, Body,
    http::{Response, StatusCode, Uri, header},
};

use super::{ChangeError, Download, verify::CHUNK};
use crate::https::{self, Trust};

/// How patient a fetch is.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Longest wait for the next bytes, an answer or a connection.
    pub idle: Duration,
    /// How often in a row a fetch is taken up again that has brought nothing new.
    pub retries: u32,
    /// Pause before that; it doubles.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { idle: Duration::from_secs(60), retries: 5, pause: Duration::from_secs(1) }
    }
}

/// Redirections that are followed; the hubs need one or two.
const MAX_REDIRECTS: u32 = 5;
/// No file of a model is larger.
const MAX_BYTES: u64 = 16 << 30;

/// A client for files of models.
pub(super) struct Client {
    agent: Agent,
    patience: Patience,
}

/// A file that is in place.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) size: u64,
    pub(super) sha256: [u8; 32],
}

/// Told how many bytes of the file there are, and asked about space for so many more.
pub(super) trait Follow {
    fn at(&mut self, bytes: u64) -> Result<(), ChangeError>;
    fn require_space(&mut self, needed: u64) -> Result<(), ChangeError>;
}

/// Why one attempt ended.
enum Broken {
    /// Another one may do better.
    Off(String),
    /// It is no use.
    For(ChangeError),
}

impl From<ChangeError> for Broken {
    fn from(error: ChangeError) -> Self {
        Self::For(error)
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::For(error.into())
    }
}

impl Client {
    /// Trusts the certificates that the system trusts, and goes through the proxy that the environment names.
    pub(super) fn new(patience: Patience) -> Self {
        let idle = Some(patience.idle);
        let config = Agent::config_builder()
            .tls_config(https::tls(Trust::System))
            .http_status_as_error(false)
            .max_redirects(MAX_REDIRECTS)
            .user_agent(https::USER_AGENT)
            .timeout_resolve(idle)
            .timeout_connect(idle)
            .timeout_recv_response(idle)
            .timeout_per_read(idle)
            .timeout_per_write(idle);
        Self { agent: config.build().new_agent(), patience }
    }

    /// The size of a file, if the server tells it without sending the file.
    pub(super) fn size(&self, download: &Download) -> Option<u64> {
        let https_only = download.url.starts_with("https:");
        let answer = self.agent.head(&download.url).config().https_only(https_only).build().call().ok()?;
        if answer.status() != StatusCode::OK {
            return None;
        }
        answer.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }

    /// Fetches a file into the folder `dir`; `expected` is its digest, where known.
    pub(super) fn fetch(
        &self,
        download: &Download,
        expected: Option<[u8; 32]>,
        dir: &Path,
        follow: &mut dyn Follow,
    ) -> Result<Fetched, ChangeError> {
        let mut part = Part::open(dir, &download.file)?;
        let (mut best, mut failures, mut resumed) = (part.bytes, 0, part.bytes > 0);
        loop {
            let reason = match self.attempt(download, &mut part, follow) {
                Ok(()) => {
                    let sha256 = part.digest();
                    match expected.filter(|&expected| expected != sha256) {
                        None => return Ok(part.finish(sha256)?),
                        // Pieces of two versions, perhaps; whole it may be right.
                        Some(_) if resumed => {
                            part.clear()?;
                            (best, resumed) = (0, false);
                            continue;
                        }
                        Some(expected) => {
                            part.remove()?;
                            return Err(ChangeError::WrongDigest {
                                file: download.file.clone(),
                                host: host(&download.url),
                                found: hex(&sha256),
                                expected: hex(&expected),
                            });
                        }
                    }
                }
                Err(Broken::For(error)) => return Err(error),
                Err(Broken::Off(reason)) => reason,
            };
            resumed = true;
            failures = if part.bytes > best { 0 } else { failures + 1 };
            best = best.max(part.bytes);
            if failures > self.patience.retries {
                let (file, host) = (download.file.clone(), host(&download.url));
                return Err(ChangeError::Unreachable { file, host, reason });
            }
            self.wait(failures, follow, part.bytes)?;
        }
    }

    /// Waits before the next attempt, and not a moment longer once it is to end.
    fn wait(&self, failures: u32, follow: &mut dyn Follow, bytes: u64) -> Result<(), ChangeError> {
        const STEP: Duration = Duration::from_millis(100);
        let mut left = self.patience.pause * 2_u32.pow(failures.min(6));
        while !left.is_zero() {
            follow.at(bytes)?;
            thread::sleep(left.min(STEP));
            left = left.saturating_sub(STEP);
        }
        follow.at(bytes)
    }

    fn attempt(&self, download: &Download, part: &mut Part, follow: &mut dyn Follow) -> Result<(), Broken> {
        let https_only = download.url.starts_with("https:");
        let mut request = self.agent.get(&download.url).header(header::ACCEPT_ENCODING, "identity");
        if let Some(version) = part.version.as_ref().filter(|_| part.bytes > 0) {
            request = request
                .header(header::RANGE, format!("bytes={}-", part.bytes))
                .header(header::IF_RANGE, version);
        } else if part.bytes > 0 {
            part.clear()?;
        }
        let answer = request.config().https_only(https_only).build().call().map_err(|error| match error {
            ureq::Error::RequireHttpsOnly(_) => Broken::For(ChangeError::Insecure(download.file.clone())),
            ureq::Error::TooManyRedirects | ureq::Error::RedirectFailed => {
                Broken::For(unreachable(download, "it redirects in circles"))
            }
            // A machine without the internet is told so at once.
            ureq::Error::HostNotFound => {
                Broken::For(unreachable(download, "there is no such host; is this machine on the internet?"))
            }
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => Broken::For(unreachable(
                download,
                "its certificate is not trusted; see to the clock and to the package ca-certificates",
            )),
            ureq::Error::BadUri(_) => Broken::For(unreachable(download, "the address makes no sense")),
            error => Broken::Off(reason(&error)),
        })?;
        let status = answer.status();
        let total = match status {
            StatusCode::OK => {
                part.clear()?;
                part.note_version(&answer)?;
                length(&answer)
            }
            StatusCode::PARTIAL_CONTENT => match content_range(&answer) {
                Some((start, total)) if start == part.bytes => total,
                _ => {
                    part.clear()?;
                    return Err(Broken::Off(
                        "it sent another part than the one that was asked for".to_owned(),
                    ));
                }
            },
            StatusCode::RANGE_NOT_SATISFIABLE => {
                part.clear()?;
                return Err(Broken::Off("the file has become shorter".to_owned()));
            }
            status
                if status.is_server_error()
                    || status == StatusCode::TOO_MANY_REQUESTS
                    || status == StatusCode::REQUEST_TIMEOUT =>
            {
                return Err(Broken::Off(format!("HTTP status {}", status.as_u16())));
            }
            status => {
                let (file, host) = (download.file.clone(), host(&download.url));
                return Err(Broken::For(ChangeError::Refused { file, host, status: status.as_u16() }));
            }
        };
        // Before hundreds of megabytes are fetched for nothing.
        if let (Some(expected), Some(found)) = (download.size, total)
            && expected != found
        {
            return Err(Broken::For(wrong_size(download, found, expected)));
        }
        follow.require_space(total.unwrap_or(0).saturating_sub(part.bytes))?;
        receive(download, part, total, answer, follow)
    }
}

fn receive(
    download: &Download,
    part: &mut Part,
    total: Option<u64>,
    mut answer: Response<Body>,
    follow: &mut dyn Follow,
) -> Result<(), Broken> {
    let limit = total.or(download.size).unwrap_or(MAX_BYTES);
    let mut body = answer.body_mut().as_reader();
    let mut chunk = vec![0; CHUNK / 4];
    loop {
        follow.at(part.bytes)?;
        match body.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => part.write(&chunk[..read])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Broken::Off(broken_off(&error))),
        }
        if part.bytes > limit {
            return Err(Broken::For(wrong_size(download, part.bytes, limit)));
        }
    }
    follow.at(part.bytes)?;
    match total {
        Some(total) if part.bytes < total => {
            Err(Broken::Off(format!("it ended after {} of {total} bytes", part.bytes)))
        }
        _ => match download.size {
            Some(expected) if part.bytes != expected => {
                Err(Broken::For(wrong_size(download, part.bytes, expected)))
            }
            _ => Ok(()),
        },
    }
}

/// What has come of a file.
struct Part {
    file: File,
    hasher: Sha256,
    bytes: u64,
    /// Strong validator of the version that these bytes are of.
    version: Option<String>,
    path: PathBuf,
    version_path: PathBuf,
    target: PathBuf,
}

impl Part {
    fn open(dir: &Path, name: &str) -> io::Result<Self> {
        let path = dir.join(format!("{name}.part"));
        let version_path = dir.join(format!("{name}.etag"));
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        let version = fs::read_to_string(&version_path).ok().filter(|version| !version.is_empty());
        let mut part = Self {
            hasher: Sha256::new(),
            bytes: 0,
            version,
            path,
            version_path,
            target: dir.join(name),
            file,
        };
        if part.version.is_none() {
            part.clear()?;
            return Ok(part);
        }
        let mut chunk = vec![0; CHUNK];
        loop {
            match file_read(&mut part.file, &mut chunk)? {
                0 => break,
                read => {
                    part.hasher.update(&chunk[..read]);
                    part.bytes += read as u64;
                }
            }
        }
        file = part.file.try_clone()?;
        file.seek(SeekFrom::Start(part.bytes))?;
        Ok(part)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Starts from nothing.
    fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.hasher = Sha256::new();
        self.bytes = 0;
        self.version = None;
        match fs::remove_file(&self.version_path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Keeps what the server calls this version, so that the rest can be asked for later.
    fn note_version(&mut self, answer: &Response<Body>) -> io::Result<()> {
        let text = |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        // A weak one does not promise the same bytes.
        let etag = text(header::ETAG).filter(|etag| etag.starts_with('"'));
        self.version = etag.or_else(|| text(header::LAST_MODIFIED));
        fs::write(&self.version_path, self.version.as_deref().unwrap_or_default())
    }

    fn digest(&self) -> [u8; 32] {
        self.hasher.clone().finalize().into()
    }

    /// Puts the file in place.
    fn finish(self, sha256: [u8; 32]) -> io::Result<Fetched> {
        self.file.sync_all()?;
        fs::rename(&self.path, &self.target)?;
        let _ = fs::remove_file(&self.version_path);
        Ok(Fetched { size: self.bytes, sha256 })
    }

    fn remove(&mut self) -> io::Result<()> {
        self.clear()?;
        fs::remove_file(&self.path)
    }
}

fn file_read(file: &mut File, chunk: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn length(answer: &Response<Body>) -> Option<u64> {
    answer.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Start and total of `bytes START-END/TOTAL`.
fn content_range(answer: &Response<Body>) -> Option<(u64, Option<u64>)> {
    let value = answer.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.parse().ok()?, total.parse().ok()))
}

fn wrong_size(download: &Download, found: u64, expected: u64) -> ChangeError {
    ChangeError::WrongSize { file: download.file.clone(), host: host(&download.url), found, expected }
}

fn unreachable(download: &Download, reason: &str) -> ChangeError {
    ChangeError::Unreachable {
        file: download.file.clone(),
        host: host(&download.url),
        reason: reason.to_owned(),
    }
}

fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::ConnectionFailed => "the connection failed".to_owned(),
        ureq::Error::Timeout(_) => "it does not answer".to_owned(),
        ureq::Error::Io(error) => broken_off(error),
        error => error.to_string(),
    }
}

fn broken_off(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut => "it sends nothing any more".to_owned(),
        io::ErrorKind::ConnectionRefused => "the connection was refused".to_owned(),
        io::ErrorKind::Other => "the connection was broken off".to_owned(),
        kind => kind.to_string(),
    }
}

/// The server's name.
pub(super) fn host(url: &str) -> String {
    url.parse::<Uri>().ok().and_then(|uri| Some(uri.host()?.to_owned())).unwrap_or_else(|| "?".to_owned())
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(digest: &[u8; 32]) -> String {
    use std::fmt::Write as _;
    digest.iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
