package apidoc

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
)

// openAPIVersion is the version of https://spec.openapis.org/oas the document follows.
const openAPIVersion = "3.1.0"

// Media types.
const (
	typeJSON    = "application/json"
	typeProblem = "application/problem+json"
)

// Names of schemas that many answers share, and where they are.
const (
	schemas          = "#/components/schemas/"
	schemaProblem    = "Problem"
	schemaRPCRequest = "RPCRequest"
	schemaRPCAnswer  = "RPCAnswer"
	schemaRPCError   = "RPCError"
)

const openAPIText = "Everything but the streams is JSON-RPC 2.0 on `POST /jsonrpc`; its methods are described by `/openrpc.json`, " +
	"what a WebSocket or an event stream carries by `/asyncapi.json`. A path that is not here is answered 404, a method that a path does not " +
	"have 405 with `Allow`, both as a problem (RFC 9457). A request may name itself with `X-Request-Id`, 1 to 128 of `A-Z a-z 0-9 . _ : -`; " +
	"every answer has the name, its own or one of the gateway's."

type openAPI struct {
	OpenAPI    string                          `json:"openapi"`
	Info       info                            `json:"info"`
	Servers    []server                        `json:"servers"`
	Paths      map[string]map[string]operation `json:"paths"`
	Components openAPIParts                    `json:"components"`
}

type info struct {
	Title       string  `json:"title"`
	Version     string  `json:"version"`
	Description string  `json:"description,omitempty"`
	License     license `json:"license"`
}

type license struct {
	Name string `json:"name"`
	URL  string `json:"url"`
}

func infoOf(version, description string) info {
	return info{
		Title: "Codex Gateway", Version: version, Description: description,
		License: license{Name: "Apache-2.0", URL: "https://www.apache.org/licenses/LICENSE-2.0"},
	}
}

type server struct {
	URL         string `json:"url"`
	Description string `json:"description"`
}

type operation struct {
	OperationID string                `json:"operationId"` //nolint:tagliatelle // OpenAPI
	Summary     string                `json:"summary"`
	Description string                `json:"description,omitempty"`
	Parameters  []parameter           `json:"parameters,omitempty"`
	RequestBody *requestBody          `json:"requestBody,omitempty"` //nolint:tagliatelle // OpenAPI
	Responses   map[string]response   `json:"responses"`
	Security    []map[string][]string `json:"security"`
	Scope       string                `json:"x-scope,omitempty"`            //nolint:tagliatelle // OpenAPI names extensions so
	BodyLimit   int64                 `json:"x-body-limit-bytes,omitempty"` //nolint:tagliatelle // OpenAPI names extensions so
}

type parameter struct {
	Name        string             `json:"name"`
	In          string             `json:"in"`
	Description string             `json:"description"`
	Required    bool               `json:"required,omitempty"`
	Schema      *jsonschema.Schema `json:"schema"`
}

type requestBody struct {
	Description string               `json:"description,omitempty"`
	Required    bool                 `json:"required"`
	Content     map[string]mediaType `json:"content"`
}

type response struct {
	Description string               `json:"description"`
	Headers     map[string]reference `json:"headers,omitempty"`
	Content     map[string]mediaType `json:"content,omitempty"`
}

type mediaType struct {
	Schema *jsonschema.Schema `json:"schema"`
}

type openAPIParts struct {
	Schemas         map[string]*jsonschema.Schema `json:"schemas"`
	Headers         map[string]header             `json:"headers"`
	SecuritySchemes map[string]securityScheme     `json:"securitySchemes"` //nolint:tagliatelle // OpenAPI
}

type header struct {
	Description string `json:"description"`
	// Required headers are in every answer that lists them.
	Required bool               `json:"required,omitempty"`
	Schema   *jsonschema.Schema `json:"schema"`
}

type securityScheme struct {
	Type        string `json:"type"`
	Description string `json:"description"`
	Name        string `json:"name,omitempty"`
	In          string `json:"in,omitempty"`
	Scheme      string `json:"scheme,omitempty"`
}

// headers are the headers of answers that say something to a client.
var headers = map[string]header{
	"X-Request-Id":         {"The id of the request.", true, &jsonschema.Schema{Type: "string"}},
	"WWW-Authenticate":     {"How to authenticate.", true, &jsonschema.Schema{Type: "string"}},
	"Retry-After":          {"Seconds to wait before the next try.", true, &jsonschema.Schema{Type: "integer", Minimum: new(1.0)}},
	"Location":             {"A link to the file that works without a key for a while.", true, &jsonschema.Schema{Type: "string", Format: "uri"}},
	"RateLimit":            {"What the key has left, as its draft says: \"default\";r=<calls>;t=<seconds>.", false, &jsonschema.Schema{Type: "string"}},
	"RateLimit-Policy":     {"The limits of the key, as its draft says.", false, &jsonschema.Schema{Type: "string"}},
	"X-Job-Id":             {"The job that was submitted.", true, &jsonschema.Schema{Type: "string"}},
	"Link":                 {"Where the job's events are, rel=monitor.", true, &jsonschema.Schema{Type: "string"}},
	"Upgrade":              {"The protocol to upgrade to.", true, &jsonschema.Schema{Type: "string"}},
	"Accept":               {"The media type that is wanted.", true, &jsonschema.Schema{Type: "string"}},
	"Idempotency-Replayed": {"\"true\" when the answer, or one of the batch, was given before for the same idempotency key.", false, &jsonschema.Schema{Type: "string", Enum: []any{"true"}}},
}

// securitySchemes are the ways to present a key.
var securitySchemes = map[string]securityScheme{
	"apiKey": {Type: "apiKey", In: "header", Name: "X-API-Key", Description: "The key in a header of its own."},
	"bearer": {Type: "http", Scheme: "bearer", Description: "The key, or a token of an issuer that the gateway trusts, as a bearer token."},
	"ticket": {Type: "http", Scheme: "ticket", Description: "A ticket, once. A WebSocket of a page shows it as Sec-WebSocket-Protocol: codexgw.v1, codexgw.ticket.<ticket>."},
}

// security is what a route wants: one of what is listed.
func security(r *Route) []map[string][]string {
	switch {
	case r.Ticketed:
		return []map[string][]string{{"apiKey": {}}, {"bearer": {}}, {"ticket": {}}}
	case r.Keyed:
		return []map[string][]string{{"apiKey": {}}, {"bearer": {}}}
	default:
		return []map[string][]string{}
	}
}

// OpenAPI describes every route. It fails when a row is not described.
func OpenAPI(s *Surface) (json.RawMessage, error) {
	doc := openAPI{
		OpenAPI: openAPIVersion, Info: infoOf(s.Version, openAPIText),
		Servers: []server{{URL: "/", Description: "The gateway that serves this document."}},
		Paths:   map[string]map[string]operation{},
	}
	for i := range s.Routes {
		r := &s.Routes[i]
		if err := r.check(); err != nil {
			return nil, err
		}
		item := map[string]operation{}
		for _, method := range r.Methods {
			op, err := describeRoute(r, method)
			if err != nil {
				return nil, fmt.Errorf("apidoc: describe %s: %w", r.Pattern, err)
			}
			item[strings.ToLower(method)] = op
		}
		doc.Paths[r.Pattern] = item
	}
	var err error
	if doc.Components, err = parts(s); err != nil {
		return nil, err
	}
	return encode(doc)
}

// parts are what the operations refer to.
func parts(s *Surface) (openAPIParts, error) {
	problem, err := answerSchema(s.Problem)
	if err != nil {
		return openAPIParts{}, fmt.Errorf("apidoc: describe problem: %w", err)
	}
	_, problem.Properties["code"].Enum = registered()
	var names []any
	for _, name := range s.Calls.Methods() {
		names = append(names, name)
	}
	request := object([]string{"jsonrpc", "id", "method", "params"}, map[string]*jsonschema.Schema{
		"jsonrpc": constant("2.0"),
		"id":      {Types: []string{"string", "number", "null"}, Description: "Without it the request is a notification, which is not answered."},
		"method":  {Type: "string", Enum: names},
		"params":  {Types: []string{"object", "array", "null"}, Description: "As the method's OpenRPC description says."},
	}, "id", "params")
	return openAPIParts{
		Schemas: map[string]*jsonschema.Schema{
			schemaProblem: problem, schemaRPCRequest: request, schemaRPCError: rpcErrorSchema(),
			schemaRPCAnswer: rpcAnswerSchema(refTo(schemaRPCError)),
		},
		Headers: headers, SecuritySchemes: securitySchemes,
	}, nil
}

func describeRoute(r *Route, method string) (operation, error) {
	op := operation{
		OperationID: r.Doc.ID, Summary: r.Doc.Summary, Description: r.Doc.Text, Scope: string(r.Scope),
		Responses: map[string]response{}, Security: security(r),
	}
	if method == http.MethodHead {
		op.OperationID += "Head"
	}
	for _, p := range r.Doc.Params {
		schema := &jsonschema.Schema{Type: p.Type}
		if p.Type == "integer" {
			schema.Minimum = new(p.Min)
			if p.Max > 0 {
				schema.Maximum = new(p.Max)
			}
		}
		op.Parameters = append(op.Parameters, parameter{Name: p.Name, In: p.In, Description: p.Text, Required: p.In == "path", Schema: schema})
	}
	if b := r.Doc.Request; b != nil {
		content, err := contentOf([]Body{*b}, requestSchema)
		if err != nil {
			return op, err
		}
		op.RequestBody = &requestBody{Description: b.Text, Required: !b.Optional, Content: content}
		op.BodyLimit = r.Body
	}
	for _, a := range append(r.Doc.Answers, refusals(r)...) {
		if _, twice := op.Responses[strconv.Itoa(a.Status)]; twice {
			return op, fmt.Errorf("%d is described twice", a.Status)
		}
		if method == http.MethodHead {
			a.Bodies = nil
		}
		out := response{Description: a.Text, Headers: map[string]reference{}}
		names := append(slices.Clone(a.Headers), "X-Request-Id")
		if r.Keyed {
			names = append(names, "RateLimit", "RateLimit-Policy")
		}
		for _, name := range names {
			if _, ok := headers[name]; !ok {
				return op, errors.New("no such header: " + name)
			}
			out.Headers[name] = reference{Ref: "#/components/headers/" + name}
		}
		var err error
		if out.Content, err = contentOf(a.Bodies, answersSchema); err != nil {
			return op, err
		}
		op.Responses[strconv.Itoa(a.Status)] = out
	}
	return op, nil
}

// refusals are the answers that follow from what a route is, not from what it
// serves.
func refusals(r *Route) []Answer {
	refusal := []Body{ProblemBody()}
	// A body that a route has no use for is read, too.
	out := []Answer{
		{http.StatusInternalServerError, "Something went wrong inside the gateway.", nil, refusal},
		{http.StatusRequestTimeout, "The body came too slowly.", nil, refusal},
	}
	if !slices.ContainsFunc(r.Doc.Answers, func(a Answer) bool { return a.Status == http.StatusBadRequest }) {
		out = append(out, Answer{http.StatusBadRequest, "The body could not be read.", nil, refusal})
	}
	if r.Doc.Request != nil {
		out = append(out, Answer{http.StatusUnsupportedMediaType, "The body has another media type or a content coding.", []string{"Accept"}, refusal})
	}
	if r.Doc.RPC {
		refusal = []Body{{Type: typeJSON, schema: refTo(schemaRPCAnswer)}}
	}
	out = append(out, Answer{http.StatusRequestEntityTooLarge, fmt.Sprintf("The body has more than %d bytes.", r.Body), nil, refusal})
	if r.Keyed {
		out = append(out,
			Answer{http.StatusUnauthorized, "No valid key was given.", []string{"WWW-Authenticate"}, refusal},
			Answer{http.StatusForbidden, "The key may not do this.", nil, refusal},
			Answer{http.StatusTooManyRequests, "Too many requests for this key.", []string{"Retry-After"}, refusal},
			Answer{http.StatusServiceUnavailable, "The gateway cannot take the request now.", []string{"Retry-After"}, refusal})
	}
	if r.Keyed && !r.Doc.RPC {
		out = append(out, Answer{http.StatusGatewayTimeout, "The request took too long.", nil, refusal})
	}
	return out
}

func contentOf(bodies []Body, derive func([]any) (*jsonschema.Schema, error)) (map[string]mediaType, error) {
	out := map[string]mediaType{}
	for _, b := range bodies {
		schema := b.schema
		if len(b.Of) > 0 {
			var err error
			if schema, err = derive(b.Of); err != nil {
				return nil, err
			}
		}
		if schema == nil {
			schema = text(b.Text)
		}
		out[b.Type] = mediaType{Schema: schema}
	}
	return out, nil
}

func encode(doc any) (json.RawMessage, error) {
	raw, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("apidoc: encode: %w", err)
	}
	return raw, nil
}
