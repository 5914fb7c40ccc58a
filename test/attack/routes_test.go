package attack_test

import (
	"strings"

	"codexgateway.dev/pkg/errs"
)

// targets is about the target of a request: paths that mean another one to
// somebody else.
func targets() []attack {
	var table []exchange
	for _, row := range []struct {
		name, target string
		want         answer
	}{
		{"dot segments", "/v1/../health", refused(404, errs.NotFound)},
		{"encoded dots", "/v1/%2e%2e/health", refused(404, errs.NotFound)},
		{"encoded slash", "/v1%2fjobs%2f{DONE}%2fevents%2f..", refused(404, errs.NotFound)},
		{"dots encoded twice", "/v1/%252e%252e/health", refused(404, errs.NotFound)},
		{"backslashes", "/v1\\..\\health", refused(404, errs.NotFound)},
		{"encoded backslashes", "/v1%5c..%5chealth", refused(404, errs.NotFound)},
		{"two slashes", "//health", refused(404, errs.NotFound)},
		{"two slashes and a host", "//evil.example/health", refused(404, errs.NotFound)},
		{"two slashes inside", "/v1//jobs/{DONE}/events", refused(404, errs.NotFound)},
		{"slash at the end", "/health/", refused(404, errs.NotFound)},
		{"upper case", "/HEALTH", refused(404, errs.NotFound)},
		{"NUL", "/health%00", refused(404, errs.NotFound)},
		{"line break", "/health%0d%0aX-Evil:%20" + canary, refused(404, errs.NotFound)},
		{"semicolon", "/health;a=b", refused(404, errs.NotFound)},
		{"bad escape", "/health%zz", unread(400)},
		{"half an escape", "/health%2", unread(400)},
		{"fragment", "/health#x", refused(404, errs.NotFound)},
		{"characters that are not encoded", "/h\xc3\xa4lth", refused(404, errs.NotFound)},
		{"bytes that are no UTF-8", "/%ff%fe", refused(404, errs.NotFound)},
		{"long UTF-8 of a slash", "/v1%c0%af..%c0%afhealth", refused(404, errs.NotFound)},
		{"file of the host", "/../../../../etc/passwd", refused(404, errs.NotFound)},
		{"file of the host, encoded", "/%2e%2e/%2e%2e/%2e%2e/etc/passwd", refused(404, errs.NotFound)},
		{"absolute form", "http://gw.example/health", is(200)},
		{"absolute form of another host", "http://evil.example/health", is(200)},
		{"absolute form of another scheme", "file:///etc/passwd", refused(404, errs.NotFound)},
		{"authority form", "gw.example:443", refused(404, errs.NotFound)},
		{"asterisk", "*", refused(404, errs.NotFound)},
		{"no target", "", unread(400)},
		{"two targets", "/health /jsonrpc", unread(400)},
		{"internal routes: metrics", "/metrics", refused(404, errs.NotFound)},
		{"internal routes: profiles", "/debug/pprof/", refused(404, errs.NotFound)},
		{"internal routes: pushes", "/push/job-commands", refused(404, errs.NotFound)},
		{"job with a path for an id", "/v1/jobs/..%2f..%2fhealth/events", refused(404, errs.NotFound)},
		{"job with NUL", "/v1/jobs/{DONE}%00/events", refused(404, errs.NotFound)},
		{"job of no UTF-8", "/v1/jobs/%ff/events", refused(404, errs.NotFound)},
		{"job in upper case", "/v1/jobs/JOB_X/events", refused(404, errs.NotFound)},
		{"job with a long id", "/v1/jobs/" + strings.Repeat("a", 8000) + "/events", refused(404, errs.NotFound)},
		{"job of another tenant", "/v1/jobs/{FOREIGN}/events", refused(404, errs.NotFound)},
		{"artifact outside", "/v1/jobs/{DONE}/artifacts/..%2f..%2fgateway.db", refused(404, errs.NotFound)},
		{"artifact of dots", "/v1/jobs/{DONE}/artifacts/..", refused(404, errs.NotFound)},
		{"artifact of encoded dots", "/v1/jobs/{DONE}/artifacts/%2e%2e", refused(404, errs.NotFound)},
		{"artifact with an absolute path", "/v1/jobs/{DONE}/artifacts/%2fetc%2fpasswd", refused(404, errs.NotFound)},
		{"artifact with NUL", "/v1/jobs/{DONE}/artifacts/diff.patch%00.txt", refused(404, errs.NotFound)},
		{"artifact with backslashes", "/v1/jobs/{DONE}/artifacts/..%5c..%5cgateway.db", refused(404, errs.NotFound)},
		{"artifact without a name", "/v1/jobs/{DONE}/artifacts/", refused(404, errs.NotFound)},
		{"artifact of another tenant", "/v1/jobs/{FOREIGN}/artifacts/diff.patch", refused(404, errs.NotFound)},
	} {
		end := kept
		if row.want.form == bare {
			end = closed
		}
		table = append(table, exchange{name: row.name, send: request("GET " + row.target), want: []answer{row.want}, end: end})
	}
	return exchanges(table)
}

// methods is about methods that a route has not.
func methods() []attack {
	head := func(a answer) answer { a.to = "HEAD"; return a }
	none := func(allow string) answer { return refused(405, errs.InvalidRequest).with("Allow", allow) }
	return exchanges([]exchange{
		{name: "TRACE", send: request("TRACE /health", "X-Secret: "+canary), want: []answer{none("GET, HEAD")}, end: kept},
		{name: "TRACK", send: request("TRACK /health", "X-Secret: "+canary), want: []answer{none("GET, HEAD")}, end: kept},
		{name: "CONNECT", send: "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n", want: []answer{refused(404, errs.NotFound)}, end: either},
		{name: "CONNECT to a route", send: request("CONNECT /jsonrpc"), want: []answer{none("POST")}, end: either},
		{name: "OPTIONS of the server", send: "OPTIONS * HTTP/1.1\r\nHost: gw.example\r\n\r\n", want: []answer{unread(200)}, end: kept},
		{name: "lower case", send: request("get /health"), want: []answer{none("GET, HEAD")}, end: kept},
		{name: "no method there is", send: request("BREW /health"), want: []answer{none("GET, HEAD")}, end: kept},
		{name: "method of no token", send: request("G<T /health"), want: []answer{unread(400)}, end: closed},
		{name: "no method", send: request(" /health"), want: []answer{unread(400)}, end: closed},
		{name: "long method", send: request(strings.Repeat("A", 10000) + " /health"), want: []answer{none("GET, HEAD")}, end: kept},
		{name: "DELETE of a job's events", send: request("DELETE /v1/jobs/{DONE}/events"), want: []answer{none("GET")}, end: kept},
		{name: "HEAD of a stream", send: request("HEAD /v1/jobs/{QUEUED}/events", "Accept: text/event-stream"), want: []answer{head(none("GET"))}, end: kept},
		{name: "HEAD of an artifact", send: request("HEAD /v1/jobs/{DONE}/artifacts/diff.patch"), want: []answer{head(none("GET"))}, end: kept},
		{name: "HEAD of JSON-RPC", send: request("HEAD /jsonrpc"), want: []answer{head(none("POST"))}, end: kept},
		{name: "HEAD of health", send: request("HEAD /health"), want: []answer{head(is(200))}, end: kept},
		{name: "GET of JSON-RPC", send: request("GET /jsonrpc?method=system.ping"), want: []answer{none("POST")}, end: kept},
		{name: "PUT of JSON-RPC", send: request("PUT /jsonrpc", "Content-Length: 2") + "{}", want: []answer{none("POST")}, end: kept},
		{name: "POST of the WebSocket", send: request("POST /ws", "Connection: Upgrade", "Upgrade: websocket", "Content-Length: 0"), want: []answer{none("GET")}, end: kept},
		{name: "another method in a header", send: request("POST /v1/jobs/{DONE}/events", "X-HTTP-Method-Override: GET", "Content-Length: 0"), want: []answer{none("GET")}, end: kept},
	})
}

// keys is about who asks.
func keys() []attack {
	anonymous := func(more ...string) string {
		return "POST /jsonrpc HTTP/1.1\r\nHost: gw.example\r\nContent-Type: application/json\r\nContent-Length: 47\r\n" + lines(more) + ping
	}
	no := failed(401, errs.Unauthenticated).with("WWW-Authenticate", `Bearer realm="codexgateway"`)
	yes := answer{status: 200, form: rpcResult}
	return exchanges([]exchange{
		{name: "no key", send: anonymous(), want: []answer{no}, end: kept},
		{name: "empty key", send: anonymous("X-API-Key: "), want: []answer{no}, end: kept},
		{name: "empty bearer", send: anonymous("Authorization: Bearer "), want: []answer{no}, end: kept},
		{name: "scheme alone", send: anonymous("Authorization: Bearer"), want: []answer{no}, end: kept},
		{name: "wrong key", send: anonymous("X-API-Key: " + canary), want: []answer{no}, end: kept},
		{name: "key and one byte more", send: anonymous("X-API-Key: {KEY}x"), want: []answer{no}, end: kept},
		{name: "key in upper case", send: anonymous("X-API-Key: " + strings.ToUpper(adminKey)), want: []answer{no}, end: kept},
		{name: "long key", send: anonymous("X-API-Key: " + strings.Repeat("a", 50<<10)), want: []answer{no}, end: kept},
		{name: "key of no ASCII", send: anonymous("X-API-Key: \xff\xfe" + canary), want: []answer{no}, end: kept},
		{name: "two keys", send: anonymous("X-API-Key: {KEY}", "X-API-Key: other"), want: []answer{no}, end: kept},
		{name: "two keys, the good one last", send: anonymous("X-API-Key: other", "X-API-Key: {KEY}"), want: []answer{no}, end: kept},
		{name: "another key as bearer", send: anonymous("X-API-Key: {KEY}", "Authorization: Bearer other"), want: []answer{no}, end: kept},
		{name: "keys with a comma", send: anonymous("X-API-Key: {KEY}, {KEY}"), want: []answer{no}, end: kept},
		{name: "basic", send: anonymous("Authorization: Basic YWRtaW46YWRtaW4="), want: []answer{no}, end: kept},
		{name: "digest", send: anonymous(`Authorization: Digest username="admin"`), want: []answer{no}, end: kept},
		{name: "basic beside a good key", send: anonymous("X-API-Key: {KEY}", "Authorization: Basic YWRtaW46YWRtaW4="), want: []answer{no}, end: kept},
		{name: "key in the URL", send: strings.Replace(anonymous(), "/jsonrpc", "/jsonrpc?api_key={KEY}&key={KEY}&access_token={KEY}", 1), want: []answer{no}, end: kept},
		{name: "key in the user info", send: strings.Replace(anonymous(), "/jsonrpc", "http://admin:{KEY}@gw.example/jsonrpc", 1), want: []answer{no}, end: kept},
		{name: "key in a cookie", send: anonymous("Cookie: X-API-Key={KEY}"), want: []answer{no}, end: kept},
		{name: "key in another header", send: anonymous("X-Api_Key: {KEY}", "X_API_KEY: {KEY}", "Api-Key: {KEY}"), want: []answer{no}, end: kept},
		{name: "key for a proxy", send: anonymous("Proxy-Authorization: Bearer {KEY}"), want: []answer{no}, end: kept},
		{name: "claims of a proxy", send: anonymous("X-Forwarded-For: 127.0.0.1", "X-Forwarded-User: admin", "X-Goog-Authenticated-User-Email: admin"), want: []answer{no}, end: kept},
		{name: "ticket there is not", send: anonymous("Authorization: Ticket " + canary), want: []answer{no}, end: kept},
		{name: "ticket of many bytes", send: anonymous("Authorization: Ticket " + strings.Repeat("a", 50<<10)), want: []answer{no}, end: kept},
		{name: "the key as a ticket", send: anonymous("Authorization: Ticket {KEY}"), want: []answer{no}, end: kept},
		{name: "ticket beside the key", send: anonymous("X-API-Key: {KEY}", "Authorization: Ticket "+canary), want: []answer{no}, end: kept},
		{name: "token without a signature", send: anonymous("Authorization: Bearer eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2V2aWwuZXhhbXBsZSIsImF1ZCI6ImdhdGV3YXkifQ."), want: []answer{no}, end: kept},
		{name: "token of dots", send: anonymous("Authorization: Bearer " + strings.Repeat(".", 10_000)), want: []answer{no}, end: kept},
		{name: "ticket in the protocols of a socket", send: strings.Replace(upgrade("Sec-WebSocket-Protocol: codexgw.v1, codexgw.ticket."+canary), "X-API-Key: {KEY}\r\n", "", 1), want: []answer{refused(401, errs.Unauthenticated)}, end: kept},
		{name: "key in the protocols of a socket", send: strings.Replace(upgrade("Sec-WebSocket-Protocol: codexgw.v1, codexgw.ticket.{KEY}"), "X-API-Key: {KEY}\r\n", "", 1), want: []answer{refused(401, errs.Unauthenticated)}, end: kept},
		{name: "call from another page", send: call(ping, "Origin: https://evil.example"), want: []answer{yes.with("Access-Control-Allow-Origin", "").with("Access-Control-Allow-Credentials", "")}, end: kept},
		{name: "question of another page", send: "OPTIONS /jsonrpc HTTP/1.1\r\nHost: gw.example\r\nOrigin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x-api-key\r\n\r\n", want: []answer{refused(403, errs.PermissionDenied).with("Access-Control-Allow-Origin", "")}, end: kept},
		{name: "question of a friend", send: "OPTIONS /jsonrpc HTTP/1.1\r\nHost: gw.example\r\nOrigin: https://a.friend.example\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x-api-key\r\n\r\n", want: []answer{is(204).with("Access-Control-Allow-Origin", "https://a.friend.example").with("Access-Control-Allow-Credentials", "")}, end: kept},
		{name: "scheme in lower case", send: anonymous("Authorization: bearer {KEY}"), want: []answer{yes}, end: kept},
		{name: "the same key twice", send: anonymous("X-API-Key: {KEY}", "Authorization: Bearer {KEY}"), want: []answer{yes}, end: kept},
		{name: "events without a key", send: "GET /v1/jobs/{DONE}/events HTTP/1.1\r\nHost: gw.example\r\n\r\n", want: []answer{refused(401, errs.Unauthenticated)}, end: kept},
		{name: "artifact without a key", send: "GET /v1/jobs/{DONE}/artifacts/diff.patch HTTP/1.1\r\nHost: gw.example\r\n\r\n", want: []answer{refused(401, errs.Unauthenticated)}, end: kept},
		{name: "socket without a key", send: "GET /ws HTTP/1.1\r\nHost: gw.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", want: []answer{refused(401, errs.Unauthenticated)}, end: kept},
		{name: "body too large without a key", send: "POST /jsonrpc HTTP/1.1\r\nHost: gw.example\r\nContent-Type: application/json\r\nContent-Length: 9000000\r\n\r\n", want: []answer{failed(413, errs.PayloadTooLarge)}, end: closed},
	})
}

// media is about what a body claims to be.
func media() []attack {
	no := refused(415, errs.InvalidRequest).with("Accept", "application/json")
	yes := answer{status: 200, form: rpcResult}
	as := func(headers ...string) string {
		return request("POST /jsonrpc", append(headers, "Content-Length: 47")...) + ping
	}
	return exchanges([]exchange{
		{name: "no type", send: as(), want: []answer{no}, end: kept},
		{name: "form", send: as("Content-Type: application/x-www-form-urlencoded"), want: []answer{no}, end: kept},
		{name: "multipart", send: as("Content-Type: multipart/form-data; boundary=x"), want: []answer{no}, end: kept},
		{name: "text, as a page may send without asking", send: as("Content-Type: text/plain"), want: []answer{no}, end: kept},
		{name: "XML", send: as("Content-Type: application/xml"), want: []answer{no}, end: kept},
		{name: "something that ends in json", send: as("Content-Type: application/evil+json"), want: []answer{no}, end: kept},
		{name: "two types in one", send: as("Content-Type: application/json, text/plain"), want: []answer{no}, end: kept},
		{name: "two types", send: as("Content-Type: application/json", "Content-Type: text/plain"), want: []answer{no}, end: kept},
		{name: "latin1", send: as("Content-Type: application/json; charset=iso-8859-1"), want: []answer{no}, end: kept},
		{name: "UTF-16", send: as("Content-Type: application/json; charset=utf-16"), want: []answer{no}, end: kept},
		{name: "UTF-7", send: as("Content-Type: application/json; charset=utf-7"), want: []answer{no}, end: kept},
		{name: "two charsets", send: as("Content-Type: application/json; charset=utf-8; charset=utf-7"), want: []answer{no}, end: kept},
		{name: "type that does not end", send: as("Content-Type: application/json; charset=\"utf-8"), want: []answer{no}, end: kept},
		{name: "type with a thousand parameters", send: as("Content-Type: application/json" + strings.Repeat("; a=b", 1000)), want: []answer{yes}, end: kept},
		{name: "gzip", send: as("Content-Type: application/json", "Content-Encoding: gzip"), want: []answer{no}, end: kept},
		{name: "brotli", send: as("Content-Type: application/json", "Content-Encoding: br"), want: []answer{no}, end: kept},
		{name: "zstd", send: as("Content-Type: application/json", "Content-Encoding: zstd"), want: []answer{no}, end: kept},
		{name: "deflate in capitals", send: as("Content-Type: application/json", "Content-Encoding: DEFLATE"), want: []answer{no}, end: kept},
		{name: "codings on each other", send: as("Content-Type: application/json", "Content-Encoding: gzip, gzip, gzip, gzip"), want: []answer{no}, end: kept},
		{name: "two codings", send: as("Content-Type: application/json", "Content-Encoding: identity", "Content-Encoding: gzip"), want: []answer{no}, end: kept},
		{name: "a bomb", send: request("POST /jsonrpc", "Content-Type: application/json", "Content-Encoding: gzip", "Content-Length: "+bombLength) + bomb, want: []answer{no}, end: kept},
		{name: "identity", send: as("Content-Type: application/json", "Content-Encoding: identity"), want: []answer{yes}, end: kept},
		{name: "UTF-8 in capitals", send: as("Content-Type: APPLICATION/JSON; CHARSET=UTF-8"), want: []answer{yes}, end: kept},
		{name: "answers that are compressed in ways there are not", send: call(ping, "Accept-Encoding: "+strings.Repeat("gzip;q=0.1,", 500)+"*;q=0"), want: []answer{yes}, end: kept},
		{name: "accepts nothing", send: call(ping, "Accept: "), want: []answer{yes}, end: kept},
	})
}
