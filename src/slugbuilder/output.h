// src/slugbuilder/output.h: how a build looks to who pushed it.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace workflow::slugbuilder {

// Indents a script's output line by line as it comes: lines that begin with "--" stay, others move seven columns in.
class Indenter {
 public:
  std::string feed(std::string_view bytes);  // whole lines, ready to print
  std::string finish();                      // a last line without newline, if any

 private:
  std::string rest_;
};

std::string human_size(std::uint64_t bytes);  // as `du -h`: 4.0K, 1.7M, 12M

}  // namespace workflow::slugbuilder
