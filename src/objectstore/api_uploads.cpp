#include "lib/base/text.h"
#include "lib/s3/error.h"
#include "lib/s3/xml.h"
#include "objectstore/api.h"
#include "objectstore/conditions.h"
#include "objectstore/payload.h"
#include "objectstore/s3_error.h"

namespace workflow::objectstore {

using namespace std::chrono_literals;

namespace {

std::string upload_id(const http::Query& query) { return query.find("uploadId").value_or(""); }

int part_number(const http::Query& query) {
  const auto number = parse_integer(query.find("partNumber").value_or(""));
  if (!number || *number < 1 || *number > 10'000) throw invalid_argument("partNumber is between 1 and 10000.");
  return static_cast<int>(*number);
}

std::vector<std::pair<int, std::string>> parts_of(const std::string& body) {
  const auto document = s3::parse_xml(body);
  if (!document || document->name != "CompleteMultipartUpload") throw malformed_xml();
  std::vector<std::pair<int, std::string>> parts;
  for (const auto* part : document->all("Part")) {
    const auto number = parse_integer(part->text_of("PartNumber"));
    if (!number || *number < 1 || *number > 10'000) throw malformed_xml();
    parts.emplace_back(static_cast<int>(*number), unquoted(std::string(trim(part->text_of("ETag")))));
  }
  if (parts.empty()) throw malformed_xml();
  return parts;
}

constexpr std::size_t many_parts = 50;  // 250 MiB at least
constexpr auto keep_alive_pause = 5s;

// Joining takes a while, and clients give up on a silent server. So the answer begins at once and blanks follow, which
// XML allows, until it is known; a failure then comes as an error document with status 200, as S3 does it.
Task<> answer_while_working(std::function<std::string()> work, std::string path, std::string id,
                            http::BodyWriter& writer) {
  std::string answer;
  auto run = [](std::function<std::string()> job, std::string& into, std::string resource,
                std::string request_id) -> Task<> {
    try {
      into = co_await offload(std::move(job));
    } catch (const S3Error& error) {
      into = s3::render_error({error.code(), error.message()}, resource, request_id);
    } catch (const Error& error) {
      into = s3::render_error({"InternalError", error.message()}, resource, request_id);
    }
  };
  TaskGroup group(co_await asio::this_coro::executor);
  group.spawn("complete an upload", run(std::move(work), answer, path, id));
  auto talk = [](TaskGroup& working, std::string& result, http::BodyWriter& to) -> Task<> {
    const std::string declaration = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
    co_await to.write(declaration);
    while (working.size() > 0) {
      try {
        co_await with_deadline(keep_alive_pause, "", working.join());
        continue;
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::timeout) throw;
      }
      co_await to.write(" ");
    }
    co_await to.write(std::string_view(result).substr(declaration.size()));
  };
  co_await with_cleanup(talk(group, answer, writer), [&group] { return group.stop(); });
}

}  // namespace

Task<http::Response> Api::begin_upload(Call& call) {
  Metadata metadata{
      .bucket = call.target.bucket, .key = call.target.key, .headers = kept_headers(call.request.headers)};
  const auto id = co_await offload([this, metadata] { return store_.begin_upload(metadata); });
  s3::XmlWriter xml("InitiateMultipartUploadResult");
  xml.text("Bucket", call.target.bucket).text("Key", call.target.key).text("UploadId", id);
  co_return xml_response(xml.finish());
}

Task<http::Response> Api::upload_part(Call& call) {
  store_.require_bucket(call.target.bucket);
  const int number = part_number(call.request.query);
  auto done = [this, number, target = call.target, id = upload_id(call.request.query)](
                  std::unique_ptr<ObjectWriter> file, const ExtraHeaders&) {
    return store_.commit_part({id, target.bucket, target.key}, number, std::move(file));
  };
  const auto etag = co_await receive(call.request, std::move(call.verified), store_, done);
  auto response = http::Response::empty(200);
  response.headers.set("ETag", quoted(etag));
  co_return response;
}

Task<http::Response> Api::copy_part(Call& call) {
  const auto& headers = call.request.headers;
  const int number = part_number(call.request.query);
  auto work = [this, number, headers, from = copy_source(headers), to = call.target,
               id = upload_id(call.request.query)] {
    const auto source = store_.open(from.bucket, from.key);
    if (check_conditions(headers, "x-amz-copy-source-", source.metadata().etag, source.metadata().modified) !=
        Verdict::go_on) {
      throw precondition_failed();
    }
    const auto asked = headers.find("X-Amz-Copy-Source-Range");
    const auto range = range_of(asked, source.size());
    const auto* part = std::get_if<ByteRange>(&range);
    if (asked && part == nullptr) {
      throw invalid_argument("x-amz-copy-source-range must lie within the object: bytes=first-last.");
    }
    auto file = store_.new_file();
    if (part != nullptr)
      Store::copy(source, part->offset, part->length, *file);
    else
      Store::copy(source, 0, source.size(), *file);
    return store_.commit_part({id, to.bucket, to.key}, number, std::move(file));
  };
  const auto etag = co_await offload(std::move(work));
  s3::XmlWriter xml("CopyPartResult");
  co_return xml_response(xml.text("LastModified", s3_time(clock_.now())).text("ETag", quoted(etag)).finish());
}

Task<http::Response> Api::list_parts(Call& call) {
  const auto id = upload_id(call.request.query);
  const auto marker = parse_integer(call.request.query.find("part-number-marker").value_or("0")).value_or(0);
  const auto limit = parse_integer(call.request.query.find("max-parts").value_or("1000")).value_or(1000);
  const auto parts =
      co_await offload([this, id, target = call.target] { return store_.parts({id, target.bucket, target.key}); });
  s3::XmlWriter xml("ListPartsResult");
  xml.text("Bucket", call.target.bucket).text("Key", call.target.key).text("UploadId", id);
  xml.text("PartNumberMarker", std::to_string(marker)).text("MaxParts", std::to_string(limit));
  std::int64_t shown = 0;
  std::int64_t last = marker;
  bool truncated = false;
  for (const auto& part : parts) {
    if (part.number <= marker) continue;
    truncated = shown == limit;
    if (truncated) break;
    ++shown;
    last = part.number;
    xml.open("Part").text("PartNumber", std::to_string(part.number)).text("LastModified", s3_time(part.modified));
    xml.text("ETag", quoted(part.etag)).text("Size", std::to_string(part.size)).close();
  }
  xml.text("NextPartNumberMarker", std::to_string(last)).text("IsTruncated", truncated ? "true" : "false");
  co_return xml_response(xml.text("StorageClass", "STANDARD").finish());
}

Task<http::Response> Api::complete_upload(Call& call) {
  auto parts = parts_of(co_await xml_body(call.request));
  const bool takes_long = parts.size() > many_parts;
  if (takes_long) {
    // What can be known before the answer begins gets a status of its own.
    co_await offload([this, &parts, target = call.target, id = upload_id(call.request.query)] {
      store_.check_parts({id, target.bucket, target.key}, parts);
    });
  }
  const auto conditions = write_conditions(call.request.headers);
  auto work = [this, parts = std::move(parts), conditions, target = call.target, id = upload_id(call.request.query),
               location = call.request.raw_path] {
    const auto etag = store_.complete_upload({id, target.bucket, target.key}, parts, conditions);
    s3::XmlWriter xml("CompleteMultipartUploadResult");
    xml.text("Location", location).text("Bucket", target.bucket).text("Key", target.key);
    return xml.text("ETag", quoted(etag)).finish();
  };
  if (!takes_long) co_return xml_response(co_await offload(std::move(work)));
  auto response = xml_response("");
  response.body =
      http::StreamBody([work = std::move(work), path = call.request.path, id = call.request.id](
                           http::BodyWriter& writer) { return answer_while_working(work, path, id, writer); });
  co_return response;
}

Task<http::Response> Api::abort_upload(Call& call) {
  co_await offload([this, target = call.target, id = upload_id(call.request.query)] {
    store_.abort_upload({id, target.bucket, target.key});
  });
  co_return http::Response::empty(204);
}

}  // namespace workflow::objectstore
