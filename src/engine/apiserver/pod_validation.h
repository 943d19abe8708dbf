// src/engine/apiserver/pod_validation.h: what a pod, or a pod template, may say. Pure.
#pragma once
#include <string>
#include <vector>

#include "engine/apiserver/api_error.h"

namespace workflow::engine {

void check_labels(const json::object& labels, const std::string& path, std::vector<FieldProblem>& problems);
void check_pod_spec(const json::object& spec, const std::string& path, std::vector<FieldProblem>& problems);
// Only images, deadlines and tolerations of a pod may change.
void check_pod_update(const json::object& spec, const json::object& before, std::vector<FieldProblem>& problems);
// Fields without effect here.
void pod_warnings(const json::object& spec, const std::string& path, std::vector<std::string>& warnings);

}  // namespace workflow::engine
