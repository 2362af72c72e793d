//! Which program listens on a TCP port, for the message that it is taken.

use std::{fmt, fs, path::Path};

use nix::unistd::{Uid, User};

use super::process::{self, Process};

/// What can be said of a program that listens.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A process whose descriptors this one may see: one of the same user, or any for root.
    Process(Process),
    /// Of all others, the kernel tells the user alone.
    OfUser { uid: u32, port: u16 },
    /// It has gone, or listens in a way that the kernel does not list.
    Unknown { port: u16 },
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let command = |port| format!("\"sudo ss -ltnp sport = :{port}\" names it");
        match self {
            Self::Process(process) => write!(f, "{process} listens there"),
            Self::OfUser { uid, port } => {
                let user = User::from_uid(Uid::from_raw(*uid)).ok().flatten();
                let user = user.map_or_else(|| uid.to_string(), |user| user.name);
                write!(f, "a program of user {user} listens there, {}", command(port))
            }
            Self::Unknown { port } => write!(f, "another program listens there, {}", command(port)),
        }
    }
}

/// Who listens on `port`, at any address; `proc` is `/proc` but in tests.
pub(crate) fn holder(port: u16, proc: &Path) -> Holder {
    let sockets = ["net/tcp", "net/tcp6"].iter().filter_map(|file| fs::read_to_string(proc.join(file)).ok());
    let sockets: Vec<_> = sockets.flat_map(|table| listening(&table, port)).collect();
    let named = sockets.iter().find_map(|socket| {
        let target = format!("socket:[{}]", socket.inode);
        process::holders(target.as_ref(), proc).next().map(Holder::Process)
    });
    let of_user = sockets.first().map(|socket| Holder::OfUser { uid: socket.uid, port });
    named.or(of_user).unwrap_or(Holder::Unknown { port })
}

struct Socket {
    uid: u32,
    inode: u64,
}

/// The sockets of a table of the kernel's that listen on `port`.
fn listening(table: &str, port: u16) -> Vec<Socket> {
    let socket = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [_, local, _, "0A", _, _, _, uid, _, inode, ..] = fields[..] else { return None };
        let (_, of_port) = local.rsplit_once(':')?;
        let same = u16::from_str_radix(of_port, 16) == Ok(port);
        same.then_some(Socket { uid: uid.parse().ok()?, inode: inode.parse().ok()? })
    };
    table.lines().filter_map(socket).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_process_of_the_same_user_is_named() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            // A machine without IPv6 has nothing to ask there.
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let port = listener.local_addr().unwrap().port();
            let found = holder(port, Path::new("/proc"));
            let Holder::Process(Process { pid, ref name }) = found else { panic!("{found:?}") };
            assert_eq!(pid, std::process::id());
            assert_eq!(found.to_string(), format!("{name} (process {pid}) listens there"));
        }
    }

    #[test]
    fn of_other_users_programs_the_user_is_named() {
        let proc = tempfile::tempdir().unwrap();
        fs::create_dir_all(proc.path().join("net")).unwrap();
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 00000000:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0\n   \
            1: 0100007F:1389 0100007F:1388 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1 0 20 4\n";
        fs::write(proc.path().join("net/tcp"), table).unwrap();
        let found = holder(5000, proc.path());
        assert_eq!(found, Holder::OfUser { uid: 0, port: 5000 });
        let text = found.to_string();
        assert!(text.contains("user root") && text.contains("sport = :5000"), "{text}");
        // A connection is no listener.
        assert_eq!(holder(5001, proc.path()), Holder::Unknown { port: 5001 });
    }
}
