package broker

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// statusOverloaded is the non-standard "site is overloaded" of some model APIs.
const statusOverloaded = 529

// retryableStatus reports whether an answer may change when asked again.
func retryableStatus(status int, body []byte) bool {
	switch status {
	case http.StatusTooManyRequests:
		return !exhausted(body)
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable,
		http.StatusGatewayTimeout, statusOverloaded:
		return true
	default:
		return false
	}
}

// exhausted reports whether a 429 is about a plan or a budget that no backoff
// brings back.
func exhausted(body []byte) bool {
	var e struct {
		Error struct {
			Type string `json:"type"`
			Code any    `json:"code"` // a string, a number or null, depending on the server
		} `json:"error"`
	}
	if json.Unmarshal(body, &e) != nil {
		return false
	}
	code, _ := e.Error.Code.(string)
	for _, s := range []string{e.Error.Type, code} {
		if s == "usage_limit_reached" || s == "usage_not_included" || s == "insufficient_quota" {
			return true
		}
	}
	return false
}

// retryAfter reads how long the server asks to wait: retry-after-ms, or
// Retry-After in seconds or as a date. Nonsense is as good as nothing.
func retryAfter(h http.Header, now time.Time) (d time.Duration, ok bool) {
	if ms, err := strconv.ParseFloat(strings.TrimSpace(h.Get("Retry-After-Ms")), 64); err == nil && ms >= 0 {
		return seconds(ms / 1000), true
	}
	v := strings.TrimSpace(h.Get("Retry-After"))
	if s, err := strconv.ParseFloat(v, 64); err == nil && s >= 0 {
		return seconds(s), true
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(0, t.Sub(now)), true
	}
	return 0, false
}

// seconds converts without overflow; a century is as good as for ever.
func seconds(s float64) time.Duration {
	const most = 100 * 365 * 24 * 3600
	if math.IsNaN(s) {
		return 0
	}
	return time.Duration(min(s, most) * float64(time.Second))
}

// backoff is the wait after the n-th failure (from 1): full jitter below a
// doubling bound.
func (r Retry) backoff(n int, rnd float64) time.Duration {
	bound := r.MaxBackoff
	if n < 32 && r.Base<<(n-1)>>(n-1) == r.Base {
		bound = min(bound, r.Base<<(n-1))
	}
	return time.Duration(rnd * float64(bound))
}

// spend takes the next wait out of the session's retry budget. It reports false
// when the budget does not allow another attempt.
func (s *Session) spend(r Retry, asked time.Duration, hasAsked bool, rnd float64) (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failures+1 >= r.MaxAttempts {
		return 0, false
	}
	wait := r.backoff(s.failures+1, rnd)
	if hasAsked {
		// Spread what many jobs were told at once.
		wait = asked + time.Duration(rnd*float64(r.Base))
	}
	if s.waited+wait > r.MaxWait {
		s.failures = r.MaxAttempts // spent: a shorter wait must not start the run anew
		return 0, false
	}
	s.failures++
	s.waited += wait
	return wait, true
}
