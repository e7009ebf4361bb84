/* http_service.h - the service behind `c10m serve http`: HTTP/1.1 (RFC 9110, RFC 9112) for load tests.
 *
 * GET, HEAD and POST of / answer a fixed body, of /bytes/N that many bytes. Connections are kept,
 * requests may be pipelined, request bodies are read and forgotten. */
#ifndef C10M_CLI_HTTP_SERVICE_H
#define C10M_CLI_HTTP_SERVICE_H

#include "c10m/c10m.h"

#define HTTP_HEAD_BYTES_MAX    8192                /* request line and headers; more is 431 */
#define HTTP_REQUEST_BYTES_MAX (64u * 1024 * 1024) /* a request's body; more is 413 */
#define HTTP_LINGER_MS         2000                /* for the peer's FIN after our last byte */

/* Bytes of the body of /; 0: a line of text. Call it before the service runs. */
void http_service_setup(uint32_t body_bytes);
/* Fills callbacks and state size in; name, port and limits stay the caller's. */
void http_service_init(struct c10m_service *service);

#endif
