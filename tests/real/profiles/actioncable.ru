# Action Cable without the rest of Rails: for puma. Who connects needs the token "good-token" in the URL. TicksChannel
# sends a number each 200 ms, and to all of its room what somebody speaks; nobody gets into the room "closed".
require "logger"
require "action_cable"

class Cable < ActionCable::Connection::Base
  def connect
    reject_unauthorized_connection unless request.params["token"] == "good-token"
  end
end

class TicksChannel < ActionCable::Channel::Base
  periodically :tick, every: 0.2

  def subscribed
    return reject if params[:room] == "closed"
    stream_from "room #{params[:room]}"
  end

  def speak(data)
    ActionCable.server.broadcast("room #{params[:room]}", { said: data["text"] })
  end

  private

  def tick
    transmit({ tick: @tick = (@tick || 0) + 1 })
  end
end

ActionCable.server.config.tap do |config|
  config.cable = { "adapter" => "async" }
  config.connection_class = -> { Cable }
  config.logger = Logger.new($stdout)
  config.disable_request_forgery_protection = true
end

run ActionCable.server
