//! The service's units as systemd knows them, over its D-Bus interface. Nothing is changed there.

use std::net::IpAddr;

use zbus::{Connection, DeserializeDict, OwnedObjectPath, Type, proxy};

pub(crate) const SERVICE: &str = "hailo-clip.service";
pub(crate) const SOCKET: &str = "hailo-clip.socket";

/// Most other units of Hailo's that are asked about.
const MOST_OTHERS: usize = 16;

/// What systemd says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Units {
    pub(crate) service: Unit,
    pub(crate) service_state: ServiceState,
    pub(crate) socket: Unit,
    pub(crate) socket_state: SocketState,
    /// Other active services whose names have to do with Hailo, with their memory in bytes.
    pub(crate) others: Vec<(String, Option<u64>)>,
}

/// Any unit. systemd's own names and words.
#[derive(Clone, Debug, Default, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", rename_all = "PascalCase")]
pub(crate) struct Unit {
    pub(crate) load_state: Option<String>,
    pub(crate) active_state: Option<String>,
    pub(crate) sub_state: Option<String>,
    pub(crate) unit_file_state: Option<String>,
    pub(crate) fragment_path: Option<String>,
    pub(crate) drop_in_paths: Option<Vec<String>>,
    pub(crate) need_daemon_reload: Option<bool>,
    /// Microseconds since 1970.
    pub(crate) state_change_timestamp: Option<u64>,
}

/// A service.
#[derive(Clone, Debug, Default, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", rename_all = "PascalCase")]
pub(crate) struct ServiceState {
    pub(crate) result: Option<String>,
    #[zbus(rename = "MainPID")]
    pub(crate) main_pid: Option<u32>,
    #[zbus(rename = "NRestarts")]
    pub(crate) restarts: Option<u32>,
    pub(crate) exec_main_status: Option<i32>,
    /// Microseconds since 1970.
    pub(crate) exec_main_start_timestamp: Option<u64>,
    pub(crate) control_group: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) memory_current: Option<u64>,
    #[zbus(rename = "TimeoutStartUSec")]
    pub(crate) timeout_start: Option<u64>,
    #[zbus(rename = "IPAddressAllow")]
    pub(crate) allow: Option<Vec<(i32, Vec<u8>, u32)>>,
    #[zbus(rename = "IPAddressDeny")]
    pub(crate) deny: Option<Vec<(i32, Vec<u8>, u32)>>,
}

/// A socket unit.
#[derive(Clone, Debug, Default, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", rename_all = "PascalCase")]
pub(crate) struct SocketState {
    pub(crate) result: Option<String>,
    /// Kind and address, such as `Stream` and `0.0.0.0:5000`.
    pub(crate) listen: Option<Vec<(String, String)>>,
    #[zbus(rename = "IPAddressAllow")]
    pub(crate) allow: Option<Vec<(i32, Vec<u8>, u32)>>,
    #[zbus(rename = "IPAddressDeny")]
    pub(crate) deny: Option<Vec<(i32, Vec<u8>, u32)>>,
}

impl Unit {
    pub(crate) fn is_loaded(&self) -> bool {
        self.load_state.as_deref() == Some("loaded")
    }

    pub(crate) fn is_active(&self) -> bool {
        self.active_state.as_deref() == Some("active") || self.active_state.as_deref() == Some("reloading")
    }
}

impl SocketState {
    /// The TCP addresses.
    pub(crate) fn addresses(&self) -> Vec<std::net::SocketAddr> {
        let listen = self.listen.iter().flatten().filter(|(kind, _)| kind == "Stream");
        listen.filter_map(|(_, address)| address.parse().ok()).collect()
    }
}

/// A network of systemd's IP filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    /// Those of a property, in systemd's order.
    pub(crate) fn list(property: Option<&Vec<(i32, Vec<u8>, u32)>>) -> Vec<Self> {
        let network = |(_, bytes, prefix): &(i32, Vec<u8>, u32)| {
            let address = match bytes.len() {
                4 => IpAddr::from(<[u8; 4]>::try_from(bytes.as_slice()).ok()?),
                16 => IpAddr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?),
                _ => return None,
            };
            Some(Self { address, prefix: *prefix })
        };
        property.into_iter().flatten().filter_map(network).collect()
    }

    pub(crate) fn contains(&self, other: IpAddr) -> bool {
        let (ours, theirs, bits) = match (self.address, other) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (u128::from(ours.to_bits()), u128::from(theirs.to_bits()), 32)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => (ours.to_bits(), theirs.to_bits(), 128),
            _ => return false,
        };
        let ignored = bits - self.prefix.min(bits);
        ours.checked_shr(ignored) == theirs.checked_shr(ignored)
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    #[zbus(no_autostart)]
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
    #[zbus(no_autostart)]
    fn list_units_by_patterns(
        &self,
        states: &[&str],
        patterns: &[&str],
    ) -> zbus::Result<
        Vec<(String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath)>,
    >;
}

#[proxy(interface = "org.freedesktop.DBus.Properties", default_service = "org.freedesktop.systemd1")]
trait UnitProperties {
    #[zbus(name = "GetAll", no_autostart)]
    fn unit(&self, interface: &str) -> zbus::Result<Unit>;
    #[zbus(name = "GetAll", no_autostart)]
    fn service(&self, interface: &str) -> zbus::Result<ServiceState>;
    #[zbus(name = "GetAll", no_autostart)]
    fn socket(&self, interface: &str) -> zbus::Result<SocketState>;
}

const UNIT: &str = "org.freedesktop.systemd1.Unit";

/// Asks systemd.
///
/// # Errors
/// There is no systemd on this bus.
pub(crate) async fn units(connection: &Connection) -> zbus::Result<Units> {
    let manager = ManagerProxy::new(connection).await?;
    let service = properties(connection, manager.load_unit(SERVICE).await?).await?;
    let socket = properties(connection, manager.load_unit(SOCKET).await?).await?;
    let mut others = Vec::new();
    let found = manager.list_units_by_patterns(&["active"], &["*hailo*.service"]).await.unwrap_or_default();
    for (name, .., path, _, _, _) in found.into_iter().filter(|unit| unit.0 != SERVICE).take(MOST_OTHERS) {
        let state = properties(connection, path).await?.service("org.freedesktop.systemd1.Service").await;
        others.push((
            name,
            state.ok().and_then(|state| state.memory_current).filter(|bytes| *bytes < u64::MAX),
        ));
    }
    Ok(Units {
        service: service.unit(UNIT).await?,
        service_state: service.service("org.freedesktop.systemd1.Service").await?,
        socket: socket.unit(UNIT).await?,
        socket_state: socket.socket("org.freedesktop.systemd1.Socket").await?,
        others,
    })
}

async fn properties(connection: &Connection, path: OwnedObjectPath) -> zbus::Result<UnitPropertiesProxy<'_>> {
    UnitPropertiesProxy::builder(connection)
        .path(path)
        .cache_properties(zbus::proxy::CacheProperties::No)
        .build()
        .await
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use zbus::{
        Variant,
        wire::{LE, serialized::Context, to_bytes},
    };

    use super::*;

    /// As systemd sends them, with properties that nobody asks for.
    #[test]
    fn properties_are_read_by_systemds_names() {
        let allow = vec![(2_i32, vec![10_u8, 0, 0, 0], 8_u32)];
        let sent = HashMap::from([
            ("MainPID", Variant::from(7_u32)),
            ("NRestarts", Variant::from(3_u32)),
            ("ExecMainStatus", Variant::from(78_i32)),
            ("Result", Variant::from("exit-code")),
            ("ControlGroup", Variant::from("/system.slice/hailo-clip.service")),
            ("TimeoutStartUSec", Variant::from(120_000_000_u64)),
            ("IPAddressAllow", Variant::new(allow.clone())),
            ("UMask", Variant::from(63_u32)),
        ]);
        let bytes = to_bytes(Context::new(LE, 0), &sent).unwrap();
        let state: ServiceState = bytes.deserialize().unwrap().0;
        assert_eq!((state.main_pid, state.restarts, state.exec_main_status), (Some(7), Some(3), Some(78)));
        assert_eq!((state.timeout_start, state.allow), (Some(120_000_000), Some(allow)));

        let sent = HashMap::from([
            ("LoadState", Variant::from("loaded")),
            ("ActiveState", Variant::from("active")),
            ("NeedDaemonReload", Variant::from(true)),
            ("DropInPaths", Variant::new(vec!["/run/x.conf"])),
            ("StateChangeTimestamp", Variant::from(20_u64)),
        ]);
        let bytes = to_bytes(Context::new(LE, 0), &sent).unwrap();
        let unit: Unit = bytes.deserialize().unwrap().0;
        assert!(unit.is_loaded() && unit.is_active() && unit.need_daemon_reload == Some(true));
        assert_eq!((unit.drop_in_paths.unwrap().len(), unit.state_change_timestamp), (1, Some(20)));

        let listen = vec![("Stream", "0.0.0.0:5000"), ("Stream", "/run/hailo-clip/http.sock")];
        let sent = HashMap::from([("Listen", Variant::new(listen))]);
        let bytes = to_bytes(Context::new(LE, 0), &sent).unwrap();
        let socket: SocketState = bytes.deserialize().unwrap().0;
        assert_eq!(socket.addresses(), ["0.0.0.0:5000".parse().unwrap()]);
    }

    #[test]
    fn networks_contain_their_addresses() {
        let networks = Network::list(Some(&vec![
            (2, vec![192, 168, 0, 0], 16),
            (2, vec![0, 0, 0, 0], 0),
            (10, vec![0; 16], 0),
            (10, [vec![0xfc], vec![0; 15]].concat(), 7),
            (9, vec![1], 1),
        ]));
        let shown: Vec<_> = networks.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["192.168.0.0/16", "0.0.0.0/0", "::/0", "fc00::/7"]);
        let contains = |index: usize, address: &str| networks[index].contains(address.parse().unwrap());
        assert!(contains(0, "192.168.7.9") && !contains(0, "192.169.0.1") && !contains(0, "::1"));
        assert!(contains(1, "203.0.113.7") && contains(2, "2001:db8::1"));
        assert!(contains(3, "fd00::1") && !contains(3, "fe80::1"));
    }
}
