// src/cli/cli.h: the `deis` client.
//   Owns    the profile file ~/.deis/client.json; it may edit the git remotes of the current folder.
//   Needs   a controller (HTTP API v2.3); git for app detection and remotes.
//   Speaks  the command line of the original: commands, options, exit codes, output (docs/cli.md).
#pragma once

namespace workflow::cli {
int cli_main(int argc, char** argv);  // argv[0] decides the names of profile folder, variable and git remote
}
