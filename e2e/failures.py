"""What somebody at a gated cluster sees while parts of it fail or are changed. Each function is one scenario."""

import socket
import ssl
import time

from gate import HOST, OTHER, metrics
from load import Callers, Load
from parts import Authority, Failed, until
from pods import pod
from scenarios import allowed, annotations, create, denied, same, warned


# How late a cluster hears that an endpoint is gone, in seconds.
LATE = 15


def refused(answer, *says):
    """The API server itself refuses, for it cannot ask."""
    for part in ("failed calling webhook", *says):
        if answer.ok or part not in answer.err:
            raise Failed(f"it is not refused with `{part}`: {answer}")


def served(t):
    """The certificate that the shim shows now, in DER."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", t.gate.replica[0]), timeout=5) as plain:
        with tls.wrap_socket(plain, server_hostname=HOST) as connection:
            return connection.getpeercert(binary_form=True)


def mounted(t):
    """The certificate of the pair that is mounted, in DER."""
    return ssl.PEM_cert_to_DER_cert((t.gate.folder / "mount/tls.crt").read_text())


def load(t):
    return Load(t.cluster, pod("loaded", "shop", t.gate.image("clean")), pod("loaded", "shop", t.gate.image("critical")))


def t147_without_the_service_what_was_known_holds(t):
    good = pod("lkg", "shop", t.gate.image("clean"))
    same("warnings with the service", allowed(t.gate.probe(good)).warnings, [])
    same("exit code of the service", t.gate.service.stop(), 0)
    # What was kept near is not used any more: it is known to hold only while the service is heard.
    warned(allowed(create(t, good)), "known before")
    denied(create(t, pod("lkg-bad", "shop", t.gate.image("critical"))), t.gate.image("critical"))


def t147_without_the_service_the_fail_policy_decides(t):
    warned(allowed(create(t, pod("unknown", "fresh", t.gate.image("clean")))), "nobody looked at it")
    denied(create(t, pod("unknown", "strict", t.gate.image("clean"))), t.gate.image("clean"), "nothing runs unseen")


def t150_kube_system_starts_without_the_service(t):
    allowed(create(t, pod("dns", "kube-system", t.gate.image("unscanned"))))
    allowed(create(t, pod("service", "portcullis", t.gate.image("unscanned"))))


def t147_what_was_known_outlives_the_shim(t):
    t.gate.shim.stop()
    # It is ready when the service is, so it is not waited for here.
    t.gate.start_shim(wait=False)
    until("a shim that answers", lambda: served(t), 60, [t.gate.shim])
    denied(create(t, pod("lkg-bad", "shop", t.gate.image("critical"))), t.gate.image("critical"))
    warned(allowed(create(t, pod("lkg-again", "shop", t.gate.image("clean")))), "known before")


def the_service_comes_back(t):
    t.gate.start_service()
    strict = pod("known", "strict", t.gate.image("clean"))
    until("an answer of the service", lambda: t.gate.probe(strict).ok, 60, [t.gate.shim, t.gate.service])
    answer = allowed(create(t, strict))
    same("warnings", answer.warnings, [])


def a_shim_with_the_certificate_of_another_cluster_is_told_of(t):
    # Whoever it is that it says it is, it may not speak for this cluster.
    t.gate.shim.stop()
    t.gate.start_shim(certificate=OTHER)
    new = pod("foreign", "fresh", t.gate.image("unsigned"))
    warned(allowed(create(t, new)), "does not let this cluster ask")
    denied(create(t, pod("foreign", "strict", t.gate.image("unsigned"))), "does not let this cluster ask")
    counted = [name for name in metrics(t.gate.replica[1]) if 'cause="forbidden"' in name]
    if not counted:
        raise Failed("it is not counted that the service refuses this shim")
    t.gate.shim.stop()
    t.gate.start_shim()


def t147_a_service_that_is_killed_leaves_nothing_unsaid(t):
    good = pod("killed", "shop", t.gate.image("clean"))
    for _ in range(2):
        same("warnings with the service", allowed(t.gate.probe(good)).warnings, [])
    t.gate.service.kill()
    warned(allowed(create(t, good)), "known before")
    t.gate.start_service()
    until("an answer of the service", lambda: not t.gate.probe(good).warnings, 60, [t.gate.shim, t.gate.service])


def without_a_shim_the_failure_policy_decides(t):
    t.gate.shim.stop()
    allowed(create(t, pod("open", "shop", t.gate.image("critical"))))
    if not any("failed-open" in key for key in annotations(t, "shop", "open")):
        raise Failed(f"the audit log does not tell that nobody was asked: {annotations(t, 'shop', 'open')}")
    t.gate.install(policy="Fail")
    bad = pod("shut", "shop", t.gate.image("clean"))
    until("the new policy", lambda: not t.gate.probe(bad).ok, 60)
    refused(create(t, bad))
    # A cluster that is shut can heal: what must start does, and the webhooks can be taken away.
    allowed(create(t, pod("dns-again", "kube-system", t.gate.image("unscanned"))))
    t.gate.uninstall()
    allowed(create(t, pod("healed", "shop", t.gate.image("clean"))))
    t.gate.start_shim()
    t.gate.install(policy="Fail")
    t.gate.in_force()
    denied(create(t, pod("gated", "shop", t.gate.image("critical"))), t.gate.image("critical"))


def t151_certificates_change_under_load(t):
    with load(t) as under:
        under.more()
        for _ in range(3):
            t.gate.certificate()
            until("the new certificate", lambda: served(t) == mounted(t), 60, [t.gate.shim])
            under.more()
        before = served(t)
        # Half of a pair is none.
        t.gate.certificate(bytes=200)
        under.more(200)
        same("certificate", served(t), before)
        t.gate.certificate()
        until("the new certificate", lambda: served(t) == mounted(t), 60, [t.gate.shim])
        under.more()
    return f"{under.must_be_right()} answers, all right"


def t152_the_authority_changes_under_load(t):
    old, new = t.gate.authority, Authority(t.gate.folder / "pki", "next")
    with load(t) as under:
        under.more()
        t.gate.bundle = old.cert.read_text() + new.cert.read_text()
        t.gate.install(policy="Fail")
        under.more()
        t.gate.authority = new
        t.gate.certificate()
        until("the new authority's certificate", lambda: served(t) == mounted(t), 60, [t.gate.shim])
        under.more()
        t.gate.bundle = new.cert.read_text()
        t.gate.install(policy="Fail")
        under.more(200)
    told = f"{under.must_be_right()} answers, all right"
    # From now on the old one is nobody.
    t.gate.certificate(old)
    until("the old authority's certificate", lambda: served(t) == mounted(t), 60, [t.gate.shim])
    t.gate.shim.stop()
    t.gate.start_shim()
    refused(create(t, pod("forged", "shop", t.gate.image("clean"))), "x509")
    t.gate.certificate()
    until("the new authority's certificate", lambda: served(t) == mounted(t), 60, [t.gate.shim])
    good = pod("trusted", "shop", t.gate.image("clean"))
    until("an API server that trusts again", lambda: t.gate.probe(good).ok, 60, [t.gate.shim])
    return told


def t140_a_shim_restarts_under_load(t):
    gate = t.gate
    gate.shim.stop()
    gate.start_shim(drain="20s")
    gate.second = gate.start_replica("second", gate.other)
    gate.balancer.replicas.append(gate.other[0])
    with load(t) as under, Callers(t) as callers:
        under.more()
        # It is told to end, and a cluster hears of it so late: connections come to it until then.
        begun = time.monotonic()
        gate.shim.process.terminate()
        while time.monotonic() < begun + LATE:
            under.more()
        gate.balancer.replicas = [gate.other[0]]
        until("the end of the shim", lambda: not gate.shim.alive(), 60)
        same("exit code", gate.shim.process.returncode, 0)
        gate.shim = gate.start_replica("shim", gate.replica)
        gate.balancer.replicas.append(gate.replica[0])
        under.more()
    told = f"{under.must_be_right()} answers and {callers.must_be_right()} on connections of their own, all right"
    gate.balancer.replicas = [gate.replica[0]]
    gate.second.stop()
    return told


ALL = [
    t147_without_the_service_what_was_known_holds,
    t147_without_the_service_the_fail_policy_decides,
    t150_kube_system_starts_without_the_service,
    t147_what_was_known_outlives_the_shim,
    the_service_comes_back,
    a_shim_with_the_certificate_of_another_cluster_is_told_of,
    t147_a_service_that_is_killed_leaves_nothing_unsaid,
    without_a_shim_the_failure_policy_decides,
    t151_certificates_change_under_load,
    t152_the_authority_changes_under_load,
    t140_a_shim_restarts_under_load,
]
