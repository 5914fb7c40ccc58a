package apidoc

import (
	"fmt"
	"regexp"

	"github.com/google/jsonschema-go/jsonschema"

	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/jsonrpc"
)

// Surface is everything a client can reach.
type Surface struct {
	// Version of the gateway.
	Version string
	Routes  []Route
	// Calls are the methods of POST /jsonrpc, Socket those of the WebSocket.
	Calls, Socket *jsonrpc.Mux
	// Problem is a prototype of the body of every error that is no JSON-RPC.
	Problem any
}

// Route is a row of the table of routes.
type Route struct {
	// Pattern is a path, with {name} for what varies.
	Pattern string
	Methods []string
	// Keyed routes want a key; Scope is what it needs, empty: any key.
	Keyed bool
	// Ticketed routes take a ticket too.
	Ticketed bool
	Scope    apikey.Scope
	// Body is the largest body in bytes.
	Body int64
	Doc  Operation
}

// Operation says what a route is for. What follows from the route itself, the
// refusals of keys, limits and bodies, is added to it.
type Operation struct {
	// ID is the name of the operation in generated clients.
	ID string
	// Summary is one sentence; Text says more.
	Summary, Text string
	Params        []Param
	// Request is the body; nil: none.
	Request *Body
	Answers []Answer
	// RPC says that what is refused is answered with a JSON-RPC error.
	RPC bool
}

// Param is a part of the request besides its body.
type Param struct {
	// In is path, query or header. A path parameter is required, no other is.
	In, Name, Text string
	// Type is string or integer.
	Type string
	// Min and Max bound an integer; Max 0: unbounded.
	Min, Max float64
}

// Body is a body in one media type.
type Body struct {
	Type string
	Text string
	// Of are prototypes of its shapes; none: no JSON.
	Of []any
	// Optional bodies of requests may be left out.
	Optional bool
	// schema is set for the bodies that have no Go type.
	schema *jsonschema.Schema
}

// Answer is what a route may answer.
type Answer struct {
	Status int
	Text   string
	// Headers are names in the table of headers.
	Headers []string
	// Bodies are one for each media type; none: no body.
	Bodies []Body
}

// RPCRequest is the body of a JSON-RPC request, RPCAnswer that of its answer.
func RPCRequest() *Body {
	return &Body{Type: typeJSON, Text: "One call, one notification, or a batch of at most 50.", schema: &jsonschema.Schema{OneOf: []*jsonschema.Schema{
		refTo(schemaRPCRequest),
		{Type: "array", Items: refTo(schemaRPCRequest), MinItems: new(1), MaxItems: new(jsonrpc.DefaultMaxBatch)},
	}}}
}

// RPCAnswer is the body of the answer to a JSON-RPC request.
func RPCAnswer() Body {
	return Body{Type: typeJSON, schema: &jsonschema.Schema{OneOf: []*jsonschema.Schema{
		refTo(schemaRPCAnswer),
		{Type: "array", Items: refTo(schemaRPCAnswer), MinItems: new(1)},
	}}}
}

// ProblemBody is the body of an error that is no JSON-RPC.
func ProblemBody() Body { return Body{Type: typeProblem, schema: refTo(schemaProblem)} }

// Anything is a body without a schema.
func Anything(mediaType, description string) Body { return Body{Type: mediaType, Text: description} }

var wildcard = regexp.MustCompile(`\{([^}]*)\}`)

// check refuses a route that its operation does not describe.
func (r *Route) check() error {
	if r.Doc.ID == "" || r.Doc.Summary == "" || len(r.Doc.Answers) == 0 {
		return fmt.Errorf("apidoc: %s lacks an id, a summary or an answer", r.Pattern)
	}
	wild := map[string]bool{}
	for _, m := range wildcard.FindAllStringSubmatch(r.Pattern, -1) {
		wild[m[1]] = true
	}
	described := 0
	for _, p := range r.Doc.Params {
		if p.Text == "" {
			return fmt.Errorf("apidoc: %s: parameter %s is not described", r.Pattern, p.Name)
		}
		if p.In != "path" {
			continue
		}
		described++
		if !wild[p.Name] {
			return fmt.Errorf("apidoc: %s has no %s", r.Pattern, p.Name)
		}
	}
	if described != len(wild) {
		return fmt.Errorf("apidoc: %s has parts that are not described", r.Pattern)
	}
	return nil
}
