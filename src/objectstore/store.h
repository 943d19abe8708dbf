// src/objectstore/store.h: buckets and objects on a disk.
//
//   <root>/lock                              held while a server runs
//   <root>/buckets/<bucket>/created          when, as text
//   <root>/buckets/<bucket>/objects/ab/<…>   an object each; the name is the SHA-256 of the key
//   <root>/uploads/<id>/                     a multipart upload under way: `info` and its parts
//   <root>/tmp/                              files in the making; emptied at start
//
//   The files are the only truth. Each bucket's index of keys is kept in memory, in order, and rebuilt from the files'
//   tails at start (some ten seconds for a million objects): no second record exists that could disagree after a crash.
//   Thread-safe, and blocking: called on the pool. Failures are S3Errors.
#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <shared_mutex>
#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "objectstore/listing.h"
#include "objectstore/object_file.h"

namespace workflow::objectstore {

struct BucketInfo {
  std::string name;
  Time created{};
};

// Conditions of a write, decided in the instant in which it becomes visible.
struct WriteConditions {
  bool only_if_absent = false;          // If-None-Match: *
  std::optional<std::string> if_match;  // the ETag that is there now
};

struct PartInfo {
  int number = 0;
  std::uint64_t size = 0;
  std::string etag;
  Time modified{};
};
struct UploadInfo {
  std::string id, bucket, key;
  Time begun{};
};

// An upload in parts, as requests name it: an id is good for its own key only.
struct UploadName {
  std::string id, bucket, key;
};

class Store {
 public:
  // Reads everything that is there. Throws unavailable when another server holds the folder.
  Store(std::filesystem::path root, const Clock& clock);
  ~Store();

  std::vector<BucketInfo> buckets() const;
  void create_bucket(const std::string& name);  // BucketAlreadyOwnedByYou when it exists
  void require_bucket(const std::string& name) const;
  void delete_bucket(const std::string& name);  // BucketNotEmpty

  // A file to write an object or a part into.
  std::unique_ptr<ObjectWriter> new_file() const;
  // Makes it the object of its key. `metadata.etag` empty: the MD5 of the data. Returns the ETag.
  std::string commit(std::unique_ptr<ObjectWriter> file, Metadata metadata, const WriteConditions& conditions);
  ObjectReader open(const std::string& bucket, const std::string& key) const;  // NoSuchKey
  void remove(const std::string& bucket, const std::string& key);              // absent: fine
  ListPage list(const std::string& bucket, const ListQuery& query) const;
  // Appends a part of an object to a file, verifying what it reads.
  static void copy(const ObjectReader& from, std::uint64_t offset, std::uint64_t length, ObjectWriter& to);

  std::string begin_upload(Metadata metadata);
  std::string commit_part(const UploadName& upload, int number, std::unique_ptr<ObjectWriter> file);
  std::vector<PartInfo> parts(const UploadName& upload) const;
  // Whether the named parts (number, ETag) can be joined; throws what is wrong. Costs a small read per part.
  void check_parts(const UploadName& upload, const std::vector<std::pair<int, std::string>>& parts) const;
  // Joins the named parts (number, ETag) into the object.
  std::string complete_upload(const UploadName& upload, const std::vector<std::pair<int, std::string>>& parts,
                              const WriteConditions& conditions);
  void abort_upload(const UploadName& upload);
  std::vector<UploadInfo> uploads(const std::string& bucket) const;
  std::size_t abort_uploads_before(Time time);  // forgotten ones; returns how many

  struct Usage {
    std::uint64_t buckets = 0, objects = 0, bytes = 0, damaged = 0, disk_free = 0;
  };
  Usage usage() const;

 private:
  struct Bucket {
    BucketInfo info;
    mutable std::shared_mutex mutex;
    Index index;
    std::set<std::string> damaged;  // names of files whose description cannot be read
    std::uint64_t bytes = 0;
    bool deleted = false;
  };
  void load();
  void load_bucket(const std::string& name);
  std::shared_ptr<Bucket> bucket(const std::string& name) const;
  std::filesystem::path folder_of(const std::string& bucket) const { return root_ / "buckets" / bucket; }
  std::filesystem::path file_of(const std::string& bucket, const std::string& key) const;
  std::filesystem::path upload_folder(const std::string& upload) const;
  std::filesystem::path temporary_path() const;
  Metadata upload_metadata(const UploadName& upload) const;
  void remove_folder(const std::filesystem::path& folder);

  std::filesystem::path root_;
  const Clock& clock_;
  Fd lock_;
  mutable std::shared_mutex mutex_;  // of buckets_
  std::map<std::string, std::shared_ptr<Bucket>> buckets_;
  mutable std::mutex uploads_mutex_;
  std::set<std::string> completing_;
};

bool is_bucket_name(const std::string& name);

}  // namespace workflow::objectstore
