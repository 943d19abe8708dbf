#include "builder/sshd.h"

#include <sys/stat.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cctype>
#include <filesystem>

#include "builder/client.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/log.h"

namespace workflow::builder {
namespace {

ProcessSpec sshd_process(const SshdSettings& settings, const std::string& folder) {
  const auto file = folder + "/sshd_config";
  write_file_atomically(file, sshd_config(settings), 0600);
  std::filesystem::create_directories("/run/sshd");  // sshd refuses to start without it
  // By its full path: sshd runs itself anew for each connection.
  ProcessSpec spec{
      .argv = {"/usr/sbin/sshd", "-D", "-e", "-f", file}, .err = ProcessSpec::Stream::pipe, .die_with_parent = true};
  spec.env = std::map<std::string, std::string>{{"PATH", "/usr/sbin:/usr/bin:/sbin:/bin"}};
  return spec;
}

}  // namespace

bool is_plain_path(std::string_view path) {
  return path.starts_with('/') && std::ranges::all_of(path, [](char c) {
           return std::isalnum(static_cast<unsigned char>(c)) || std::string_view("/._-+").contains(c);
         });
}

std::string sshd_config(const SshdSettings& settings) {
  std::string text = "Port " + std::to_string(settings.port) + "\n";
  for (const auto& file : settings.host_keys) text += "HostKey " + file + "\n";
  text +=
      "PidFile none\n"
      "UsePAM no\n"
      "\n"
      "AllowUsers " +
      settings.user +
      "\n"
      "PermitRootLogin no\n"
      "AuthenticationMethods publickey\n"
      "PubkeyAuthentication yes\n"
      "PasswordAuthentication no\n"
      "KbdInteractiveAuthentication no\n"
      "HostbasedAuthentication no\n"
      "AuthorizedKeysFile none\n"
      "AuthorizedKeysCommand " +
      settings.program + " keys " + settings.keys_socket +
      " %t %k\n"
      "AuthorizedKeysCommandUser nobody\n"
      "ForceCommand exec " +
      settings.program + " session " + settings.session_socket +
      "\n"
      "PermitUserEnvironment " +
      std::string(pusher_variable) +
      "\n"
      "\n"
      "DisableForwarding yes\n"
      "PermitTTY no\n"
      "PermitTunnel no\n"
      "PermitUserRC no\n"
      "PrintMotd no\n"
      "PrintLastLog no\n"
      "Compression no\n"  // packs are compressed already
      "\n"
      "LoginGraceTime 30\n"
      "MaxAuthTries 1000\n"  // an agent may hold many keys; the time to log in is what ends
      "MaxSessions 4\n"
      "MaxStartups 100:30:500\n"
      "ClientAliveInterval 15\n"
      "ClientAliveCountMax 8\n"
      "\n"
      // Clients prefer sntrup761, which takes both sides together 0.1 s of CPU: a tenth of a small push.
      "KexAlgorithms " +
      std::string(settings.post_quantum ? "sntrup761x25519-sha512@openssh.com," : "") +
      "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521,diffie-"
      "hellman-group16-sha512,diffie-hellman-group18-sha512,diffie-hellman-group14-sha256\n"
      "Ciphers "
      "chacha20-poly1305@openssh.com,aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr\n"
      "MACs "
      "umac-128-etm@openssh.com,hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha2-256,hmac-sha2-"
      "512\n"
      "HostKeyAlgorithms "
      "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,rsa-sha2-512,rsa-sha2-256\n"
      "PubkeyAcceptedAlgorithms "
      "ssh-ed25519,sk-ssh-ed25519@openssh.com,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,"
      "sk-ecdsa-sha2-nistp256@openssh.com,rsa-sha2-512,rsa-sha2-256\n"
      "RequiredRSASize 2048\n";
  return text;
}

Sshd::Sshd(const SshdSettings& settings, const std::string& folder) : child_(sshd_process(settings, folder)) {}

void Sshd::take_line(std::string_view line) {
  if (line.starts_with("Server listening on ")) {
    if (!std::exchange(listening_, true)) log::info("sshd listens");
  } else if (line.starts_with("error: ") || line.starts_with("fatal: ")) {
    log::warn("sshd", kv("text", line));
  } else {
    log::debug("sshd", kv("text", line));
  }
}

Task<> Sshd::follow_words() {
  asio::posix::stream_descriptor words(co_await asio::this_coro::executor, child_.err().release());
  std::string rest, piece(4096, '\0');
  for (;;) {
    const auto [error, size] = co_await words.async_read_some(asio::buffer(piece), asio::as_tuple(asio::use_awaitable));
    if (error) co_return;
    rest.append(piece, 0, size);
    std::size_t begin = 0;
    for (std::size_t end; (end = rest.find('\n', begin)) != std::string::npos; begin = end + 1) {
      auto line = std::string_view(rest).substr(begin, end - begin);
      while (line.ends_with('\r')) line.remove_suffix(1);
      take_line(line);
    }
    rest.erase(0, begin);
  }
}

Task<> Sshd::run() {
  // Its open connections hold the pipe as well: the end of the words does not tell that sshd ended.
  TaskGroup words(co_await asio::this_coro::executor);
  words.spawn("what sshd says", follow_words());
  auto wait = [this]() -> Task<> {
    const int status = co_await exited(child_);
    throw Error(ErrorKind::unavailable, "sshd ended with status " + std::to_string(status));
  };
  co_await with_cleanup(wait(), [&words] { return words.stop(); });
}

Task<> Sshd::stop_listening() {
  listening_ = false;
  co_await stop_process(child_, std::chrono::seconds(5));
}

}  // namespace workflow::builder
