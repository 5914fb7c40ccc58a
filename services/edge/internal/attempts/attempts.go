package attempts

import (
	"hash/maphash"
	"net/http"
	"net/netip"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

const (
	// maxAddresses and maxGood are what is remembered; who was seen least recently
	// is forgotten.
	maxAddresses = 10_000
	maxGood      = 10_000
	// site is the part of an IPv6 address that one site has for itself.
	site = 64
)

// shown are the headers that carry credentials.
var shown = []string{"X-Api-Key", "Authorization", "Sec-Websocket-Protocol"} //nolint:gochecknoglobals // a constant

// Guard counts failures. It is safe for concurrent use.
type Guard struct {
	every     time.Duration
	burst     int
	now       func() time.Time
	seed      maphash.Seed
	addresses *lru.Cache[netip.Prefix, *rate.Limiter]
	good      *lru.Cache[uint64, struct{}]
}

// New returns a guard that lets an address fail so many times at once, and as
// often in a minute from then on; 0: as often as it likes.
func New(perMinute int, now func() time.Time) (*Guard, error) {
	g := &Guard{burst: perMinute, now: now, seed: maphash.MakeSeed()}
	if perMinute <= 0 {
		return g, nil
	}
	g.every = time.Minute / time.Duration(perMinute)
	var err error
	if g.addresses, err = lru.New[netip.Prefix, *rate.Limiter](maxAddresses); err != nil {
		return nil, err
	}
	g.good, err = lru.New[uint64, struct{}](maxGood)
	return g, err
}

// Over reports whether the request is to be refused as it is, and when its
// address may try again.
func (g *Guard) Over(from netip.Addr, h http.Header) (after time.Duration, over bool) {
	if g.off() {
		return 0, false
	}
	l, ok := g.addresses.Get(network(from))
	if !ok || l.TokensAt(g.now()) >= 1 || !presents(h) || g.good.Contains(g.print(h)) {
		return 0, false
	}
	return g.every, true
}

// Failed counts a failure. A request that shows no credential has guessed
// nothing and cost nothing: it does not count.
func (g *Guard) Failed(from netip.Addr, h http.Header) {
	if g.off() || !presents(h) {
		return
	}
	l := rate.NewLimiter(rate.Every(g.every), g.burst)
	if known, ok, _ := g.addresses.PeekOrAdd(network(from), l); ok {
		l = known
	}
	l.AllowN(g.now(), 1)
}

// Passed remembers a credential that was good.
func (g *Guard) Passed(h http.Header) {
	if !g.off() {
		g.good.ContainsOrAdd(g.print(h), struct{}{})
	}
}

// off reports whether nothing is counted; a Guard that is nil counts nothing.
func (g *Guard) off() bool { return g == nil || g.addresses == nil }

// presents reports whether a request shows a credential.
func presents(h http.Header) bool {
	if len(h[shown[0]]) > 0 || len(h[shown[1]]) > 0 {
		return true
	}
	for _, v := range h[shown[2]] { // a ticket is one of the protocols offered
		if strings.Contains(v, ".ticket.") {
			return true
		}
	}
	return false
}

// print is a fingerprint of what is shown, of no use outside of the process. Who
// finds one that is alike gets a look-up and no more.
func (g *Guard) print(h http.Header) uint64 {
	var sum maphash.Hash
	sum.SetSeed(g.seed)
	for _, name := range shown {
		for _, v := range h[name] {
			_, _ = sum.WriteString(v) // it never fails
		}
		_ = sum.WriteByte(0)
	}
	return sum.Sum64()
}

// network is what is counted as one address.
func network(a netip.Addr) netip.Prefix {
	bits := a.BitLen()
	if a.Is6() {
		bits = site
	}
	p, _ := a.Prefix(bits) // of an address that is none, the prefix that is none
	return p
}
