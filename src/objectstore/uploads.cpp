// Multipart uploads: a folder each, the parts as files in the object format.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <tuple>

#include "lib/base/encoding.h"
#include "lib/base/log.h"
#include "objectstore/s3_error.h"
#include "objectstore/store.h"

namespace workflow::objectstore {

namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t smallest_part = 5u << 20;  // S3's; the last one may be smaller
constexpr int most_parts = 10'000;

std::string part_name(int number) {
  std::array<char, 8> name;
  std::snprintf(name.data(), name.size(), "%05d", number);
  return name.data();
}

bool is_upload_id(const std::string& id) {
  return id.size() == 32 &&
         std::ranges::all_of(id, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace

fs::path Store::upload_folder(const std::string& upload) const {
  if (!is_upload_id(upload)) throw no_such_upload();
  return root_ / "uploads" / upload;
}

Metadata Store::upload_metadata(const UploadName& upload) const {
  const auto info = ObjectReader::open(upload_folder(upload.id) / "info");
  if (!info || info->metadata().bucket != upload.bucket || info->metadata().key != upload.key) throw no_such_upload();
  return info->metadata();
}

std::string Store::begin_upload(Metadata metadata) {
  require_bucket(metadata.bucket);
  metadata.modified = clock_.now();
  const auto id = random_hex(32);
  const auto folder = temporary_path();
  if (::mkdir(folder.c_str(), 0700) != 0) throw disk_error(errno, "beginning an upload", folder);
  ObjectWriter info(folder / "info");
  info.finish(std::move(metadata));
  info.keep();
  sync_folder(folder);
  if (::rename(folder.c_str(), upload_folder(id).c_str()) != 0) throw disk_error(errno, "beginning an upload", folder);
  sync_folder(root_ / "uploads");
  return id;
}

std::string Store::commit_part(const UploadName& upload, int number, std::unique_ptr<ObjectWriter> file) {
  if (number < 1 || number > most_parts) throw invalid_argument("Part numbers are between 1 and 10000.");
  Metadata metadata = upload_metadata(upload);
  metadata.headers.clear();
  metadata.etag = file->md5_hex();
  metadata.modified = clock_.now();
  const std::string etag = metadata.etag;
  file->finish(std::move(metadata));
  const auto folder = upload_folder(upload.id);
  if (::rename(file->path().c_str(), (folder / part_name(number)).c_str()) != 0) {
    if (errno == ENOENT) throw no_such_upload();  // aborted meanwhile
    throw disk_error(errno, "naming a part", folder);
  }
  file->keep();
  sync_folder(folder);
  return etag;
}

std::vector<PartInfo> Store::parts(const UploadName& upload) const {
  upload_metadata(upload);
  std::vector<PartInfo> found;
  std::error_code gone;
  for (const auto& entry : fs::directory_iterator(upload_folder(upload.id), gone)) {
    const std::string name = entry.path().filename();
    if (name == "info") continue;
    const auto part = ObjectReader::open(entry.path());
    if (part) found.push_back({std::stoi(name), part->size(), part->metadata().etag, part->metadata().modified});
  }
  std::ranges::sort(found, {}, &PartInfo::number);
  return found;
}

void Store::check_parts(const UploadName& upload, const std::vector<std::pair<int, std::string>>& named) const {
  upload_metadata(upload);
  if (named.empty()) throw malformed_xml();
  const auto out_of_order = [](const auto& a, const auto& b) { return a.first >= b.first; };
  if (std::ranges::adjacent_find(named, out_of_order) != named.end()) {
    throw S3Error{400, "InvalidPartOrder", "The parts are not in ascending order."};
  }
  for (const auto& [number, etag] : named) {
    const auto part = ObjectReader::open(upload_folder(upload.id) / part_name(number));
    if (!part || part->metadata().etag != etag) {
      throw S3Error{400, "InvalidPart", "Part " + std::to_string(number) + " was not uploaded, or has another ETag."};
    }
    if (part->size() < smallest_part && number != named.back().first) {
      throw S3Error{400, "EntityTooSmall", "Each part but the last must have 5 MiB at least."};
    }
  }
}

std::string Store::complete_upload(const UploadName& upload, const std::vector<std::pair<int, std::string>>& named,
                                   const WriteConditions& conditions) {
  struct Claim {
    Claim(Store& s, const std::string& i) : store(s), id(i) {
      const std::lock_guard guard(store.uploads_mutex_);
      if (!store.completing_.insert(id).second) {
        throw S3Error{409, "OperationAborted", "The upload is being completed by another request."};
      }
    }
    ~Claim() {
      const std::lock_guard guard(store.uploads_mutex_);
      store.completing_.erase(id);
    }
    Store& store;
    const std::string& id;
  } claim(*this, upload.id);

  check_parts(upload, named);
  Metadata metadata = upload_metadata(upload);
  const auto folder = upload_folder(upload.id);
  auto file = new_file();
  std::string sums;
  for (const auto& [number, etag] : named) {
    const auto part = ObjectReader::open(folder / part_name(number));
    if (!part) throw no_such_upload();  // aborted meanwhile
    copy(*part, 0, part->size(), *file);
    sums += from_hex(part->metadata().etag).value_or("");
  }
  metadata.etag = to_hex(md5(sums)) + "-" + std::to_string(named.size());
  const auto result = commit(std::move(file), std::move(metadata), conditions);
  remove_folder(folder);
  return result;
}

void Store::abort_upload(const UploadName& upload) {
  upload_metadata(upload);
  remove_folder(upload_folder(upload.id));
}

std::vector<UploadInfo> Store::uploads(const std::string& bucket_name) const {
  require_bucket(bucket_name);
  std::vector<UploadInfo> found;
  for (const auto& entry : fs::directory_iterator(root_ / "uploads")) {
    const auto info = ObjectReader::open(entry.path() / "info");
    if (!info || info->metadata().bucket != bucket_name) continue;
    found.push_back({entry.path().filename(), bucket_name, info->metadata().key, info->metadata().modified});
  }
  std::ranges::sort(found, {}, [](const UploadInfo& upload) { return std::tie(upload.key, upload.begun); });
  return found;
}

std::size_t Store::abort_uploads_before(Time time) {
  std::size_t count = 0;
  for (const auto& entry : fs::directory_iterator(root_ / "uploads")) {
    try {
      const auto info = ObjectReader::open(entry.path() / "info");
      if (info && info->metadata().modified >= time) continue;
    } catch (const Error&) {
      // Damaged: nobody can complete it.
    }
    remove_folder(entry.path());
    ++count;
  }
  return count;
}

}  // namespace workflow::objectstore
