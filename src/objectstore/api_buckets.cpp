#include "lib/base/encoding.h"
#include "lib/base/text.h"
#include "lib/s3/xml.h"
#include "objectstore/api.h"
#include "objectstore/s3_error.h"

namespace workflow::objectstore {

namespace {

constexpr const char* owner = "workflow";
constexpr std::size_t most_per_page = 1000;

void add_owner(s3::XmlWriter& xml, const char* element) {
  xml.open(element).text("ID", owner).text("DisplayName", owner).close();
}

struct ListRequest {
  ListQuery query;
  bool v2 = false, encode = false, with_owner = false;
  std::string token, start_after, marker;
};

ListRequest list_request_of(const http::Query& query) {
  ListRequest result;
  auto text = [&query](const char* name) { return query.find(name).value_or(""); };
  result.v2 = text("list-type") == "2";
  result.query.prefix = text("prefix");
  result.query.delimiter = text("delimiter");
  result.encode = text("encoding-type") == "url";
  if (!result.encode && query.has("encoding-type")) throw invalid_argument("The encoding-type can only be url.");
  if (const auto limit = query.find("max-keys")) {
    const auto number = parse_integer(*limit);
    if (!number || *number < 0) throw invalid_argument("max-keys is not a number of 0 or more.");
    result.query.limit = std::min(static_cast<std::size_t>(*number), most_per_page);
  }
  if (result.v2) {
    result.with_owner = text("fetch-owner") == "true";
    result.token = text("continuation-token");
    result.start_after = text("start-after");
    result.query.after = result.start_after;
    if (query.has("continuation-token")) {
      const auto after = from_base64url(result.token);
      if (!after) throw invalid_argument("The continuation token provided is incorrect.");
      result.query.after = *after;
    }
  } else {
    result.with_owner = true;
    result.marker = text("marker");
    result.query.after = result.marker;
  }
  return result;
}

std::string render(const std::string& bucket, const ListRequest& asked, const ListPage& page) {
  auto name = [&asked](const std::string& text) { return asked.encode ? percent_encode(text, "/") : text; };
  s3::XmlWriter xml("ListBucketResult");
  xml.text("Name", bucket).text("Prefix", name(asked.query.prefix));
  if (!asked.query.delimiter.empty()) xml.text("Delimiter", name(asked.query.delimiter));
  xml.text("MaxKeys", std::to_string(asked.query.limit));
  if (asked.encode) xml.text("EncodingType", "url");
  if (asked.v2) {
    xml.text("KeyCount", std::to_string(page.objects.size() + page.common_prefixes.size()));
    if (!asked.token.empty()) xml.text("ContinuationToken", asked.token);
    if (!asked.start_after.empty()) xml.text("StartAfter", name(asked.start_after));
    if (page.truncated) xml.text("NextContinuationToken", to_base64url(page.last));
  } else {
    xml.text("Marker", name(asked.marker));
    if (page.truncated) xml.text("NextMarker", name(page.last));
  }
  xml.text("IsTruncated", page.truncated ? "true" : "false");
  for (const auto& [key, entry] : page.objects) {
    xml.open("Contents").text("Key", name(key)).text("LastModified", s3_time(entry.modified));
    xml.text("ETag", quoted(entry.etag)).text("Size", std::to_string(entry.size)).text("StorageClass", "STANDARD");
    if (asked.with_owner) add_owner(xml, "Owner");
    xml.close();
  }
  for (const auto& prefix : page.common_prefixes) xml.open("CommonPrefixes").text("Prefix", name(prefix)).close();
  return xml.finish();
}

}  // namespace

Task<http::Response> Api::list_buckets() {
  s3::XmlWriter xml("ListAllMyBucketsResult");
  add_owner(xml, "Owner");
  xml.open("Buckets");
  for (const auto& bucket : store_.buckets()) {
    xml.open("Bucket").text("Name", bucket.name).text("CreationDate", s3_time(bucket.created)).close();
  }
  co_return xml_response(xml.finish());
}

Task<http::Response> Api::create_bucket(Call& call) {
  const auto body = co_await xml_body(call.request);
  if (!body.empty()) {
    const auto document = s3::parse_xml(body);
    if (!document || document->name != "CreateBucketConfiguration") throw malformed_xml();
    const auto wanted = document->text_of("LocationConstraint");
    if (!wanted.empty() && wanted != region_) {
      throw S3Error{400, "InvalidLocationConstraint", "The only region of this store is " + region_ + "."};
    }
  }
  co_await offload([this, name = call.target.bucket] { store_.create_bucket(name); });
  auto response = http::Response::empty(200);
  response.headers.set("Location", "/" + call.target.bucket);
  co_return response;
}

Task<http::Response> Api::delete_bucket(Call& call) {
  co_await offload([this, name = call.target.bucket] { store_.delete_bucket(name); });
  co_return http::Response::empty(204);
}

Task<http::Response> Api::bucket_location(Call& call) {
  if (call.target.key.empty()) {
    store_.require_bucket(call.target.bucket);
  } else {
    co_await offload([this, target = call.target] { store_.open(target.bucket, target.key); });
  }
  if (call.operation == Operation::get_location) {
    // us-east-1 is the one that goes without saying.
    s3::XmlWriter xml("LocationConstraint");
    const auto document = xml.finish();
    const auto text = region_ == "us-east-1" ? "" : region_;
    co_return xml_response(replace_all(document, "></LocationConstraint>", ">" + text + "</LocationConstraint>"));
  }
  if (call.operation == Operation::get_versioning)
    co_return xml_response(s3::XmlWriter("VersioningConfiguration").finish());
  s3::XmlWriter xml("AccessControlPolicy");
  add_owner(xml, "Owner");
  xml.open("AccessControlList").open("Grant");
  add_owner(xml, "Grantee");
  xml.text("Permission", "FULL_CONTROL");
  // The grantee's kind is an attribute of another namespace, the only one in all of S3.
  co_return xml_response(replace_all(xml.finish(), "<Grantee>",
                                     "<Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" "
                                     "xsi:type=\"CanonicalUser\">"));
}

http::Response Api::not_configured(Call& call) {
  store_.require_bucket(call.target.bucket);
  static constexpr std::pair<std::string_view, std::string_view> codes[] = {
      {"policy", "NoSuchBucketPolicy"},
      {"lifecycle", "NoSuchLifecycleConfiguration"},
      {"cors", "NoSuchCORSConfiguration"},
      {"tagging", "NoSuchTagSet"},
      {"website", "NoSuchWebsiteConfiguration"},
      {"encryption", "ServerSideEncryptionConfigurationNotFoundError"},
      {"replication", "ReplicationConfigurationNotFoundError"},
      {"publicAccessBlock", "NoSuchPublicAccessBlockConfiguration"},
      {"ownershipControls", "OwnershipControlsNotFoundError"},
      {"object-lock", "ObjectLockConfigurationNotFoundError"}};
  for (const auto& [name, code] : codes) {
    if (call.request.query.has(name)) throw S3Error{404, std::string(code), "The bucket has no such configuration."};
  }
  throw S3Error{501, "NotImplemented", "This store does not offer the functionality that the request asks for."};
}

Task<http::Response> Api::list_objects(Call& call) {
  const auto asked = list_request_of(call.request.query);
  // Indexes are in memory, but a page of a thousand keys is worth a thread of its own.
  co_return xml_response(co_await offload(
      [this, asked, bucket = call.target.bucket] { return render(bucket, asked, store_.list(bucket, asked.query)); }));
}

Task<http::Response> Api::list_uploads(Call& call) {
  const auto bucket = call.target.bucket;
  const auto prefix = call.request.query.find("prefix").value_or("");
  const auto uploads = co_await offload([this, bucket] { return store_.uploads(bucket); });
  s3::XmlWriter xml("ListMultipartUploadsResult");
  xml.text("Bucket", bucket).text("KeyMarker", "").text("UploadIdMarker", "").text("Prefix", prefix);
  xml.text("MaxUploads", std::to_string(most_per_page)).text("IsTruncated", "false");
  for (const auto& upload : uploads) {
    if (!upload.key.starts_with(prefix)) continue;
    xml.open("Upload").text("Key", upload.key).text("UploadId", upload.id);
    add_owner(xml, "Initiator");
    add_owner(xml, "Owner");
    xml.text("StorageClass", "STANDARD").text("Initiated", s3_time(upload.begun)).close();
  }
  co_return xml_response(xml.finish());
}

Task<http::Response> Api::delete_objects(Call& call) {
  const auto bucket = call.target.bucket;
  store_.require_bucket(bucket);
  const auto document = s3::parse_xml(co_await xml_body(call.request));
  if (!document || document->name != "Delete") throw malformed_xml();
  std::vector<std::string> keys;
  for (const auto* object : document->all("Object")) keys.push_back(object->text_of("Key"));
  if (keys.empty() || keys.size() > most_per_page) throw malformed_xml();
  const bool quiet = document->text_of("Quiet") == "true";
  co_return xml_response(co_await offload([this, bucket, keys = std::move(keys), quiet] {
    s3::XmlWriter xml("DeleteResult");
    for (const auto& key : keys) {
      try {
        store_.remove(bucket, key);
        if (!quiet) xml.open("Deleted").text("Key", key).close();
      } catch (const S3Error& error) {
        xml.open("Error").text("Key", key).text("Code", error.code()).text("Message", error.message()).close();
      }
    }
    return xml.finish();
  }));
}

}  // namespace workflow::objectstore
