package attack_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"strings"
	"testing"

	"codexgateway.dev/pkg/errs"
)

// eventStreams is about the event streams' query and headers.
func eventStreams() []attack {
	var table []exchange
	add := func(name, query string, want answer, more ...string) {
		table = append(table, exchange{name: name, send: request("GET /v1/jobs/{DONE}/events"+query, more...), want: []answer{want}})
	}
	wrong := refused(400, errs.InvalidParams)
	for _, row := range []struct {
		name, value string
		good        bool
	}{
		{"nothing", "", false},
		{"negative", "-1", false},
		{"negative zero", "-0", false},
		{"plus", "%2B1", false},
		{"fraction", "1.0", false},
		{"exponent", "1e3", false},
		{"hexadecimal", "0x1", false},
		{"underscore", "1_000", false},
		{"space", "%201", false},
		{"NUL", "1%00", false},
		{"beyond 53 bits", "9007199254740993", false},
		{"beyond 64 bits", "99999999999999999999999", false},
		{"a megabyte less a bit", strings.Repeat("9", 50_000), false},
		{"digits of another alphabet", "%D9%A1", false},
		{"word", canary, false},
		{"leading zeros", "0001", true},
	} {
		want := wrong.at("/after")
		if row.good {
			want = is(200)
		}
		add("after: "+row.name, "?after="+row.value, want)
	}
	add("after twice", "?after=1&after=2", wrong.at("/after"))
	add("wait too long", "?wait=61", wrong.at("/wait"))
	add("wait that is negative", "?wait=-1", wrong.at("/wait"))
	add("query with a bad escape", "?after=%zz", wrong)
	add("query with a semicolon", "?after=1;wait=1", wrong)
	add("query with a thousand parameters", "?"+strings.Repeat("a=b&", 1000), is(200))
	sse := "Accept: text/event-stream"
	for name, id := range map[string]string{
		"negative": "-1", "word": canary, "huge": strings.Repeat("9", 1000), "of no ASCII": "\xff", "fraction": "1.5", "list": "1, 2",
	} {
		add("Last-Event-ID: "+name, "", wrong.at("Last-Event-ID"), sse, "Last-Event-ID: "+id)
	}
	add("Last-Event-ID twice", "", wrong.at("Last-Event-ID"), sse, "Last-Event-ID: 1", "Last-Event-ID: 2")
	none := refused(406, errs.InvalidRequest)
	for name, accept := range map[string]string{
		"a page": "text/html", "nothing there is": canary + "/" + canary, "garbage": ";;;,,,q=;=;/", "an image": "image/*", "nothing at all": "application/json;q=0",
		"many": strings.Repeat("a/b,", 10_000) + "c/d", "a bad weight": "text/html;q=" + strings.Repeat("9", 1000), "slashes": strings.Repeat("/", 1000),
	} {
		add("accepts "+name, "", none, "Accept: "+accept)
	}
	add("accepts anything", "", is(200).with("Content-Type", "application/json"), "Accept: */*")
	add("accepts in two lines", "", is(200).with("Content-Type", "application/json"), "Accept: text/html", "Accept: application/json")
	add("accepts a stream no more", "?after=1000000", is(204), sse)
	return exchanges(table)
}

// blobs is about signed URLs: each is good for one file, one method, one hour.
func blobs(t *testing.T, g *gateway) []attack {
	t.Helper()
	signed := signedURL(t, g)
	query := signed.Query()
	with := func(change func(url.Values)) string {
		q, err := url.ParseQuery(signed.RawQuery)
		if err != nil {
			t.Fatal(err)
		}
		change(q)
		return q.Encode()
	}
	set := func(name, value string) string { return with(func(q url.Values) { q.Set(name, value) }) }
	object := query.Get("obj")
	signature := query.Get("signature")
	if object == "" || signature == "" {
		t.Fatalf("a signed URL of another form: %s", signed)
	}
	flipped := "A" + signature[1:]
	if flipped == signature {
		flipped = "B" + signature[1:]
	}
	no := refused(403, errs.PermissionDenied)
	get := func(target string) string { return "GET " + target + " HTTP/1.1\r\nHost: gw.example\r\n\r\n" }
	var table []exchange
	for name, raw := range map[string]string{
		"no query":                        "",
		"no signature":                    with(func(q url.Values) { q.Del("signature") }),
		"empty signature":                 set("signature", ""),
		"signature of another":            set("signature", flipped),
		"signature cut short":             set("signature", signature[:10]),
		"signature and more":              set("signature", signature+"A"),
		"signature that is no base64":     set("signature", "%%%"),
		"later expiry":                    set("expiry", "99999999999"),
		"earlier expiry":                  set("expiry", "1"),
		"no expiry":                       with(func(q url.Values) { q.Del("expiry") }),
		"expiry that is no number":        set("expiry", canary),
		"other object":                    set("obj", "jobs/x/diff.patch"),
		"object outside of the directory": set("obj", "../gateway.db"),
		"object below another":            set("obj", object+"/../../../../gateway.db"),
		"object with an absolute path":    set("obj", "/etc/passwd"),
		"object with NUL":                 set("obj", object+"\x00"),
		"no object":                       with(func(q url.Values) { q.Del("obj") }),
		"attributes of the object":        set("obj", object+".attrs"),
		"object in another spelling":      set("obj", strings.ToUpper(object)),
		"method for writing":              set("method", "PUT"),
		"no method":                       with(func(q url.Values) { q.Del("method") }),
		"object twice":                    signed.RawQuery + "&obj=" + url.QueryEscape("../gateway.db"),
		"object twice, the other first":   "obj=x&" + signed.RawQuery,
		"signature twice":                 signed.RawQuery + "&signature=x",
		"semicolons":                      strings.ReplaceAll(signed.RawQuery, "&", ";"),
		"bad escape":                      signed.RawQuery + "&a=%zz",
	} {
		target := "/blobs"
		if raw != "" {
			target += "?" + raw
		}
		table = append(table, exchange{name: name, send: get(target), want: []answer{no}})
	}
	good := "/blobs?" + signed.RawQuery
	file := is(200).with("Content-Disposition", "attachment; filename=diff.patch").with("Content-Security-Policy", "default-src 'none'; sandbox").with("Referrer-Policy", "no-referrer")
	return exchanges(append(table,
		exchange{name: "the file itself", send: get(good), want: []answer{file}},
		exchange{name: "ranges beyond the file", send: "GET " + good + " HTTP/1.1\r\nHost: gw.example\r\nRange: bytes=100-200\r\n\r\n", want: []answer{{status: 416, form: bare}}},
		exchange{name: "a thousand ranges", send: "GET " + good + " HTTP/1.1\r\nHost: gw.example\r\nRange: bytes=" + strings.Repeat("0-,", 1000) + "0-\r\n\r\n", want: []answer{is(200)}},
		exchange{name: "range that is none", send: "GET " + good + " HTTP/1.1\r\nHost: gw.example\r\nRange: bytes=a-b\r\n\r\n", want: []answer{{status: 416, form: bare}}},
		exchange{name: "POST", send: "POST " + good + " HTTP/1.1\r\nHost: gw.example\r\nContent-Length: 1\r\n\r\nx", want: []answer{refused(405, errs.InvalidRequest).with("Allow", "GET, HEAD")}},
		exchange{name: "PUT", send: "PUT " + good + " HTTP/1.1\r\nHost: gw.example\r\nContent-Length: 1\r\n\r\nx", want: []answer{refused(405, errs.InvalidRequest).with("Allow", "GET, HEAD")}},
		exchange{name: "DELETE", send: "DELETE " + good + " HTTP/1.1\r\nHost: gw.example\r\n\r\n", want: []answer{refused(405, errs.InvalidRequest)}},
	))
}

// signedURL asks for the artifact of the job that has ended.
func signedURL(t *testing.T, g *gateway) *url.URL {
	t.Helper()
	conn, err := dial(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, g.fill(call(`{"jsonrpc":"2.0","id":1,"method":"job.artifacts","params":{"job_id":"{DONE}"}}`, "X-Request-Id: 1"))); err != nil {
		t.Fatal(err)
	}
	raw, err := body(bufio.NewReader(conn))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Result struct {
			Artifacts []struct {
				Name string `json:"name"`
				URL  string `json:"url"`
			} `json:"artifacts"`
		} `json:"result"`
	}
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	for _, a := range got.Result.Artifacts {
		if a.Name == "diff.patch" {
			u, err := url.Parse(a.URL)
			if err != nil {
				t.Fatal(err)
			}
			return u
		}
	}
	t.Fatalf("no diff.patch: %s", raw)
	return nil
}

// hold opens a connection that stays open until the end of the attack.
func hold(ctx context.Context, g *gateway, send string) (*bufio.Reader, io.Closer, error) {
	conn, err := dial(ctx, g)
	if err != nil {
		return nil, nil, err
	}
	if _, err := io.WriteString(conn, g.fill(send)); err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return bufio.NewReader(conn), conn, nil
}
