// src/objectstore/payload.h: takes an upload's body to the disk, checking on the way what its headers promise.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "lib/http/http.h"
#include "lib/s3/s3.h"
#include "objectstore/store.h"

namespace workflow::objectstore {

using ExtraHeaders = std::vector<std::pair<std::string, std::string>>;
// What to do with the complete, checked file; runs on the pool. The headers: checksums to keep with the object.
using OnReceived = std::function<std::string(std::unique_ptr<ObjectWriter>, ExtraHeaders)>;

// Receives into a file of `store`; returns what `done` returned. The body may be aws-chunked. Checked: its length, its
// SHA-256 (x-amz-content-sha256), Content-MD5, x-amz-checksum-… in header or trailer, chunk signatures. While a piece
// is hashed and written on the pool, the next one is received.
Task<std::string> receive(http::Request& request, s3::Verified verified, Store& store, OnReceived done);

}  // namespace workflow::objectstore
