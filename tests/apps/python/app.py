import platform

import bottle

app = bottle.Bottle()


@app.get("/")
def index():
    bottle.response.content_type = "text/plain; charset=utf-8"
    return f"Hello from Python {platform.python_version()} with Bottle {bottle.__version__}\n"
