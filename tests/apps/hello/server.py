"""The smallest web app worth deploying: says who it is, and ends cleanly when asked to."""

import base64
import hashlib
import os
import signal
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

HOST = socket.gethostname()
PAGE = f"Powered by {os.environ.get('POWERED_BY', 'Workflow')}\nRelease {os.environ.get('WORKFLOW_RELEASE', 'unknown')} on {HOST}\n"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path == "/websocket":
            return self.echo()
        if url.path == "/log":
            print(parse_qs(url.query).get("line", [""])[0], flush=True)
        body = (HOST + "\n" if url.path == "/host" else PAGE).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        size = int(self.headers.get("Content-Length", 0))
        body = f"{len(self.rfile.read(size))} bytes\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def echo(self):
        """One small text message comes back as it came (RFC 6455)."""
        accept = hashlib.sha1((self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode())
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(accept.digest()).decode())
        self.end_headers()
        self.close_connection = True
        head = self.rfile.read(2)
        size = head[1] & 0x7F
        mask = self.rfile.read(4)
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(self.rfile.read(size)))
        self.wfile.write(bytes([head[0], size]) + payload)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = False  # a request under way is finished before the end


if os.environ.get("CRASH_AT_START"):
    sys.exit("refusing to start: CRASH_AT_START is set")
server = Server(("0.0.0.0", int(os.environ["PORT"])), Handler)
Handler.timeout = 5  # an idle connection does not keep the process from ending
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print(f"listening on {os.environ['PORT']}", flush=True)
server.serve_forever(poll_interval=0.05)
server.server_close()
