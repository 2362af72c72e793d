# What the administrator has decided outlives upgrades, and images are made without a running system.
use_repository repo-1 > /dev/null
check "apt install, the lower version" install hailo-clip
lower=$(dpkg-query -W -f '${Version}' hailo-clip)
use_repository repo-2 > /dev/null
higher=$(cat repo-2/version)
down() { install --allow-downgrades "hailo-clip=$lower"; }
up() { install "hailo-clip=$higher"; }

systemctl disable --now hailo-clip.socket $unit 2> /dev/null
check "disabled: an upgrade" up
off() { fails systemctl is-enabled --quiet $unit && fails systemctl is-enabled --quiet hailo-clip.socket && fails systemctl is-active $unit hailo-clip.socket; }
check "leaves it off" off
systemctl enable --now hailo-clip.socket $unit 2> /dev/null

systemctl mask --now $unit 2> /dev/null
check "masked: a downgrade" down
check "leaves it masked" prints '^masked$' systemctl is-enabled $unit
check "and stopped" fails systemctl is-active $unit
systemctl unmask $unit 2> /dev/null

cp /usr/lib/systemd/system/$unit /etc/systemd/system/
echo '# mine' >> /etc/systemd/system/$unit
systemctl daemon-reload
check "a unit of the administrator's own: an upgrade" up
check "leaves it in force" prints "^/etc/systemd/system/$unit\$" systemctl show -P FragmentPath $unit
check "it answers" http_right
rm /etc/systemd/system/$unit
systemctl daemon-reload

rm $config
check "without a configuration: a downgrade" down
check "makes none" fails test -e $config
check "it answers, as all defaults say" http_right

check "unpacked, but not configured: nothing is lost" eval "cd /tmp && apt-get download hailo-clip=$higher && dpkg --unpack hailo-clip_*.deb; cd $base; http_right"
check "configured later" dpkg --configure -a
check "it answers" http_right
rm /tmp/hailo-clip_*.deb

check "purge" apt-get purge -y hailo-clip
traces() { find /etc/systemd /var/lib/systemd /run/systemd -name '*hailo*'; }
check "systemd keeps no trace" eval '! traces | grep .'

# As an image of an SD card is made: these files, but no systemd and no bus.
image=/run/image
mkdir -p $image
mount --bind / $image
mount -t proc proc $image/proc
check "in an image that does not run: apt install" chroot $image apt-get install -y --no-install-recommends hailo-clip
check "both units are enabled" eval 'ls -d /etc/systemd/system/{multi-user.target.wants/hailo-clip.service,sockets.target.wants/hailo-clip.socket}'
check "the user is there, its folders are" eval '[[ $(stat -c %U /var/lib/hailo-clip/models) = hailo-clip ]]'
check "nothing was started" fails pidof hailo-clipd
check "apt purge" chroot $image apt-get purge -y hailo-clip
umount $image/proc $image
check "nothing has failed" running
