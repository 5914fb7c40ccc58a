package attempts

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Proxies are the networks whose word is taken for where a request comes from.
type Proxies []netip.Prefix

// ParseProxies reads networks in CIDR form, or addresses.
func ParseProxies(list []string) (Proxies, error) {
	var out Proxies
	for _, s := range list {
		s = strings.TrimSpace(s)
		p, err := netip.ParsePrefix(s)
		if a, bad := netip.ParseAddr(s); bad == nil {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("%q is no network: write it as 10.0.0.0/8", s)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

func (p Proxies) trusts(a netip.Addr) bool {
	for _, network := range p {
		if network.Contains(a) {
			return true
		}
	}
	return false
}

// Client is the address a request comes from: the peer's, and if that is a
// trusted proxy the last one in X-Forwarded-For that is none. What stands before
// it is the client's own word.
func (p Proxies) Client(r *http.Request) netip.Addr {
	peer, _ := netip.ParseAddrPort(r.RemoteAddr)
	at := peer.Addr().Unmap().WithZone("")
	if !p.trusts(at) {
		return at
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, s := range slices.Backward(hops) {
		hop, err := netip.ParseAddr(strings.TrimSpace(s))
		if err != nil {
			return at
		}
		if at = hop.Unmap().WithZone(""); !p.trusts(at) {
			return at
		}
	}
	return at
}
