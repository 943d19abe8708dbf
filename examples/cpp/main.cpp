#include <fmt/core.h>
#include <httplib.h>

#include <cstdlib>

int main() {
  const char* port = std::getenv("PORT");
  if (!port) return 1;
  httplib::Server server;
  server.Get("/", [](const httplib::Request&, httplib::Response& response) {
    response.set_content(fmt::format("Hello from C++ {}\n", __cplusplus), "text/plain");
  });
  return server.listen("0.0.0.0", std::atoi(port)) ? 0 : 1;
}
