package errs

// CloseCode is a WebSocket close code. The range is an instruction: 4000 to
// 4499 reconnect and resume, 4500 to 4999 stop.
type CloseCode int

// Close codes of the gateway's WebSocket.
const (
	CloseDraining     CloseCode = 4301
	CloseSlowConsumer CloseCode = 4308
	CloseStoreLost    CloseCode = 4310
	CloseKeyRevoked   CloseCode = 4501
	CloseProtocol     CloseCode = 4502
)

// CloseRow is one registered close code.
type CloseRow struct {
	Code CloseCode
	// Name is its snake_case name, stable for ever.
	Name string
	// Meaning says why the gateway closed, Help what the client does then.
	Meaning, Help string
}

// CloseRegistry is every close code that is the gateway's own. Rows are only
// added.
var CloseRegistry = []CloseRow{
	{CloseDraining, "draining", "The instance goes away; what was called is answered.", "Reconnect after retry_after_ms of the reason, and subscribe after the last seq."},
	{CloseSlowConsumer, "slow_consumer", "The client read too slowly, and too much was waiting for it.", "Reconnect and subscribe after the last seq; last_seq of the reason has it for each subscription, as far as there is room."},
	{CloseStoreLost, "store_lost", "The log of a subscribed job cannot be read for the moment.", "Reconnect after a pause, and subscribe after the last seq."},
	{CloseKeyRevoked, "key_revoked", "The key, the ticket's key or the token has ended: revoked, rotated or expired.", "Do not come back with it: it is refused. Use another one."},
	{CloseProtocol, "protocol_error", "The client sent a binary frame.", "Do not come back before the client is corrected: send JSON in text frames."},
}
