package methods

import (
	"strings"

	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/services/edge/internal/call"
)

const fieldIdempotencyKey = "/idempotency_key"

// idempotencyKey is the key of a submit, from the header or the params; empty:
// none.
func idempotencyKey(info *call.Info, param string) (string, error) {
	if len(info.IdempotencyKey) == 0 {
		return param, nil
	}
	header, ok := headerKey(info.IdempotencyKey)
	switch {
	case !ok:
		// A client that sends the header counts on it: it is not left out silently.
		return "", errs.Param(fieldIdempotencyKey, "The Idempotency-Key header must be one value: a quoted string, or bare without spaces and quotes.")
	case info.Batch:
		return "", errs.Param(fieldIdempotencyKey, "The Idempotency-Key header cannot name one call of a batch: give each its own idempotency_key.")
	case param != "" && param != header:
		return "", errs.Param(fieldIdempotencyKey, "The Idempotency-Key header says otherwise.")
	}
	if bad := idempotencyName(header); bad != "" {
		return "", errs.Param(fieldIdempotencyKey, bad)
	}
	return header, nil
}

// headerKey reads the header: its draft makes it a string of RFC 8941, most
// clients send it bare.
func headerKey(values []string) (string, bool) {
	if len(values) != 1 || values[0] == "" {
		return "", false
	}
	rest, quoted := strings.CutPrefix(values[0], `"`)
	if !quoted {
		return rest, !strings.ContainsFunc(rest, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' })
	}
	var key strings.Builder
	for i := 0; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == '"':
			return key.String(), i == len(rest)-1 && key.Len() > 0
		case c == '\\':
			if i++; i == len(rest) || rest[i] != '"' && rest[i] != '\\' {
				return "", false
			}
			key.WriteByte(rest[i])
		case c < ' ' || c > '~':
			return "", false
		default:
			key.WriteByte(c)
		}
	}
	return "", false
}
