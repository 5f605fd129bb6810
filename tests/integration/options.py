"""Every option of `docker run` that the engines of docs/engines.md take: sets of them, each of
which makes another container.

A case is a name and the options; `{folder}` is a folder with files for those that read one. What
has to be there first (networks, images, other containers) is in `SURROUNDINGS`. A case whose
options the machine cannot start is created only: `CREATED_ONLY` says why. Options that leave no
trace in a container are in `OF_THE_COMMAND`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """One container; `image` and `command` where they are part of what is tried; `init` where
    --init would hide it."""

    options: tuple[str, ...]
    image: str = "toolbox:latest"
    command: tuple[str, ...] = ("sleep", "86400")


def case(
    *options: str, image: str = "toolbox:latest", command: tuple[str, ...] = ("sleep", "86400")
) -> Case:
    return Case(options, image, command)


SURROUNDINGS: tuple[tuple[str, ...], ...] = (
    ("network", "create", "--subnet", "10.91.0.0/24", "alpha"),
    ("network", "create", "--subnet", "10.92.0.0/24", "beta"),
    ("network", "create", "--ipv6", "--subnet", "10.93.0.0/24", "--subnet", "fd00:93::/64", "six"),
    ("network", "create", "--internal", "--subnet", "10.94.0.0/24", "inner"),
    ("volume", "create", "--label", "kept=yes", "named"),
    ("run", "--detach", "--init", "--name", "owner", "--ipc", "shareable", "--volume", "/shared",
        "--volume",
     "named:/named", "toolbox:latest", "sleep", "86400"),
)  # fmt: skip

FILES = {"env": "FROM_FILE=yes\nALSO=file\n", "labels": "from.file=yes\n", "bound": "a file\n"}

IMAGES: dict[str, tuple[str, ...]] = {
    "rich:latest": (
        "ENV PATH=/bin:/usr/bin", "ENV COLOUR=blue", "ENV SIZE=small", "LABEL tier=web",
        "LABEL owner=image", "EXPOSE 8080/tcp", "EXPOSE 9090/udp", "VOLUME /data", "VOLUME /cache",
        "WORKDIR /var", "USER nobody", "STOPSIGNAL SIGUSR1",
        'HEALTHCHECK --interval=7s --timeout=3s --retries=4 CMD ["true"]', "ONBUILD ENV BUILT=yes",
        'ENTRYPOINT ["/bin/busybox"]', 'CMD ["sleep", "86400"]',
    ),
}  # fmt: skip
"""Images with as many defaults as there are: name -> Dockerfile lines."""

CASES: dict[str, Case] = {
    "plain": case("--init"),
    "attach": case("--init", "--attach", "STDOUT"),
    "add-host": case("--init", "--add-host", "db:10.0.0.9", "--add-host", "six:::1", "--add-host",
        "gw:host-gateway"),
    "annotation": case("--init", "--annotation", "org.example/a=b", "--annotation", "c=d=e"),
    "blkio-weight": case("--init", "--blkio-weight", "300"),
    "blkio-weight-device": case("--init", "--blkio-weight-device", "/dev/null:200"),
    "cap-add": case("--init", "--cap-add", "NET_ADMIN", "--cap-add", "SYS_TIME"),
    "cap-drop": case("--init", "--cap-drop", "ALL", "--cap-add", "CHOWN"),
    "cgroup-parent": case("--init", "--cgroup-parent", "/dockmend-tests"),
    "cgroupns-private": case("--init", "--cgroupns", "private"),
    "cidfile": case("--init", "--cidfile", "{folder}/id"),
    "cgroupns-host": case("--init", "--cgroupns", "host"),
    "cpu-period": case("--init", "--cpu-period", "50000", "--cpu-quota", "25000"),
    "cpu-quota": case("--init", "--cpu-quota", "90000"),
    "cpu-rt-period": case("--init", "--cpu-rt-period", "1000000", "--cpu-rt-runtime", "10000"),
    "cpu-shares": case("--init", "--cpu-shares", "256"), "cpus": case("--init", "--cpus", "0.75"),
    "cpuset": case("--init", "--cpuset-cpus", "0", "--cpuset-mems", "0"),
    "device": case("--init", "--device", "/dev/null:/dev/mine:rw", "--device", "/dev/zero"),
    "device-cgroup-rule": case("--init", "--device-cgroup-rule", "c 42:* rmw"),
    "device-read-bps": case("--init", "--device-read-bps", "/dev/vda:1mb"),
    "device-read-iops": case("--init", "--device-read-iops", "/dev/vda:100"),
    "device-write-bps": case("--init", "--device-write-bps", "/dev/vda:2mb"),
    "device-write-iops": case("--init", "--device-write-iops", "/dev/vda:200"),
    "dns": case(
        "--init", "--dns", "9.9.9.9", "--dns", "1.1.1.1", "--dns-option", "ndots:2",
        "--dns-search", "example.org",
    ),
    "domainname": case("--init", "--hostname", "web", "--domainname", "example.org"),
    "hostname": case("--init", "--hostname", "my-host"),
    "hostname-dotted": case("--init", "--hostname", "my-host.example.org"),
    "entrypoint": case("--init", "--entrypoint", "/bin/busybox"),
    "env": case("--init", "--env", "A=b", "--env", "EMPTY=", "--env", "SPACES=a b  c", "--env",
        "EQUALS=a=b"),
    "env-file": case("--init", "--env-file", "{folder}/env"),
    "expose": case("--init", "--expose", "1234", "--expose", "2000-2002/udp"),
    "gpus": case("--gpus", 'device=0,"capabilities=compute,utility"'),
    "gpus-all": case("--gpus", "all"),
    "group-add": case("--init", "--group-add", "nogroup", "--group-add", "1234"),
    "health-cmd": case(
        "--init", "--health-cmd", "true", "--health-interval", "200ms", "--health-timeout", "2s",
        "--health-retries", "5", "--health-start-period", "1s", "--health-start-interval", "500ms",
    ),
    "health-only-cmd": case("--init", "--health-cmd", "true", "--health-interval", "300ms"),
    "no-healthcheck": case("--init", "--no-healthcheck"),
    "no-init": case("--stop-timeout", "1"),
    "init-false": case("--init=false", "--stop-timeout", "1"),
    "interactive": case("--init", "--interactive"),
    "tty": case("--init", "--tty"),
    "interactive-tty": case("--init", "--interactive", "--tty", command=("sh",)),
    "ip": case("--init", "--network", "alpha", "--ip", "10.91.0.50"),
    "ip6": case("--init", "--network", "six", "--ip", "10.93.0.50", "--ip6", "fd00:93::50"),
    "ip6-only": case("--init", "--network", "six", "--ip6", "fd00:93::51"),
    "link-local-ip": case("--init", "--network", "alpha", "--link-local-ip", "169.254.7.7"),
    "ipc-private": case("--init", "--ipc", "private"),
    "ipc-shareable": case("--init", "--ipc", "shareable"),
    "ipc-host": case("--init", "--ipc", "host"),
    "ipc-none": case("--init", "--ipc", "none"),
    "ipc-container": case("--init", "--ipc", "container:owner"),
    "isolation": case("--init", "--isolation", "default"),
    "kernel-memory": case("--init", "--kernel-memory", "64m"),
    "label": case("--init", "--label", "a=b", "--label", "empty=", "--label", "bare", "--label",
        "com.example.x=y=z"),
    "label-file": case("--init", "--label-file", "{folder}/labels"),
    "link": case("--init", "--link", "owner", "--link", "owner:boss"),
    "link-network": case("--init", "--network", "alpha", "--link", "owner:boss"),
    "log-driver-none": case("--init", "--log-driver", "none"),
    "log-driver-local": case(
        "--init", "--log-driver", "local", "--log-opt", "max-size=1m",
        "--log-opt", "compress=false",
    ),
    "log-opt": case("--init", "--log-opt", "max-size=2m", "--log-opt", "max-file=3", "--log-opt",
        "labels=a,b"),
    "mac-address": case("--init", "--mac-address", "92:d0:c6:0a:29:33"),
    "mac-address-network": case("--init", "--network", "alpha", "--mac-address",
        "92:d0:c6:0a:29:34"),
    "memory": case("--init", "--memory", "64m"),
    "memory-reservation": case("--init", "--memory", "64m", "--memory-reservation", "32m"),
    "memory-swap": case("--init", "--memory", "64m", "--memory-swap", "96m"),
    "memory-swap-unlimited": case("--init", "--memory", "64m", "--memory-swap", "-1"),
    "memory-swappiness": case("--init", "--memory-swappiness", "10"),
    "mount-volume": case("--init", "--mount",
        "type=volume,source=mine,target=/mine,volume-label=a=b,volume-nocopy"),
    "mount-volume-anonymous": case("--init", "--mount", "type=volume,target=/anon"),
    "mount-bind": case("--init", "--mount",
        "type=bind,source={folder}/bound,target=/bound,readonly"),
    "mount-bind-options": case(
        "--init", "--mount",
        "type=bind,source={folder},target=/b,bind-recursive=disabled,bind-propagation=rprivate"
    ),
    "mount-tmpfs": case("--init", "--mount", "type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770"),
    "network-none": case("--init", "--network", "none"),
    "network-host": case("--init", "--network", "host"),
    "network-host-named": case("--init", "--network", "host", "--hostname", "other", "--uts", ""),
    "network-container": case("--init", "--network", "container:owner"),
    "network-bridge": case("--init", "--network", "bridge"),
    "network-several": case(
        "--init", "--network", "name=alpha,ip=10.91.0.60,alias=one,alias=two", "--network",
        "name=beta,ip=10.92.0.60,alias=three,mac-address=92:d0:c6:0a:29:35", "--network", "inner",
    ),
    "network-driver-opt": case("--init", "--network", "name=alpha,driver-opt=com.example.a=b"),
    "network-alias": case("--init", "--network", "alpha", "--network-alias", "shop",
        "--network-alias", "till"),
    "oom-kill-disable": case("--init", "--memory", "64m", "--oom-kill-disable"),
    "oom-score-adj": case("--init", "--oom-score-adj", "500"),
    "pid-host": case("--init", "--pid", "host"),
    "pid-container": case("--init", "--pid", "container:owner"),
    "pids-limit": case("--init", "--pids-limit", "100"),
    "pids-unlimited": case("--init", "--pids-limit", "-1"),
    "privileged": case("--init", "--privileged"),
    "publish": case("--init", "--publish", "18080:80", "--publish", "127.0.0.1:18081:81/udp",
        "--publish", "82"),
    "publish-range": case("--init", "--publish", "18100-18102:100-102"),
    "publish-all": case("--init", "--publish-all", "--expose", "7000"),
    "read-only": case("--init", "--read-only", "--tmpfs", "/run"),
    "restart-always": case("--init", "--restart", "always"),
    "restart-on-failure": case("--init", "--restart", "on-failure:7"),
    "restart-unless-stopped": case("--init", "--restart", "unless-stopped"),
    "runtime": case("--init", "--runtime", "io.containerd.runc.v2"),
    "security-opt": case("--init", "--security-opt", "no-new-privileges", "--security-opt",
        "seccomp=unconfined"),
    "security-opt-paths": case("--init", "--security-opt", "systempaths=unconfined"),
    "security-opt-label": case("--init", "--security-opt", "label=disable", "--security-opt",
        "apparmor=unconfined"),
    "shm-size": case("--init", "--shm-size", "32m"),
    "stop-signal": case("--init", "--stop-signal", "SIGINT"),
    "stop-timeout": case("--init", "--stop-timeout", "3"),
    "sysctl": case("--init", "--sysctl", "net.ipv4.ip_forward=1", "--sysctl",
        "net.core.somaxconn=512"),
    "tmpfs": case("--init", "--tmpfs", "/scratch:rw,size=1m,mode=1777", "--tmpfs", "/plain"),
    "ulimit": case("--init", "--ulimit", "nofile=1024:2048", "--ulimit", "nproc=99", "--ulimit",
        "core=-1"),
    "user": case("--init", "--user", "nobody:nogroup"),
    "user-number": case("--init", "--user", "1000"), "userns": case("--init", "--userns", "host"),
    "uts": case("--init", "--uts", "host"),
    "volume-named": case("--init", "--volume", "named:/n", "--volume", "named:/ro:ro"),
    "volume-bind": case("--init", "--volume", "{folder}:/folder", "--volume",
        "{folder}/bound:/file:ro"),
    "volume-anonymous": case("--init", "--volume", "/anon", "--volume", "/other"),
    "volume-nocopy": case("--init", "--volume", "named:/n:nocopy"),
    "volume-driver": case("--init", "--volume-driver", "local", "--volume", "driven:/d"),
    "volumes-from": case("--init", "--volumes-from", "owner"),
    "volumes-from-ro": case("--init", "--volumes-from", "owner:ro", "--volume", "/own"),
    "workdir": case("--init", "--workdir", "/tmp"),
    "rich-as-it-is": case(image="rich:latest", command=()),
    "rich-command": case(image="rich:latest", command=("sleep", "1234")),
    "rich-env": case("--env", "COLOUR=red", "--env", "OWN=1", "--label", "owner=me",
        image="rich:latest", command=()),
    "rich-ports": case("--publish", "18200:8080", "--expose", "5555", image="rich:latest",
        command=()),
    "rich-volumes": case("--volume", "named:/data", "--tmpfs", "/cache", image="rich:latest",
        command=()),
    "rich-user": case("--user", "root", "--workdir", "/", "--stop-signal", "TERM",
        image="rich:latest", command=()),
    "rich-check": case("--health-cmd", "true", "--health-retries", "9", image="rich:latest",
        command=()),
    "rich-no-check": case("--no-healthcheck", image="rich:latest", command=()),
    "rich-no-entrypoint": case("--entrypoint", "", image="rich:latest",
        command=("/bin/sleep", "86400")),
    "rich-entrypoint": case("--entrypoint", "/bin/sleep", image="rich:latest", command=("86400",)),
}  # fmt: skip

CREATED_ONLY: dict[str, str] = {
    "attach": "a detached run does not take it",
    "cpu-rt-period": "the cgroup has no real-time budget to give",
    "gpus": "there is no GPU driver",
    "gpus-all": "there is no GPU driver",
}
"""Cases that are made and not started, and why."""

BY_BODY: dict[str, dict[str, object]] = {
    "cpu-count": {"CpuCount": 1},
    "cpu-percent": {"CpuPercent": 50},
    "io-maxbandwidth": {"IOMaximumBandwidth": 1000000},
    "io-maxiops": {"IOMaximumIOps": 100},
    "storage-opt": {"StorageOpt": {"size": "1G"}},
    "use-api-socket": {
        "Mounts": [
            {"Type": "bind", "Source": "/var/run/docker.sock", "Target": "/var/run/docker.sock"}
        ],
    },
}
"""Options that the command or the engine refuses here (Windows' own, another file system's, the
socket of the host's own engine): what they would put into HostConfig, which must come out of
inspect's answer as it went in."""

OF_THE_COMMAND: dict[str, str] = {
    "detach": "whether the command waits",
    "detach-keys": "of the command's own terminal",
    "disable-content-trust": "of the pull",
    "help": "prints a page",
    "name": "every case has one",
    "platform": "chooses the image",
    "pull": "of the pull",
    "quiet": "of the pull",
    "rm": "such a container is refused: test_recreate.py",
    "sig-proxy": "of the command's own terminal",
}
"""Options that leave nothing in a container's definition."""
