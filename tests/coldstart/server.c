// A web server that waits before it listens, and before it answers: server LISTEN_MS ANSWER_MS, or LISTEN_MS=N server
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void wait_ms(long ms) {
  struct timespec time = {ms / 1000, ms % 1000 * 1000000};
  nanosleep(&time, 0);
}

int main(int argc, char **argv) {
  const char *answer = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";
  const char *listen_ms = argc > 1 ? argv[1] : getenv("LISTEN_MS");
  wait_ms(listen_ms ? atol(listen_ms) : 0);
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(8080)};
  if (bind(listener, (struct sockaddr *)&any, sizeof any) || listen(listener, 64)) return 1;
  wait_ms(argc > 2 ? atol(argv[2]) : 0);
  for (;;) {
    char request[4096];
    int client = accept(listener, 0, 0);
    if (read(client, request, sizeof request) > 0 && write(client, answer, strlen(answer)) < 0) return 1;
    close(client);
  }
}
