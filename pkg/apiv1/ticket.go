package apiv1

// TicketParams are the body of POST /v1/tickets; it may be left out.
type TicketParams struct {
	// Scopes are what the ticket may do, some of what its key may; none: all of
	// that.
	Scopes []string `json:"scopes,omitempty"`
}

// Ticket opens one WebSocket or event stream, shown as the subprotocol
// "codexgw.ticket.<ticket>" beside "codexgw.v1", or as Authorization: Ticket.
type Ticket struct {
	Ticket string `json:"ticket"`
	// ExpiresAt is when it stops to work, RFC 3339; ExpiresIn is in seconds.
	ExpiresAt string `json:"expires_at"`
	ExpiresIn int    `json:"expires_in"`
}
