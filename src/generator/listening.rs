//! Which TCP addresses systemd itself listens on, from the kernel's tables.
//!
//! systemd tells what a socket unit asks for; after a reload that need not be what is open.

use std::{
    collections::HashSet,
    fs, io,
    net::{IpAddr, SocketAddr},
    path::Path,
};

/// State of a socket in the tables: it listens.
const LISTEN: &str = "0A";

/// The addresses that process 1 listens on.
///
/// # Errors
/// The process cannot be looked into, which takes root.
pub(super) fn by_systemd(root: &Path) -> io::Result<HashSet<SocketAddr>> {
    let process = super::within(root, "/proc/1");
    let mut sockets = HashSet::new();
    for entry in fs::read_dir(process.join("fd"))? {
        // Descriptors come and go.
        let Ok(target) = fs::read_link(entry?.path()) else { continue };
        let inode = target.to_str().and_then(|name| name.strip_prefix("socket:[")?.strip_suffix(']'));
        sockets.extend(inode.map(str::to_owned));
    }
    let mut addresses = HashSet::new();
    for table in ["net/tcp", "net/tcp6"] {
        // There is none for IPv6 where the kernel lacks that.
        let text = fs::read_to_string(process.join(table)).unwrap_or_default();
        let ours = text.lines().filter_map(listener).filter(|(_, inode)| sockets.contains(*inode));
        addresses.extend(ours.map(|(address, _)| address));
    }
    Ok(addresses)
}

/// Address and inode of a table's line, if it is a socket that listens.
fn listener(line: &str) -> Option<(SocketAddr, &str)> {
    let mut fields = line.split_ascii_whitespace();
    let (address, port) = fields.nth(1)?.split_once(':')?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?;
    (state == LISTEN).then_some(())?;
    Some((SocketAddr::new(ip(address)?, u16::from_str_radix(port, 16).ok()?), inode))
}

/// An address as the kernel prints it: words of the machine's own byte order.
fn ip(hex: &str) -> Option<IpAddr> {
    let word = |digits: &str| Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes());
    match hex.len() {
        8 => Some(IpAddr::from(word(hex)?)),
        32 => {
            let mut bytes = [0; 16];
            for (index, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(hex.get(index * 8..index * 8 + 8)?)?);
            }
            Some(IpAddr::from(bytes))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::unix::fs::symlink};

    use tempfile::TempDir;

    use super::*;

    /// A tree where this process is process 1.
    fn as_process_1() -> TempDir {
        let root = TempDir::new().unwrap();
        fs::create_dir(root.path().join("proc")).unwrap();
        symlink("/proc/self", root.path().join("proc/1")).unwrap();
        root
    }

    #[test]
    fn finds_what_a_process_listens_on() {
        let root = as_process_1();
        let sockets = ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0"].map(TcpListener::bind);
        let addresses: HashSet<_> =
            sockets.iter().flatten().map(|socket| socket.local_addr().unwrap()).collect();
        assert!(addresses.len() >= 2, "only IPv6 may be missing");
        let found = by_systemd(root.path()).unwrap();
        assert!(addresses.is_subset(&found), "{addresses:?} in {found:?}");
        drop(sockets);
        assert!(by_systemd(root.path()).unwrap().is_disjoint(&addresses));
    }

    #[test]
    fn sockets_of_others_do_not_count() {
        let root = TempDir::new().unwrap();
        fs::create_dir_all(root.path().join("proc/1/fd")).unwrap();
        fs::create_dir_all(root.path().join("proc/1/net")).unwrap();
        fs::copy("/proc/self/net/tcp", root.path().join("proc/1/net/tcp")).unwrap();
        assert!(by_systemd(root.path()).unwrap().is_empty());
    }

    #[test]
    fn an_unreadable_process_is_an_error() {
        assert!(by_systemd(TempDir::new().unwrap().path()).is_err());
    }

    #[test]
    fn sockets_that_do_not_listen_do_not_count() {
        let line = "  0: 00000000:1388 00000000:0000 01 00000000:00000000 00:00000000 00000000 0 0 77 1";
        assert_eq!(listener(line), None);
        let listening = line.replace(" 01 ", " 0A ");
        assert_eq!(listener(&listening), Some(("0.0.0.0:5000".parse().unwrap(), "77")));
        assert_eq!(listener("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when"), None);
    }
}
