require "sinatra/base"

class Hello < Sinatra::Base
  set :host_authorization, permitted_hosts: []
  get("/") { "Hello from Ruby #{RUBY_VERSION}\n" }
end

run Hello
