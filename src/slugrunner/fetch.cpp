#include <fcntl.h>

#include "lib/archive/archive.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/file_digest.h"
#include "lib/base/slug_name.h"
#include "lib/s3/presigned.h"
#include "slugrunner/slugrunner.h"

namespace workflow::slugrunner {

Task<> fetch_slug(Executor executor, std::string url, std::filesystem::path folder) {
  const auto slug = SlugUrl::parse(url);
  const auto parsed = http::Url::parse(slug.url);
  if (!parsed) throw Error(ErrorKind::invalid, "SLUG_URL is not a URL");
  Fd file(::open("/tmp", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600));
  if (!file) throw Error(ErrorKind::internal, "cannot write to /tmp");
  http::Client client(executor);
  try {
    co_await s3::download(client, *parsed, file);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::not_found)
      throw Error(ErrorKind::not_found, "the slug is not in the object store any more; push the app again");
    if (error.kind() == ErrorKind::forbidden)
      throw Error(ErrorKind::forbidden, "the slug's URL is not valid any more; restart the app");
    throw;
  }
  if (!slug.sha256.empty() && to_hex(sha256_of_file(file)) != slug.sha256)
    throw Error(ErrorKind::invalid, "the slug in the object store is not the one that was built; push the app again");
  archive::extract_tar(file.get(), folder);
}

}  // namespace workflow::slugrunner
