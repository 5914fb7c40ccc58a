package attack_test

import (
	"strings"

	"codexgateway.dev/pkg/errs"
)

// framing is about where a request ends: what a proxy in front and the gateway
// see differently can be smuggled (RFC 9112, sections 6 and 11).
func framing() []attack {
	const (
		head    = "POST /jsonrpc HTTP/1.1\r\nHost: gw.example\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\n"
		chunked = head + "Transfer-Encoding: chunked\r\n"
		// smuggled is what must never be served as a request of its own.
		smuggled = "GET /smuggled HTTP/1.1\r\nHost: gw.example\r\n\r\n"
		one      = "2f\r\n" + ping + "\r\n"
		result   = "the result of ping"
	)
	pong := answer{status: 200, form: rpcResult}
	nobody := failed(200, errs.ParseError)
	broken := refused(400, errs.InvalidRequest).with("Connection", "close")
	_ = result
	return exchanges([]exchange{
		{name: "chunked body", send: chunked + "\r\n" + one + "0\r\n\r\n", want: []answer{pong.with("Connection", "close")}, end: closed},
		{name: "both lengths, chunked wins", send: head + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + one + "0\r\n\r\n" + smuggled, want: []answer{pong}, end: closed},
		{name: "both lengths, length hides a request", send: head + "Content-Length: 200\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, want: []answer{nobody}, end: closed},
		{name: "chunked then length", send: chunked + "Content-Length: 0\r\n\r\n" + one + "0\r\n\r\n" + smuggled, want: []answer{pong}, end: closed},
		{name: "HTTP/1.0 with chunked", send: "POST /jsonrpc HTTP/1.0\r\nHost: gw.example\r\nX-API-Key: {KEY}\r\nConnection: keep-alive\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + smuggled, want: []answer{nobody}, end: closed},
		{name: "HTTP/1.0 keeps nothing alive", send: "GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + smuggled, want: []answer{is(200)}, end: closed},
		{name: "two lengths that differ", send: head + "Content-Length: 47\r\nContent-Length: 0\r\n\r\n" + ping, want: []answer{unread(400)}, end: closed},
		{name: "two lengths in one header", send: head + "Content-Length: 47, 0\r\n\r\n" + ping, want: []answer{unread(400)}, end: closed},
		{name: "the same length twice", send: head + "Content-Length: 47\r\nContent-Length: 47\r\n\r\n" + ping, want: []answer{pong}, end: kept},
		{name: "negative length", send: head + "Content-Length: -1\r\n\r\n", want: []answer{unread(400)}, end: closed},
		{name: "signed length", send: head + "Content-Length: +47\r\n\r\n" + ping, want: []answer{unread(400)}, end: closed},
		{name: "hexadecimal length", send: head + "Content-Length: 0x2f\r\n\r\n" + ping, want: []answer{unread(400)}, end: closed},
		{name: "length in words", send: head + "Content-Length: many\r\n\r\n", want: []answer{unread(400)}, end: closed},
		{name: "length beyond 64 bits", send: head + "Content-Length: 99999999999999999999\r\n\r\n", want: []answer{unread(400)}, end: closed},
		{name: "length of an exabyte", send: head + "Content-Length: 1152921504606846976\r\n\r\n", want: []answer{failed(413, errs.PayloadTooLarge)}, end: closed},
		{name: "empty length", send: head + "Content-Length: \r\n\r\n", want: []answer{unread(400)}, end: closed},
		{name: "unknown coding", send: head + "Transfer-Encoding: gzip\r\n\r\n", want: []answer{unread(501)}, end: closed},
		{name: "two codings", send: head + "Transfer-Encoding: gzip, chunked\r\n\r\n", want: []answer{unread(501)}, end: closed},
		{name: "chunked twice", send: chunked + "Transfer-Encoding: chunked\r\n\r\n", want: []answer{unread(501)}, end: closed},
		{name: "identity, then chunked", send: head + "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n", want: []answer{unread(501)}, end: closed},
		{name: "chunked with a vertical tab", send: head + "Transfer-Encoding: \vchunked\r\n\r\n", want: []answer{unread(400)}, end: closed},
		{name: "space before the colon", send: head + "Transfer-Encoding : chunked\r\n\r\n", want: []answer{unread(400)}, end: closed},
		{name: "folded coding", send: head + "Transfer-Encoding:\r\n chunked\r\n\r\n" + one + "0\r\n\r\n" + smuggled, want: []answer{pong}, end: closed},
		{name: "chunk size with a bare LF", send: chunked + "\r\n2f\n" + ping + "\r\n0\r\n\r\n", want: []answer{broken}, end: closed},
		{name: "chunk size that is no number", send: chunked + "\r\nxyz\r\n", want: []answer{broken}, end: closed},
		{name: "negative chunk size", send: chunked + "\r\n-1\r\n", want: []answer{broken}, end: closed},
		{name: "chunk size with 0x", send: chunked + "\r\n0x2f\r\n" + ping + "\r\n0\r\n\r\n", want: []answer{broken}, end: closed},
		{name: "chunk size beyond 64 bits", send: chunked + "\r\n" + strings.Repeat("f", 17) + "\r\n", want: []answer{broken}, end: closed},
		{name: "chunk longer than its size", send: chunked + "\r\n2e\r\n" + ping + "\r\n0\r\n\r\n", want: []answer{broken}, end: closed},
		{name: "chunk shorter than its size", send: chunked + "\r\n30\r\n" + ping + "\r\n0\r\n\r\n", want: []answer{broken}, end: closed, hangup: true},
		{name: "chunk extension", send: chunked + "\r\n2f;a=b\r\n" + ping + "\r\n0\r\n\r\n", want: []answer{pong}, end: closed},
		{name: "chunk extension that does not end", send: chunked + "\r\n1;" + strings.Repeat("x", 20<<10), want: []answer{broken}, end: closed},
		{name: "mostly chunk extensions", send: chunked + "\r\n" + strings.Repeat("1;"+strings.Repeat("x", 3<<10)+"\r\n \r\n", 40) + "0\r\n\r\n", want: []answer{broken}, end: closed},
		{name: "trailers", send: chunked + "Trailer: X-Late\r\n\r\n" + one + "0\r\nX-Late: " + canary + "\r\n\r\n", want: []answer{pong}, end: closed},
		{name: "trailer that would be a length", send: chunked + "Trailer: Content-Length\r\n\r\n" + one + "0\r\n\r\n", want: []answer{unread(400)}, end: closed},
		{name: "key in a trailer", send: "POST /jsonrpc HTTP/1.1\r\nHost: gw.example\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nTrailer: X-API-Key\r\n\r\n" + one + "0\r\nX-API-Key: {KEY}\r\n\r\n", want: []answer{failed(401, errs.Unauthenticated)}, end: closed},
		{name: "trailers of a megabyte", send: chunked + "\r\n" + one + "0\r\n" + strings.Repeat("X-Late: "+strings.Repeat("x", 1000)+"\r\n", 1000) + "\r\n", want: []answer{broken}, end: closed},
		{name: "body shorter than its length", send: head + "Content-Length: 60\r\n\r\n" + ping, want: []answer{broken}, end: closed, hangup: true},
		{name: "bytes after the body are a request", send: head + "Content-Length: 47\r\n\r\n" + ping + "nonsense\r\n\r\n", want: []answer{pong, unread(400)}, end: closed},
		{name: "requests in a row", send: call(ping) + call(ping) + call(ping), want: []answer{pong, pong, pong}, end: kept},
		{name: "lines that end in LF", send: strings.ReplaceAll("GET /health HTTP/1.1\r\nHost: gw.example\r\n\r\n", "\r\n", "\n"), want: []answer{is(200)}, end: kept},
		{name: "lines that end in CR", send: "GET /health HTTP/1.1\rHost: gw.example\r\r\n\r\n", want: []answer{unread(400)}, end: closed},
		{name: "body of a GET is dropped", send: request("GET /health", "Content-Length: 47") + ping, want: []answer{is(200)}, end: kept},
		{name: "large body of a GET", send: request("GET /health", "Content-Length: 20000") + strings.Repeat("x", 20000), want: []answer{refused(413, errs.PayloadTooLarge)}, end: closed},
		{name: "request hidden in the body of a GET", send: request("GET /health", "Content-Length: 44") + smuggled, want: []answer{is(200)}, end: kept},
		{name: "body of no route", send: request("POST /nowhere", "Content-Length: 44") + smuggled, want: []answer{refused(404, errs.NotFound)}, end: kept},
		{name: "endless body of no route", send: request("POST /nowhere", "Content-Length: 100000000"), want: []answer{refused(404, errs.NotFound).with("Connection", "close")}, end: closed},
		{name: "body that needs a 100 first", send: call(ping, "Expect: 100-continue"), want: []answer{unread(100), pong}, end: kept},
		{name: "expectation without a key", send: "POST /jsonrpc HTTP/1.1\r\nHost: gw.example\r\nContent-Length: 100\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n\r\n", want: []answer{failed(401, errs.Unauthenticated)}, end: closed},
		{name: "expectation of a body too large", send: request("POST /jsonrpc", "Content-Length: 9000000", "Expect: 100-continue", "Content-Type: application/json"), want: []answer{failed(413, errs.PayloadTooLarge)}, end: closed},
		{name: "unknown expectation", send: call(ping, "Expect: miracles"), want: []answer{unread(417)}, end: closed},
	})
}

// heads is about the head of a request: header lines, versions, other protocols.
func heads() []attack {
	const start = "GET /health HTTP/1.1\r\nHost: gw.example\r\n"
	unknown := `{"jsonrpc":"2.0","id":1,"method":"no.such"}`
	return exchanges([]exchange{
		{name: "CR in a value", send: start + "X-Request-Id: a\rb\r\n\r\n", want: []answer{unread(400)}, end: closed},
		{name: "NUL in a value", send: start + "X-Request-Id: a\x00b\r\n\r\n", want: []answer{unread(400)}, end: closed},
		{name: "NUL in a name", send: start + "X-\x00: a\r\n\r\n", want: []answer{unread(400)}, end: closed},
		{name: "DEL in a value", send: start + "X-Request-Id: a\x7fb\r\n\r\n", want: []answer{unread(400)}, end: closed},
		{name: "no colon", send: start + "nonsense\r\n\r\n", want: []answer{unread(400)}, end: closed},
		{name: "empty name", send: start + ": a\r\n\r\n", want: []answer{unread(400)}, end: closed},
		{name: "name with a space", send: start + "X Request: a\r\n\r\n", want: []answer{unread(400)}, end: closed},
		{name: "name that is not ASCII", send: start + "X-Ä: a\r\n\r\n", want: []answer{unread(400)}, end: closed},
		{name: "first line folded", send: "GET /health HTTP/1.1\r\n Host: gw.example\r\n\r\n", want: []answer{unread(400)}, end: closed},
		{name: "folded value is one line", send: start + "X-Request-Id: a\r\n b\r\n\r\n", want: []answer{is(200)}, end: kept},
		{name: "request id of a client", send: start + "X-Request-Id: mine-1\r\n\r\n", want: []answer{is(200).with("X-Request-Id", "mine-1")}, end: kept},
		{name: "request id that is a header", send: start + "X-Request-Id: a%0d%0aX-" + canary + ": b\r\n\r\n", want: []answer{is(200)}, end: kept},
		{name: "request id that is a tag", send: start + "X-Request-Id: <script>" + canary + "</script>\r\n\r\n", want: []answer{is(200)}, end: kept},
		{name: "request id of many bytes", send: start + "X-Request-Id: " + canary + strings.Repeat("a", 128) + "\r\n\r\n", want: []answer{is(200)}, end: kept},
		{name: "request id that is not ASCII", send: start + "X-Request-Id: " + canary + "é\r\n\r\n", want: []answer{is(200)}, end: kept},
		{name: "two request ids", send: call(unknown, "X-Request-Id: one", "X-Request-Id: two"), want: []answer{failed(200, errs.MethodNotFound)}, end: kept},
		{name: "idempotency key with a control character", send: call(`{"jsonrpc":"2.0","id":1,"method":"conversation.prompt","params":{"prompt":"x"}}`, "Idempotency-Key: a\tb"), want: []answer{failed(200, errs.InvalidParams)}, end: kept},
		{name: "idempotency key of many bytes", send: call(`{"jsonrpc":"2.0","id":1,"method":"conversation.prompt","params":{"prompt":"x"}}`, "Idempotency-Key: "+strings.Repeat("a", 1000)), want: []answer{failed(200, errs.InvalidParams)}, end: kept},
		{name: "idempotency keys of a header and of the params", send: call(`{"jsonrpc":"2.0","id":1,"method":"conversation.prompt","params":{"prompt":"x","idempotency_key":"b"}}`, "Idempotency-Key: a"), want: []answer{failed(200, errs.InvalidParams)}, end: kept},
		{name: "head of 70 KiB", send: start + "X-Long: " + strings.Repeat("a", 70<<10) + "\r\n\r\n", want: []answer{unread(431)}, end: closed},
		{name: "thousands of headers", send: start + strings.Repeat("X-Many: a\r\n", 8000) + "\r\n", want: []answer{unread(431)}, end: closed},
		{name: "three thousand headers", send: start + strings.Repeat("X-Many: a\r\n", 3000) + "\r\n", want: []answer{is(200)}, end: kept},
		{name: "long name", send: start + strings.Repeat("X", 70<<10) + ": a\r\n\r\n", want: []answer{unread(431)}, end: closed},
		{name: "long URL", send: "GET /health?" + strings.Repeat("a", 70<<10) + " HTTP/1.1\r\nHost: gw.example\r\n\r\n", want: []answer{unread(431)}, end: closed},
		{name: "URL of 60 KiB", send: "GET /" + strings.Repeat("a", 60<<10) + " HTTP/1.1\r\nHost: gw.example\r\n\r\n", want: []answer{refused(404, errs.NotFound)}, end: kept},
		{name: "no host", send: "GET /health HTTP/1.1\r\n\r\n", want: []answer{unread(400)}, end: closed},
		{name: "two hosts", send: start + "Host: other.example\r\n\r\n", want: []answer{unread(400)}, end: closed},
		{name: "host with a path", send: "GET /health HTTP/1.1\r\nHost: gw.example/" + canary + "\r\n\r\n", want: []answer{unread(400)}, end: closed},
		{name: "host with a space", send: "GET /health HTTP/1.1\r\nHost: gw example\r\n\r\n", want: []answer{unread(400)}, end: closed},
		{name: "HTTP/0.9", send: "GET /health\r\n\r\n", want: []answer{unread(400)}, end: closed},
		{name: "HTTP/1.0", send: "GET /health HTTP/1.0\r\n\r\n", want: []answer{is(200)}, end: closed},
		{name: "HTTP/1.2", send: "GET /health HTTP/1.2\r\nHost: gw.example\r\n\r\n", want: []answer{is(200)}, end: kept},
		{name: "HTTP/3.0", send: "GET /health HTTP/3.0\r\nHost: gw.example\r\n\r\n", want: []answer{unread(505)}, end: closed},
		{name: "no protocol there is", send: "GET /health ICAP/1.0\r\nHost: gw.example\r\n\r\n", want: []answer{unread(400)}, end: closed},
		{name: "protocol in lower case", send: "GET /health http/1.1\r\nHost: gw.example\r\n\r\n", want: []answer{unread(400)}, end: closed},
		{name: "preface of HTTP/2", send: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", want: []answer{refused(404, errs.NotFound)}, end: closed},
		{name: "upgrade to HTTP/2", send: start + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", want: []answer{is(200).with("Upgrade", "")}, end: kept},
		{name: "hello of TLS", send: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\x00", 32) + "\r\n\r\n", want: []answer{unread(400)}, end: closed},
		{name: "hello of SSH", send: "SSH-2.0-OpenSSH_9.9\r\n\r\n", want: []answer{unread(400)}, end: closed},
		{name: "proxy protocol", send: "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + start + "\r\n", want: []answer{unread(400)}, end: closed},
		{name: "empty lines first", send: "\r\n\r\n" + start + "\r\n", want: []answer{unread(400)}, end: closed},
		{name: "bytes of no protocol", send: "\x00\xff\xfe\x80\r\n\r\n", want: []answer{unread(400)}, end: closed},
		{name: "connection names the key", send: call(ping, "Connection: X-API-Key"), want: []answer{{status: 200, form: rpcResult}}, end: kept},
	})
}
