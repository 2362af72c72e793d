# Removal, return and purge.
echo '# mine' >> $config
echo kept > /var/lib/hailo-clip/kept
check "apt remove" apt-get remove -y hailo-clip
check "nothing listens" fails curl -sS -m 5 http://127.0.0.1:5000/health
check "the name is not on the bus, and cannot be started" fails busctl --timeout=5 call org.hailo.Clip1 /org/hailo/Clip1 org.freedesktop.DBus.Peer Ping
check "configuration and state stay" grep -qx '# mine' $config
check "state stays" test -e /var/lib/hailo-clip/kept
check "nothing has failed" running
# As README.md says, with the file that "make deb" makes.
mkdir -p target/debian
cp repo-1/pool/hailo-clip_*.deb target/debian/
from_file() { apt install ./target/debian/hailo-clip_*_$(dpkg --print-architecture).deb --yes --no-install-recommends; }
check "apt install again, from a file" from_file
check "hailo-clip status" prints '^State' hailo-clip status
check "it answers" http_right
check "with the edited configuration" grep -qx '# mine' $config
check "apt purge" apt-get purge -y hailo-clip
files > /tmp/files-after
# What the tests themselves and the removed packages' caches account for.
left() { diff <(grep -v '^/home' /tmp/files-before) <(grep -v '^/home' /tmp/files-after) | tee /tmp/left; ! grep -E '^>' /tmp/left; }
check "nothing is left of it" left
check "nor its directories" fails ls -d /etc/hailo /var/lib/hailo-clip /run/hailo-clip /usr/lib/hailo-clip /usr/share/hailo-clip
users_left() { ! getent passwd hailo-clip && ! getent group hailo-clip; }
check "nor its user and group" users_left
check "nothing has failed" running
check "apt install after purge" install hailo-clip
check "it answers" http_right
check "purge twice does no harm" apt-get purge -y hailo-clip
check "really" apt-get purge -y hailo-clip
