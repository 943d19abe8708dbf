#include "objectstore/store.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <thread>

#include "lib/base/encoding.h"
#include "lib/base/log.h"
#include "lib/base/text.h"
#include "objectstore/s3_error.h"

namespace workflow::objectstore {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

namespace {

constexpr auto lock_patience = 15s;  // a predecessor may still be draining

void make_folder(const fs::path& path) {
  if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return;
  throw disk_error(errno, "making a folder", path);
}

Fd take_lock(const fs::path& path) {
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) throw disk_error(errno, "opening the lock file", path);
  const auto end = std::chrono::steady_clock::now() + lock_patience;
  while (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (std::chrono::steady_clock::now() > end) {
      throw Error{ErrorKind::unavailable,
                  "another object store runs on " + path.parent_path().string() + "; stop it first"};
    }
    std::this_thread::sleep_for(100ms);
  }
  return fd;
}

// Not every folder outlives its pod or its machine: better said on the first day than found out on the last.
void warn_if_fleeting(const fs::path& root) {
  struct statfs disk{};
  if (::statfs(root.c_str(), &disk) != 0) return;
  const bool memory = disk.f_type == TMPFS_MAGIC || disk.f_type == RAMFS_MAGIC;
  if (!memory && disk.f_type != OVERLAYFS_SUPER_MAGIC) return;
  log::warn(memory ? "objects are kept in memory and are lost at a restart: give the object store a persistent volume"
                   : "objects are kept in the container's own layer and are lost with it: give the object store a "
                     "persistent volume",
            kv("folder", root.string()));
}

}  // namespace

// S3's rules; and no name of our own pages.
bool is_bucket_name(const std::string& name) {
  if (name.size() < 3 || name.size() > 63 || name == "healthz" || name == "readiness" || name == "metrics")
    return false;
  const auto ends_well = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  const auto fits = [&](char c) { return ends_well(c) || c == '-' || c == '.'; };
  return std::ranges::all_of(name, fits) && ends_well(name.front()) && ends_well(name.back()) &&
         name.find("..") == std::string::npos;
}

Store::Store(fs::path root, const Clock& clock) : root_(std::move(root)), clock_(clock) {
  std::error_code error;
  fs::create_directories(root_, error);
  if (error) throw Error{ErrorKind::unavailable, "cannot use the folder " + root_.string() + ": " + error.message()};
  lock_ = take_lock(root_ / "lock");
  warn_if_fleeting(root_);
  fs::remove_all(root_ / "tmp", error);  // what a crash left half-written
  for (const char* folder : {"tmp", "buckets", "uploads"}) make_folder(root_ / folder);
  sync_folder(root_);
  load();
}

Store::~Store() = default;

void Store::load() {
  for (const auto& entry : fs::directory_iterator(root_ / "buckets")) load_bucket(entry.path().filename());
  const auto found = usage();
  log::info("objects found", kv("buckets", found.buckets), kv("objects", found.objects), kv("bytes", found.bytes),
            kv("damaged", found.damaged));
}

void Store::load_bucket(const std::string& name) {
  auto loaded = std::make_shared<Bucket>();
  loaded->info.name = name;
  loaded->info.created = parse_rfc3339(trim(find_file(folder_of(name) / "created").value_or(""))).value_or(Time{});
  for (const auto& folder : fs::directory_iterator(folder_of(name) / "objects")) {
    for (const auto& entry : fs::directory_iterator(folder.path())) {
      const auto& path = entry.path();
      try {
        const auto object = ObjectReader::open(path);
        if (!object) continue;
        const auto& metadata = object->metadata();
        if (metadata.bucket == name && file_of(name, metadata.key) == path) {
          loaded->index[metadata.key] = {object->size(), metadata.etag, metadata.modified};
          loaded->bytes += object->size();
          continue;
        }
        log::error("an object lies in another one's place", kv("file", path.string()));
      } catch (const Error&) {
        // Logged where it was found.
      }
      loaded->damaged.insert(path.filename());
    }
  }
  buckets_[name] = std::move(loaded);
}

fs::path Store::file_of(const std::string& bucket, const std::string& key) const {
  const auto name = to_hex(sha256(key));
  return folder_of(bucket) / "objects" / name.substr(0, 2) / name;
}

fs::path Store::temporary_path() const { return root_ / "tmp" / random_hex(32); }

std::unique_ptr<ObjectWriter> Store::new_file() const { return std::make_unique<ObjectWriter>(temporary_path()); }

std::shared_ptr<Store::Bucket> Store::bucket(const std::string& name) const {
  const std::shared_lock guard(mutex_);
  const auto found = buckets_.find(name);
  if (found == buckets_.end()) throw no_such_bucket(name);
  return found->second;
}

void Store::require_bucket(const std::string& name) const { bucket(name); }

std::vector<BucketInfo> Store::buckets() const {
  const std::shared_lock guard(mutex_);
  std::vector<BucketInfo> all;
  for (const auto& [name, bucket] : buckets_) all.push_back(bucket->info);
  return all;
}

void Store::create_bucket(const std::string& name) {
  if (!is_bucket_name(name)) {
    throw S3Error{400, "InvalidBucketName",
                  "A bucket's name has 3 to 63 lower-case letters, digits, dots or hyphens: " + name};
  }
  const std::unique_lock guard(mutex_);
  if (buckets_.contains(name)) {
    throw S3Error{409, "BucketAlreadyOwnedByYou", "The bucket exists already, and it is yours: " + name};
  }
  auto created = std::make_shared<Bucket>();
  created->info = {name, std::chrono::floor<std::chrono::seconds>(clock_.now())};
  const auto folder = temporary_path();
  make_folder(folder);
  make_folder(folder / "objects");
  write_file_atomically(folder / "created", rfc3339(created->info.created) + "\n", 0600);
  if (::rename(folder.c_str(), folder_of(name).c_str()) != 0)
    throw disk_error(errno, "making a bucket", folder_of(name));
  sync_folder(root_ / "buckets");
  buckets_[name] = std::move(created);
}

void Store::remove_folder(const fs::path& folder) {
  const auto grave = temporary_path();
  if (::rename(folder.c_str(), grave.c_str()) != 0) {
    if (errno == ENOENT) return;
    throw disk_error(errno, "removing a folder", folder);
  }
  sync_folder(folder.parent_path());
  std::error_code ignored;  // what stays goes at the next start
  fs::remove_all(grave, ignored);
}

void Store::delete_bucket(const std::string& name) {
  const std::unique_lock guard(mutex_);
  const auto found = buckets_.find(name);
  if (found == buckets_.end()) throw no_such_bucket(name);
  {
    const std::unique_lock inner(found->second->mutex);
    if (!found->second->index.empty() || !found->second->damaged.empty()) {
      throw S3Error{409, "BucketNotEmpty", "The bucket you tried to delete is not empty: " + name};
    }
    found->second->deleted = true;
  }
  remove_folder(folder_of(name));
  buckets_.erase(found);
}

std::string Store::commit(std::unique_ptr<ObjectWriter> file, Metadata metadata, const WriteConditions& conditions) {
  const auto target = bucket(metadata.bucket);
  if (metadata.etag.empty()) metadata.etag = file->md5_hex();
  metadata.modified = clock_.now();
  const Entry entry{file->size(), metadata.etag, metadata.modified};
  const std::string key = metadata.key;
  const auto path = file_of(metadata.bucket, key);
  file->finish(std::move(metadata));
  {
    const std::unique_lock guard(target->mutex);
    if (target->deleted) throw no_such_bucket(target->info.name);
    const auto old = target->index.find(key);
    const bool exists = old != target->index.end();
    if (conditions.only_if_absent && exists) throw precondition_failed();
    if (conditions.if_match && (!exists || old->second.etag != *conditions.if_match)) throw precondition_failed();
    if (::rename(file->path().c_str(), path.c_str()) != 0) {
      if (errno != ENOENT) throw disk_error(errno, "naming an object", path);
      make_folder(path.parent_path());
      sync_folder(path.parent_path().parent_path());
      if (::rename(file->path().c_str(), path.c_str()) != 0) throw disk_error(errno, "naming an object", path);
    }
    file->keep();
    target->bytes += entry.size - (exists ? old->second.size : 0);
    target->damaged.erase(path.filename());
    target->index.insert_or_assign(key, entry);
  }
  sync_folder(path.parent_path());
  return entry.etag;
}

ObjectReader Store::open(const std::string& bucket_name, const std::string& key) const {
  const auto from = bucket(bucket_name);
  const auto path = file_of(bucket_name, key);
  {
    const std::shared_lock guard(from->mutex);
    if (!from->index.contains(key)) {
      if (from->damaged.contains(path.filename())) throw damaged(bucket_name, key);
      throw no_such_key(key);
    }
  }
  auto object = ObjectReader::open(path);
  if (object && (object->metadata().key != key || object->metadata().bucket != bucket_name))
    throw damaged(bucket_name, key);
  if (object) return std::move(*object);
  const std::shared_lock guard(from->mutex);
  if (!from->index.contains(key)) throw no_such_key(key);  // removed in between
  log::error("an object's file is gone", kv("bucket", bucket_name), kv("key", key), kv("file", path.string()));
  throw damaged(bucket_name, key);
}

void Store::remove(const std::string& bucket_name, const std::string& key) {
  const auto from = bucket(bucket_name);
  const auto path = file_of(bucket_name, key);
  {
    const std::unique_lock guard(from->mutex);
    const auto found = from->index.find(key);
    const bool known = found != from->index.end();
    if (!known && !from->damaged.contains(path.filename())) return;
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) throw disk_error(errno, "removing an object", path);
    if (known) {
      from->bytes -= found->second.size;
      from->index.erase(found);
    }
    from->damaged.erase(path.filename());
  }
  sync_folder(path.parent_path());
}

ListPage Store::list(const std::string& bucket_name, const ListQuery& query) const {
  const auto from = bucket(bucket_name);
  const std::shared_lock guard(from->mutex);
  return objectstore::list(from->index, query);
}

void Store::copy(const ObjectReader& from, std::uint64_t offset, std::uint64_t length, ObjectWriter& to) {
  while (length > 0) {
    const auto piece = from.read(offset, length);
    if (piece.empty()) throw invalid_argument("The range reaches beyond the end of the object.");
    to.append(piece);
    offset += piece.size();
    length -= piece.size();
  }
}

Store::Usage Store::usage() const {
  Usage usage;
  const std::shared_lock guard(mutex_);
  for (const auto& [name, bucket] : buckets_) {
    const std::shared_lock inner(bucket->mutex);
    ++usage.buckets;
    usage.objects += bucket->index.size();
    usage.bytes += bucket->bytes;
    usage.damaged += bucket->damaged.size();
  }
  struct statvfs disk{};
  if (::statvfs(root_.c_str(), &disk) == 0) usage.disk_free = disk.f_bavail * disk.f_frsize;
  return usage;
}

}  // namespace workflow::objectstore
