// src/cli/help.h: help texts, made from the table of commands.
#pragma once
#include <string>
#include <string_view>

#include "cli/commands.h"

namespace workflow::cli {

std::string program_help(std::string_view program);
std::string resource_help(std::string_view program, const Resource& resource);
std::string command_help(std::string_view program, const Command& command);

}  // namespace workflow::cli
