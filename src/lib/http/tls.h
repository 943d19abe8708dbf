// src/lib/http/tls.h: TLS contexts from PEM text. Inside lib/http only.
#pragma once
#include <memory>

#include "lib/http/http.h"

namespace boost::asio::ssl {
class context;
}

namespace workflow::http {

// Both throw `invalid`, saying which text is at fault.
std::shared_ptr<asio::ssl::context> server_context(const TlsFiles& files);
std::shared_ptr<asio::ssl::context> client_context(const ClientTls& tls);

}  // namespace workflow::http
