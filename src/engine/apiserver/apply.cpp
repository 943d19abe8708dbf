#include "engine/apiserver/apply.h"

#include <algorithm>
#include <set>

#include "engine/apiserver/element_index.h"
#include "engine/fields.h"

namespace workflow::engine {

namespace {

using Kind = FieldSchema::Kind;
using Shape = FieldSchema::Shape;
using Fields = json::object;  // FieldsV1; {} is a leaf, "." in a node with children says that it is owned itself

constexpr std::string_view self = ".";

// How a value is taken apart for ownership.
enum class Structure { leaf, record, map, keyed, scalars };

Structure structure_of(const FieldSchema& field) {
  if (field.atomic || field.kind == Kind::any) return Structure::leaf;
  if (field.shape == Shape::map) return Structure::map;
  if (field.shape == Shape::list) {
    if (!field.keys.empty()) return Structure::keyed;
    return field.set ? Structure::scalars : Structure::leaf;
  }
  return field.kind == Kind::object && !field.type->atomic ? Structure::record : Structure::leaf;
}

// k:{"containerPort":80,"protocol":"TCP"}; keys in alphabetical order.
std::string element_name(const FieldSchema& field, const json::value& item) {
  if (!item.is_object()) return "";
  auto keys = field.keys;
  std::sort(keys.begin(), keys.end());
  json::object name;
  for (const auto k : keys) {
    if (const auto* value = item.get_object().if_contains(key(k))) {
      name[key(k)] = *value;
    } else if (k == "protocol") {
      name[key(k)] = "TCP";
    }
  }
  return "k:" + json::serialize(name);
}

// The names of all elements of a list; "" for what is no object. Each is made once: a name costs more than a look-up.
std::vector<std::string> element_names(const FieldSchema& field, const json::array& items) {
  std::vector<std::string> names;
  names.reserve(items.size());
  for (const auto& item : items) names.push_back(element_name(field, item));
  return names;
}

ElementIndex index_of(const std::vector<std::string>& names) {
  ElementIndex index;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (!names[i].empty()) index.add(names[i], i);
  }
  return index;
}

bool is_system_field(std::string_view path) {
  static constexpr std::string_view fields[] = {"creationTimestamp",
                                                "deletionTimestamp",
                                                "deletionGracePeriodSeconds",
                                                "generation",
                                                "managedFields",
                                                "name",
                                                "namespace",
                                                "resourceVersion",
                                                "selfLink",
                                                "uid",
                                                "generateName"};
  return std::find(std::begin(fields), std::end(fields), path) != std::end(fields);
}

// A field of an object by name, whatever the type knows of it.
struct Place {
  const FieldSchema* field;
  Structure structure;
};
Place place_of(const TypeSchema* type, std::string_view name) {
  const auto* field = type == nullptr ? nullptr : type->find(name);
  return {field, field == nullptr ? Structure::leaf : structure_of(*field)};
}

Fields value_fields(const Place& place, const json::value& value);
Fields element_fields(const FieldSchema& field, const json::object& item);

Fields record_fields(const TypeSchema* type, const json::object& object, bool top) {
  Fields result;
  for (const auto& [name, value] : object) {
    if (top && (name == "apiVersion" || name == "kind")) continue;
    if (top && name == "metadata" && value.is_object()) {
      json::object rest;
      for (const auto& [key, item] : value.get_object()) {
        if (!is_system_field(key)) rest[key] = item;
      }
      const auto* metadata = type == nullptr ? nullptr : type->find("metadata");
      auto fields = record_fields(metadata == nullptr ? nullptr : metadata->type, rest, false);
      if (!fields.empty()) result["f:metadata"] = std::move(fields);
      continue;
    }
    result["f:" + std::string(name)] = value_fields(place_of(type, name), value);
  }
  return result;
}

// An element of a list that is a map; one of an atomic type is a leaf.
Fields element_fields(const FieldSchema& field, const json::object& item) {
  if (field.type == nullptr || field.type->atomic) return {};
  auto fields = record_fields(field.type, item, false);
  fields[key(self)] = json::object();
  return fields;
}

Fields value_fields(const Place& place, const json::value& value) {
  switch (place.structure) {
    case Structure::leaf: return {};
    case Structure::record:
      if (!value.is_object()) return {};
      return record_fields(place.field->type, value.get_object(), false);
    case Structure::map: {
      Fields result;
      if (!value.is_object()) return result;
      for (const auto& [name, item] : value.get_object()) {
        result["f:" + std::string(name)] = place.field->kind == Kind::object && item.is_object()
                                               ? record_fields(place.field->type, item.get_object(), false)
                                               : Fields();
      }
      if (!result.empty()) result[key(self)] = json::object();
      return result;
    }
    case Structure::keyed: {
      Fields result;
      if (!value.is_array()) return result;
      for (const auto& item : value.get_array()) {
        if (!item.is_object()) continue;
        result[element_name(*place.field, item)] = element_fields(*place.field, item.get_object());
      }
      return result;
    }
    case Structure::scalars: {
      Fields result;
      if (!value.is_array()) return result;
      for (const auto& item : value.get_array()) result["v:" + json::serialize(item)] = json::object();
      return result;
    }
  }
  return {};
}

// --- set operations

bool is_leaf(const Fields& fields) { return fields.empty(); }
bool owns_itself(const Fields& fields) { return fields.empty() || fields.contains(key(self)); }

Fields united(Fields a, const Fields& b) {
  const bool owned = owns_itself(a) || owns_itself(b);
  if (is_leaf(a) && !is_leaf(b)) {
    a = b;
  } else {
    for (const auto& [name, inner] : b) {
      if (auto* mine = a.if_contains(name)) {
        *mine = united(std::move(mine->get_object()), inner.get_object());
      } else {
        a[name] = inner;
      }
    }
  }
  if (owned && !a.empty()) a[key(self)] = json::object();
  return a;
}

// Every owned path of `a` that `b` does not own. nullopt: nothing is left.
std::optional<Fields> without(const Fields& a, const Fields& b) {
  const bool keep_self = owns_itself(a) && !owns_itself(b);
  Fields result;
  for (const auto& [name, inner] : a) {
    if (std::string_view(name) == self) continue;
    const auto* other = b.if_contains(name);
    if (other == nullptr) {
      result[name] = inner;
    } else if (auto rest = without(inner.get_object(), other->get_object())) {
      result[name] = std::move(*rest);
    }
  }
  if (result.empty()) return keep_self ? std::optional(Fields()) : std::nullopt;
  if (keep_self) result[key(self)] = json::object();
  return result;
}

// Owned by both.
std::optional<Fields> common(const Fields& a, const Fields& b) {
  const bool both = owns_itself(a) && owns_itself(b);
  Fields result;
  for (const auto& [name, inner] : a) {
    if (std::string_view(name) == self) continue;
    if (const auto* other = b.if_contains(name)) {
      if (auto rest = common(inner.get_object(), other->get_object())) result[name] = std::move(*rest);
    }
  }
  if (result.empty()) return both ? std::optional(Fields()) : std::nullopt;
  if (both) result[key(self)] = json::object();
  return result;
}

Fields top_without(const Fields& a, const Fields& b) {
  if (a.empty()) return {};
  return without(a, b).value_or(Fields());
}

// --- differences

// The paths at which two values of one place differ, as fields of `after` (those that were added or changed) in
// `changed`, and as fields of `before` (those that went) in `removed`.
struct Difference {
  std::optional<Fields> changed, removed;
};
Difference difference(const Place& place, const json::value* before, const json::value* after);

void add(std::optional<Fields>& to, const std::string& name, std::optional<Fields> inner) {
  if (!inner) return;
  if (!to) to.emplace();
  (*to)[name] = std::move(*inner);
}

Difference record_difference(const TypeSchema* type, const json::object& before, const json::object& after, bool top) {
  Difference result;
  const auto consider = [&](std::string_view name) {
    if (top && (name == "apiVersion" || name == "kind")) return;
    const auto *b = before.if_contains(key(name)), *a = after.if_contains(key(name));
    Difference inner;
    if (top && name == "metadata") {
      json::object old, now;
      if (b != nullptr && b->is_object()) old = b->get_object();
      if (a != nullptr && a->is_object()) now = a->get_object();
      for (auto* object : {&old, &now}) {
        json::object rest;
        for (auto& [k, v] : *object) {
          if (!is_system_field(k)) rest[k] = std::move(v);
        }
        *object = std::move(rest);
      }
      const auto* metadata = type == nullptr ? nullptr : type->find("metadata");
      inner = record_difference(metadata == nullptr ? nullptr : metadata->type, old, now, false);
    } else {
      inner = difference(place_of(type, name), b, a);
    }
    add(result.changed, "f:" + std::string(name), std::move(inner.changed));
    add(result.removed, "f:" + std::string(name), std::move(inner.removed));
  };
  for (const auto& [name, value] : after) consider(name);
  for (const auto& [name, value] : before) {
    if (!after.contains(name)) consider(name);
  }
  return result;
}

Difference keyed_difference(const FieldSchema& field, const json::array& before, const json::array& after) {
  const auto old_names = element_names(field, before), new_names = element_names(field, after);
  const auto old_index = index_of(old_names), new_index = index_of(new_names);
  Difference result;
  for (std::size_t i = 0; i < after.size(); ++i) {
    if (!after[i].is_object()) continue;
    const auto& name = new_names[i];
    const auto& item = after[i].get_object();
    const auto old = old_index.find(name);
    if (!old) {
      add(result.changed, name, element_fields(field, item));
    } else if (field.type->atomic) {
      if (before[*old] != after[i]) add(result.changed, name, Fields());
    } else {
      auto inner = record_difference(field.type, before[*old].get_object(), item, false);
      add(result.changed, name, std::move(inner.changed));
      add(result.removed, name, std::move(inner.removed));
    }
  }
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (!before[i].is_object() || new_index.find(old_names[i])) continue;
    add(result.removed, old_names[i], element_fields(field, before[i].get_object()));
  }
  return result;
}

Difference difference(const Place& place, const json::value* before, const json::value* after) {
  if (before == nullptr && after == nullptr) return {};
  if (before == nullptr) return {.changed = value_fields(place, *after), .removed = {}};
  if (after == nullptr) return {.changed = {}, .removed = value_fields(place, *before)};
  if (*before == *after) return {};
  switch (place.structure) {
    case Structure::record:
      if (before->is_object() && after->is_object()) {
        return record_difference(place.field->type, before->get_object(), after->get_object(), false);
      }
      break;
    case Structure::map: {
      if (!before->is_object() || !after->is_object()) break;
      Difference result;
      for (const auto& [name, value] : after->get_object()) {
        const auto* old = before->get_object().if_contains(name);
        if (old == nullptr || *old != value) add(result.changed, "f:" + std::string(name), Fields());
      }
      for (const auto& [name, value] : before->get_object()) {
        if (!after->get_object().contains(name)) add(result.removed, "f:" + std::string(name), Fields());
      }
      return result;
    }
    case Structure::keyed:
      if (!before->is_array() || !after->is_array()) break;
      return keyed_difference(*place.field, before->get_array(), after->get_array());
    case Structure::scalars: {
      const auto old = value_fields(place, *before), now = value_fields(place, *after);
      Difference result;
      const auto added = top_without(now, old), gone = top_without(old, now);
      if (!added.empty()) result.changed = added;
      if (!gone.empty()) result.removed = gone;
      return result;
    }
    case Structure::leaf: break;
  }
  return {.changed = Fields(), .removed = {}};
}

// --- merging an applied configuration

void merge_value(const Place& place, json::value& live, const json::value& applied);

void merge_record(const TypeSchema* type, json::object& live, const json::object& applied) {
  for (const auto& [name, value] : applied) {
    if (auto* mine = live.if_contains(name)) {
      merge_value(place_of(type, name), *mine, value);
    } else {
      live[name] = value;
    }
  }
}

// Applied elements come in their order; the others stay behind the ones they followed.
json::array merged_elements(const FieldSchema& field, json::array& live, const json::array& applied) {
  const auto live_names = element_names(field, live), applied_names = element_names(field, applied);
  const auto live_index = index_of(live_names), applied_index = index_of(applied_names);
  const auto is_applied = [&](std::size_t i) { return applied_index.find(live_names[i]).has_value(); };
  json::array result;
  std::size_t next = 0;
  for (std::size_t i = 0; i < applied.size(); ++i) {
    while (next < live.size() && !is_applied(next)) result.push_back(std::move(live[next++]));
    const auto mine = live_index.find(applied_names[i]);
    if (!mine || field.type->atomic) {
      result.push_back(applied[i]);
    } else {
      json::value merged = live[*mine];
      merge_record(field.type, merged.get_object(), applied[i].get_object());
      result.push_back(std::move(merged));
    }
    if (mine) {
      while (next < live.size() && is_applied(next)) ++next;
    }
  }
  for (; next < live.size(); ++next) {
    if (!is_applied(next)) result.push_back(std::move(live[next]));
  }
  return result;
}

void merge_value(const Place& place, json::value& live, const json::value& applied) {
  switch (place.structure) {
    case Structure::record:
      if (!live.is_object() || !applied.is_object()) break;
      merge_record(place.field->type, live.get_object(), applied.get_object());
      return;
    case Structure::map:
      if (!live.is_object() || !applied.is_object()) break;
      for (const auto& [name, value] : applied.get_object()) live.get_object()[name] = value;
      return;
    case Structure::keyed:
      if (!live.is_array() || !applied.is_array()) break;
      live = merged_elements(*place.field, live.get_array(), applied.get_array());
      return;
    case Structure::scalars: {
      if (!live.is_array() || !applied.is_array()) break;
      auto& list = live.get_array();
      std::set<std::string> present;
      for (const auto& item : list) present.insert(json::serialize(item));
      for (const auto& item : applied.get_array()) {
        if (present.insert(json::serialize(item)).second) list.push_back(item);
      }
      return;
    }
    case Structure::leaf: break;
  }
  live = applied;
}

// Takes the owned paths out of a value, but for what `kept` owns inside. Returns true when the value itself shall go.
bool take_out(const Place& place, json::value& value, const Fields& fields, const Fields& kept);

const Fields& inside(const Fields& kept, json::string_view name) {
  static const Fields nothing;
  const auto* inner = kept.if_contains(name);
  return inner == nullptr ? nothing : inner->get_object();
}

void take_out_of_record(const TypeSchema* type, json::object& object, const Fields& fields, const Fields& kept) {
  for (const auto& [name, inner] : fields) {
    if (!name.starts_with("f:")) continue;
    const auto field = name.substr(2);
    auto* value = object.if_contains(field);
    if (value == nullptr) continue;
    const auto place = place_of(type, std::string_view(field));
    if (take_out(place, *value, inner.get_object(), inside(kept, name))) object.erase(field);
  }
}

void take_out_of_keyed(const FieldSchema& field, json::array& items, const Fields& fields, const Fields& kept) {
  json::array rest;
  for (auto& item : items) {
    const auto name = element_name(field, item);
    const auto* inner = fields.if_contains(name);
    if (inner != nullptr) {
      const auto& others = inside(kept, name);
      if (owns_itself(inner->get_object()) && others.empty()) continue;
      auto mine = inner->get_object();
      for (const auto k : field.keys) mine.erase("f:" + std::string(k));  // what stays keeps its name
      take_out_of_record(field.type, item.get_object(), mine, others);
    }
    rest.push_back(std::move(item));
  }
  items = std::move(rest);
}

bool take_out(const Place& place, json::value& value, const Fields& fields, const Fields& kept) {
  if (is_leaf(fields)) return kept.empty();
  switch (place.structure) {
    case Structure::record:
      if (!value.is_object()) return true;
      take_out_of_record(place.field->type, value.get_object(), fields, kept);
      return value.get_object().empty();
    case Structure::map:
      if (!value.is_object()) return true;
      for (const auto& [name, inner] : fields) {
        if (name.starts_with("f:")) value.get_object().erase(name.substr(2));
      }
      return value.get_object().empty();
    case Structure::keyed:
      if (!value.is_array()) return true;
      take_out_of_keyed(*place.field, value.get_array(), fields, kept);
      return value.get_array().empty();
    case Structure::scalars: {
      if (!value.is_array()) return true;
      json::array rest;
      for (auto& item : value.get_array()) {
        if (!fields.contains("v:" + json::serialize(item))) rest.push_back(std::move(item));
      }
      value = std::move(rest);
      return value.get_array().empty();
    }
    case Structure::leaf: return true;
  }
  return true;
}

// --- managedFields

struct Entry {
  std::string manager, operation, api_version, subresource, time;
  Fields fields;
};

std::vector<Entry> entries_of(const json::object& object) {
  std::vector<Entry> entries;
  for (const auto& value : array_at(object, {"metadata", "managedFields"})) {
    if (!value.is_object()) continue;
    const auto& e = value.get_object();
    entries.push_back({text_at(e, {"manager"}), text_at(e, {"operation"}), text_at(e, {"apiVersion"}),
                       text_at(e, {"subresource"}), text_at(e, {"time"}), object_at(e, {"fieldsV1"})});
  }
  return entries;
}

void store_entries(json::object& object, const std::vector<Entry>& entries) {
  json::array list;
  for (const auto& e : entries) {
    if (e.fields.empty()) continue;
    json::object value{{"manager", e.manager}, {"operation", e.operation}, {"apiVersion", e.api_version}};
    if (!e.time.empty()) value["time"] = e.time;
    value["fieldsType"] = "FieldsV1";
    value["fieldsV1"] = e.fields;
    if (!e.subresource.empty()) value["subresource"] = e.subresource;
    list.push_back(std::move(value));
  }
  auto& metadata = child(object, "metadata");
  if (list.empty()) {
    metadata.erase("managedFields");
  } else {
    metadata["managedFields"] = std::move(list);
  }
}

Entry& entry_for(std::vector<Entry>& entries, const Manager& manager, std::string_view operation) {
  for (auto& e : entries) {
    if (e.manager == manager.name && e.operation == operation && e.subresource == manager.subresource) {
      e.api_version = manager.api_version;
      return e;
    }
  }
  entries.push_back({manager.name, std::string(operation), manager.api_version, manager.subresource, "", {}});
  return entries.back();
}

void list_paths(const Fields& fields, const std::string& path, std::vector<std::string>& paths) {
  if (owns_itself(fields) && !path.empty()) paths.push_back(path);
  for (const auto& [name, inner] : fields) {
    if (std::string_view(name) == self) continue;
    std::string here;
    if (name.starts_with("f:")) {
      here = path + "." + std::string(name.substr(2));
    } else if (name.starts_with("k:")) {
      here = path + "[";
      const auto value = parse_json(std::string_view(name.substr(2)));
      bool first = true;
      if (value && value->is_object()) {
        for (const auto& [k, v] : value->get_object()) {
          here += (first ? "" : ",") + std::string(k) + "=" + json::serialize(v);
          first = false;
        }
      }
      here += "]";
    } else {
      here = path + "[=" + std::string(name.substr(2)) + "]";
    }
    list_paths(inner.get_object(), here, paths);
  }
}

}  // namespace

json::object fields_of(const TypeSchema& type, const json::object& object) {
  return record_fields(&type, object, true);
}

ApplyResult applied_to(const TypeSchema& type, const json::object& live, json::object applied, const Manager& manager,
                       OnConflict on_conflict) {
  ApplyResult result;
  if (applied.contains("metadata")) child(applied, "metadata").erase("managedFields");
  const auto wanted = fields_of(type, applied);
  auto entries = entries_of(live);
  auto& mine = entry_for(entries, manager, "Apply");
  const auto before = mine.fields;

  result.object = live;
  merge_record(&type, result.object, applied);
  const auto changes = record_difference(&type, live, result.object, true);

  // What others own and this would change.
  for (auto& e : entries) {
    if (&e == &mine || !changes.changed || e.fields.empty()) continue;
    auto clash = common(e.fields, *changes.changed);
    if (!clash || clash->empty()) continue;
    if (on_conflict == OnConflict::take_over) {
      e.fields = top_without(e.fields, *clash);
      continue;
    }
    std::vector<std::string> paths;
    list_paths(*clash, "", paths);
    const auto who = "\"" + e.manager + "\"" + (e.operation == "Update" ? " using " + e.api_version : std::string()) +
                     (e.subresource.empty() ? "" : " with subresource \"" + e.subresource + "\"");
    for (auto& path : paths) result.conflicts.push_back({who, std::move(path)});
  }
  if (!result.conflicts.empty()) return result;

  // What this manager applied before and now leaves out goes, unless somebody else owns it. An empty object that it now
  // fills stays, with what is in it.
  auto dropped = top_without(before, wanted);
  Fields kept = wanted;
  for (const auto& e : entries) {
    if (&e == &mine || e.fields.empty()) continue;
    if (!dropped.empty()) dropped = top_without(dropped, e.fields);
    kept = kept.empty() ? e.fields : united(std::move(kept), e.fields);
  }
  if (!dropped.empty()) take_out_of_record(&type, result.object, dropped, kept);
  mine.fields = wanted;
  if (before != wanted || changes.changed) mine.time = rfc3339(manager.now);
  // Nobody owns what is no longer there.
  const auto gone = record_difference(&type, live, result.object, true).removed;
  if (gone) {
    for (auto& e : entries) e.fields = top_without(e.fields, *gone);
  }
  store_entries(result.object, entries);
  return result;
}

json::object with_tracked_fields(const TypeSchema& type, const json::object& before, json::object after,
                                 const Manager& manager) {
  auto entries = entries_of(before);
  const auto changes = record_difference(&type, before, after, true);
  for (auto& e : entries) {
    if (changes.changed) e.fields = top_without(e.fields, *changes.changed);
    if (changes.removed) e.fields = top_without(e.fields, *changes.removed);
  }
  if (changes.changed && !changes.changed->empty()) {
    auto& mine = entry_for(entries, manager, "Update");
    mine.fields = mine.fields.empty() ? *changes.changed : united(mine.fields, *changes.changed);
    mine.time = rfc3339(manager.now);
  }
  store_entries(after, entries);
  return after;
}

}  // namespace workflow::engine
