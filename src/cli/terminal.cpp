#include "cli/terminal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>
#include <csignal>

#include <cstdio>

#include "lib/base/error.h"
#include "lib/base/text.h"

namespace workflow::cli {
namespace {

bool is_character_device(int fd) {
  struct stat status{};
  return ::fstat(fd, &status) == 0 && S_ISCHR(status.st_mode);
}

// Byte by byte, so that nothing after the line is taken from whoever reads next.
std::string read_line() {
  std::string line;
  char c = 0;
  while (::read(STDIN_FILENO, &c, 1) == 1 && c != '\n') line += c;
  if (line.ends_with('\r')) line.pop_back();
  return line;
}

termios terminal_as_found;

void restore_and_die(int signal) {
  ::tcsetattr(STDIN_FILENO, TCSANOW, &terminal_as_found);
  ::signal(signal, SIG_DFL);
  ::raise(signal);
}

}  // namespace

void Terminal::out(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void Terminal::err(std::string_view text) {
  std::fflush(stdout);
  std::fwrite(text.data(), 1, text.size(), stderr);
}

bool Terminal::out_is_terminal() const { return ::isatty(STDOUT_FILENO) == 1; }
bool Terminal::out_is_character_device() const { return is_character_device(STDOUT_FILENO); }
bool Terminal::in_is_character_device() const { return is_character_device(STDIN_FILENO); }

std::string Terminal::ask(std::string_view prompt) {
  out(prompt);
  return read_line();
}

std::string Terminal::ask_word(std::string_view prompt) {
  const auto line = ask(prompt);
  const auto text = trim(line);
  return std::string(text.substr(0, text.find_first_of(" \t")));
}

std::string Terminal::ask_secret(std::string_view prompt) {
  if (::tcgetattr(STDIN_FILENO, &terminal_as_found) != 0) {
    auto secret = read_line();
    if (secret.empty()) {
      throw Error(ErrorKind::invalid,
                  "a password is needed: type it on a terminal, or write it to the standard input of this command");
    }
    return secret;
  }
  termios silent = terminal_as_found;
  silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) ::signal(number, restore_and_die);
  // Silent before it asks, and nothing is flushed: an answer that is pasted, or typed fast, is neither shown nor lost.
  ::tcsetattr(STDIN_FILENO, TCSADRAIN, &silent);
  out(prompt);
  auto secret = read_line();
  ::tcsetattr(STDIN_FILENO, TCSADRAIN, &terminal_as_found);
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) ::signal(number, SIG_DFL);
  out("\n");
  return secret;
}

std::string Terminal::ask_secret_twice(std::string_view prompt, std::string_view again, std::string_view mismatch) {
  auto secret = ask_secret(prompt);
  if (::isatty(STDIN_FILENO) == 1 && ask_secret(again) != secret)
    throw Error(ErrorKind::invalid, std::string(mismatch));
  return secret;
}

std::string Terminal::read_all() {
  std::string text;
  char buffer[4096];
  for (ssize_t n = 0; (n = ::read(STDIN_FILENO, buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(n));
  return text;
}

Progress::Progress(Terminal& terminal, std::string_view text) : terminal_(terminal) {
  terminal_.out(text);
  if (terminal_.out_is_terminal()) spinner_ = std::thread([this] { spin(); });
}

Progress::~Progress() { stop(); }

void Progress::done(std::string_view text) {
  stop();
  terminal_.out(text);
}

void Progress::spin() {
  constexpr std::string_view frames[] = {"...", "o..", ".o.", "..o"};
  std::unique_lock lock(mutex_);
  for (std::size_t i = 0; !stopping_; ++i) {
    terminal_.out(frames[i % std::size(frames)]);
    changed_.wait_for(lock, std::chrono::milliseconds(400), [this] { return stopping_; });
    terminal_.out("\b\b\b   \b\b\b");
  }
}

void Progress::stop() {
  if (!spinner_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  spinner_.join();
}

}  // namespace workflow::cli
