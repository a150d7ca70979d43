#!/bin/sh
# SonarQube in its own mounts: the shared build, with this laboratory's folders where the server writes.
set -eu
home=/run/lab/sonarqube own={{ lab.dir }}/sonarqube
mountpoint -q $home || mount --bind {{ build.sonarqube }}/server $home
mountpoint -q $home/conf/sonar.properties || mount --bind {{ lab.etc }}/sonar.properties $home/conf/sonar.properties
for folder in data logs temp extensions; do
  if ! [ -d "$own/$folder" ]; then
    mkdir -p "$own"
    cp -r "{{ build.sonarqube }}/server/$folder" "$own/"
    chown -R nobody "$own/$folder"
  fi
  mountpoint -q "$home/$folder" || mount --bind "$own/$folder" "$home/$folder"
done
cd $home
export HOME=/run/lab SONAR_JAVA_PATH={{ java }}
exec setpriv --reuid=nobody --regid=nogroup --clear-groups --no-new-privs \
  {{ java }} -Xmx48m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -jar $home/lib/sonar-application-*.jar
