// src/cli/terminal.h: standard input, output and error, as a person or a script sees them.
#pragma once
#include <condition_variable>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace workflow::cli {

class Terminal {
 public:
  void out(std::string_view text);
  void err(std::string_view text);
  bool out_is_terminal() const;
  bool out_is_character_device() const;  // a terminal or /dev/null
  bool in_is_character_device() const;

  std::string ask(std::string_view prompt);       // a line of standard input, "" at its end
  std::string ask_word(std::string_view prompt);  // its first word
  // Without echo on a terminal; without prompt from a pipe, so that scripts need not put passwords into arguments.
  // Throws when there is nothing to read.
  std::string ask_secret(std::string_view prompt);
  std::string ask_secret_twice(std::string_view prompt, std::string_view again, std::string_view mismatch);
  std::string read_all();  // standard input to its end
};

// "Creating config... " and what became of it. On a terminal something moves meanwhile.
class Progress {
 public:
  Progress(Terminal& terminal, std::string_view text);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void done(std::string_view text = "done\n");

 private:
  void spin();
  void stop();

  Terminal& terminal_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::thread spinner_;
};

}  // namespace workflow::cli
