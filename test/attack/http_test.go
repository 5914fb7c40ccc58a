package attack_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"codexgateway.dev/pkg/errs"
)

// ending is what becomes of the connection after the answers.
type ending int

const (
	kept   ending = iota // it serves another request
	closed               // the gateway closes it
	either               // the documents do not say
)

// exchange is an attack over HTTP: bytes, and the answers they get.
type exchange struct {
	name string
	// send is written as it is; see [gateway.fill] for its placeholders.
	send string
	// want are the answers in order.
	want []answer
	end  ending
	slow bool
	// hangup ends the attacker's side after the bytes are sent.
	hangup bool
}

// answer is an expected answer.
type answer struct {
	status int
	form   form
	code   errs.Code
	// field of an invalid parameter; empty: not looked at.
	field string
	// head are headers it has; an empty value: has not.
	head map[string]string
	// to is the method asked with, for HEAD.
	to string
}

// form is what the body of an answer is.
type form int

const (
	anything form = iota
	problem       // RFC 9457
	rpcError      // a JSON-RPC error
	rpcResult
	bare // of net/http, before there is a request: text without an id
)

func is(status int) answer { return answer{status: status} }

func refused(status int, code errs.Code) answer {
	return answer{status: status, form: problem, code: code}
}

func failed(status int, code errs.Code) answer {
	return answer{status: status, form: rpcError, code: code}
}

// unread is the answer to what cannot be read as a request.
func unread(status int) answer { return answer{status: status, form: bare} }

func (a answer) with(name, value string) answer {
	head := map[string]string{name: value}
	maps.Copy(head, a.head)
	a.head = head
	return a
}

func (a answer) at(field string) answer { a.field = field; return a }

// request is a request with a key.
func request(line string, more ...string) string {
	return line + " HTTP/1.1\r\nHost: gw.example\r\nX-API-Key: {KEY}\r\n" + lines(more)
}

// call is a POST of a body.
func call(body string, more ...string) string {
	return request("POST /jsonrpc", append([]string{"Content-Type: application/json", "Content-Length: " + strconv.Itoa(filled(body))}, more...)...) + body
}

func lines(all []string) string {
	if len(all) == 0 {
		return "\r\n"
	}
	return strings.Join(all, "\r\n") + "\r\n\r\n"
}

// fill replaces the placeholders of an attack.
func (g *gateway) fill(s string) string {
	return strings.NewReplacer("{KEY}", adminKey, "{QUEUED}", g.Queued, "{DONE}", g.Done, "{FOREIGN}", g.Foreign).Replace(s)
}

// filled is how long s will be: ids are all of one length.
func filled(s string) int {
	const job = "job_00000000000000000000000000"
	g := gateway{fixtures: fixtures{Queued: job, Done: job, Foreign: job}}
	return len(g.fill(s))
}

// exchanges makes attacks of a table.
func exchanges(table []exchange) []attack {
	rows := make([]attack, len(table))
	for i, e := range table {
		rows[i] = attack{name: e.name, slow: e.slow, run: e.run}
	}
	return rows
}

func (e exchange) run(ctx context.Context, g *gateway) error {
	conn, err := dial(ctx, g)
	if err != nil {
		return err
	}
	defer conn.Close()
	sent := make(chan error, 1)
	go func() { // aside: the answer may come before all is taken
		_, err := io.WriteString(conn, g.fill(e.send))
		if e.hangup {
			err = errors.Join(err, conn.CloseWrite())
		}
		sent <- err
	}()
	r := bufio.NewReader(conn)
	for i, want := range e.want {
		if err := want.check(r); err != nil {
			return fmt.Errorf("answer %d: %w", i+1, err)
		}
	}
	return e.finish(conn, r, sent)
}

// finish checks what becomes of the connection.
func (e exchange) finish(conn *net.TCPConn, r *bufio.Reader, sent <-chan error) error {
	switch e.end {
	case closed:
		return gone(r)
	case kept:
		if err := <-sent; err != nil {
			return fmt.Errorf("send: %w", err)
		}
		if _, err := io.WriteString(conn, "GET /health HTTP/1.1\r\nHost: gw.example\r\n\r\n"); err != nil {
			return fmt.Errorf("the connection is not kept: %w", err)
		}
		if err := is(http.StatusOK).check(r); err != nil {
			return fmt.Errorf("the connection is not kept: %w", err)
		}
	case either:
	}
	return nil
}

func dial(ctx context.Context, g *gateway) (*net.TCPConn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", g.URL)
	if err != nil {
		return nil, err
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil, fmt.Errorf("a %T", conn)
	}
	return tcp, tcp.SetDeadline(time.Now().Add(patience))
}

// gone reads on until the gateway closes the connection; answers that still
// come are one too many.
func gone(r io.Reader) error {
	rest, err := io.ReadAll(io.LimitReader(r, 1<<20))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("the connection is not closed")
	}
	if len(rest) > 0 {
		return fmt.Errorf("one more answer: %.300s", rest)
	}
	return nil
}

// check reads one answer.
func (a answer) check(r *bufio.Reader) error {
	resp, err := http.ReadResponse(r, &http.Request{Method: a.to})
	if err != nil {
		return fmt.Errorf("no answer, want %d: %w", a.status, err)
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil && a.form != bare { // whose connection is cut before its text has arrived
		return fmt.Errorf("body of the %d: %w", resp.StatusCode, err)
	}
	if resp.StatusCode != a.status {
		return fmt.Errorf("status %d, want %d: %.300s", resp.StatusCode, a.status, body)
	}
	for name, want := range a.head {
		got := resp.Header.Get(name)
		if name == "Connection" && resp.Close {
			got = "close" // http.ReadResponse takes it out
		}
		if got != want {
			return mismatch(name, strconv.Quote(got), strconv.Quote(want))
		}
	}
	if strings.Contains(string(body), canary) || strings.Contains(fmt.Sprint(resp.Header), canary) {
		return fmt.Errorf("the answer repeats what was sent: %v %.300s", resp.Header, body)
	}
	if server := resp.Header.Get("Server"); server != "" {
		return mismatch("Server", server, "none")
	}
	if a.form == bare {
		return nil
	}
	return a.checkForm(resp, body)
}

// checkForm checks an answer of the routes.
func (a answer) checkForm(resp *http.Response, body []byte) error {
	id := resp.Header.Get("X-Request-Id")
	if id == "" {
		return errors.New("no X-Request-Id")
	}
	if got := resp.Header.Get("X-Content-Type-Options"); got != "nosniff" {
		return mismatch("X-Content-Type-Options", got, "nosniff")
	}
	if got := resp.Header.Get("Cache-Control"); !strings.Contains(got, "no-store") {
		return mismatch("Cache-Control", got, "no-store")
	}
	if a.form == problem || resp.StatusCode >= 400 && a.form == anything {
		return a.checkProblem(resp, body, id)
	}
	if a.form == anything || a.to == http.MethodHead {
		return nil
	}
	var got reply
	if err := json.Unmarshal(body, &got); err != nil {
		return fmt.Errorf("not JSON: %.300s", body)
	}
	return a.checkReply(got, id)
}

func (a answer) checkProblem(resp *http.Response, body []byte, id string) error {
	if got := resp.Header.Get("Content-Type"); got != "application/problem+json" {
		return mismatch("Content-Type", got, "application/problem+json")
	}
	if a.to == http.MethodHead {
		return nil
	}
	var p struct {
		Type      string    `json:"type"`
		Title     string    `json:"title"`
		Status    int       `json:"status"`
		Detail    string    `json:"detail"`
		Code      errs.Code `json:"code"`
		Field     string    `json:"field"`
		Retryable *bool     `json:"retryable"`
		RequestID string    `json:"request_id"`
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return fmt.Errorf("not JSON: %.300s", body)
	}
	whole := p.Type != "" && p.Title != "" && p.Status == resp.StatusCode && p.Detail != "" && p.Retryable != nil && p.RequestID == id
	if !whole || a.code != "" && p.Code != a.code || errs.Lookup(p.Code).Code != p.Code || a.field != "" && p.Field != a.field {
		return fmt.Errorf("problem %s, want %d %s %s with request id %s", body, a.status, a.code, a.field, id)
	}
	return nil
}

// reply is a JSON-RPC answer.
type reply struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  json.RawMessage `json:"result"`
	Error   *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Data    struct {
			Code      errs.Code `json:"code"`
			Field     string    `json:"field"`
			Retryable *bool     `json:"retryable"`
			RequestID string    `json:"request_id"`
		} `json:"data"`
	} `json:"error"`
}

// checkReply checks a JSON-RPC answer; id is the request's, empty: any.
func (a answer) checkReply(got reply, id string) error {
	if got.Version != "2.0" || len(got.ID) == 0 || (got.Error == nil) == (len(got.Result) == 0) {
		return fmt.Errorf("no JSON-RPC answer: %+v", got)
	}
	if a.form == rpcResult {
		if got.Error != nil {
			return fmt.Errorf("error %+v, want a result", *got.Error)
		}
		return nil
	}
	if got.Error == nil {
		return fmt.Errorf("a result, want %s: %.200s", a.code, got.Result)
	}
	e, row := got.Error, errs.Lookup(a.code)
	if e.Code != row.RPC || e.Message == "" || e.Data.Code != a.code || e.Data.Retryable == nil || e.Data.RequestID == "" || id != "" && e.Data.RequestID != id {
		return fmt.Errorf("error %+v, want %s with request id %s", *e, a.code, id)
	}
	if a.field != "" && e.Data.Field != a.field {
		return mismatch("field", e.Data.Field, a.field)
	}
	return nil
}
