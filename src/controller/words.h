// src/controller/words.h: names for apps whose owners have none in mind.
#pragma once
#include <string>

namespace workflow::controller {

std::string random_app_name();  // peachy-waxworks

}  // namespace workflow::controller
