package attack_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"codexgateway.dev/pkg/errs"
)

// bomb is 64 MiB of nothing in 64 KiB.
var bomb = func() string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	for range 64 {
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.String()
}()

var bombLength = strconv.Itoa(len(bomb))

// rpcFrames is about bodies that are no JSON, no JSON-RPC or too much of it.
func rpcFrames() []attack {
	parse, invalid := failed(200, errs.ParseError), failed(200, errs.InvalidRequest)
	none, params := failed(200, errs.MethodNotFound), failed(200, errs.InvalidParams)
	yes := answer{status: 200, form: rpcResult}
	method := func(name string) string { return `{"jsonrpc":"2.0","id":1,"method":"` + name + `"}` }
	with := func(p string) string { return `{"jsonrpc":"2.0","id":1,"method":"job.get","params":` + p + `}` }
	var table []exchange
	for _, row := range []struct {
		name, body string
		want       answer
	}{
		{"nothing", "", parse},
		{"spaces", "   ", parse},
		{"BOM", "\xef\xbb\xbf" + ping, parse},
		{"UTF-16", "\xff\xfe{\x00}\x00", parse},
		{"truncated", ping[:20], parse},
		{"truncated string", `{"jsonrpc":"2.0","id":1,"method":"sys`, parse},
		{"two requests", ping + ping, parse},
		{"request and garbage", ping + "x", parse},
		{"comment", `{/**/"jsonrpc":"2.0","id":1,"method":"system.ping"}`, parse},
		{"comma at the end", `{"jsonrpc":"2.0","id":1,"method":"system.ping",}`, parse},
		{"single quotes", `{'jsonrpc':'2.0','id':1,'method':'system.ping'}`, parse},
		{"names without quotes", `{jsonrpc:"2.0",id:1,method:"system.ping"}`, parse},
		{"NaN", `{"jsonrpc":"2.0","id":NaN,"method":"system.ping"}`, parse},
		{"infinity", `{"jsonrpc":"2.0","id":Infinity,"method":"system.ping"}`, parse},
		{"number with a leading zero", `{"jsonrpc":"2.0","id":01,"method":"system.ping"}`, parse},
		{"number in hexadecimal", `{"jsonrpc":"2.0","id":0x1,"method":"system.ping"}`, parse},
		{"control character in a string", "{\"jsonrpc\":\"2.0\",\"id\":\"a\nb\",\"method\":\"system.ping\"}", parse},
		{"NUL in a string", "{\"jsonrpc\":\"2.0\",\"id\":\"a\x00b\",\"method\":\"system.ping\"}", parse},
		{"NUL after the request", ping + "\x00", parse},
		{"bytes that are no UTF-8", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}", parse},
		{"long UTF-8", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xc0\xaf\"}", parse},
		{"surrogates in UTF-8", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xed\xa0\x80\"}", parse},
		{"lone surrogate", `{"jsonrpc":"2.0","id":1,"method":"\ud800"}`, parse},
		{"surrogates the wrong way round", `{"jsonrpc":"2.0","id":1,"method":"\udc00\ud800"}`, parse},
		{"bad escape", `{"jsonrpc":"2.0","id":1,"method":"\x41"}`, parse},
		{"XML", "<?xml version=\"1.0\"?><methodCall/>", parse},
		{"form", "method=system.ping&id=1", parse},
		{"a hundred thousand brackets", strings.Repeat("[", 100_000), parse},
		{"a hundred thousand braces", strings.Repeat(`{"a":`, 100_000), parse},
		{"a hundred levels", strings.Repeat("[", 100) + strings.Repeat("]", 100), invalid},
		{"a hundred levels of params", with(strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100)), invalid},
		{"a string", `"system.ping"`, invalid},
		{"a number", `1`, invalid},
		{"null", `null`, invalid},
		{"huge number", "1e" + strings.Repeat("9", 1000), invalid},
		{"no version", `{"id":1,"method":"system.ping"}`, invalid},
		{"version 1.0", `{"jsonrpc":"1.0","id":1,"method":"system.ping"}`, invalid},
		{"version as a number", `{"jsonrpc":2.0,"id":1,"method":"system.ping"}`, invalid},
		{"version with a space", `{"jsonrpc":"2.0 ","id":1,"method":"system.ping"}`, invalid},
		{"version twice", `{"jsonrpc":"2.0","jsonrpc":"2.0","id":1,"method":"system.ping"}`, invalid},
		{"method twice", `{"jsonrpc":"2.0","id":1,"method":"job.get","method":"system.ping"}`, invalid},
		{"method twice, once escaped", `{"jsonrpc":"2.0","id":1,"method":"job.get","m\u0065thod":"system.ping"}`, invalid},
		{"id twice", `{"jsonrpc":"2.0","id":1,"id":2,"method":"system.ping"}`, invalid},
		{"no method", `{"jsonrpc":"2.0","id":1}`, invalid},
		{"empty method", method(""), invalid},
		{"method as a number", `{"jsonrpc":"2.0","id":1,"method":1}`, invalid},
		{"method as a list", `{"jsonrpc":"2.0","id":1,"method":["system.ping"]}`, invalid},
		{"id as an object", `{"jsonrpc":"2.0","id":{},"method":"system.ping"}`, invalid},
		{"id as a list", `{"jsonrpc":"2.0","id":[],"method":"system.ping"}`, invalid},
		{"id as a boolean", `{"jsonrpc":"2.0","id":true,"method":"system.ping"}`, invalid},
		{"params as a string", `{"jsonrpc":"2.0","id":1,"method":"system.ping","params":"x"}`, invalid},
		{"params as a number", `{"jsonrpc":"2.0","id":1,"method":"system.ping","params":1}`, invalid},
		{"members in capitals", `{"JSONRPC":"2.0","ID":1,"METHOD":"system.ping"}`, invalid},
		{"thousands of members", `{"jsonrpc":"2.0","id":1,"method":"system.ping"` + manyMembers(5000) + `}`, invalid},
		{"empty batch", "[]", invalid},
		{"batch of 51", "[" + strings.Repeat(ping+",", 50) + ping + "]", invalid},
		{"batch of a million numbers", "[" + strings.Repeat("1,", 1_000_000) + "1]", invalid},
		{"batch in a batch", "[[" + ping + "]]", answer{status: 200}},
		{"no such method", method("no.such"), none},
		{"method of an object", method("__proto__"), none},
		{"method of every object", method("constructor"), none},
		{"method with a space", method("system.ping "), none},
		{"method with NUL", method(`system.ping\u0000`), none},
		{"method with a zero-width space", method(`system.\u200bping`), none},
		{"method in a look-alike alphabet", method(`s\u0443stem.ping`), none},
		{"method in full width", method("ｓystem.ping"), none},
		{"method in capitals", method("SYSTEM.PING"), none},
		{"method with a combining mark", method(`system.ping\u0301`), none},
		{"method with a path", method("../system.ping"), none},
		{"reserved method", method("rpc.shutdown"), none},
		{"method of another direction", method("job.event"), none},
		{"method of the WebSocket", method("job.subscribe"), none},
		{"method of 100 KiB", method(canary + strings.Repeat("a", 100<<10)), none},
		{"escaped method", method(`\u0073ystem.ping`), yes},
		{"id of a megabyte", `{"jsonrpc":"2.0","id":"` + strings.Repeat("a", 1<<20) + `","method":"system.ping"}`, yes},
		{"id of a thousand digits", `{"jsonrpc":"2.0","id":` + strings.Repeat("9", 1000) + `,"method":"system.ping"}`, yes},
		{"id with a huge exponent", `{"jsonrpc":"2.0","id":1e999999999,"method":"system.ping"}`, yes},
		{"id null", `{"jsonrpc":"2.0","id":null,"method":"system.ping"}`, yes},
		{"id that turns the text round", `{"jsonrpc":"2.0","id":"\u202e","method":"system.ping"}`, yes},
		{"member of an object's prototype", `{"jsonrpc":"2.0","id":1,"method":"system.ping","__proto__":{"admin":true}}`, yes},
		{"param of an object's prototype", with(`{"__proto__":{"admin":true}}`), params.at("/__proto__")},
		{"param of an object's constructor", with(`{"constructor":{"prototype":{}}}`), params.at("/constructor")},
		{"param twice", with(`{"job_id":"a","job_id":"b"}`), params.at("/job_id")},
		{"param twice, once escaped", with(`{"job_id":"a","job\u005fid":"b"}`), params.at("/job_id")},
		{"param in capitals", with(`{"JOB_ID":"a"}`), params.at("/JOB_ID")},
		{"param with a long name", with(`{"` + strings.Repeat("a", 100_000) + `":1}`), params.at("/" + strings.Repeat("a", 199))},
		{"param with a long name of two bytes a letter", with(`{"` + strings.Repeat("é", 50_000) + `":1}`), params.at("/" + strings.Repeat("é", 99))},
		{"param with slashes", with(`{"a/b~c":1}`), params.at("/a~1b~0c")},
		{"thousands of params", with(`{"job_id":"a"` + manyMembers(5000) + `}`), params},
		{"params by position, too many", with(`["{DONE}",1]`), params},
		{"params by position, nested", with(`[["{DONE}"]]`), params.at("/job_id")},
	} {
		row.want = row.want.with("Server", "")
		table = append(table, exchange{name: row.name, send: call(row.body), want: []answer{row.want}})
	}
	big := strings.Repeat(" ", 8<<20)
	return exchanges(append(table,
		exchange{name: "8 MiB and one byte", send: call(big + " "), want: []answer{failed(413, errs.PayloadTooLarge).with("Connection", "close")}, end: closed},
		exchange{name: "8 MiB of spaces", send: call(big[:8<<20-len(ping)] + ping), want: []answer{yes}},
		exchange{name: "8 MiB of one string", send: call(with(`{"job_id":"` + strings.Repeat("a", 8<<20-100) + `"}`)), want: []answer{failed(200, errs.NotFound)}},
		exchange{name: "8 MiB in chunks, and more", send: request("POST /jsonrpc", "Content-Type: application/json", "Transfer-Encoding: chunked") + strings.Repeat("100000\r\n"+strings.Repeat(" ", 1<<20)+"\r\n", 9), want: []answer{failed(413, errs.PayloadTooLarge)}, end: closed},
		exchange{name: "notifications only", send: call("[" + strings.Repeat(`{"jsonrpc":"2.0","method":"no.such"},`, 49) + `{"jsonrpc":"2.0","method":"no.such"}]`), want: []answer{is(204)}},
	))
}

func manyMembers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"m%d":%d`, i, i)
	}
	return b.String()
}

// document is what rpc.discover tells of the methods.
type document struct {
	Methods []struct {
		Name   string `json:"name"`
		Params []struct {
			Name   string          `json:"name"`
			Schema json.RawMessage `json:"schema"`
		} `json:"params"`
	} `json:"methods"`
}

// params sends every param of every method values of the wrong type.
func params(t *testing.T, g *gateway) []attack {
	t.Helper()
	doc := discover(t, g)
	var table []exchange
	for _, m := range doc.Methods {
		over := strings.HasPrefix(m.Name, "job.subscribe") || strings.HasPrefix(m.Name, "job.unsubscribe")
		if over {
			continue // the WebSocket's, see messages
		}
		attempt := func(what, params string, want answer) {
			body := `{"jsonrpc":"2.0","id":1,"method":"` + m.Name + `","params":` + params + `}`
			table = append(table, exchange{name: m.Name + " " + what, send: call(body), want: []answer{want}})
		}
		wrong := failed(200, errs.InvalidParams)
		attempt("with a hundred params by position", `[null`+strings.Repeat(`,"`+canary+`"`, 99)+`]`, wrong)
		attempt("with a param there is not", `{"no_such":"`+canary+`"}`, wrong.at("/no_such"))
		for _, p := range m.Params {
			for _, v := range wrongValues(p.Schema) {
				attempt(p.Name+" as "+v.name, `{"`+p.Name+`":`+v.json+`}`, wrong)
			}
		}
	}
	if len(table) == 0 {
		t.Error("rpc.discover names no method")
	}
	return exchanges(table)
}

// value is a JSON value and what it is.
type value struct{ name, json string }

// wrongValues are values that a schema does not allow.
func wrongValues(schema json.RawMessage) []value {
	var s struct {
		Type any `json:"type"`
	}
	if json.Unmarshal(schema, &s) != nil {
		return nil
	}
	var types []string
	switch v := s.Type.(type) {
	case string:
		types = []string{v}
	case []any:
		for _, one := range v {
			types = append(types, fmt.Sprint(one))
		}
	}
	if len(types) == 0 {
		return nil // any value is right
	}
	var wrong []value
	for _, v := range []struct {
		value

		types []string
	}{
		{value{"a string", `"` + canary + `"`}, []string{"string"}},
		{value{"a boolean", "true"}, []string{"boolean"}},
		{value{"a fraction", "1.5"}, []string{"number"}},
		{value{"a huge number", "1e400"}, []string{"number", "integer"}},
		{value{"an object", `{"a":{"b":1}}`}, []string{"object"}},
		{value{"a list", `[[]]`}, []string{"array"}},
	} {
		if !slices.ContainsFunc(v.types, func(t string) bool { return slices.Contains(types, t) }) {
			wrong = append(wrong, v.value)
		}
	}
	return wrong
}

func discover(t *testing.T, g *gateway) document {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.URL+"/openrpc.json", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var doc document
	if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// execBodies is about bodies of POST /exec, which are params without an envelope.
func execBodies() []attack {
	wrong := refused(400, errs.InvalidParams)
	var table []exchange
	for _, row := range []struct {
		name, body string
		want       answer
	}{
		{"nothing", "", wrong.at("/prompt")},
		{"no JSON", "{", wrong},
		{"an envelope", ping, wrong},
		{"two bodies", `{"prompt":"x"}{"prompt":"x"}`, wrong},
		{"a batch", `[{"prompt":"x"}]`, wrong},
		{"a string", `"` + canary + `"`, wrong},
		{"a param there is not", `{"prompt":"x","no_such":"` + canary + `"}`, wrong.at("/no_such")},
		{"a param twice", `{"prompt":"x","prompt":"y"}`, wrong.at("/prompt")},
		{"a thousand levels", `{"prompt":"x","output_schema":` + strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1001), wrong},
		{"bytes that are no UTF-8", "{\"prompt\":\"\xff\"}", wrong},
		{"repository that is an option", `{"prompt":"x","repo":{"url":"--upload-pack=` + canary + `"}}`, wrong.at("/repo/url")},
		{"repository that runs a command", `{"prompt":"x","repo":{"url":"ext::sh -c ` + canary + `"}}`, wrong.at("/repo/url")},
		{"repository of the host", `{"prompt":"x","repo":{"url":"file:///etc"}}`, wrong.at("/repo/url")},
		{"directory outside of the repository", `{"prompt":"x","repo":{"url":"https://a.example/b","subdir":"../.."}}`, wrong.at("/repo/subdir")},
		{"ref that is an option", `{"prompt":"x","repo":{"url":"https://a.example/b","ref":"--exec=` + canary + `"}}`, wrong.at("/repo/ref")},
	} {
		table = append(table, exchange{
			name: row.name, want: []answer{row.want},
			send: request("POST /exec", "Content-Type: application/json", "Content-Length: "+strconv.Itoa(len(row.body))) + row.body,
		})
	}
	return exchanges(append(table,
		exchange{name: "gzip", send: request("POST /exec", "Content-Type: application/json", "Content-Encoding: gzip", "Content-Length: "+bombLength) + bomb, want: []answer{refused(415, errs.InvalidRequest)}},
		exchange{name: "8 MiB and one byte", send: request("POST /exec", "Content-Type: application/json", "Content-Length: 8388609"), want: []answer{refused(413, errs.PayloadTooLarge).with("Connection", "close")}, end: closed},
		exchange{name: "no key", send: "POST /exec HTTP/1.1\r\nHost: gw.example\r\nContent-Length: 0\r\n\r\n", want: []answer{refused(401, errs.Unauthenticated)}},
		exchange{name: "GET", send: request("GET /exec?prompt=x"), want: []answer{refused(405, errs.InvalidRequest).with("Allow", "POST")}},
	))
}
