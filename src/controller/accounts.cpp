// Endpoints of /v2/auth, /v2/users and /v2/admin/perms (spec/controller-api.md, sections 2.2 and 2.3).
#include "controller/api.h"
#include "controller/attempts.h"
#include "controller/directory.h"
#include "controller/passwords.h"
#include "controller/rules.h"
#include "controller/store.h"
#include "lib/base/encoding.h"
#include "lib/base/log.h"
#include "lib/base/text.h"

namespace workflow::controller {
namespace {

constexpr sql::Query insert_user{"insert_user",
                                 "INSERT INTO users (username, password, email, first_name, last_name, is_superuser, "
                                 "last_login) VALUES ($1, $2, $3, $4, $5, "
                                 "$6::boolean, now()) ON CONFLICT (username) DO NOTHING RETURNING id"};
constexpr sql::Query count_admins{"count_admins", "SELECT count(*) AS n FROM users WHERE is_superuser AND is_active"};
// Two first registrations at once must not both see no administrator.
constexpr sql::Query lock_registration{"lock_registration", "SELECT pg_advisory_xact_lock(7305473)"};
constexpr sql::Query select_password{"select_password",
                                     "SELECT id, password, is_active FROM users WHERE username = $1"};
constexpr sql::Query update_password{"update_password", "UPDATE users SET password = $2 WHERE id = $1::bigint"};
// Unless it was changed meanwhile.
constexpr sql::Query update_password_if{"update_password_if",
                                        "UPDATE users SET password = $2 WHERE id = $1::bigint AND password = $3"};
constexpr sql::Query lock_user{"lock_user", "SELECT 1 FROM users WHERE id = $1::bigint FOR UPDATE"};
constexpr sql::Query delete_tokens{"delete_tokens", "DELETE FROM tokens WHERE user_id = $1::bigint"};
constexpr sql::Query delete_all_tokens{"delete_all_tokens", "DELETE FROM tokens"};
constexpr sql::Query count_owned_apps{"count_owned_apps", "SELECT count(*) AS n FROM apps WHERE owner_id = $1::bigint"};
constexpr sql::Query delete_user{"delete_user", "DELETE FROM users WHERE id = $1::bigint"};
constexpr sql::Query count_users{"count_users", "SELECT count(*) AS n FROM users"};
constexpr sql::Query select_admin_names{
    "select_admin_names",
    "SELECT username FROM users WHERE is_superuser AND is_active ORDER BY id LIMIT $1::bigint OFFSET $2::bigint"};
// The name, the address and the groups are the directory's; a password of ours there is none.
constexpr sql::Query upsert_directory_user{"upsert_directory_user",
                                           "INSERT INTO users (username, password, email, first_name, last_name, "
                                           "groups, last_login) VALUES ($1, '!', $2, $3, $4, $5, now()) "
                                           "ON CONFLICT (username) DO UPDATE SET email = $2, first_name = $3, "
                                           "last_name = $4, groups = $5, last_login = now()"};
constexpr sql::Query update_admin{"update_admin", "UPDATE users SET is_superuser = $2::boolean WHERE id = $1::bigint"};

constexpr std::size_t longest_username = 150;

Error disabled() { return Error(ErrorKind::forbidden, "Registration is disabled"); }

void check_registration(sql::Tx& tx, Registration mode, const std::optional<User>& caller) {
  if (mode == Registration::enabled) return;
  if (mode == Registration::disabled) throw disabled();
  if (tx.query(count_admins)[0].integer("n") == 0) return;
  if (!caller) throw Error(ErrorKind::forbidden, "Authentication credentials were not provided.");
  if (!caller->is_superuser) throw forbidden();
}

// Whoever signs in may be anybody: what that costs is bounded, altogether and by address.
struct SigningIn {
  explicit SigningIn(const Parts& parts)
      : attempts(parts.settings.login_failures),
        passwords(parts.kube.executor()),
        directory(parts.kube.executor(), at_the_directory) {}
  static constexpr std::size_t at_the_directory = 4;  // it may take its time
  Attempts attempts;
  PasswordChecks passwords;
  Turns directory;
};

constexpr std::size_t longest_credential = 4096;  // more than anybody can have registered

// Where a call came from: the router states the one address.
std::string address_of(const Call& call) {
  auto stated = call.request.headers.get("X-Forwarded-For");
  return stated.empty() || stated.size() > 64 ? call.request.peer : stated;
}

Task<http::Response> register_user(Parts& parts, PasswordChecks& passwords, Call& call) {
  auto check = [&parts, &call](sql::Tx& tx) { check_registration(tx, parts.settings.registration, call.user); };
  co_await parts.db.transact(check);
  Fields fields(call.body);
  const auto username = fields.text("username", {.max = longest_username});
  const bool is_too_long = username && characters(*username) > longest_username;  // said already
  const auto password = fields.text("password", {.stripped = false, .max = 128});
  const auto email = fields.text("email", {.required = false, .blank_allowed = true});
  const auto first_name = fields.text("first_name", {.required = false, .blank_allowed = true, .max = 30});
  const auto last_name = fields.text("last_name", {.required = false, .blank_allowed = true, .max = 150});
  if (username && !is_too_long && !UserName::parse(*username)) {
    fields.problem("username",
                   "Enter a valid username. This value may contain only letters, numbers, and @/./+/-/_ characters.");
  }
  const std::string taken = "A user with that username already exists.";
  if (username == "AnonymousUser") fields.problem("username", taken);
  if (email && !email->empty() && !is_email(*email)) fields.problem("email", "Enter a valid email address.");
  fields.done();
  const auto hash = co_await passwords.hash(address_of(call), *password);
  auto insert = [&](sql::Tx& tx) {
    tx.query(lock_registration);
    check_registration(tx, parts.settings.registration, call.user);
    const bool first = tx.query(count_admins)[0].integer("n") == 0;
    const auto rows = tx.query(
        insert_user, {*username, hash, email.value_or(""), first_name.value_or(""), last_name.value_or(""), first});
    if (rows.empty()) throw Error(Error::Fields{{"username", {taken}}});
    record_event(tx, *username, first ? "registered as administrator" : "registered");
    return get_user(tx, *username);
  };
  co_return answer(201, to_json(co_await parts.db.transact(insert)));
}

struct Stored {
  std::int64_t id = 0;
  std::string password;
  bool is_active = false;
};
std::optional<Stored> stored_password(sql::Tx& tx, const std::string& username) {
  const auto rows = tx.query(select_password, {username});
  if (rows.empty()) return std::nullopt;
  return Stored{rows[0].integer("id"), rows[0].text("password"), rows[0].boolean("is_active")};
}

struct Credentials {
  std::string username, password, address;
};

// The user that the directory vouches for: made or refreshed here. nullopt: ask our own passwords.
Task<std::optional<Stored>> signed_in_by_directory(Parts& parts, Turns& turns, Credentials who) {
  if (!parts.settings.directory) co_return std::nullopt;
  std::optional<DirectoryUser> found;
  try {
    auto ask = [directory = *parts.settings.directory, who] { return sign_in(directory, who.username, who.password); };
    found = co_await turns.run(who.address, std::move(ask));
  } catch (const Error& error) {
    log::warn("the directory cannot be asked", kv("error", error.message()));
  }
  if (!found || !UserName::parse(found->username)) co_return std::nullopt;
  auto store = [&](sql::Tx& tx) {
    const auto groups = print_json(json::array(found->groups.begin(), found->groups.end()));
    tx.execute(upsert_directory_user, {found->username, found->email, found->first_name, found->last_name, groups});
    return stored_password(tx, found->username);
  };
  co_return co_await parts.db.transact(store);
}

// Whose name and password these are, if anybody's.
Task<std::optional<Stored>> signed_in(Parts& parts, SigningIn& signing_in, Credentials who) {
  if (auto known = co_await signed_in_by_directory(parts, signing_in.directory, who)) co_return known;
  auto stored = co_await parts.db.transact([&who](sql::Tx& tx) { return stored_password(tx, who.username); });
  // An unknown user costs as much time as a wrong password: nobody learns who has an account.
  static const std::string decoy = decoy_hash();
  auto& passwords = signing_in.passwords;
  if (!co_await passwords.matches(who.address, who.password, stored ? stored->password : decoy)) co_return std::nullopt;
  if (is_cheaply_hashed(stored->password)) {
    const auto dearer = co_await passwords.hash(who.address, who.password);
    co_await parts.db.transact(
        [&](sql::Tx& tx) { tx.execute(update_password_if, {stored->id, dearer, stored->password}); });
  }
  co_return stored;
}

Task<http::Response> login(Parts& parts, SigningIn& signing_in, Call& call) {
  Fields fields(call.body);
  const auto username = fields.text("username", {.max = longest_credential});
  const auto password = fields.text("password", {.stripped = false, .max = longest_credential});
  fields.done();
  Credentials who{*username, *password, address_of(call)};
  call.body.clear();  // many may wait, and a body may be long
  auto& attempts = signing_in.attempts;
  if (const auto pause = attempts.pause(who.username, parts.clock.now())) {
    auto response = answer(
        429, json::object{{"detail", "Too many failed logins. Try again in " + std::to_string(pause->count()) + " s"}});
    response.headers.set("Retry-After", std::to_string(pause->count()));
    co_return response;
  }
  const auto user = co_await signed_in(parts, signing_in, who);
  if (!user || !user->is_active) {
    attempts.failed(who.username, parts.clock.now());
    throw Error(Error::Fields{{"non_field_errors", {"Unable to log in with provided credentials."}}});
  }
  attempts.succeeded(who.username);
  const auto token = co_await parts.db.transact([id = user->id](sql::Tx& tx) { return issue_token(tx, id); });
  co_return answer(200, json::object{{"token", token.text}});
}

Task<http::Response> change_password(Parts& parts, PasswordChecks& passwords, Call& call) {
  const auto fresh = find_string(call.body, {"new_password"}).value_or("");
  if (fresh.empty()) throw Error(ErrorKind::invalid, "new_password is a required field");
  const auto target = find_string(call.body, {"username"}).value_or(call.caller().username);
  if (target != call.caller().username && !call.caller().is_superuser) throw forbidden();
  const auto stored = co_await parts.db.transact([target](sql::Tx& tx) { return stored_password(tx, target); });
  if (!stored) throw not_found("User");
  if (!call.caller().is_superuser) {
    const auto current = find_string(call.body, {"password"}).value_or("");
    if (current.empty()) throw Error(ErrorKind::invalid, "password is a required field");
    if (!co_await passwords.matches(address_of(call), current, stored->password))
      throw Error(ErrorKind::unauthenticated, "Current password does not match");
  }
  const auto hash = co_await passwords.hash(address_of(call), fresh);
  auto store = [&](sql::Tx& tx) {
    tx.execute(update_password, {stored->id, hash});
    record_event(tx, call.caller().username, "password of " + target + " changed");
  };
  co_await parts.db.transact(store);
  co_return answer(200, json::object{{"status", "password set"}});
}

Task<http::Response> regenerate_tokens(Parts& parts, Call& call) {
  const bool all = call.body.contains("all");
  if ((all || call.body.contains("username")) && !call.caller().is_superuser) throw forbidden();
  if (all) {
    auto remove_all = [&call](sql::Tx& tx) {
      tx.execute(delete_all_tokens);
      record_event(tx, call.caller().username, "all tokens of all users removed");
    };
    co_await parts.db.transact(remove_all);
    co_return answer(200, json::string(""));
  }
  const auto target = find_string(call.body, {"username"}).value_or(call.caller().username);
  auto replace = [&call, target](sql::Tx& tx) {
    const auto user = get_user(tx, target);
    tx.query(lock_user, {user.id});  // of two at once, the later one sees the token of the earlier
    tx.execute(delete_tokens, {user.id});
    record_event(tx, call.caller().username, "tokens of " + target + " replaced");
    return issue_token(tx, user.id).text;
  };
  co_return answer(200, json::object{{"token", co_await parts.db.transact(replace)}});
}

Task<http::Response> cancel(Parts& parts, Call& call) {
  const auto target = find_string(call.body, {"username"}).value_or(call.caller().username);
  if (target != call.caller().username && !call.caller().is_superuser) throw forbidden();
  auto remove = [&](sql::Tx& tx) {
    const auto user = get_user(tx, target);
    if (tx.query(count_owned_apps, {user.id})[0].integer("n") > 0) {
      throw Error(ErrorKind::conflict, target + " still has applications assigned. Delete or transfer ownership");
    }
    if (user.is_superuser && tx.query(count_admins)[0].integer("n") == 1 && tx.query(count_users)[0].integer("n") > 1) {
      throw Error(ErrorKind::conflict,
                  target + " is the last administrator. Make somebody else an administrator first");
    }
    try {
      if (tx.execute(delete_user, {user.id}) == 0) throw not_found("User");  // somebody was faster
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::unprocessable) throw;
      throw Error(ErrorKind::conflict,
                  "Cannot delete some instances of model 'User': " + target +
                      " made builds, configs or releases of apps of others. Delete those apps first");
    }
    record_event(tx, call.caller().username, "cancelled account " + target);
  };
  co_await parts.db.transact(remove);
  co_return nothing();
}

Task<http::Response> list_users(Parts& parts, Call& call) {
  const auto page = Page::of(call.request);
  std::int64_t count = 0;
  auto read = [&](sql::Tx& tx) {
    count = tx.query(count_users)[0].integer("n");
    return users_in_order(tx, page.limit, page.offset);
  };
  json::array users;
  for (const auto& user : co_await parts.db.transact(read)) users.push_back(to_json(user));
  co_return page_answer(call.request, page, count, std::move(users));
}

json::object admin_json(const sql::Row& row) { return {{"username", row.text("username")}, {"is_superuser", true}}; }

enum class Admin { made, no_longer };
Task<http::Response> set_admin(Parts& parts, Call& call, std::string username, Admin how) {
  const bool admin = how == Admin::made;
  auto change = [&](sql::Tx& tx) {
    tx.query(lock_registration);
    const auto user = get_user(tx, username);
    if (!admin && user.is_superuser && tx.query(count_admins)[0].integer("n") == 1) {
      throw Error(ErrorKind::conflict,
                  username + " is the last administrator. Make somebody else an administrator first");
    }
    tx.execute(update_admin, {user.id, admin});
    record_event(tx, call.caller().username, (admin ? "made administrator: " : "no longer administrator: ") + username);
  };
  co_await parts.db.transact(change);
  co_return nothing(admin ? 201 : 204);
}

Task<http::Response> add_admin(Parts& parts, Call& call) {
  Fields fields(call.body);
  auto username = fields.text("username", {});
  fields.done();
  return set_admin(parts, call, *username, Admin::made);
}

}  // namespace

void add_account_routes(Api& api) {
  auto& parts = api.parts();
  api.add("GET", "/v2/", Who::user,
          {.id = "root", .summary = "Whether a token is good", .answers = {{200, "Nothing"}}, .for_any_token = true},
          [](Call&) -> Task<http::Response> { co_return answer(200, json::object{}); });
  auto signing_in = std::make_shared<SigningIn>(parts);
  api.add("POST", "/v2/auth/register/", Who::anyone_leniently,
          {"register", "Register; the very first user becomes administrator", "Registration", {{201, "User"}}, {403}},
          [&parts, signing_in](Call& call) { return register_user(parts, signing_in->passwords, call); });
  api.add("POST", "/v2/auth/login/", Who::anyone,
          {"login", "Get a token for a name and a password", "Credentials", {{200, "Token"}}, {401, 429}},
          [&parts, signing_in](Call& call) { return login(parts, *signing_in, call); });
  api.add("GET", "/v2/auth/whoami/", Who::user,
          {.id = "whoami", .summary = "The caller", .answers = {{200, "User"}}, .for_any_token = true},
          [](Call& call) -> Task<http::Response> { co_return answer(200, to_json(call.caller())); });
  api.add("POST", "/v2/auth/passwd/", Who::user,
          {"setPassword", "Change a password", "PasswordChange", {{200, "Status"}}, {403, 404}},
          [&parts, signing_in](Call& call) { return change_password(parts, signing_in->passwords, call); });
  api.add("POST", "/v2/auth/tokens/", Who::user,
          {"regenerateTokens",
           "Replace all tokens of the caller, of a user, or of all users",
           "TokenRegeneration",
           {{200, "TokenOrNothing"}},
           {403, 404}},
          [&parts](Call& call) { return regenerate_tokens(parts, call); });
  api.add("DELETE", "/v2/auth/cancel/", Who::user,
          {"cancel", "Remove an account", "UserNameOrNothing", {{204, ""}}, {403, 404, 409}},
          [&parts](Call& call) { return cancel(parts, call); });
  api.add("GET", "/v2/users/", Who::admin, {"listUsers", "All users", "", {{200, "User[]"}}},
          [&parts](Call& call) { return list_users(parts, call); });
  api.add("GET", "/v2/admin/perms/", Who::admin,
          {"listAdministrators", "All administrators", "", {{200, "Administrator[]"}}},
          [&parts](Call& call) { return list_rows(parts, call, {count_admins, select_admin_names}, {}, admin_json); });
  api.add("POST", "/v2/admin/perms/", Who::admin,
          {"addAdministrator", "Make a user administrator", "UserName", {{201, ""}}, {404}},
          [&parts](Call& call) { return add_admin(parts, call); });
  api.add("DELETE", "/v2/admin/perms/{username}/", Who::admin,
          {"removeAdministrator", "Make an administrator a plain user; not the last one", "", {{204, ""}}, {404, 409}},
          [&parts](Call& call) { return set_admin(parts, call, call.param("username"), Admin::no_longer); });
}

}  // namespace workflow::controller
