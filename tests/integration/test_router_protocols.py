"""What passes through the router, and how it goes on when parts of it fail: a real nginx and real clients."""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from router_under_test import ADDRESS, PATIENCE, Api, Router, api, backend, folder, make_pair, router  # noqa: E402, F401
from workflow_testing import free_port, run, wait_for  # noqa: E402


def raw(router, head, port=None):
    sock = socket.create_connection(("127.0.0.1", port or router.http), 30)
    sock.sendall(head)
    return sock


def until(sock, mark):
    got = b""
    while mark not in got:
        data = sock.recv(4096)
        assert data, got
        got += data
    return got


def test_server_sent_events_come_one_by_one(router, api, backend):
    pod = backend()
    pod.pace = threading.Event()
    api.app("events", [pod])
    router.effect("events", serves=f"{ADDRESS}:{pod.port}")
    sock = raw(router, b"GET /events/3 HTTP/1.1\r\nHost: events.example.com\r\nAccept-Encoding: gzip\r\n\r\n")
    for number in range(3):
        until(sock, f"data: pod {number}".encode())  # the pod sends the next one only now
        pod.pace.set()
    until(sock, b"0\r\n\r\n")
    sock.close()


def test_a_client_that_waits_for_100_continue_gets_it(router, api, backend):
    pod = backend()
    api.app("patient", [pod])
    router.effect("patient", serves=f"{ADDRESS}:{pod.port}")
    for size in (1000, 200_000):
        sock = raw(router, f"POST / HTTP/1.1\r\nHost: patient.example.com\r\nExpect: 100-continue\r\nContent-Length: {size}\r\n\r\n".encode())
        until(sock, b"HTTP/1.1 100 Continue\r\n\r\n")
        sock.sendall(b"x" * size)
        assert f'"size": {size}'.encode() in until(sock, b"}}")
        sock.close()


def test_grpc_goes_to_pods_by_http_2(router, api, folder):
    upstream = folder / "upstream"
    upstream.mkdir()
    port = free_port()
    (upstream / "nginx.conf").write_text(f"""daemon off; worker_processes 1; pid {upstream}/pid; error_log stderr; events {{ }}
http {{ access_log off; client_body_temp_path {upstream}/b; proxy_temp_path {upstream}/p; fastcgi_temp_path {upstream}/f; uwsgi_temp_path {upstream}/u;
scgi_temp_path {upstream}/s; server {{ listen {ADDRESS}:{port} http2; location / {{ default_type application/grpc; return 200 "$server_protocol $content_type"; }} }} }}""")
    pod = subprocess.Popen(["nginx", "-c", upstream / "nginx.conf", "-p", upstream, "-e", "stderr"])

    class Pod:
        pass

    Pod.port = port
    try:
        platform = make_pair(folder, "*.example.com")
        api.secret("deis", "deis-router-platform-cert", {"tls.crt": platform[0], "tls.key": platform[1]}, kind="Opaque")
        api.app("grpc", [Pod], nginx__grpc="true")
        router.effect("grpc", serves=f"{ADDRESS}:{port}")

        def asked():
            answer = subprocess.run(["curl", "-sk", "--http2", "--resolve", f"grpc.example.com:{router.https}:127.0.0.1", "-H", "Content-Type: application/grpc",
                                     "-H", "TE: trailers", "-d", "x", "-w", " %{http_version} %{http_code}", f"https://grpc.example.com:{router.https}/a.B/C"],
                                    capture_output=True, text=True, timeout=60)
            return answer.stdout == "HTTP/2.0 application/grpc 2 200"

        wait_for(asked, PATIENCE, "HTTP/2 from end to end")
    finally:
        pod.terminate()
        pod.wait(20)


def test_a_pod_that_fails_is_left_alone_for_a_while(router, api, backend):
    good = backend("good")
    tries = 0
    with socket.create_server((ADDRESS, 0), backlog=256) as server:

        def fail():
            nonlocal tries
            while True:
                try:
                    connection = server.accept()[0]
                except OSError:
                    return
                tries += 1
                connection.close()

        thread = threading.Thread(target=fail, daemon=True)
        thread.start()

        class Bad:
            port = server.getsockname()[1]

        api.app("ejected", [good, Bad])
        router.effect("ejected", serves=f"{ADDRESS}:{good.port},{ADDRESS}:{Bad.port}")
        for _ in range(300):
            assert router.seen("ejected.example.com")["pod"] == "good", "an idempotent request is repeated on another pod"
        assert 0 < tries < 75, f"{tries} of 300 requests met the pod that fails: without leaving it alone it would be every other one"
        server.shutdown(socket.SHUT_RDWR)


def test_a_request_that_may_not_be_repeated_is_not(router, api, backend):
    got = []
    with socket.create_server((ADDRESS, 0), backlog=256) as server:

        def take():
            with contextlib.suppress(OSError):
                while True:
                    connection = server.accept()[0]
                    got.append(connection.recv(65536))
                    connection.close()

        threading.Thread(target=take, daemon=True).start()

        class Broken:
            port = server.getsockname()[1]

        api.app("once", [Broken])
        router.effect("once", serves=f"{ADDRESS}:{Broken.port}")
        assert router.get("once.example.com", method="POST", body=b"x")[0] == 502
        assert len(got) == 1 and got[0].startswith(b"POST")
        server.shutdown(socket.SHUT_RDWR)


def test_a_killed_router_goes_on_with_what_was_in_effect(open_path, backend):
    """Not with an older table: its pods may be gone."""
    api = Api(open_path)
    api.namespace("deis")
    router = Router(open_path, api).start().ready()
    try:
        old, new = backend("old"), backend("new")
        api.app("resumed", [old])
        router.effect("resumed", serves=f"{ADDRESS}:{old.port}")
        api.endpoints("resumed", [new])
        router.effect("resumed", **{"serves": f"{ADDRESS}:{new.port}", "not": f"{ADDRESS}:{old.port}"})
        old.stop()
        api.stop()
        os.kill(router.process.pid, signal.SIGKILL)
        router.process.wait()
        router.start()
        wait_for(lambda: router.plain(router.status, "/healthz") == 200, PATIENCE, "nginx is back")
        assert router.seen("resumed.example.com")["pod"] == "new"
        master = router.master()
        os.kill(router.process.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(master, signal.SIGKILL)
        router.process.wait()
        router.start()
        # Until the new master is there, workers of the old one may answer, and are ended in the middle of it.
        wait_for(lambda: router.master() not in (None, master) and router.plain(router.status, "/healthz") == 200, PATIENCE, "both are back")
        assert router.seen("resumed.example.com")["pod"] == "new"
        api.start()
        router.ready()
        api.annotate("resumed", maintenance="true")
        router.wait_status("resumed.example.com", 503, PATIENCE)
    finally:
        router.stop()
        api.stop()


def test_tables_are_seen_where_nothing_can_be_watched(open_path, backend):
    (open_path / "none.c").write_text("#include <errno.h>\nint inotify_init1(int flags) { (void)flags; errno = EMFILE; return -1; }\n")
    run(shutil.which("cc") or shutil.which("clang-19"), "-shared", "-fPIC", "-o", open_path / "none.so", open_path / "none.c")
    nginx = open_path / "nginx"
    nginx.write_text(f'#!/bin/sh\nLD_PRELOAD={open_path}/none.so exec {os.environ.get("ROUTER_NGINX", "/usr/sbin/nginx")} "$@"\n')
    nginx.chmod(0o755)
    api = Api(open_path)
    api.namespace("deis")
    router = Router(open_path, api).start(ROUTER_NGINX=str(nginx)).ready()
    try:
        for number in range(3):
            pod = backend(f"unwatched-{number}")
            api.app("unwatched", [pod])
            router.effect("unwatched", serves=f"{ADDRESS}:{pod.port}")  # with no request that would make a worker look
            assert router.seen("unwatched.example.com")["pod"] == f"unwatched-{number}"
        assert "the control page cannot be watched" in router.log()
    finally:
        router.stop()
        api.stop()


def test_routers_agree(open_path, api, router, backend):
    other = Router(open_path, api).start().ready()
    try:
        first, second = backend("first"), backend("second")
        api.app("agreed", [first])
        for number in range(10):
            pod = (first, second)[number % 2]
            api.endpoints("agreed", [pod])
            for one in (router, other):
                one.effect("agreed", serves=f"{ADDRESS}:{pod.port}")
                assert one.seen("agreed.example.com")["pod"] in ("first", "second")
            for one in (router, other):
                one.effect("agreed", **{"not": f"{ADDRESS}:{(first, second)[1 - number % 2].port}"})
                assert one.seen("agreed.example.com")["pod"] == pod.name
    finally:
        other.stop()
