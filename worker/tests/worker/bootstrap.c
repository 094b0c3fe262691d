/* A custom runtime without any library: echoes each event. One connection a request. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MESSAGE_MAX = 64 * 1024 };

static char api[64];

/* Sends a request and reads the whole answer, which ends with the connection or its declared length. */
static int ask(const char *request, char *answer) {
    char host[64];
    strcpy(host, api);
    char *port = strchr(host, ':');
    *port++ = 0;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    inet_pton(AF_INET, host, &address.sin_addr);
    int channel = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(channel, (struct sockaddr *)&address, sizeof address) != 0) exit(2);
    if (write(channel, request, strlen(request)) < 0) exit(3);
    int length = 0;
    for (;;) {
        int got = read(channel, answer + length, MESSAGE_MAX - 1 - length);
        if (got <= 0) break;
        answer[length += got] = 0;
        char *body = strstr(answer, "\r\n\r\n"), *declared = strcasestr(answer, "content-length:");
        if (body && declared && length >= body + 4 - answer + atoi(declared + 15)) break;
    }
    close(channel);
    return length;
}

int main(void) {
    static char answer[MESSAGE_MAX], request[MESSAGE_MAX];
    strncpy(api, getenv("AWS_LAMBDA_RUNTIME_API"), sizeof api - 1);
    puts("bootstrap starts");
    fflush(stdout);
    for (;;) {
        snprintf(request, sizeof request, "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: %s\r\n\r\n", api);
        ask(request, answer);
        char id[65] = "", *header = strcasestr(answer, "lambda-runtime-aws-request-id:"), *body = strstr(answer, "\r\n\r\n");
        if (!header || !body) return 4;
        sscanf(header + 30, " %64s", id);
        body += 4;
        snprintf(request, sizeof request,
                 "POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\r\nHost: %s\r\nContent-Length: %zu\r\n\r\n%s", id,
                 api, strlen(body), body);
        ask(request, answer);
    }
}
