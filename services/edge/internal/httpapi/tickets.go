package httpapi

import (
	"io"
	"net/http"

	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/audit"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/pkg/ticket"
	"codexgateway.dev/services/edge/internal/auth"
	"codexgateway.dev/services/edge/internal/call"
)

// errTicketRoute refuses a ticket where it opens nothing. It is not looked up:
// a ticket that was shown in the wrong place still works in the right one.
var errTicketRoute = errs.New(errs.Unauthenticated, "A ticket opens WebSockets and event streams only.")

// takesTickets reports whether a ticket opens the route. That which makes
// tickets is not among them: one that leaked must not live on in others.
func takesTickets(pattern string) bool { return pattern == routeSocket || pattern == routeEvents }

// ticketMisplaced reports whether a request shows a ticket to a route that takes
// none.
func ticketMisplaced(r *http.Request) bool {
	return !takesTickets(r.Pattern) && auth.ShowsTicket(r.Header)
}

// serveTicket is POST /v1/tickets.
func (a *api) serveTicket(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		a.failBody(w, r, err)
		return
	}
	if len(body) > 0 && !isJSON(r.Header) {
		a.refuse(w, r, http.StatusUnsupportedMediaType, errMediaType)
		return
	}
	p, err := bodyParams[apiv1.TicketParams](body)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	ctx := r.Context()
	made, err := a.Tickets.Issue(ctx, &call.From(ctx).Principal, scopes(p.Scopes))
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.Methods.Audit.Tell(ctx, call.Audit(ctx, audit.TicketCreate, "", nil))
	a.respondJSON(w, r, http.StatusCreated, apiv1.Ticket{
		Ticket: made.Value.Reveal(), ExpiresAt: made.ExpiresAt.UTC().Format(eventlog.TimeFormat), ExpiresIn: int(ticket.Life.Seconds()),
	})
}

func scopes(names []string) []apikey.Scope {
	out := make([]apikey.Scope, len(names))
	for i, s := range names {
		out[i] = apikey.Scope(s)
	}
	return out
}
