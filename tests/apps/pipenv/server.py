import http.server
import os

import itsdangerous

PAGE = f"Hello from {itsdangerous.Signer('key').sign('x').decode()[:1]}-signed Python\n".encode()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)


http.server.HTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
