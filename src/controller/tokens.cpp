// Endpoints of /v2/tokens: tokens for programs, with a name, an end, and less power than their user.
#include "controller/api.h"
#include "controller/rules.h"
#include "controller/store.h"
#include "lib/base/text.h"

namespace workflow::controller {
namespace {

#define WF_AT(column) "to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
#define WF_TOKEN_COLUMNS "id, name, scope, apps, " WF_AT("created") " AS created, " WF_AT("expires") " AS expires"
constexpr sql::Query count_tokens{"count_tokens",
                                  "SELECT count(*) AS n FROM tokens WHERE user_id = $1::bigint AND name <> ''"};
constexpr sql::Query select_tokens{"select_tokens", "SELECT " WF_TOKEN_COLUMNS
                                                    " FROM tokens WHERE user_id = $1::bigint AND name <> '' "
                                                    "ORDER BY id LIMIT $2::bigint OFFSET $3::bigint"};
constexpr sql::Query select_token{
    "select_token", "SELECT " WF_TOKEN_COLUMNS " FROM tokens WHERE user_id = $1::bigint AND id = $2::bigint"};
constexpr sql::Query delete_token{
    "delete_token", "DELETE FROM tokens WHERE user_id = $1::bigint AND id = $2::bigint AND name <> '' RETURNING name"};
constexpr std::int64_t longest_life = 10LL * 365 * 24 * 3600;

json::object token_json(const sql::Row& row) {
  const auto apps = row.find("apps");
  return {{"id", row.integer("id")},        {"name", row.text("name")},
          {"scope", row.text("scope")},     {"apps", apps ? json::value(array_from(*apps)) : json::value(nullptr)},
          {"created", row.text("created")}, {"expires", text_or_null(row.find("expires"))}};
}

NewToken token_from(const json::object& body) {
  Fields fields(body);
  NewToken token;
  token.name = fields.text("name", {.max = 128}).value_or("");
  const auto scope = fields.text("scope", {.required = false}).value_or("all");
  if (scope != "all" && scope != "read") fields.problem("scope", "must be all or read");
  token.power.read_only = scope == "read";
  if (const auto* apps = body.if_contains("apps"); apps && !apps->is_null()) {
    auto& names = token.power.apps.emplace();
    const auto* list = apps->if_array();
    if (!list || list->empty())
      fields.problem("apps", "must be a list of app names");
    else if (list->size() > 1000)
      fields.problem("apps", "Ensure this field has no more than 1000 items.");
    else
      for (const auto& item : *list) {
        const auto name = item.is_string() ? AppName::parse(std::string_view(item.get_string())) : std::nullopt;
        if (name)
          names.push_back(name->text());
        else
          fields.problem("apps", python_text(item) + " is not an app name");
      }
  }
  if (const auto* life = body.if_contains("expires_in"); life && !life->is_null()) {
    token.lives_seconds = find_integer(body, {"expires_in"});
    if (!token.lives_seconds || *token.lives_seconds < 1 || *token.lives_seconds > longest_life) {
      fields.problem("expires_in", "must be a number of seconds, at most ten years");
    }
  }
  fields.done();
  return token;
}

// A token makes no other that could do more than itself.
void check_not_limited(const Call& call) {
  if (!call.power.whole()) throw Error(ErrorKind::forbidden, "This token may not make or remove tokens.");
}

Task<http::Response> create_token(Parts& parts, Call& call) {
  check_not_limited(call);
  const auto token = token_from(call.body);
  auto insert = [&](sql::Tx& tx) {
    const auto issued = issue_token(tx, call.caller().id, token);
    auto shown = token_json(tx.query(select_token, {call.caller().id, issued.id})[0]);
    record_event(tx, call.caller().username, "token " + token.name + " made", {{}, shown});
    shown["token"] = issued.text;
    return shown;
  };
  co_return answer(201, co_await parts.db.transact(insert));
}

Task<http::Response> remove_token(Parts& parts, Call& call) {
  check_not_limited(call);
  const auto id = parse_integer(call.param("id"));
  if (!id) throw not_found("Token");
  auto remove = [&](sql::Tx& tx) {
    const auto rows = tx.query(delete_token, {call.caller().id, *id});
    if (rows.empty()) throw not_found("Token");
    record_event(tx, call.caller().username, "token " + rows[0].text("name") + " removed");
  };
  co_await parts.db.transact(remove);
  co_return nothing();
}

}  // namespace

void add_token_routes(Api& api) {
  auto& parts = api.parts();
  api.add("GET", "/v2/tokens/", Who::user,
          {"listTokens", "Named tokens of the caller, without their text", "", {{200, "NamedToken[]"}}},
          [&parts](Call& call) {
            return list_rows(parts, call, {count_tokens, select_tokens}, {call.caller().id}, token_json);
          });
  api.add("POST", "/v2/tokens/", Who::user,
          {"createToken",
           "Make a token that has a name, may end, and may be limited to reading or to some apps",
           "TokenRequest",
           {{201, "NewToken"}},
           {403}},
          [&parts](Call& call) { return create_token(parts, call); });
  api.add("DELETE", "/v2/tokens/{id}/", Who::user, {"deleteToken", "Remove a named token", "", {{204, ""}}, {403, 404}},
          [&parts](Call& call) { return remove_token(parts, call); });
}

}  // namespace workflow::controller
