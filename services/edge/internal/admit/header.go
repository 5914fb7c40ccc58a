package admit

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/ratelimit"
	"codexgateway.dev/services/edge/internal/call"
)

// Headers of draft-ietf-httpapi-ratelimit-headers, structured fields, spelt as
// [http.Header] keeps them.
const (
	headerPolicy = "Ratelimit-Policy"
	headerLimit  = "Ratelimit"
)

// Tell writes what the key may do, and what it has left, into the header of an
// answer.
func (g *Gate) Tell(h http.Header, info *call.Info) {
	if policy := g.policy(info); policy != nil {
		h[headerPolicy] = policy
	}
	if q := info.Quota; q.Limit > 0 {
		b := append(make([]byte, 0, 48), `"`+PolicyRate+`";r=`...)
		b = strconv.AppendInt(b, int64(q.Left), 10)
		b = append(b, ";t="...)
		b = strconv.AppendInt(b, int64((q.Reset+time.Second-1)/time.Second), 10)
		h[headerLimit] = []string{string(b)}
	}
}

// Settle takes the time out of the header of an answer that says for another
// reason when to come back: Retry-After must not be earlier than it.
func Settle(h http.Header, e *errs.Error) {
	violated, _ := e.Data["violated_policies"].([]string)
	if len(violated) == 1 && violated[0] == PolicyRate {
		return
	}
	if left, _, timed := strings.Cut(h.Get(headerLimit), ";t="); timed {
		h.Set(headerLimit, left)
	}
}

// policy is what RateLimit-Policy says to a key. It is made once for the limits
// that most keys have, and must not be changed.
func (g *Gate) policy(info *call.Info) []string {
	admin, limit := info.Principal.Admin, info.Quota.Limit
	switch {
	case admin && limit == g.opt.AdminRate:
		return g.adminPolicy
	case !admin && limit == g.opt.Rate:
		return g.keyPolicy
	default:
		return g.opt.policy(limit, admin)
	}
}

// policy lists the limits of a key; nil: there are none. A bound on what is open at
// once is of the instance, and has no window.
func (o *Options) policy(limit int, admin bool) []string {
	var b []byte
	add := func(name string, quota int, more string) {
		if quota <= 0 {
			return
		}
		if len(b) > 0 {
			b = append(b, ", "...)
		}
		b = append(b, `"`+name+`";q=`...)
		b = strconv.AppendInt(b, int64(quota), 10)
		b = append(b, more...)
	}
	add(PolicyRate, limit, ";w="+strconv.Itoa(int(ratelimit.Window/time.Second)))
	if !admin {
		add(PolicyCalls, o.Calls, `;qu="concurrent-requests"`)
		add(PolicyStreams, o.Streams, `;qu="concurrent-requests"`)
	}
	if b == nil {
		return nil
	}
	return []string{string(b)}
}
