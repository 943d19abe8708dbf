// src/cli/command_line.h: the command of `deis run`, as the text that a shell in the container will read.
#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace workflow::cli {

// A word that a shell reads back as it is: quoted only where it must be.
std::string shell_word(std::string_view word);

// The first `loose` words are shell text, joined as they are; those after them each reach the program as one argument.
// A single word is shell text wherever it stands: "deis run -- 'ls | wc'".
std::string command_line(std::span<const std::string> words, std::size_t loose);

}  // namespace workflow::cli
