package jsonrpc

import (
	"encoding/json"
	"maps"

	"codexgateway.dev/pkg/errs"
)

// Members of every error's data object.
const (
	dataCode      = "code"
	dataRetryable = "retryable"
	dataRequestID = "request_id"
	dataField     = "field"
)

// Render turns any error into an error object. A registered request error gives
// its number, its public text and a data object with code, retryable,
// request_id, field and its own data members. Everything else, job errors
// included, becomes internal and says nothing of its cause.
func Render(err error, requestID string) *Error {
	e := errs.From(err)
	row := errs.Lookup(e.Code)
	if row.Code != e.Code || row.Scope != errs.Request {
		e, row = errs.New(errs.Internal, ""), errs.Lookup(errs.Internal)
	}
	data := make(map[string]any, len(e.Data)+4)
	maps.Copy(data, e.Data)
	if e.Field != "" {
		data[dataField] = e.Field
	}
	data[dataCode] = row.Code
	data[dataRetryable] = row.Retryable
	data[dataRequestID] = requestID
	raw, encErr := marshal(data)
	if encErr != nil {
		// A data member that JSON cannot express must not cost the client the error.
		raw, _ = marshal(map[string]any{dataCode: row.Code, dataRetryable: row.Retryable, dataRequestID: requestID})
	}
	return &Error{Code: row.RPC, Message: e.Message(), Data: raw}
}

// Err is the error object as the gateway's own error type: the code comes from
// data.code, or from the number where a peer sends no data.
func (e *Error) Err() *errs.Error {
	out := &errs.Error{Code: codeOf(e.Code), Public: e.Message}
	var data map[string]any
	if json.Unmarshal(e.Data, &data) != nil {
		return out
	}
	if code, ok := data[dataCode].(string); ok && errs.Lookup(errs.Code(code)).Code == errs.Code(code) {
		out.Code = errs.Code(code)
	}
	if field, ok := data[dataField].(string); ok {
		out.Field = field
	}
	out.Data = data
	return out
}

// codeOf finds the code of a JSON-RPC number; internal for a foreign one.
func codeOf(number int) errs.Code {
	for _, row := range errs.Registry {
		if row.Scope == errs.Request && row.RPC == number {
			return row.Code
		}
	}
	return errs.Internal
}
