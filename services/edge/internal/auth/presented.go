package auth

import (
	"net/http"
	"strings"

	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/secret"
)

// Headers that carry a credential.
const (
	HeaderAPIKey        = "X-API-Key" //nolint:gosec // the name of a header
	HeaderAuthorization = "Authorization"
	headerProtocol      = "Sec-WebSocket-Protocol"
)

const (
	// protocol is what a client that shows a ticket as a subprotocol must offer
	// besides: it is what the server selects. The ticket is never sent back.
	protocol = "codexgw.v1"
	// protocolTicket begins the subprotocol that is a ticket.
	protocolTicket = "codexgw.ticket."
	// maxProtocols is how many a client may offer.
	maxProtocols = 10
)

// ShowsTicket reports whether a request carries a ticket, of whatever worth.
func ShowsTicket(h http.Header) bool {
	for _, v := range h.Values(HeaderAuthorization) {
		if scheme, _, _ := strings.Cut(v, " "); strings.EqualFold(scheme, string(Ticket)) {
			return true
		}
	}
	for _, v := range h.Values(headerProtocol) {
		if strings.Contains(v, protocolTicket) {
			return true
		}
	}
	return false
}

// presented returns the one credential of a request. Two different ones are
// refused: which of them a proxy in front checked cannot be known.
func presented(h http.Header) (Credential, error) {
	var keys, tickets []string
	keys = append(keys, h.Values(HeaderAPIKey)...)
	for _, v := range h.Values(HeaderAuthorization) {
		scheme, token, ok := strings.Cut(v, " ")
		switch token = strings.TrimSpace(token); {
		case ok && strings.EqualFold(scheme, string(Bearer)):
			keys = append(keys, token)
		case ok && strings.EqualFold(scheme, string(Ticket)):
			tickets = append(tickets, token)
		default:
			return Credential{}, errs.New(errs.Unauthenticated, "The Authorization header must be Bearer and the key, or Ticket and a ticket.")
		}
	}
	offered, err := offeredTickets(h)
	if err != nil {
		return Credential{}, err
	}
	tickets = append(tickets, offered...)
	switch {
	case len(tickets) == 0:
		return theOne(Bearer, keys)
	case len(keys) > 0:
		return Credential{}, errs.New(errs.Unauthenticated, "The request carries a key and a ticket.")
	case len(tickets) > 1:
		return Credential{}, errs.New(errs.Unauthenticated, "The request carries two tickets.")
	default:
		return theOne(Ticket, tickets)
	}
}

// theOne is the credential that was shown, once or more often.
func theOne(scheme Scheme, shown []string) (Credential, error) {
	if len(shown) == 0 || shown[0] == "" {
		return Credential{}, errs.New(errs.Unauthenticated, "")
	}
	for _, s := range shown[1:] {
		if s != shown[0] {
			return Credential{}, errs.New(errs.Unauthenticated, "The request carries two different keys.")
		}
	}
	return Credential{Scheme: scheme, Token: secret.NewValue(shown[0])}, nil
}

// offeredTickets are the tickets among the subprotocols that a client offers. A
// list that is not well formed is refused where a ticket may be in it: what one
// parser takes for a name another may take for two.
func offeredTickets(h http.Header) ([]string, error) {
	values := h.Values(headerProtocol)
	if len(values) == 0 || !strings.Contains(strings.Join(values, ","), protocolTicket) {
		return nil, nil
	}
	bad := errs.New(errs.Unauthenticated, "Sec-WebSocket-Protocol must be "+protocol+" and "+protocolTicket+" with the ticket.")
	offers := strings.Split(strings.Join(values, ","), ",")
	if len(offers) > maxProtocols {
		return nil, bad
	}
	var tickets []string
	spoken := false
	for _, o := range offers {
		o = strings.Trim(o, " \t")
		if !isToken(o) {
			return nil, bad
		}
		spoken = spoken || o == protocol
		if t, ok := strings.CutPrefix(o, protocolTicket); ok {
			tickets = append(tickets, t)
		}
	}
	if !spoken || len(tickets) == 0 {
		return nil, bad
	}
	return tickets, nil
}

// isToken reports whether s is a token of RFC 9110, section 5.6.2.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}
