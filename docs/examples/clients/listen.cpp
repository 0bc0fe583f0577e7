// Print what changes, from C++17 without any library but the system's sockets (Linux, macOS):
//   g++ -std=c++17 -O2 listen.cpp -o listen && ./listen [HOST PORT [PATH]]
// A token goes into BIMODAL_TOKEN. Where nlohmann/json is installed (Debian: nlohmann-json3-dev), events are parsed with
// it; else only the label is looked for in the text.

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>

#if __has_include(<nlohmann/json.hpp>)
#include <nlohmann/json.hpp>
#endif

#ifndef MSG_NOSIGNAL  // macOS
#define MSG_NOSIGNAL 0
#endif

class Connection {
 public:
  Connection(const std::string& host, const std::string& port) {
    addrinfo hints{}, *found = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    if (getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0) throw std::runtime_error("no such host");
    for (auto* one = found; one != nullptr; one = one->ai_next) {
      socket_ = socket(one->ai_family, one->ai_socktype, one->ai_protocol);
      if (socket_ >= 0 && connect(socket_, one->ai_addr, one->ai_addrlen) == 0) break;
      if (socket_ >= 0) close(socket_);
      socket_ = -1;
    }
    freeaddrinfo(found);
    if (socket_ < 0) throw std::runtime_error("connection refused");
  }
  ~Connection() { close(socket_); }
  Connection(const Connection&) = delete;

  void send(const std::string& data) {
    for (size_t sent = 0; sent < data.size();) {
      const auto more = ::send(socket_, data.data() + sent, data.size() - sent, MSG_NOSIGNAL);
      if (more <= 0) throw std::runtime_error("the connection broke");
      sent += static_cast<size_t>(more);
    }
  }

  std::string read(size_t count) {
    std::string data(count, '\0');
    for (size_t got = 0; got < count;) {
      const auto more = recv(socket_, data.data() + got, count - got, 0);
      if (more <= 0) throw std::runtime_error("the connection ended");
      got += static_cast<size_t>(more);
    }
    return data;
  }

 private:
  int socket_ = -1;
};

// The client's part of RFC 6455: open, take whole text messages, answer pings.
class WebSocket {
 public:
  WebSocket(const std::string& host, const std::string& port, const std::string& path) : line_(host, port) {
    const char* token = std::getenv("BIMODAL_TOKEN");
    line_.send("GET " + path + " HTTP/1.1\r\nHost: " + host + ":" + port +
               "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
               "Sec-WebSocket-Key: Ymltb2RhbC1saXN0ZW5lcg==\r\n" +
               (token ? "Authorization: Bearer " + std::string(token) + "\r\n" : "") + "\r\n");
    std::string head;
    while (head.size() < 4 || head.compare(head.size() - 4, 4, "\r\n\r\n") != 0) head += line_.read(1);
    if (head.compare(0, 12, "HTTP/1.1 101") != 0) throw std::runtime_error(head.substr(0, head.find('\r')));
  }

  std::string message() {
    for (std::string text;;) {
      const auto head = line_.read(2);
      const bool last = head[0] & 0x80;
      const int kind = head[0] & 0x0f;
      uint64_t size = head[1] & 0x7f;
      if (size >= 126) {
        const auto longer = line_.read(size == 126 ? 2 : 8);
        size = 0;
        for (const unsigned char byte : longer) size = size << 8 | byte;
      }
      if (size > 16'000'000) throw std::runtime_error("a message of more than 16 MB");
      const auto data = line_.read(size);
      if (kind == 8) throw std::runtime_error("the server closed the connection");
      if (kind == 9) pong(data);
      if (kind > 2) continue;
      text += data;
      if (last) return text;
    }
  }

 private:
  void pong(const std::string& data) {
    // What clients send is masked, here by zeros; a ping holds 125 bytes at most.
    line_.send(std::string{'\x8a', static_cast<char>(0x80 | data.size()), 0, 0, 0, 0} + data);
  }

  Connection line_;
};

std::string described(const std::string& text) {
#if __has_include(<nlohmann/json.hpp>)
  const auto event = nlohmann::json::parse(text);
  const auto& emotion = event["emotion"];
  const auto text_of = [](const nlohmann::json& value) { return value.is_string() ? value.get<std::string>() : ""; };
  const auto label = text_of(emotion["label"]);
  return text_of(event["stream"]) + " " + (label.empty() ? "unknown: " + text_of(emotion["because"]) : label);
#else
  const std::string key = "\"emotion\":{\"label\":";
  const auto at = text.find(key);
  if (at == std::string::npos) return text;
  const auto value = text.substr(at + key.size(), 40);
  return value[0] == '"' ? value.substr(1, value.find('"', 1) - 1) : "unknown";
#endif
}

int main(int count, char** words) {
  const std::string host = count > 1 ? words[1] : "127.0.0.1", port = count > 2 ? words[2] : "8484";
  const std::string path = count > 3 ? words[3] : "/events?changes=1";
  for (;;) {
    try {
      WebSocket events(host, port, path);
      for (;;) std::cout << described(events.message()) << std::endl;
    } catch (const std::exception& error) {
      std::cerr << host << ":" << port << ": " << error.what() << "; trying again" << std::endl;
      std::this_thread::sleep_for(std::chrono::seconds(1));
    }
  }
}
