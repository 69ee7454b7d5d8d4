"""The pods against every rule of Kubernetes' Pod Security Standards, level restricted (which includes baseline)."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

Pod = dict[str, Any]


def contexts(pod: Pod) -> list[dict[str, Any]]:
    """The security contexts of the pod and of its containers."""
    return [pod.get("securityContext", {}), *(one.get("securityContext", {}) for one in pod["containers"])]


def inherited(pod: Pod, field: str) -> list[Any]:
    """A field as it holds for every container: its own, else the pod's."""
    above = pod.get("securityContext", {}).get(field)
    return [one.get("securityContext", {}).get(field, above) for one in pod["containers"]]


def capabilities(pod: Pod, what: str) -> list[set[str]]:
    return [set(one.get("securityContext", {}).get("capabilities", {}).get(what, ())) for one in pod["containers"]]


def handlers(pod: Pod) -> list[dict[str, Any]]:
    """The probes and the hooks."""
    hooks = ("startupProbe", "readinessProbe", "livenessProbe")
    return [
        *(one[hook] for one in pod["containers"] for hook in hooks if hook in one),
        *(hook for one in pod["containers"] for hook in one.get("lifecycle", {}).values()),
    ]


VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip

RULES: dict[str, Callable[[Pod], bool]] = {
    "HostProcess": lambda pod: not any(c.get("windowsOptions", {}).get("hostProcess") for c in contexts(pod)),
    "Host Namespaces": lambda pod: not any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")),
    "Privileged Containers": lambda pod: not any(c.get("privileged") for c in contexts(pod)),
    "Capabilities": lambda pod: (
        all("ALL" in dropped for dropped in capabilities(pod, "drop"))
        and all(added <= {"NET_BIND_SERVICE"} for added in capabilities(pod, "add"))
    ),
    "HostPath Volumes": lambda pod: not any("hostPath" in volume for volume in pod["volumes"]),
    "Host Ports": lambda pod: not any(port.get("hostPort") for one in pod["containers"] for port in one["ports"]),
    "Host Probes / Lifecycle Hooks": lambda pod: (
        not any(
            action.get("host") for handler in handlers(pod) for action in handler.values() if isinstance(action, dict)
        )
    ),
    "AppArmor": lambda pod: all(
        c.get("appArmorProfile", {}).get("type") in (None, "RuntimeDefault", "Localhost") for c in contexts(pod)
    ),
    "SELinux": lambda pod: all(
        set(options) <= {"type", "level"}
        and options.get("type", "") in ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")
        for options in (c.get("seLinuxOptions", {}) for c in contexts(pod))
    ),
    "/proc Mount Type": lambda pod: all(c.get("procMount", "Default") == "Default" for c in contexts(pod)),
    "Seccomp": lambda pod: all(
        profile is not None and profile["type"] in ("RuntimeDefault", "Localhost")
        for profile in inherited(pod, "seccompProfile")
    ),
    "Sysctls": lambda pod: not any(c.get("sysctls") for c in contexts(pod)),
    "Volume Types": lambda pod: all(set(volume) - {"name"} <= VOLUMES for volume in pod["volumes"]),
    "Privilege Escalation": lambda pod: all(
        one.get("securityContext", {}).get("allowPrivilegeEscalation") is False for one in pod["containers"]
    ),
    "Running as Non-root": lambda pod: all(value is True for value in inherited(pod, "runAsNonRoot")),
    "Running as Non-root user": lambda pod: all(c.get("runAsUser", 1) != 0 for c in contexts(pod)),
}

# For every rule the path of a field, and a value that it forbids; None takes the field away.
BREACHES: dict[str, tuple[tuple[str | int, ...], Any]] = {
    "HostProcess": (("securityContext", "windowsOptions"), {"hostProcess": True}),
    "Host Namespaces": (("hostPID",), True),
    "Privileged Containers": (("containers", 0, "securityContext", "privileged"), True),
    "Capabilities": (("containers", 0, "securityContext", "capabilities", "drop"), ["NET_RAW"]),
    "HostPath Volumes": (("volumes", 0), {"name": "bundle", "hostPath": {"path": "/"}}),
    "Host Ports": (("containers", 0, "ports", 0, "hostPort"), 8080),
    "Host Probes / Lifecycle Hooks": (("containers", 0, "livenessProbe", "httpGet", "host"), "192.0.2.1"),
    "AppArmor": (("securityContext", "appArmorProfile"), {"type": "Unconfined"}),
    "SELinux": (("securityContext", "seLinuxOptions"), {"user": "system_u"}),
    "/proc Mount Type": (("containers", 0, "securityContext", "procMount"), "Unmasked"),
    "Seccomp": (("securityContext", "seccompProfile"), None),
    "Sysctls": (("securityContext", "sysctls"), [{"name": "kernel.msgmax", "value": "1"}]),
    "Volume Types": (("volumes", 0), {"name": "bundle", "nfs": {"server": "192.0.2.1", "path": "/"}}),
    "Privilege Escalation": (("containers", 0, "securityContext", "allowPrivilegeEscalation"), None),
    "Running as Non-root": (("containers", 0, "securityContext", "runAsNonRoot"), False),
    "Running as Non-root user": (("containers", 0, "securityContext", "runAsUser"), 0),
}


@pytest.mark.parametrize("rule", sorted(RULES))
def test_the_pods_keep_the_rule(rule: str, pod: Pod) -> None:
    assert RULES[rule](pod)


@pytest.mark.parametrize("rule", sorted(RULES))
def test_a_breach_of_the_rule_is_found(rule: str, pod: Pod) -> None:
    path, value = BREACHES[rule]
    wrong = copy.deepcopy(pod)
    holder: Any = wrong
    for step in path[:-1]:
        holder = holder[step]
    if value is None:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    assert not RULES[rule](wrong)


def test_nothing_but_the_volumes_can_be_written(container: dict[str, Any], pod: Pod) -> None:
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/tmp", "/var/cache/veriframe"}
    assert all(volume["emptyDir"]["sizeLimit"] for volume in pod["volumes"])


def test_no_pod_has_a_token_of_the_cluster(overlay: dict[str, Any], pod: Pod) -> None:
    account = overlay["ServiceAccount"]
    assert pod["serviceAccountName"] == account["metadata"]["name"]
    assert account["automountServiceAccountToken"] is False
    assert pod["automountServiceAccountToken"] is False
