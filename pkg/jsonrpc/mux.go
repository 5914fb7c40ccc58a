package jsonrpc

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"codexgateway.dev/pkg/errs"
)

// MethodDoc says what a method is for, in rpc.discover and the reference.
type MethodDoc struct {
	// Summary is one sentence.
	Summary string
	// Scope is the scope a key needs; empty: any valid key.
	Scope string
	// Params and Results are prototypes for the generated schemas. Register
	// fills them from its type parameters; a method whose result is one of
	// several shapes gives them all.
	Params  any
	Results []any
}

// Method is one registered method.
type Method struct {
	Name string
	Doc  MethodDoc
	call handler
}

// handler is a method with its types erased.
type handler func(ctx context.Context, params json.RawMessage) (json.RawMessage, error)

// Mux is the table of methods. It is filled before it serves and not changed
// after; serving is safe from many goroutines.
type Mux struct {
	methods map[string]Method
}

// NewMux returns an empty table.
func NewMux() *Mux { return &Mux{methods: make(map[string]Method)} }

// Register adds a method. P is a struct of named params, decoded by [Params]
// before h runs; R is encoded as the result. h answers a caller's fault with an
// *errs.Error; any other error becomes internal. Registering a name twice is a
// programming error and panics.
func Register[P, R any](m *Mux, name string, doc MethodDoc, h func(ctx context.Context, params P) (R, error)) {
	if _, taken := m.methods[name]; taken {
		panic("jsonrpc: method registered twice: " + name)
	}
	if doc.Params == nil {
		doc.Params = *new(P)
	}
	if r := reflect.TypeFor[R](); len(doc.Results) == 0 && r.Kind() != reflect.Interface {
		doc.Results = []any{*new(R)}
	}
	m.methods[name] = Method{Name: name, Doc: doc, call: func(ctx context.Context, raw json.RawMessage) (json.RawMessage, error) {
		params, err := Params[P](raw)
		if err != nil {
			return nil, err
		}
		result, err := h(ctx, params)
		if err != nil {
			return nil, err
		}
		out, err := marshal(result)
		if err != nil {
			return nil, fmt.Errorf("jsonrpc: encode result of %s: %w", name, err)
		}
		return out, nil
	}}
}

// Methods lists the names, sorted.
func (m *Mux) Methods() []string { return slices.Sorted(maps.Keys(m.methods)) }

// Lookup finds a method; ok is false for an unknown name.
func (m *Mux) Lookup(name string) (method Method, ok bool) {
	method, ok = m.methods[name]
	return method, ok
}

// unknown is the error for a method that is not in the table.
func (m *Mux) unknown() *errs.Error {
	return errs.New(errs.MethodNotFound, "").With("available_methods", m.Methods())
}
