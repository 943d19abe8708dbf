// src/lib/s3/presigned.h: what somebody without credentials does with a presigned URL. The URL never shows in a
// message: whoever has it has the object.
//   Both try again while the network or the store fails, and stop waiting for a peer who says nothing.
//   Throws  Error: not_found, forbidden (the URL's time has passed, or the store refuses it), unavailable, timeout;
//           internal when our own disk fails.
#pragma once
#include <memory>
#include <string>

#include "lib/http/http.h"

namespace workflow::s3 {

// Into the open file `to`, which then is at its beginning.
Task<> download(http::Client& client, http::Url url, const Fd& to);
// All of a file, or a text, as one object.
Task<> upload(http::Client& client, http::Url url, std::shared_ptr<Fd> from);
Task<> upload(http::Client& client, http::Url url, std::string text);

}  // namespace workflow::s3
