// Package origin decides which web pages may use the gateway: read its answers
// across origins (CORS) and open a WebSocket.
//
// It guarantees that an origin is compared as a whole, scheme, host and port, in
// the one form that browsers send; everything else, "null" above all, is no
// origin and is refused. The HTTP routes ask it.
package origin
