#include "lib/http/upgrade.h"

#include "lib/http/wire.h"

namespace workflow::http {

bool wants_upgrade(const Request& request, std::string_view protocol) {
  return has_token(request.headers.get("Upgrade"), protocol) && has_token(request.headers.get("Connection"), "upgrade");
}

Response upgrade_response(const std::string& protocol, std::function<Task<>(ByteStream&)> run) {
  Response response;
  response.status = 101;
  response.headers.set("Upgrade", protocol);
  // The server gives the body of a 101 a writer that reads, too.
  response.body = [run = std::move(run)](BodyWriter& stream) { return run(dynamic_cast<ByteStream&>(stream)); };
  return response;
}

}  // namespace workflow::http
