#include "lib/base/text.h"
#include "lib/s3/xml.h"
#include "objectstore/api.h"
#include "objectstore/conditions.h"
#include "objectstore/payload.h"
#include "objectstore/s3_error.h"

namespace workflow::objectstore {

namespace {

constexpr std::size_t read_ahead = 2;  // pieces read while another is sent

struct Opened {
  std::shared_ptr<const ObjectReader> object;
  Verdict verdict = Verdict::go_on;
  std::variant<WholeObject, ByteRange, UnsatisfiableRange> range;
  ByteRange send;
  std::string first;  // the beginning of what is sent
};

enum class Wanted { data, description };

// Everything of a read that touches the disk before the first byte is sent, in one step on the pool.
Opened open_for(const Store& store, const Target& target, const http::Headers& headers, Wanted wanted) {
  Opened opened{.object = std::make_shared<const ObjectReader>(store.open(target.bucket, target.key)),
                .range = WholeObject(),
                .send = {},
                .first = {}};
  const auto& metadata = opened.object->metadata();
  opened.verdict = check_conditions(headers, "", metadata.etag, metadata.modified);
  opened.range = range_of(headers.find("Range"), opened.object->size());
  const auto* part = std::get_if<ByteRange>(&opened.range);
  opened.send = part != nullptr ? *part : ByteRange{0, opened.object->size()};
  const bool needed = wanted == Wanted::data && opened.verdict == Verdict::go_on &&
                      !std::holds_alternative<UnsatisfiableRange>(opened.range);
  if (needed) opened.first = opened.object->read(opened.send.offset, opened.send.length);
  return opened;
}

Task<> read_pieces(std::shared_ptr<const ObjectReader> object, ByteRange range, Channel<std::string>& pieces,
                   std::exception_ptr& failure) {
  try {
    while (range.length > 0) {
      auto piece = co_await offload([object, range] { return object->read(range.offset, range.length); });
      range.offset += piece.size();
      range.length -= piece.size();
      if (!co_await pieces.push(std::move(piece))) break;
    }
  } catch (...) {
    failure = std::current_exception();
  }
  pieces.close();
}

Task<> write_pieces(Channel<std::string>& pieces, http::BodyWriter& writer) {
  while (auto piece = co_await pieces.pop()) co_await writer.write(*piece);
}

// Verified piece by piece; when one is not sound, the error leaves here and the connection is broken off, so that the
// client sees a short body and never a wrong byte.
Task<> send_object(std::shared_ptr<const ObjectReader> object, ByteRange rest, std::string first,
                   http::BodyWriter& writer) {
  auto executor = co_await asio::this_coro::executor;
  Channel<std::string> pieces(executor, read_ahead);
  std::exception_ptr failure;
  TaskGroup group(executor);
  group.spawn("read an object", read_pieces(std::move(object), rest, pieces, failure));
  auto send = [](Channel<std::string>& from, std::string beginning, http::BodyWriter& to) -> Task<> {
    co_await to.write(beginning);
    co_await write_pieces(from, to);
  };
  co_await with_cleanup(send(pieces, std::move(first), writer), [&group] { return group.stop(); });
  if (failure) std::rethrow_exception(failure);
}

enum class Part { whole, some };

void add_description(http::Response& response, const ObjectReader& object, const http::Request& request, Part part) {
  const auto& metadata = object.metadata();
  // A checksum is of all bytes: it would mislead beside a part of them, or none.
  const bool checksums =
      part == Part::whole && equal_ignoring_case(request.headers.get("X-Amz-Checksum-Mode"), "enabled");
  for (const auto& [name, value] : metadata.headers) {
    if (!name.starts_with("x-amz-checksum-") || checksums) response.headers.add(name, value);
  }
  response.headers.set("ETag", quoted(metadata.etag));
  response.headers.set("Last-Modified", http_date(std::chrono::floor<std::chrono::seconds>(metadata.modified)));
  response.headers.set("Accept-Ranges", "bytes");
  for (const char* name :
       {"content-type", "content-language", "expires", "cache-control", "content-disposition", "content-encoding"}) {
    if (const auto value = request.query.find(std::string("response-") + name)) response.headers.set(name, *value);
  }
}

std::string content_range(const ByteRange& range, std::uint64_t size) {
  return "bytes " + std::to_string(range.offset) + "-" + std::to_string(range.offset + range.length - 1) + "/" +
         std::to_string(size);
}

}  // namespace

Task<http::Response> Api::put_object(Call& call) {
  store_.require_bucket(call.target.bucket);
  Metadata metadata{
      .bucket = call.target.bucket, .key = call.target.key, .headers = kept_headers(call.request.headers)};
  const auto conditions = write_conditions(call.request.headers);
  auto done = [this, metadata, conditions](std::unique_ptr<ObjectWriter> file, ExtraHeaders extra) mutable {
    metadata.headers.insert(metadata.headers.end(), extra.begin(), extra.end());
    return store_.commit(std::move(file), metadata, conditions);
  };
  const auto etag = co_await receive(call.request, std::move(call.verified), store_, done);
  auto response = http::Response::empty(200);
  response.headers.set("ETag", quoted(etag));
  co_return response;
}

Task<http::Response> Api::copy_object(Call& call) {
  const auto from = copy_source(call.request.headers);
  const auto& headers = call.request.headers;
  const bool replace = equal_ignoring_case(headers.get("X-Amz-Metadata-Directive"), "REPLACE");
  if (from.bucket == call.target.bucket && from.key == call.target.key && !replace) {
    throw invalid_request("An object can be copied to itself only with x-amz-metadata-directive: REPLACE.");
  }
  store_.require_bucket(call.target.bucket);
  auto kept = kept_headers(headers);
  const auto conditions = write_conditions(headers);
  auto work = [this, from, to = call.target, headers, replace, kept = std::move(kept), conditions]() mutable {
    const auto source = store_.open(from.bucket, from.key);
    Metadata metadata = source.metadata();
    if (check_conditions(headers, "x-amz-copy-source-", metadata.etag, metadata.modified) != Verdict::go_on) {
      throw precondition_failed();
    }
    metadata.bucket = to.bucket;
    metadata.key = to.key;
    metadata.etag.clear();
    if (replace) metadata.headers = std::move(kept);
    auto file = store_.new_file();
    Store::copy(source, 0, source.size(), *file);
    return store_.commit(std::move(file), std::move(metadata), conditions);
  };
  const auto etag = co_await offload(std::move(work));
  s3::XmlWriter xml("CopyObjectResult");
  co_return xml_response(xml.text("LastModified", s3_time(clock_.now())).text("ETag", quoted(etag)).finish());
}

Task<http::Response> Api::get_object(Call& call) {
  const auto wanted = call.request.method == "HEAD" ? Wanted::description : Wanted::data;
  auto opened = co_await offload([this, target = call.target, headers = call.request.headers, wanted] {
    return open_for(store_, target, headers, wanted);
  });
  if (opened.verdict == Verdict::failed) throw precondition_failed();
  if (std::holds_alternative<UnsatisfiableRange>(opened.range)) {
    throw S3Error{416, "InvalidRange", "The requested range is not satisfiable."};
  }
  const auto size = opened.object->size();
  const bool whole = std::holds_alternative<WholeObject>(opened.range);
  auto response = http::Response::empty(whole ? 200 : 206);
  add_description(response, *opened.object, call.request,
                  whole && opened.verdict == Verdict::go_on ? Part::whole : Part::some);
  if (opened.verdict == Verdict::not_modified) {
    response.status = 304;
    co_return response;
  }
  if (!whole) response.headers.set("Content-Range", content_range(opened.send, size));
  if (wanted == Wanted::description) {
    response.headers.set("Content-Length", std::to_string(opened.send.length));
    co_return response;
  }
  if (opened.first.size() == opened.send.length) {
    response.body = std::move(opened.first);
    co_return response;
  }
  const ByteRange rest{opened.send.offset + opened.first.size(), opened.send.length - opened.first.size()};
  response.length = opened.send.length;
  response.body = http::StreamBody([object = opened.object, rest, first = std::move(opened.first)](
                                       http::BodyWriter& writer) { return send_object(object, rest, first, writer); });
  co_return response;
}

Task<http::Response> Api::delete_object(Call& call) {
  co_await offload([this, target = call.target] { store_.remove(target.bucket, target.key); });
  co_return http::Response::empty(204);
}

}  // namespace workflow::objectstore
