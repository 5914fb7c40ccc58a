package edge_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
)

// contract is what the documents of the reference promise of answers. Every
// request of this package's tests is held to it.
type contract struct {
	paths []documentedPath
	// results are the results of methods (OpenRPC), messages what a WebSocket or
	// a stream carries (AsyncAPI).
	results, messages map[string]*jsonschema.Resolved
	problem           *jsonschema.Resolved

	mu sync.Mutex
	// produced are the answers that were seen, "GET /health 200".
	produced map[string]bool
}

type documentedPath struct {
	template string
	matches  *regexp.Regexp
	// operations are by method, in capitals, then by status.
	operations map[string]map[int]documentedAnswer
}

type documentedAnswer struct {
	headers map[string]documentedHeader
	// bodies are by media type; none: no body. What is no JSON has no schema.
	bodies map[string]*jsonschema.Resolved
}

type documentedHeader struct {
	required bool
	integer  bool
	schema   *jsonschema.Resolved
}

var theContract = sync.OnceValues(readContract)

// promises is the contract.
func promises(tb testing.TB) *contract {
	tb.Helper()
	c, err := theContract()
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// document reads one of the documents.
func document(name string, into any) error {
	raw, err := os.ReadFile(filepath.Join(reference, name))
	if err != nil {
		return err
	}
	// A schema is resolved by itself: what it refers to goes with it.
	return json.Unmarshal(bytes.ReplaceAll(raw, []byte(`"#/components/schemas/`), []byte(`"#/$defs/`)), into)
}

func readContract() (*contract, error) {
	c := &contract{results: map[string]*jsonschema.Resolved{}, messages: map[string]*jsonschema.Resolved{}, produced: map[string]bool{}}
	return c, errors.Join(c.readOpenRPC(), c.readAsyncAPI(), c.readOpenAPI())
}

func (c *contract) readOpenRPC() error {
	var doc struct {
		Methods []struct {
			Name   string
			Result struct{ Schema *jsonschema.Schema }
		}
	}
	if err := document("openrpc.json", &doc); err != nil {
		return err
	}
	for _, m := range doc.Methods {
		var err error
		if c.results[m.Name], err = m.Result.Schema.Resolve(nil); err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
	}
	return nil
}

func (c *contract) readAsyncAPI() error {
	var doc struct {
		Components struct {
			Messages map[string]struct{ Payload *jsonschema.Schema }
		}
	}
	if err := document("asyncapi.json", &doc); err != nil {
		return err
	}
	for name, m := range doc.Components.Messages {
		var err error
		if c.messages[name], err = m.Payload.Resolve(nil); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// openAPIDocument is as much of it as answers are held to.
type openAPIDocument struct {
	Paths map[string]map[string]struct {
		Responses map[string]struct {
			Headers map[string]struct {
				Ref string `json:"$ref"`
			}
			Content map[string]struct{ Schema *jsonschema.Schema }
		}
	}
	Components struct {
		Schemas json.RawMessage
		Headers map[string]struct {
			Required bool
			Schema   *jsonschema.Schema
		}
	}
}

// resolve makes a schema complete.
func (d *openAPIDocument) resolve(s *jsonschema.Schema) (*jsonschema.Resolved, error) {
	s.Defs = nil
	if err := json.Unmarshal(d.Components.Schemas, &s.Defs); err != nil {
		return nil, err
	}
	return s.Resolve(nil)
}

var pathParameter = regexp.MustCompile(`\\\{[^}]*\\\}`)

func (c *contract) readOpenAPI() error {
	var doc openAPIDocument
	if err := document("openapi.json", &doc); err != nil {
		return err
	}
	var err error
	if c.problem, err = doc.resolve(&jsonschema.Schema{Ref: "#/$defs/Problem"}); err != nil {
		return err
	}
	headers := map[string]documentedHeader{}
	for name, h := range doc.Components.Headers {
		schema, err := h.Schema.Resolve(nil)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		headers[name] = documentedHeader{required: h.Required, integer: h.Schema.Type == "integer", schema: schema}
	}
	for template, methods := range doc.Paths {
		p := documentedPath{
			template: template, operations: map[string]map[int]documentedAnswer{},
			matches: regexp.MustCompile("^" + pathParameter.ReplaceAllString(regexp.QuoteMeta(template), "[^/]+") + "$"),
		}
		for method, op := range methods {
			answers := map[int]documentedAnswer{}
			for status, r := range op.Responses {
				a := documentedAnswer{headers: map[string]documentedHeader{}, bodies: map[string]*jsonschema.Resolved{}}
				for name, h := range r.Headers {
					a.headers[name] = headers[strings.TrimPrefix(h.Ref, "#/components/headers/")]
				}
				for mediaType, body := range r.Content {
					a.bodies[mediaType] = nil
					if !isJSONType(mediaType) {
						continue
					}
					if a.bodies[mediaType], err = doc.resolve(body.Schema); err != nil {
						return fmt.Errorf("%s %s %s: %w", method, template, status, err)
					}
				}
				n, err := strconv.Atoi(status)
				if err != nil {
					return fmt.Errorf("%s %s: %w", method, template, err)
				}
				answers[n] = a
			}
			p.operations[strings.ToUpper(method)] = answers
		}
		c.paths = append(c.paths, p)
	}
	return nil
}

func isJSONType(mediaType string) bool {
	return mediaType == "application/json" || mediaType == "application/problem+json"
}

// documented finds what is promised of a request; not ok: a path or a method that
// no route has.
func (c *contract) documented(method, path string) (template string, answers map[int]documentedAnswer, ok bool) {
	for _, p := range c.paths {
		if p.matches.MatchString(path) {
			answers, ok = p.operations[method]
			return p.template, answers, ok
		}
	}
	return "", nil, false
}

// saw notes that an answer was produced.
func (c *contract) saw(method, template string, status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.produced[fmt.Sprintf("%s %s %d", method, template, status)] = true
}

type excuse struct {
	answers *regexp.Regexp
	why     string
}

// elsewhere are answers that the tests of this package do not produce, and why.
var elsewhere = []excuse{
	{regexp.MustCompile(` 408$`), "a body may come as it likes for 10 s; internal/httpapi has a shorter grace"},
	{regexp.MustCompile(`^(GET|HEAD) /(health|ready|blobs|[a-z]+\.json) 500$|^POST /jsonrpc 500$`), "only a panic leads to it; internal/httpapi makes one"},
}

// unproduced are the promised answers that no test made the gateway give, and the
// excuses that none needs.
func (c *contract) unproduced() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	used := make([]bool, len(elsewhere))
	for _, p := range c.paths {
		for method, answers := range p.operations {
			for status := range answers {
				name := fmt.Sprintf("%s %s %d", method, p.template, status)
				if c.produced[name] {
					continue
				}
				i := slices.IndexFunc(elsewhere, func(e excuse) bool { return e.answers.MatchString(name) })
				if i < 0 {
					out = append(out, name)
					continue
				}
				used[i] = true
			}
		}
	}
	for i, e := range elsewhere {
		if !used[i] {
			out = append(out, "all are produced of "+e.answers.String()+": "+e.why)
		}
	}
	return out
}

// undocumented checks the answer to what no route has: 404, or 405 with Allow; a
// preflight of a page has answers of its own.
func undocumented(template, method string, status int, header http.Header) error {
	switch {
	case template == "" && status == http.StatusNotFound:
	case template != "" && status == http.StatusMethodNotAllowed && header.Get("Allow") != "":
	case template != "" && method == http.MethodOptions && (status == http.StatusNoContent || status == http.StatusForbidden):
	default:
		return fmt.Errorf("answer %d, Allow %q", status, header.Get("Allow"))
	}
	return nil
}
