// Endpoints of /v2/keys (spec/controller-api.md, section 2.15).
#include "controller/api.h"
#include "controller/rules.h"
#include "controller/store.h"

namespace workflow::controller {
namespace {

#define WF_KEY_COLUMNS                                                                                                \
  "uuid, id, public, fingerprint, to_char(created AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS created, " \
  "to_char(updated AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS updated"
constexpr sql::Query count_keys{"count_keys", "SELECT count(*) AS n FROM keys WHERE owner_id = $1::bigint"};
constexpr sql::Query select_keys{"select_keys", "SELECT " WF_KEY_COLUMNS
                                                " FROM keys WHERE owner_id = $1::bigint ORDER BY public "
                                                "LIMIT $2::bigint OFFSET $3::bigint"};
constexpr sql::Query select_key{"select_key",
                                "SELECT " WF_KEY_COLUMNS " FROM keys WHERE owner_id = $1::bigint AND id = $2"};
constexpr sql::Query key_id_taken{"key_id_taken", "SELECT 1 FROM keys WHERE id = $1"};
constexpr sql::Query key_taken{"key_taken", "SELECT 1 FROM keys WHERE fingerprint = $1"};
constexpr sql::Query insert_key{
    "insert_key",
    "INSERT INTO keys (owner_id, id, public, fingerprint, sha256) VALUES ($1::bigint, $2, $3, $4, $5) "
    "ON CONFLICT DO NOTHING"};
constexpr sql::Query delete_key{"delete_key", "DELETE FROM keys WHERE owner_id = $1::bigint AND id = $2"};

json::object key_json(const sql::Row& row, const std::string& owner) {
  return {{"uuid", row.text("uuid")},
          {"owner", owner},
          {"created", row.text("created")},
          {"updated", row.text("updated")},
          {"id", row.text("id")},
          {"public", row.text("public")},
          {"fingerprint", row.text("fingerprint")}};
}

Task<http::Response> list_keys(Parts& parts, Call& call) {
  auto to = [&call](const sql::Row& row) { return key_json(row, call.caller().username); };
  co_return co_await list_rows(parts, call, {count_keys, select_keys}, {call.caller().id}, to);
}

Task<http::Response> add_key(Parts& parts, Call& call) {
  Fields fields(call.body);
  const auto id = fields.text("id", {.max = 128});
  const auto text = fields.text("public", {});
  const auto key = text ? parse_public_key(*text) : std::nullopt;
  if (text && !key) fields.problem("public", "Key contains invalid base64 chars");
  auto check_taken = [&](sql::Tx& tx) {
    auto check = fields;
    if (id && !tx.query(key_id_taken, {*id}).empty()) check.problem("id", "SSH Key with this id already exists.");
    if (key && !tx.query(key_taken, {key->md5}).empty()) check.problem("public", "Public Key is already in use");
    check.done();
  };
  auto insert = [&](sql::Tx& tx) {
    check_taken(tx);
    // Somebody may have been faster: then it is taken by now.
    if (tx.execute(insert_key, {call.caller().id, *id, *text, key->md5, key->sha256}) == 0) check_taken(tx);
    record_event(tx, call.caller().username, "key " + *id + " added");
    return key_json(tx.query(select_key, {call.caller().id, *id})[0], call.caller().username);
  };
  co_return answer(201, co_await parts.db.transact(insert));
}

Task<http::Response> show_key(Parts& parts, Call& call) {
  auto read = [&](sql::Tx& tx) {
    const auto rows = tx.query(select_key, {call.caller().id, call.param("id")});
    if (rows.empty()) throw not_found("Key");
    return key_json(rows[0], call.caller().username);
  };
  co_return answer(200, co_await parts.db.transact(read));
}

Task<http::Response> remove_key(Parts& parts, Call& call) {
  auto remove = [&](sql::Tx& tx) {
    if (tx.execute(delete_key, {call.caller().id, call.param("id")}) == 0) throw not_found("Key");
    record_event(tx, call.caller().username, "key " + call.param("id") + " removed");
  };
  co_await parts.db.transact(remove);
  co_return nothing();
}

}  // namespace

void add_key_routes(Api& api) {
  auto& parts = api.parts();
  api.add("GET", "/v2/keys/", Who::user, {"listKeys", "SSH keys of the caller", "", {{200, "Key[]"}}},
          [&parts](Call& call) { return list_keys(parts, call); });
  api.add("POST", "/v2/keys/", Who::user, {"createKey", "Add an SSH key", "KeyRequest", {{201, "Key"}}},
          [&parts](Call& call) { return add_key(parts, call); });
  api.add("GET", "/v2/keys/{id...}", Who::user, {"getKey", "One SSH key", "", {{200, "Key"}}, {404}},
          [&parts](Call& call) { return show_key(parts, call); });
  api.add("DELETE", "/v2/keys/{id...}", Who::user, {"deleteKey", "Remove an SSH key", "", {{204, ""}}, {404}},
          [&parts](Call& call) { return remove_key(parts, call); });
}

}  // namespace workflow::controller
