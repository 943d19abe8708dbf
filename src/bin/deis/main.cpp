// The client binary: `deis <command>`.
#include "cli/cli.h"

int main(int argc, char** argv) { return workflow::cli::cli_main(argc, argv); }
