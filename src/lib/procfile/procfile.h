// src/lib/procfile/procfile.h: which command starts which process type, as people, buildpacks and slugs say it.
//   A Procfile has a line `name: rest` per process type, and the rest is the shell's, byte for byte: quotes, colons and
//   number signs in it are nobody else's. Blank lines and those that begin with # say nothing. Two forms of the
//   original, which read the file as YAML, mean what they meant: a rest that is one quoted text as a whole is what is
//   in the quotes (as a command it would name a program with blanks in its name), and a file that does not consist of
//   such lines is YAML (`web: >-` with the command below it).
//   Throws  Error invalid that names the file, and the line when there is one.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace workflow::procfile {

// In the file's order. Names are as they are written, the same one may come twice, and a command may be empty: what
// that means is the caller's to say.
using Types = std::vector<std::pair<std::string, std::string>>;

constexpr std::size_t longest = 1u << 20;  // of a Procfile or .release

Types parse(std::string_view text);
// A Procfile that is YAML as well, for readers that know only that. parse(print(types)) == types. Names are of letters,
// digits, _ and -, commands valid UTF-8 without NUL.
std::string print(const Types& types);

// The last of a name counts; an empty command is none.
std::optional<std::string> find(const Types& types, std::string_view name);

// What a buildpack's bin/release says, in YAML; it is the file .release of a slug.
struct Release {
  Types default_process_types;
  std::map<std::string, std::string> config_vars;
};
Release parse_release(std::string_view yaml);

}  // namespace workflow::procfile
