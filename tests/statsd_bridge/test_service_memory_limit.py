"""The default of --statsd.max-memory: cgroups of both versions, resource limits."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from statsd_bridge.service import memory_limit
from statsd_bridge.service.memory_limit import (
    cgroup_limits,
    default_memory_limit,
    resource_limits,
)

MEBIBYTE = 1024 * 1024

V2_MOUNT = "30 23 0:26 {root} /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate"
V1_MOUNT = "35 31 0:32 {root} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"
CPU_MOUNT = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct"

# /proc/self/cgroup, the mounts, files below /sys/fs/cgroup, and the limits found.
SYSTEMS: dict[str, tuple[str, str, dict[str, str], list[int]]] = {
    "container, version 2": (
        "0::/\n",
        V2_MOUNT.format(root="/"),
        {"memory.max": "536870912\n"},
        [512 * MEBIBYTE],
    ),
    "unit of systemd, version 2": (
        "0::/system.slice/bridge.service\n",
        V2_MOUNT.format(root="/"),
        {
            "system.slice/bridge.service/memory.max": "max\n",
            "system.slice/memory.max": "1073741824\n",
        },
        [1024 * MEBIBYTE],
    ),
    "unit with MemoryHigh": (
        "0::/a.service\n",
        V2_MOUNT.format(root="/"),
        {"a.service/memory.max": "max\n", "a.service/memory.high": "300\n"},
        [300],
    ),
    "container without its own namespace, version 1": (
        "9:name=systemd:/docker/abc\n4:memory:/docker/abc\n0::/docker/abc\n",
        f"{CPU_MOUNT}\n{V1_MOUNT.format(root='/docker/abc')}",
        {"memory/memory.limit_in_bytes": "268435456\n"},
        [256 * MEBIBYTE],
    ),
    "host, version 1": (
        "4:cpu,memory:/user\n",
        V1_MOUNT.format(root="/"),
        {
            "memory/user/memory.limit_in_bytes": "100\n",
            "memory/memory.limit_in_bytes": "9223372036854771712\n",
        },
        [100, 9223372036854771712],
    ),
    "a path outside of what is mounted": (
        "0::/../other\n",
        V2_MOUNT.format(root="/below"),
        {"memory.max": "7\n"},
        [7],
    ),
    "no limit": ("0::/\n", V2_MOUNT.format(root="/"), {"memory.max": "max\n"}, []),
    "nonsense": ("\n::\nx", "a b c\n- -\n", {}, []),
    "nothing": ("", "", {}, []),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_limits_of_cgroups_are_found(tmp_path: Path, name: str) -> None:
    """Its own and those above, wherever the hierarchy is mounted."""
    cgroup, mounts, files, limits = SYSTEMS[name]
    proc = tmp_path / "proc" / "self"
    proc.mkdir(parents=True)
    (proc / "cgroup").write_text(cgroup)
    (proc / "mountinfo").write_text(mounts)
    for path, text in files.items():
        file = tmp_path / "sys" / "fs" / "cgroup" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    assert list(cgroup_limits(tmp_path)) == limits


def test_a_system_without_proc_has_no_limits(tmp_path: Path) -> None:
    """Files that are missing are no error."""
    assert list(cgroup_limits(tmp_path)) == []


def test_what_is_left_of_a_resource_limit_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The address space that is in use is subtracted."""
    page = resource.getpagesize()
    limits = {resource.RLIMIT_AS: 500 * page, resource.RLIMIT_DATA: 20 * page}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limits[kind], -1))
    assert list(resource_limits(tmp_path)) == [500 * page, 20 * page]
    proc = tmp_path / "proc" / "self"
    proc.mkdir(parents=True)
    (proc / "statm").write_text("300 60 10 1 0 40 0\n")

    assert list(resource_limits(tmp_path)) == [200 * page, 0]


@pytest.mark.parametrize(
    ("cgroup", "left", "expected"),
    [
        ([], [], 2_000),
        ([600], [], 300),
        ([600, 500], [], 250),
        ([9_000], [], 2_000),
        ([], [400], 200),
        ([600], [4_000], 300),
    ],
)
def test_the_default_is_half_of_a_limit_else_a_quarter_of_the_memory(
    monkeypatch: pytest.MonkeyPatch,
    cgroup: list[int],
    left: list[int],
    expected: int,
) -> None:
    """The lowest limit counts; one above the memory of the machine is none."""
    monkeypatch.setattr(memory_limit, "machine_memory", lambda: 8_000)
    monkeypatch.setattr(memory_limit, "cgroup_limits", lambda _: cgroup)
    monkeypatch.setattr(memory_limit, "resource_limits", lambda _: left)

    assert default_memory_limit() == expected


def test_this_machine_has_a_default() -> None:
    """Some memory, and no more than half of all."""
    assert 0 < default_memory_limit() <= memory_limit.machine_memory() // 2
