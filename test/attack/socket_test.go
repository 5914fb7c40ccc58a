package attack_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"codexgateway.dev/pkg/errs"
)

// Opcodes of RFC 6455, section 11.8.
const (
	opMore   = 0x0
	opText   = 0x1
	opBinary = 0x2
	opClose  = 0x8
	opPing   = 0x9
	opPong   = 0xa
)

// Parts of a frame's first two bytes.
const (
	fin    = 0x80
	rsv1   = 0x40
	rsv2   = 0x20
	rsv3   = 0x10
	masked = 0x80
)

// frame is a frame of a client, masked with zeros.
func frame(first byte, payload string) string {
	return header(first, masked, uint64(filled(payload))) + "\x00\x00\x00\x00" + payload
}

// header is the beginning of a frame, up to its length.
func header(first, mask byte, length uint64) string {
	b := []byte{first}
	switch {
	case length < 126:
		b = append(b, mask|byte(length))
	case length <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, mask|126), uint16(length))
	default:
		b = binary.BigEndian.AppendUint64(append(b, mask|127), length)
	}
	return string(b)
}

func text(s string) string { return frame(fin|opText, s) }

// closing is a close frame.
func closing(code uint16, reason string) string {
	return frame(fin|opClose, string(binary.BigEndian.AppendUint16(nil, code))+reason)
}

// told is what the gateway is to send on a WebSocket.
type told struct {
	op byte
	// answer is that of a text frame.
	answer answer
	// payload is that of a pong; empty: any.
	payload string
	// code is that of a close frame; 0: it has none.
	code int
}

func answers(a answer) told     { return told{op: opText, answer: a} }
func pongs(payload string) told { return told{op: opPong, payload: payload} }
func closes(code int) told      { return told{op: opClose, code: code} }

// conversation is an attack over an open WebSocket.
type conversation struct {
	name string
	send string
	want []told
	// open is true when the connection serves on; otherwise the gateway ends it.
	open bool
}

// upgrade is the request for a WebSocket.
func upgrade(more ...string) string {
	return request("GET /ws", append([]string{
		"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
	}, more...)...)
}

// messages is about what is sent on an open WebSocket (RFC 6455, sections 5 to 8).
func messages() []attack {
	pong := answers(answer{form: rpcResult})
	refuses := func(code errs.Code) told { return answers(answer{form: rpcError, code: code}) }
	subscribe := `{"jsonrpc":"2.0","id":1,"method":"job.subscribe","params":{"job_id":"{QUEUED}"}}`
	const protocol, tooBig, encoding = 1002, 1009, 1007
	table := []conversation{
		{"unmasked", header(fin|opText, 0, 2) + "{}", nil, false},
		{"first reserved bit", frame(fin|rsv1|opText, ping), []told{closes(protocol)}, false},
		{"second reserved bit", frame(fin|rsv2|opText, ping), []told{closes(protocol)}, false},
		{"third reserved bit", frame(fin|rsv3|opText, ping), []told{closes(protocol)}, false},
		{"reserved opcode of data", frame(fin|0x3, "x"), []told{closes(protocol)}, false},
		{"reserved opcode of control", frame(fin|0xb, "x"), []told{closes(protocol)}, false},
		{"ping in fragments", frame(opPing, "x"), []told{closes(protocol)}, false},
		{"close in fragments", frame(opClose, ""), []told{closes(protocol)}, false},
		{"ping of 126 bytes", frame(fin|opPing, strings.Repeat("x", 126)), []told{closes(protocol)}, false},
		{"close of 126 bytes", frame(fin|opClose, "\x03\xe8"+strings.Repeat("x", 124)), []told{closes(protocol)}, false},
		{"continuation of nothing", frame(fin|opMore, "x"), []told{closes(protocol)}, false},
		{"message in a message", frame(opText, "{") + text(ping), []told{closes(protocol)}, false},
		{"length with the highest bit", string([]byte{fin | opText, masked | 127, 0xff, 0, 0, 0, 0, 0, 0, 1}) + "\x00\x00\x00\x00x", nil, false},
		{"message of 8 MiB and one byte", text(strings.Repeat(" ", 8<<20+1)), []told{closes(tooBig)}, false},
		{"message of an exabyte", header(fin|opText, masked, 1<<60) + "\x00\x00\x00\x00" + strings.Repeat(" ", 9<<20), []told{closes(tooBig)}, false},
		{"9 MiB in fragments", frame(opText, strings.Repeat(" ", 1<<20)) + strings.Repeat(frame(opMore, strings.Repeat(" ", 1<<20)), 8), []told{closes(tooBig)}, false},
		{"text that is no UTF-8", text("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}"), []told{closes(encoding)}, false},
		{"text with a surrogate", text("\xed\xa0\x80"), []told{closes(encoding)}, false},
		{"character cut by the end", text("\xe2\x82"), []told{closes(encoding)}, false},
		{"binary", frame(fin|opBinary, ping), []told{closes(int(errs.CloseProtocol))}, false},
		{"empty binary", frame(fin|opBinary, ""), []told{closes(int(errs.CloseProtocol))}, false},
		{"close", closing(1000, ""), []told{closes(1000)}, false},
		{"close and a reason", closing(4000, "bye"), []told{closes(4000)}, false},
		{"close without a code", frame(fin|opClose, ""), []told{closes(0)}, false},
		{"close of one byte", frame(fin|opClose, "\x03"), []told{closes(protocol)}, false},
		{"close with 999", closing(999, ""), []told{closes(protocol)}, false},
		{"close with 1004", closing(1004, ""), []told{closes(protocol)}, false},
		{"close with 1005", closing(1005, ""), []told{closes(protocol)}, false},
		{"close with 1006", closing(1006, ""), []told{closes(protocol)}, false},
		{"close with 1015", closing(1015, ""), []told{closes(protocol)}, false},
		{"close with 2999", closing(2999, ""), []told{closes(protocol)}, false},
		{"close with 5000", closing(5000, ""), []told{closes(protocol)}, false},
		{"close with 65535", closing(65535, ""), []told{closes(protocol)}, false},
		{"call after the close", closing(1000, "") + text(ping), []told{closes(1000)}, false},
		{"many calls after the close", closing(1000, "") + strings.Repeat(text(ping), 100), []told{closes(1000)}, false},
		{"HTTP", "GET /health HTTP/1.1\r\nHost: gw.example\r\n\r\n", []told{closes(protocol)}, false},

		{"ping", frame(fin|opPing, "abc"), []told{pongs("abc")}, true},
		{"ping in a message", frame(opText, ping[:10]) + frame(fin|opPing, "abc") + frame(fin|opMore, ping[10:]), []told{pongs("abc"), pong}, true},
		{"pong nobody asked for", frame(fin|opPong, "abc") + text(ping), []told{pong}, true},
		{"length longer than it need be", string([]byte{fin | opText, masked | 127, 0, 0, 0, 0, 0, 0, 0, byte(len(ping))}) + "\x00\x00\x00\x00" + ping, []told{pong}, true},
		{"one byte a fragment", fragments(ping), []told{pong}, true},
		{"ten thousand empty fragments", frame(opText, "") + strings.Repeat(frame(opMore, ""), 10_000) + frame(fin|opMore, ping), []told{pong}, true},
		{"character cut by a fragment", frame(opText, `{"jsonrpc":"2.0","id":"`+"\xe2\x82") + frame(fin|opMore, "\xac"+`","method":"system.ping"}`), []told{pong}, true},
		{"empty text", text(""), []told{refuses(errs.ParseError)}, true},
		{"no JSON", text("{"), []told{refuses(errs.ParseError)}, true},
		{"NUL", text("\x00"), []told{refuses(errs.ParseError)}, true},
		{"batch of 51", text("[" + strings.Repeat(ping+",", 50) + ping + "]"), []told{refuses(errs.InvalidRequest)}, true},
		{"a hundred thousand brackets", text(strings.Repeat("[", 100_000)), []told{refuses(errs.ParseError)}, true},
		{"method there is not", text(`{"jsonrpc":"2.0","id":1,"method":"no.such"}`), []told{refuses(errs.MethodNotFound)}, true},
		{"answer of nobody", text(`{"jsonrpc":"2.0","id":1,"result":{}}`), []told{refuses(errs.InvalidRequest)}, true},
		{"subscribe to no job", text(`{"jsonrpc":"2.0","id":1,"method":"job.subscribe","params":{"job_id":"job_x"}}`), []told{refuses(errs.NotFound)}, true},
		{"subscribe to another tenant's job", text(`{"jsonrpc":"2.0","id":1,"method":"job.subscribe","params":{"job_id":"{FOREIGN}"}}`), []told{refuses(errs.NotFound)}, true},
		{"subscribe after less than nothing", text(`{"jsonrpc":"2.0","id":1,"method":"job.subscribe","params":{"job_id":"{QUEUED}","after":-1}}`), []told{refuses(errs.InvalidParams)}, true},
		{"subscribe after a fraction", text(`{"jsonrpc":"2.0","id":1,"method":"job.subscribe","params":{"job_id":"{QUEUED}","after":0.5}}`), []told{refuses(errs.InvalidParams)}, true},
		{"subscribe after too much", text(`{"jsonrpc":"2.0","id":1,"method":"job.subscribe","params":{"job_id":"{QUEUED}","after":1e30}}`), []told{refuses(errs.InvalidParams)}, true},
		{"unsubscribe from nothing", text(`{"jsonrpc":"2.0","id":1,"method":"job.unsubscribe","params":{}}`), []told{refuses(errs.InvalidParams)}, true},
		{"unsubscribe from another's", text(`{"jsonrpc":"2.0","id":1,"method":"job.unsubscribe","params":{"subscription_id":"sub_x"}}`), []told{refuses(errs.NotFound)}, true},
		{"notifications", strings.Repeat(text(`{"jsonrpc":"2.0","method":"no.such"}`), 500) + text(ping), nil, true},
	}
	rows := make([]attack, 0, len(table)+2)
	for _, c := range table {
		rows = append(rows, attack{name: c.name, run: c.run})
	}
	return append(rows,
		attack{name: "flood of pings", run: func(ctx context.Context, g *gateway) error {
			return flood(ctx, g, strings.Repeat(frame(fin|opPing, ""), 20_000), nil)
		}},
		attack{name: "more subscriptions than there may be", run: func(ctx context.Context, g *gateway) error {
			count := map[errs.Code]int{}
			err := flood(ctx, g, strings.Repeat(text(subscribe), 3*maxSubscriptions), func(r reply) bool {
				if len(r.ID) == 0 {
					return false // an event
				}
				code := errs.Code("")
				if r.Error != nil {
					code = r.Error.Data.Code
				}
				count[code]++
				return count[""]+count[code] >= 3*maxSubscriptions || count[""]+count[errs.QuotaExceeded] == 3*maxSubscriptions
			})
			if count[""] != maxSubscriptions || count[errs.QuotaExceeded] != 2*maxSubscriptions {
				return errors.Join(err, fmt.Errorf("outcomes %v, want %d subscriptions", count, maxSubscriptions))
			}
			return err
		}},
		attack{name: "flood of calls nobody reads the answers of", run: unreadAnswers},
	)
}

func fragments(s string) string {
	var b strings.Builder
	b.WriteString(frame(opText, s[:1]))
	for _, c := range []byte(s[1 : len(s)-1]) {
		b.WriteString(frame(opMore, string(c)))
	}
	b.WriteString(frame(fin|opMore, s[len(s)-1:]))
	return b.String()
}

func (c conversation) run(ctx context.Context, g *gateway) error {
	r, conn, sent, err := open(ctx, g, c.send)
	if err != nil {
		return err
	}
	defer conn.Close()
	for i, want := range c.want {
		got, payload, err := receive(r)
		if err != nil {
			return fmt.Errorf("frame %d: %w", i+1, err)
		}
		if err := want.check(got, payload); err != nil {
			return fmt.Errorf("frame %d: %w", i+1, err)
		}
	}
	if !c.open {
		_, _, err := receive(r)
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("the connection is not closed: %w", err)
		}
		return nil
	}
	if err := <-sent; err != nil {
		return err
	}
	if _, err := io.WriteString(conn, text(`{"jsonrpc":"2.0","id":"still there","method":"system.ping"}`)); err != nil {
		return err
	}
	for {
		op, payload, err := receive(r)
		if err != nil || op == opClose {
			return fmt.Errorf("the connection is not kept: %x %w", op, err)
		}
		if bytes.Contains(payload, []byte("still there")) {
			return nil
		}
	}
}

// open upgrades a connection and sends.
func open(ctx context.Context, g *gateway, send string) (*bufio.Reader, io.WriteCloser, <-chan error, error) {
	conn, err := dial(ctx, g)
	if err != nil {
		return nil, nil, nil, err
	}
	r := bufio.NewReader(conn)
	_, err = io.WriteString(conn, g.fill(upgrade()))
	if err == nil {
		var resp *http.Response
		resp, err = http.ReadResponse(r, nil) //nolint:bodyclose // an upgrade has none
		if err == nil && resp.StatusCode != http.StatusSwitchingProtocols {
			err = fmt.Errorf("no upgrade: %s", resp.Status)
		}
	}
	if err != nil {
		return nil, nil, nil, errors.Join(err, conn.Close())
	}
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(conn, g.fill(send))
		sent <- err
	}()
	return r, conn, sent, nil
}

// receive reads one frame of the gateway.
func receive(r *bufio.Reader) (op byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	if head[0]&(fin|rsv1|rsv2|rsv3) != fin || head[1]&masked != 0 {
		return 0, nil, fmt.Errorf("a frame begins with %x", head)
	}
	length := uint64(head[1])
	switch length {
	case 126:
		var n uint16
		err = binary.Read(r, binary.BigEndian, &n)
		length = uint64(n)
	case 127:
		err = binary.Read(r, binary.BigEndian, &length)
	}
	if err != nil || length > 32<<20 {
		return 0, nil, fmt.Errorf("a frame of %d bytes: %w", length, err)
	}
	payload = make([]byte, length)
	_, err = io.ReadFull(r, payload)
	return head[0] & 0xf, payload, err
}

func (w told) check(op byte, payload []byte) error {
	if op != w.op {
		return fmt.Errorf("opcode %x with %.200q, want %x", op, payload, w.op)
	}
	switch op {
	case opPong:
		if w.payload != "" && string(payload) != w.payload {
			return mismatch("pong", string(payload), w.payload)
		}
	case opClose:
		code := 0
		if len(payload) >= 2 {
			code = int(binary.BigEndian.Uint16(payload))
		}
		if code != w.code {
			return fmt.Errorf("closed with %d %q, want %d", code, payload, w.code)
		}
	case opText:
		var got reply
		if err := json.Unmarshal(payload, &got); err != nil {
			return fmt.Errorf("not JSON: %.200s", payload)
		}
		if strings.Contains(string(payload), canary) {
			return fmt.Errorf("the answer repeats what was sent: %.300s", payload)
		}
		return w.answer.checkReply(got, "")
	}
	return nil
}

// flood sends a lot, reads what comes until enough says so, and finds the
// connection served after it.
func flood(ctx context.Context, g *gateway, send string, enough func(reply) bool) error {
	r, conn, sent, err := open(ctx, g, send)
	if err != nil {
		return err
	}
	defer conn.Close()
	read := make(chan error, 1)
	go func() {
		for {
			op, payload, err := receive(r)
			if err != nil || op == opClose {
				read <- fmt.Errorf("the connection is not kept: %x %.100q %w", op, payload, err)
				return
			}
			var got reply
			if op != opText || json.Unmarshal(payload, &got) != nil {
				continue
			}
			if enough == nil && bytes.Contains(payload, []byte("still there")) || enough != nil && enough(got) {
				read <- nil
				return
			}
		}
	}()
	if err := <-sent; err != nil {
		return err
	}
	if enough == nil {
		if _, err := io.WriteString(conn, text(`{"jsonrpc":"2.0","id":"still there","method":"system.ping"}`)); err != nil {
			return err
		}
	}
	return <-read
}

// unreadAnswers calls and calls and never reads: what the gateway holds for it
// is bounded, so sooner or later it takes no more.
func unreadAnswers(ctx context.Context, g *gateway) error {
	_, conn, sent, err := open(ctx, g, strings.Repeat(text(`{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}`), 20_000))
	if err != nil {
		return err
	}
	// Whether all is sent, or the gateway reads no more: the attacker leaves.
	select {
	case <-sent:
	default:
	}
	return conn.Close()
}

// handshakes is about requests that want a WebSocket and get none.
func handshakes() []attack {
	want := func(name string, a answer, lines ...string) exchange {
		return exchange{name: name, send: request("GET /ws", lines...), want: []answer{a}}
	}
	const connection, protocol, version, key = "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
	none := refused(426, errs.InvalidRequest).with("Upgrade", "websocket").with("Connection", "Upgrade")
	bad := refused(400, errs.InvalidRequest)
	other := refused(403, errs.PermissionDenied)
	yes := answer{status: 101, form: bare}
	table := []exchange{
		want("no upgrade", none),
		want("no connection header", none, protocol, version, key),
		want("no upgrade header", none, connection, version, key),
		want("upgrade inside another word", none, "Connection: no-upgrade-please", protocol, version, key),
		want("upgrade to something else", none, connection, "Upgrade: websocket2", version, key),
		want("no version", refused(426, errs.InvalidRequest).with("Sec-Websocket-Version", "13"), connection, protocol, key),
		want("version 8", refused(426, errs.InvalidRequest).with("Sec-Websocket-Version", "13"), connection, protocol, "Sec-WebSocket-Version: 8", key),
		want("version that is none", refused(426, errs.InvalidRequest).with("Sec-Websocket-Version", "13"), connection, protocol, "Sec-WebSocket-Version: "+canary, key),
		want("two versions", refused(426, errs.InvalidRequest).with("Sec-Websocket-Version", "13"), connection, protocol, "Sec-WebSocket-Version: 8", version, key),
		want("no key", bad, connection, protocol, version),
		want("empty key", bad, connection, protocol, version, "Sec-WebSocket-Key: "),
		want("short key", bad, connection, protocol, version, "Sec-WebSocket-Key: YWJj"),
		want("long key", bad, connection, protocol, version, "Sec-WebSocket-Key: "+strings.Repeat("A", 1000)),
		want("key that is no base64", bad, connection, protocol, version, "Sec-WebSocket-Key: "+canary+"!!!!!!!!!!!!"),
		want("two keys", bad, connection, protocol, version, key, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="),
		want("origin of another page", other, connection, protocol, version, key, "Origin: https://evil.example"),
		want("origin null", other, connection, protocol, version, key, "Origin: null"),
		want("origin that ends like the gateway", other, connection, protocol, version, key, "Origin: https://gw.example.evil.example"),
		want("origin that begins like the gateway", other, connection, protocol, version, key, "Origin: https://evilgw.example"),
		want("origin with user info", other, connection, protocol, version, key, "Origin: https://gw.example@evil.example"),
		want("origin with another port", other, connection, protocol, version, key, "Origin: http://gw.example:8443"),
		want("origin that is no URL", other, connection, protocol, version, key, "Origin: %zz"+canary),
		want("origin of a file", other, connection, protocol, version, key, "Origin: file:///etc/passwd"),
		want("origin that ends like a friend", other, connection, protocol, version, key, "Origin: https://friend.example"),
		want("origin below a friend, and more", other, connection, protocol, version, key, "Origin: https://a.friend.example.evil.example"),
		want("two origins", other, connection, protocol, version, key, "Origin: http://gw.example", "Origin: https://evil.example"),
		{name: "HTTP/1.0", send: strings.Replace(upgrade(), "HTTP/1.1", "HTTP/1.0", 1), want: []answer{refused(426, errs.InvalidRequest).with("Upgrade", "websocket")}, end: closed},
		{name: "body", send: upgrade("Content-Length: 5") + "hello", want: []answer{yes}, end: either},
		{name: "body too large", send: upgrade("Content-Length: 20000"), want: []answer{refused(413, errs.PayloadTooLarge)}, end: closed},
	}
	for name, more := range map[string][]string{
		"origin of the gateway":       {"Origin: http://gw.example"},
		"origin of a friend":          {"Origin: https://a.friend.example"},
		"compression":                 {"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits; server_no_context_takeover"},
		"extensions of garbage":       {"Sec-WebSocket-Extensions: ;;=,\"" + canary},
		"a thousand extensions":       {"Sec-WebSocket-Extensions: " + strings.Repeat("permessage-deflate,", 1000) + "x"},
		"protocols there are not":     {"Sec-WebSocket-Protocol: " + canary + ", chat"},
		"the key in another alphabet": {"X-Padding: " + strings.Repeat("x", 1000)},
	} {
		table = append(table, exchange{name: name, send: upgrade(more...), end: either, want: []answer{
			yes.with("Sec-Websocket-Extensions", "").with("Sec-Websocket-Protocol", ""),
		}})
	}
	return exchanges(table)
}
