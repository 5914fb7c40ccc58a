package broker

import (
	"net/http"
	"strings"
)

// requestHeaders reach the model. Not among them on purpose: credentials and
// cookies, openai-organization and openai-project (whom to bill is the
// operator's choice, with the key), x-codex-turn-metadata (host paths).
var requestHeaders = []string{
	"Accept", "Content-Type", "Content-Encoding", "User-Agent", "Originator",
	"Session-Id", "Thread-Id", "X-Client-Request-Id", "Openai-Beta",
	"X-Codex-Beta-Features", "X-Codex-Window-Id", "X-Codex-Turn-State",
}

// responseHeaders reach Codex. Not among them on purpose: Retry-After (the
// budget for retries is the broker's), openai-organization and rate limits of
// the account, cookies.
var responseHeaders = []string{
	"Content-Type", "Content-Encoding", "Cache-Control", "X-Request-Id",
	"Openai-Model", "Openai-Processing-Ms", "Openai-Version", "X-Codex-Turn-State",
}

// pick copies the named headers, except those that Connection declares to be of
// one hop.
func pick(from http.Header, names []string) http.Header {
	hop := make(map[string]bool)
	for _, v := range from["Connection"] {
		for name := range strings.SplitSeq(v, ",") {
			hop[http.CanonicalHeaderKey(strings.TrimSpace(name))] = true
		}
	}
	to := make(http.Header, len(names))
	for _, n := range names {
		if v := from[n]; len(v) > 0 && !hop[n] {
			to[n] = v
		}
	}
	return to
}
