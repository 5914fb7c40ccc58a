package auth_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/services/edge/internal/auth"
)

// shown is a method that tells what it was shown.
type shown struct{ got *auth.Credential }

func (s shown) Identify(_ context.Context, c auth.Credential) (auth.Principal, error) {
	*s.got = c
	return auth.Principal{}, nil
}

func TestASubprotocolMayBeATicket(t *testing.T) {
	t.Parallel()
	many := "codexgw.v1, codexgw.ticket.T" + strings.Repeat(", x", 9)
	for _, tc := range []struct {
		name   string
		header http.Header
		scheme auth.Scheme // empty: refused
		token  string
	}{
		{"as browsers send it", http.Header{"Sec-Websocket-Protocol": {"codexgw.v1, codexgw.ticket.T"}}, auth.Ticket, "T"},
		{"in the other order, without space", http.Header{"Sec-Websocket-Protocol": {"codexgw.ticket.T,codexgw.v1"}}, auth.Ticket, "T"},
		{"in two lines", http.Header{"Sec-Websocket-Protocol": {"codexgw.v1", "codexgw.ticket.T"}}, auth.Ticket, "T"},
		{"beside another protocol", http.Header{"Sec-Websocket-Protocol": {"codexgw.v1, codexgw.ticket.T, other"}}, auth.Ticket, "T"},
		{"a header of its own", http.Header{"Authorization": {"ticket T"}}, auth.Ticket, "T"},
		{"a key beside a plain protocol", http.Header{"Sec-Websocket-Protocol": {"codexgw.v1"}, "X-Api-Key": {"K"}}, auth.Bearer, "K"},
		{"a plain protocol alone", http.Header{"Sec-Websocket-Protocol": {"codexgw.v1"}}, "", ""},
		{"without the protocol to select", http.Header{"Sec-Websocket-Protocol": {"codexgw.ticket.T"}}, "", ""},
		{"an empty ticket", http.Header{"Sec-Websocket-Protocol": {"codexgw.v1, codexgw.ticket."}}, "", ""},
		{"two tickets", http.Header{"Sec-Websocket-Protocol": {"codexgw.v1, codexgw.ticket.T, codexgw.ticket.U"}}, "", ""},
		{"the same twice", http.Header{"Sec-Websocket-Protocol": {"codexgw.v1, codexgw.ticket.T, codexgw.ticket.T"}}, "", ""},
		{"an empty member", http.Header{"Sec-Websocket-Protocol": {"codexgw.v1,, codexgw.ticket.T"}}, "", ""},
		{"a space within", http.Header{"Sec-Websocket-Protocol": {"codexgw.v1 codexgw.ticket.T"}}, "", ""},
		{"quoted", http.Header{"Sec-Websocket-Protocol": {`codexgw.v1, "codexgw.ticket.T"`}}, "", ""},
		{"in the middle of a name", http.Header{"Sec-Websocket-Protocol": {"codexgw.v1, xcodexgw.ticket.T"}}, "", ""},
		{"too many", http.Header{"Sec-Websocket-Protocol": {many}}, "", ""},
		{"a ticket and a key", http.Header{"Sec-Websocket-Protocol": {"codexgw.v1, codexgw.ticket.T"}, "Authorization": {"Bearer K"}}, "", ""},
		{"a ticket in both places", http.Header{"Sec-Websocket-Protocol": {"codexgw.v1, codexgw.ticket.T"}, "Authorization": {"Ticket T"}}, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := &http.Request{Header: tc.header}
			var got auth.Credential
			_, err := auth.Chain{shown{&got}}.Authenticate(t.Context(), r)
			if tc.scheme == "" {
				if errs.CodeOf(err) != errs.Unauthenticated || err == nil {
					t.Errorf("%v, %v, want unauthenticated", got.Scheme, err)
				}
				return
			}
			if err != nil || got.Scheme != tc.scheme || got.Token.Reveal() != tc.token {
				t.Errorf("%s %q, %v; want %s %q", got.Scheme, got.Token.Reveal(), err, tc.scheme, tc.token)
			}
			if want := tc.scheme == auth.Ticket; auth.ShowsTicket(tc.header) != want {
				t.Errorf("shows a ticket: %t", !want)
			}
		})
	}
}

// FuzzPresented: whatever a client sends as headers, a credential is found whole
// in one of them or refused, and what is taken for a ticket is known for one.
func FuzzPresented(f *testing.F) {
	f.Add("", "", "codexgw.v1, codexgw.ticket.T")
	f.Add("K", "Bearer K", "")
	f.Add("", "Ticket T", "a,b")
	f.Fuzz(func(t *testing.T, key, authorization, protocol string) {
		h := http.Header{}
		for name, v := range map[string]string{"X-Api-Key": key, "Authorization": authorization, "Sec-Websocket-Protocol": protocol} {
			if v != "" {
				h.Set(name, v)
			}
		}
		var got auth.Credential
		if _, err := (auth.Chain{shown{&got}}).Authenticate(t.Context(), &http.Request{Header: h}); err != nil {
			return
		}
		token := got.Token.Reveal()
		if token == "" || !strings.Contains(key+"\n"+authorization+"\n"+protocol, token) {
			t.Errorf("found %q", token)
		}
		if got.Scheme == auth.Ticket && (!auth.ShowsTicket(h) || key != "") {
			t.Errorf("the ticket %q is not known for one", token)
		}
	})
}
